/*
 * tests/sim/sim_world.c: see sim_world.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_world.h"

#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUILD_BUDGET_US 1000000

const char *sim_service_name(uint32_t service)
{
    static const char *const names[SIM_SERVICES] = {"svc.0", "svc.1"};
    return names[service];
}

/* ---- endpoint states ------------------------------------------------------------------------- */

static void *on_attach(void *owner, const char *key, const struct disc_endpoint *endpoint)
{
    struct sim_world *world = owner;
    struct endpoint_state *state = endpoint_state_new(endpoint->address, endpoint->host,
                                                      endpoint->port, world->sim->plan->workers);
    (void)key;
    const struct disc_snapshot *before = snapshots_newest(&world->snapshots);
    state->born_ms = world->sim->clock_us / 1000;
    state->born_in = before ? disc_snapshot_generation(before) : 0;
    SIM_CHECK(world->states_len < SIM_ENDPOINTS_MAX, "simulator", "too many endpoints");
    endpoint_state_ref(state);
    world->states[world->states_len++] = state;
    return state;
}

static void on_detach(void *owner, void *state)
{
    (void)owner;
    atomic_store(&((struct endpoint_state *)state)->gone, true);
    (void)endpoint_state_unref(state); /* NULL always */
}

static void on_rejected(void *owner, const struct disc_rejection *rejection)
{
    (void)owner;
    sim_fail("simulator", "the rule %s was refused: %s", rejection->key, rejection->reason);
}

static void on_publish(void *owner, struct disc_snapshot *snapshot)
{
    struct sim_world *world = owner;
    snapshots_add(&world->snapshots, snapshot);
    if (world->offered) {
        sim_world_offer(world);
    }
}

void sim_world_offer(struct sim_world *world)
{
    const struct disc_snapshot *newest = snapshots_newest(&world->snapshots);
    world->offered = true;
    for (uint32_t i = 0; i < world->sim->plan->workers; i++) {
        worker_offer_snapshot(world->sim->workers[i].worker, newest);
    }
}

void sim_world_reclaim(struct sim_world *world)
{
    uint64_t seen = UINT64_MAX;
    for (uint32_t i = 0; i < world->sim->plan->workers; i++) {
        uint64_t one = atomic_load(&world->sim->workers[i].worker->seen_generation);
        seen = one < seen ? one : seen;
    }
    snapshots_reclaim(&world->snapshots, seen);
    disc_store_reap(world->store);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void put(struct sim_world *world, enum disc_space space, const char *key, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

static void put(struct sim_world *world, enum disc_space space, const char *key, const char *format,
                ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    disc_store_put(world->store, DISC_LAYER_ETCD, space, key, strlen(key), text, (size_t)len,
                   ++world->revision, 0, SIM_UNIX_US / 1000);
}

static void drop(struct sim_world *world, enum disc_space space, const char *key)
{
    world->revision++;
    disc_store_delete(world->store, DISC_LAYER_ETCD, space, key, strlen(key));
}

static uint32_t one_of(struct sim_world *world, const uint32_t *values, uint32_t n)
{
    return values[random_below(&world->random, n)];
}

static void note_max(uint32_t *max, uint32_t value)
{
    *max = value > *max ? value : *max;
}

/* Half of the rules let what a callee has be sent again. */
static void write_retry(struct sim_world *world, uint32_t service, char *out, size_t cap)
{
    static const char *const hedges[] = {"0", "0", "3", "15", "\"p95\""};
    static const char *const on[] = {"[]", "[\"connect\", \"reset\"]",
                                     "[\"connect\", \"reset\", \"timeout\", \"exception\"]",
                                     "[\"exception\", \"timeout\"]"};
    static const uint32_t attempts[] = {0, 1, 1, 3, 5};
    static const uint32_t pauses[] = {0, 0, 2, 10};
    uint32_t retries = one_of(world, attempts, 5);
    bool idempotent = random_one_in(&world->random, 2);
    snprintf(out, cap,
             "\"hedge_after_ms\": %s, \"retry\": {\"attempts\": %u, \"on\": %s, \"idempotent\": %s,"
             " \"backoff_ms\": %u}",
             hedges[random_below(&world->random, 5)], retries, on[random_below(&world->random, 4)],
             idempotent ? "true" : "false", one_of(world, pauses, 4));
    world->service[service].idempotent = world->service[service].idempotent || idempotent;
    note_max(&world->service[service].sent_max, 1 + retries + 1);
}

/* Off, as it is by default, or one that opens soon and goes on soon. */
static void breaker_text(struct sim_world *world, char *text, size_t cap)
{
    static const uint32_t calls[] = {2, 5, 20};
    static const uint32_t rows[] = {0, 0, 2, 5};
    static const uint32_t coolings[] = {1, 10, 50, 400};
    uint32_t kind = random_below(&world->random, 3);
    world->breakers = world->breakers || kind > 0;
    if (kind < 2) {
        snprintf(text, cap, "{\"enable\": %s}", kind ? "true" : "false");
        return;
    }
    snprintf(text, cap,
             "{\"min_calls\": %u, \"error_rate\": %s, \"consecutive\": %u, \"cooling_ms\": %u,"
             " \"probe_ms\": %u, \"successes\": %u}",
             one_of(world, calls, 3), random_one_in(&world->random, 2) ? "0.5" : "0.2",
             one_of(world, rows, 4), one_of(world, coolings, 4), random_below(&world->random, 10),
             1 + random_below(&world->random, 3));
}

/* As it is by default, or one that ejects soon, and much of a cluster. */
static void eject_text(struct sim_world *world, char *text, size_t cap)
{
    static const uint32_t rows[] = {0, 1, 2, 5};
    static const uint32_t percents[] = {1, 50, 70, 100};
    static const uint32_t bases[] = {1, 20, 200};
    uint32_t percent = random_one_in(&world->random, 3) ? 50 : one_of(world, percents, 4);
    note_max(&world->eject_percent, percent);
    if (percent == 50) {
        snprintf(text, cap, "{}");
        return;
    }
    snprintf(text, cap,
             "{\"consecutive\": %u, \"max_percent\": %u, \"base_ms\": %u, \"max_ms\": %u}",
             one_of(world, rows, 4), percent, one_of(world, bases, 3),
             100 + random_below(&world->random, 1000));
}

/* Limits per tuple, and which of them bite. */
static void limits_text(struct sim_world *world, uint32_t service, char *text, size_t cap)
{
    static const uint32_t calls[] = {0, 0, 1, 4, 12};
    static const uint32_t rates[] = {0, 0, 0, 50, 1000};
    uint32_t max_calls = one_of(world, calls, 5);
    uint32_t rate = one_of(world, rates, 5);
    const char *shadow[3];
    for (int i = 0; i < 3; i++) {
        shadow[i] = random_one_in(&world->random, 4) ? "true" : "false";
    }
    snprintf(text, cap,
             "\"max_concurrency\": %u, \"rate_per_s\": %u, \"shadow\": {\"breaker\": %s,"
             " \"rate\": %s, \"concurrency\": %s}",
             max_calls, rate, shadow[0], shadow[1], shadow[2]);
    world->limited = world->limited || max_calls > 0 || rate > 0;
    note_max(&world->service[service].calls_max, max_calls > 0 ? max_calls : UINT32_MAX);
}

/* One service's calls never share connections, another's always or now and then: in one way, for a callee that
 * answers in another order does so whoever asks. */
static const char *mode_text(struct sim_world *world, uint32_t service)
{
    uint32_t taste = (world->mode_taste + service) % 3;
    bool mux = taste == 1 || (taste == 2 && random_one_in(&world->random, 2));
    world->service[service].mux = world->service[service].mux || mux;
    return !mux ? "pool" : world->in_order ? "pipeline" : "mux";
}

static void put_config(struct sim_world *world, uint32_t service)
{
    static const uint32_t timeouts[] = {SIM_TIMEOUT_MIN_MS, 50, 100, 400};
    static const uint32_t connections[] = {1, 2, 4, 8, 32};
    static const uint32_t idles[] = {0, 1, 4, 32};
    static const uint32_t waits[] = {0, 10, 40, 100};
    static const uint32_t waitings[] = {0, 8, 64, 256};
    static const uint32_t idle_ms[] = {5, 50, 2000};
    static const uint32_t receives[] = {0, 0, SIM_TIMEOUT_MIN_MS, 60};
    char key[64], breaker[160], eject[120];
    uint32_t timeout = one_of(world, timeouts, 4);
    uint32_t max_connections = one_of(world, connections, 5);
    uint32_t max_idle = one_of(world, idles, 4);
    uint32_t max_waiting = one_of(world, waitings, 4);
    uint32_t subset = random_one_in(&world->random, 3) ? 1 + random_below(&world->random, 2) : 0;
    char retry[256], limits[160];
    limits_text(world, service, limits, sizeof limits);
    write_retry(world, service, retry, sizeof retry);
    breaker_text(world, breaker, sizeof breaker);
    eject_text(world, eject, sizeof eject);
    snprintf(key, sizeof key, "*/*/%s/*/*/config", sim_service_name(service));
    put(world, DISC_SPACE_RULES, key,
        "{\"timeout_ms\": %u, \"connect_timeout_ms\": %u, \"send_timeout_ms\": %u,"
        " \"receive_timeout_ms\": %u, \"lb\": \"%s\", \"subset\": %u, \"pool\": "
        "{\"mode\": \"%s\", \"framing\": \"%s\", \"max_connections\": %u,"
        " \"max_idle\": %u, \"wait_ms\": %u, \"max_waiting\": %u, \"idle_ms\": %u},"
        " \"breaker\": %s, \"eject\": %s, %s, %s, \"slow_start_ms\": %u}",
        timeout, 1 + random_below(&world->random, 30), 5 + random_below(&world->random, 60),
        one_of(world, receives, 4), random_one_in(&world->random, 2) ? "p2c" : "round_robin",
        subset, mode_text(world, service), sim_framing_str(world->service[service].framing),
        max_connections, max_idle, one_of(world, waits, 4), max_waiting, one_of(world, idle_ms, 3),
        breaker, eject, limits, retry, 200 * random_below(&world->random, 3));
    /* What may be ejected is a share of the set that calls go to. */
    world->clusters_changed = world->clusters_changed || subset > 0;
    note_max(&world->timeout_max_ms, timeout);
    note_max(&world->max_connections, max_connections);
    note_max(&world->max_idle, max_idle);
    note_max(&world->max_waiting, max_waiting);
}

uint32_t sim_world_cluster(uint32_t callee)
{
    return callee == 2 ? SIM_SERVICES : callee % SIM_SERVICES;
}

/* Callees 0, 2, 4 serve the first service, the others the second; number 2 is a canary. */
static void endpoint_key(uint32_t callee, char *key, size_t cap)
{
    snprintf(key, cap, "%s/%s/127.0.0.1:%u", sim_service_name(callee % SIM_SERVICES),
             callee == 2 ? "canary" : "default", SIM_CALLEE_PORT + callee);
}

static void put_endpoint(struct sim_world *world, uint32_t callee, uint32_t weight)
{
    char key[96];
    endpoint_key(callee, key, sizeof key);
    put(world, DISC_SPACE_SERVICES, key, "{\"weight\": %u}", weight);
}

static void drop_endpoint(struct sim_world *world, uint32_t callee)
{
    char key[96];
    endpoint_key(callee, key, sizeof key);
    drop(world, DISC_SPACE_SERVICES, key);
    world->lost_endpoints = true;
}

static void begin(struct sim_world *world)
{
    disc_store_begin(world->store, DISC_LAYER_ETCD, false);
}

static void commit(struct sim_world *world)
{
    disc_store_commit(world->store, DISC_LAYER_ETCD, world->revision, DISC_ORIGIN_ETCD,
                      world->sim->clock_us / 1000);
    while (!disc_store_build(world->store, BUILD_BUDGET_US)) {
    }
}

/* Every success is logged: so each call leaves a record, which the oracle reads. */
static void put_first(struct sim_world *world)
{
    begin(world);
    put(world, DISC_SPACE_RULES, "*/*/*/*/*/config",
        "{\"access_log\": 1, \"failures\": {\"exceptions\": true, \"base_resp\": [[500, 599]]}}");
    put(world, DISC_SPACE_RULES, "*/*/*/*/Forget/config", "{\"oneway\": true}");
    put(world, DISC_SPACE_RULES, "*/*/svc.0/*/*/traffic", "{\"default\": 2, \"canary\": 1}");
    for (uint32_t i = 0; i < SIM_SERVICES; i++) {
        put_config(world, i);
    }
    for (uint32_t i = 0; i < world->sim->plan->callees_len; i++) {
        put_endpoint(world, i, 10);
    }
    world->lost_endpoints = world->sim->plan->callees_len < 3; /* no canary */
    commit(world);
}

/* ---- changes --------------------------------------------------------------------------------- */

static void change_endpoints(struct sim_world *world)
{
    uint32_t callee = random_below(&world->random, world->sim->plan->callees_len);
    world->clusters_changed = true;
    if (random_one_in(&world->random, 3)) {
        drop_endpoint(world, callee);
    } else {
        uint32_t weight = random_below(&world->random, 3) * 10;
        world->lost_endpoints = world->lost_endpoints || weight == 0;
        put_endpoint(world, callee, weight);
    }
}

static void change_access(struct sim_world *world)
{
    bool deny = random_one_in(&world->random, 2);
    world->denied = world->denied || deny;
    put(world, DISC_SPACE_RULES, "app.1/*/svc.0/*/*/config", "{\"access\": \"%s\"}",
        deny ? "deny" : "allow");
}

static void change_degrade(struct sim_world *world)
{
    if (random_one_in(&world->random, 3)) {
        drop(world, DISC_SPACE_RULES, "*/*/svc.1/*/Visit/degrade");
        return;
    }
    world->degraded = true;
    put(world, DISC_SPACE_RULES, "*/*/svc.1/*/Visit/degrade", "%u",
        random_one_in(&world->random, 2) ? 100 : 30);
}

static void change_traffic(struct sim_world *world)
{
    put(world, DISC_SPACE_RULES, "*/*/svc.0/*/*/traffic", "{\"default\": %u, \"canary\": %u}",
        1 + random_below(&world->random, 3), random_below(&world->random, 3));
}

void sim_world_change(struct sim_world *world)
{
    begin(world);
    switch (random_below(&world->random, 6)) {
    case 0:
        change_endpoints(world);
        break;
    case 1:
        change_access(world);
        break;
    case 2:
        change_degrade(world);
        break;
    case 3:
        change_traffic(world);
        break;
    default:
        put_config(world, random_below(&world->random, SIM_SERVICES));
        break;
    }
    commit(world);
    sim_count(SIM_EVENT_RULES_CHANGED);
}

/* ---- birth and death ------------------------------------------------------------------------- */

void sim_world_open(struct sim *sim, const struct codec_templates *templates, uint64_t seed)
{
    struct sim_world *world = &sim->world;
    world->sim = sim;
    world->random.state = seed;
    world->revision = 100;
    world->mode_taste = random_below(&world->random, 3);
    world->in_order = random_one_in(&world->random, 2);
    for (uint32_t i = 0; i < SIM_SERVICES; i++) {
        world->service[i].framing = (enum sim_framing)random_below(&world->random, SIM_FRAMINGS);
    }
    world->store = disc_store_new(&(struct disc_store_options){
        .prefix = {"/tside/rules", "/tside/services"},
        .templates = templates,
        .endpoint_attach = on_attach,
        .endpoint_detach = on_detach,
        .rejected = on_rejected,
        .publish = on_publish,
        .owner = world,
        .hash_seed = seed,
    });
    put_first(world);
}

/* Nobody holds what is gone: every count is back, and ours is the last reference. */
static void check_state(const struct endpoint_state *state)
{
    const char *address = state->address;
    SIM_CHECK(permit_taken(&state->connections) == 0, "permits", "%s: connections", address);
    SIM_CHECK(permit_taken(&state->idle) == 0, "permits", "%s: idle", address);
    SIM_CHECK(permit_taken(&state->waiting) == 0, "permits", "%s: waiting", address);
    SIM_CHECK(atomic_load(&state->waiting_workers) == 0, "permits", "%s: waiting workers", address);
    SIM_CHECK(atomic_load(&state->answered) == 0, "permits", "%s: answered", address);
    SIM_CHECK(atomic_load(&state->inflight) == 0, "permits", "%s: inflight", address);
    SIM_CHECK(atomic_load(&state->refs) == 1, "references", "%s: %u are left", address,
              atomic_load(&state->refs));
}

void sim_world_close(struct sim_world *world)
{
    snapshots_free_all(&world->snapshots);
    world->store = disc_store_free(world->store);
    for (uint32_t i = 0; i < world->states_len; i++) {
        check_state(world->states[i]);
        (void)endpoint_state_unref(world->states[i]); /* NULL always */
    }
}
