/*
 * message_test.c: a message's bytes: borrowed, made its own once, and let go.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/message.h"

#include "sidecar/data/io/outq.h"
#include "tests/sidecar/data/account.h"
#include "tests/sidecar/data/scarce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* Four bytes for a head, then the text. */
static struct message borrowed(uint8_t room[32], const char *text)
{
    memset(room, '.', 32);
    memcpy(room + 4, text, strlen(text));
    return (struct message){.body = room + 4, .len = (uint32_t)strlen(text), .head_room = 4};
}

static void test_owned_once(void **state)
{
    struct account account;
    uint8_t room[32];
    (void)state;
    account_open(&account, 1000);
    struct message message = borrowed(room, "hello");
    assert_true(message_own(&message, &account.buffers));
    assert_int_equal(account_charged(&account), 9); /* the room in front is the message's, too */
    assert_ptr_equal(message.lent, room + 4);
    assert_ptr_equal(message.body, message.block + 4);
    memset(room, 'x', sizeof room); /* the turn is over */
    assert_memory_equal(message.block, "....hello", 9);

    uint8_t *block = message.block;
    assert_true(message_own(&message, &account.buffers)); /* again: nothing */
    assert_ptr_equal(message.block, block);
    assert_ptr_equal(message.lent, room + 4);
    assert_int_equal(account_charged(&account), 9);
    message_done(&message, &account.buffers);
    assert_null(message.body);
    assert_int_equal(account_charged(&account), 0);
    message_done(&message, &account.buffers); /* harmless */
}

static void test_what_is_borrowed_is_let_go(void **state)
{
    struct account account;
    uint8_t room[32];
    (void)state;
    account_open(&account, 1000);
    struct message message = borrowed(room, "hello");
    message_done(&message, &account.buffers);
    assert_null(message.body);
    assert_memory_equal(room + 4, "hello", 5);
}

static void test_no_memory_changes_nothing(void **state)
{
    struct account account;
    uint8_t room[32];
    (void)state;
    account_open(&account, 1000);
    struct message message = borrowed(room, "hello");
    scarce_begin(0, false);
    assert_false(message_own(&message, &account.buffers));
    assert_int_equal(scarce_end(), 1);
    assert_ptr_equal(message.body, room + 4);
    assert_null(message.block);
    assert_null(message.lent);
    assert_true(message_own(&message, &account.buffers));
    message_done(&message, &account.buffers);
}

/* Two queues hold pointers into the same borrowed bytes: each is moved to the block when its turn
 * comes. */
static void test_two_queues_move_to_the_block(void **state)
{
    struct account account;
    struct outq queues[2];
    uint8_t room[32];
    struct iovec iov[4];
    size_t total;
    (void)state;
    account_open(&account, 1000);
    struct message message = borrowed(room, "hello");
    for (int i = 0; i < 2; i++) {
        outq_init(&queues[i], &account.buffers);
        assert_int_equal(outq_push_borrowed(&queues[i], message.body, 2), 0);
        outq_seal(&queues[i]);
        assert_int_equal(outq_push_borrowed(&queues[i], message.body + 2, 3), 0);
        outq_consumed(&queues[i], 1);
    }
    assert_true(message_own(&message, &account.buffers));
    for (int i = 0; i < 2; i++) {
        const struct outq_move move = {
            .from = message.lent, .to = message.body, .len = message.len};
        struct outq_cursor cursor = outq_find(&queues[i], 0);
        outq_rebase(&queues[i], &cursor, UINT64_MAX, &move);
    }
    memset(room, 'x', sizeof room);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(outq_fill_iov(&queues[i], iov, 4, &total), 2);
        assert_memory_equal(iov[0].iov_base, "e", 1);
        assert_memory_equal(iov[1].iov_base, "llo", 3);
        outq_done(&queues[i]);
    }
    assert_int_equal(account_charged(&account), 9); /* one copy */
    message_done(&message, &account.buffers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owned_once),
        cmocka_unit_test(test_what_is_borrowed_is_let_go),
        cmocka_unit_test(test_no_memory_changes_nothing),
        cmocka_unit_test(test_two_queues_move_to_the_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
