/*
 * store_held_test.c: keys that etcd lost without anybody's word, and what lets them go.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/store_fixture.h"

#include "tests/discovery/cmocka_first.h"

#include <stdio.h>

#define RULE       "a/default/b/default/M/config"
#define RELEASE_MS 60000

static struct fixture f;
static int64_t revision;

static int begin(void **state)
{
    (void)state;
    fixture_begin(&f, "/tside/rules");
    revision = 1;
    return 0;
}

static int end(void **state)
{
    (void)state;
    fixture_end(&f);
    return 0;
}

static uint64_t held(enum disc_space space)
{
    struct disc_store_stats stats;
    disc_store_stats(f.store, &stats);
    return stats.held[space];
}

static int endpoints(const char *cluster)
{
    const struct disc_cluster *found = fixture_cluster(&f, "s", cluster);
    return found != NULL ? (int)found->n : 0;
}

static bool has_rule(void)
{
    return fixture_timeout(&f, "a/b/M") == 300;
}

static void put_endpoint(const char *cluster, int n)
{
    char key[64];
    (void)snprintf(key, sizeof key, "s/%s/10.0.0.1:%d", cluster, n);
    fixture_put(&f, DISC_LAYER_ETCD, DISC_SPACE_SERVICES, key, "", ++revision);
}

/* One change of its own. */
static void add_endpoint(const char *cluster, int n)
{
    disc_store_begin(f.store, DISC_LAYER_ETCD, false);
    put_endpoint(cluster, n);
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
}

/* One rule, and endpoints 1..n of a cluster each: c has 4, d has 2. */
static void fill(void)
{
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    fixture_put(&f, DISC_LAYER_ETCD, DISC_SPACE_RULES, RULE, "{\"timeout_ms\": 300}", 1);
    for (int n = 1; n <= 4; n++) {
        put_endpoint("c", n);
    }
    put_endpoint("d", 1);
    put_endpoint("d", 2);
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
}

/* etcd was wiped: an empty list that is nobody's word. */
static void wipe(void)
{
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    disc_store_hold_missing(f.store, DISC_SPACE_RULES);
    disc_store_hold_missing(f.store, DISC_SPACE_SERVICES);
    fixture_commit(&f, DISC_LAYER_ETCD, ++revision);
}

static size_t look(uint64_t now_ms)
{
    size_t released = disc_store_release_returned(f.store, now_ms, RELEASE_MS);
    while (!disc_store_build(f.store, 1000)) {
    }
    return released;
}

static void test_what_a_wiped_etcd_lacks_is_held(void **state)
{
    (void)state;
    fill();
    wipe();
    assert_int_equal(held(DISC_SPACE_RULES), 1);
    assert_int_equal(held(DISC_SPACE_SERVICES), 6);
    assert_true(has_rule());
    /* One instance registers again: nothing happens to the others, of its cluster or another one.
     * */
    add_endpoint("c", 1);
    assert_int_equal(endpoints("c"), 4);
    assert_int_equal(endpoints("d"), 2);
    assert_int_equal(held(DISC_SPACE_SERVICES), 5);
    assert_true(has_rule());
}

/* The key's own put or delete ends it. */
static void test_its_own_word(void **state)
{
    (void)state;
    fill();
    wipe();
    fixture_etcd(&f, DISC_SPACE_RULES, RULE, "{\"timeout_ms\": 301}", 50);
    assert_int_equal(held(DISC_SPACE_RULES), 0);
    assert_int_equal(fixture_timeout(&f, "a/b/M"), 301);
    fixture_etcd(&f, DISC_SPACE_SERVICES, "s/d/10.0.0.1:1", NULL, 51);
    assert_int_equal(endpoints("d"), 1);
    assert_int_equal(held(DISC_SPACE_SERVICES), 5);
    /* Also where the put repeats what is known. */
    add_endpoint("d", 2);
    assert_int_equal(held(DISC_SPACE_SERVICES), 4);
}

/* A value that is refused is a word, too: the last good one stays, as ever, and is not held. */
static void test_a_bad_value_is_a_word(void **state)
{
    (void)state;
    fill();
    wipe();
    fixture_etcd(&f, DISC_SPACE_RULES, RULE, "{", 50);
    assert_int_equal(held(DISC_SPACE_RULES), 0);
    assert_true(has_rule());
    /* And what is not in force cannot be held. */
    fixture_etcd(&f, DISC_SPACE_RULES, "x/default/b/default/M/config", "{", 51);
    wipe();
    assert_int_equal(held(DISC_SPACE_RULES), 1);
    struct disc_store_stats stats;
    disc_store_stats(f.store, &stats);
    assert_int_equal(stats.rejected, 1);
}

/* Later lists are etcd's word on its own keys, and none on what is held. */
static void test_later_lists(void **state)
{
    (void)state;
    fill();
    wipe();
    add_endpoint("c", 1);
    add_endpoint("c", 9);
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    put_endpoint("c", 1);
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
    assert_int_equal(endpoints("c"), 4); /* 9 was deleted, 2 to 4 are held */
    assert_int_equal(held(DISC_SPACE_SERVICES), 5);
    assert_true(has_rule());
}

static void test_a_list_that_is_a_word_deletes(void **state)
{
    (void)state;
    fill();
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    disc_store_hold_missing(f.store, DISC_SPACE_RULES); /* rules alone are empty */
    put_endpoint("c", 1);
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
    assert_int_equal(endpoints("c"), 1);
    assert_int_equal(endpoints("d"), 0);
    assert_true(has_rule());
}

static void test_released(void **state)
{
    (void)state;
    fill();
    assert_false(disc_store_release(f.store, "/tside/rules/" RULE)); /* it is not held */
    wipe();
    assert_false(disc_store_release(f.store, "/tside/rules/x"));
    /* Not even a list that is open meanwhile is disturbed. */
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    put_endpoint("c", 1);
    assert_true(disc_store_release(f.store, "/tside/rules/" RULE));
    assert_true(disc_store_release(f.store, "/tside/services/s/d/10.0.0.1:1"));
    while (!disc_store_build(f.store, 1000)) {
    }
    assert_false(has_rule());
    assert_int_equal(endpoints("d"), 1);
    int64_t before = disc_snapshot_revision(f.snapshot);
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
    assert_true(disc_snapshot_revision(f.snapshot) > before); /* the release had none of its own */
    assert_int_equal(endpoints("c"), 4);
    assert_int_equal(held(DISC_SPACE_SERVICES), 4);
}

/* A release that is overtaken by a put deletes nothing. */
static void test_released_and_put(void **state)
{
    (void)state;
    fill();
    wipe();
    disc_store_begin(f.store, DISC_LAYER_ETCD, false);
    fixture_put(&f, DISC_LAYER_ETCD, DISC_SPACE_RULES, RULE, "{\"timeout_ms\": 300}", 60);
    disc_store_commit(f.store, DISC_LAYER_ETCD, 60, DISC_ORIGIN_ETCD, NOW_MS);
    assert_true(disc_store_release(f.store, "/tside/rules/" RULE));
    while (!disc_store_build(f.store, 1000)) {
    }
    assert_true(has_rule());
}

static void test_half_of_a_cluster_is_back(void **state)
{
    (void)state;
    fill();
    wipe();
    uint64_t t = 1000;
    assert_int_equal(look(t), 0);
    add_endpoint("c", 11); /* new addresses count like old ones */
    add_endpoint("c", 12);
    add_endpoint("c", 13);
    assert_int_equal(look(t += 1000), 0);
    assert_int_equal(look(t += RELEASE_MS), 0); /* 3 of 7 are not half */
    add_endpoint("c", 1);                       /* 4 of 7: 3 are held */
    assert_int_equal(look(t += 1000), 0);
    assert_int_equal(look(t += RELEASE_MS - 1), 0);
    assert_int_equal(endpoints("c"), 7);
    assert_int_equal(look(t += 1), 3);
    assert_int_equal(endpoints("c"), 4);
    assert_int_equal(endpoints("d"), 2); /* another cluster's affair */
    assert_int_equal(held(DISC_SPACE_SERVICES), 2);
    assert_int_equal(held(DISC_SPACE_RULES), 1);
    assert_int_equal(look(t += RELEASE_MS), 0);
}

/* The minute counts from the last time that less than half was there. */
static void test_half_goes_again(void **state)
{
    (void)state;
    fill();
    wipe();
    add_endpoint("d", 1);
    assert_int_equal(look(1000), 0);
    fixture_etcd(&f, DISC_SPACE_SERVICES, "s/d/10.0.0.1:1", NULL, ++revision);
    assert_int_equal(look(30000), 0);
    add_endpoint("d", 1);
    assert_int_equal(look(61000), 0);
    assert_int_equal(look(120999), 0);
    assert_int_equal(look(121000), 1);
    assert_int_equal(endpoints("d"), 1);
}

/* Names that begin alike are other clusters; the file's endpoints are not etcd's. */
static void test_clusters_apart(void **state)
{
    (void)state;
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    put_endpoint("c", 1);
    put_endpoint("c", 2);
    put_endpoint("c.x", 1);
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
    wipe();
    add_endpoint("c.x", 2);
    fixture_file(&f, DISC_SPACE_SERVICES, "s/c/10.0.0.1:8", "");
    fixture_file(&f, DISC_SPACE_SERVICES, "s/c/10.0.0.1:9", "");
    assert_int_equal(look(1000), 0);
    assert_int_equal(look(1000 + RELEASE_MS), 1);
    assert_int_equal(endpoints("c.x"), 1);
    assert_int_equal(endpoints("c"), 4);
}

/* More held keys than one look visits: the next one goes on. */
static void test_many_clusters(void **state)
{
    (void)state;
    enum { CLUSTERS = 300, EACH = 200 };
    char name[16];
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    for (int c = 0; c < CLUSTERS; c++) {
        (void)snprintf(name, sizeof name, "c%d", c);
        for (int n = 1; n <= EACH; n++) {
            put_endpoint(name, n);
        }
    }
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
    wipe();
    disc_store_begin(f.store, DISC_LAYER_ETCD, false);
    for (int c = 0; c < CLUSTERS; c++) {
        (void)snprintf(name, sizeof name, "c%d", c);
        for (int n = 1; n <= EACH / 2; n++) {
            put_endpoint(name, n);
        }
    }
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
    assert_int_equal(held(DISC_SPACE_SERVICES), CLUSTERS * EACH / 2);
    size_t released = 0;
    int looks = 0;
    for (uint64_t t = 1000; released < CLUSTERS * EACH / 2 && looks < 100; t += 10000, looks++) {
        released += look(t);
    }
    assert_int_equal(released, CLUSTERS * EACH / 2);
    assert_in_range(looks, 8, 20);
    assert_int_equal(held(DISC_SPACE_SERVICES), 0);
}

static bool add_key(void *arg, const char *whole_key)
{
    char *keys = arg;
    strcat(keys, whole_key);
    strcat(keys, " ");
    return true;
}

static void test_each_held(void **state)
{
    (void)state;
    char keys[512] = "";
    fill();
    wipe();
    add_endpoint("c", 1);
    add_endpoint("c", 3);
    disc_store_each_held(f.store, NULL, add_key, keys);
    assert_string_equal(keys, "/tside/rules/" RULE " /tside/services/s/c/10.0.0.1:2 "
                              "/tside/services/s/c/10.0.0.1:4 /tside/services/s/d/10.0.0.1:1 "
                              "/tside/services/s/d/10.0.0.1:2 ");
    keys[0] = '\0';
    disc_store_each_held(f.store, "/tside/services/s/c/10.0.0.1:4", add_key, keys);
    assert_string_equal(keys, "/tside/services/s/d/10.0.0.1:1 /tside/services/s/d/10.0.0.1:2 ");
}

/* From disk: a key that was held is held again. */
static void test_held_from_disk(void **state)
{
    (void)state;
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    put_endpoint("c", 1);
    put_endpoint("c", 2);
    disc_store_hold(f.store, DISC_SPACE_SERVICES, "s/c/10.0.0.1:2", 14);
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
    assert_int_equal(held(DISC_SPACE_SERVICES), 1);
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    put_endpoint("c", 3);
    fixture_commit(&f, DISC_LAYER_ETCD, revision);
    assert_int_equal(endpoints("c"), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_a_wiped_etcd_lacks_is_held),
        TEST(test_its_own_word),
        TEST(test_a_bad_value_is_a_word),
        TEST(test_later_lists),
        TEST(test_a_list_that_is_a_word_deletes),
        TEST(test_released),
        TEST(test_released_and_put),
        TEST(test_half_of_a_cluster_is_back),
        TEST(test_half_goes_again),
        TEST(test_clusters_apart),
        TEST(test_many_clusters),
        TEST(test_each_held),
        TEST(test_held_from_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
