/*
 * set_ejection_test.c: which endpoints are ejected, how they come back, and who picks around them.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/world.h"

#include "sidecar/data/route/ejection.h"
#include "sidecar/data/route/stage.h"

#define ENDPOINTS 4
#define NOW       UINT64_C(1000000)

struct fixture {
    struct world world;
    struct tuple_table *tuples;
    struct route_cache *cache;
    struct lb_random random;
    struct stage_ctx ctx;
    struct target_set *set;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    world_init(&f->world);
    for (int i = 0; i < ENDPOINTS; i++) {
        char key[64];
        snprintf(key, sizeof key, "b/default/127.0.0.1:910%d", i);
        world_endpoint(&f->world, key, "");
    }
    f->tuples = tuple_table_new(10, 1);
    f->cache =
        route_cache_new(&(struct route_cache_options){.limit = 10, .seed = 7, .tuples = f->tuples});
    lb_random_init(&f->random, 1);
    f->ctx.random = &f->random;
    f->ctx.now_ms = NOW;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    route_cache_free(f->cache);
    tuple_table_free(f->tuples);
    world_done(&f->world);
    free(f);
    return 0;
}

static void prepare(struct fixture *f, const char *config)
{
    world_rule(&f->world, "a/*/b/*/*/config", config);
    world_commit(&f->world);
    struct disc_tuple tuple = world_tuple("a", "default", "b", "default", "Visit");
    struct route *route = route_get(f->cache, f->world.snapshot, &tuple, 1, NULL);
    assert_non_null(route);
    f->ctx.route = route;
    f->ctx.set = f->set = route->targets[0].set;
    route_unref(f->cache, route); /* the cache still holds it */
}

static enum ejection_news told(struct fixture *f, uint32_t index, enum lb_result result, bool trial)
{
    const struct ejection_told told = {result, trial, f->ctx.now_ms};
    return ejection_tell(f->set, index, &f->ctx.route->config.eject, &told);
}

static enum ejection_news fail_times(struct fixture *f, uint32_t index, int n)
{
    enum ejection_news news = EJECTION_NO_NEWS;
    for (int i = 0; i < n; i++) {
        assert_int_equal(news, EJECTION_NO_NEWS);
        news = told(f, index, LB_RESULT_FAILURE, false);
    }
    return news;
}

static bool is_out(const struct fixture *f, uint32_t index)
{
    return ejection_is_out(f->set->endpoints[index]);
}

/* How many of n picks go there; each that is a trial keeps its slot. */
static uint32_t picks(struct fixture *f, uint32_t index, uint32_t n)
{
    uint32_t hits = 0;
    for (uint32_t i = 0; i < n; i++) {
        char log_id[32];
        f->ctx.log_id = disc_str_of(log_id, (size_t)snprintf(log_id, sizeof log_id, "log-%u", i));
        assert_int_equal(stage_balance_take(&f->ctx), STAGE_GO_ON);
        hits += f->ctx.target == index;
    }
    return hits;
}

/* ---- going ----------------------------------------------------------------------------------- */

static void test_failures_in_a_row(void **state)
{
    struct fixture *f = *state;
    prepare(f, "{}");
    assert_int_equal(fail_times(f, 0, 4), EJECTION_NO_NEWS);
    (void)told(f, 0, LB_RESULT_SUCCESS, false);
    assert_int_equal(fail_times(f, 0, 4), EJECTION_NO_NEWS);
    (void)told(f, 0, LB_RESULT_NONE, false);
    assert_int_equal(told(f, 0, LB_RESULT_TIMEOUT, false), EJECTION_OUT);
    assert_true(is_out(f, 0));
    /* What was under way then says nothing. */
    (void)told(f, 0, LB_RESULT_SUCCESS, false);
    assert_true(is_out(f, 0));
}

static void test_zero_is_off(void **state)
{
    struct fixture *f = *state;
    prepare(f, "{\"lb\": \"random\", \"eject\": {\"consecutive\": 1}}");
    assert_int_equal(fail_times(f, 0, 1), EJECTION_OUT);
    assert_int_equal(picks(f, 0, 100), 0);
    prepare(f, "{\"lb\": \"random\", \"eject\": {\"consecutive\": 0}}");
    assert_int_equal(fail_times(f, 1, 100), EJECTION_NO_NEWS);
    assert_in_range(picks(f, 0, 1000), 200, 300); /* not even what was ejected before */
    assert_int_equal(f->ctx.taken, 0);
}

static void test_no_more_than_the_share(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *config;
        uint32_t out;
    } cases[] = {{"{\"eject\": {\"consecutive\": 1}}", 2},
                 {"{\"eject\": {\"consecutive\": 1, \"max_percent\": 1}}", 1},
                 {"{\"eject\": {\"consecutive\": 1, \"max_percent\": 100}}", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prepare(f, cases[i].config);
        for (uint32_t k = 0; k < ENDPOINTS; k++) {
            atomic_store(&f->set->endpoints[k]->health, 0);
        }
        for (uint32_t k = 0; k < ENDPOINTS; k++) {
            assert_int_equal(told(f, k, LB_RESULT_FAILURE, false),
                             k < cases[i].out ? EJECTION_OUT : EJECTION_NO_NEWS);
        }
        assert_int_equal(ejection_count(f->set), cases[i].out);
    }
}

/* ---- picking --------------------------------------------------------------------------------- */

static const char *const policies[] = {"p2c", "round_robin", "least_request", "random", "hash"};
#define POLICIES (sizeof policies / sizeof policies[0])

/* None of the calls to it, an equal share of them to each of the others. */
static void test_each_policy_picks_around(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < POLICIES; i++) {
        char config[96];
        snprintf(config, sizeof config, "{\"lb\": \"%s\", \"eject\": {\"consecutive\": 1}}",
                 policies[i]);
        prepare(f, config);
        atomic_store(&f->set->endpoints[1]->health, 0);
        assert_in_range(picks(f, 1, 4000), 900, 1100);
        (void)told(f, 1, LB_RESULT_FAILURE, false);
        assert_int_equal(picks(f, 1, 1000), 0);
        for (uint32_t k = 0; k < ENDPOINTS; k++) {
            assert_true(k == 1 || picks(f, k, 3000) > 900);
        }
    }
}

/* The keys of the others stay where they were. */
static void test_hash_goes_on(void **state)
{
    struct fixture *f = *state;
    uint32_t homes[200];
    prepare(f, "{\"lb\": \"hash\", \"eject\": {\"consecutive\": 1}}");
    for (uint32_t turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < 200; i++) {
            char log_id[32];
            f->ctx.log_id =
                disc_str_of(log_id, (size_t)snprintf(log_id, sizeof log_id, "key-%u", i));
            assert_int_equal(stage_balance_take(&f->ctx), STAGE_GO_ON);
            assert_true(turn == 0 || homes[i] == 2 || homes[i] == f->ctx.target);
            homes[i] = f->ctx.target;
        }
        (void)told(f, 2, LB_RESULT_FAILURE, false);
    }
}

/* ---- coming back ----------------------------------------------------------------------------- */

static void test_one_call_at_a_time_until_one_succeeds(void **state)
{
    struct fixture *f = *state;
    prepare(f, "{\"lb\": \"round_robin\", \"eject\": {\"consecutive\": 1}}");
    (void)told(f, 0, LB_RESULT_FAILURE, false);
    f->ctx.now_ms = NOW + 999;
    assert_int_equal(picks(f, 0, 100), 0);
    f->ctx.now_ms = NOW + 1000;
    assert_int_equal(stages_decide(&f->ctx), STAGE_GO_ON); /* takes nothing */
    assert_int_equal(picks(f, 0, 100), 1);
    assert_int_equal(f->ctx.taken, STAGE_TRIAL);
    /* It ends without a word: the next one is a trial. */
    assert_int_equal(told(f, 0, LB_RESULT_NONE, true), EJECTION_NO_NEWS);
    assert_int_equal(picks(f, 0, 100), 1);
    /* It fails: out again, for longer. */
    assert_int_equal(told(f, 0, LB_RESULT_TIMEOUT, true), EJECTION_OUT);
    f->ctx.now_ms = NOW + 2999;
    assert_int_equal(picks(f, 0, 100), 0);
    f->ctx.now_ms = NOW + 3000;
    assert_int_equal(picks(f, 0, 100), 1);
    assert_int_equal(told(f, 0, LB_RESULT_SUCCESS, true), EJECTION_BACK);
    assert_int_equal(picks(f, 0, 100), 25);
    assert_int_equal(f->ctx.now_ms, NOW + 3000);
}

/* Of a set that others have left, most are ejected: all are used. */
static void test_it_fails_open(void **state)
{
    struct fixture *f = *state;
    prepare(f, "{\"lb\": \"round_robin\", \"eject\": {\"consecutive\": 1}}");
    (void)told(f, 0, LB_RESULT_FAILURE, false);
    (void)told(f, 1, LB_RESULT_FAILURE, false);
    assert_int_equal(picks(f, 0, 100) + picks(f, 1, 100), 0);
    assert_false(f->ctx.fails_open); /* half are well */
    world_delete(&f->world, DISC_SPACE_SERVICES, "b/default/127.0.0.1:9103");
    prepare(f, "{\"lb\": \"round_robin\", \"eject\": {\"consecutive\": 1}}");
    assert_int_equal(f->set->n, 3);
    assert_in_range(picks(f, 0, 300), 99, 101);
    assert_true(f->ctx.fails_open);
    assert_int_equal(f->ctx.taken, 0);
    /* Behind its time, one of these calls is its trial all the same. */
    f->ctx.now_ms = NOW + 1000;
    assert_in_range(picks(f, 0, 300), 99, 101);
    assert_int_equal(f->ctx.taken, STAGE_TRIAL);
    assert_int_equal(told(f, 0, LB_RESULT_SUCCESS, true), EJECTION_BACK);
    f->ctx.fails_open = false;
    f->ctx.taken = 0;
    atomic_fetch_and(&f->set->endpoints[1]->health, ~LB_EJECT_TRIAL);
    assert_int_equal(picks(f, 1, 100), 1);
    assert_false(f->ctx.fails_open);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_failures_in_a_row),      TEST(test_zero_is_off),
        TEST(test_no_more_than_the_share), TEST(test_each_policy_picks_around),
        TEST(test_hash_goes_on),           TEST(test_one_call_at_a_time_until_one_succeeds),
        TEST(test_it_fails_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
