/*
 * tests/sidecar/data/route/stage_test.c: what becomes of a call: access, degrade, split, balance.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/world.h"

#include "sidecar/data/route/ejection.h"
#include "sidecar/data/route/stage.h"

#define CALLS 20000

struct fixture {
    struct world world;
    struct route_cache *cache;
    struct lb_random random;
    struct stage_ctx ctx;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    world_init(&f->world);
    world_endpoint(&f->world, "b/default/127.0.0.1:9101", "{\"zone\": \"hl\"}");
    world_endpoint(&f->world, "b/default/127.0.0.1:9102", "{\"zone\": \"lf\"}");
    world_endpoint(&f->world, "b/canary/127.0.0.1:9103", "");
    f->cache = route_cache_new(&(struct route_cache_options){.limit = 10, .seed = 7});
    lb_random_init(&f->random, 1);
    f->ctx.random = &f->random;
    f->ctx.now_ms = 1000;
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

/* A route under all that was put so far; the ctx borrows it from the cache. */
static void prepare_from(struct fixture *f, const char *from, const char *to_cluster)
{
    world_commit(&f->world);
    struct disc_tuple tuple = world_tuple(from, "default", "b", to_cluster, "Visit");
    struct route *route = route_get(f->cache, f->world.snapshot, &tuple, 1, NULL);
    assert_non_null(route);
    f->ctx.route = route;
    route_unref(f->cache, route); /* the cache still holds it */
}

static void prepare(struct fixture *f, const char *to_cluster)
{
    prepare_from(f, "a", to_cluster);
}

static const char *run(struct fixture *f)
{
    if (stages_decide(&f->ctx) == STAGE_ANSWER) {
        return reason_str(f->ctx.reason);
    }
    return f->ctx.set->endpoints[f->ctx.target]->address;
}

static void set_log_id(struct fixture *f, char *buf, size_t cap, int i)
{
    f->ctx.log_id = disc_str_of(buf, (size_t)snprintf(buf, cap, "log-%d", i));
}

static void test_no_rule_goes_to_cluster(void **state)
{
    struct fixture *f = *state;
    prepare(f, "canary");
    assert_string_equal(run(f), "127.0.0.1:9103");
    assert_true(disc_str_eq(f->ctx.cluster, world_str("canary")));
    prepare(f, "nowhere");
    assert_string_equal(run(f), "no_endpoint");
    assert_true(disc_str_eq(f->ctx.cluster, world_str("nowhere")));
}

static void test_deny_comes_first(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/config", "{\"access\": \"deny\"}");
    world_rule(&f->world, "a/*/b/*/*/degrade", "100");
    prepare(f, "default");
    assert_string_equal(run(f), "denied");
}

static void test_access_in_shadow_is_noted(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/config",
               "{\"access\": \"deny\", \"shadow\": {\"access\": true}}");
    prepare(f, "canary");
    assert_string_equal(run(f), "127.0.0.1:9103");
    assert_int_equal(f->ctx.shadowed, shadow_bit(SHADOW_ACCESS));
    /* A stage behind it that is not in shadow bites. */
    world_rule(&f->world, "a/*/b/*/*/degrade", "100");
    prepare(f, "canary");
    f->ctx.shadowed = 0;
    assert_string_equal(run(f), "degraded");
    assert_int_equal(f->ctx.shadowed, shadow_bit(SHADOW_ACCESS));
}

/* What nothing would have refused is not noted; false bites. */
static void test_shadow_of_nothing(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/config",
               "{\"access\": \"allow\", \"shadow\": {\"access\": true}}");
    prepare(f, "canary");
    assert_string_equal(run(f), "127.0.0.1:9103");
    world_rule(&f->world, "a/*/b/*/*/config",
               "{\"access\": \"deny\", \"shadow\": {\"access\": false}}");
    prepare(f, "canary");
    assert_string_equal(run(f), "denied");
    assert_int_equal(f->ctx.shadowed, 0);
}

static void test_degrade_share(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/degrade", "30");
    prepare(f, "default");
    int degraded = 0;
    for (int i = 0; i < CALLS; i++) {
        degraded += strcmp(run(f), "degraded") == 0;
    }
    assert_in_range(degraded, CALLS * 28 / 100, CALLS * 32 / 100);
    world_rule(&f->world, "a/*/b/*/*/degrade", "100");
    prepare(f, "default");
    assert_string_equal(run(f), "degraded");
    world_rule(&f->world, "a/*/b/*/*/degrade", "0");
    prepare(f, "default");
    assert_string_not_equal(run(f), "degraded");
}

static void test_degrade_and_traffic_by_log_id_are_independent(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/degrade", "{\"percent\": 50, \"by\": \"log_id\"}");
    world_rule(&f->world, "a/*/b/*/*/traffic",
               "{\"clusters\": {\"default\": 50, \"canary\": 50}, \"by\": \"log_id\"}");
    prepare(f, "default");
    int degraded = 0, canary = 0;
    char buf[32];
    for (int i = 0; i < CALLS; i++) {
        set_log_id(f, buf, sizeof buf, i);
        const char *what = run(f);
        if (strcmp(what, "degraded") == 0) {
            degraded++;
        } else if (strcmp(what, "127.0.0.1:9103") == 0) {
            canary++;
        }
        assert_string_equal(run(f)[0] == 'd' ? "degraded" : "on",
                            what[0] == 'd' ? "degraded" : "on");
    }
    assert_in_range(degraded, CALLS * 48 / 100, CALLS * 52 / 100);
    assert_in_range(canary, (CALLS - degraded) * 47 / 100, (CALLS - degraded) * 53 / 100);
}

/* These values are what every host of a fleet computes: changing them sends one LogID two ways
 * while versions are mixed. */
static void test_points_are_fixed(void **state)
{
    struct fixture *f = *state;
    struct disc_by by = {.kind = DISC_BY_LOG_ID};
    f->ctx.log_id = world_str("20260101-0001");
    assert_int_equal(stage_point(&f->ctx, &by, STAGE_SEED_TRAFFIC), UINT64_C(0x0fcdde370dc39d12));
    assert_int_equal(stage_point(&f->ctx, &by, STAGE_SEED_DEGRADE), UINT64_C(0xf3cbbb3ea678678d));
}

static void test_same_log_id_same_cluster(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/traffic",
               "{\"clusters\": {\"default\": 90, \"canary\": 10}, \"by\": \"log_id\"}");
    prepare(f, "default");
    char buf[32];
    int canary = 0;
    for (int i = 0; i < CALLS; i++) {
        set_log_id(f, buf, sizeof buf, i);
        assert_int_equal(stage_split(&f->ctx), STAGE_GO_ON);
        struct disc_str cluster = f->ctx.cluster;
        assert_int_equal(stage_split(&f->ctx), STAGE_GO_ON);
        assert_true(disc_str_eq(cluster, f->ctx.cluster));
        canary += disc_str_eq(cluster, world_str("canary"));
    }
    assert_in_range(canary, CALLS * 9 / 100, CALLS * 11 / 100);
}

static void test_absent_value_is_random(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "*/*/b/*/*/traffic",
               "{\"clusters\": {\"default\": 50, \"canary\": 50}, \"by\": \"caller\"}");
    prepare_from(f, "none", "default");
    int canary = 0;
    for (int i = 0; i < CALLS; i++) {
        canary += strcmp(run(f), "127.0.0.1:9103") == 0;
    }
    assert_in_range(canary, CALLS * 48 / 100, CALLS * 52 / 100);
}

static void test_same_caller_same_cluster(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/traffic",
               "{\"clusters\": {\"default\": 50, \"canary\": 50}, \"by\": \"caller\"}");
    prepare(f, "default");
    const char *first = run(f);
    bool is_canary = strcmp(first, "127.0.0.1:9103") == 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(strcmp(run(f), "127.0.0.1:9103") == 0, is_canary);
    }
}

static bool extra_user(const void *owner, struct disc_str key, struct disc_str *ret_value)
{
    if (!disc_str_eq(key, world_str("user"))) {
        return false;
    }
    *ret_value = world_str(owner);
    return true;
}

static void test_by_extra(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/traffic",
               "{\"clusters\": {\"default\": 50, \"canary\": 50}, \"by\": \"extra:user\"}");
    prepare(f, "default");
    f->ctx.extra = extra_user;
    int canary = 0;
    char buf[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(buf, sizeof buf, "u%d", i);
        f->ctx.extra_owner = buf;
        bool first = strcmp(run(f), "127.0.0.1:9103") == 0;
        assert_int_equal(strcmp(run(f), "127.0.0.1:9103") == 0, first);
        canary += first;
    }
    assert_in_range(canary, 430, 570);
}

static void test_zone_spills_then_falls_back(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/traffic", "{\"default@lf\": 1}");
    prepare(f, "default");
    for (int i = 0; i < 50; i++) {
        assert_string_equal(run(f), "127.0.0.1:9102");
    }
    world_endpoint(&f->world, "b/default/127.0.0.1:9102", "{\"zone\": \"lf\", \"weight\": 0}");
    prepare(f, "default");
    assert_string_equal(run(f), "127.0.0.1:9101");
    world_delete(&f->world, DISC_SPACE_SERVICES, "b/default/127.0.0.1:9101");
    world_delete(&f->world, DISC_SPACE_SERVICES, "b/default/127.0.0.1:9102");
    prepare(f, "default");
    assert_string_equal(run(f), "no_endpoint");
    world_rule(&f->world, "a/*/b/*/*/config", "{\"fallback_cluster\": \"canary\"}");
    prepare(f, "default");
    assert_string_equal(run(f), "127.0.0.1:9103");
    assert_true(disc_str_eq(f->ctx.cluster, world_str("canary")));
}

static void test_round_robin_takes_turns(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/config", "{\"lb\": \"round_robin\"}");
    prepare(f, "default");
    const char *before = run(f);
    for (int i = 0; i < 10; i++) {
        const char *now = run(f);
        assert_string_not_equal(now, before);
        before = now;
    }
}

/* A registration that is put again, unchanged, changes nothing. */
static void test_round_robin_goes_on(void **state)
{
    struct fixture *f = *state;
    world_rule(&f->world, "a/*/b/*/*/config", "{\"lb\": \"round_robin\"}");
    prepare(f, "default");
    const char *before = run(f);
    for (int i = 0; i < 10; i++) {
        world_endpoint(&f->world, "b/default/127.0.0.1:9101", "{\"zone\": \"hl\"}");
        prepare(f, "default");
        const char *now = run(f);
        assert_string_not_equal(now, before);
        before = now;
    }
    /* Nor does a set begin with the same endpoint each time where nothing of it was left. */
    int first = 0;
    for (int i = 0; i < 20; i++) {
        world_rule(&f->world, "a/*/b/*/*/config", i % 2 ? "{\"lb\": \"round_robin\"}" : "{}");
        prepare(f, "default");
        const char *now = run(f);
        first += i % 2 && strcmp(now, "127.0.0.1:9101") == 0;
    }
    assert_in_range(first, 1, 9);
}

/* One key, one endpoint: on every host, whatever its seeds, and under every version of the set. */
static void test_hash_is_the_same_on_every_host(void **state)
{
    struct fixture *f = *state;
    char buf[32];
    int first = 0;
    world_rule(&f->world, "a/*/b/*/*/config", "{\"lb\": \"hash\"}"); /* by log_id */
    prepare(f, "default");
    for (int i = 0; i < 1000; i++) {
        set_log_id(f, buf, sizeof buf, i);
        const char *home = run(f);
        f->ctx.log_id = world_str("");
        (void)run(f);
        set_log_id(f, buf, sizeof buf, i);
        assert_string_equal(run(f), home);
        first += strcmp(home, "127.0.0.1:9101") == 0;
    }
    assert_in_range(first, 430, 570);
    /* To the letter: these must never change. */
    static const char *const homes[] = {"9101", "9102", "9101", "9102", "9102", "9102"};
    route_cache_free(f->cache);
    f->cache = route_cache_new(&(struct route_cache_options){.limit = 10, .seed = 99});
    world_endpoint(&f->world, "b/default/127.0.0.1:9101", "");
    prepare(f, "default");
    for (int i = 0; i < 6; i++) {
        set_log_id(f, buf, sizeof buf, i);
        assert_string_equal(run(f) + strlen("127.0.0.1:"), homes[i]);
    }
}

static void test_hash_by(void **state)
{
    struct fixture *f = *state;
    int first = 0;
    world_rule(&f->world, "a/*/b/*/*/config", "{\"lb\": \"hash\", \"hash_by\": \"extra:user\"}");
    prepare(f, "default");
    for (int i = 0; i < 1000; i++) { /* none: drawn */
        first += strcmp(run(f), "127.0.0.1:9101") == 0;
    }
    assert_in_range(first, 430, 570);
    f->ctx.extra = extra_user;
    f->ctx.extra_owner = "u1";
    const char *home = run(f);
    for (int i = 0; i < 100; i++) {
        assert_string_equal(run(f), home);
    }
}

static void test_p2c_avoids_the_loaded(void **state)
{
    struct fixture *f = *state;
    prepare(f, "default");
    assert_int_equal(stages_decide(&f->ctx), STAGE_GO_ON);
    struct target_set *set = f->ctx.set;
    endpoint_ewma_record(set->endpoints[0], 1000, 1000);
    endpoint_ewma_record(set->endpoints[1], 1000, 1000);
    atomic_store(&set->endpoints[0]->inflight, 200);
    for (int i = 0; i < 200; i++) {
        assert_string_equal(run(f), "127.0.0.1:9102");
    }
}

/* Of one call at 9101, least_request sends all to 9102; random takes no notice. */
static void test_least_request_and_random(void **state)
{
    struct fixture *f = *state;
    static const char *const lbs[] = {"{\"lb\": \"least_request\"}", "{\"lb\": \"random\"}"};
    static const int low[] = {CALLS, CALLS * 48 / 100}, high[] = {CALLS, CALLS * 52 / 100};
    for (size_t k = 0; k < 2; k++) {
        int idle = 0;
        world_rule(&f->world, "a/*/b/*/*/config", lbs[k]);
        prepare(f, "default");
        assert_int_equal(stages_decide(&f->ctx), STAGE_GO_ON);
        atomic_store(&f->ctx.set->endpoints[0]->inflight, 1);
        for (int i = 0; i < CALLS; i++) {
            idle += strcmp(run(f), "127.0.0.1:9102") == 0;
        }
        assert_in_range(idle, low[k], high[k]);
    }
}

static void test_excluded_are_not_picked_again(void **state)
{
    struct fixture *f = *state;
    static const char *const lbs[] = {"round_robin", "p2c", "least_request", "random", "hash"};
    for (size_t k = 0; k < sizeof lbs / sizeof lbs[0]; k++) {
        char config[64];
        snprintf(config, sizeof config, "{\"lb\": \"%s\"}", lbs[k]);
        world_rule(&f->world, "a/*/b/*/*/config", config);
        prepare(f, "default");
        struct lb_exclude exclude = {.n = 1, .index = {0}};
        assert_int_equal(stages_decide(&f->ctx), STAGE_GO_ON);
        f->ctx.exclude = &exclude;
        for (int i = 0; i < 20; i++) {
            assert_int_equal(stage_balance(&f->ctx), STAGE_GO_ON);
            assert_int_equal(f->ctx.target, 1);
        }
        exclude.n = 2;
        exclude.index[1] = 1;
        assert_int_equal(stage_balance(&f->ctx), STAGE_ANSWER);
        assert_int_equal(f->ctx.reason, REASON_NO_ENDPOINT);
        f->ctx.exclude = NULL;
    }
}

/* ---- slow_start_ms --------------------------------------------------------------------------- */

static int calls_at(struct fixture *f, const char *address)
{
    int n = 0;
    for (int i = 0; i < CALLS; i++) {
        n += strcmp(run(f), address) == 0;
    }
    return n;
}

static void rule_slowly(struct fixture *f, const char *lb)
{
    char config[80];
    snprintf(config, sizeof config, "{\"lb\": \"%s\", \"slow_start_ms\": 1000}", lb);
    world_rule(&f->world, "a/*/b/*/*/config", config);
}

/* The third of three that came to two others: a tenth of its weight, in a straight line up to all. */
static void test_slow_start(void **state)
{
    struct fixture *f = *state;
    static const char *const lbs[] = {"round_robin", "p2c", "least_request", "random"};
    static const double ages[] = {0, 500, 1000, 5000}, shares[] = {0.1, 0.55, 1, 1};
    prepare(f, "default");
    f->world.now_ms = 10000;
    world_endpoint(&f->world, "b/default/127.0.0.1:9104", "");
    for (size_t k = 0; k < sizeof lbs / sizeof lbs[0]; k++) {
        rule_slowly(f, lbs[k]);
        prepare(f, "default");
        for (size_t i = 0; i < 4; i++) {
            f->ctx.now_ms = 10000 + (uint64_t)ages[i];
            double share = (double)calls_at(f, "127.0.0.1:9104") / CALLS;
            double expected = shares[i] / (2 + shares[i]);
            assert_true(share > expected - 0.012 && share < expected + 0.012);
        }
    }
}

/* Keys stay where they are; clusters that are new, or new to this process, have no others to wait for. */
static void test_slow_start_of_none(void **state)
{
    struct fixture *f = *state;
    char buf[32];
    rule_slowly(f, "random");
    prepare(f, "default");
    f->ctx.now_ms = 1;
    assert_in_range(calls_at(f, "127.0.0.1:9101"), CALLS * 48 / 100, CALLS * 52 / 100);
    f->world.now_ms = 10000;
    f->ctx.now_ms = 10000;
    world_endpoint(&f->world, "b/fresh/127.0.0.1:9105", "");
    world_endpoint(&f->world, "b/fresh/127.0.0.1:9106", "");
    prepare(f, "fresh");
    assert_in_range(calls_at(f, "127.0.0.1:9105"), CALLS * 48 / 100, CALLS * 52 / 100);

    world_endpoint(&f->world, "b/fresh/127.0.0.1:9107", "");
    rule_slowly(f, "hash");
    prepare(f, "fresh");
    int moved = 0;
    for (int i = 0; i < 300; i++) {
        set_log_id(f, buf, sizeof buf, i);
        f->ctx.now_ms = 10000;
        const char *early = run(f);
        f->ctx.now_ms = 20000;
        moved += strcmp(early, run(f)) != 0;
    }
    assert_int_equal(moved, 0);
}

/* Where the others have gone, the new ones take all of it at once, as they must. */
static void test_slow_start_of_all_that_is_left(void **state)
{
    struct fixture *f = *state;
    rule_slowly(f, "random");
    prepare(f, "default");
    f->world.now_ms = f->ctx.now_ms = 10000;
    world_endpoint(&f->world, "b/default/127.0.0.1:9104", "");
    world_endpoint(&f->world, "b/default/127.0.0.1:9101", "{\"weight\": 0}");
    world_endpoint(&f->world, "b/default/127.0.0.1:9102", "{\"weight\": 0}");
    prepare(f, "default");
    assert_int_equal(calls_at(f, "127.0.0.1:9104"), CALLS);
}

/* ---- prefer_zone ----------------------------------------------------------------------------- */

static void begin_in_zone(struct fixture *f, const char *zone)
{
    route_cache_free(f->cache);
    f->cache = route_cache_new(&(struct route_cache_options){.limit = 10, .seed = 7, .zone = zone});
    world_rule(&f->world, "a/*/b/*/*/config", "{\"prefer_zone\": true, \"lb\": \"random\"}");
}

/* 9101 is near. With a quarter of the weight and more it gets all; below, in proportion, and its part of the rest. */
static void test_prefer_zone(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *others;
        double share;
    } rows[] = {{"{\"zone\": \"lf\"}", 1},
                {"{\"zone\": \"lf\", \"weight\": 30}", 1},
                {"{\"zone\": \"lf\", \"weight\": 70}", 0.5 + 0.5 * 0.125},
                {"{\"weight\": 190}", 0.2 + 0.8 * 0.05}};
    begin_in_zone(f, "hl");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world_endpoint(&f->world, "b/default/127.0.0.1:9101", "{\"zone\": \"hl\", \"weight\": 10}");
        world_endpoint(&f->world, "b/default/127.0.0.1:9102", rows[i].others);
        prepare(f, "default");
        double share = (double)calls_at(f, "127.0.0.1:9101") / CALLS;
        double expected = rows[i].share;
        assert_true(share > expected - 0.015 && share < expected + 0.015);
    }
}

static void test_prefer_zone_spills(void **state)
{
    struct fixture *f = *state;
    begin_in_zone(f, "hl");
    world_endpoint(&f->world, "b/default/127.0.0.1:9101", "{\"zone\": \"hl\", \"weight\": 0}");
    prepare(f, "default");
    assert_string_equal(run(f), "127.0.0.1:9102"); /* none near */
    world_endpoint(&f->world, "b/default/127.0.0.1:9101", "{\"zone\": \"hl\"}");
    world_rule(&f->world, "a/*/b/*/*/traffic", "{\"default@lf\": 1}");
    prepare(f, "default");
    assert_int_equal(calls_at(f, "127.0.0.1:9102"), CALLS); /* the rule's zone wins */
    begin_in_zone(f, "");
    world_rule(&f->world, "a/*/b/*/*/traffic", "{\"default\": 1}");
    prepare(f, "default");
    assert_in_range(calls_at(f, "127.0.0.1:9102"), CALLS * 48 / 100, CALLS * 52 / 100);
}

/* The share of the weight is of all endpoints, not of the subsets: 10 near of 110, of which a call meets one each. */
static void test_prefer_zone_under_a_subset(void **state)
{
    struct fixture *f = *state;
    char key[64];
    begin_in_zone(f, "hl");
    world_rule(&f->world, "a/*/b/*/*/config", "{\"prefer_zone\": true, \"subset\": 1}");
    for (int i = 0; i < 9; i++) {
        snprintf(key, sizeof key, "b/default/127.0.0.1:92%02d", i);
        world_endpoint(&f->world, key, "{\"zone\": \"lf\"}");
    }
    prepare(f, "default");
    const struct route_target *target = &f->ctx.route->targets[0];
    assert_int_equal(target->zone_set->n, 1);
    assert_int_equal(target->set->n, 1);
    assert_int_equal(target->near_e2, 3636); /* 1 of 11, of a quarter */
}

/* The only near endpoint is ejected: in its zone it would be used all the same. */
static void test_prefer_zone_of_the_ejected(void **state)
{
    struct fixture *f = *state;
    begin_in_zone(f, "hl");
    prepare(f, "default");
    assert_int_equal(calls_at(f, "127.0.0.1:9101"), CALLS);
    const struct route *route = f->ctx.route;
    const struct ejection_told failed = {.result = LB_RESULT_FAILURE, .now_ms = f->ctx.now_ms};
    for (int i = 0; i < 5; i++) {
        (void)ejection_tell(route->targets[0].set, 0, &route->config.eject, &failed);
    }
    assert_int_equal(calls_at(f, "127.0.0.1:9102"), CALLS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static uint64_t inflight(const struct fixture *f)
{
    return atomic_load(&f->ctx.route->counts->inflight);
}

/* What is taken is given back, also where a later stage answers; deciding takes nothing. */
static void test_what_is_taken_is_given_back(void **state)
{
    struct fixture *f = *state;
    struct tuple_table *tuples = tuple_table_new(10, 1);
    route_cache_free(f->cache);
    f->cache =
        route_cache_new(&(struct route_cache_options){.limit = 10, .seed = 7, .tuples = tuples});
    const struct {
        const char *cluster;
        enum stage_verdict verdict;
    } rows[] = {{"default", STAGE_GO_ON}, {"nowhere", STAGE_ANSWER}};
    for (size_t i = 0; i < 2; i++) {
        prepare(f, rows[i].cluster);
        f->ctx.taken = 0;
        assert_int_equal(stages_decide(&f->ctx), rows[i].verdict);
        assert_int_equal(inflight(f), 0);
        assert_int_equal(stages_run(&f->ctx), rows[i].verdict);
        assert_int_equal(inflight(f), 1);
        stages_give(f->ctx.route, f->ctx.taken);
        assert_int_equal(inflight(f), 0);
        stages_give(f->ctx.route, 0);
        assert_int_equal(inflight(f), 0);
    }
    world_rule(&f->world, "a/default/b/default/Visit/config", "{\"access\": \"deny\"}");
    prepare(f, "default");
    f->ctx.taken = 0;
    assert_int_equal(stages_run(&f->ctx), STAGE_ANSWER);
    assert_int_equal(f->ctx.taken, 0);
    route_cache_free(f->cache);
    f->cache = NULL;
    tuple_table_free(tuples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_rule_goes_to_cluster),
        TEST(test_deny_comes_first),
        TEST(test_access_in_shadow_is_noted),
        TEST(test_shadow_of_nothing),
        TEST(test_degrade_share),
        TEST(test_degrade_and_traffic_by_log_id_are_independent),
        TEST(test_points_are_fixed),
        TEST(test_same_log_id_same_cluster),
        TEST(test_absent_value_is_random),
        TEST(test_same_caller_same_cluster),
        TEST(test_by_extra),
        TEST(test_zone_spills_then_falls_back),
        TEST(test_round_robin_takes_turns),
        TEST(test_round_robin_goes_on),
        TEST(test_hash_is_the_same_on_every_host),
        TEST(test_hash_by),
        TEST(test_p2c_avoids_the_loaded),
        TEST(test_least_request_and_random),
        TEST(test_excluded_are_not_picked_again),
        TEST(test_slow_start),
        TEST(test_slow_start_of_none),
        TEST(test_slow_start_of_all_that_is_left),
        TEST(test_prefer_zone),
        TEST(test_prefer_zone_spills),
        TEST(test_prefer_zone_under_a_subset),
        TEST(test_prefer_zone_of_the_ejected),
        TEST(test_what_is_taken_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
