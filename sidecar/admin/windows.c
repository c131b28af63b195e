/*
 * sidecar/admin/windows.c: see sidecar/admin/windows.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/windows.h"

#include <stdlib.h>
#include <string.h>

#define FINE_MS   1000
#define FINE      61 /* one more than the minute's steps: a sample at both of its ends */
#define COARSE_MS 10000
#define COARSE    91
#define BUCKETS   1024

struct count_at {
    uint64_t calls;
    uint64_t at_ms;
};

struct window {
    struct window *next;
    struct disc_tuple tuple; /* points into names */
    bool seen;
    uint64_t first_ms;
    uint64_t calls;               /* at the newest sample */
    uint32_t fine_len, fine_next; /* samples held, index of the next */
    uint32_t coarse_len, coarse_next;
    struct count_at fine[FINE];
    struct count_at coarse[COARSE];
    char names[];
};

struct windows {
    struct window *buckets[BUCKETS];
    uint64_t now_ms; /* of the sampling under way */
};

struct windows *windows_new(void)
{
    return calloc(1, sizeof(struct windows));
}

struct windows *windows_free(struct windows *windows)
{
    for (int i = 0; windows && i < BUCKETS; i++) {
        for (struct window *w = windows->buckets[i], *next; w; w = next) {
            next = w->next;
            free(w);
        }
    }
    free(windows);
    return NULL;
}

/* FNV-1a. The tuple table bounds the number of tuples, so that a flood of equal hashes costs a long
 * chain on the control thread at worst. */
static uint32_t bucket_of(const struct disc_tuple *tuple)
{
    uint32_t h = 2166136261u;
    for (int i = 0; i < DISC_NAMES; i++) {
        for (uint32_t k = 0; k < tuple->name[i].len; k++) {
            h = (h ^ (unsigned char)tuple->name[i].p[k]) * 16777619u;
        }
        h = (h ^ 0xff) * 16777619u;
    }
    return h % BUCKETS;
}

static struct window *window_find(const struct windows *windows, const struct disc_tuple *tuple)
{
    struct window *w = windows->buckets[bucket_of(tuple)];
    while (w && !disc_tuple_eq(&w->tuple, tuple)) {
        w = w->next;
    }
    return w;
}

static struct window *window_new(struct windows *windows, const struct disc_tuple *tuple)
{
    size_t len = 0;
    for (int i = 0; i < DISC_NAMES; i++) {
        len += tuple->name[i].len;
    }
    struct window *w = calloc(1, sizeof *w + len);
    if (!w) {
        return NULL;
    }
    char *room = w->names;
    for (int i = 0; i < DISC_NAMES; i++) {
        w->tuple.name[i] = disc_str_of(room, tuple->name[i].len);
        if (tuple->name[i].len > 0) {
            memcpy(room, tuple->name[i].p, tuple->name[i].len);
        }
        room += tuple->name[i].len;
    }
    struct window **home = &windows->buckets[bucket_of(tuple)];
    w->next = *home;
    *home = w;
    return w;
}

static void push(struct count_at ring[], uint32_t cap, uint32_t *len, uint32_t *next,
                 struct count_at sample)
{
    ring[*next] = sample;
    *next = (*next + 1) % cap;
    if (*len < cap) {
        (*len)++;
    }
}

/* All calls so far came within the step before. */
static void window_start(struct window *w, uint64_t now_ms)
{
    w->first_ms = now_ms > FINE_MS ? now_ms - FINE_MS : 0;
    w->fine_len = w->fine_next = w->coarse_len = w->coarse_next = 0;
    struct count_at start = {0, w->first_ms};
    push(w->fine, FINE, &w->fine_len, &w->fine_next, start);
    push(w->coarse, COARSE, &w->coarse_len, &w->coarse_next, start);
}

static bool sample_one(void *arg, const struct tuple_state *state)
{
    struct windows *windows = arg;
    const struct disc_tuple *tuple = tuple_state_names(state);
    struct tuple_sums sums;
    tuple_state_sum(state, &sums);
    struct count_at sample = {sums.calls, windows->now_ms};
    struct window *w = window_find(windows, tuple);
    if (!w) {
        w = window_new(windows, tuple);
    }
    if (!w) {
        return true; /* its rates stay at zero */
    }
    if (w->fine_len == 0 || sums.calls < w->calls) { /* new, or it left the table and came back */
        window_start(w, windows->now_ms);
    }
    w->seen = true;
    w->calls = sums.calls;
    push(w->fine, FINE, &w->fine_len, &w->fine_next, sample);
    const struct count_at *last = &w->coarse[(w->coarse_next + COARSE - 1) % COARSE];
    if (windows->now_ms - last->at_ms >= COARSE_MS) {
        push(w->coarse, COARSE, &w->coarse_len, &w->coarse_next, sample);
    }
    return true;
}

void windows_sample(struct windows *windows, const struct tuple_table *table, uint64_t now_ms)
{
    windows->now_ms = now_ms;
    tuple_table_each(table, sample_one, windows);
    for (int i = 0; i < BUCKETS; i++) {
        for (struct window **link = &windows->buckets[i]; *link;) {
            struct window *w = *link;
            if (w->seen) {
                w->seen = false;
                link = &w->next;
            } else {
                *link = w->next;
                free(w);
            }
        }
    }
}

/* Calls per second since the oldest sample that is at most window_ms old. */
static double rate_since(const struct count_at ring[], uint32_t cap, uint32_t len, uint32_t next,
                         uint64_t window_ms, struct count_at now)
{
    for (uint32_t k = len; k > 0; k--) { /* oldest first */
        const struct count_at *then = &ring[(next + cap - k) % cap];
        if (now.at_ms - then->at_ms > window_ms) {
            continue;
        }
        if (now.at_ms <= then->at_ms || now.calls < then->calls) {
            break;
        }
        return (double)(now.calls - then->calls) * 1000 / (double)(now.at_ms - then->at_ms);
    }
    return 0;
}

struct window_rates windows_rates(const struct windows *windows, const struct disc_tuple *tuple,
                                  uint64_t calls, uint64_t now_ms)
{
    struct window_rates rates = {0};
    const struct window *w = window_find(windows, tuple);
    if (!w || now_ms <= w->first_ms) {
        return rates;
    }
    /* A step more than the window, so that a sample lies just behind its far end. */
    struct count_at now = {calls, now_ms};
    rates.m1 = rate_since(w->fine, FINE, w->fine_len, w->fine_next, 60000 + FINE_MS, now);
    rates.m5 =
        rate_since(w->coarse, COARSE, w->coarse_len, w->coarse_next, 300000 + COARSE_MS, now);
    rates.m15 =
        rate_since(w->coarse, COARSE, w->coarse_len, w->coarse_next, 900000 + COARSE_MS, now);
    rates.avg = (double)calls * 1000 / (double)(now_ms - w->first_ms);
    return rates;
}
