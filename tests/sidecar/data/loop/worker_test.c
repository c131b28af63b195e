/*
 * worker_test.c: turns, timers, mail and phases of a worker on which nothing hangs but what the
 * test does.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/worker.h"

#include "sidecar/shared/record.h"
#include "tests/sidecar/data/virtual_loop.h"
#include "tests/sidecar/world.h"

#define LOG_LINES 10000 /* more than the ring holds */

/* A worker, and how often it asked for what. */
struct fixture {
    struct bootstrap bootstrap;
    struct worker_env env;
    struct worker *worker;
    struct virtual_loop loop;
    struct world world;
    unsigned notified, rules, mails, ticks, drains, ends;
    uint32_t mail; /* the bits of the last */
};

static struct fixture *fixture_of(const struct worker *worker)
{
    return worker->env->owner;
}

static void on_notify(void *owner)
{
    ((struct fixture *)owner)->notified++;
}

static void on_rules(struct worker *worker)
{
    fixture_of(worker)->rules++;
}

static void on_mail(struct worker *worker, uint32_t mail)
{
    fixture_of(worker)->mails++;
    fixture_of(worker)->mail = mail;
}

static void on_tick(struct worker *worker)
{
    fixture_of(worker)->ticks++;
}

static void on_drain(struct worker *worker)
{
    fixture_of(worker)->drains++;
}

static void on_end(struct worker *worker)
{
    fixture_of(worker)->ends++;
}

static const struct worker_parts parts = {
    .rules = on_rules, .mail = on_mail, .tick = on_tick, .drain = on_drain, .end = on_end};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->bootstrap.limits.buffered_bytes = 1 << 20;
    f->env.bootstrap = &f->bootstrap;
    f->env.workers_len = 1;
    f->env.notify_control = on_notify;
    f->env.owner = f;
    world_init(&f->world);
    f->worker = worker_new(&f->env, 0, 1, &virtual_driver, &parts);
    assert_non_null(f->worker);
    slab_init(&f->worker->calls, 64);
    slab_init(&f->worker->attempts, 64);
    virtual_loop_open(&f->loop, f->worker);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (!f->loop.closed) {
        worker_end(f->worker);
    }
    worker_stopped(f->worker);
    assert_int_equal(permit_taken(&f->env.buffered), 0);
    worker_free(f->worker);
    world_done(&f->world);
    free(f);
    return 0;
}

/* What an event of the test leaves behind. */
struct noted {
    struct event event;
    struct timer_node timer;
    struct worker *worker;
    unsigned ran;
    uint64_t at_ms;
};

static void on_event(struct event *event)
{
    struct noted *noted = container_of(event, struct noted, event);
    noted->ran++;
    noted->at_ms = worker_now_ms(noted->worker);
}

static void on_timer(struct timer_node *timer)
{
    struct noted *noted = container_of(timer, struct noted, timer);
    worker_event_post(noted->worker, &noted->event);
}

static void noted_init(struct noted *noted, struct worker *worker)
{
    *noted = (struct noted){.worker = worker, .timer = {.fire = on_timer}};
    event_init(&noted->event, on_event);
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void test_what_is_to_be_sent_is_flushed_twice_a_turn(void **state)
{
    struct fixture *f = *state;
    struct noted early, dirty;
    noted_init(&early, f->worker);
    noted_init(&dirty, f->worker);
    list_push_back(&f->worker->dirty, &dirty.event.node);
    list_push_back(&f->worker->early, &early.event.node);
    worker_flush_early(f->worker);
    assert_int_equal(early.ran, 1);
    assert_int_equal(dirty.ran, 0);
    worker_before_poll(f->worker);
    assert_int_equal(dirty.ran, 1);
    list_push_back(&f->worker->dirty, &dirty.event.node);
    uint64_t turn = f->worker->turn;
    worker_after_poll(f->worker);
    assert_int_equal(dirty.ran, 2);
    assert_int_equal(f->worker->turn, turn + 1);
}

/* The turn's memory: the arena and the blocks that may still be borrowed from end with it. */
static void test_loans_end_with_the_turn(void **state)
{
    struct fixture *f = *state;
    assert_non_null(arena_take(&f->worker->arena, 1000));
    buffers_pile_add(&f->worker->pile, buffers_alloc(&f->worker->buffers, 500));
    worker_before_poll(f->worker);
    assert_true(arena_left(&f->worker->arena) < WORKER_ARENA_BYTES);
    assert_int_equal(permit_taken(&f->env.buffered), 500);
    worker_after_poll(f->worker);
    assert_int_equal(arena_left(&f->worker->arena), WORKER_ARENA_BYTES);
    assert_int_equal(permit_taken(&f->env.buffered), 0);
}

static void test_what_spins_goes_on_in_the_next_turn(void **state)
{
    struct fixture *f = *state;
    struct noted noted;
    noted_init(&noted, f->worker);
    worker_spin(f->worker, &noted.event);
    worker_spin(f->worker, &noted.event); /* once */
    assert_true(f->loop.spinning);
    assert_int_equal(noted.ran, 0);
    virtual_loop_turn(&f->loop);
    assert_int_equal(noted.ran, 1);
    assert_false(f->loop.spinning);
    virtual_loop_turn(&f->loop);
    assert_int_equal(noted.ran, 1);
}

static void test_what_starves_looks_again(void **state)
{
    struct fixture *f = *state;
    struct noted noted;
    struct list frame;
    noted_init(&noted, f->worker);
    list_init(&frame);
    void *block = buffers_alloc(&f->worker->buffers, 1 << 20);
    worker_starve(f->worker, &noted.event);
    virtual_pass(&f->loop, 1, 10 * WORKER_STARVED_POLL_MS);
    assert_int_equal(noted.ran, 0);
    list_push_back(&f->worker->incomplete,
                   &frame); /* the oldest may go on over the limit: it looks */
    virtual_pass(&f->loop, 1, WORKER_STARVED_POLL_MS);
    assert_int_equal(noted.ran, 1);
    list_remove(&frame);
    worker_starve(f->worker, &noted.event);
    buffers_free(&f->worker->buffers, block);
    virtual_pass(&f->loop, 1, WORKER_STARVED_POLL_MS);
    assert_int_equal(noted.ran, 2);
}

/* ---- timers ---------------------------------------------------------------------------------- */

/* What a timer causes comes before what the next one does. */
static void test_events_run_between_timers(void **state)
{
    struct fixture *f = *state;
    struct noted first, second;
    noted_init(&first, f->worker);
    noted_init(&second, f->worker);
    uint64_t now_ms = worker_now_ms(f->worker);
    worker_timer_set(f->worker, &first.timer, now_ms + 7);
    worker_timer_set(f->worker, &second.timer, now_ms + 9);
    virtual_pass(&f->loop, 1, 6);
    assert_int_equal(first.ran, 0);
    virtual_pass(&f->loop, 1, 2);
    assert_int_equal(first.at_ms, now_ms + 7);
    assert_int_equal(second.ran, 0);
    virtual_pass(&f->loop, 1, 1);
    assert_int_equal(second.at_ms, now_ms + 9);
    worker_timer_set(f->worker, &first.timer, now_ms + 20);
    worker_timer_cancel(f->worker, &first.timer);
    virtual_pass(&f->loop, 1, 50);
    assert_int_equal(first.ran, 1);
}

/* The process stood still: the sockets are looked at once before the timers that are late fire. */
static void test_a_loop_that_stood_still(void **state)
{
    struct fixture *f = *state;
    struct noted noted;
    noted_init(&noted, f->worker);
    worker_timer_set(f->worker, &noted.timer, worker_now_ms(f->worker) + 10);
    f->loop.now_us += (10 + WORKER_LATE_MS) * 1000;
    virtual_loop_turn(&f->loop);
    assert_int_equal(noted.ran, 0);
    virtual_loop_turn(&f->loop);
    assert_int_equal(noted.ran, 1);

    worker_timer_set(f->worker, &noted.timer, worker_now_ms(f->worker) + 10);
    f->loop.now_us += (10 + WORKER_LATE_MS - 1) * 1000; /* a little late is no standing still */
    virtual_loop_turn(&f->loop);
    assert_int_equal(noted.ran, 2);
}

/* Housekeeping begins with the first snapshot. The heartbeat does not wait for it. */
static void test_ticks_and_the_heartbeat(void **state)
{
    struct fixture *f = *state;
    virtual_pass(&f->loop, 1, 3 * WORKER_TICK_MS);
    assert_int_equal(f->ticks, 0);
    assert_int_equal(f->worker->heartbeat_ms, virtual_loop_now_ms(&f->loop));
    world_commit(&f->world);
    worker_offer_snapshot(f->worker, f->world.snapshot);
    virtual_pass(&f->loop, 1, 3 * WORKER_TICK_MS);
    assert_int_equal(f->ticks, 3);

    void *objects[2] = {slab_take(&f->worker->calls), slab_take(&f->worker->attempts)};
    slab_give(&f->worker->calls, objects[0]);
    slab_give(&f->worker->attempts, objects[1]);
    virtual_pass(&f->loop, 1, 2 * WORKER_TICK_MS);
    assert_int_equal(f->worker->calls.blocks + f->worker->attempts.blocks, 0);
}

/* ---- mail ------------------------------------------------------------------------------------ */

static void test_mail_of_one_kind_is_one(void **state)
{
    struct fixture *f = *state;
    worker_post(f->worker, WORKER_MAIL_PERMITS);
    worker_post(f->worker, WORKER_MAIL_PERMITS);
    worker_post(f->worker, WORKER_MAIL_IDLE_WANTED);
    assert_int_equal(f->mails, 0);
    virtual_rest(&f->loop, 1);
    assert_int_equal(f->mails, 1);
    assert_int_equal(f->mail, WORKER_MAIL_PERMITS | WORKER_MAIL_IDLE_WANTED);
}

/* Only the newest of two snapshots is taken, and acknowledged. */
static void test_the_newest_snapshot_is_taken(void **state)
{
    struct fixture *f = *state;
    world_commit(&f->world);
    worker_offer_snapshot(f->worker, f->world.snapshot);
    world_rule(&f->world, "a/default/b/default/M/config", "{\"timeout_ms\": 5}");
    world_commit(&f->world);
    worker_offer_snapshot(f->worker, f->world.snapshot);
    assert_null(f->worker->snapshot);
    unsigned notified = f->notified;
    virtual_rest(&f->loop, 1);
    assert_ptr_equal(f->worker->snapshot, f->world.snapshot);
    assert_int_equal(f->rules, 1);
    assert_int_equal(f->worker->seen_generation, disc_snapshot_generation(f->world.snapshot));
    assert_int_equal(counter_get(&f->worker->counters, METRIC_SNAPSHOTS_TAKEN), 1);
    assert_true(f->notified > notified);
    worker_post(f->worker, WORKER_MAIL_RULES); /* without one: nothing */
    virtual_rest(&f->loop, 1);
    assert_int_equal(f->rules, 1);
}

/* ---- phases ---------------------------------------------------------------------------------- */

static void test_drain_without_callers_ends_at_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(worker_phase(f->worker), WORKER_SERVING);
    worker_want_phase(f->worker, WORKER_DRAINING);
    virtual_loop_turn(&f->loop);
    assert_int_equal(f->drains, 1);
    assert_int_equal(f->ends, 1);
    assert_true(f->loop.closed);
    assert_int_equal(worker_phase(f->worker), WORKER_ENDING);
}

static void test_drain_waits_and_ends_once(void **state)
{
    struct fixture *f = *state;
    struct list session;
    list_init(&session);
    list_push_back(&f->worker->sessions, &session); /* some caller */
    worker_want_phase(f->worker, WORKER_DRAINING);
    virtual_rest(&f->loop, 1);
    virtual_pass(&f->loop, 1, 5000);
    assert_int_equal(worker_phase(f->worker), WORKER_DRAINING);
    assert_int_equal(f->drains, 1);
    assert_int_equal(f->ends, 0);
    worker_want_phase(f->worker, WORKER_ENDING); /* drain_timeout_ms has passed */
    virtual_loop_turn(&f->loop);
    assert_int_equal(f->drains, 1);
    assert_int_equal(f->ends, 1);
    assert_true(f->loop.closed);
    list_remove(&session);
}

/* A second SIGTERM: draining is begun all the same, so that listeners close. */
static void test_the_end_at_once(void **state)
{
    struct fixture *f = *state;
    worker_want_phase(f->worker, WORKER_ENDING);
    virtual_loop_turn(&f->loop);
    assert_int_equal(f->drains, 1);
    assert_int_equal(f->ends, 1);
    assert_false(timer_node_armed(&f->worker->housekeeping));
    worker_stopped(f->worker);
    assert_int_equal(worker_phase(f->worker), WORKER_STOPPED);
}

/* ---- log ------------------------------------------------------------------------------------- */

static void test_log_lines_go_through_the_ring(void **state)
{
    struct fixture *f = *state;
    const struct record_log *record;
    uint32_t len;
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    worker_log(f->worker, 2, "session", "some_event", "%d is the number", 42);
    worker_log(f->worker, 3, "session", "long", "%s", text); /* cut */
    record = ring_peek(&f->worker->ring, &len);
    assert_non_null(record);
    assert_int_equal(record->type, RECORD_LOG);
    assert_string_equal(record->event, "some_event");
    assert_string_equal(record->component, "session");
    assert_int_equal(record->len, 16);
    assert_memory_equal(record->message, "42 is the number", 16);
    ring_next(&f->worker->ring);
    record = ring_peek(&f->worker->ring, &len);
    assert_int_equal(record->len, 511);
    ring_next(&f->worker->ring);

    for (int i = 0; i < LOG_LINES; i++) {
        worker_log(f->worker, 2, "session", "again", "%d", i);
    }
    assert_true(counter_get(&f->worker->counters, METRIC_LOG_DROPPED) > 0); /* never waits */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_to_be_sent_is_flushed_twice_a_turn, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_loans_end_with_the_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_spins_goes_on_in_the_next_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_starves_looks_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events_run_between_timers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_loop_that_stood_still, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ticks_and_the_heartbeat, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mail_of_one_kind_is_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_newest_snapshot_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain_without_callers_ends_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain_waits_and_ends_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_lines_go_through_the_ring, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
