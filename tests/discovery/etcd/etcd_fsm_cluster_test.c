/*
 * tests/discovery/etcd/etcd_fsm_cluster_test.c: an address that answers for another cluster.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/etcd/etcd_fsm_play.h"

#define STRANGER (CLUSTER + 1)

static void created_by(uint64_t cluster, int64_t revision)
{
    message(&(struct etcd_watch_message){.header = {cluster, revision}, .created = true});
}

static void broken(void)
{
    failed(ETCD_EVENT_ENDED, 0, "broken");
}

/* The member in use restarts, and the next address is a stranger's: on to the one after it. */
static void test_passed_over(void **state)
{
    watching(3);
    now += 10000;
    broken();
    uint32_t strange = etcd_fsm_endpoint(fsm);
    created_by(STRANGER, 500);
    expect(OPEN);
    assert_true(etcd_fsm_endpoint(fsm) != strange);
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 11);
    assert_int_equal(etcd_fsm_stats(fsm)->strangers, 1);
    created(12);
    expect(WATCH);
    assert_int_equal(etcd_fsm_stats(fsm)->lists, 1);
    assert_int_equal(etcd_fsm_stats(fsm)->cluster_changes, 0);
    end();
}

/* Strangers answer until one is listed; returns how long that took. */
static uint64_t until_believed(uint64_t stranger)
{
    uint64_t start = now;
    while (etcd_fsm_state(fsm) != ETCD_STATE_LIST) {
        assert_true(now - start < 600000);
        if (etcd_fsm_state(fsm) == ETCD_STATE_OPEN) {
            created_by(stranger, 500);
        } else {
            sleep_on();
        }
    }
    return now - start;
}

static void list_of(uint64_t cluster)
{
    with("/tside/rules/n", 2, 2, false);
    range_ok_of(cluster, 3, 1, false, 10);
    with("/tside/services/x", 3, 3, false);
    range_ok_of(cluster, 3, 1, false, 10);
}

/* No address has the known cluster for a minute: the stranger is it now, and what it lacks is held.
 * */
static void test_believed_after_a_minute(void **state)
{
    watching(1);
    now += 3600000; /* a long and quiet hour: no credit */
    broken();
    assert_in_range(until_believed(STRANGER), 60000, 66000);
    assert_int_equal(etcd_fsm_stats(fsm)->relists[ETCD_RELIST_CLUSTER], 1);
    assert_int_equal(etcd_fsm_revision(fsm), 10); /* in force until the list is there */
    list_of(STRANGER);
    assert_true(did(ETCD_DO_LIST_COMMIT)->hold[DISC_SPACE_RULES]);
    assert_true(did(ETCD_DO_LIST_COMMIT)->hold[DISC_SPACE_SERVICES]);
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 4);
    assert_int_equal(etcd_fsm_stats(fsm)->cluster_changes, 1);
    created_by(STRANGER, 3);
    expect(WATCH);
    struct state_resume resume;
    etcd_fsm_resume(fsm, &resume);
    assert_true(resume.cluster_id == STRANGER);
    /* And the one that was known is a stranger. */
    now += 10000;
    broken();
    created(11);
    assert_true(etcd_fsm_state(fsm) != ETCD_STATE_LIST);
    end();
}

/* The known cluster comes and goes: seen once in a while, it stays the known one. */
static void test_seen_once_in_a_while(void **state)
{
    watching(2);
    for (uint64_t start = now; now - start < 1800000;) {
        uint64_t turn = now;
        broken();
        while (now - turn < 50000) {
            if (etcd_fsm_state(fsm) == ETCD_STATE_OPEN) {
                created_by(STRANGER, 500);
            } else {
                sleep_on();
            }
            assert_true(etcd_fsm_state(fsm) != ETCD_STATE_LIST);
        }
        while (etcd_fsm_state(fsm) != ETCD_STATE_OPEN) {
            sleep_on();
        }
        created(10);
        expect(WATCH);
    }
    assert_int_equal(etcd_fsm_stats(fsm)->lists, 1);
    end();
}

/* A minute is not enough where not every address was tried in it. */
static void test_every_address_is_tried(void **state)
{
    watching(3);
    now += 10000;
    broken();
    created_by(STRANGER, 500);
    now += 120000; /* the process was stopped, say */
    created_by(STRANGER, 500);
    assert_true(etcd_fsm_state(fsm) != ETCD_STATE_LIST);
    end();
}

/* It shows itself while the stranger is being listed. */
static void test_the_known_one_comes_back(void **state)
{
    watching(2);
    now += 10000;
    broken();
    (void)until_believed(STRANGER);
    unreachable();
    while (etcd_fsm_state(fsm) != ETCD_STATE_LIST) {
        sleep_on();
    }
    range_ok(10, 3);
    expect(OPEN);
    assert_null(did(ETCD_DO_LIST_COMMIT));
    assert_non_null(did(ETCD_DO_LIST_RESET));
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 11);
    created(10);
    expect(WATCH);
    assert_int_equal(etcd_fsm_stats(fsm)->cluster_changes, 0);
    end();
}

/* The known id is on disk: a stranger that answers first after a restart is none the less one. */
static void test_after_a_restart(void **state)
{
    const struct state_resume resume = {CLUSTER, {100, 0}, {3, 2}, {90, 95}};
    begin(2);
    etcd_fsm_restore(fsm, &resume);
    simple(ETCD_EVENT_START);
    created_by(STRANGER, 500);
    expect(OPEN);
    created(120);
    expect(WATCH);
    assert_int_equal(etcd_fsm_stats(fsm)->lists, 0);
    end();
    begin(1);
    etcd_fsm_restore(fsm, &resume);
    simple(ETCD_EVENT_START);
    assert_in_range(until_believed(STRANGER), 60000, 66000);
    end();
}

/* One address with several clusters behind it. */
static void test_probe_and_audit(void **state)
{
    watching(1);
    sleep_on();
    expect(PROBE);
    range_ok_of(STRANGER, 10, 1, false, 10);
    assert_false(etcd_fsm_is_watching(fsm));
    assert_true(etcd_fsm_state(fsm) != ETCD_STATE_LIST);
    end();
    watching(1);
    probed(11);
    expect(AUDIT);
    range_ok_of(STRANGER, 11, 1, false, 10);
    assert_true(etcd_fsm_state(fsm) != ETCD_STATE_LIST);
    end();
}

/* A list that is needed goes on at the next address, with the pages so far. */
static void test_within_a_list(void **state)
{
    watching(2);
    now += 10000;
    canceled(400, "");
    with("/tside/rules/a", 3, 3, false);
    range_ok(500, 1);
    range_ok_of(STRANGER, 700, 0, false, 10);
    expect(LIST);
    assert_null(did(ETCD_DO_LIST_RESET));
    assert_int_equal(did(ETCD_DO_RANGE)->query.revision, 500);
    with("/tside/services/x", 6, 6, false);
    range_ok(501, 1);
    assert_int_equal(did(ETCD_DO_LIST_COMMIT)->revision[0], 500);
    end();
}

/* A stranger's compaction is no news about ours. */
static void test_canceled_by_a_stranger(void **state)
{
    watching(2);
    now += 10000;
    broken();
    message(&(struct etcd_watch_message){
        .header = {STRANGER, 0}, .canceled = true, .compact_revision = 400});
    expect(OPEN);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_believed_after_a_minute),
        cmocka_unit_test(test_seen_once_in_a_while),
        cmocka_unit_test(test_every_address_is_tried),
        cmocka_unit_test(test_the_known_one_comes_back),
        cmocka_unit_test(test_after_a_restart),
        cmocka_unit_test(test_probe_and_audit),
        cmocka_unit_test(test_within_a_list),
        cmocka_unit_test(test_canceled_by_a_stranger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
