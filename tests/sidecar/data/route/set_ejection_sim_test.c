/*
 * set_ejection_sim_test.c: what callers see of one bad endpoint among twenty, in virtual time.
 *
 * The stage, the policies, ejection and the latencies' record are the product's; calls arrive evenly and take
 * 2.5 to 7.5 ms, at endpoint 0 what the scenario says. A call that fails may be tried once more elsewhere.
 * Figures are of one minute and one host.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/world.h"

#include "sidecar/data/route/ejection.h"
#include "sidecar/data/route/stage.h"

#define ENDPOINTS    20
#define CALLS_PER_MS 1
#define LENGTH_MS    60000
#define WARM_MS      2000
#define TIMEOUT_US   1e6
#define PENDING_MAX  4096

struct scenario {
    const char *lb;
    double fails; /* of the calls to endpoint 0, in half a millisecond */
    double slower;
    uint32_t retries;
    bool ejects;
};

struct pending {
    uint64_t end_us, latency_us;
    uint32_t index;
    uint32_t tried[2], tries;
    bool failed, is_trial;
};

struct run {
    struct world world;
    struct tuple_table *tuples;
    struct route_cache *cache;
    struct lb_random random;
    struct route *route;
    const struct scenario *scenario;
    struct pending pending[PENDING_MAX];
    size_t pending_len;
    uint64_t now_us, calls, errors, to_bad, out_ms;
};

static double uniform(struct run *run)
{
    return (double)(lb_random_next(&run->random) >> 11) * 0x1p-53;
}

static struct target_set *set_of(const struct run *run)
{
    return run->route->targets[0].set;
}

/* One attempt of a call begins. */
static void try_call(struct run *run, struct pending call)
{
    struct lb_exclude exclude = {.n = call.tries, .index = {call.tried[0]}};
    char log_id[32];
    struct stage_ctx ctx = {.route = run->route,
                            .random = &run->random,
                            .exclude = &exclude,
                            .now_ms = run->now_us / 1000,
                            .set = set_of(run)};
    ctx.log_id = disc_str_of(
        log_id, (size_t)snprintf(log_id, sizeof log_id, "%llu", (unsigned long long)run->calls));
    assert_int_equal(stage_balance_take(&ctx), STAGE_GO_ON);
    bool is_bad = ctx.target == 0;
    call.index = ctx.target;
    call.tried[call.tries++] = ctx.target;
    call.is_trial = (ctx.taken & STAGE_TRIAL) != 0;
    call.failed = is_bad && uniform(run) < run->scenario->fails;
    call.latency_us = (uint64_t)(2500 + 5000 * uniform(run));
    call.latency_us = call.failed ? 500 : call.latency_us;
    call.latency_us *= is_bad && run->scenario->slower > 0 ? (uint64_t)run->scenario->slower : 1;
    call.end_us = run->now_us + call.latency_us;
    run->to_bad += is_bad && run->now_us >= WARM_MS * 1000;
    atomic_fetch_add(&set_of(run)->endpoints[ctx.target]->inflight, 1);
    assert_true(run->pending_len < PENDING_MAX);
    run->pending[run->pending_len++] = call;
}

/* As call/attempt.c records it. */
static void record(struct run *run, const struct pending *call)
{
    struct target_set *set = set_of(run);
    struct endpoint_state *endpoint = set->endpoints[call->index];
    uint64_t now_ms = run->now_us / 1000;
    double ewma_us = endpoint_ewma_us(endpoint), sample = (double)call->latency_us;
    sample = call->failed ? lb_failure_sample(sample, TIMEOUT_US, ewma_us,
                                              target_set_load(set, now_ms)->median_ewma_us)
                          : lb_success_sample(sample, ewma_us);
    const struct ejection_told told = {call->failed ? LB_RESULT_FAILURE : LB_RESULT_SUCCESS,
                                       call->is_trial, now_ms};
    (void)ejection_tell(set, call->index, &run->route->config.eject, &told);
    endpoint_ewma_record(endpoint, sample, now_ms);
    atomic_fetch_sub(&endpoint->inflight, 1);
}

static void end_call(struct run *run, struct pending call)
{
    record(run, &call);
    if (call.failed && call.tries <= run->scenario->retries) {
        try_call(run, call);
        return;
    }
    run->errors += call.failed;
}

/* All that ends until then, in its order. */
static void end_calls(struct run *run, uint64_t until_us)
{
    for (;;) {
        size_t first = run->pending_len;
        for (size_t i = 0; i < run->pending_len; i++) {
            bool earlier =
                first == run->pending_len || run->pending[i].end_us < run->pending[first].end_us;
            first = run->pending[i].end_us <= until_us && earlier ? i : first;
        }
        if (first == run->pending_len) {
            run->now_us = until_us;
            return;
        }
        struct pending call = run->pending[first];
        run->pending[first] = run->pending[--run->pending_len];
        run->now_us = call.end_us;
        end_call(run, call);
    }
}

static void begin(struct run *run, const struct scenario *scenario)
{
    char text[96];
    world_init(&run->world);
    for (int i = 0; i < ENDPOINTS; i++) {
        snprintf(text, sizeof text, "b/default/127.0.0.1:91%02d", i);
        world_endpoint(&run->world, text, "");
    }
    snprintf(text, sizeof text, "{\"lb\": \"%s\", \"eject\": {\"consecutive\": %d}}", scenario->lb,
             scenario->ejects ? 5 : 0);
    world_rule(&run->world, "a/*/b/*/*/config", text);
    world_commit(&run->world);
    run->tuples = tuple_table_new(10, 1);
    run->cache = route_cache_new(
        &(struct route_cache_options){.limit = 10, .seed = 7, .tuples = run->tuples});
    struct disc_tuple tuple = world_tuple("a", "default", "b", "default", "Visit");
    run->route = route_get(run->cache, run->world.snapshot, &tuple, 1, NULL);
    run->scenario = scenario;
    lb_random_init(&run->random, 3);
}

/* Returns the errors that callers see, in percent, and the share of the calls that endpoint 0 gets. */
static double play(const struct scenario *scenario, double *ret_share)
{
    struct run *run = calloc(1, sizeof *run);
    uint64_t counted = 0;
    begin(run, scenario);
    for (uint64_t ms = 1; ms <= LENGTH_MS; ms++) {
        end_calls(run, ms * 1000);
        run->errors = ms == WARM_MS ? 0 : run->errors;
        counted += ms >= WARM_MS;
        run->out_ms += ejection_is_out(set_of(run)->endpoints[0]);
        run->calls++;
        try_call(run, (struct pending){0});
    }
    end_calls(run, UINT64_MAX);
    double errors = 100.0 * (double)run->errors / (double)counted;
    *ret_share = 100.0 * (double)run->to_bad / (double)counted;
    print_message(
        "  %-14s %s, %u retries: errors %.4f %%, its share %.3f %%, ejected %.1f %% of the time\n",
        scenario->lb, scenario->ejects ? "ejecting" : "not ejecting", scenario->retries, errors,
        *ret_share, 100.0 * (double)run->out_ms / LENGTH_MS);
    route_unref(run->cache, run->route);
    route_cache_free(run->cache);
    tuple_table_free(run->tuples);
    world_done(&run->world);
    free(run);
    return errors;
}

static const char *const policies[] = {"p2c", "round_robin", "least_request", "random", "hash"};
#define POLICIES (sizeof policies / sizeof policies[0])

static void test_failing_half_the_time(void **state)
{
    (void)state;
    double share, errors;
    for (size_t i = 0; i < POLICIES; i++) {
        for (uint32_t retries = 0; retries < 2; retries++) {
            (void)play(&(struct scenario){policies[i], 0.5, 0, retries, false}, &share);
            errors = play(&(struct scenario){policies[i], 0.5, 0, retries, true}, &share);
            assert_true(retries == 0 || errors <= 0.05);
            assert_true(errors < 0.6);
        }
    }
    assert_true(play(&(struct scenario){"p2c", 0.5, 0, 0, true}, &share) <= 0.05);
}

/* Five failures, then one for each time that it comes back. */
static void test_failing_always(void **state)
{
    (void)state;
    double share;
    for (size_t i = 0; i < POLICIES; i++) {
        (void)play(&(struct scenario){policies[i], 1, 0, 1, true}, &share);
        assert_true(share < 0.02);
    }
}

static void test_twenty_times_slower(void **state)
{
    (void)state;
    double share;
    (void)play(&(struct scenario){"p2c", 0, 20, 0, true}, &share);
    assert_true(share <= 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_half_the_time),
        cmocka_unit_test(test_failing_always),
        cmocka_unit_test(test_twenty_times_slower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
