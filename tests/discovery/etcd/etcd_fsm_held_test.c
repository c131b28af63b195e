/*
 * tests/discovery/etcd/etcd_fsm_held_test.c: etcd has keys no more that we have. Either their
 * deletes are on their way, or nobody deleted them, and they are held.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/etcd/etcd_fsm_play.h"

#define RULES    DISC_SPACE_RULES
#define SERVICES DISC_SPACE_SERVICES

/* The list that was just committed: what it lacks of the space is held. */
static bool holds(enum disc_space space)
{
    assert_non_null(did(ETCD_DO_LIST_COMMIT));
    return did(ETCD_DO_LIST_COMMIT)->hold[space];
}

static int64_t counted(enum disc_space space)
{
    struct state_resume resume;
    etcd_fsm_resume(fsm, &resume);
    return resume.count[space];
}

/* All rules were deleted at 11, and the stream keeps silent about it. */
static void answer_emptied(void)
{
    if (etcd_fsm_state(fsm) == ETCD_STATE_PROBE) {
        range_ok(11, 1);
    }
    if (etcd_fsm_state(fsm) == ETCD_STATE_AUDIT) {
        audit_answers(11, 0, 0, 2, 7);
    }
    if (etcd_fsm_state(fsm) == ETCD_STATE_OPEN) {
        created(11);
    }
}

/* A list of both services and of no rule. */
static void list_of_services(int64_t revision)
{
    range_ok(revision, 0);
    with("/tside/services/x", 6, 6, false);
    with("/tside/services/y", 7, 7, false);
    range_ok(revision, 2);
}

/* The rules are held: their list was empty after a compaction. */
static void holding_rules(void)
{
    watching(1);
    now += 10000;
    canceled(400, "");
    list_of_services(500);
    assert_true(holds(RULES));
    assert_false(holds(SERVICES));
    created(500);
    expect(WATCH);
    now += 10000; /* long enough for a good stream */
    simple(ETCD_EVENT_BYTES);
}

/* ---- the deletes are on their way ------------------------------------------------------------ */

static void test_emptied_waits_for_the_deletes(void **state)
{
    uint64_t reopened[64];
    uint32_t n = 0;
    watching(1);
    for (uint64_t start = now; now - start < 600000;) {
        uint64_t streams = etcd_fsm_stats(fsm)->stalls;
        sleep_on();
        answer_emptied();
        if (etcd_fsm_stats(fsm)->stalls > streams) {
            assert_true(n < 64);
            reopened[n++] = now;
        }
        assert_true(etcd_fsm_state(fsm) != ETCD_STATE_LIST);
    }
    assert_int_equal(etcd_fsm_stats(fsm)->lists, 1);
    /* 0, 5, 10, ... 60 seconds and no less between two; and not given up. */
    for (uint32_t i = 1; i < n; i++) {
        uint64_t delay = 5000ull << (i - 1 < 4 ? i - 1 : 4);
        assert_in_range(reopened[i] - reopened[i - 1], delay < 60000 ? delay : 60000, 80000);
    }
    assert_in_range(n, 10, 16);

    /* At last they come. */
    now += 100;
    with("/tside/rules/a", 0, 11, true);
    with("/tside/rules/b", 0, 11, true);
    with("/tside/rules/c", 0, 11, true);
    changes(false);
    assert_non_null(did(ETCD_DO_CHANGES));
    assert_int_equal(counted(RULES), 0);
    for (int i = 0; i < 50; i++) {
        sleep_on();
        answer_emptied();
    }
    assert_int_equal(etcd_fsm_stats(fsm)->lists, 1);
    assert_int_equal(etcd_fsm_stats(fsm)->stalls, n);
    end();
}

/* Half a revision is here and more comes every second: the stream is at it, and left alone. */
static void test_emptied_is_not_interrupted(void **state)
{
    watching(1);
    probed(11);
    for (int i = 0; i < 100; i++) {
        if (etcd_fsm_state(fsm) == ETCD_STATE_AUDIT || etcd_fsm_state(fsm) == ETCD_STATE_PROBE) {
            answer_emptied();
        }
        with("/tside/rules/a", 0, 11, true);
        changes(true);
        now += 1000;
        simple(ETCD_EVENT_TIMER);
        assert_true(etcd_fsm_is_watching(fsm));
    }
    assert_true(etcd_fsm_stats(fsm)->audit_doubts > 0);
    assert_int_equal(etcd_fsm_stats(fsm)->stalls, 0);
    end();
}

/* The hourly list in those seconds: what it has not is left to the stream. */
static void test_hourly_list_finds_nothing(void **state)
{
    watching(1);
    while (etcd_fsm_state(fsm) != ETCD_STATE_LIST) {
        sleep_on();
        if (etcd_fsm_state(fsm) == ETCD_STATE_PROBE) {
            range_ok(10, 1);
        }
        if (etcd_fsm_state(fsm) == ETCD_STATE_AUDIT) {
            audit_answers(10, 3, 9, 2, 7);
        }
    }
    range_ok(11, 0);
    with("/tside/services/x", 6, 6, false);
    with("/tside/services/y", 7, 7, false);
    range_ok(11, 2);
    assert_null(did(ETCD_DO_LIST_COMMIT));
    assert_non_null(did(ETCD_DO_LIST_RESET));
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 11);
    assert_int_equal(etcd_fsm_revision(fsm), 10);
    end();
}

/* ---- nobody deleted them --------------------------------------------------------------------- */

/* A list of the known cluster that is not older than what was seen is an operator's word. */
static void test_a_compaction_holds_nothing(void **state)
{
    watching(1);
    now += 10000;
    canceled(400, "");
    with("/tside/rules/a", 3, 3, false);
    range_ok(500, 1);
    with("/tside/services/x", 6, 6, false);
    range_ok(500, 1);
    assert_false(holds(RULES));
    assert_false(holds(SERVICES));
    end();
}

/* What comes into a space that is held is a change like any other: no list, and the audit agrees.
 * */
static void test_puts_into_what_is_held(void **state)
{
    holding_rules();
    assert_int_equal(etcd_fsm_stats(fsm)->empty_lists, 1);
    with("/tside/rules/n", 502, 502, false);
    changes(false);
    assert_non_null(did(ETCD_DO_CHANGES));
    expect(WATCH);
    assert_int_equal(counted(RULES), 1);
    probed(510);
    audit_answers(510, 1, 502, 2, 7);
    expect(WATCH);
    assert_int_equal(etcd_fsm_stats(fsm)->lists, 2);
    end();
}

/* Still empty, and again: etcd's word is what is counted, so that no audit makes a list of it. */
static void test_it_lasts(void **state)
{
    holding_rules();
    uint64_t lists = etcd_fsm_stats(fsm)->lists;
    for (int i = 0; i < 200; i++) {
        sleep_on();
        if (etcd_fsm_state(fsm) == ETCD_STATE_PROBE) {
            range_ok(600 + i, 1);
        }
        if (etcd_fsm_state(fsm) == ETCD_STATE_AUDIT) {
            audit_answers(600 + i, 0, 0, 2, 7);
        }
        expect(WATCH);
    }
    assert_int_equal(etcd_fsm_stats(fsm)->lists, lists);
    canceled(900, "");
    list_of_services(1000);
    assert_true(holds(RULES));
    assert_false(holds(SERVICES));
    assert_int_equal(etcd_fsm_stats(fsm)->empty_lists, 1);
    end();
}

static void set_back_to(int64_t revision)
{
    watching(1);
    now += 10000;
    failed(ETCD_EVENT_ENDED, 0, "broken");
    created(revision);
    expect(LIST);
    assert_int_equal(etcd_fsm_stats(fsm)->relists[ETCD_RELIST_REGRESSED], 1);
}

/* Wiped or restored: a key that the list lacks was not deleted by anybody. */
static void test_set_back(void **state)
{
    set_back_to(2);
    with("/tside/rules/a", 2, 2, false);
    range_ok(3, 1);
    with("/tside/services/x", 3, 3, false);
    range_ok(3, 1);
    assert_true(holds(RULES));
    assert_true(holds(SERVICES));
    assert_int_equal(etcd_fsm_stats(fsm)->regressions, 1);
    end();
}

/* It is filled again while we back off and list: its revision is past ours by now. */
static void test_set_back_and_overtaking(void **state)
{
    set_back_to(2);
    with("/tside/rules/a", 2, 2, false);
    range_ok(400, 1);
    with("/tside/services/x", 3, 3, false);
    range_ok(400, 1);
    assert_true(holds(RULES));
    assert_true(holds(SERVICES));
    end();
}

/* etcd's own bugs: later events were seen, the deletes never. */
static void test_lost_deletes_of_all(void **state)
{
    watching(1);
    with("/tside/services/z", 13, 13, false);
    changes(false);
    probed(14);
    audit_answers(14, 0, 0, 3, 13);
    expect(DOUBT);
    progress(15);
    sleep_on();
    expect(LIST);
    list_of_services(15);
    assert_true(holds(RULES));
    assert_false(holds(SERVICES));
    assert_int_equal(counted(RULES), 0);
    end();
}

/* etcd loses the deletes of the revision that was compacted. No count tells it from slowness; a put
 * does. */
static void test_lost_deletes_and_a_put(void **state)
{
    watching(1);
    probed(11);
    audit_answers(11, 0, 0, 2, 7);
    sleep_on();
    created(11);
    now += 10000;
    with("/tside/services/z", 12, 12, false);
    changes(false);
    expect(WATCH);
    with("/tside/rules/n", 13, 13, false);
    changes(false);
    expect(LIST);
    assert_int_equal(etcd_fsm_stats(fsm)->relists[ETCD_RELIST_LOST], 1);
    end();
}

/* One range covers both spaces: its count says nothing about either, the keys do. */
static void test_nested_prefixes(void **state)
{
    begin_at("", "/tside/services", 1, 1);
    simple(ETCD_EVENT_START);
    with("/a/default/b/default/M/config", 3, 3, false);
    with("/tside/services/x", 6, 6, false);
    range_ok(10, 2);
    created(10);
    now += 10000;
    canceled(400, "");
    with("/tside/services/x", 6, 6, false);
    range_ok(500, 1);
    assert_true(holds(RULES));
    assert_false(holds(SERVICES));
    end();
}

/* The first list of all, and one where there never was a key, is as empty as it says. */
static void test_nothing_was_there(void **state)
{
    begin(1);
    simple(ETCD_EVENT_START);
    range_ok(10, 0);
    range_ok(10, 0);
    assert_false(holds(RULES));
    assert_false(holds(SERVICES));
    created(10);
    with("/tside/rules/n", 11, 11, false);
    changes(false);
    expect(WATCH);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emptied_waits_for_the_deletes),
        cmocka_unit_test(test_emptied_is_not_interrupted),
        cmocka_unit_test(test_hourly_list_finds_nothing),
        cmocka_unit_test(test_a_compaction_holds_nothing),
        cmocka_unit_test(test_puts_into_what_is_held),
        cmocka_unit_test(test_it_lasts),
        cmocka_unit_test(test_set_back),
        cmocka_unit_test(test_set_back_and_overtaking),
        cmocka_unit_test(test_lost_deletes_of_all),
        cmocka_unit_test(test_lost_deletes_and_a_put),
        cmocka_unit_test(test_nested_prefixes),
        cmocka_unit_test(test_nothing_was_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
