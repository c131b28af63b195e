/*
 * store_test.c: layers, last good values, full lists, atomic commits, and what one change costs.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/store_fixture.h"

#include "tests/discovery/cmocka_first.h"

#define RULES    DISC_SPACE_RULES
#define SERVICES DISC_SPACE_SERVICES
#define ETCD     DISC_LAYER_ETCD
#define FILE_    DISC_LAYER_FILE
#define KEY      "a/default/b/default/M/config"
#define TUPLE    "a/default/b/default/M"

static struct fixture f;

static int begin(void **state)
{
    (void)state;
    fixture_begin(&f, "/tside/rules");
    return 0;
}

static int end(void **state)
{
    (void)state;
    fixture_end(&f);
    return 0;
}

static struct disc_store_stats stats(void)
{
    struct disc_store_stats s;
    disc_store_stats(f.store, &s);
    return s;
}

static bool first_rejection(void *arg, const struct disc_rejection *rejection)
{
    struct disc_rejection *ret = arg;
    *ret = *rejection;
    return false;
}

static struct disc_rejection rejection_after(const char *after)
{
    struct disc_rejection r = {.key = NULL};
    disc_store_each_rejection(f.store, after, first_rejection, &r);
    return r;
}

static void test_nothing_is_published_before_a_commit(void **state)
{
    (void)state;
    assert_true(disc_store_build(f.store, 1000));
    assert_int_equal(f.published, 0);
    disc_store_begin(f.store, ETCD, true);
    fixture_put(&f, ETCD, RULES, KEY, "{\"timeout_ms\":7}", 1);
    assert_true(disc_store_build(f.store, 1000));
    assert_int_equal(f.published, 0);
    fixture_commit(&f, ETCD, 9);
    assert_int_equal(f.published, 1);
    assert_int_equal(disc_snapshot_generation(f.snapshot), 1);
    assert_int_equal(disc_snapshot_revision(f.snapshot), 9);
    assert_int_equal(disc_snapshot_origin(f.snapshot), DISC_ORIGIN_ETCD);
    assert_int_equal(disc_snapshot_built_ms(f.snapshot), NOW_MS);
    assert_int_equal(fixture_timeout(&f, TUPLE), 7);
}

static void test_a_begun_list_may_start_over(void **state)
{
    (void)state;
    disc_store_begin(f.store, ETCD, true);
    fixture_put(&f, ETCD, RULES, KEY, "{\"timeout_ms\":7}", 1);
    disc_store_begin(f.store, ETCD, true);
    fixture_put(&f, ETCD, RULES, "a/default/b/default/N/config", "{\"timeout_ms\":8}", 1);
    fixture_commit(&f, ETCD, 2);
    assert_int_equal(fixture_timeout(&f, TUPLE), 1000);
    assert_int_equal(stats().keys[ETCD][RULES], 1);
}

static void test_file_commits_do_not_change_the_revision(void **state)
{
    (void)state;
    fixture_etcd(&f, RULES, KEY, "{}", 5);
    fixture_file(&f, RULES, KEY, "{}");
    assert_int_equal(disc_snapshot_revision(f.snapshot), 5);
    assert_int_equal(disc_snapshot_origin(f.snapshot), DISC_ORIGIN_ETCD);
}

static void test_a_revision_alone_is_published(void **state)
{
    (void)state;
    fixture_etcd(&f, RULES, KEY, "{}", 5);
    uint64_t built = stats().views_built_total;
    disc_store_begin(f.store, ETCD, false);
    fixture_commit(&f, ETCD, 6);
    assert_int_equal(disc_snapshot_revision(f.snapshot), 6);
    assert_int_equal(f.published, 2);
    assert_int_equal(stats().views_built_total, built);
}

static void test_last_good_value_stays_until_mended(void **state)
{
    (void)state;
    fixture_etcd(&f, RULES, KEY, "{\"timeout_ms\":300}", 1);
    fixture_etcd(&f, RULES, KEY, "{\"timeout_ms\":-1}", 2);
    assert_int_equal(fixture_timeout(&f, TUPLE), 300);
    assert_int_equal(stats().rejected, 1);
    assert_int_equal(f.rejected, 1);
    struct disc_rejection r = rejection_after(NULL);
    assert_string_equal(r.key, "/tside/rules/" KEY);
    assert_string_equal(r.field, "timeout_ms");
    assert_string_equal(r.reason, "must be an integer 1..3600000, is -1");
    assert_string_equal(r.in_force, "{\"timeout_ms\":300}");
    assert_int_equal(r.mod_revision, 2);
    assert_int_equal(r.since_unix_ms, NOW_MS);

    struct disc_resolution resolution;
    fixture_resolve(&f, TUPLE, &resolution);
    const struct disc_slot *slot = &resolution.candidates[0].entry->slot[DISC_CONFIG];
    assert_string_equal(slot->rejected_field, "timeout_ms");
    assert_int_equal(slot->rejected_revision, 2);
    assert_int_equal(slot->rule->mod_revision, 1);

    fixture_etcd(&f, RULES, KEY, "{\"timeout_ms\":400}", 3);
    assert_int_equal(fixture_timeout(&f, TUPLE), 400);
    assert_int_equal(stats().rejected, 0);
    assert_int_equal(stats().rejections_total, 1);
    fixture_resolve(&f, TUPLE, &resolution);
    assert_null(resolution.candidates[0].entry->slot[DISC_CONFIG].rejected_reason);
}

static void test_since_is_the_first_refusal_in_a_row(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        disc_store_begin(f.store, ETCD, false);
        disc_store_put(f.store, ETCD, RULES, KEY, strlen(KEY), "[", 1, 2 + i, 0,
                       NOW_MS + (uint64_t)i);
        fixture_commit(&f, ETCD, 2 + i);
    }
    assert_int_equal(rejection_after(NULL).since_unix_ms, NOW_MS);
    assert_int_equal(rejection_after(NULL).mod_revision, 3);
}

static void test_a_key_never_good_counts_as_absent(void **state)
{
    (void)state;
    fixture_file(&f, RULES, KEY, "{\"timeout_ms\":50}");
    fixture_etcd(&f, RULES, KEY, "nonsense", 2);
    assert_int_equal(fixture_timeout(&f, TUPLE), 50);
    assert_string_equal(rejection_after(NULL).in_force, "{\"timeout_ms\":50}");
    struct disc_resolution resolution;
    fixture_resolve(&f, TUPLE, &resolution);
    const struct disc_slot *slot = &resolution.candidates[0].entry->slot[DISC_CONFIG];
    assert_int_equal(slot->rule->mod_revision, 0);
    assert_int_equal(slot->rejected_revision, 2);

    fixture_file(&f, RULES, KEY, NULL);
    assert_int_equal(fixture_timeout(&f, TUPLE), 1000);
    assert_null(rejection_after(NULL).in_force);
    fixture_resolve(&f, TUPLE, &resolution); /* explain still shows it */
    assert_null(resolution.candidates[0].entry->slot[DISC_CONFIG].rule);
    assert_string_equal(resolution.candidates[0].entry->slot[DISC_CONFIG].key, "/tside/rules/" KEY);

    fixture_etcd(&f, RULES, KEY, NULL, 3);
    assert_int_equal(stats().rejected, 0);
    assert_null(disc_snapshot_view(f.snapshot, disc_str_of("b", 1)));
}

static void test_etcd_wins_and_a_delete_restores(void **state)
{
    (void)state;
    fixture_file(&f, RULES, KEY, "{\"timeout_ms\":50}");
    fixture_etcd(&f, RULES, KEY, "{\"timeout_ms\":60}", 2);
    assert_int_equal(fixture_timeout(&f, TUPLE), 60);
    fixture_file(&f, RULES, KEY, "{\"timeout_ms\":51}");
    assert_int_equal(fixture_timeout(&f, TUPLE), 60);
    fixture_etcd(&f, RULES, KEY, NULL, 3);
    assert_int_equal(fixture_timeout(&f, TUPLE), 51);
    fixture_file(&f, RULES, KEY, NULL);
    assert_int_equal(fixture_timeout(&f, TUPLE), 1000);
    assert_int_equal(disc_snapshot_callee_count(f.snapshot), 0);
}

static void test_a_rejected_file_value_under_a_good_one(void **state)
{
    (void)state;
    fixture_etcd(&f, RULES, KEY, "{\"timeout_ms\":60}", 2);
    fixture_file(&f, RULES, KEY, "{\"timeout_ms\":\"x\"}");
    struct disc_resolution resolution;
    fixture_resolve(&f, TUPLE, &resolution);
    assert_null(resolution.candidates[0].entry->slot[DISC_CONFIG].rejected_reason);
    assert_int_equal(stats().rejected, 1); /* but it is listed */
    assert_string_equal(rejection_after(NULL).in_force, "{\"timeout_ms\":60}");
}

static void test_a_full_list_deletes_what_it_has_not(void **state)
{
    (void)state;
    static const char other[] = "a/default/c/default/M/config";
    static const char address[] = "b/default/10.0.0.1:80";
    disc_store_begin(f.store, ETCD, true);
    fixture_put(&f, ETCD, RULES, KEY, "{\"timeout_ms\":7}", 1);
    fixture_put(&f, ETCD, RULES, other, "{\"timeout_ms\":8}", 1);
    fixture_put(&f, ETCD, SERVICES, address, "", 1);
    fixture_commit(&f, ETCD, 1);
    fixture_file(&f, RULES, other, "{\"timeout_ms\":9}");
    assert_int_equal(fixture_timeout(&f, "a/default/c/default/M"), 8);
    uint64_t built = stats().views_built_total;

    disc_store_begin(f.store, ETCD, true);
    fixture_put(&f, ETCD, RULES, KEY, "{\"timeout_ms\":7}", 1);
    fixture_put(&f, ETCD, SERVICES, address, "", 1);
    fixture_commit(&f, ETCD, 4);
    assert_int_equal(fixture_timeout(&f, TUPLE), 7);
    assert_int_equal(fixture_timeout(&f, "a/default/c/default/M"), 9); /* the file's */
    assert_non_null(fixture_cluster(&f, "b", "default"));
    assert_int_equal(stats().views_built_total, built + 1); /* c alone: the rest was repeated */

    disc_store_begin(f.store, ETCD, true);
    fixture_commit(&f, ETCD, 5);
    assert_int_equal(stats().keys[ETCD][RULES], 0);
    assert_int_equal(stats().keys[ETCD][SERVICES], 0);
    assert_int_equal(stats().keys[FILE_][RULES], 1);
    assert_int_equal(disc_snapshot_callee_count(f.snapshot), 1);
}

static void test_a_rejected_key_survives_full_lists(void **state)
{
    (void)state;
    fixture_etcd(&f, RULES, KEY, "{\"timeout_ms\":7}", 1);
    for (int i = 0; i < 2; i++) {
        disc_store_begin(f.store, ETCD, true);
        fixture_put(&f, ETCD, RULES, KEY, "{\"timeout_ms\":0}", 2);
        fixture_commit(&f, ETCD, 2 + i);
        assert_int_equal(fixture_timeout(&f, TUPLE), 7);
    }
    assert_int_equal(stats().rejections_total, 1); /* the same value is not refused anew */
}

static void test_one_changed_key_rebuilds_one_view(void **state)
{
    (void)state;
    char key[64];
    disc_store_begin(f.store, ETCD, true);
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(key, sizeof key, "a/default/s%d/default/*/config", i);
        fixture_put(&f, ETCD, RULES, key, "{\"timeout_ms\":7}", 1);
    }
    fixture_commit(&f, ETCD, 1);
    assert_int_equal(disc_snapshot_callee_count(f.snapshot), 3000);
    struct disc_view *same = disc_snapshot_view(f.snapshot, disc_str_of("s1", 2));
    struct disc_view *before = disc_view_ref(disc_snapshot_view(f.snapshot, disc_str_of("s2", 2)));
    uint64_t built = stats().views_built_total;
    fixture_etcd(&f, RULES, "a/default/s2/default/*/config", "{\"timeout_ms\":8}", 2);
    assert_int_equal(stats().views_built_total, built + 1);
    assert_ptr_equal(disc_snapshot_view(f.snapshot, disc_str_of("s1", 2)), same);
    assert_ptr_not_equal(disc_snapshot_view(f.snapshot, disc_str_of("s2", 2)), before);
    assert_int_equal(fixture_timeout(&f, "a/default/s2/default/X"), 8);
    before = disc_view_unref(before);
}

static void test_commits_are_whole_in_every_snapshot(void **state)
{
    (void)state;
    char key[64];
    char text[64];
    for (int round = 1; round <= 3; round++) {
        disc_store_begin(f.store, ETCD, false);
        for (int i = 0; i < 500; i++) {
            (void)snprintf(key, sizeof key, "a/default/s%d/default/*/config", i);
            (void)snprintf(text, sizeof text, "{\"timeout_ms\":%d}", round);
            fixture_put(&f, ETCD, RULES, key, text, round);
        }
        disc_store_commit(f.store, ETCD, round, DISC_ORIGIN_ETCD, NOW_MS);
        /* The next commit arrives somewhere in the middle of this one's slices. */
        for (int slices = 0; slices < 200 * round; slices++) {
            (void)disc_store_build(f.store, 0); /* another slice follows */
            if (f.snapshot == NULL) {
                continue;
            }
            int64_t first = fixture_timeout(&f, "a/default/s0/default/X");
            assert_int_equal(fixture_timeout(&f, "a/default/s499/default/X"), first);
            assert_int_equal(fixture_timeout(&f, "a/default/s250/default/X"), first);
            assert_int_equal(disc_snapshot_revision(f.snapshot), first);
        }
    }
    while (!disc_store_build(f.store, 1000)) {
    }
    assert_int_equal(fixture_timeout(&f, "a/default/s77/default/X"), 3);
}

static void test_keys_that_are_not_ours(void **state)
{
    (void)state;
    fixture_etcd(&f, RULES, "a/b/c", "x", 1);
    fixture_etcd(&f, RULES, "a/b/c/d/e/other", "x", 1);
    fixture_etcd(&f, SERVICES, "a/b", "x", 1);
    assert_int_equal(stats().foreign, 3);
    assert_int_equal(stats().rejected, 0);
    assert_int_equal(stats().keys[ETCD][RULES], 0);
    fixture_etcd(&f, RULES, "a/b/c", NULL, 2);
    assert_int_equal(stats().foreign, 2);
    disc_store_begin(f.store, ETCD, true);
    fixture_commit(&f, ETCD, 3);
    assert_int_equal(stats().foreign, 0);
}

static void test_refused_keys_are_listed(void **state)
{
    (void)state;
    fixture_etcd(&f, RULES, "a%2f/default/b/default/M/config", "{}", 1);
    fixture_etcd(&f, SERVICES, "b/default/example.com:80", "{}", 2);
    assert_int_equal(stats().rejected, 2);
    struct disc_rejection r = rejection_after(NULL);
    assert_string_equal(r.key, "/tside/rules/a%2f/default/b/default/M/config");
    assert_null(r.in_force);
    r = rejection_after(r.key);
    assert_string_equal(r.key, "/tside/services/b/default/example.com:80");
    assert_string_equal(r.reason, "host names: not yet, give an IP address");
    assert_null(rejection_after(r.key).key);
    fixture_etcd(&f, SERVICES, "b/default/example.com:80", NULL, 3);
    assert_int_equal(stats().rejected, 1);
}

static void test_reject_by_the_source_keeps_the_last_good(void **state)
{
    (void)state;
    const struct disc_error error = {.field = "", .reason = "rules.yaml:3:1: no such thing"};
    fixture_file(&f, RULES, KEY, "{\"timeout_ms\":50}");
    disc_store_begin(f.store, FILE_, true);
    disc_store_reject(f.store, FILE_, RULES, KEY, strlen(KEY), 0, &error, NOW_MS);
    fixture_commit(&f, FILE_, 0);
    assert_int_equal(fixture_timeout(&f, TUPLE), 50);
    assert_string_equal(rejection_after(NULL).reason, error.reason);
    /* Mended by the value it had before. */
    disc_store_begin(f.store, FILE_, true);
    fixture_put(&f, FILE_, RULES, KEY, "{\"timeout_ms\":50}", 0);
    fixture_commit(&f, FILE_, 0);
    assert_int_equal(stats().rejected, 0);
}

static void test_leases_are_known_at_once(void **state)
{
    (void)state;
    static const char key[] = "b/default/10.0.0.1:80";
    assert_int_equal(disc_store_lease(f.store, SERVICES, key, strlen(key)), 0);
    disc_store_begin(f.store, ETCD, false);
    disc_store_put(f.store, ETCD, SERVICES, key, strlen(key), "", 0, 1, 77, NOW_MS);
    assert_int_equal(disc_store_lease(f.store, SERVICES, key, strlen(key)), 77);
    disc_store_commit(f.store, ETCD, 1, DISC_ORIGIN_ETCD, NOW_MS);
    assert_int_equal(disc_store_lease(f.store, SERVICES, key, strlen(key)), 77);
    assert_true(disc_store_build(f.store, 1000000));
    assert_int_equal(disc_store_lease(f.store, SERVICES, key, strlen(key)), 77);
    assert_int_equal(disc_store_lease(f.store, RULES, key, strlen(key)), 0);
    fixture_etcd(&f, SERVICES, key, NULL, 2);
    assert_int_equal(disc_store_lease(f.store, SERVICES, key, strlen(key)), 0);
}

struct raws {
    int n;
    char text[2048];
};

static bool add_raw(void *arg, const struct disc_raw *raw)
{
    struct raws *raws = arg;
    size_t len = strlen(raws->text);
    (void)snprintf(raws->text + len, sizeof raws->text - len, "%s=%.*s@%d%s%.*s;", raw->key,
                   (int)raw->text_len, raw->text, (int)raw->mod_revision,
                   raw->rejected ? " good " : "", (int)raw->good_text_len,
                   raw->good_text != NULL ? raw->good_text : "");
    return ++raws->n < 3;
}

static void test_raw_keys_in_order(void **state)
{
    (void)state;
    struct raws raws = {0};
    fixture_etcd(&f, SERVICES, "s/default/10.0.0.2:80", "", 1);
    fixture_etcd(&f, SERVICES, "s/default/10.0.0.1:80", "{\"weight\":1}", 2);
    fixture_etcd(&f, SERVICES, "s/default/10.0.0.1:80", "{\"weight\":-1}", 3);
    fixture_etcd(&f, RULES, KEY, "{}", 4);
    fixture_etcd(&f, RULES, "foreign", "{}", 4);
    fixture_file(&f, RULES, "x/default/b/default/M/config", "{}");
    disc_store_each_raw(f.store, ETCD, NULL, add_raw, &raws);
    assert_string_equal(raws.text, KEY "={}@4;"
                                       "s/default/10.0.0.1:80={\"weight\":-1}@3 good "
                                       "{\"weight\":1};"
                                       "s/default/10.0.0.2:80=@1;");
    memset(&raws, 0, sizeof raws);
    disc_store_each_raw(f.store, ETCD, "/tside/services/s/default/10.0.0.1:80", add_raw, &raws);
    assert_string_equal(raws.text, "s/default/10.0.0.2:80=@1;");
}

static void test_values_over_the_limit(void **state)
{
    (void)state;
    static char text[DISC_VALUE_MAX_BYTES + 3];
    memset(text, ' ', sizeof text - 1);
    text[0] = '{';
    text[1] = '}';
    fixture_etcd(&f, RULES, KEY, text, 1);
    assert_string_equal(rejection_after(NULL).reason, "must be at most 65536 bytes, is 65538");
    text[DISC_VALUE_MAX_BYTES] = '\0';
    fixture_etcd(&f, RULES, KEY, text, 2);
    assert_int_equal(stats().rejected, 0);
}

static void test_keys_over_the_limit(void **state)
{
    (void)state;
    char key[64];
    const struct disc_store_options options = {.prefix = {"", "/s"}, .keys_max = 10};
    struct disc_store *store = disc_store_new(&options);
    struct disc_store_stats s;
    disc_store_begin(store, ETCD, true);
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof key, "a/b/s%d/default/*/config", i);
        disc_store_put(store, ETCD, RULES, key, strlen(key), "{}", 2, 1, 0, NOW_MS);
    }
    disc_store_commit(store, ETCD, 1, DISC_ORIGIN_ETCD, NOW_MS);
    assert_true(disc_store_build(store, 10000000));
    disc_store_stats(store, &s);
    assert_int_equal(s.rejected, 1024);
    assert_int_equal(s.rejections_total, 1990);
    assert_int_equal(s.keys[ETCD][RULES], 1034);
    /* Mended by the next list in which they fit. */
    disc_store_begin(store, ETCD, true);
    disc_store_put(store, ETCD, RULES, key, strlen(key), "{}", 2, 1, 0, NOW_MS);
    disc_store_put(store, ETCD, RULES, "a/b/s500/default/*/config", 25, "{}", 2, 1, 0, NOW_MS);
    disc_store_commit(store, ETCD, 2, DISC_ORIGIN_ETCD, NOW_MS);
    assert_true(disc_store_build(store, 10000000));
    disc_store_begin(store, ETCD, true);
    disc_store_put(store, ETCD, RULES, key, strlen(key), "{}", 2, 1, 0, NOW_MS);
    disc_store_put(store, ETCD, RULES, "a/b/s500/default/*/config", 25, "{}", 2, 1, 0, NOW_MS);
    disc_store_commit(store, ETCD, 3, DISC_ORIGIN_ETCD, NOW_MS);
    assert_true(disc_store_build(store, 10000000));
    disc_store_stats(store, &s);
    assert_int_equal(s.rejected, 0);
    assert_int_equal(s.keys[ETCD][RULES], 2);
    store = disc_store_free(store);
}

static void test_empty_rules_prefix(void **state)
{
    (void)state;
    struct fixture root;
    struct disc_resolution resolution;
    fixture_begin(&root, "");
    fixture_etcd(&root, RULES, KEY, "{\"timeout_ms\":7}", 1);
    fixture_etcd(&root, SERVICES, "b/default/10.0.0.1:80", "", 1);
    fixture_resolve(&root, TUPLE, &resolution);
    assert_string_equal(resolution.config->key, "/" KEY);
    fixture_end(&root);
}

static void test_freed_in_the_middle(void **state)
{
    (void)state;
    char key[64];
    disc_store_begin(f.store, ETCD, true);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "a/default/s/default/m%d/config", i);
        fixture_put(&f, ETCD, RULES, key, "{\"timeout_ms\":7}", 1);
    }
    disc_store_commit(f.store, ETCD, 1, DISC_ORIGIN_ETCD, NOW_MS);
    disc_store_begin(f.store, ETCD, true);
    for (int i = 0; i < 150; i++) {
        (void)disc_store_build(f.store, 0); /* stops while the view is being compiled */
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_published_before_a_commit),
        TEST(test_a_begun_list_may_start_over),
        TEST(test_file_commits_do_not_change_the_revision),
        TEST(test_a_revision_alone_is_published),
        TEST(test_last_good_value_stays_until_mended),
        TEST(test_since_is_the_first_refusal_in_a_row),
        TEST(test_a_key_never_good_counts_as_absent),
        TEST(test_etcd_wins_and_a_delete_restores),
        TEST(test_a_rejected_file_value_under_a_good_one),
        TEST(test_a_full_list_deletes_what_it_has_not),
        TEST(test_a_rejected_key_survives_full_lists),
        TEST(test_one_changed_key_rebuilds_one_view),
        TEST(test_commits_are_whole_in_every_snapshot),
        TEST(test_keys_that_are_not_ours),
        TEST(test_refused_keys_are_listed),
        TEST(test_reject_by_the_source_keeps_the_last_good),
        TEST(test_leases_are_known_at_once),
        TEST(test_raw_keys_in_order),
        TEST(test_values_over_the_limit),
        TEST(test_keys_over_the_limit),
        TEST(test_empty_rules_prefix),
        TEST(test_freed_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
