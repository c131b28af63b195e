/*
 * tests/sim/fleet/fleet_host.c: see fleet_host.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/fleet/fleet_host.h"

#include <math.h>
#include <stdlib.h>

#define ENDPOINTS_MAX 1024
#define INFLIGHT_TOLD 64

/* A host as of now: what a policy's questions are about. */
struct asked {
    struct fleet_host *host;
    double now_ms;
};

const char *fleet_policy_name(enum fleet_policy policy)
{
    static const char *const names[FLEET_POLICIES] = {"random", "p2c (today's)", "lexicographic, 2",
                                                      "lexicographic, 4"};
    return names[policy];
}

/* ---- the load of the set --------------------------------------------------------------------- */

/* The k-th smallest (Hoare). Orders values on its way. */
static double kth(double *values, uint32_t n, uint32_t k)
{
    uint32_t low = 0, high = n - 1;
    while (low < high) {
        double pivot = values[(low + high) / 2];
        uint32_t i = low, j = high;
        for (;; i++, j--) {
            while (values[i] < pivot) {
                i++;
            }
            while (values[j] > pivot) {
                j--;
            }
            if (i >= j) {
                break;
            }
            double swapped = values[i];
            values[i] = values[j];
            values[j] = swapped;
        }
        if (k <= j) {
            high = j;
        } else {
            low = j + 1;
        }
    }
    return values[k];
}

static uint32_t quantile_of_inflight(const uint32_t told[INFLIGHT_TOLD], uint32_t n)
{
    uint32_t seen = 0, value = 0;
    for (; value < INFLIGHT_TOLD - 1; value++) {
        seen += told[value];
        if (seen >= n * FLEET_HOT_QUANTILE) {
            break;
        }
    }
    return value;
}

static void find_load(struct fleet_host *host)
{
    double ewma[ENDPOINTS_MAX];
    uint32_t told[INFLIGHT_TOLD] = {0}, measured = 0;
    host->load.inflight = 0;
    for (uint32_t i = 0; i < host->n; i++) {
        const struct fleet_view *view = &host->views[i];
        host->load.inflight += view->inflight;
        told[view->inflight < INFLIGHT_TOLD ? view->inflight : INFLIGHT_TOLD - 1]++;
        if (view->ewma_us > 0) {
            ewma[measured++] = (double)view->ewma_us;
        }
    }
    host->load.median_ewma_us = measured ? kth(ewma, measured, (measured - 1) / 2) : 0;
    host->hot_above = quantile_of_inflight(told, host->n);
}

static const struct lb_set_load *set_load(const void *owner)
{
    return &((const struct asked *)owner)->host->load;
}

static double idle_ms(const struct fleet_view *view, double now_ms)
{
    return view->ewma_us > 0 ? now_ms - view->at_ms : 0;
}

static struct lb_load load_of(const void *owner, uint32_t index)
{
    const struct asked *asked = owner;
    const struct fleet_view *view = &asked->host->views[index];
    return (struct lb_load){.ewma_us =
                                lb_ewma_now((double)view->ewma_us, idle_ms(view, asked->now_ms)),
                            .inflight = view->inflight};
}

/* ---- picks ----------------------------------------------------------------------------------- */

static bool is_better(const struct fleet_host *host, struct lb_load a, struct lb_load b)
{
    bool a_cold = a.inflight <= host->hot_above, b_cold = b.inflight <= host->hot_above;
    if (a_cold != b_cold) {
        return a_cold;
    }
    return a_cold ? a.ewma_us < b.ewma_us : a.inflight < b.inflight;
}

/* One that never answered counts as the median. */
static struct lb_load known_load(const struct asked *asked, uint32_t index)
{
    struct lb_load load = load_of(asked, index);
    load.ewma_us = load.ewma_us > 0 ? load.ewma_us : asked->host->load.median_ewma_us;
    return load;
}

static uint32_t pick_lexicographic(const struct lb_draw *draw, const struct lb_pick *pick,
                                   uint32_t candidates)
{
    const struct asked *asked = pick->owner;
    uint32_t best = lb_draw_pick_other(draw, LB_NONE, pick);
    for (uint32_t i = 1; i < candidates && best != LB_NONE; i++) {
        uint32_t other = lb_draw_pick_other(draw, best, pick);
        if (other != LB_NONE &&
            is_better(asked->host, known_load(asked, other), known_load(asked, best))) {
            best = other;
        }
    }
    return best;
}

uint32_t fleet_host_pick(struct fleet_host *host, enum fleet_policy policy,
                         const struct lb_draw *draw, const struct lb_pick *call, double now_ms,
                         double refresh_ms)
{
    const struct asked asked = {host, now_ms};
    struct lb_pick pick = *call;
    pick.load = load_of;
    pick.owner = &asked;
    if (policy != FLEET_RANDOM && (host->load_ms == 0 || now_ms - host->load_ms >= refresh_ms)) {
        find_load(host);
        host->load_ms = now_ms;
    }
    switch (policy) {
    case FLEET_P2C:
        return lb_p2c_pick(draw, set_load, &pick);
    case FLEET_LEXICOGRAPHIC_2:
        return pick_lexicographic(draw, &pick, 2);
    case FLEET_LEXICOGRAPHIC_4:
        return pick_lexicographic(draw, &pick, 4);
    default:
        return lb_draw_pick_other(draw, LB_NONE, &pick);
    }
}

/* ---- what it learns -------------------------------------------------------------------------- */

void fleet_host_begun(struct fleet_host *host, uint32_t endpoint)
{
    host->views[endpoint].inflight++;
    host->load.inflight++;
}

void fleet_host_ended(struct fleet_host *host, uint32_t endpoint, bool failed, double latency_us,
                      double timeout_us, double now_ms)
{
    struct fleet_view *view = &host->views[endpoint];
    double ewma_us = (double)view->ewma_us;
    double sample =
        failed ? lb_failure_sample(latency_us, timeout_us, ewma_us, host->load.median_ewma_us)
               : lb_success_sample(latency_us, ewma_us);
    view->ewma_us = (float)lb_ewma_next(ewma_us, sample, idle_ms(view, now_ms));
    view->at_ms = (uint32_t)now_ms;
    view->inflight--;
    host->load.inflight -= host->load.inflight > 0;
}
