/*
 * outq_test.c: the queue of one stream, by hand and against a model that is one flat string.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/outq.h"

#include "lb/random.h"
#include "tests/sidecar/data/account.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* Of all queues here; each test ends with nothing charged, see check_nothing_left(). */
static struct account account;

static void *block_of(const char *text)
{
    return buffers_copy(&account.buffers, text, strlen(text));
}

static size_t filled(const struct outq *q, struct iovec iov[], size_t max)
{
    size_t total, sum = 0;
    size_t n = outq_fill_iov(q, iov, max, &total);
    for (size_t i = 0; i < n; i++) {
        sum += iov[i].iov_len;
    }
    assert_int_equal(sum, total);
    return n;
}

static int check_nothing_left(void **state)
{
    (void)state;
    return account_charged(&account) == 0 ? 0 : -1;
}

static void assert_content(const struct outq *q, const char *text)
{
    struct iovec iov[64];
    char got[4096];
    size_t len = 0;
    size_t n = filled(q, iov, 64);

    outq_check(q);
    for (size_t i = 0; i < n; i++) {
        memcpy(got + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    got[len] = 0;
    assert_string_equal(got, text);
    assert_int_equal(outq_bytes(q), len);
}

static void test_empty(void **state)
{
    struct outq q;
    struct iovec iov[4];

    (void)state;
    outq_init(&q, &account.buffers);
    assert_int_equal(outq_bytes(&q), 0);
    assert_int_equal(filled(&q, iov, 4), 0);
    outq_consumed(&q, 0);
    assert_int_equal(outq_own_rest(&q), 0);
    assert_int_equal(outq_drop_unsent_from(&q, 0), 0);
    assert_int_equal(outq_push_borrowed(&q, "", 0), 0);
    assert_int_equal(outq_push_iov(&q, iov, 0), 0);
    assert_int_equal(outq_push_owned(&q, block_of("x"), 1, 0), 0);
    assert_content(&q, "");
    outq_done(&q);
}

static void test_first_in_first_out(void **state)
{
    struct outq q;
    struct iovec iov[2] = {{.iov_base = (char[]){'d', 'e'}, .iov_len = 2},
                           {.iov_base = (char[]){'f'}, .iov_len = 1}};

    (void)state;
    outq_init(&q, &account.buffers);
    assert_int_equal(outq_push_borrowed(&q, "abc", 3), 0);
    assert_int_equal(outq_push_iov(&q, iov, 2), 0);
    assert_int_equal(outq_push_owned(&q, block_of("__ghi"), 2, 3), 0);
    assert_content(&q, "abcdefghi");
    assert_int_equal(account_charged(&account), 5);
    outq_consumed(&q, 4);
    assert_content(&q, "efghi");
    outq_consumed(&q, 4);
    assert_content(&q, "i");
    assert_int_equal(account_charged(&account), 5); /* held until its last byte is gone */
    outq_consumed(&q, 1);
    assert_int_equal(account_charged(&account), 0);
    assert_int_equal(outq_sent_total(&q), 9);
    assert_int_equal(outq_pushed_total(&q), 9);
    outq_done(&q);
}

static void test_neighbours_become_one_vector(void **state)
{
    static const char text[] = "one two three";
    struct outq q;
    struct iovec iov[8];

    (void)state;
    outq_init(&q, &account.buffers);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        assert_int_equal(outq_push_borrowed(&q, text + i, 1), 0);
    }
    assert_int_equal(filled(&q, iov, 8), 1);
    assert_int_equal(iov[0].iov_len, sizeof(text) - 1);
    assert_int_equal(outq_push_borrowed(&q, text, 3), 0); /* not a neighbour */
    assert_int_equal(filled(&q, iov, 8), 2);
    assert_int_equal(filled(&q, iov, 1), 1);
    assert_content(&q, "one two threeone");

    /* An owned block is no neighbour of what happens to lie behind it. */
    outq_consumed(&q, outq_bytes(&q));
    char *block = buffers_alloc(&account.buffers, 8);
    memcpy(block, "abcdefgh", 8);
    assert_int_equal(outq_push_owned(&q, block, 0, 4), 0);
    assert_int_equal(outq_push_borrowed(&q, block + 4, 4), 0);
    assert_int_equal(filled(&q, iov, 8), 2);
    outq_done(&q);
}

static void test_the_rest_is_copied_once(void **state)
{
    char turn[] = "hello, world";
    struct outq q;
    struct iovec iov[8];

    (void)state;
    outq_init(&q, &account.buffers);
    assert_int_equal(outq_push_borrowed(&q, turn + 7, 5), 0);
    assert_int_equal(outq_push_borrowed(&q, turn, 5), 0);
    outq_consumed(&q, 2);
    assert_int_equal(outq_own_rest(&q), 0);
    memset(turn, '#', sizeof(turn));
    assert_content(&q, "rldhello");
    assert_int_equal(filled(&q, iov, 8), 1);
    assert_int_equal(outq_own_rest(&q), 0);
    assert_int_equal(account_charged(&account), 8);
    outq_consumed(&q, 7);
    assert_int_equal(account_charged(&account), 8);
    outq_done(&q);
    assert_int_equal(account_charged(&account), 0);
}

static void test_own_rest_keeps_what_is_owned(void **state)
{
    char turn[] = "abcdef";
    struct outq q;
    struct iovec iov[8];

    (void)state;
    outq_init(&q, &account.buffers);
    assert_int_equal(outq_push_owned(&q, block_of("1"), 0, 1), 0);
    assert_int_equal(outq_push_borrowed(&q, turn, 1), 0);
    assert_int_equal(outq_push_borrowed(&q, turn + 2, 1), 0);
    assert_int_equal(outq_push_owned(&q, block_of("2"), 0, 1), 0);
    assert_int_equal(outq_push_owned(&q, block_of("3"), 0, 1), 0);
    assert_int_equal(outq_push_borrowed(&q, turn + 4, 1), 0);
    assert_int_equal(outq_own_rest(&q), 0);
    memset(turn, '#', sizeof(turn));
    assert_int_equal(filled(&q, iov, 8), 5);
    assert_int_equal(account_charged(&account), 6);
    assert_content(&q, "1ac23e");
    outq_done(&q);
}

static void test_positions_tell_what_was_sent(void **state)
{
    struct outq q;

    (void)state;
    outq_init(&q, &account.buffers);
    q.sent = UINT64_C(1) << 40; /* a long life */
    uint64_t start = outq_pushed_total(&q);
    assert_int_equal(outq_push_borrowed(&q, "first ", 6), 0);
    uint64_t first_end = outq_pushed_total(&q);
    assert_int_equal(outq_push_borrowed(&q, "second", 6), 0);
    uint64_t second_end = outq_pushed_total(&q);
    assert_int_equal(first_end - start, 6);
    assert_int_equal(second_end - start, 12);
    outq_consumed(&q, 8);
    assert_true(outq_sent_total(&q) >= first_end);
    assert_true(outq_sent_total(&q) > first_end && outq_sent_total(&q) < second_end);
    outq_done(&q);
}

static void test_takes_back_what_was_not_sent(void **state)
{
    static const char *const parts[] = {"aaaa", "bbbb", "cccc"};
    struct outq q;

    (void)state;
    for (int owned = 0; owned < 3; owned++) { /* none, one block each, one block for all */
        uint64_t end[3];
        outq_init(&q, &account.buffers);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(owned == 1 ? outq_push_owned(&q, block_of(parts[i]), 0, 4)
                                        : outq_push_borrowed(&q, parts[i], 4),
                             0);
            end[i] = outq_pushed_total(&q);
        }
        if (owned == 2) {
            assert_int_equal(outq_own_rest(&q), 0);
        }
        outq_consumed(&q, 1);
        assert_int_equal(outq_drop_unsent_from(&q, end[2]), 0);
        assert_int_equal(outq_drop_unsent_from(&q, UINT64_MAX), 0);
        assert_int_equal(outq_drop_unsent_from(&q, end[1]), 4);
        assert_content(&q, "aaabbbb");
        assert_int_equal(outq_drop_unsent_from(&q, end[0] + 1), 3);
        assert_content(&q, "aaab");
        /* A block counts whole until its last byte is sent or taken back. */
        assert_int_equal(account_charged(&account), owned == 0 ? 0 : owned == 1 ? 8 : 12);
        assert_int_equal(outq_pushed_total(&q), 5);
        assert_int_equal(outq_drop_unsent_from(&q, 0), 4); /* what was sent stays sent */
        assert_content(&q, "");
        assert_int_equal(outq_pushed_total(&q), 1);
        outq_done(&q);
    }
}

static void test_a_long_queue_goes_back_to_small(void **state)
{
    static const char text[] = "0123456789";
    struct outq q;

    (void)state;
    outq_init(&q, &account.buffers);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(outq_push_borrowed(&q, text + i * 2 % 10, 1), 0);
            if (i % 3 == 0) {
                outq_consumed(&q, 1);
            }
        }
        outq_check(&q);
        assert_non_null(q.ring);
        outq_consumed(&q, outq_bytes(&q));
        outq_check(&q);
        assert_null(q.ring);
    }
    outq_done(&q);
}

static void test_a_push_that_fails_changes_nothing(void **state)
{
    struct iovec one = {.iov_base = &one, .iov_len = 1};
    struct outq q;

    (void)state;
    outq_init(&q, &account.buffers);
    assert_int_equal(outq_push_borrowed(&q, "a", 1), 0);
    assert_int_equal(outq_push_iov(&q, &one, SIZE_MAX), -ENOMEM);
    assert_content(&q, "a");
    outq_done(&q);
}

/* A seal keeps what belongs to two owners in two segments, so that one of them can be moved. */
static void test_a_seal_ends_a_segment(void **state)
{
    static const char text[] = "onetwothree";
    struct outq q;
    struct iovec iov[8];

    (void)state;
    outq_init(&q, &account.buffers);
    outq_seal(&q); /* of nothing */
    assert_int_equal(outq_push_borrowed(&q, text, 2), 0);
    assert_int_equal(outq_push_borrowed(&q, text + 2, 1), 0);
    assert_int_equal(filled(&q, iov, 8), 1);
    outq_seal(&q);
    outq_seal(&q);
    assert_int_equal(outq_push_borrowed(&q, text + 3, 0), 0); /* breaks nothing */
    assert_int_equal(outq_push_borrowed(&q, text + 3, 2), 0);
    assert_int_equal(outq_push_borrowed(&q, text + 5, 1), 0); /* grows the new one again */
    assert_int_equal(filled(&q, iov, 8), 2);
    assert_int_equal(iov[1].iov_len, 3);
    outq_seal(&q);
    outq_consumed(&q, 6);
    assert_int_equal(outq_push_borrowed(&q, text + 6, 5), 0);
    assert_content(&q, "three");
    outq_done(&q);
}

/* All that is queued. */
static void rebase(struct outq *q, const void *from, size_t len, const void *to)
{
    const struct outq_move move = {.from = from, .to = to, .len = len};
    struct outq_cursor cursor = outq_find(q, 0);
    assert_int_equal(cursor.segment, 0);
    assert_int_equal(cursor.position, outq_sent_total(q));
    outq_rebase(q, &cursor, UINT64_MAX, &move);
    assert_int_equal(cursor.position, outq_pushed_total(q));
}

/* Message after message, from where the first of them begins: others that point to the same place stay. */
static void test_rebase_goes_from_message_to_message(void **state)
{
    char turn[] = "abcdef";
    char moved[2][3] = {"AB", "CD"};
    struct outq q;

    (void)state;
    outq_init(&q, &account.buffers);
    assert_int_equal(outq_push_borrowed(&q, turn, 2), 0);
    outq_seal(&q);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(outq_push_borrowed(&q, "-", 1), 0);
        assert_int_equal(outq_push_borrowed(&q, turn + 2 * i, 2), 0);
        outq_seal(&q);
    }
    outq_consumed(&q, 1);
    struct outq_cursor cursor = outq_find(&q, 2);
    assert_int_equal(cursor.position, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct outq_move move = {.from = turn + 2 * i, .to = moved[i], .len = 2};
        outq_rebase(&q, &cursor, 2 + 3 * (i + 1), &move);
        assert_int_equal(cursor.position, 2 + 3 * (i + 1));
    }
    assert_content(&q, "b-AB-CD-ef");
    cursor = outq_find(&q, outq_pushed_total(&q));
    assert_int_equal(cursor.position, outq_pushed_total(&q));
    outq_done(&q);
}

static void test_rebase_moves_one_range(void **state)
{
    char turn[] = "..request.other..";
    struct outq q;
    struct iovec iov[8];

    (void)state;
    for (size_t sent = 0; sent <= 9; sent++) {
        char *moved = malloc(7);
        memcpy(turn, "..request.other..", sizeof turn);
        memcpy(moved, turn + 2, 7);
        outq_init(&q, &account.buffers);
        assert_int_equal(outq_push_borrowed(&q, turn, 2), 0); /* right in front of it */
        outq_seal(&q);
        assert_int_equal(outq_push_borrowed(&q, turn + 2, 3), 0); /* with something put in */
        assert_int_equal(outq_push_borrowed(&q, "<id>", 4), 0);
        assert_int_equal(outq_push_borrowed(&q, turn + 5, 4), 0);
        outq_seal(&q);
        assert_int_equal(outq_push_borrowed(&q, turn + 9, 6), 0); /* right behind it */
        assert_int_equal(outq_push_owned(&q, block_of("!"), 0, 1), 0);
        outq_consumed(&q, sent);
        size_t n = filled(&q, iov, 8);

        rebase(&q, turn + 2, 7, moved);
        memset(turn + 2, '#', 7);
        assert_content(&q, &"..req<id>uest.other!"[sent]);
        assert_int_equal(filled(&q, iov, 8), n);
        assert_int_equal(account_charged(&account), 1); /* what was moved is its owner's */
        rebase(&q, turn, 0, moved);                     /* no range at all */
        assert_content(&q, &"..req<id>uest.other!"[sent]);
        outq_done(&q);
        free(moved);
    }
}

/* A range that was moved is still borrowed: the rest of a turn may be copied later. */
static void test_rebase_then_own_rest(void **state)
{
    char turn[] = "abcdef";
    char moved[] = "bcd";
    struct outq q;

    (void)state;
    outq_init(&q, &account.buffers);
    assert_int_equal(outq_push_borrowed(&q, turn, 1), 0);
    outq_seal(&q);
    assert_int_equal(outq_push_borrowed(&q, turn + 1, 3), 0);
    outq_seal(&q);
    assert_int_equal(outq_push_borrowed(&q, turn + 4, 2), 0);
    outq_consumed(&q, 2);
    rebase(&q, turn + 1, 3, moved);
    assert_int_equal(outq_own_rest(&q), 0);
    memset(turn, '#', sizeof(turn));
    memset(moved, '#', sizeof(moved));
    assert_content(&q, "cdef");
    outq_done(&q);
}

/* The model: everything ever pushed and not taken back, as one string. */
#define STREAM_BYTES (1u << 20)
#define TURN_BYTES   4096u
struct model {
    struct outq q;
    struct lb_random random;
    uint8_t stream[STREAM_BYTES];
    size_t sent, pushed;
    uint8_t turn[TURN_BYTES]; /* what is borrowed points here, until the turn ends */
    size_t turn_used;
};

static size_t below(struct model *m, size_t bound)
{
    return lb_random_scale(lb_random_next(&m->random), bound);
}

static void fill(struct model *m, uint8_t *to, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        to[i] = (uint8_t)lb_random_next(&m->random);
        m->stream[m->pushed++] = to[i];
    }
}

static void model_push(struct model *m)
{
    size_t len = below(m, 40);

    if (below(m, 3) == 0) {
        size_t off = below(m, 8);
        uint8_t *block = buffers_alloc(&account.buffers, off + len + 1);
        fill(m, block + off, len);
        assert_int_equal(outq_push_owned(&m->q, block, off, len), 0);
        return;
    }
    struct iovec iov[4];
    size_t n = 1 + below(m, 4);
    for (size_t i = 0; i < n; i++) {
        m->turn_used += below(m, 2); /* sometimes a neighbour of the last */
        iov[i] = (struct iovec){.iov_base = m->turn + m->turn_used, .iov_len = len};
        fill(m, m->turn + m->turn_used, len);
        m->turn_used += len;
    }
    assert_int_equal(outq_push_iov(&m->q, iov, n), 0);
}

static void model_end_turn(struct model *m)
{
    assert_int_equal(outq_own_rest(&m->q), 0);
    assert_true(account_charged(&account) >= outq_bytes(&m->q));
    memset(m->turn, 0xdd, sizeof(m->turn));
    m->turn_used = 0;
}

static void model_step(struct model *m)
{
    switch (below(m, 8)) {
    case 0: {
        size_t bytes = below(m, m->pushed - m->sent + 1);
        outq_consumed(&m->q, bytes);
        m->sent += bytes;
        break;
    }
    case 1: {
        size_t from = m->sent + below(m, m->pushed - m->sent + 1);
        from -= below(m, 4) ? 0 : below(m, from + 1);
        size_t kept = from > m->sent ? from : m->sent;
        if (below(m, 3) == 0) {
            assert_int_equal(outq_drop_unsent_from(&m->q, from), m->pushed - kept);
            m->pushed = kept;
        }
        break;
    }
    case 2:
        model_end_turn(m);
        break;
    default:
        if (m->turn_used + 200 < TURN_BYTES && m->pushed + 200 < STREAM_BYTES) {
            model_push(m);
        }
    }
}

static void model_compare(struct model *m)
{
    struct iovec iov[2048];
    size_t n = filled(&m->q, iov, 2048);
    size_t position = m->sent;

    for (size_t i = 0; i < n; i++) {
        assert_true(iov[i].iov_len <= m->pushed - position);
        assert_memory_equal(iov[i].iov_base, m->stream + position, iov[i].iov_len);
        position += iov[i].iov_len;
    }
    assert_int_equal(position, m->pushed);
    assert_int_equal(outq_sent_total(&m->q), m->sent);
    assert_int_equal(outq_pushed_total(&m->q), m->pushed);
}

static void test_against_the_model(void **state)
{
    static struct model m;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        memset(&m, 0, sizeof(m));
        lb_random_init(&m.random, seed);
        outq_init(&m.q, &account.buffers);
        for (int step = 0; step < 2000; step++) {
            model_step(&m);
            outq_check(&m.q);
            model_compare(&m);
        }
        outq_done(&m.q);
        assert_int_equal(account_charged(&account), 0);
        outq_check(&m.q);
    }
}

int main(void)
{
    account_open(&account, UINT64_MAX);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_empty, check_nothing_left),
        cmocka_unit_test_teardown(test_first_in_first_out, check_nothing_left),
        cmocka_unit_test_teardown(test_neighbours_become_one_vector, check_nothing_left),
        cmocka_unit_test_teardown(test_the_rest_is_copied_once, check_nothing_left),
        cmocka_unit_test_teardown(test_own_rest_keeps_what_is_owned, check_nothing_left),
        cmocka_unit_test_teardown(test_positions_tell_what_was_sent, check_nothing_left),
        cmocka_unit_test_teardown(test_takes_back_what_was_not_sent, check_nothing_left),
        cmocka_unit_test_teardown(test_a_long_queue_goes_back_to_small, check_nothing_left),
        cmocka_unit_test_teardown(test_a_push_that_fails_changes_nothing, check_nothing_left),
        cmocka_unit_test_teardown(test_a_seal_ends_a_segment, check_nothing_left),
        cmocka_unit_test_teardown(test_rebase_moves_one_range, check_nothing_left),
        cmocka_unit_test_teardown(test_rebase_goes_from_message_to_message, check_nothing_left),
        cmocka_unit_test_teardown(test_rebase_then_own_rest, check_nothing_left),
        cmocka_unit_test_teardown(test_against_the_model, check_nothing_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
