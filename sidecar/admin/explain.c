/*
 * sidecar/admin/explain.c: see sidecar/admin/explain.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/explain.h"

#include "sidecar/admin/api.h"
#include "sidecar/data/route/stage.h"

#include <string.h>

#define ADDRESSES_SHOWN 32
/* Simulated calls: enough that a share of 1 % shows, few enough for the control thread. */
#define CALLS_SIMULATED 1000
#define OUTCOMES_MAX    (LB_SPLIT_ENTRIES_MAX + 8)
#define SEED            1 /* the same question gets the same answer */

static void append(json_t *array, json_t *value)
{
    (void)json_array_append_new(array, value); /* a member less at worst */
}

static json_t *name_json(struct disc_str name)
{
    return api_bytes(name.p, name.len);
}

/* Texts come from keys and values, which may have any bytes. */
static json_t *text_json(const char *text)
{
    return api_bytes(text, strlen(text));
}

/* ---- steps ----------------------------------------------------------------------------------- */

static json_t *candidate_json(const struct disc_resolution *resolution,
                              const struct disc_slot *slot)
{
    const struct disc_rule *rule = slot->rule;
    json_t *candidate = json_object();
    api_set(candidate, "key", text_json(slot->key));
    api_set(candidate, "status",
            json_string(!rule                                    ? "rejected"
                        : disc_resolution_uses(resolution, rule) ? "matched"
                                                                 : "shadowed"));
    api_set(candidate, "mod_revision",
            json_integer(rule ? rule->mod_revision : slot->rejected_revision));
    api_set(candidate, "value", rule ? json_loads(rule->text, JSON_DECODE_ANY, NULL) : NULL);
    if (slot->rejected_reason) {
        json_t *rejected = json_object();
        api_set(rejected, "mod_revision", json_integer(slot->rejected_revision));
        api_set(rejected, "reason", text_json(slot->rejected_reason));
        api_set(rejected, "field", text_json(slot->rejected_field ? slot->rejected_field : ""));
        api_set(candidate, "rejected", rejected);
    }
    return candidate;
}

static json_t *steps_json(const struct disc_resolution *resolution)
{
    json_t *steps = json_object();
    for (int kind = 0; kind < DISC_KINDS; kind++) {
        json_t *candidates = json_array();
        for (uint32_t i = 0; i < resolution->candidates_len; i++) {
            const struct disc_slot *slot = &resolution->candidates[i].entry->slot[kind];
            if (slot->key) {
                append(candidates, candidate_json(resolution, slot));
            }
        }
        api_set(steps, disc_kind_str((enum disc_kind)kind),
                json_pack("{s:o}", "candidates", candidates));
    }
    return steps;
}

/* ---- effective ------------------------------------------------------------------------------- */

/* A value that acts only where retry.idempotent is true, and here is not. NULL: it acts. */
static const char *inert_note(const struct disc_resolution *resolution, enum disc_field field)
{
    int64_t value = resolution->value[field].i;
    if (resolution->value[DISC_FIELD_RETRY_IDEMPOTENT].i) {
        return NULL;
    }
    if (field == DISC_FIELD_RETRY_ON && (value & (ROUTE_RETRY_TIMEOUT | ROUTE_RETRY_EXCEPTION))) {
        return "timeout and exception do not act: retry.idempotent is false";
    }
    if (field == DISC_FIELD_HEDGE_AFTER_MS && value != 0) {
        return "does not act: retry.idempotent is false";
    }
    return NULL;
}

static json_t *effective_json(const struct disc_resolution *resolution)
{
    json_t *effective = json_object();
    for (int f = 0; f < DISC_FIELD_MAX; f++) {
        enum disc_field field = (enum disc_field)f;
        const struct disc_rule *from = resolution->from[f];
        char text[DISC_RANGES_MAX * 32 + DISC_NAME_MAX_BYTES * 6];
        disc_value_print(field, &resolution->value[f], text, sizeof text);
        json_t *row = json_object();
        api_set(row, "value", json_loads(text, JSON_DECODE_ANY, NULL));
        api_set(row, "from",
                text_json(!disc_field_is_built(field) ? "not yet"
                          : from                      ? from->key
                                                      : "default"));
        api_set(row, "order", json_string(disc_order_str(disc_field_order(field))));
        const char *note = inert_note(resolution, field);
        if (note) {
            api_set(row, "note", json_string(note));
        }
        api_set(effective, disc_field_path(field), row);
    }
    return effective;
}

/* ---- targets --------------------------------------------------------------------------------- */

static json_t *target_json(const struct disc_view *view, struct disc_str name, struct disc_str zone)
{
    const struct disc_cluster *cluster = view ? disc_view_cluster(view, name) : NULL;
    json_t *target = json_object();
    json_t *addresses = json_array();
    uint32_t all = 0, usable = 0;
    for (uint32_t i = 0; cluster && i < cluster->n; i++) {
        const struct disc_endpoint *endpoint = cluster->endpoints[i];
        if (zone.len > 0 &&
            !disc_str_eq(zone, disc_str_of(endpoint->zone, strlen(endpoint->zone)))) {
            continue;
        }
        all++;
        if (endpoint->weight > 0 && usable++ < ADDRESSES_SHOWN) {
            append(addresses, json_string(endpoint->address));
        }
    }
    api_set(target, "cluster", name_json(name));
    api_set(target, "zone", zone.len > 0 ? name_json(zone) : json_null());
    api_set(target, "endpoints", json_integer(all));
    api_set(target, "usable", json_integer(usable));
    api_set(target, "addresses", addresses);
    return target;
}

static json_t *targets_json(const struct disc_view *view, const struct disc_resolution *resolution,
                            const struct disc_tuple *tuple)
{
    const struct disc_str any = disc_str_of("", 0);
    const struct disc_rule *rule = resolution->traffic;
    json_t *targets = json_array();
    for (uint32_t i = 0; rule && i < rule->traffic.n; i++) {
        const struct disc_target *target = &rule->traffic.targets[i];
        json_t *row = target_json(view, target->cluster, target->zone);
        api_set(row, "weight", json_integer(target->weight));
        append(targets, row);
    }
    if (!rule) {
        append(targets, target_json(view, tuple->name[DISC_TO_CLUSTER], any));
    }
    struct disc_str fallback = resolution->value[DISC_FIELD_FALLBACK_CLUSTER].s;
    if (fallback.len > 0) {
        json_t *row = target_json(view, fallback, any);
        api_set(row, "fallback", json_true());
        append(targets, row);
    }
    return targets;
}

/* ---- outcome --------------------------------------------------------------------------------- */

struct outcome {
    enum reason reason; /* OK: forwarded */
    struct disc_str cluster;
    uint32_t calls;
};

struct outcomes {
    uint32_t n;
    struct outcome outcome[OUTCOMES_MAX];
};

static void tally(struct outcomes *all, enum reason reason, struct disc_str cluster)
{
    uint32_t i = 0;
    while (i < all->n &&
           (all->outcome[i].reason != reason || !disc_str_eq(all->outcome[i].cluster, cluster))) {
        i++;
    }
    if (i == OUTCOMES_MAX) {
        return;
    }
    all->n += i == all->n;
    all->outcome[i].reason = reason;
    all->outcome[i].cluster = cluster;
    all->outcome[i].calls++;
}

static const char *action_str(enum reason reason)
{
    switch (reason) {
    case REASON_OK:
        return "forward";
    case REASON_DEGRADED:
        return "degrade";
    case REASON_DENIED:
        return "deny";
    default:
        return "fail";
    }
}

static json_t *outcome_json(const struct outcome *outcome)
{
    json_t *json = json_object();
    api_set(json, "action", json_string(action_str(outcome->reason)));
    api_set(json, "reason", json_string(reason_str(outcome->reason)));
    api_set(json, "cluster", outcome->cluster.len > 0 ? name_json(outcome->cluster) : json_null());
    return json;
}

static json_t *outcomes_json(const struct outcomes *all)
{
    const struct outcome *most = &all->outcome[0];
    json_t *list = json_array();
    for (uint32_t i = 0; i < all->n; i++) {
        json_t *row = outcome_json(&all->outcome[i]);
        api_set(row, "calls", json_integer(all->outcome[i].calls));
        append(list, row);
        if (all->outcome[i].calls > most->calls) {
            most = &all->outcome[i];
        }
    }
    json_t *json = outcome_json(most);
    api_set(json, "certain", json_boolean(all->n <= 1));
    if (all->n > 1) {
        api_set(json, "simulated", json_integer(CALLS_SIMULATED));
        api_set(json, "all", list);
    } else {
        json_decref(list);
    }
    return json;
}

/* What a call would meet now. The control thread alone takes entries out of the table. */
static void look_at_state(struct route *route, const struct explain_input *input)
{
    struct tuple_state *state =
        input->tuples ? tuple_table_peek(input->tuples, &input->tuple) : NULL;
    if (state) {
        route_set_limits(route, input->tuples, state);
    }
}

/* False when out of memory. */
static bool simulate(const struct explain_input *input, struct outcomes *all)
{
    struct route_cache *cache =
        route_cache_new(&(struct route_cache_options){.limit = 1, .seed = SEED});
    struct route *route =
        cache ? route_get(cache, input->snapshot, &input->tuple, input->now_ms, NULL) : NULL;
    if (!route) {
        route_cache_free(cache);
        return false;
    }
    look_at_state(route, input);
    struct lb_random random;
    lb_random_init(&random, SEED);
    struct stage_ctx ctx = {
        .route = route,
        .log_id = input->log_id,
        .random = &random,
        .now_ms = input->now_ms,
        .now_us = input->now_ms * 1000,
    };
    for (int i = 0; i < CALLS_SIMULATED; i++) {
        ctx.cluster = disc_str_of("", 0);
        bool forwarded = stages_decide(&ctx) == STAGE_GO_ON;
        tally(all, forwarded ? REASON_OK : ctx.reason, ctx.cluster);
    }
    /* The clusters' names live as long as the snapshot and the tuple, not as the route. */
    for (uint32_t i = 0; i < all->n; i++) {
        if (disc_str_eq(all->outcome[i].cluster, input->tuple.name[DISC_TO_CLUSTER])) {
            all->outcome[i].cluster = input->tuple.name[DISC_TO_CLUSTER];
        }
    }
    route_unref(cache, route);
    route_cache_free(cache);
    return true;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static json_t *snapshot_json(const struct explain_input *input)
{
    static const char *const sources[] = {"file", "disk", "etcd"};
    uint64_t built_ms = disc_snapshot_built_ms(input->snapshot);
    double age_s = input->now_ms > built_ms ? (double)(input->now_ms - built_ms) / 1000 : 0;
    return json_pack("{s:I,s:s,s:f}", "revision",
                     (json_int_t)disc_snapshot_revision(input->snapshot), "source",
                     sources[disc_snapshot_origin(input->snapshot)], "age_s", age_s);
}

/* As the call path does: docs/specification.md, section 1. */
static void set_defaults(struct disc_tuple *tuple)
{
    if (tuple->name[DISC_FROM].len == 0) {
        tuple->name[DISC_FROM] = disc_str_of("none", 4);
    }
    if (tuple->name[DISC_FROM_CLUSTER].len == 0) {
        tuple->name[DISC_FROM_CLUSTER] = disc_str_of("default", 7);
    }
    if (tuple->name[DISC_TO_CLUSTER].len == 0) {
        tuple->name[DISC_TO_CLUSTER] = disc_str_of("default", 7);
    }
}

/* Encoded names are ASCII but for bytes that need no encoding in keys. */
static json_t *tuple_json(const struct disc_tuple *tuple)
{
    char text[DISC_TUPLE_ENCODED_MAX_BYTES + 1];
    char shown[4 * sizeof text];
    size_t len = disc_tuple_encode(tuple, text, sizeof text);
    disc_name_display(disc_str_of(text, len), shown, sizeof shown);
    return json_string(shown);
}

json_t *explain_json(const struct explain_input *question)
{
    struct explain_input input = *question;
    struct disc_resolution resolution;
    struct outcomes outcomes = {0};
    const struct disc_view *view = NULL, *star = NULL;
    set_defaults(&input.tuple);
    if (input.tuple.name[DISC_TO].len == 0) { /* nothing names the callee */
        tally(&outcomes, REASON_NO_ROUTE, disc_str_of("", 0));
    } else if (input.tuple.name[DISC_METHOD].len == 0) {
        tally(&outcomes, REASON_BAD_REQUEST, disc_str_of("", 0));
    } else {
        view = disc_snapshot_view(input.snapshot, input.tuple.name[DISC_TO]);
        star = disc_snapshot_star(input.snapshot);
        if (!simulate(&input, &outcomes)) {
            return NULL;
        }
    }
    disc_resolve(view, star, &input.tuple, &resolution);

    json_t *json = json_object();
    api_set(json, "tuple", tuple_json(&input.tuple));
    api_set(json, "snapshot", snapshot_json(&input));
    api_set(json, "steps", steps_json(&resolution));
    api_set(json, "effective", effective_json(&resolution));
    api_set(json, "targets", targets_json(view, &resolution, &input.tuple));
    api_set(json, "outcome", outcomes_json(&outcomes));
    return json;
}
