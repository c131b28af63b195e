/*
 * sidecar/shared/endpoint_state.c: see sidecar/shared/endpoint_state.h.
 *
 * The EWMA is one word, so that it is read and written whole: the float's bits above, the low half
 * of the sample's time in milliseconds below.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/endpoint_state.h"

#include "lb/p2c.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_SKEW_MS 60000 /* more than two loops' clocks can differ */

static bool parse_address(struct endpoint_state *state, const char *host, uint16_t port)
{
    if (inet_pton(AF_INET, host, &state->addr.v4.sin_addr) == 1) {
        state->addr.v4.sin_family = AF_INET;
        state->addr.v4.sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, host, &state->addr.v6.sin6_addr) == 1) {
        state->addr.v6.sin6_family = AF_INET6;
        state->addr.v6.sin6_port = htons(port);
        return true;
    }
    return false;
}

struct endpoint_state *endpoint_state_new(const char *address, const char *host, uint16_t port,
                                          uint32_t workers)
{
    struct endpoint_state *state =
        calloc(1, sizeof *state + workers * sizeof state->pool_of_worker[0]);
    if (!state) {
        return NULL;
    }
    atomic_init(&state->refs, 1);
    state->workers = workers;
    state->address = strdup(address);
    if (!state->address || !parse_address(state, host, port)) {
        return endpoint_state_unref(state);
    }
    return state;
}

void endpoint_state_ref(struct endpoint_state *state)
{
    atomic_fetch_add_explicit(&state->refs, 1, memory_order_relaxed);
}

struct endpoint_state *endpoint_state_unref(struct endpoint_state *state)
{
    if (state && atomic_fetch_sub_explicit(&state->refs, 1, memory_order_acq_rel) == 1) {
        free(state->address);
        free(state);
    }
    return NULL;
}

static float ewma_of(uint64_t packed)
{
    uint32_t bits = (uint32_t)(packed >> 32);
    float us;
    memcpy(&us, &bits, sizeof us);
    return us;
}

double endpoint_ewma_us(const struct endpoint_state *state)
{
    return (double)ewma_of(atomic_load_explicit(&state->ewma, memory_order_relaxed));
}

/* Loops read their clocks at different moments: a sample may come from just before. */
static uint32_t elapsed_since(uint64_t packed, uint64_t now_ms)
{
    uint32_t elapsed_ms = (uint32_t)now_ms - (uint32_t)packed;
    return packed == 0 || elapsed_ms > UINT32_MAX - CLOCK_SKEW_MS ? 0 : elapsed_ms;
}

double endpoint_ewma_now_us(const struct endpoint_state *state, uint64_t now_ms)
{
    uint64_t packed = atomic_load_explicit(&state->ewma, memory_order_relaxed);
    return lb_ewma_now((double)ewma_of(packed), elapsed_since(packed, now_ms));
}

void endpoint_ewma_record(struct endpoint_state *state, double sample_us, uint64_t now_ms)
{
    uint64_t before = atomic_load_explicit(&state->ewma, memory_order_relaxed);
    uint32_t elapsed_ms = elapsed_since(before, now_ms);
    uint32_t at_ms = elapsed_ms == 0 && before != 0 ? (uint32_t)before : (uint32_t)now_ms;
    float us = (float)lb_ewma_next((double)ewma_of(before), sample_us, elapsed_ms);
    uint32_t bits;
    memcpy(&bits, &us, sizeof bits);
    atomic_store_explicit(&state->ewma, (uint64_t)bits << 32 | at_ms, memory_order_relaxed);
}

bool endpoint_health_change(struct endpoint_state *state, uint64_t seen, uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(&state->health, &seen, next,
                                                   memory_order_relaxed, memory_order_relaxed);
}

bool endpoint_trial_take(struct endpoint_state *state, uint64_t now_ms)
{
    uint64_t word = endpoint_health(state);
    return lb_eject_is_out(word) && lb_eject_may_try(word, now_ms) &&
           endpoint_health_change(state, word, word | LB_EJECT_TRIAL);
}

/* Nothing else is changed in the word while a trial has it. */
void endpoint_trial_give(struct endpoint_state *state)
{
    atomic_fetch_and_explicit(&state->health, ~LB_EJECT_TRIAL, memory_order_relaxed);
}
