/*
 * attempt_test.c: one try of a call, each state and event by what a callee or time did; and what
 * follows it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/plane_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define LONG_BYTES 5000

/* The call begun last, and its newest attempt. */
static struct call *call_of(const struct rig *rig)
{
    const struct worker *worker = rig_worker(rig, 0);
    assert_false(list_empty(&worker->live));
    return container_of(worker->live.prev, struct call, live);
}

static struct attempt *attempt_of(const struct rig *rig)
{
    const struct call *call = call_of(rig);
    assert_false(list_empty(&call->attempts));
    return container_of(call->attempts.prev, struct attempt, in_call);
}

static void assert_state(const struct rig *rig, enum attempt_state state)
{
    assert_string_equal(attempt_state_str((enum attempt_state)attempt_of(rig)->state),
                        attempt_state_str(state));
}

/* So many connections to RIG_PORT that have served a call and are idle. */
static struct memory_peer *with_idle(struct rig *rig, unsigned n)
{
    struct memory_peer *caller = rig_caller(rig, 0);
    for (unsigned i = 0; i < n; i++) {
        rig_call(caller, "M", (int32_t)i);
    }
    rig_rest(rig);
    for (unsigned i = 0; i < n; i++) {
        rig_answer(rig_callee(rig, i), "M");
    }
    rig_rest(rig);
    for (unsigned i = 0; i < n; i++) {
        rig_expect_reply(caller, "M", (int32_t)i);
    }
    return caller;
}

/* A rig with two endpoints, at RIG_PORT and the port behind it. */
static struct rig *rig_with_two(const char *json)
{
    struct rig *rig = rig_new(1);
    rig_serve(rig, RIG_PORT + 1);
    rig_begin(rig, json);
    return rig;
}

/* ---- tried again ----------------------------------------------------------------------------- */

/* The connection to which a message was handed that it does not take. */
static struct memory_peer *stuck_callee(const struct rig *rig)
{
    struct list *peers = (struct list *)(uintptr_t)&rig->net[0].peers;
    for (struct list *n = peers->next; n != peers; n = n->next) {
        struct memory_peer *peer = container_of(n, struct memory_peer, node);
        if (peer->pending && !memory_is_closed(peer)) {
            return peer;
        }
    }
    fail_msg("no message is stuck");
    return NULL;
}

/* An idle connection that dies with the message unsent says nothing of its endpoint: the same one,
 * again. */
static void test_unsent_on_a_reused_connection(void **state)
{
    struct rig *rig = rig_with_two("{\"lb\": \"round_robin\"}");
    struct memory_peer *caller = rig_caller(rig, 0);
    (void)state;
    for (uint16_t i = 0; i < 2; i++) { /* an idle one to each */
        rig_call(caller, "M", i);
        rig_rest(rig);
        struct memory_peer *callee = container_of(rig->net[0].peers.prev, struct memory_peer, node);
        rig_answer(callee, "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", i);
        callee->window = 10;
    }
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 9, .payload = LONG_BYTES});
    rig_rest(rig);
    assert_state(rig, ATTEMPT_STATE_SENDING);
    struct memory_peer *callee = stuck_callee(rig);
    uint16_t port = callee->port;
    memory_reset(callee);
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 3);
    rig_answer(memory_callee(&rig->net[0], port, 0), "M"); /* the whole message, from its start */
    rig_rest(rig);
    rig_expect_reply(caller, "M", 9);
    rig_free(rig);
}

/* Idle connections die one after the other: the third try makes one of its own. */
static void test_the_third_try_is_fresh(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = with_idle(rig, 4);
    for (unsigned i = 0; i < 4; i++) {
        rig_callee(rig, i)->window = 0;
    }
    rig_call(caller, "M", 7);
    rig_rest(rig);
    for (int i = 0; i < 2; i++) {
        memory_reset(stuck_callee(rig));
        rig_rest(rig);
    }
    assert_int_equal(rig->net[0].connects, 5);
    assert_int_equal(rig_callees(rig), 3); /* two idle ones are left, and were not asked */
    rig_answer(rig_callee(rig, 2), "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 7);
    rig_free(rig);
}

/* What never left is tried elsewhere, while there is another endpoint. */
static void test_unsent_on_a_fresh_connection(void **state)
{
    (void)state;
    for (int connects = 0; connects < 2; connects++) {
        struct rig *rig = rig_with_two("{}");
        enum memory_policy policy = connects ? MEMORY_HOLD : MEMORY_REFUSE;
        memory_policy(&rig->net[0], RIG_PORT, policy, -ECONNREFUSED);
        memory_policy(&rig->net[0], RIG_PORT + 1, policy, -ECONNREFUSED);
        struct memory_peer *caller = rig_caller(rig, 0);
        rig_send(caller, &(struct rig_request){.method = "M", .seqid = 1, .payload = LONG_BYTES});
        rig_rest(rig);
        for (uint16_t i = 0; connects && i < 2; i++) {
            struct memory_peer *callee =
                container_of(rig->net[0].peers.prev, struct memory_peer, node);
            callee->window = LONG_BYTES - 1;
            memory_connected(callee, 0);
            rig_rest(rig);
            memory_reset(callee);
            rig_rest(rig);
        }
        assert_int_equal(rig->net[0].connects, 2);
        rig_expect_failure(caller, 1, connects ? "[tside upstream_reset]" : "connecting failed");
        assert_int_equal(rig_metric(rig, METRIC_RETRIES), 1);
        rig_free(rig);
    }
}

static void test_another_endpoint_answers(void **state)
{
    struct rig *rig = rig_with_two("{\"lb\": \"round_robin\"}");
    (void)state;
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_FAIL, -ENETUNREACH);
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 4; i++) {
        rig_call(caller, "M", i);
        rig_rest(rig);
        rig_answer(memory_callee(&rig->net[0], RIG_PORT + 1, 0), "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", i);
    }
    assert_int_equal(rig_metric(rig, METRIC_RETRIES), 2);
    assert_int_equal(rig_reason(rig, REASON_OK), 4);
    rig_free(rig);
}

/* What may have reached the callee is not sent again. */
static void test_what_was_sent_is_not_sent_again(void **state)
{
    (void)state;
    for (int reused = 0; reused < 2; reused++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{}");
        struct memory_peer *caller = reused ? with_idle(rig, 1) : rig_caller(rig, 0);
        rig_call(caller, "M", 7);
        rig_rest(rig);
        assert_state(rig, ATTEMPT_STATE_SENT);
        assert_true(attempt_of(rig)->lease.reused == reused);
        memory_reset(rig_callee(rig, 0));
        rig_rest(rig);
        rig_expect_failure(caller, 7, "[tside upstream_reset]");
        assert_int_equal(rig_metric(rig, METRIC_RESENDS), 0);
        assert_int_equal(rig->net[0].connects, 1);
        rig_free(rig);
    }
}

static void test_tries_are_bounded(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    for (uint16_t i = 0; i < 6; i++) {
        rig_serve(rig, RIG_PORT + i);
        memory_policy(&rig->net[0], RIG_PORT + i, MEMORY_REFUSE, -ECONNREFUSED);
    }
    rig_begin(rig, "{\"retry\": {\"attempts\": 3}}");
    struct memory_peer *caller = rig_calling(rig);
    rig_expect_failure(caller, 1, ", try 4;");
    assert_int_equal(rig->net[0].connects, 4);
    assert_int_equal(rig_metric(rig, METRIC_RETRIES), 3);
    rig_free(rig);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* The connection is there when the deadline is: nothing is sent for a call that is over. */
static void test_the_deadline_within_a_tick(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 40}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    struct memory_peer *caller = rig_calling(rig);
    assert_state(rig, ATTEMPT_STATE_WAITING);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_pass(rig, 40);
    rig_expect_nothing(caller);
    memory_connected(callee, 0);
    rig_rest(rig);
    rig_expect_failure(caller, 1, "no answer within 40 ms");
    rig_expect_nothing(callee);
    assert_false(memory_is_closed(callee)); /* as good as before */
    rig_free(rig);
}

static void test_send_timeout(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"send_timeout_ms\": 100}");
    struct memory_peer *caller = with_idle(rig, 1);
    struct memory_peer *callee = rig_callee(rig, 0);
    callee->window = 10;
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 7, .payload = LONG_BYTES});
    rig_pass(rig, 60);
    callee->window = 10; /* a little is taken: the time counts from the first stop */
    rig_pass(rig, 40);
    rig_expect_nothing(caller);
    rig_pass(rig, 1);
    rig_expect_failure(caller, 7, "bytes were unsent for send_timeout_ms 100");
    assert_true(memory_is_closed(callee));
    assert_int_equal(rig_reason(rig, REASON_SEND_TIMEOUT), 1);
    rig_free(rig);
}

static void test_receive_timeout(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"receive_timeout_ms\": 100, \"send_timeout_ms\": 1000}");
    struct memory_peer *caller = with_idle(rig, 1);
    struct memory_peer *callee = rig_callee(rig, 0);
    callee->window = 10;
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 7, .payload = LONG_BYTES});
    rig_pass(rig, 300);
    callee->window = SIZE_MAX; /* from now on it is sent */
    rig_pass(rig, 100);
    assert_state(rig, ATTEMPT_STATE_SENT);
    rig_expect_nothing(caller);
    rig_pass(rig, 1);
    rig_expect_failure(caller, 7, "no answer within receive_timeout_ms 100");
    assert_true(memory_is_closed(callee));
    rig_free(rig);
}

/* Only what an endpoint can be blamed for counts against it. */
static void test_what_an_endpoint_is_blamed_for(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 200, \"pool\": {\"max_connections\": 1}}");
    const struct endpoint_state *endpoint = rig_endpoint(rig, RIG_PORT);
    struct memory_peer *caller = with_idle(rig, 1);
    struct memory_peer *other = rig_caller(rig, 0);
    assert_true(endpoint_ewma_us(endpoint) ==
                0); /* the first of all measures how callees start up */
    rig_call(caller, "M", 7);
    rig_rest(rig);
    rig_call(other, "M", 8);
    rig_pass(rig, 101); /* pool.wait_ms */
    rig_expect_failure(other, 8, "[tside pool_exhausted]");
    assert_true(endpoint_ewma_us(endpoint) == 0);
    rig_pass(rig, 100);
    rig_expect_failure(caller, 7, "[tside timeout]");
    double late = endpoint_ewma_us(endpoint);
    assert_true(late >= 200000);
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_REFUSE, -ECONNREFUSED);
    rig_call(caller, "M", 9);
    rig_rest(rig);
    rig_expect_failure(caller, 9, "[tside connect_failed]");
    assert_true(endpoint_ewma_us(endpoint) >= late);
    rig_free(rig);
}

/* A reply that stands still for the caller's sake says nothing of the endpoint. */
static void test_a_reply_that_is_not_read_is_not_blamed(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_config(rig, "Short", "{\"timeout_ms\": 100}");
    rig_begin(rig, "{}");
    const struct endpoint_state *endpoint = rig_endpoint(rig, RIG_PORT);
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "M", 1);
    rig_call(caller, "M", 2);
    rig_call(caller, "Short", 3);
    rig_rest(rig);
    struct memory_peer *second = rig_callee(rig, 1);
    rig_reply(second, "M", rig_expect_call(second, "M"), SESSION_UNSENT_HIGH + 1);
    rig_rest(rig); /* it is kept for its turn: the third is not read */
    double before = endpoint_ewma_us(endpoint);
    rig_pass(rig, 101);
    assert_true(endpoint_ewma_us(endpoint) == before);
    rig_serve_call(rig, caller, "M", 1);
    rig_expect_reply(caller, "M", 2);
    rig_expect_failure(caller, 3, "[tside timeout]");
    rig_free(rig);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* What the kernel does not take is copied once, charged, and let go when it is sent. */
static void test_what_is_stuck_is_owned_once(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = with_idle(rig, 1);
    struct memory_peer *callee = rig_callee(rig, 0);
    callee->window = 10;
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 7, .payload = LONG_BYTES});
    rig_rest(rig);
    const struct message *message = &call_of(rig)->request.wire.message;
    assert_non_null(message->block);
    assert_int_equal(permit_taken(&rig->env.buffered), message->len + message->head_room);
    for (size_t i = 0; i < 100; i++) {
        callee->window = 40;
        rig_rest(rig);
    }
    assert_state(rig, ATTEMPT_STATE_SENDING);
    callee->window = SIZE_MAX;
    rig_rest(rig);
    assert_state(rig, ATTEMPT_STATE_SENT);
    assert_int_equal(permit_taken(&rig->env.buffered), 0);
    rig_answer(callee, "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 7);
    rig_free(rig);
}

/* No memory to keep it by itself: the queue's copy goes out, and the call cannot be sent again.
 * None for either: the connection goes, and the call with it. */
static void test_no_memory_for_what_is_stuck(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{}");
        struct memory_peer *caller = with_idle(rig, 1);
        struct memory_peer *callee = rig_callee(rig, 0);
        callee->window = 10;
        rig_send(caller, &(struct rig_request){.method = "M", .seqid = 7, .payload = LONG_BYTES});
        rig_scarce(rig, 0, all);
        virtual_loop_turn(&rig->loop[0]);
        assert_true(scarce_end() > 0);
        rig_rest(rig);
        if (all) {
            rig_expect_failure(caller, 7, "[tside upstream_reset]");
            assert_true(memory_is_closed(callee));
        } else {
            assert_null(call_of(rig)->request.wire.message.body);
            callee->window = SIZE_MAX;
            rig_rest(rig);
            rig_answer(callee, "M");
            rig_rest(rig);
            rig_expect_reply(caller, "M", 7);
        }
        rig_free(rig);
    }
}

/* Many messages in one turn need more room in the queue than stands in it: the connection goes, and
 * what it had not sent goes out on another one. */
static void test_no_memory_to_queue_a_message(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_expect_call(callee, "O");
    for (int i = 0; i < 20; i++) {
        rig_oneway(caller, "O");
    }
    rig_scarce(rig, 0, false);
    rig_rest(rig);
    assert_int_equal(scarce_end(), 1);
    assert_true(memory_is_closed(callee));
    rig_expect_nothing(callee);
    for (int i = 0; i < 20; i++) {
        rig_expect_call(rig_callee(rig, 0), "O");
    }
    assert_int_equal(rig_reason(rig, REASON_OK), 21);
    rig_free(rig);
}

/* There is no memory for the attempt itself. */
static void test_no_memory_for_an_attempt(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = with_idle(rig, 1);
    rig_pass(rig, 3 * WORKER_TICK_MS); /* the slabs have given back what was idle */
    assert_int_equal(rig_worker(rig, 0)->attempts.blocks, 0);
    rig_call(caller, "M", 7);
    rig_scarce(rig, 1, false); /* the call's own block comes first */
    rig_rest(rig);
    assert_int_equal(scarce_end(), 1);
    rig_expect_failure(caller, 7, "[tside internal] app/default/svc/default/M: out of memory");
    rig_free(rig);
}

/* The caller's connection ends in the callback in which the call began: nothing was asked of the
 * callee yet. */
static void test_ended_before_it_could_send(void **state)
{
    struct rig *rig = rig_new(1);
    struct bytes wire = {0};
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = with_idle(rig, 1);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_put(&wire, &(struct rig_request){.method = "M", .seqid = 7});
    memory_send(caller, wire.p, wire.len);
    memory_send(caller, wire.p,
                wire.len / 2); /* there is no memory to keep the beginning of this one */
    rig_scarce(rig, 0, false);
    rig_rest(rig);
    assert_int_equal(scarce_end(), 1);
    assert_true(memory_is_closed(caller));
    rig_expect_nothing(callee);
    assert_false(memory_is_closed(callee));
    assert_int_equal(steps_of_attempt(ATTEMPT_STATE_PICKED, ATTEMPT_EVENT_ENDED), 1);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);
    bytes_done(&wire);
    rig_free(rig);
}

/* A message cannot be queued for want of memory, and before its connection is closed for that, one more
 * message takes the connection: the queue of events has both. Whichever allocation fails, all go out or
 * the caller has gone. */
static void test_no_memory_while_another_message_comes(void **state)
{
    unsigned failed = 1;
    (void)state;
    for (unsigned n = 0; failed > 0; n++) {
        struct rig *rig = rig_new(1);
        rig->bootstrap.limits.pipelined_calls = 13;
        rig_config(rig, "D", "{\"access\": \"deny\"}");
        rig_begin(rig, "{}");
        struct memory_peer *caller = rig_caller(rig, 0);
        rig_oneway(caller, "O");
        rig_call(caller, "D", 1);
        rig_rest(rig);
        rig_expect_failure(caller, 1, "[tside denied]");
        for (int i = 0; i < 12; i++) {
            rig_oneway(caller, "O");
        }
        rig_call(caller, "D", 2); /* answered at once: the session reads on */
        rig_oneway(caller, "O");  /* was kept meanwhile */
        rig_scarce(rig, n, false);
        rig_rest(rig);
        failed = scarce_end();
        assert_true(memory_is_closed(caller) || rig_reason(rig, REASON_OK) == 14);
        rig_free(rig);
    }
}

/* ---- two at once ----------------------------------------------------------------------------- */

/* One more attempt of the call begun last, on the other one of two endpoints. */
static void hedge(struct rig *rig)
{
    struct call *call = call_of(rig);
    struct attempt *second = attempt_new(call, 1 - attempt_of(rig)->target);
    assert_non_null(second);
    attempt_start(second, 0);
}

/* Both callees were sent the same message, each under its own seqid. */
static void assert_same_message(struct memory_peer *const callees[2], int32_t ret_seqid[2])
{
    struct rig_message message[2];
    for (int i = 0; i < 2; i++) {
        assert_true(rig_next(callees[i], &message[i]));
        ret_seqid[i] = message[i].seqid;
    }
    assert_int_equal(message[0].len, message[1].len);
    assert_int_not_equal(message[0].seqid, message[1].seqid);
    size_t behind = 4 + 4 + 1 + 4; /* version, length and text of the name, seqid */
    assert_memory_equal(message[0].body + behind, message[1].body + behind,
                        message[0].len - behind);
}

/* A call whose bytes are queued for two callees at once, borrowed from one read; each takes as many
 * of them at first as its window says. */
static struct rig *hedged(struct memory_peer **ret_caller, struct memory_peer *callees[2],
                          const size_t windows[2])
{
    struct rig *rig = rig_with_two("{\"lb\": \"round_robin\"}");
    struct virtual_loop *loop = &rig->loop[0];
    struct memory_peer *caller = *ret_caller = rig_caller(rig, 0);
    for (uint16_t i = 0; i < 2; i++) {
        rig_call(caller, "M", i);
        rig_rest(rig);
        callees[i] = container_of(rig->net[0].peers.prev, struct memory_peer, node);
        rig_answer(callees[i], "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", i);
        callees[i]->window = windows[i];
    }
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 7, .payload = LONG_BYTES});
    loop->sockets->poll(loop); /* the call is read, its first attempt has queued it */
    assert_state(rig, ATTEMPT_STATE_SENDING);
    virtual_loop_enter(loop);
    hedge(rig);
    virtual_loop_leave(loop);
    assert_state(rig, ATTEMPT_STATE_SENDING);
    assert_null(call_of(rig)->request.wire.message.block);
    worker_after_poll(loop->worker);
    const struct message *message = &call_of(rig)->request.wire.message;
    assert_int_equal(permit_taken(&rig->env.buffered), message->len + message->head_room);
    rig_rest(rig);
    return rig;
}

/* What the kernel does not take of each is kept in one copy. The first reply is the answer, the
 * other attempt ends. */
static void test_two_attempts_at_once(void **state)
{
    (void)state;
    for (size_t window = 0; window <= LONG_BYTES; window += LONG_BYTES / 2) {
        struct memory_peer *caller, *callees[2];
        int32_t seqids[2];
        struct rig *rig = hedged(&caller, callees, (size_t[2]){window, window});
        callees[0]->window = callees[1]->window = SIZE_MAX;
        rig_rest(rig);
        assert_same_message(callees, seqids);
        rig_reply(callees[1], "M", seqids[1], 0);
        rig_rest(rig);
        rig_expect_reply(caller, "M", 7);
        assert_true(memory_is_closed(callees[0]));
        assert_false(memory_is_closed(callees[1]));
        rig_free(rig);
    }
}

/* One callee may have run it: the other attempt goes on, and it is not sent a third time. */
static void test_one_of_two_attempts_is_lost(void **state)
{
    struct memory_peer *caller, *callees[2];
    struct rig *rig = hedged(&caller, callees, (size_t[2]){SIZE_MAX, 10});
    (void)state;
    rig_expect_call(callees[0], "M");
    memory_reset(callees[0]);
    rig_rest(rig);
    rig_expect_nothing(caller);
    callees[1]->window = SIZE_MAX;
    rig_rest(rig);
    memory_reset(callees[1]);
    rig_rest(rig);
    rig_expect_failure(caller, 7, "[tside upstream_reset]");
    assert_int_equal(rig_metric(rig, METRIC_RESENDS), 0);
    assert_int_equal(rig->net[0].connects, 2);
    rig_free(rig);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void test_every_legal_step_was_taken(void **state)
{
    (void)state;
    assert_int_equal(steps_missing_of_attempt(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unsent_on_a_reused_connection),
        cmocka_unit_test(test_the_third_try_is_fresh),
        cmocka_unit_test(test_unsent_on_a_fresh_connection),
        cmocka_unit_test(test_another_endpoint_answers),
        cmocka_unit_test(test_what_was_sent_is_not_sent_again),
        cmocka_unit_test(test_tries_are_bounded),
        cmocka_unit_test(test_the_deadline_within_a_tick),
        cmocka_unit_test(test_send_timeout),
        cmocka_unit_test(test_receive_timeout),
        cmocka_unit_test(test_what_an_endpoint_is_blamed_for),
        cmocka_unit_test(test_a_reply_that_is_not_read_is_not_blamed),
        cmocka_unit_test(test_what_is_stuck_is_owned_once),
        cmocka_unit_test(test_no_memory_for_what_is_stuck),
        cmocka_unit_test(test_no_memory_to_queue_a_message),
        cmocka_unit_test(test_no_memory_for_an_attempt),
        cmocka_unit_test(test_ended_before_it_could_send),
        cmocka_unit_test(test_no_memory_while_another_message_comes),
        cmocka_unit_test(test_two_attempts_at_once),
        cmocka_unit_test(test_one_of_two_attempts_is_lost),
        cmocka_unit_test(test_every_legal_step_was_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
