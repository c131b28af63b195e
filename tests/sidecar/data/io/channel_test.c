/*
 * channel_test.c: the sending half of a connection: order, parts, what is owned, failing, closing.
 *
 * The test plays the loop's part: it flushes, and lets libuv say what it has written.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/io/channel_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define LONG_BYTES (4u << 20) /* more than any socket buffer here */

/* A read that brings nothing, reported before libuv says what it has written. */
static void hear_nothing(struct end *end)
{
    struct transport *transport = &end->channel.transport;
    struct iovec room = transport->events->room(transport);
    transport->events->read(transport, room, 0);
    worker_leave(end->host->worker);
}

/* ---- all goes at once ---------------------------------------------------------------------- */

static void test_what_fits_goes_at_once(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    uint8_t *text = letters(0, 300);
    const struct iovec iov[2] = {{.iov_base = text + 100, .iov_len = 50},
                                 {.iov_base = text + 150, .iov_len = 50}};
    (void)state;
    push(end, text, 100);
    assert_true(channel_push_iov(&end->channel, iov, 2, 100));
    assert_int_equal(channel_unsent(&end->channel), 200);
    assert_int_equal(channel_pushed_total(&end->channel), 200);
    assert_int_equal(receive(end, 1), 0); /* not before the flush */
    flush(host);
    assert_int_equal(receive(end, SIZE_MAX), 200);
    assert_int_equal(end->progress, 1);
    assert_int_equal(end->pinned, 0);
    assert_int_equal(channel_taken_total(&end->channel), 200);
    flush(host); /* nothing to do, nothing to report */
    push(end, text + 200, 0);
    flush(host);
    assert_int_equal(end->progress, 1);
    end_free(end);
    free(text);
    host_free(host);
}

static void test_blocks_are_charged_until_sent(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    uint8_t *block = buffers_alloc(&host->worker->buffers, 500); /* 200 of it are used */
    uint8_t *text = letters(0, 200);
    (void)state;
    memcpy(block + 100, text, 200);
    free(text);
    struct message message = {.body = block + 100, .len = 200, .block = block};
    assert_true(channel_push_message(&end->channel, &message));
    assert_null(message.block);
    assert_int_equal(charged(host), 500);
    flush(host);
    assert_int_equal(charged(host), 0);
    assert_int_equal(receive(end, SIZE_MAX), 200);
    end_free(end);
    host_free(host);
}

/* The framing fills its head in, whether the message comes in vectors or whole. */
static void test_heads_are_written(void **state)
{
    struct host *host = host_new();
    struct end *end = end_with(host, &framing_framed);
    uint8_t one[16] = "....ab", two[16] = "....cd", three[16] = "....e";
    uint8_t got[64];
    const struct iovec iov[2] = {{one, 5}, {one + 5, 1}};
    struct message borrowed = {.body = two + 4, .len = 2, .head_room = 4};
    uint8_t *block = buffers_copy(&host->worker->buffers, three, sizeof three);
    struct message owned = {.body = block + 4, .len = 1, .head_room = 4, .block = block};
    (void)state;
    assert_true(channel_push_iov(&end->channel, iov, 2, 2));
    assert_true(channel_push_message(&end->channel, &borrowed));
    assert_true(channel_push_message(&end->channel, &owned));
    flush(host);
    assert_int_equal(read(end->peer, got, sizeof got), 17);
    assert_memory_equal(got, "\0\0\0\2ab\0\0\0\2cd\0\0\0\1e", 17);
    end_free(end);
    host_free(host);
}

/* Long queues do not wait for the end of the turn; short ones do. */
static void test_long_queues_go_early(void **state)
{
    struct host *host = host_new();
    struct end *one = end_new(host), *two = end_new(host);
    uint8_t *text = letters(0, CHANNEL_EARLY_BYTES);
    (void)state;
    push(one, text, 10);
    push(two, text, CHANNEL_EARLY_BYTES - 1);
    worker_flush_early(host->worker);
    assert_int_equal(receive(one, 1) + receive(two, 1), 0);
    push(two, text + CHANNEL_EARLY_BYTES - 1, 1);
    worker_flush_early(host->worker);
    assert_int_equal(receive(one, 1), 0);
    assert_true(receive(two, SIZE_MAX) > 0);
    assert_true(two->channel.writing);
    push(two, text, CHANNEL_EARLY_BYTES); /* libuv has not done with what came before: no haste */
    assert_true(list_empty(&host->worker->early));
    flush(host);
    assert_int_equal(receive(one, SIZE_MAX), 10);
    end_free(two);
    end_free(one);
    free(text);
    host_free(host);
}

/* ---- the kernel takes a part --------------------------------------------------------------- */

static void test_the_rest_is_copied_and_charged(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    push(end, text, LONG_BYTES);
    flush(host);
    assert_int_equal(end->pinned, 1);
    size_t left = channel_unsent(&end->channel);
    assert_true(left > 0 && left < LONG_BYTES);
    assert_int_equal(charged(host), left);
    memset(text, 0xdd, LONG_BYTES); /* the turn is over */
    free(text);
    pump(end, LONG_BYTES);
    assert_int_equal(charged(host), 0);
    assert_int_equal(channel_taken_total(&end->channel), LONG_BYTES);
    assert_int_equal(end->ended, 0);
    end_free(end);
    host_free(host);
}

static void test_what_is_pinned_stays_where_it_is(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    end->pins = true;
    push(end, text, LONG_BYTES);
    flush(host);
    assert_int_equal(end->pinned, 1);
    assert_int_equal(charged(host), 0); /* its owner's */
    pump(end, LONG_BYTES);
    end_free(end);
    free(text);
    host_free(host);
}

/* What is pushed while libuv writes goes behind it, and is reported in order. */
static void test_pushes_behind_a_pending_write(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    const struct buffers *buffers = &host->worker->buffers;
    uint64_t total = 0;
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        size_t len = 1 + i * 137 % 30000;
        uint8_t *text = letters(total, len);
        if (i % 3) {
            push(end, text, len);
            flush(host);
            memset(text, 0xdd, len);
        } else {
            uint8_t *block = buffers_copy(buffers, text, len);
            struct message message = {.body = block, .len = (uint32_t)len, .block = block};
            assert_true(channel_push_message(&end->channel, &message));
        }
        free(text);
        total += len;
        if (i % 5 == 0) {
            receive(end, 40000);
            turn(host);
        }
        assert_int_equal(channel_pushed_total(&end->channel), total);
        assert_true(charged(host) >= channel_unsent(&end->channel) ||
                    event_waits(&end->channel.flush));
    }
    pump(end, total);
    assert_int_equal(channel_taken_total(&end->channel), total);
    end_free(end);
    host_free(host);
}

/* The kernel's progress within a long write is known to the byte before libuv reports the whole. */
static void test_taken_within_a_write(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    end->pins = true;
    push(end, text, LONG_BYTES);
    flush(host);
    unsigned progress = end->progress;
    uint64_t before = channel_taken_total(&end->channel);
    uint64_t reported = channel_sent_total(&end->channel);
    receive(end, SIZE_MAX);
    turn(host);
    assert_true(channel_taken_total(&end->channel) > before);
    assert_int_equal(channel_sent_total(&end->channel), reported);
    assert_int_equal(end->progress, progress);
    hear_nothing(end); /* not all of it: nothing to report */
    assert_int_equal(end->progress, progress);
    pump(end, LONG_BYTES);
    end_free(end);
    free(text);
    host_free(host);
}

/* The peer reads between the flush's own write and the hand-over, which then takes all that is left
 * but is reported in the next turn alone: what is read before knows already. Reported once either
 * way. */
static void test_catching_up(void **state)
{
    (void)state;
    for (int catches_up = 0; catches_up < 2; catches_up++) {
        struct host *host = host_new();
        struct end *end = end_new(host);
        size_t len = end->fits + end->fits / 2;
        uint8_t *text = letters(0, len);
        end->pins = true;
        end->reads_in_pin = true;
        push(end, text, len);
        flush(host);
        assert_int_equal(end->pinned, 1);
        assert_true(end->channel.writing);
        assert_int_equal(channel_taken_total(&end->channel), len);
        assert_true(channel_unsent(&end->channel) > 0);
        assert_int_equal(end->progress, 1);
        if (catches_up) {
            hear_nothing(end);
            assert_int_equal(channel_unsent(&end->channel), 0);
            assert_int_equal(end->progress, 2);
            hear_nothing(end);
            end->behind = letters(len, 100);
            push(end, end->behind, 100); /* libuv still has the request */
            flush(host);
            assert_int_equal(channel_unsent(&end->channel), 100);
        }
        turn(host);
        assert_int_equal(end->progress, catches_up ? 3 : 2);
        assert_false(end->channel.writing);
        pump(end, len + (catches_up ? 100 : 0));
        end_free(end);
        free(text);
        host_free(host);
    }
}

/* Only what has not left at all comes back, and nothing while libuv has it in hand. */
static void test_taking_back(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    uint8_t *text = letters(0, 400);
    (void)state;
    push(end, text, 100);
    push(end, text + 100, 100);
    assert_true(channel_take_back(&end->channel, 100));
    flush(host);
    assert_int_equal(receive(end, SIZE_MAX), 100);
    assert_false(channel_take_back(&end->channel, 99)); /* a byte of it has left */
    assert_true(channel_take_back(&end->channel, 100));
    push(end, text + 100, 300);
    flush(host);
    assert_int_equal(receive(end, SIZE_MAX), 300);
    free(text);

    text = letters(400, LONG_BYTES);
    push(end, text, LONG_BYTES);
    flush(host);
    push(end, text, 10);
    assert_false(channel_take_back(&end->channel, 400 + LONG_BYTES));
    end_free(end);
    free(text);
    host_free(host);
}

/* ---- failing ------------------------------------------------------------------------------- */

static void test_a_dead_peer_is_reported_once(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    uint8_t *text = letters(0, 1000);
    (void)state;
    hang_up(end);
    push(end, text, 500);
    flush(host);
    assert_int_equal(end->ended, 1);
    assert_int_equal(end->status, -EPIPE);
    assert_int_equal(end->progress, 0);
    push(end, text + 500, 500); /* its owner has not closed it yet */
    flush(host);
    assert_int_equal(end->ended, 1);
    end_free(end);
    free(text);
    host_free(host);
}

static void test_a_peer_that_dies_within_a_write(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    push(end, text, LONG_BYTES);
    flush(host);
    unsigned progress = end->progress;
    hang_up(end);
    while (end->ended == 0) {
        turn(host);
    }
    assert_true(end->status < 0);
    assert_int_equal(end->progress, progress);
    assert_true(progress <= 1);
    end_free(end); /* gives back what was charged */
    free(text);
    host_free(host);
}

/* The owner closes while libuv writes: nothing is reported any more, all is freed. */
static void test_closing_within_a_write(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    push(end, text, LONG_BYTES);
    flush(host);
    assert_true(end->channel.writing);
    free(text);
    unsigned progress = end->progress;
    channel_close(&end->channel, true); /* a reset is for TCP: closes like any other */
    assert_int_equal(charged(host), 0);
    while (!end->closed) {
        turn(host);
    }
    assert_int_equal(end->ended, 0);
    assert_int_equal(end->progress, progress);
    end_free(end);
    host_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fits_goes_at_once),
        cmocka_unit_test(test_blocks_are_charged_until_sent),
        cmocka_unit_test(test_heads_are_written),
        cmocka_unit_test(test_long_queues_go_early),
        cmocka_unit_test(test_the_rest_is_copied_and_charged),
        cmocka_unit_test(test_what_is_pinned_stays_where_it_is),
        cmocka_unit_test(test_pushes_behind_a_pending_write),
        cmocka_unit_test(test_taken_within_a_write),
        cmocka_unit_test(test_catching_up),
        cmocka_unit_test(test_taking_back),
        cmocka_unit_test(test_a_dead_peer_is_reported_once),
        cmocka_unit_test(test_a_peer_that_dies_within_a_write),
        cmocka_unit_test(test_closing_within_a_write),
    };
    signal(SIGPIPE, SIG_IGN); /* as the process does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
