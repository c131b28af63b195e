/*
 * stream_test.c: the sending half of a connection, over a socket pair with a small buffer.
 *
 * The test plays the loop's part: it flushes, and lets libuv tell what it has written.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define LONG_BYTES (4u << 20) /* more than any socket buffer here */

struct end {
    uv_loop_t loop;
    struct permits permits;
    struct counters counters;
    struct buffers buffers;
    struct list dirty;
    struct stream stream;
    int peer;    /* the other side of the pair */
    size_t fits; /* what the socket takes at once, about */
    bool pins;
    bool reads_in_pin;
    uint8_t *behind;
    unsigned progress, failed, pinned;
    int status;
    uint64_t sent_at_progress;
    uint64_t received;
};

static struct end *end_of(struct stream *stream)
{
    return container_of(stream, struct end, stream);
}

static void on_progress(struct stream *stream)
{
    struct end *end = end_of(stream);
    end->progress++;
    assert_true(outq_sent_total(&stream->out) > end->sent_at_progress);
    end->sent_at_progress = outq_sent_total(&stream->out);
}

static void on_failed(struct stream *stream, int status)
{
    end_of(stream)->failed++;
    end_of(stream)->status = status;
}

static size_t receive(struct end *end, size_t max);

static bool on_pin(struct stream *stream)
{
    struct end *end = end_of(stream);
    end->pinned++;
    if (end->reads_in_pin) {
        receive(end, SIZE_MAX);
    }
    return end->pins;
}

static const struct stream_ops ops = {.progress = on_progress, .failed = on_failed, .pin = on_pin};

/* How much the socket takes before it says EAGAIN; empty again afterwards. */
static size_t measure(const int fds[2])
{
    static uint8_t noise[65536];
    size_t total = 0;
    ssize_t n;
    while ((n = write(fds[0], noise, sizeof noise)) > 0) {
        total += (size_t)n;
    }
    while (read(fds[1], noise, sizeof noise) > 0) {
    }
    return total;
}

static struct end *end_new(void)
{
    struct end *end = calloc(1, sizeof *end);
    int fds[2], small = 16384;
    assert_non_null(end);
    assert_int_equal(uv_loop_init(&end->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    end->peer = fds[1];
    end->fits = measure(fds);
    end->buffers =
        (struct buffers){.permits = &end->permits, .limit = LONG_BYTES, .counters = &end->counters};
    list_init(&end->dirty);
    stream_init(&end->stream, &ops, &end->buffers, &end->dirty);
    assert_int_equal(uv_pipe_init(&end->loop, &end->stream.uv.pipe, 0), 0);
    assert_int_equal(uv_pipe_open(&end->stream.uv.pipe, fds[0]), 0);
    return end;
}

static void end_free(struct end *end)
{
    stream_done(&end->stream);
    assert_true(list_empty(&end->dirty));
    assert_int_equal(stream_unsent(&end->stream), 0);
    assert_int_equal(permit_taken(&end->permits), 0);
    uv_close(&end->stream.uv.handle, NULL);
    assert_int_equal(uv_run(&end->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&end->loop), 0);
    if (end->peer >= 0) {
        close(end->peer);
    }
    free(end);
}

/* The letters of a long text, each place its own. */
static uint8_t letter_at(uint64_t position)
{
    return (uint8_t)(position * 31 + (position >> 11));
}

static uint8_t *letters(uint64_t from, size_t len)
{
    uint8_t *text = malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++) {
        text[i] = letter_at(from + i);
    }
    return text;
}

static const uint8_t *letters_behind(struct end *end, uint64_t from)
{
    return end->behind = letters(from, 100);
}

/* What has arrived at the other side, up to max bytes: must be the letters in their order. */
static size_t receive(struct end *end, size_t max)
{
    static uint8_t got[65536];
    size_t total = 0;
    while (total < max) {
        size_t want = max - total < sizeof got ? max - total : sizeof got;
        ssize_t n = read(end->peer, got, want);
        if (n <= 0) {
            assert_true(n < 0 && errno == EAGAIN);
            break;
        }
        for (ssize_t i = 0; i < n; i++) {
            assert_int_equal(got[i], letter_at(end->received + (uint64_t)i));
        }
        end->received += (uint64_t)n;
        total += (size_t)n;
    }
    return total;
}

static void flush(struct end *end)
{
    while (!list_empty(&end->dirty)) {
        stream_flush(container_of(list_first(&end->dirty), struct stream, dirty));
    }
}

static void push(struct end *end, const uint8_t *bytes, size_t len)
{
    assert_true(stream_push(&end->stream, bytes, len));
}

/* ---- all goes at once ---------------------------------------------------------------------- */

static void test_what_fits_goes_at_once(void **state)
{
    struct end *end = end_new();
    uint8_t *text = letters(0, 300);
    struct iovec iov[2] = {{.iov_base = text + 100, .iov_len = 50},
                           {.iov_base = text + 150, .iov_len = 50}};
    (void)state;
    push(end, text, 100);
    assert_true(stream_push_iov(&end->stream, iov, 2));
    assert_int_equal(stream_unsent(&end->stream), 200);
    assert_int_equal(receive(end, 1), 0); /* not before the flush */
    flush(end);
    assert_int_equal(receive(end, SIZE_MAX), 200);
    assert_int_equal(end->progress, 1);
    assert_int_equal(end->pinned, 0);
    assert_int_equal(stream_taken_total(&end->stream), 200);
    flush(end); /* nothing to do, nobody to tell */
    push(end, text + 200, 0);
    flush(end);
    assert_int_equal(end->progress, 1);
    free(text);
    end_free(end);
}

static void test_blocks_are_charged_until_sent(void **state)
{
    struct end *end = end_new();
    uint8_t *block = buffers_alloc(&end->buffers, 500); /* 300 of it are used */
    uint8_t *text = letters(0, 200);
    (void)state;
    memcpy(block + 100, text, 200);
    free(text);
    assert_true(stream_push_block(&end->stream, block, 100, 200));
    assert_int_equal(permit_taken(&end->permits), 500);
    flush(end);
    assert_int_equal(permit_taken(&end->permits), 0);
    assert_int_equal(receive(end, SIZE_MAX), 200);
    end_free(end);
}

/* Long queues stand in front, where the early flush looks. */
static void test_long_queues_stand_in_front(void **state)
{
    struct end *one = end_new(), *two = end_new();
    uint8_t *text = letters(0, STREAM_EARLY_FLUSH_BYTES);
    (void)state;
    two->stream.dirty_head = &one->dirty;
    push(one, text, 10);
    push(two, text, STREAM_EARLY_FLUSH_BYTES - 1);
    assert_ptr_equal(list_first(&one->dirty), &one->stream.dirty);
    push(two, text + STREAM_EARLY_FLUSH_BYTES - 1, 1);
    assert_ptr_equal(list_first(&one->dirty), &two->stream.dirty);
    stream_done(&two->stream);
    free(text);
    end_free(two);
    end_free(one);
}

/* ---- the kernel takes a part --------------------------------------------------------------- */

/* Flushes, receives and lets libuv tell, until all has arrived. */
static void pump(struct end *end, uint64_t total)
{
    unsigned turns = 0;
    while (end->received < total || stream_unsent(&end->stream) > 0) {
        flush(end);
        receive(end, 20000);
        (void)uv_run(&end->loop, UV_RUN_NOWAIT);
        assert_true(stream_taken_total(&end->stream) >= end->received);
        assert_true(++turns < 100000);
    }
}

static void test_the_rest_is_copied_and_charged(void **state)
{
    struct end *end = end_new();
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    push(end, text, LONG_BYTES);
    flush(end);
    assert_int_equal(end->pinned, 1);
    size_t left = stream_unsent(&end->stream);
    assert_true(left > 0 && left < LONG_BYTES);
    assert_int_equal(permit_taken(&end->permits), left);
    memset(text, 0xdd, LONG_BYTES); /* the turn is over */
    free(text);
    pump(end, LONG_BYTES);
    assert_int_equal(permit_taken(&end->permits), 0);
    assert_int_equal(stream_taken_total(&end->stream), LONG_BYTES);
    assert_int_equal(end->failed, 0);
    end_free(end);
}

static void test_what_is_pinned_stays_where_it_is(void **state)
{
    struct end *end = end_new();
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    end->pins = true;
    push(end, text, LONG_BYTES);
    flush(end);
    assert_int_equal(end->pinned, 1);
    assert_int_equal(permit_taken(&end->permits), 0); /* its owner's */
    pump(end, LONG_BYTES);
    free(text);
    end_free(end);
}

/* What is pushed while libuv writes goes behind it, and is told in order. */
static void test_pushes_behind_a_pending_write(void **state)
{
    struct end *end = end_new();
    uint64_t total = 0;
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        size_t len = 1 + i * 137 % 30000;
        uint8_t *text = letters(total, len);
        if (i % 3) {
            push(end, text, len);
            total += len;
            flush(end);
            memset(text, 0xdd, len);
            free(text);
        } else {
            uint8_t *block = buffers_copy(&end->buffers, text, len);
            free(text);
            assert_true(stream_push_block(&end->stream, block, 0, len));
            total += len;
        }
        if (i % 5 == 0) {
            receive(end, 40000);
            (void)uv_run(&end->loop, UV_RUN_NOWAIT);
        }
        assert_int_equal(outq_pushed_total(&end->stream.out), total);
        assert_true(permit_taken(&end->permits) >= stream_unsent(&end->stream) ||
                    !list_empty(&end->dirty));
    }
    pump(end, total);
    assert_int_equal(stream_taken_total(&end->stream), total);
    end_free(end);
}

/* The kernel's progress within a long write is known to the byte before libuv tells of the whole. */
static void test_taken_within_a_write(void **state)
{
    struct end *end = end_new();
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    end->pins = true;
    push(end, text, LONG_BYTES);
    flush(end);
    unsigned progress = end->progress;
    uint64_t before = stream_taken_total(&end->stream);
    uint64_t told = outq_sent_total(&end->stream.out);
    receive(end, SIZE_MAX);
    (void)uv_run(&end->loop, UV_RUN_NOWAIT);
    assert_true(stream_taken_total(&end->stream) > before);
    assert_int_equal(outq_sent_total(&end->stream.out), told);
    assert_int_equal(end->progress, progress);
    stream_catch_up(&end->stream); /* not all of it: nothing to tell */
    assert_int_equal(end->progress, progress);
    pump(end, LONG_BYTES);
    free(text);
    end_free(end);
}

/* The peer reads between the flush's own write and uv_write(), which then takes all that is left but
 * tells only in the next turn: who catches up knows now. Told once either way. */
static void test_catching_up(void **state)
{
    (void)state;
    for (int catches_up = 0; catches_up < 2; catches_up++) {
        struct end *end = end_new();
        size_t len = end->fits + end->fits / 2;
        uint8_t *text = letters(0, len);
        end->pins = true;
        end->reads_in_pin = true;
        push(end, text, len);
        flush(end);
        assert_int_equal(end->pinned, 1);
        assert_true(end->stream.writing);
        assert_int_equal(stream_taken_total(&end->stream), len);
        assert_true(stream_unsent(&end->stream) > 0);
        assert_int_equal(end->progress, 1);
        if (catches_up) {
            stream_catch_up(&end->stream);
            assert_int_equal(stream_unsent(&end->stream), 0);
            assert_int_equal(end->progress, 2);
            stream_catch_up(&end->stream);
            push(end, letters_behind(end, len), 100); /* libuv still has the request */
            flush(end);
            assert_int_equal(stream_unsent(&end->stream), 100);
        }
        (void)uv_run(&end->loop, UV_RUN_NOWAIT);
        assert_int_equal(end->progress, 2);
        assert_false(end->stream.writing);
        pump(end, len + (catches_up ? 100 : 0));
        free(text);
        free(end->behind);
        end_free(end);
    }
}

/* ---- failing ------------------------------------------------------------------------------- */

static void test_a_dead_peer_is_told_once(void **state)
{
    struct end *end = end_new();
    uint8_t *text = letters(0, 1000);
    (void)state;
    close(end->peer);
    end->peer = -1;
    push(end, text, 500);
    flush(end);
    assert_int_equal(end->failed, 1);
    assert_int_equal(end->status, UV_EPIPE);
    assert_int_equal(end->progress, 0);
    push(end, text + 500, 500); /* its owner has not closed it yet */
    flush(end);
    assert_int_equal(end->failed, 1);
    free(text);
    end_free(end);
}

static void test_a_peer_that_dies_within_a_write(void **state)
{
    struct end *end = end_new();
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    push(end, text, LONG_BYTES);
    flush(end);
    unsigned progress = end->progress;
    close(end->peer);
    end->peer = -1;
    while (end->failed == 0) {
        (void)uv_run(&end->loop, UV_RUN_NOWAIT);
    }
    assert_true(end->status < 0);
    assert_int_equal(end->progress, progress);
    free(text);
    end_free(end); /* gives back what was charged */
    assert_true(progress <= 1);
}

/* The owner closes while libuv writes: nothing is told any more, all is freed. */
static void test_done_within_a_write(void **state)
{
    struct end *end = end_new();
    uint8_t *text = letters(0, LONG_BYTES);
    (void)state;
    push(end, text, LONG_BYTES);
    flush(end);
    assert_true(end->stream.writing);
    free(text);
    stream_done(&end->stream);
    assert_int_equal(permit_taken(&end->permits), 0);
    stream_catch_up(&end->stream);
    assert_int_equal(end->failed, 0);
    end_free(end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fits_goes_at_once),
        cmocka_unit_test(test_blocks_are_charged_until_sent),
        cmocka_unit_test(test_long_queues_stand_in_front),
        cmocka_unit_test(test_the_rest_is_copied_and_charged),
        cmocka_unit_test(test_what_is_pinned_stays_where_it_is),
        cmocka_unit_test(test_pushes_behind_a_pending_write),
        cmocka_unit_test(test_taken_within_a_write),
        cmocka_unit_test(test_catching_up),
        cmocka_unit_test(test_a_dead_peer_is_told_once),
        cmocka_unit_test(test_a_peer_that_dies_within_a_write),
        cmocka_unit_test(test_done_within_a_write),
    };
    signal(SIGPIPE, SIG_IGN); /* as the process does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
