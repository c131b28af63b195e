/*
 * tests/sim/sim_ledger.c: see sim_ledger.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_ledger.h"

#include "sidecar/data/session/session.h"
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_conn.h"
#include "tests/sim/sim.h"

struct sums {
    uint64_t sessions, calls, buffered;
};

static void add_sessions(const struct worker *worker, struct sums *sums)
{
    const struct list *sessions = &worker->sessions;
    uint64_t most = worker->env->bootstrap->limits.pipelined_calls;
    for (struct list *n = sessions->next; n != sessions; n = n->next) {
        const struct session *session = container_of(n, struct session, all);
        SIM_CHECK(session->caller.calls_len <= most, "limits", "%u calls pipelined",
                  session->caller.calls_len);
        sums->sessions++;
    }
}

static void add_calls(const struct worker *worker, struct sums *sums)
{
    const struct list *live = &worker->live;
    for (struct list *n = live->next; n != live; n = n->next) {
        sums->calls += container_of(n, struct call, live)->has_permit;
    }
}

static void check_permits(const char *what, const struct permits *permits, uint64_t held,
                          uint64_t limit)
{
    uint64_t taken = permit_taken(permits);
    SIM_CHECK(taken == held, "permits", "%s: %llu taken, %llu held", what,
              (unsigned long long)taken, (unsigned long long)held);
    SIM_CHECK(taken <= limit, "limits", "%s: %llu of %llu", what, (unsigned long long)taken,
              (unsigned long long)limit);
}

/* What one endpoint's objects hold, over all workers. */
struct endpoint_sums {
    uint64_t conns, idle, kept, waiting, waiting_workers, inflight, answered, trials;
};

static void add_pool(const struct pool *pool, struct endpoint_sums *sums)
{
    const struct worker *worker = pool->worker;
    sums->conns += pool->conns;
    for (struct list *n = pool->waiters.next; n != &pool->waiters; n = n->next) {
        sums->waiting++;
    }
    if (!list_empty(&pool->waiters)) {
        sums->waiting_workers |= UINT64_C(1) << worker->index;
    }
    for (struct list *n = worker->upstreams.next; n != &worker->upstreams; n = n->next) {
        const struct upstream_conn *conn = container_of(n, struct upstream_conn, all);
        bool idle = conn->pool == pool && conn->counted_idle;
        sums->idle += idle;
        sums->kept += idle && conn->timer.expires_ms > conn->idle_since_ms + POOL_SURPLUS_MS;
        sums->answered += conn->pool == pool && conn->answered;
    }
}

static void add_attempts(const struct worker *worker, const struct endpoint_state *state,
                         struct endpoint_sums *sums)
{
    for (struct list *n = worker->live.next; n != &worker->live; n = n->next) {
        const struct call *call = container_of(n, struct call, live);
        for (struct list *a = call->attempts.next; a != &call->attempts; a = a->next) {
            const struct attempt *attempt = container_of(a, struct attempt, in_call);
            sums->inflight += attempt->endpoint == state;
            sums->trials += attempt->endpoint == state && attempt->is_trial;
        }
    }
}

/* One that waits alone at its endpoint's pool for a permit that is free has been told so. (With
 * several tuples there a share may be kept for the others.) */
static void check_waiter(const struct sim_worker *home, const struct pool *pool)
{
    struct list *node = list_first(&pool->waiters);
    if (!node || pool->tenants_len > 1) {
        return;
    }
    const struct lease *lease = lease_at(node);
    uint32_t limit = lease->request->route->config.pool.max_connections;
    bool told = home->woken && (atomic_load(&home->worker->mail) & WORKER_MAIL_PERMITS);
    SIM_CHECK(told || permit_taken(&pool->endpoint->connections) >= limit, "lost wake-up",
              "worker %u waits at %s with %llu of %u connections", home->worker->index,
              pool->endpoint->address,
              (unsigned long long)permit_taken(&pool->endpoint->connections), limit);
}

/* How many calls hold the slot of its probe. */
static uint32_t probes_of(const struct sim *sim, const struct tuple_breaker *breaker)
{
    uint32_t probes = 0;
    for (uint32_t i = 0; i < sim->plan->workers; i++) {
        const struct list *live = &sim->workers[i].worker->live;
        for (struct list *n = live->next; n != live; n = n->next) {
            const struct call *call = container_of(n, struct call, live);
            probes += (call->plan.taken & STAGE_PROBE) && call->plan.route->breaker == breaker;
        }
    }
    return probes;
}

static bool check_breaker(void *arg, const struct tuple_state *state)
{
    struct breaker_view view;
    if (tuple_state_breaker_view(state, 0, &view)) {
        uint32_t probes = probes_of(arg, view.breaker);
        SIM_CHECK(probes == view.is_probing, "probes", "%u calls hold a breaker's probe, of %d",
                  probes, view.is_probing);
    }
    return true;
}

static void check_endpoint(const struct sim *sim, const struct endpoint_state *state)
{
    struct endpoint_sums sums = {0};
    for (uint32_t i = 0; i < sim->plan->workers; i++) {
        if (state->pool_of_worker[i]) {
            add_pool(state->pool_of_worker[i], &sums);
            check_waiter(&sim->workers[i], state->pool_of_worker[i]);
        }
        add_attempts(sim->workers[i].worker, state, &sums);
    }
    check_permits("connections", &state->connections, sums.conns, sim->world.max_connections);
    check_permits("idle", &state->idle, sums.idle, sim->world.max_connections);
    SIM_CHECK(sums.kept <= sim->world.max_idle, "limits", "kept idle: %llu of %u",
              (unsigned long long)sums.kept, sim->world.max_idle);
    check_permits("waiting", &state->waiting, sums.waiting, sim->world.max_waiting);
    SIM_CHECK(atomic_load(&state->waiting_workers) == sums.waiting_workers, "permits",
              "the bits of waiting workers");
    SIM_CHECK(atomic_load(&state->answered) == sums.answered, "permits", "answered connections");
    SIM_CHECK(atomic_load(&state->inflight) == sums.inflight, "permits", "%u in flight, %llu held",
              atomic_load(&state->inflight), (unsigned long long)sums.inflight);
    bool tried = (endpoint_health(state) & LB_EJECT_TRIAL) != 0;
    SIM_CHECK(sums.trials == tried, "trials", "%s: %llu calls hold its trial, of %d",
              state->address, (unsigned long long)sums.trials, tried);
}

/* By the specification's words: at least one, the last one never. */
static uint32_t may_be_ejected(uint32_t n, uint32_t percent)
{
    uint32_t share = n * percent / 100;
    share = share > 0 ? share : 1;
    return n > share ? share : n > 0 ? n - 1 : 0;
}

/* No more of a cluster's endpoints are ejected than may be, as long as they are the same; the only one never. */
static void check_ejected(const struct sim *sim)
{
    uint32_t all[SIM_CLUSTERS] = {0}, out[SIM_CLUSTERS] = {0};
    for (uint32_t i = 0; i < sim->plan->callees_len; i++) {
        all[sim_world_cluster(i)]++;
    }
    for (uint32_t i = 0; i < sim->world.states_len; i++) {
        const struct endpoint_state *state = sim->world.states[i];
        uint32_t callee = ntohs(state->addr.v4.sin_port) - SIM_CALLEE_PORT;
        bool counts = !atomic_load(&state->gone) && lb_eject_is_out(endpoint_health(state));
        out[sim_world_cluster(callee)] += counts;
    }
    for (uint32_t i = 0; i < SIM_CLUSTERS; i++) {
        bool excused = all[i] > 1 && sim->world.clusters_changed;
        SIM_CHECK(excused || out[i] <= may_be_ejected(all[i], sim->world.eject_percent), "ejected",
                  "cluster %u: %u of %u, at most %u %%", i, out[i], all[i],
                  sim->world.eject_percent);
    }
}

/* Calls that hold a permit of max_concurrency, of tuples that are counted on their own. */
static uint64_t calls_limited(const struct sim *sim)
{
    uint64_t held = 0;
    for (uint32_t i = 0; i < sim->plan->workers; i++) {
        const struct list *live = &sim->workers[i].worker->live;
        for (struct list *n = live->next; n != live; n = n->next) {
            const struct call *call = container_of(n, struct call, live);
            held += call->plan.taken != 0 && !tuple_state_is_other(call->plan.route->state) &&
                    !(call->plan.shadowed & shadow_bit(SHADOW_CONCURRENCY));
        }
    }
    return held;
}

/* The permits of all tuples. */
struct tuple_permits {
    const struct sim *sim;
    uint64_t taken;
};

static bool add_tuple(void *arg, const struct tuple_state *state)
{
    struct tuple_permits *permits = arg;
    if (tuple_state_is_other(state)) {
        return true;
    }
    struct tuple_table *tuples = permits->sim->env.tuples;
    const struct disc_tuple *names = tuple_state_names(state);
    uint64_t taken = permit_taken(
        &tuple_table_limits(tuples, (struct tuple_state *)(uintptr_t)state, names)->calls);
    permits->taken += taken;
    for (uint32_t i = 0; i < SIM_SERVICES; i++) {
        if (disc_str_eq(names->name[DISC_TO], disc_str_of_z(sim_service_name(i)))) {
            uint32_t max = permits->sim->world.service[i].calls_max;
            SIM_CHECK(taken <= max, "limits", "%llu calls of a tuple, at most %u",
                      (unsigned long long)taken, max);
        }
    }
    return true;
}

static void check_tuples(const struct sim *sim)
{
    struct tuple_permits permits = {.sim = sim};
    tuple_table_each(sim->env.tuples, add_tuple, &permits);
    uint64_t held = calls_limited(sim);
    SIM_CHECK(permits.taken == held, "permits", "tuples' calls: %llu taken, %llu held",
              (unsigned long long)permits.taken, (unsigned long long)held);
}

static void check_share(const struct worker *worker)
{
    uint32_t held = 0, counted = 0;
    for (struct list *n = worker->live.next; n != &worker->live; n = n->next) {
        held += container_of(n, struct call, live)->in_share;
    }
    for (uint32_t i = 0; i < CALLER_SLOTS; i++) {
        counted += atomic_load_explicit(&worker->share.calls[i], memory_order_relaxed);
    }
    SIM_CHECK(held == counted, "permits", "callers' shares: %u counted, %u held", counted, held);
}

void sim_ledger_check(const struct sim *sim)
{
    const struct worker_env *env = &sim->env;
    struct sums sums = {0};
    for (uint32_t i = 0; i < sim->plan->workers; i++) {
        const struct worker *worker = sim->workers[i].worker;
        add_sessions(worker, &sums);
        add_calls(worker, &sums);
        check_share(worker);
        sums.buffered += counter_get(&worker->counters, METRIC_BUFFERED_BYTES);
    }
    check_permits("callers' connections", &env->connections, sums.sessions,
                  env->bootstrap->limits.connections);
    check_permits("calls", &env->calls, sums.calls, env->bootstrap->limits.calls);
    check_permits("buffered bytes", &env->buffered, sums.buffered, UINT64_MAX);
    tuple_table_each(env->tuples, check_breaker, (void *)(uintptr_t)sim);
    check_tuples(sim);
    for (uint32_t i = 0; i < sim->world.states_len; i++) {
        check_endpoint(sim, sim->world.states[i]);
    }
    check_ejected(sim);
}

void sim_ledger_check_end(const struct sim *sim)
{
    check_permits("callers' connections at the end", &sim->env.connections, 0, 0);
    check_permits("calls at the end", &sim->env.calls, 0, 0);
    check_permits("buffered bytes at the end", &sim->env.buffered, 0, 0);
    for (uint32_t i = 0; i < sim->plan->workers; i++) {
        const struct worker *worker = sim->workers[i].worker;
        SIM_CHECK(worker->calls.taken == 0 && worker->attempts.taken == 0, "leak",
                  "worker %u: %llu calls, %llu attempts", i,
                  (unsigned long long)worker->calls.taken,
                  (unsigned long long)worker->attempts.taken);
        SIM_CHECK(worker->incomplete_bytes == 0 && list_empty(&worker->incomplete), "leak",
                  "worker %u: frames begun", i);
    }
}
