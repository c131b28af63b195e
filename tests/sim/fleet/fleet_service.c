/*
 * tests/sim/fleet/fleet_service.c: see fleet_service.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/fleet/fleet_service.h"

#include "sidecar/shared/outcome_window.h"
#include "sidecar/shared/retry_budget.h"
#include "tests/sim/fleet/fleet_heap.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* A host's retries. */
struct retries {
    struct retry_budget budget;
    struct outcome_window recent;
};

struct service {
    const struct fleet_plan *plan;
    const struct fleet_watch *watch;
    struct lb_random random;
    double now_us;
    struct lb_draw *draws[1 + FLEET_FLIPS_MAX];
    struct fleet_host *hosts;
    struct fleet_view *views;
    struct retries *retries;
    double *free_us; /* [endpoints * threads]: when the thread has done what is queued for it */
    struct fleet_heap pending;
};

static double uniform(struct service *service) /* in (0, 1) */
{
    return ((double)(lb_random_next(&service->random) >> 11) + 0.5) * 0x1p-53;
}

static double exponential(struct service *service, double mean)
{
    return -log(uniform(service)) * mean;
}

/* ---- an endpoint ----------------------------------------------------------------------------- */

static bool is_at(const struct fleet_fault *fault, uint32_t endpoint, double now_s)
{
    uint32_t k = endpoint - fault->first;
    return now_s >= fault->from_s && now_s < fault->to_s && endpoint >= fault->first &&
           k % fault->stride == 0 && k / fault->stride < fault->n;
}

static double *thread_free_first(const struct service *service, uint32_t endpoint)
{
    double *threads = &service->free_us[(size_t)endpoint * service->plan->threads];
    double *first = threads;
    for (uint32_t i = 1; i < service->plan->threads; i++) {
        first = threads[i] < *first ? &threads[i] : first;
    }
    return first;
}

/* When the endpoint has answered a call that comes now. */
static double serve(struct service *service, uint32_t endpoint, bool *ret_failed)
{
    const struct fleet_plan *plan = service->plan;
    double takes_us = plan->mean_us / 2 + exponential(service, plan->mean_us / 2), fails = 0;
    for (uint32_t i = 0; i < FLEET_FAULTS_MAX && plan->faults[i].n > 0; i++) {
        if (is_at(&plan->faults[i], endpoint, service->now_us / 1e6)) {
            takes_us *= plan->faults[i].slower > 0 ? plan->faults[i].slower : 1;
            fails = fmax(fails, plan->faults[i].fails);
        }
    }
    *ret_failed = fails > 0 && uniform(service) < fails;
    if (*ret_failed) {
        return service->now_us + FLEET_FAIL_US;
    }
    double *thread = thread_free_first(service, endpoint);
    *thread = fmax(*thread, service->now_us) + takes_us;
    return *thread;
}

/* ---- a call ---------------------------------------------------------------------------------- */

/* The weights that this host knows of. Hosts hear of news at moments of their own. */
static const struct lb_draw *draw_of(const struct service *service, uint32_t host)
{
    double delay_s = FLEET_NEWS_MS / 1000.0 * (host + 1) / service->plan->hosts;
    uint32_t version = 0;
    for (uint32_t i = 0; i < FLEET_FLIPS_MAX; i++) {
        const struct fleet_flip *flip = &service->plan->flips[i];
        version += flip->at_s > 0 && service->now_us / 1e6 >= flip->at_s + delay_s;
    }
    return service->draws[version];
}

static void begin_attempt(struct service *service, struct fleet_attempt attempt)
{
    const struct fleet_plan *plan = service->plan;
    const struct lb_exclude exclude = {.n = attempt.tries, .index = {attempt.endpoint}};
    const struct lb_pick pick = {.exclude = &exclude, .random = &service->random};
    struct fleet_host *host = &service->hosts[attempt.host];

    attempt.endpoint = fleet_host_pick(host, plan->policy, draw_of(service, attempt.host), &pick,
                                       service->now_us / 1000, plan->refresh_ms);
    assert(attempt.endpoint != LB_NONE);
    attempt.tries++;
    attempt.begun_us = service->now_us;
    attempt.end_us = serve(service, attempt.endpoint, &attempt.failed);
    if (attempt.end_us > attempt.begun_us + plan->timeout_us) {
        attempt.end_us = attempt.begun_us + plan->timeout_us;
        attempt.failed = true;
    }
    fleet_host_begun(host, attempt.endpoint);
    service->watch->attempt(service->watch->owner, service->now_us, attempt.endpoint);
    fleet_heap_push(&service->pending, attempt);
}

static void begin_call(struct service *service)
{
    uint32_t host =
        (uint32_t)lb_random_scale(lb_random_next(&service->random), service->plan->hosts);
    begin_attempt(service, (struct fleet_attempt){.host = host, .call_begun_us = service->now_us});
}

static bool may_try_again(struct service *service, const struct fleet_attempt *attempt)
{
    const struct fleet_plan *plan = service->plan;
    struct outcome_counts recent = {0};
    if (attempt->tries > plan->retries ||
        service->now_us - attempt->call_begun_us >= plan->timeout_us) {
        return false;
    }
    struct retries *retries = &service->retries[attempt->host];
    outcome_sum(&retries->recent, (uint64_t)(service->now_us / 1000), &recent);
    return retry_budget_take(&retries->budget, plan->budget_percent, recent.ok,
                             (uint64_t)service->now_us);
}

static void end_attempt(struct service *service)
{
    struct fleet_attempt attempt = fleet_heap_pop(&service->pending);
    service->now_us = attempt.end_us;
    fleet_host_ended(&service->hosts[attempt.host], attempt.endpoint, attempt.failed,
                     attempt.end_us - attempt.begun_us, service->plan->timeout_us,
                     service->now_us / 1000);
    if (attempt.failed && may_try_again(service, &attempt)) {
        begin_attempt(service, attempt);
        return;
    }
    if (service->retries) {
        outcome_add(&service->retries[attempt.host].recent, !attempt.failed,
                    (uint64_t)(service->now_us / 1000));
    }
    service->watch->call(service->watch->owner, service->now_us,
                         service->now_us - attempt.call_begun_us, attempt.failed, attempt.tries);
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void *zeroed(size_t n, size_t size)
{
    void *memory = calloc(n, size);
    if (!memory) {
        abort();
    }
    return memory;
}

static struct lb_draw *draw_new(const struct fleet_plan *plan, uint32_t n, uint32_t weight)
{
    uint32_t *weights = zeroed(plan->endpoints, sizeof *weights);
    for (uint32_t i = 0; i < plan->endpoints; i++) {
        weights[i] = i < n ? weight : 10;
    }
    struct lb_draw *draw = lb_draw_new(weights, plan->endpoints);
    free(weights);
    return draw ? draw : (abort(), NULL);
}

static void begin(struct service *service)
{
    const struct fleet_plan *plan = service->plan;
    assert(plan->retries <= 1); /* one endpoint is kept in mind as tried */
    lb_random_init(&service->random, plan->seed);
    service->hosts = zeroed(plan->hosts, sizeof *service->hosts);
    service->views = zeroed((size_t)plan->hosts * plan->endpoints, sizeof *service->views);
    service->free_us = zeroed((size_t)plan->endpoints * plan->threads, sizeof *service->free_us);
    service->retries = plan->retries ? zeroed(plan->hosts, sizeof *service->retries) : NULL;
    for (uint32_t i = 0; i < plan->hosts; i++) {
        service->hosts[i].views = &service->views[(size_t)i * plan->endpoints];
        service->hosts[i].n = plan->endpoints;
    }
    service->draws[0] = draw_new(plan, plan->light_n, plan->light_weight);
    for (uint32_t i = 0; i < FLEET_FLIPS_MAX; i++) {
        service->draws[1 + i] = draw_new(plan, plan->flips[i].n, plan->flips[i].weight);
    }
}

static void end(struct service *service)
{
    for (uint32_t i = 0; i < 1 + FLEET_FLIPS_MAX; i++) {
        lb_draw_free(service->draws[i]);
    }
    fleet_heap_done(&service->pending);
    free(service->hosts);
    free(service->views);
    free(service->free_us);
    free(service->retries);
}

void fleet_service_run(const struct fleet_plan *plan, const struct fleet_watch *watch)
{
    struct service service = {.plan = plan, .watch = watch};
    double between_us = 1e6 / plan->calls_per_s, length_us = plan->length_s * 1e6;
    begin(&service);
    for (double next_us = exponential(&service, between_us); next_us < length_us;) {
        while (service.pending.n > 0 && service.pending.items[0].end_us <= next_us) {
            end_attempt(&service);
        }
        service.now_us = next_us;
        begin_call(&service);
        next_us += exponential(&service, between_us);
    }
    while (service.pending.n > 0) {
        end_attempt(&service);
    }
    end(&service);
}
