/*
 * intake_test.c: who may read how much, and who waits, on a worker whose turns the test makes.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/intake.h"

#include "tests/sidecar/data/io/frame_rig.h"
#include "tests/sidecar/data/virtual_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static void nobody(void *owner)
{
    (void)owner;
}

struct world {
    struct bootstrap bootstrap;
    struct worker_env env;
    struct virtual_loop loop;
    struct worker *worker;
};

static struct world *world_new(uint64_t buffered_bytes)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->bootstrap.limits.frame_bytes = WIRE_FRAME_BYTES_DEFAULT;
    world->bootstrap.limits.buffered_bytes = buffered_bytes;
    world->bootstrap.limits.tuples = 1;
    world->env.bootstrap = &world->bootstrap;
    world->env.workers_len = 1;
    world->env.notify_control = nobody;
    world->worker = worker_new(&world->env, 0, 1, &virtual_driver, NULL);
    assert_non_null(world->worker);
    virtual_loop_open(&world->loop, world->worker);
    return world;
}

static void world_free(struct world *world)
{
    worker_stopped(world->worker);
    worker_free(world->worker);
    assert_int_equal(permit_taken(&world->env.buffered), 0);
    free(world);
}

static uint64_t buffered(const struct world *world)
{
    return permit_taken(&world->env.buffered);
}

/* Until the turn ends: who spins goes on, blocks are freed, the arena is empty again. */
static void turn(struct world *world)
{
    virtual_loop_turn(&world->loop);
}

/* One connection: what it read of its script, and how often it was told to go on. */
struct peer {
    struct intake intake;
    const struct script *script;
    size_t fed;
    unsigned frames, resumed;
};

static void take(struct peer *peer)
{
    struct frame frame;
    enum frame_verdict verdict;
    while ((verdict = intake_next(&peer->intake, &frame)) >= FRAME_READY) {
        message_done(&frame.message, &peer->intake.worker->buffers);
        peer->frames++;
    }
    assert_true(verdict == FRAME_NONE || verdict == FRAME_YIELD);
    assert_int_equal(event_waits(&peer->intake.spin), verdict == FRAME_YIELD);
    assert_true(intake_keep(&peer->intake));
}

static void resume(struct peer *peer)
{
    peer->intake.starving = false;
    peer->resumed++;
    take(peer);
}

static void on_spin(struct event *event)
{
    resume(container_of(event, struct peer, intake.spin));
}

static void on_starve(struct event *event)
{
    resume(container_of(event, struct peer, intake.starve));
}

static void peer_init(struct peer *peer, struct world *world, const struct script *script)
{
    *peer = (struct peer){.script = script};
    intake_init(&peer->intake, world->worker, &framing_framed, script->kind, on_spin, on_starve);
}

/* One read as a transport does it. Returns how much was read: at most max bytes, 0 where nothing
 * was lent. */
static size_t read_some(struct peer *peer, size_t max)
{
    size_t left = peer->script->wire.len - peer->fed;
    struct iovec room = intake_room(&peer->intake);
    if (room.iov_len == 0) {
        intake_unfilled(&peer->intake, room);
        return 0;
    }
    size_t n = room.iov_len < max ? room.iov_len : max;
    n = n < left ? n : left;
    memcpy(room.iov_base, peer->script->wire.p + peer->fed, n);
    peer->fed += n;
    intake_filled(&peer->intake, room, n);
    take(peer);
    return n;
}

/* ---- reading ------------------------------------------------------------------------------- */

static void test_reads_of_a_turn_are_bounded(void **state)
{
    static struct script script;
    struct peer peer;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    for (int i = 0; i < 100; i++) {
        script_add_call(&script, "echo", 100);
    }
    struct world *world = world_new(1 << 20);
    peer_init(&peer, world, &script);
    for (int i = 0; i < 3; i++) {
        for (int r = 0; r < WORKER_READS_PER_TURN; r++) {
            assert_int_not_equal(read_some(&peer, 1000), 0);
        }
        assert_int_equal(read_some(&peer, 1000), 0);
        assert_false(peer.intake.starving);
        turn(world);
    }
    intake_done(&peer.intake);
    world_free(world);
    script_done(&script);
}

/* What a read does not fill goes back: the arena holds what came, not what was lent. */
static void test_the_arena_holds_what_came(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "echo", 100);
    struct world *world = world_new(1 << 20);
    struct arena *arena = &world->worker->arena;
    for (int i = 0; i < 200; i++) { /* more pieces than the arena has */
        struct peer peer;
        peer_init(&peer, world, &script);
        assert_int_equal(read_some(&peer, SIZE_MAX), script.wire.len);
        struct iovec room = intake_room(&peer.intake);
        assert_int_equal(room.iov_len, WORKER_READ_BYTES);
        intake_unfilled(&peer.intake, room);
        assert_int_equal(peer.frames, 1);
        intake_done(&peer.intake);
    }
    assert_in_range(WORKER_ARENA_BYTES - arena_left(arena), 200 * script.wire.len,
                    200 * (script.wire.len + ARENA_ALIGN_BYTES));
    turn(world);
    assert_int_equal(arena_left(arena), WORKER_ARENA_BYTES);
    world_free(world);
    script_done(&script);
}

static void test_a_full_arena_lends_nothing(void **state)
{
    static struct script script;
    struct peer peer;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "echo", 100);
    struct world *world = world_new(1 << 20);
    peer_init(&peer, world, &script);
    while (arena_take(&world->worker->arena, WORKER_READ_BYTES)) {
    }
    assert_int_equal(read_some(&peer, SIZE_MAX), 0);
    assert_false(peer.intake.starving); /* the next turn brings an empty one */
    turn(world);
    assert_int_equal(read_some(&peer, SIZE_MAX), script.wire.len);
    intake_done(&peer.intake);
    world_free(world);
    script_done(&script);
}

/* A peer that sends slow frames faster than they are proved: no more is read before they are. */
static void test_what_is_there_comes_first(void **state)
{
    static struct script script;
    struct peer peer;
    (void)state;
    for (enum codec_scan_kind kind = CODEC_SCAN_REQUEST; kind <= CODEC_SCAN_REPLY; kind++) {
        script_init(&script, kind);
        for (int i = 0; i < 12; i++) {
            script_add_tiny(&script, 400000);
        }
        size_t one = script.frames[0].len;
        struct world *world = world_new(256 << 20);
        uint64_t most = 0;
        peer_init(&peer, world, &script);
        for (int turns = 0; peer.frames < 12; turns++) {
            assert_true(turns < 100000);
            while (peer.fed < script.wire.len && read_some(&peer, SIZE_MAX) > 0) {
                most = buffered(world) > most ? buffered(world) : most;
            }
            turn(world);
        }
        assert_true(peer.resumed > 12);
        assert_in_range(most, one / 2, 2 * one + WORKER_READS_PER_TURN * WORKER_READ_BYTES);
        intake_done(&peer.intake);
        world_free(world);
        script_done(&script);
    }
}

/* ---- waiting for buffers ------------------------------------------------------------------- */

static void test_the_oldest_frame_goes_on(void **state)
{
    static struct script script;
    struct peer old, young;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "large", 300000);
    struct world *world = world_new(100000);
    peer_init(&old, world, &script);
    peer_init(&young, world, &script);
    read_some(&old, 2000);
    read_some(&young, 2000);
    while (!old.intake.starving && old.frames == 0) {
        if (read_some(&young, SIZE_MAX) == 0 && young.intake.starving) {
            intake_starve(&young.intake);
        }
        read_some(&old, SIZE_MAX);
        turn(world);
    }
    assert_int_equal(old.frames, 1); /* over the limit, or both would wait for ever */
    assert_int_equal(young.frames, 0);
    assert_true(counter_get(&world->worker->counters, METRIC_BUFFERS_EXHAUSTED) > 0);

    /* Now it is the oldest one. */
    event_cancel(&young.intake.starve);
    while (young.frames == 0) {
        read_some(&young, SIZE_MAX);
        assert_false(young.intake.starving);
        turn(world);
    }
    intake_done(&old.intake);
    intake_done(&young.intake);
    assert_true(list_empty(&world->worker->incomplete));
    world_free(world);
    script_done(&script);
}

/* Half of the limit is set aside for connections, and the rest is not enough for any of the frames that
 * hold it: the oldest goes on all the same. */
static void test_the_oldest_frame_goes_on_beside_a_reserve(void **state)
{
    static struct script script;
    struct peer old, young;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "large", 600000);
    struct world *world = world_new(1 << 20);
    assert_true(permit_take(&world->env.connections, 1000, UINT64_MAX));
    peer_init(&old, world, &script);
    peer_init(&young, world, &script);
    read_some(&old, 40000);
    turn(world);
    read_some(&young, 50000);
    turn(world);
    for (int turns = 0; old.frames == 0; turns++) {
        assert_true(turns < 1000);
        read_some(&old, SIZE_MAX);
        read_some(&young, SIZE_MAX);
        turn(world);
    }
    intake_done(&old.intake);
    intake_done(&young.intake);
    turn(world);
    permit_give(&world->env.connections, 1000);
    world_free(world);
    script_done(&script);
}

/* Buffers are used up: a little may be begun by anybody, then the younger ones wait; a reply goes
 * on. */
static void test_requests_wait_and_replies_do_not(void **state)
{
    static struct script request, reply;
    struct peer older, caller, callee;
    (void)state;
    script_init(&request, CODEC_SCAN_REQUEST);
    script_init(&reply, CODEC_SCAN_REPLY);
    script_add_call(&request, "echo", 3 * BUFFERS_RESERVE_BYTES);
    script_add_call(&reply, "echo", 10);
    struct world *world = world_new(100000);
    peer_init(&older, world, &request);
    peer_init(&caller, world, &request);
    peer_init(&callee, world, &reply);
    void *others = buffers_alloc(&world->worker->buffers, 100000);
    assert_int_equal(read_some(&older, SIZE_MAX), BUFFERS_RESERVE_BYTES);
    assert_int_equal(read_some(&caller, SIZE_MAX), BUFFERS_RESERVE_BYTES);
    assert_int_equal(read_some(&caller, SIZE_MAX), 0);
    assert_true(caller.intake.starving);
    assert_int_equal(read_some(&callee, SIZE_MAX), reply.wire.len);
    assert_int_equal(callee.frames, 1);

    intake_starve(&caller.intake);
    intake_starve(&caller.intake); /* once is enough */
    assert_true(event_waits(&caller.intake.starve));
    assert_int_equal(world->worker->housekeeping.expires_ms,
                     worker_now_ms(world->worker) + WORKER_STARVED_POLL_MS);
    buffers_free(&world->worker->buffers, others);
    virtual_pass(&world->loop, 1, WORKER_STARVED_POLL_MS - 1);
    assert_int_equal(caller.resumed, 0);
    virtual_pass(&world->loop, 1, 1);
    assert_int_equal(caller.resumed, 1);
    assert_false(caller.intake.starving);
    while (caller.frames == 0) {
        assert_true(read_some(&caller, SIZE_MAX) > 0);
        turn(world);
    }
    intake_done(&older.intake);
    intake_done(&caller.intake);
    intake_done(&callee.intake);
    turn(world);
    world_free(world);
    script_done(&request);
    script_done(&reply);
}

/* The rest of a frame that failed its proof is skipped, not kept: it goes on without buffers. */
static void test_what_is_skipped_needs_no_buffers(void **state)
{
    static struct script script;
    struct peer older, peer;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "large", 300000);
    size_t first = script.wire.len;
    script_add_call(&script, "small", 10);
    struct world *world = world_new(100000);
    peer_init(&older, world, &script);
    peer_init(&peer, world, &script);
    read_some(&older, 2000);
    void *others = buffers_alloc(&world->worker->buffers, 100000);
    script.wire.p[WIRE_FRAME_LEN_BYTES + 17] = 0xff; /* the type of its field */
    for (int turns = 0; peer.frames < 2; turns++) {
        assert_true(turns < 1000);
        read_some(&peer, SIZE_MAX);
        turn(world);
    }
    assert_true(peer.fed > first);
    buffers_free(&world->worker->buffers, others);
    intake_done(&older.intake);
    intake_done(&peer.intake);
    turn(world);
    world_free(world);
    script_done(&script);
}

/* A connection that goes is told nothing any more. */
static void test_done_leaves_every_list(void **state)
{
    static struct script script;
    struct peer peer;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "large", 30000);
    struct world *world = world_new(1 << 20);
    peer_init(&peer, world, &script);
    read_some(&peer, 2000);
    intake_starve(&peer.intake);
    intake_spin(&peer.intake);
    intake_done(&peer.intake);
    assert_true(list_empty(&world->worker->incomplete));
    assert_true(list_empty(&world->worker->starved));
    assert_true(list_empty(&world->worker->spinning));
    turn(world);
    assert_int_equal(peer.resumed, 0);
    assert_int_equal(buffered(world), 0);
    world_free(world);
    script_done(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_of_a_turn_are_bounded),
        cmocka_unit_test(test_the_arena_holds_what_came),
        cmocka_unit_test(test_a_full_arena_lends_nothing),
        cmocka_unit_test(test_what_is_there_comes_first),
        cmocka_unit_test(test_the_oldest_frame_goes_on),
        cmocka_unit_test(test_the_oldest_frame_goes_on_beside_a_reserve),
        cmocka_unit_test(test_requests_wait_and_replies_do_not),
        cmocka_unit_test(test_what_is_skipped_needs_no_buffers),
        cmocka_unit_test(test_done_leaves_every_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
