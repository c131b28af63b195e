/*
 * lb/p2c.c: power of two choices, see lb/p2c.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/p2c.h"

#include <math.h>

/* In flight beyond what chance alone explains: three standard deviations of a Poisson number. */
static double excess(double inflight, double expected)
{
    double above = inflight - expected - 3 * sqrt(expected + 1);
    return above > 0 ? above : 0;
}

static double score(const struct lb_draw *draw, uint32_t index, struct lb_load load,
                    const struct lb_set_load *set)
{
    double share = (double)lb_draw_weight(draw, index) / (double)lb_draw_total_weight(draw);
    double ewma = load.ewma_us > 0 ? load.ewma_us : set->median_ewma_us;
    return ewma * (1 + excess(load.inflight, (double)set->inflight * share));
}

uint32_t lb_p2c_pick(const struct lb_draw *draw, lb_set_load_fn set_load,
                     const struct lb_pick *pick)
{
    uint32_t second;
    uint32_t first = lb_draw_pick_two(draw, pick, &second);
    if (second == LB_NONE) {
        return first;
    }

    const struct lb_set_load *set = set_load(pick->owner);
    double limit = score(draw, second, pick->load(pick->owner, second), set);
    limit = fmax(fmax(limit, set->median_ewma_us), LB_FLOOR_US);
    bool veto = score(draw, first, pick->load(pick->owner, first), set) > LB_VETO_FACTOR * limit;
    return veto ? second : first;
}

/* What is left of a value after so long. A clock that went back counts as no time. */
static double fade(double elapsed_ms)
{
    return elapsed_ms > 0 ? exp(-elapsed_ms / LB_EWMA_TAU_MS) : 1;
}

double lb_ewma_next(double ewma_us, double sample_us, double elapsed_ms)
{
    if (ewma_us <= 0 || sample_us >= ewma_us) {
        return sample_us;
    }
    double kept = fade(elapsed_ms);
    kept = kept < LB_EWMA_KEPT_MAX ? kept : LB_EWMA_KEPT_MAX;
    return ewma_us * kept + sample_us * (1 - kept);
}

double lb_ewma_now(double ewma_us, double idle_ms)
{
    return ewma_us * fade(idle_ms);
}

double lb_success_sample(double latency_us, double ewma_us)
{
    double most = ewma_us * LB_STEP_MAX;
    return ewma_us > 0 && latency_us > most ? most : latency_us;
}

double lb_failure_sample(double latency_us, double timeout_us, double ewma_us, double median_us)
{
    double sample = fmax(latency_us, timeout_us);

    if (median_us > 0) {
        sample = fmin(fmax(sample, 2 * ewma_us), LB_FAILURE_CLAMP * fmax(median_us, LB_FLOOR_US));
    }
    return fmin(sample, LB_SAMPLE_MAX_US);
}
