/*
 * sidecar/data/route/ejection.c: see sidecar/data/route/ejection.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/ejection.h"

/* Sets are walked at most so often for a pick, and for a failure that found no room. Small ones each time. */
#define COUNT_EVERY_MS 10
#define COUNT_ALWAYS   16

bool ejection_is_barred(const struct endpoint_state *state, uint64_t now_ms)
{
    return ejection_is_out(state) && !lb_eject_may_try(endpoint_health(state), now_ms);
}

uint32_t ejection_count(const struct target_set *set)
{
    uint32_t out = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        out += ejection_is_out(set->endpoints[i]);
    }
    return out;
}

static bool is_due(const struct target_set *set, uint64_t then_ms, uint64_t now_ms)
{
    return set->n <= COUNT_ALWAYS || now_ms < then_ms || now_ms - then_ms >= COUNT_EVERY_MS;
}

bool ejection_fails_open(struct target_set *set, uint64_t now_ms)
{
    if (is_due(set, set->out_ms, now_ms)) {
        set->out = ejection_count(set);
        set->out_ms = now_ms;
    }
    return (uint64_t)(set->n - set->out) * 2 < set->n;
}

/* ---- going ----------------------------------------------------------------------------------- */

/* Two that go at once may both find room for one: then both stay. */
static enum ejection_news put_out(struct target_set *set, struct endpoint_state *state,
                                  const struct lb_eject_rule *rule, uint64_t now_ms)
{
    uint32_t allowed = lb_eject_allowed(set->n, rule);
    uint64_t word = endpoint_health(state);
    uint64_t next = lb_eject(word, rule, now_ms);
    if (lb_eject_is_out(word) || !is_due(set, set->full_ms, now_ms)) {
        return EJECTION_NO_NEWS;
    }
    if (ejection_count(set) >= allowed) {
        set->full_ms = now_ms;
        return EJECTION_NO_NEWS;
    }
    if (!endpoint_health_change(state, word, next)) {
        return EJECTION_NO_NEWS;
    }
    set->out_ms = 0;
    if (ejection_count(set) > allowed && endpoint_health_change(state, next, word)) {
        return EJECTION_NO_NEWS;
    }
    return EJECTION_OUT;
}

static enum ejection_news failed(struct target_set *set, struct endpoint_state *state,
                                 const struct lb_eject_rule *rule, uint64_t now_ms)
{
    uint32_t failures = atomic_fetch_add_explicit(&state->failures, 1, memory_order_relaxed) + 1;
    bool goes = rule->consecutive > 0 && failures >= rule->consecutive;
    return goes ? put_out(set, state, rule, now_ms) : EJECTION_NO_NEWS;
}

/* ---- coming back ----------------------------------------------------------------------------- */

/* The word is the trial's alone to change while it is under way. */
static enum ejection_news end_trial(struct target_set *set, struct endpoint_state *state,
                                    const struct lb_eject_rule *rule,
                                    const struct ejection_told *told)
{
    uint64_t word = endpoint_health(state);
    uint64_t next = told->result == LB_RESULT_SUCCESS ? lb_eject_return(word, told->now_ms)
                                                      : lb_eject(word, rule, told->now_ms);
    if (told->result == LB_RESULT_NONE) {
        endpoint_trial_give(state);
        return EJECTION_NO_NEWS;
    }
    set->out_ms = 0;
    if (told->result == LB_RESULT_SUCCESS) {
        atomic_store_explicit(&state->failures, 0, memory_order_relaxed);
    }
    bool changed = endpoint_health_change(state, word, next);
    return !changed                            ? EJECTION_NO_NEWS
           : told->result == LB_RESULT_SUCCESS ? EJECTION_BACK
                                               : EJECTION_OUT;
}

/* Of one that is out, only trials count: the others began before, or while all were in use. */
enum ejection_news ejection_tell(struct target_set *set, uint32_t index,
                                 const struct lb_eject_rule *rule, const struct ejection_told *told)
{
    struct endpoint_state *state = set->endpoints[index];
    if (told->is_trial) {
        return end_trial(set, state, rule, told);
    }
    if (told->result == LB_RESULT_SUCCESS) {
        ejection_tell_success(state);
        return EJECTION_NO_NEWS;
    }
    bool counts = told->result != LB_RESULT_NONE && !ejection_is_out(state);
    return counts ? failed(set, state, rule, told->now_ms) : EJECTION_NO_NEWS;
}
