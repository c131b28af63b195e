/*
 * sidecar/admin/api_routes.c: /api/v1/routes, breakers and stats: tuples and their numbers.
 *
 * Lists are sorted by the encoded tuple.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
    char *key; /* the encoded tuple */
    const struct tuple_state *state;
};

struct items {
    const char *after;
    size_t len, cap;
    struct item *item;
    bool broken;
};

static bool collect(void *arg, const struct tuple_state *state)
{
    struct items *items = arg;
    char key[DISC_TUPLE_ENCODED_MAX_BYTES + 1];
    disc_tuple_encode(tuple_state_names(state), key, sizeof key);
    if (items->after && strcmp(key, items->after) <= 0) {
        return true;
    }
    if (items->len == items->cap) {
        size_t cap = items->cap ? items->cap * 2 : 64;
        struct item *more = realloc(items->item, cap * sizeof *more);
        if (!more) {
            items->broken = true;
            return false;
        }
        items->item = more;
        items->cap = cap;
    }
    struct item item = {strdup(key), state};
    items->broken = !item.key;
    if (item.key) {
        items->item[items->len++] = item;
    }
    return !items->broken;
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->key, ((const struct item *)b)->key);
}

static void items_done(struct items *items)
{
    for (size_t i = 0; i < items->len; i++) {
        free(items->item[i].key);
    }
    free(items->item);
}

typedef json_t *(*item_fn)(const struct admin *admin, const struct item *item);

/* A page of them, each as fn shows it; where that is NULL it is none of this list. */
static void answer_list(struct admin *admin, const struct http_request *request,
                        struct http_reply *reply, item_fn fn)
{
    struct api_page page;
    if (!api_page(request, reply, &page)) {
        return;
    }
    struct items items = {.after = page.after};
    tuple_table_each(admin->context.tuples, collect, &items);
    if (items.len > 0) {
        qsort(items.item, items.len, sizeof *items.item, compare_items);
    }
    json_t *list = items.broken ? NULL : json_array();
    size_t n = items.len < page.limit ? items.len : page.limit;
    for (size_t i = 0; list && i < n; i++) {
        json_t *shown = fn(admin, &items.item[i]);
        if (shown) {
            (void)json_array_append_new(list, shown);
        }
    }
    api_list(reply, list, items.len > n ? items.item[n - 1].key : NULL);
    items_done(&items);
    api_page_done(&page);
}

static json_t *qps_json(const struct admin *admin, const struct tuple_state *state,
                        const struct tuple_sums *sums)
{
    struct window_rates rates =
        windows_rates(admin->windows, tuple_state_names(state), sums->calls, api_now_ms(admin));
    return json_pack("{s:f,s:f,s:f,s:f,s:I}", "1m", rates.m1, "5m", rates.m5, "15m", rates.m15,
                     "avg", rates.avg, "count", (json_int_t)sums->calls);
}

/* ---- routes ---------------------------------------------------------------------------------- */

/* The quantile, interpolated within its bucket; in the last one, what was seen at most. */
static double quantile_ms(const struct tuple_sums *sums, double q)
{
    uint64_t total = 0;
    for (int b = 0; b < TUPLE_BUCKETS; b++) {
        total += sums->bucket[b];
    }
    double rank = q * (double)total, below = 0;
    for (int b = 0; b < TUPLE_BUCKETS && total > 0; b++) {
        double here = (double)sums->bucket[b];
        if (here > 0 && below + here >= rank) {
            double low = b > 0 ? (double)tuple_bucket_us[b - 1] : 0;
            double high = b < TUPLE_BUCKETS - 1 ? (double)tuple_bucket_us[b] : (double)sums->max_us;
            if (high > (double)sums->max_us && (double)sums->max_us >= low) {
                high = (double)sums->max_us;
            }
            return (low + (high - low) * (rank - below) / here) / 1000;
        }
        below += here;
    }
    return 0;
}

static json_t *reasons_json(const struct tuple_sums *sums)
{
    json_t *reasons = json_object();
    for (int i = 0; i < REASON_MAX; i++) {
        if (sums->reason[i] > 0) {
            api_set(reasons, reason_str((enum reason)i), api_number(sums->reason[i]));
        }
    }
    return reasons;
}

static json_t *key_json(const struct disc_rule *rule)
{
    return rule ? json_string(rule->key) : json_null();
}

static json_t *keys_json(const struct admin *admin, const struct disc_tuple *tuple)
{
    const struct disc_snapshot *snapshot = api_snapshot(admin);
    struct disc_resolution resolution = {0};
    if (snapshot) {
        disc_resolve(disc_snapshot_view(snapshot, tuple->name[DISC_TO]),
                     disc_snapshot_star(snapshot), tuple, &resolution);
    }
    json_t *keys = json_object();
    api_set(keys, "traffic", key_json(resolution.traffic));
    api_set(keys, "degrade", key_json(resolution.degrade));
    api_set(keys, "config", key_json(resolution.config));
    return keys;
}

/* This host's part of a rate that hosts share. */
static void set_rate_share(json_t *route, const struct admin *admin, const struct disc_tuple *tuple)
{
    struct tuple_state *state = tuple_table_peek(admin->context.tuples, tuple);
    if (!state || tuple_state_is_other(state)) {
        return;
    }
    const struct fleet_part *part = &tuple_table_limits(admin->context.tuples, state, tuple)->part;
    if (fleet_part_per_s(part) > 0) {
        api_set(route, "rate_share_per_s", json_real(fleet_part_share(part)));
    }
}

static json_t *route_json(const struct admin *admin, const struct item *item)
{
    const struct tuple_state *state = item->state;
    const struct disc_tuple *tuple = tuple_state_names(state);
    struct tuple_sums sums;
    tuple_state_sum(state, &sums);
    json_t *route = json_object();
    api_set_names(route, tuple);
    api_set(route, "qps", qps_json(admin, state, &sums));
    api_set(route, "p50_ms", json_real(quantile_ms(&sums, 0.5)));
    api_set(route, "p99_ms", json_real(quantile_ms(&sums, 0.99)));
    api_set(route, "max_ms", json_real((double)sums.max_us / 1000));
    api_set(route, "inflight", api_number(sums.inflight));
    set_rate_share(route, admin, tuple);
    api_set(route, "reasons", reasons_json(&sums));
    api_set(route, "keys", keys_json(admin, tuple));
    return route;
}

void api_routes(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    answer_list(admin, request, reply, route_json);
}

/* ---- breakers -------------------------------------------------------------------------------- */

static const char *breaker_state_str(enum lb_breaker_state state)
{
    static const char *const states[] = {"closed", "open", "half_open"};
    return states[state];
}

static json_t *breaker_json(const struct admin *admin, const struct item *item)
{
    struct breaker_view view;
    struct tuple_sums sums;
    if (!tuple_state_breaker_view(item->state, api_now_ms(admin), &view)) {
        return NULL;
    }
    tuple_state_sum(item->state, &sums);
    double errors = (double)view.window.failures + view.window.timeouts;
    double calls = errors + view.window.successes;
    json_t *breaker = json_object();
    api_set(breaker, "name", api_bytes(item->key, strlen(item->key)));
    api_set(breaker, "state", json_string(breaker_state_str(view.state)));
    api_set(breaker, "concurrency", api_number(sums.inflight));
    api_set(breaker, "successes_10s", api_number(view.window.successes));
    api_set(breaker, "failures_10s", api_number(view.window.failures));
    api_set(breaker, "timeouts_10s", api_number(view.window.timeouts));
    api_set(breaker, "consecutive_errors", api_number(view.in_a_row));
    api_set(breaker, "error_rate", json_real(calls > 0 ? errors / calls : 0));
    return breaker;
}

void api_breakers(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    answer_list(admin, request, reply, breaker_json);
}

/* ---- stats ----------------------------------------------------------------------------------- */

static json_t *counters_json(const struct admin *admin)
{
    json_t *counters = json_object();
    for (int m = 0; m < METRIC_MAX; m++) {
        const struct metric_row *row = api_metric_row((enum metric)m);
        char name[256];
        snprintf(name, sizeof name, "%s%s%s%s", row->name, row->labels[0] ? "{" : "", row->labels,
                 row->labels[0] ? "}" : "");
        api_set(counters, name, api_number(api_metric(admin, (enum metric)m)));
    }
    return counters;
}

struct stats_list {
    const struct admin *admin;
    json_t *routes;
};

static bool add_stats(void *arg, const struct tuple_state *state)
{
    struct stats_list *list = arg;
    struct tuple_sums sums;
    tuple_state_sum(state, &sums);
    json_t *route = json_object();
    api_set_names(route, tuple_state_names(state));
    api_set(route, "qps", qps_json(list->admin, state, &sums));
    (void)json_array_append_new(list->routes, route);
    return true;
}

/* Every number of the workers, then each tuple's rates; the tuple table bounds the list. */
void api_stats(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    struct stats_list list = {admin, json_array()};
    tuple_table_each(admin->context.tuples, add_stats, &list);
    json_t *stats = json_object();
    api_set(stats, "counters", counters_json(admin));
    api_set(stats, "queues",
            json_pack("{s:I,s:I,s:I}", "calls_inflight",
                      (json_int_t)api_metric(admin, METRIC_CALLS_INFLIGHT), "pool_waiting",
                      (json_int_t)api_metric(admin, METRIC_POOL_WAITING), "buffered_bytes",
                      (json_int_t)api_metric(admin, METRIC_BUFFERED_BYTES)));
    api_set(stats, "routes", list.routes);
    api_json(reply, 200, stats);
}
