/*
 * channel_input_test.c: the receiving half of a connection: messages, what is kept, the end.
 *
 * The test plays the loop's part: it sends at the other side, and lets libuv read.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/bytes.h"
#include "tests/sidecar/data/io/channel_rig.h"

#include "sidecar/data/loop/uv_driver.h"

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

static void put_call(struct bytes *out, size_t payload)
{
    struct bytes body = {0};
    bytes_put_header(&body, WIRE_CALL, "echo", 1);
    bytes_put_field(&body, WIRE_STRING, 1);
    bytes_put32(&body, (uint32_t)payload);
    for (size_t i = 0; i < payload; i++) {
        bytes_put8(&body, (uint8_t)i);
    }
    bytes_put8(&body, WIRE_STOP);
    bytes_put_string(out, body.p, body.len);
    bytes_done(&body);
}

/* Elements of a byte or so each: longer than one turn may prove. */
static void put_slow_call(struct bytes *out, uint32_t elements)
{
    struct bytes body = {0};
    bytes_put_header(&body, WIRE_CALL, "slow", 1);
    bytes_put_field(&body, WIRE_LIST, 1);
    bytes_put8(&body, WIRE_STRUCT);
    bytes_put32(&body, elements);
    for (uint32_t i = 0; i < elements; i++) {
        bytes_put_field(&body, WIRE_BOOL, 1);
        bytes_put8(&body, 1);
        bytes_put8(&body, WIRE_STOP);
    }
    bytes_put8(&body, WIRE_STOP);
    bytes_put_string(out, body.p, body.len);
    bytes_done(&body);
}

/* The peer sends all of it, as fast as it is read. */
static void send_all(struct end *end, const struct bytes *bytes)
{
    size_t sent = 0;
    unsigned turns = 0;
    while (sent < bytes->len) {
        ssize_t n = write(end->peer, bytes->p + sent, bytes->len - sent);
        sent += n > 0 ? (size_t)n : 0;
        turn(end->host);
        assert_true(++turns < 100000);
    }
}

static void test_messages_come_whole_and_in_order(void **state)
{
    struct host *host = host_new();
    struct end *end = end_with(host, &framing_framed);
    struct bytes wire = {0};
    (void)state;
    put_call(&wire, 10);
    put_call(&wire, 300000);
    put_call(&wire, 5);
    channel_read_start(&end->channel);
    channel_read_start(&end->channel); /* harmless */
    send_all(end, &wire);
    while (end->messages < 3) {
        turn(host);
    }
    assert_false(channel_in_frame(&end->channel));
    assert_int_equal(write(end->peer, wire.p, 3), 3);
    while (!channel_in_frame(&end->channel)) {
        turn(host);
    }
    hang_up(end);
    while (end->ended == 0) {
        turn(host);
    }
    assert_int_equal(end->status, TRANSPORT_EOF);
    assert_true(channel_in_frame(&end->channel)); /* cut short */
    bytes_done(&wire);
    end_free(end);
    host_free(host);
}

/* What is not taken up is kept; whether more waits in the socket can be asked without reading. */
static void test_what_is_not_taken_up_is_kept(void **state)
{
    struct host *host = host_new();
    struct end *end = end_with(host, &framing_framed);
    struct bytes wire = {0};
    (void)state;
    put_call(&wire, 10);
    end->takes = false;
    assert_false(channel_bytes_wait(&end->channel));
    channel_read_start(&end->channel);
    send_all(end, &wire);
    while (!channel_has_input(&end->channel)) {
        turn(host);
    }
    channel_read_stop(&end->channel);
    assert_int_equal(write(end->peer, wire.p, wire.len), wire.len);
    turn(host);
    assert_true(channel_bytes_wait(&end->channel));
    assert_int_equal(end->messages, 0);
    assert_true(charged(host) > 0);

    end->takes = true;
    channel_input_later(&end->channel);
    turn(host);
    assert_int_equal(end->messages, 1);
    channel_read_start(&end->channel);
    while (end->messages < 2) {
        turn(host);
    }
    assert_false(channel_bytes_wait(&end->channel));
    bytes_done(&wire);
    end_free(end);
    host_free(host);
}

/* The peer has hung up while a long message is still being proved: that is offered first. */
static void test_the_end_comes_behind_what_came_whole(void **state)
{
    struct host *host = host_new();
    struct end *end = end_with(host, &framing_framed);
    struct bytes wire = {0};
    (void)state;
    put_slow_call(&wire, 200000);
    channel_read_start(&end->channel);
    send_all(end, &wire);
    hang_up(end);
    while (end->ended == 0) {
        assert_int_equal(end->messages, 0);
        turn(host);
    }
    assert_int_equal(end->messages, 1);
    assert_int_equal(end->status, TRANSPORT_EOF);
    bytes_done(&wire);
    end_free(end);
    host_free(host);
}

static int refuse_to_read(struct transport *transport)
{
    (void)transport;
    return -ENOMEM;
}

/* Reading that cannot even begin ends the channel like a connection that fails. */
static void test_reading_that_fails_to_start(void **state)
{
    struct host *host = host_new();
    struct end *end = end_new(host);
    struct transport_ops refusing = transport_unix;
    (void)state;
    refusing.read_start = refuse_to_read;
    end->channel.transport.ops = &refusing;
    channel_read_start(&end->channel);
    assert_int_equal(end->ended, 0); /* from the loop, never from within */
    turn(host);
    assert_int_equal(end->ended, 1);
    assert_int_equal(end->status, -ENOMEM);
    end_free(end);
    host_free(host);
}

/* No buffers: the owner is asked, and goes on when there are some. */
static void test_starving(void **state)
{
    struct host *host = host_new();
    struct end *end = end_with(host, &framing_framed);
    struct end *older = end_with(host, &framing_framed);
    struct bytes wire = {0};
    (void)state;
    put_call(&wire, 100000);
    void *others = buffers_alloc(&host->worker->buffers, host->bootstrap.limits.buffered_bytes);
    channel_read_start(&older->channel); /* the oldest could go on over the limit */
    assert_int_equal(write(older->peer, wire.p, 100), 100);
    while (!channel_in_frame(&older->channel)) {
        turn(host);
    }
    channel_read_start(&end->channel);
    assert_int_equal(write(end->peer, wire.p, 50000), 50000);
    while (end->starved == 0) {
        turn(host);
    }
    assert_false(end->channel.reading);
    buffers_free(&host->worker->buffers, others);
    while (event_waits(&end->channel.intake.starve)) {
        (void)uv_run(uv_driver_loop(host->worker), UV_RUN_ONCE); /* waits for the poll's timer */
    }
    channel_read_start(&end->channel);
    size_t sent = 50000;
    while (end->messages == 0) {
        ssize_t n = write(end->peer, wire.p + sent, wire.len - sent);
        sent += n > 0 ? (size_t)n : 0;
        turn(host);
    }
    bytes_done(&wire);
    end_free(older);
    end_free(end);
    host_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_come_whole_and_in_order),
        cmocka_unit_test(test_what_is_not_taken_up_is_kept),
        cmocka_unit_test(test_the_end_comes_behind_what_came_whole),
        cmocka_unit_test(test_reading_that_fails_to_start),
        cmocka_unit_test(test_starving),
    };
    signal(SIGPIPE, SIG_IGN); /* as the process does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
