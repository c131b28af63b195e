/*
 * tests/discovery/etcd/etcd_fsm_test.c: lists, the stream, probe and audit, each way through the
 * machine.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/etcd/etcd_fsm_play.h"

/* ---- the whole table ---------------------------------------------------------------------- */

static void reach(enum etcd_state state)
{
    if (state == ETCD_STATE_IDLE) {
        begin(1);
    } else if (state == ETCD_STATE_LIST || state == ETCD_STATE_LIST_WAIT) {
        begin(1);
        simple(ETCD_EVENT_START);
        if (state == ETCD_STATE_LIST_WAIT) {
            unreachable();
        }
    } else if (state == ETCD_STATE_OPEN || state == ETCD_STATE_OPEN_WAIT) {
        begin(1);
        simple(ETCD_EVENT_START);
        list_done();
        if (state == ETCD_STATE_OPEN_WAIT) {
            failed(ETCD_EVENT_ENDED, 0, "broken");
        }
    } else {
        watching(1);
        if (state == ETCD_STATE_PROBE) {
            sleep_on();
        } else if (state == ETCD_STATE_AUDIT) {
            probed(11);
        } else if (state == ETCD_STATE_DOUBT) {
            probed(11);
            audit_answers(11, 3, 9, 3, 11);
        } else if (state == ETCD_STATE_CLOSED) {
            simple(ETCD_EVENT_STOP);
        }
    }
    assert_int_equal(etcd_fsm_state(fsm), state);
}

static void play(enum etcd_event event)
{
    struct etcd_error error = {.text = "text"};
    struct etcd_range_reply reply = {.header = {CLUSTER, 11}, .kvs = {1, kv, NULL}, .count = 1};
    struct etcd_watch_message watch = {
        .header = {CLUSTER, 11}, .watch_id = 1, .events = {1, kv, NULL}};
    const uint32_t endpoints[] = {3, 4};
    with("/tside/rules/a", 11, 11, false);
    step((struct etcd_input){.event = event,
                             .range = &reply,
                             .range_bytes = 100,
                             .watch = &watch,
                             .error = &error,
                             .endpoints = endpoints,
                             .endpoints_n = 2});
}

static void test_every_pair(void **state)
{
    for (int s = 0; s < ETCD_STATE_MAX; s++) {
        for (int e = 0; e < ETCD_EVENT_MAX; e++) {
            if (!etcd_fsm_has((enum etcd_state)s, (enum etcd_event)e)) {
                fail_msg("no row for %s in state %s", etcd_event_str((enum etcd_event)e),
                         etcd_state_str((enum etcd_state)s));
            }
            reach((enum etcd_state)s);
            bool streaming = etcd_fsm_is_watching(fsm);
            play((enum etcd_event)e);
            etcd_fsm_check(fsm);
            /* What has been held stays held, whatever happened; and nothing waits for ever. */
            struct state_resume held;
            etcd_fsm_resume(fsm, &held);
            assert_true(!streaming || held.cluster_id == CLUSTER);
            bool waits = etcd_fsm_state(fsm) == ETCD_STATE_LIST_WAIT ||
                         etcd_fsm_state(fsm) == ETCD_STATE_OPEN_WAIT ||
                         etcd_fsm_state(fsm) == ETCD_STATE_OPEN ||
                         etcd_fsm_state(fsm) == ETCD_STATE_WATCH ||
                         etcd_fsm_state(fsm) == ETCD_STATE_DOUBT;
            assert_true(!waits || etcd_fsm_timer_ms(fsm) != UINT64_MAX);
            end();
        }
    }
}

/* Whatever comes, in whatever order: the machine holds together, and `seen` goes back only by a
 * list. */
static void test_random_walk(void **state)
{
    static const char *const keys[] = {"/a/rules/x", "/a/rules/y", "/b/services/z", "/elsewhere"};
    struct lb_random random;
    lb_random_init(&random, 5);
#define DRAW(n) ((int64_t)lb_random_scale(lb_random_next(&random), (n)))
    begin_at("/a/rules", "/b/services", 3, 3);
    simple(ETCD_EVENT_START);
    for (int i = 0; i < 200000; i++) {
        int64_t before = etcd_fsm_revision(fsm);
        struct etcd_error error = {.code = (int)DRAW(20), .text = "compacted"};
        for (int64_t n = 1 + DRAW(3); n > 0; n--) {
            int64_t mod = before + DRAW(6);
            with(keys[DRAW(4)], mod - DRAW(2), mod, DRAW(3) == 0);
        }
        struct etcd_range_reply reply = {.header = {CLUSTER + (DRAW(50) == 0), before + DRAW(4)},
                                         .kvs = {(size_t)DRAW((int)kv_n + 1), kv, NULL},
                                         .more = DRAW(3) == 0,
                                         .count = DRAW(5)};
        struct etcd_watch_message watch = {.header = {CLUSTER + (DRAW(50) == 0), before + DRAW(4)},
                                           .watch_id = 1 + DRAW(2) + 5 * (DRAW(50) == 0),
                                           .fragment = DRAW(3) == 0,
                                           .compact_revision = DRAW(2),
                                           .events = {kv_n, kv, NULL}};
        /* What makes headway comes more often than what does not. */
        static const enum etcd_event often[] = {ETCD_EVENT_CREATED, ETCD_EVENT_CHANGES,
                                                ETCD_EVENT_RANGE_OK, ETCD_EVENT_TIMER};
        enum etcd_event event =
            DRAW(4) > 0 ? often[DRAW(4)] : (enum etcd_event)DRAW(ETCD_EVENT_STOP);
        if (event == ETCD_EVENT_TIMER && etcd_fsm_timer_ms(fsm) != UINT64_MAX) {
            now = etcd_fsm_timer_ms(fsm) > now ? etcd_fsm_timer_ms(fsm) : now;
        }
        now += (uint64_t)DRAW(300);
        const uint32_t endpoints[] = {(uint32_t)DRAW(3), 3 + (uint32_t)DRAW(3)};
        step((struct etcd_input){.event = event,
                                 .range = &reply,
                                 .range_bytes = (size_t)DRAW(10000000),
                                 .watch = &watch,
                                 .error = &error,
                                 .endpoints = endpoints,
                                 .endpoints_n = 1 + (uint32_t)DRAW(2)});
        etcd_fsm_check(fsm);
        assert_true(etcd_fsm_revision(fsm) >= before || did(ETCD_DO_LIST_COMMIT) != NULL);
    }
    const struct etcd_fsm_stats *st = etcd_fsm_stats(fsm);
    /* It has been everywhere. */
    assert_true(st->lists > 1000 && st->streams > 100 && st->probes > 100);
    assert_true(st->audits > 20 && st->audit_doubts > 5 && st->events > 1000);
    end();
}

/* ---- starting ----------------------------------------------------------------------------- */

static void test_start_without_etcd(void **state)
{
    uint64_t longest = 0;
    begin(3);
    simple(ETCD_EVENT_START);
    uint32_t first = did(ETCD_DO_RANGE)->endpoint;
    unreachable();
    uint32_t second = did(ETCD_DO_RANGE)->endpoint; /* at once */
    unreachable();
    uint32_t third = did(ETCD_DO_RANGE)->endpoint;
    assert_int_equal((1u << first) | (1u << second) | (1u << third), 7);
    unreachable();
    expect(LIST_WAIT);
    for (int i = 0; i < 500; i++) {
        uint64_t wait = sleep_on();
        assert_in_range(wait, 1, 5000);
        longest = wait > longest ? wait : longest;
        expect(LIST);
        unreachable();
        expect(LIST_WAIT);
    }
    assert_in_range(longest, 4500, 5000);
    /* It comes, at last. */
    sleep_on();
    list_done();
    created(10);
    expect(WATCH);
    assert_int_equal(etcd_fsm_revision(fsm), 10);
    end();
}

static void test_order_is_shuffled(void **state)
{
    uint32_t seen = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        begin_at("/r", "/s", 5, seed);
        simple(ETCD_EVENT_START);
        seen |= 1u << did(ETCD_DO_RANGE)->endpoint;
        end();
    }
    assert_int_equal(seen, 31);
}

static void test_resume_from_disk(void **state)
{
    const struct state_resume held = {CLUSTER, {100, 0}, {3, 2}, {90, 95}};
    begin(1);
    etcd_fsm_restore(fsm, &held);
    simple(ETCD_EVENT_START);
    expect(OPEN);
    assert_null(did(ETCD_DO_RANGE));
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 101);
    created(120);
    expect(WATCH);
    with("/tside/rules/d", 110, 110, false);
    changes(false);
    assert_int_equal(did(ETCD_DO_CHANGES)->revision[0], 100);
    assert_int_equal(did(ETCD_DO_CHANGES)->revision[1], 110);
    assert_int_equal(etcd_fsm_revision(fsm), 110);
    /* The state from disk is audited soon. */
    assert_in_range(sleep_on(), 0, 1000);
    audit_answers(120, 4, 110, 2, 95);
    expect(WATCH);
    assert_int_equal(etcd_fsm_revision(fsm), 120);
    assert_non_null(did(ETCD_DO_REVISION));
    end();
}

/* ---- lists -------------------------------------------------------------------------------- */

static void test_pages(void **state)
{
    begin(2);
    simple(ETCD_EVENT_START);
    const struct etcd_action *page = did(ETCD_DO_RANGE);
    assert_non_null(did(ETCD_DO_LIST_RESET));
    assert_int_equal(page->query.revision, 0);
    assert_int_equal(page->query.limit, 1000);
    assert_memory_equal(page->query.key.p, "/tside/rules/", 13);
    uint32_t endpoint = page->endpoint;
    with("/tside/rules/a", 3, 3, false);
    range_ok_of(CLUSTER, 10, 2, true, 100);
    page = did(ETCD_DO_RANGE);
    assert_int_equal(page->query.revision, 10);
    assert_int_equal(page->query.key.len, 15);
    assert_memory_equal(page->query.key.p, "/tside/rules/a", 15); /* and a NUL */
    /* The endpoint dies: the same page at the next one. */
    unreachable();
    page = did(ETCD_DO_RANGE);
    assert_true(page->endpoint != endpoint);
    assert_int_equal(page->query.revision, 10);
    assert_int_equal(page->query.key.len, 15);
    assert_null(did(ETCD_DO_LIST_RESET));
    /* That one lags behind revision 10. */
    failed(ETCD_EVENT_RANGE_FAILED, 11, "etcdserver: mvcc: required revision is a future revision");
    expect(LIST_WAIT);
    sleep_on();
    with("/tside/rules/b", 3, 4, false);
    range_ok(11, 2);
    page = did(ETCD_DO_RANGE);
    assert_memory_equal(page->query.key.p, "/tside/services/", 16);
    assert_int_equal(page->query.revision, 10);
    range_ok(12, 0);
    assert_int_equal(did(ETCD_DO_LIST_COMMIT)->revision[0], 10);
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 11);
    end();
}

static void test_page_compacted(void **state)
{
    begin(1);
    simple(ETCD_EVENT_START);
    with("/tside/rules/a", 3, 3, false);
    range_ok_of(CLUSTER, 10, 2, true, 100);
    failed(ETCD_EVENT_RANGE_FAILED, 11, "etcdserver: mvcc: required revision has been compacted");
    expect(LIST); /* the first time at once */
    assert_non_null(did(ETCD_DO_LIST_RESET));
    assert_int_equal(did(ETCD_DO_RANGE)->query.revision, 0);
    with("/tside/rules/a", 3, 3, false);
    range_ok_of(CLUSTER, 20, 2, true, 100);
    failed(ETCD_EVENT_RANGE_FAILED, 11, "etcdserver: mvcc: required revision has been compacted");
    expect(LIST_WAIT);
    assert_non_null(did(ETCD_DO_LIST_RESET));
    sleep_on();
    assert_int_equal(did(ETCD_DO_RANGE)->query.revision, 0);
    end();
}

static void test_page_of_another_cluster(void **state)
{
    begin(2);
    simple(ETCD_EVENT_START);
    with("/tside/rules/a", 3, 3, false);
    range_ok_of(CLUSTER, 10, 2, true, 100);
    with("/tside/rules/b", 3, 3, false);
    range_ok_of(CLUSTER + 1, 10, 2, false, 100);
    assert_null(did(ETCD_DO_LIST_PAGE));
    assert_non_null(did(ETCD_DO_LIST_RESET));
    assert_int_equal(did(ETCD_DO_RANGE)->query.revision, 0);
    end();
}

static void test_page_sizes(void **state)
{
    begin(1);
    simple(ETCD_EVENT_START);
    simple(ETCD_EVENT_RANGE_TOO_LARGE);
    assert_int_equal(did(ETCD_DO_RANGE)->query.limit, 250);
    with("/tside/rules/a", 3, 3, false);
    range_ok_of(CLUSTER, 10, 9, true, ETCD_PAGE_BYTES + 1);
    assert_int_equal(did(ETCD_DO_RANGE)->query.limit, 125);
    for (uint32_t limit = 250; limit < 1000; limit *= 2) {
        with("/tside/rules/a", 3, 3, false);
        range_ok_of(CLUSTER, 10, 9, true, 1000);
        assert_int_equal(did(ETCD_DO_RANGE)->query.limit, limit);
    }
    for (int i = 0; i < 6; i++) {
        simple(ETCD_EVENT_RANGE_TOO_LARGE);
    }
    expect(LIST_WAIT); /* one key is too much */
    end();
}

/* An hourly or audit's list that fails leaves the watch at work. */
static void test_optional_list_fails(void **state)
{
    watching(1);
    uint64_t listed = now;
    int64_t revision = 10;
    while (etcd_fsm_state(fsm) != ETCD_STATE_LIST) {
        sleep_on();
        if (etcd_fsm_state(fsm) == ETCD_STATE_PROBE) {
            range_ok(revision, 1); /* an audit that is due follows */
        }
        if (etcd_fsm_state(fsm) == ETCD_STATE_AUDIT) {
            audit_answers(revision, 3, 9, 2, 7);
        }
    }
    assert_in_range(now - listed, 3600000, 4500000); /* at most hourly */
    assert_int_equal(etcd_fsm_stats(fsm)->relists[ETCD_RELIST_HOURLY], 1);
    assert_in_range(etcd_fsm_stats(fsm)->audits, 50, 90);
    unreachable();
    expect(OPEN_WAIT);
    sleep_on();
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 11);
    end();
}

/* ---- the stream --------------------------------------------------------------------------- */

static void test_compaction(void **state)
{
    watching(2);
    now += 10000;
    failed(ETCD_EVENT_ENDED, 0, "broken");
    expect(OPEN); /* a good stream: the next endpoint at once */
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 11);
    created(500);
    canceled(400, "");
    expect(LIST);
    assert_non_null(did(ETCD_DO_CANCEL_WATCH));
    list_done();
    canceled(0, "etcdserver: mvcc: required revision has been compacted");
    expect(LIST_WAIT); /* listing did not help: no storm */
    end();
}

static void test_lagging_member(void **state)
{
    watching(3);
    with("/tside/rules/d", 20, 20, false);
    changes(false);
    now += 10000;
    uint32_t first = etcd_fsm_endpoint(fsm);
    failed(ETCD_EVENT_ENDED, 14, "etcdserver: no leader");
    for (int i = 0; i < 2; i++) {
        expect(OPEN);
        created(15); /* behind 20 */
        assert_int_equal(etcd_fsm_stats(fsm)->lagging, i + 1);
    }
    assert_int_equal(etcd_fsm_endpoint(fsm), first); /* all three were asked */
    created(15);
    expect(LIST);
    assert_int_equal(etcd_fsm_stats(fsm)->relists[ETCD_RELIST_REGRESSED], 1);
    /* A linearizable list knows better. */
    range_ok(15, 0);
    range_ok(15, 0);
    assert_int_equal(etcd_fsm_stats(fsm)->regressions, 1);
    assert_int_equal(etcd_fsm_revision(fsm), 15);
    end();
}

static void test_going_back_in_time(void **state)
{
    watching(1);
    progress(30);
    assert_int_equal(etcd_fsm_revision(fsm), 30);
    assert_non_null(did(ETCD_DO_REVISION));
    progress(29);
    expect(LIST_WAIT);
    assert_int_equal(etcd_fsm_stats(fsm)->relists[ETCD_RELIST_REGRESSED], 1);
    end();
    watching(1);
    sleep_on();
    expect(PROBE);
    with("/tside/rules/d", 11, 11, false);
    changes(false);
    range_ok(10, 1); /* the change overtook the answer: nothing wrong */
    expect(WATCH);
    end();
}

static void test_created_late(void **state)
{
    watching(1);
    now += 10000;
    failed(ETCD_EVENT_ENDED, 0, "broken");
    assert_int_equal(sleep_on(), 3000);
    expect(OPEN_WAIT);
    assert_non_null(did(ETCD_DO_CANCEL_WATCH));
    for (int i = 0; i < 100; i++) {
        assert_in_range(sleep_on(), 1, 5000);
        expect(OPEN);
        assert_int_equal(sleep_on(), 3000);
    }
    end();
}

/* Streams that are created and end at once are no reason to hurry. */
static void test_flapping(void **state)
{
    watching(3);
    uint32_t at_once = 0;
    for (int i = 0; i < 50; i++) {
        failed(ETCD_EVENT_ENDED, 0, "closed");
        at_once += etcd_fsm_state(fsm) == ETCD_STATE_OPEN;
        if (etcd_fsm_state(fsm) == ETCD_STATE_OPEN_WAIT) {
            sleep_on();
        }
        created(10);
    }
    assert_int_equal(at_once, 2);
    end();
}

static void test_duplicates_and_order(void **state)
{
    watching(1);
    with("/tside/rules/d", 11, 11, false);
    with("/tside/rules/e", 12, 12, false);
    changes(false);
    with("/tside/rules/e", 12, 12, false);
    with("/tside/rules/f", 13, 13, false);
    changes(false);
    assert_int_equal(did(ETCD_DO_CHANGES)->revision[0], 12);
    assert_int_equal(did(ETCD_DO_CHANGES)->revision[1], 13);
    assert_int_equal(etcd_fsm_stats(fsm)->duplicates, 1);
    assert_int_equal(etcd_fsm_stats(fsm)->events, 3);
    with("/tside/rules/g", 15, 15, false);
    with("/tside/rules/h", 14, 14, false);
    changes(false);
    assert_null(did(ETCD_DO_CHANGES));
    assert_int_equal(etcd_fsm_stats(fsm)->bad_messages, 1);
    assert_int_equal(etcd_fsm_stats(fsm)->relists[ETCD_RELIST_BAD_MESSAGE], 1);
    end();
}

static void test_fragments(void **state)
{
    struct state_resume held;
    watching(1);
    with("/tside/rules/d", 11, 11, false);
    with("/tside/rules/e", 12, 12, false);
    changes(true);
    assert_int_equal(did(ETCD_DO_CHANGES)->revision[1], 11); /* 12 may be half here */
    assert_int_equal(etcd_fsm_revision(fsm), 11);
    etcd_fsm_resume(fsm, &held);
    assert_int_equal(held.count[0], 4);
    with("/tside/rules/f", 12, 12, false);
    changes(true);
    assert_int_equal(etcd_fsm_revision(fsm), 11);
    /* The stream breaks: half a revision was never counted, and comes again. */
    now += 10000;
    failed(ETCD_EVENT_ENDED, 0, "broken");
    assert_non_null(did(ETCD_DO_CHANGES_DROP));
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 12);
    created(12);
    with("/tside/rules/e", 12, 12, false);
    changes(true);
    with("/tside/rules/f", 12, 12, false);
    with("/tside/rules/d", 0, 13, true);
    changes(false);
    etcd_fsm_resume(fsm, &held);
    assert_int_equal(held.count[0], 5);
    assert_int_equal(held.newest[0], 13);
    assert_int_equal(etcd_fsm_revision(fsm), 13);
    end();
}

static void test_two_watches(void **state)
{
    begin_at("/a/rules", "/b/services", 1, 1);
    simple(ETCD_EVENT_START);
    range_ok(10, 0);
    range_ok(10, 0);
    created(10);
    expect(OPEN);
    message(
        &(struct etcd_watch_message){.header = {.revision = 10}, .created = true, .watch_id = 2});
    expect(WATCH);
    with("/b/services/x", 12, 12, false);
    message(&(struct etcd_watch_message){.header = {.revision = 12}, .watch_id = 2});
    assert_int_equal(did(ETCD_DO_CHANGES)->watch, 1);
    assert_int_equal(etcd_fsm_revision(fsm), 10);
    progress(15);
    assert_int_equal(etcd_fsm_revision(fsm), 12);
    now += 10000;
    failed(ETCD_EVENT_ENDED, 0, "broken");
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 16);
    assert_int_equal(did(ETCD_DO_WATCH)->revision[1], 13);
    end();
}

static void test_refusals_are_not_hammered(void **state)
{
    uint64_t sum = 0;
    begin(1);
    simple(ETCD_EVENT_START);
    for (int i = 0; i < 100; i++) {
        failed(ETCD_EVENT_RANGE_FAILED, 7, "etcdserver: permission denied");
        expect(LIST_WAIT);
        sum += sleep_on();
    }
    assert_in_range(sum, 200000, 350000);
    end();
}

/* ---- probe and audit ---------------------------------------------------------------------- */

static void test_silence_is_probed(void **state)
{
    watching(2);
    for (int i = 0; i < 5; i++) {
        assert_in_range(sleep_on(), 3600, 5400);
        expect(PROBE);
        assert_int_equal(did(ETCD_DO_RANGE)->deadline_ms, 3000);
        assert_int_equal(did(ETCD_DO_RANGE)->query.end.len, 0); /* one key: cheap */
        range_ok(10, 1);
        expect(WATCH);
    }
    /* Bytes put it off. */
    now += 3000;
    simple(ETCD_EVENT_BYTES);
    assert_in_range(etcd_fsm_timer_ms(fsm) - now, 3600, 5400);
    uint32_t endpoint = etcd_fsm_endpoint(fsm);
    uint64_t silent = now;
    sleep_on();
    now += 3000; /* its deadline */
    failed(ETCD_EVENT_RANGE_FAILED, 0, "timeout");
    expect(OPEN);
    assert_in_range(now - silent, 0, 10000);
    assert_true(did(ETCD_DO_WATCH)->endpoint != endpoint);
    assert_non_null(did(ETCD_DO_CANCEL_WATCH));
    end();
}

/* etcd stops (SIGSTOP, a hung disk) at some moment of an hour, whatever is under way. How long
 * until the stream is left? Before, it answers within a second, and something or other moves its
 * revision. */
static uint64_t found_after(uint64_t seed)
{
    struct lb_random random;
    lb_random_init(&random, ~seed);
    begin_at("/tside/rules", "/tside/services", 2, seed);
    simple(ETCD_EVENT_START);
    list_done();
    created(10);
    uint64_t stop = now + (uint64_t)DRAW(seed % 4 == 0 ? 5400000 : 300000);
    int64_t revision = 10;
    while (now < stop) {
        uint64_t due = etcd_fsm_timer_ms(fsm);
        uint64_t next = now + (uint64_t)DRAW(9000);
        if (etcd_fsm_state(fsm) == ETCD_STATE_LIST) {
            list_done();
            revision = revision < 10 ? 10 : revision;
        } else if (etcd_fsm_state(fsm) == ETCD_STATE_OPEN) {
            created(revision);
        } else if (due == UINT64_MAX) { /* PROBE, AUDIT: etcd takes its time to answer */
            uint64_t answer = now + (uint64_t)DRAW(DRAW(8) == 0 ? 4900 : 1000);
            if (answer >= stop) {
                break;
            }
            now = answer;
            revision += DRAW(3) == 0;
            enum etcd_state was = etcd_fsm_state(fsm);
            with("/tside/rules/b", 1, 7, false);
            range_ok(revision, was == ETCD_STATE_AUDIT ? 2 + DRAW(2) : 1);
        } else if (next < due) {
            now = next < stop ? next : stop;
            if (now < stop) {
                simple(ETCD_EVENT_BYTES);
            }
        } else if (due <= stop) {
            sleep_on();
        } else {
            break;
        }
    }
    uint64_t last = now;
    while (etcd_fsm_is_watching(fsm)) {
        uint64_t due = etcd_fsm_timer_ms(fsm);
        if (due == UINT64_MAX) {
            now = deadline;
            failed(ETCD_EVENT_RANGE_FAILED, 0, "timeout");
        } else {
            sleep_on();
        }
    }
    end();
    return now - last;
}

static void test_a_stopped_etcd_is_found_within_10_s(void **state)
{
    uint64_t worst = 0;
    uint64_t sum = 0;
    for (uint64_t seed = 0; seed < 4000; seed++) {
        uint64_t found = found_after(seed);
        worst = found > worst ? found : worst;
        sum += found;
    }
    assert_in_range(worst, 5000, 10000);
    assert_in_range(sum / 4000, 3000, 7000);
}

static void test_audit_raises_revision(void **state)
{
    watching(1);
    probed(50); /* somebody else's writes */
    audit_answers(51, 3, 9, 2, 7);
    expect(WATCH);
    assert_int_equal(etcd_fsm_revision(fsm), 51);
    assert_non_null(did(ETCD_DO_REVISION));
    end();
}

/* The member is well, the stream is stuck. */
static void test_stuck_stream(void **state)
{
    watching(1);
    uint64_t silent = now;
    probed(11);
    audit_answers(11, 3, 9, 3, 11); /* a service more than we know */
    expect(DOUBT);
    assert_int_equal(sleep_on(), 1000);
    expect(OPEN);
    assert_in_range(now - silent, 0, 10000);
    assert_int_equal(etcd_fsm_stats(fsm)->stalls, 1);
    created(11);
    with("/tside/services/z", 11, 11, false);
    changes(false);
    assert_in_range(sleep_on(), 0, 1000);
    audit_answers(11, 3, 9, 3, 11);
    expect(WATCH);
    assert_int_equal(etcd_fsm_stats(fsm)->lists, 1);
    end();
}

static void test_stuck_again(void **state)
{
    watching(1);
    probed(11);
    audit_answers(11, 3, 9, 3, 11);
    sleep_on();
    created(11);
    sleep_on();
    audit_answers(11, 3, 9, 3, 11);
    expect(DOUBT);
    sleep_on();
    assert_int_equal(etcd_fsm_stats(fsm)->relists[ETCD_RELIST_AUDIT], 1);
    end();
}

static void test_under_way(void **state)
{
    watching(1);
    probed(11);
    audit_answers(11, 3, 9, 3, 11);
    expect(DOUBT);
    with("/tside/services/z", 11, 11, false);
    changes(false);
    with("/tside/services/z", 0, 12, true); /* and gone again: the answer was of 11 */
    changes(false);
    sleep_on();
    expect(WATCH);
    assert_int_equal(etcd_fsm_stats(fsm)->stalls, 0);
    end();
}

/* etcd's own bugs: a DELETE that never came, with later events seen. */
static void test_lost_delete(void **state)
{
    watching(1);
    with("/tside/rules/d", 13, 13, false);
    changes(false);
    probed(14);
    audit_answers(14, 4, 13, 1, 6);
    expect(DOUBT);
    with("/tside/rules/e", 15, 15, false);
    changes(false);
    sleep_on();
    assert_int_equal(etcd_fsm_stats(fsm)->relists[ETCD_RELIST_AUDIT], 1);
    assert_int_equal(etcd_fsm_stats(fsm)->stalls, 0);
    end();
}

static void test_audit_every_minute(void **state)
{
    watching(1);
    uint64_t start = now;
    while (etcd_fsm_state(fsm) != ETCD_STATE_AUDIT) {
        /* A chatty stream is never probed. */
        now = etcd_fsm_timer_ms(fsm) - 1;
        simple(ETCD_EVENT_BYTES);
        if (etcd_fsm_timer_ms(fsm) - now == 1) {
            sleep_on();
        }
    }
    assert_in_range(now - start, 54000, 66000);
    failed(ETCD_EVENT_RANGE_FAILED, 0, "timeout"); /* slow: is it alive at all? */
    expect(WATCH);
    assert_int_equal(sleep_on(), 0);
    expect(PROBE);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_random_walk),
        cmocka_unit_test(test_start_without_etcd),
        cmocka_unit_test(test_order_is_shuffled),
        cmocka_unit_test(test_resume_from_disk),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_page_compacted),
        cmocka_unit_test(test_page_of_another_cluster),
        cmocka_unit_test(test_page_sizes),
        cmocka_unit_test(test_optional_list_fails),
        cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_lagging_member),
        cmocka_unit_test(test_going_back_in_time),
        cmocka_unit_test(test_created_late),
        cmocka_unit_test(test_flapping),
        cmocka_unit_test(test_duplicates_and_order),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_two_watches),
        cmocka_unit_test(test_refusals_are_not_hammered),
        cmocka_unit_test(test_silence_is_probed),
        cmocka_unit_test(test_a_stopped_etcd_is_found_within_10_s),
        cmocka_unit_test(test_audit_raises_revision),
        cmocka_unit_test(test_stuck_stream),
        cmocka_unit_test(test_stuck_again),
        cmocka_unit_test(test_under_way),
        cmocka_unit_test(test_lost_delete),
        cmocka_unit_test(test_audit_every_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
