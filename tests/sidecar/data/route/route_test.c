/*
 * tests/sidecar/data/route/route_test.c: routes are resolved once, kept while valid, and bounded.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/world.h"

#include "sidecar/data/route/route.h"

struct fixture {
    struct world world;
    struct counters counters;
    struct route_cache *cache;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    world_init(&f->world);
    world_endpoint(&f->world, "b/default/127.0.0.1:9101", "{\"weight\": 1}");
    world_endpoint(&f->world, "b/default/127.0.0.1:9102", "{\"zone\": \"lf\"}");
    world_endpoint(&f->world, "b/canary/127.0.0.1:9103", "");
    world_endpoint(&f->world, "c/default/127.0.0.1:9104", "");
    world_rule(&f->world, "*/*/b/*/*/config", "{\"timeout_ms\": 300, \"lb\": \"round_robin\"}");
    world_commit(&f->world);
    f->cache = route_cache_new(
        &(struct route_cache_options){.limit = 3, .seed = 7, .counters = &f->counters});
    assert_non_null(f->cache);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    route_cache_free(f->cache);
    world_done(&f->world);
    free(f);
    return 0;
}

static struct route *get(struct fixture *f, const char *from, const char *to, uint64_t now_ms)
{
    struct disc_tuple tuple = world_tuple(from, "default", to, "default", "Visit");
    struct route *route = route_get(f->cache, f->world.snapshot, &tuple, now_ms, NULL);
    assert_non_null(route);
    assert_true(disc_tuple_eq(&route->tuple, &tuple));
    assert_true(route->tuple.name[0].p != tuple.name[0].p);
    return route;
}

static void test_resolves_config_and_targets(void **state)
{
    struct fixture *f = *state;
    struct route *route = get(f, "a", "b", 1);
    assert_int_equal(route->config.timeout_ms, 300);
    assert_int_equal(route->config.connect_timeout_ms, 50);
    assert_int_equal(route->config.lb, DISC_LB_ROUND_ROBIN);
    assert_int_equal(route->config.pool.max_idle, 128);
    assert_true(route->config.exceptions_fail);
    assert_string_equal(route->config_rule->key, "/tside/rules/*/*/b/*/*/config");
    assert_null(route->traffic);
    assert_int_equal(route->targets_len, 1);
    assert_int_equal(route->targets[0].set->n, 2);
    assert_string_equal(route->targets[0].set->endpoints[0]->address, "127.0.0.1:9101");
    assert_true(target_set_usable(route->targets[0].set));
    assert_null(route->fallback);
    route_unref(f->cache, route);
}

static void test_same_route_while_valid(void **state)
{
    struct fixture *f = *state;
    struct route *first = get(f, "a", "b", 1);
    route_unref(f->cache, first);
    assert_ptr_equal(get(f, "a", "b", 2), first);
    route_unref(f->cache, first);

    /* Another callee's change makes a new snapshot and leaves the route alone. */
    world_rule(&f->world, "*/*/c/*/*/config", "{\"timeout_ms\": 5}");
    world_commit(&f->world);
    assert_ptr_equal(get(f, "a", "b", 3), first);
    route_unref(f->cache, first);
    assert_int_equal(counter_get(&f->counters, METRIC_ROUTE_MISSES), 1);
}

static void test_change_replaces_route_and_spares_calls(void **state)
{
    struct fixture *f = *state;
    struct route *old = get(f, "a", "b", 1);
    struct target_set *set = old->targets[0].set;
    world_rule(&f->world, "a/default/b/default/Visit/config", "{\"timeout_ms\": 7}");
    world_commit(&f->world);
    world_forget_old(&f->world);

    struct route *fresh = get(f, "a", "b", 2);
    assert_ptr_not_equal(fresh, old);
    assert_int_equal(fresh->config.timeout_ms, 7);
    /* The call under way still has what it began with. */
    assert_int_equal(old->config.timeout_ms, 300);
    assert_string_equal(set->endpoints[1]->address, "127.0.0.1:9102");
    route_unref(f->cache, old);
    route_unref(f->cache, fresh);
    assert_int_equal(counter_get(&f->counters, METRIC_ROUTES_CACHED), 1);
}

static void test_star_view_counts_too(void **state)
{
    struct fixture *f = *state;
    struct route *route = get(f, "a", "b", 1);
    assert_false(route->config.deny);
    route_unref(f->cache, route);
    world_rule(&f->world, "a/*/*/*/*/config", "{\"access\": \"deny\"}");
    world_commit(&f->world);
    route = get(f, "a", "b", 2);
    assert_true(route->config.deny);
    route_unref(f->cache, route);
}

static void test_unknown_callee_becomes_known(void **state)
{
    struct fixture *f = *state;
    struct route *route = get(f, "a", "new", 1);
    assert_false(target_set_usable(route->targets[0].set));
    assert_int_equal(route->targets[0].set->n, 0);
    route_unref(f->cache, route);
    world_endpoint(&f->world, "new/default/127.0.0.1:9105", "");
    world_commit(&f->world);
    route = get(f, "a", "new", 2);
    assert_true(target_set_usable(route->targets[0].set));
    route_unref(f->cache, route);
}

static void test_traffic_zones_and_fallback(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/traffic", "{\"default@lf\": 70, \"canary\": 30}");
    world_rule(&f->world, "a/*/b/*/*/config", "{\"fallback_cluster\": \"spare\"}");
    world_commit(&f->world);
    struct route *route = get(f, "a", "b", 1);
    assert_int_equal(route->targets_len, 2);
    assert_null(route->targets[0].zone_set); /* canary: sorted by name */
    assert_int_equal(route->targets[0].set->n, 1);
    assert_int_equal(route->targets[1].zone_set->n, 1);
    assert_int_equal(route->targets[1].set->n, 2);
    assert_non_null(route->fallback);
    assert_false(target_set_usable(route->fallback));
    route_unref(f->cache, route);
}

static void test_drained_endpoints_are_no_targets(void **state)
{
    struct fixture *f = *state;
    world_endpoint(&f->world, "b/default/127.0.0.1:9101", "{\"weight\": 0}");
    world_commit(&f->world);
    struct route *route = get(f, "a", "b", 1);
    assert_int_equal(route->targets[0].set->n, 1);
    assert_string_equal(route->targets[0].set->endpoints[0]->address, "127.0.0.1:9102");
    route_unref(f->cache, route);
}

static void test_bound_makes_routes_for_one_call(void **state)
{
    struct fixture *f = *state;
    const char *froms[] = {"a1", "a2", "a3", "a4"};
    for (int i = 0; i < 4; i++) {
        route_unref(f->cache, get(f, froms[i], "b", 1));
    }
    assert_int_equal(counter_get(&f->counters, METRIC_ROUTES_CACHED), 3);
    assert_int_equal(counter_get(&f->counters, METRIC_ROUTES_UNCACHED), 1);
    struct route *a = get(f, "a4", "b", 2);
    struct route *b = get(f, "a4", "b", 2);
    assert_ptr_not_equal(a, b);
    assert_int_equal(a->config.timeout_ms, 300);
    route_unref(f->cache, a);
    route_unref(f->cache, b);
    /* One that is outdated makes room for its own successor. */
    world_rule(&f->world, "*/*/b/*/*/config", "{\"timeout_ms\": 9}");
    world_commit(&f->world);
    a = get(f, "a1", "b", 3);
    route_unref(f->cache, a);
    assert_ptr_equal(get(f, "a1", "b", 3), a);
    route_unref(f->cache, a);
    assert_int_equal(counter_get(&f->counters, METRIC_ROUTES_CACHED), 3);
}

static void test_sweep_lets_idle_and_outdated_go(void **state)
{
    struct fixture *f = *state;
    route_unref(f->cache, get(f, "a1", "b", 1000));
    route_unref(f->cache, get(f, "a2", "c", 5000));
    struct route *pinned = get(f, "a3", "b", 5000);
    route_cache_sweep(f->cache, f->world.snapshot, 10, 6000, 5000);
    assert_int_equal(counter_get(&f->counters, METRIC_ROUTES_CACHED), 2);
    world_rule(&f->world, "*/*/b/*/*/config", "{\"timeout_ms\": 9}");
    world_commit(&f->world);
    route_cache_sweep(f->cache, f->world.snapshot, 1, 6000, 5000);
    route_cache_sweep(f->cache, f->world.snapshot, 1, 6000, 5000);
    assert_int_equal(counter_get(&f->counters, METRIC_ROUTES_CACHED), 1);
    assert_int_equal(pinned->config.timeout_ms, 300);
    route_unref(f->cache, pinned);
    route_cache_sweep(f->cache, f->world.snapshot, 10, 60000, 5000);
    assert_int_equal(counter_get(&f->counters, METRIC_ROUTES_CACHED), 0);
    route_cache_sweep(f->cache, f->world.snapshot, 10, 60000, 5000);
}

static void test_names_do_not_run_together(void **state)
{
    struct fixture *f = *state;
    struct disc_tuple one = world_tuple("ab", "c", "b", "default", "M");
    struct disc_tuple two = world_tuple("a", "bc", "b", "default", "M");
    struct route *a = route_get(f->cache, f->world.snapshot, &one, 1, NULL);
    struct route *b = route_get(f->cache, f->world.snapshot, &two, 1, NULL);
    assert_ptr_not_equal(a, b);
    assert_true(a->hash != b->hash);
    assert_ptr_equal(a->targets[0].set, b->targets[0].set);
    route_unref(f->cache, a);
    route_unref(f->cache, b);
}

static struct route *get_by(struct fixture *f, struct route_hint *hint, const char *from)
{
    struct disc_tuple tuple = world_tuple(from, "default", "b", "default", "Visit");
    struct route *route = route_get(f->cache, f->world.snapshot, &tuple, 1, hint);
    assert_non_null(route);
    assert_true(disc_tuple_eq(&route->tuple, &tuple));
    route_unref(f->cache, route);
    return route;
}

/* A hint saves the look-up, and is believed only while its route is in the cache, valid and of this tuple. */
static void test_a_hint_is_believed_while_it_is_true(void **state)
{
    struct fixture *f = *state;
    struct route_hint hint = {0};
    struct route *first = get_by(f, &hint, "a");
    assert_ptr_equal(hint.route, first);
    assert_ptr_equal(get_by(f, &hint, "a"), first);
    struct route *other = get_by(f, &hint, "x");
    assert_ptr_not_equal(other, first);
    assert_ptr_equal(hint.route, other);

    world_rule(&f->world, "*/*/b/*/*/config", "{\"timeout_ms\": 301}");
    world_commit(&f->world);
    assert_int_equal(get_by(f, &hint, "x")->config.timeout_ms, 301); /* valid no more */

    struct route_hint stale = hint;
    route_cache_sweep(f->cache, f->world.snapshot, 10, 1000, 1); /* all leave, and are freed */
    struct route *again = get_by(f, &stale, "x");
    assert_ptr_equal(again, stale.route);
    assert_int_equal(stale.departures, hint.departures + 2);
}

/* One that was made for one call only is gone with it. */
static void test_a_route_that_is_not_cached_is_no_hint(void **state)
{
    struct fixture *f = *state;
    struct route_hint hint = {0};
    const char *const callers[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        (void)get_by(f, &hint, callers[i]);
        assert_non_null(hint.route);
    }
    (void)get_by(f, &hint, "one too many");
    assert_null(hint.route);
}

static void test_counts_into_the_tuple_table(void **state)
{
    struct fixture *f = *state;
    struct tuple_table *tuples = tuple_table_new(10, 2);
    struct route_cache *cache = route_cache_new(
        &(struct route_cache_options){.limit = 1, .seed = 1, .tuples = tuples, .worker = 1});
    struct disc_tuple tuple = world_tuple("a", "default", "b", "default", "M");
    struct route *route = route_get(cache, f->world.snapshot, &tuple, 1, NULL);
    assert_ptr_equal(route->counts, tuple_state_counts(route->state, 1));
    assert_true(disc_tuple_eq(tuple_state_names(route->state), &tuple));
    route_unref(cache, route);
    route_cache_free(cache);
    tuple_table_free(tuples);
}

/* ---- the load of a set -------------------------------------------------------------------- */

static struct target_set *set_of(struct fixture *f, struct target_table *table, const char *service)
{
    const struct target_key key = {.name = {world_str(service), world_str("default")},
                                   .lb = DISC_LB_P2C};
    return target_table_get(table, disc_snapshot_view(f->world.snapshot, world_str(service)), &key);
}

static void test_small_sets_have_exact_load(void **state)
{
    struct fixture *f = *state;
    struct target_table *table = target_table_new(3, 0);
    struct target_set *set = set_of(f, table, "b");
    const struct lb_set_load *load = target_set_load(set, 1000);
    assert_int_equal(load->inflight, 0);
    assert_true(load->median_ewma_us == 0);
    atomic_store(&set->endpoints[0]->inflight, 3);
    atomic_store(&set->endpoints[1]->inflight, 4);
    endpoint_ewma_record(set->endpoints[0], 1000, 1000);
    assert_int_equal(target_set_load(set, 1000)->inflight, 7);
    double only = target_set_load(set, 1000)->median_ewma_us;
    assert_true(only > 990 && only < 1010);
    endpoint_ewma_record(set->endpoints[1], 3000, 1000);
    double both = target_set_load(set, 1000)->median_ewma_us;
    assert_true(both > 990 && both < 1010);
    target_set_unref(table, set);
    target_table_free(table);
}

static void test_large_sets_are_sampled_now_and_then(void **state)
{
    struct fixture *f = *state;
    char key[64];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "big/default/10.0.%d.%d:80", i / 250, i % 250 + 1);
        world_endpoint(&f->world, key, "");
    }
    world_commit(&f->world);
    struct target_table *table = target_table_new(3, 0);
    struct target_set *set = set_of(f, table, "big");
    assert_int_equal(set->n, 1000);
    for (uint32_t i = 0; i < set->n; i++) {
        atomic_store(&set->endpoints[i]->inflight, 2);
        endpoint_ewma_record(set->endpoints[i], 500, 1000);
    }
    assert_int_equal(target_set_load(set, 1000)->inflight, 2000);
    double median = target_set_load(set, 1000)->median_ewma_us;
    assert_true(median > 490 && median < 510);
    for (uint32_t i = 0; i < set->n; i++) {
        atomic_store(&set->endpoints[i]->inflight, 4);
    }
    assert_int_equal(target_set_load(set, 1009)->inflight, 2000);
    assert_int_equal(target_set_load(set, 1010)->inflight, 4000);
    target_set_unref(table, set);
    target_table_free(table);
}

static void test_table_grows_and_shares(void **state)
{
    struct fixture *f = *state;
    struct target_table *table = target_table_new(3, 0);
    struct target_set *sets[300];
    struct target_key key = {.name = {[TARGET_CLUSTER] = world_str("x")}};
    char name[16];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "s%d", i);
        key.name[TARGET_SERVICE] = world_str(name);
        sets[i] = target_table_get(table, NULL, &key);
        assert_false(target_set_usable(sets[i]));
    }
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "s%d", i);
        key.name[TARGET_SERVICE] = world_str(name);
        assert_ptr_equal(target_table_get(table, NULL, &key), sets[i]);
        target_set_unref(table, sets[i]);
        target_set_unref(table, sets[i]);
    }
    (void)f;
    target_table_free(table);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_resolves_config_and_targets),
        TEST(test_same_route_while_valid),
        TEST(test_change_replaces_route_and_spares_calls),
        TEST(test_star_view_counts_too),
        TEST(test_unknown_callee_becomes_known),
        TEST(test_traffic_zones_and_fallback),
        TEST(test_drained_endpoints_are_no_targets),
        TEST(test_bound_makes_routes_for_one_call),
        TEST(test_sweep_lets_idle_and_outdated_go),
        TEST(test_names_do_not_run_together),
        TEST(test_a_hint_is_believed_while_it_is_true),
        TEST(test_a_route_that_is_not_cached_is_no_hint),
        TEST(test_counts_into_the_tuple_table),
        TEST(test_small_sets_have_exact_load),
        TEST(test_large_sets_are_sampled_now_and_then),
        TEST(test_table_grows_and_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
