/*
 * tests/sidecar/data/io/channel_rig.c: see channel_rig.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/io/channel_rig.h"

#include "codec/wire.h"
#include "sidecar/data/loop/uv_driver.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

/* ---- the host ------------------------------------------------------------------------------ */

static void notify_nothing(void *owner)
{
    (void)owner;
}

static void end_nothing(struct worker *worker)
{
    (void)worker;
}

static const struct worker_parts parts = {.end = end_nothing};

struct host *host_new(void)
{
    struct host *host = calloc(1, sizeof *host);
    assert_non_null(host);
    host->bootstrap.limits.frame_bytes = WIRE_FRAME_BYTES_DEFAULT;
    host->bootstrap.limits.buffered_bytes = 64u << 20;
    host->env.bootstrap = &host->bootstrap;
    host->env.workers_len = 1;
    host->env.notify_control = notify_nothing;
    host->worker = worker_new(&host->env, 0, 1, &uv_worker_driver, &parts);
    assert_non_null(host->worker);
    assert_int_equal(uv_driver_open(host->worker), 0);
    return host;
}

void turn(struct host *host)
{
    (void)uv_run(uv_driver_loop(host->worker), UV_RUN_NOWAIT);
}

void flush(struct host *host)
{
    worker_before_poll(host->worker);
}

uint64_t charged(const struct host *host)
{
    return permit_taken(&host->env.buffered);
}

void host_free(struct host *host)
{
    uv_driver_close(host->worker);
    assert_int_equal(charged(host), 0);
    worker_free(host->worker);
    free(host);
}

/* ---- what the channel reports -------------------------------------------------------------- */

static struct end *end_of(struct channel *channel)
{
    return container_of(channel, struct end, channel);
}

static bool on_received(struct channel *channel, const uint8_t *bytes, size_t n)
{
    (void)channel;
    (void)bytes;
    assert_true(n > 0);
    return true;
}

static void on_input(struct channel *channel)
{
    struct end *end = end_of(channel);
    struct frame frame;
    while (end->takes && channel_next(channel, &frame) == FRAME_READY) {
        message_done(&frame.message, &channel->worker->buffers);
        end->messages++;
    }
}

static void on_ended(struct channel *channel, int status)
{
    end_of(channel)->ended++;
    end_of(channel)->status = status;
}

static void on_starved(struct channel *channel)
{
    end_of(channel)->starved++;
    channel_read_starve(channel);
}

static void on_progress(struct channel *channel)
{
    struct end *end = end_of(channel);
    end->progress++;
    assert_true(channel_sent_total(channel) > end->sent_at_progress);
    end->sent_at_progress = channel_sent_total(channel);
}

static bool on_pin(struct channel *channel)
{
    struct end *end = end_of(channel);
    end->pinned++;
    if (end->reads_in_pin) {
        receive(end, SIZE_MAX);
    }
    return end->pins;
}

static void on_closed(struct channel *channel)
{
    end_of(channel)->closed = true;
}

static const struct channel_ops ops = {
    .received = on_received,
    .input = on_input,
    .ended = on_ended,
    .starved = on_starved,
    .progress = on_progress,
    .pin = on_pin,
    .closed = on_closed,
};

/* ---- an end -------------------------------------------------------------------------------- */

/* Nothing stands in front of a message: the stream is what was pushed. */
static void write_no_head(uint8_t *head, uint32_t len)
{
    (void)head;
    (void)len;
}

static const struct framing bare = {.name = "bare", .head_write = write_no_head};

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

struct end *end_with(struct host *host, const struct framing *framing)
{
    struct end *end = calloc(1, sizeof *end);
    int fds[2], small = 16384;
    assert_non_null(end);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    end->host = host;
    end->peer = fds[1];
    end->fits = measure(fds);
    end->takes = true;
    channel_init(&end->channel, host->worker, &ops, &transport_unix, framing, CODEC_SCAN_REQUEST);
    assert_int_equal(channel_open(&end->channel, &fds[0]), 0);
    return end;
}

struct end *end_new(struct host *host)
{
    return end_with(host, &bare);
}

void hang_up(struct end *end)
{
    close(end->peer);
    end->peer = -1;
}

void end_free(struct end *end)
{
    channel_close(&end->channel, false);
    assert_int_equal(channel_unsent(&end->channel), 0);
    assert_false(event_waits(&end->channel.flush));
    channel_close(&end->channel, false); /* twice is once */
    while (!end->closed) {
        turn(end->host);
    }
    if (end->peer >= 0) {
        hang_up(end);
    }
    free(end->behind);
    free(end);
}

static uint8_t letter_at(uint64_t position)
{
    return (uint8_t)(position * 31 + (position >> 11));
}

uint8_t *letters(uint64_t from, size_t len)
{
    uint8_t *text = malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++) {
        text[i] = letter_at(from + i);
    }
    return text;
}

size_t receive(struct end *end, size_t max)
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

void push(struct end *end, uint8_t *bytes, size_t len)
{
    struct message message = {.body = bytes, .len = (uint32_t)len};
    assert_true(channel_push_message(&end->channel, &message));
    assert_null(message.body);
}

void pump(struct end *end, uint64_t total)
{
    unsigned turns = 0;
    while (end->received < total || channel_unsent(&end->channel) > 0) {
        flush(end->host);
        receive(end, 20000);
        turn(end->host);
        channel_check(&end->channel);
        assert_true(channel_taken_total(&end->channel) >= end->received);
        assert_true(++turns < 100000);
    }
}
