/*
 * sidecar/cli/check_pool.c: see sidecar/cli/check_pool.h.
 *
 * Each key stands for one call: the one that has the key's names, and names that no key knows where
 * the key has "*". A key that wins for any call wins for that one, too, because every other key that
 * matches that one matches the first as well. So these calls, resolved for each cluster in turn, show
 * every value that `pool` can have there. Clusters are reached by name, by a traffic rule and as a
 * fallback.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/check_pool.h"

#include "discovery/base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls resolved at most: some seconds. */
#define ASKED_MAX 2000000

/* The call that a key stands for; length 0: a name that no key knows. */
struct sample {
    struct disc_tuple tuple; /* points into names */
    char *names;
};

/* A cluster of the callee at hand, and what the first call that reached it found. */
struct reached {
    struct disc_str name; /* borrowed from samples and rules */
    bool met, warned;
    union disc_value value[DISC_FIELD_MAX];
    const struct disc_rule *from[DISC_FIELD_MAX];
};

struct check {
    const struct disc_snapshot *snapshot;
    check_pool_fn fn;
    void *arg;
    size_t asked;
    size_t samples_len, samples_cap;
    struct sample *samples; /* sorted by callee: those for any callee come first */
    struct disc_str callee;
    bool has_endpoints; /* the callee, as far as is known */
    size_t reached_len, reached_cap;
    struct reached *reached;
};

static bool is_pool(enum disc_field field)
{
    return strncmp(disc_field_path(field), "pool.", 5) == 0;
}

/* ---- the samples ------------------------------------------------------------------------------ */

static void add_sample(struct check *check, const struct disc_tuple *tuple)
{
    if (check->samples_len == check->samples_cap) {
        check->samples_cap = 2 * check->samples_cap + 64;
        check->samples =
            memory_resize(check->samples, check->samples_cap, sizeof check->samples[0]);
    }
    struct sample *sample = &check->samples[check->samples_len++];
    sample->names = memory_alloc(disc_names_bytes(tuple->name, DISC_NAMES));
    disc_names_copy(tuple->name, DISC_NAMES, sample->names, sample->tuple.name);
}

/* Whether the key has a say in where calls go, or in their pool. */
static bool matters(const struct disc_snapshot *snapshot, const struct disc_rule_key *key)
{
    bool any = (key->pattern & DISC_PATTERN_BIT(DISC_TO)) != 0;
    const struct disc_view *view =
        any ? disc_snapshot_star(snapshot) : disc_snapshot_view(snapshot, key->tuple.name[DISC_TO]);
    const struct disc_entry *entry = disc_view_find(view, &key->tuple, key->pattern);
    const struct disc_rule *rule = entry ? entry->slot[key->kind].rule : NULL;
    if (!rule || key->kind != DISC_CONFIG) {
        return rule && key->kind == DISC_TRAFFIC;
    }
    for (uint32_t i = 0; i < rule->config.n; i++) {
        enum disc_field field = rule->config.items[i].field;
        if (is_pool(field) || field == DISC_FIELD_FALLBACK_CLUSTER) {
            return true;
        }
    }
    return false;
}

static bool add_key(void *arg, const struct disc_raw *raw)
{
    struct check *check = arg;
    struct disc_error error;
    struct disc_tuple tuple = {0};
    if (raw->space == DISC_SPACE_RULES) {
        struct disc_rule_key key;
        if (disc_rule_key_parse(raw->key, strlen(raw->key), &key, &error) == DISC_KEY_OURS &&
            matters(check->snapshot, &key)) {
            add_sample(check, &key.tuple);
            tuple.name[DISC_TO] = key.tuple.name[DISC_TO];
            add_sample(check,
                       &tuple); /* a call that none of the callee's other names is known of */
        }
        return true;
    }
    struct disc_service_key key;
    if (disc_service_key_parse(raw->key, strlen(raw->key), &key, &error) == DISC_KEY_OURS) {
        tuple.name[DISC_TO] = key.service;
        tuple.name[DISC_TO_CLUSTER] = key.cluster;
        add_sample(check, &tuple);
    }
    return true;
}

static int compare_tuples(const struct disc_tuple *a, const struct disc_tuple *b)
{
    int order = disc_str_compare(a->name[DISC_TO], b->name[DISC_TO]);
    for (int i = 0; i < DISC_NAMES && order == 0; i++) {
        order = disc_str_compare(a->name[i], b->name[i]);
    }
    return order;
}

static int compare_samples(const void *a, const void *b)
{
    return compare_tuples(&((const struct sample *)a)->tuple, &((const struct sample *)b)->tuple);
}

/* Many keys stand for the same call: every endpoint of a cluster, for one. */
static void sort_samples(struct check *check)
{
    size_t n = 0;
    if (check->samples_len > 0) {
        qsort(check->samples, check->samples_len, sizeof check->samples[0], compare_samples);
    }
    for (size_t i = 0; i < check->samples_len; i++) {
        if (n > 0 && compare_samples(&check->samples[n - 1], &check->samples[i]) == 0) {
            free(check->samples[i].names);
        } else {
            check->samples[n++] = check->samples[i];
        }
    }
    check->samples_len = n;
}

/* ---- what they find --------------------------------------------------------------------------- */

static struct reached *reach(struct check *check, struct disc_str cluster)
{
    for (size_t i = 0; i < check->reached_len; i++) {
        if (disc_str_eq(check->reached[i].name, cluster)) {
            return &check->reached[i];
        }
    }
    if (check->reached_len == check->reached_cap) {
        check->reached_cap = 2 * check->reached_cap + 8;
        check->reached =
            memory_resize(check->reached, check->reached_cap, sizeof check->reached[0]);
    }
    struct reached *reached = &check->reached[check->reached_len++];
    memset(reached, 0, sizeof *reached);
    reached->name = cluster;
    return reached;
}

static void print_value(enum disc_field field, const union disc_value *value,
                        const struct disc_rule *from, char *out, size_t cap)
{
    char text[64];
    (void)disc_value_print(field, value, text, sizeof text);
    (void)snprintf(out, cap, "%s by %s", text, from ? from->key : "default");
}

static void warn(struct check *check, struct reached *reached, enum disc_field field,
                 const struct disc_resolution *resolution)
{
    char cluster[2 * DISC_NAME_ENCODED_MAX_BYTES + 2];
    char one[DISC_KEY_MAX_BYTES + 128], other[sizeof one], text[2 * sizeof one + 128];
    size_t len = disc_name_encode(check->callee, cluster, sizeof cluster / 2 - 1);
    cluster[len++] = '/';
    len += disc_name_encode(reached->name, cluster + len, sizeof cluster - len - 1);
    cluster[len] = '\0';
    print_value(field, &reached->value[field], reached->from[field], one, sizeof one);
    print_value(field, &resolution->value[field], resolution->from[field], other, sizeof other);
    (void)snprintf(
        text, sizeof text, "its calls disagree on %s: %s, %s; %s", disc_field_path(field), one,
        other,
        field == DISC_FIELD_POOL_MODE
            ? "those of different modes share no connection, but one limit, pool.max_connections"
        : field == DISC_FIELD_POOL_FRAMING
            ? "an endpoint speaks one of them alone, unless it looks at each connection"
            : "each applies its own to the connections that they share");
    check->fn(check->arg, cluster, text);
    reached->warned = true;
}

static bool has_endpoints(const struct check *check, struct disc_str cluster)
{
    const struct disc_view *view = disc_snapshot_view(check->snapshot, check->callee);
    return view && disc_view_cluster(view, cluster);
}

/* A call that is resolved so reaches the cluster. One without endpoints has nothing to share, but
 * where none at all are known they are in a place that is not read here. */
static void meet(struct check *check, struct disc_str cluster,
                 const struct disc_resolution *resolution)
{
    struct reached *reached = reach(check, cluster);
    if (check->has_endpoints && !has_endpoints(check, cluster)) {
        return;
    }
    if (!reached->met) {
        reached->met = true;
        memcpy(reached->value, resolution->value, sizeof reached->value);
        memcpy(reached->from, resolution->from, sizeof reached->from);
    }
    for (int i = 0; i < DISC_FIELD_MAX && !reached->warned; i++) {
        enum disc_field field = (enum disc_field)i;
        /* Those that are built are integers, enums among them. */
        if (is_pool(field) && reached->value[i].i != resolution->value[i].i) {
            warn(check, reached, field, resolution);
        }
    }
}

static void ask(struct check *check, const struct disc_tuple *tuple)
{
    struct disc_resolution resolution;
    disc_resolve(disc_snapshot_view(check->snapshot, tuple->name[DISC_TO]),
                 disc_snapshot_star(check->snapshot), tuple, &resolution);
    const struct disc_rule *traffic = resolution.traffic;
    for (uint32_t i = 0; traffic && i < traffic->traffic.n; i++) {
        if (traffic->traffic.targets[i].weight > 0) {
            meet(check, traffic->traffic.targets[i].cluster, &resolution);
        }
    }
    if (!traffic) {
        meet(check, tuple->name[DISC_TO_CLUSTER], &resolution);
    }
    struct disc_str fallback = resolution.value[DISC_FIELD_FALLBACK_CLUSTER].s;
    if (fallback.len > 0) {
        meet(check, fallback, &resolution);
    }
}

/* The samples from first to end, as calls of the callee at hand to this cluster. */
static void ask_all(struct check *check, size_t first, size_t end, struct disc_str cluster)
{
    for (size_t i = first; i < end && check->asked < ASKED_MAX; i++) {
        struct disc_tuple tuple = check->samples[i].tuple;
        struct disc_str *own = &tuple.name[DISC_TO_CLUSTER];
        if (own->len > 0 && !disc_str_eq(*own, cluster)) {
            continue;
        }
        *own = cluster;
        tuple.name[DISC_TO] = check->callee;
        ask(check, &tuple);
        check->asked++;
    }
}

/* The callee's own samples stand from first to end, those for any callee before any_end. */
static void check_callee(struct check *check, size_t any_end, size_t first, size_t end)
{
    check->callee = check->samples[first].tuple.name[DISC_TO];
    check->reached_len = 0;
    check->has_endpoints = false;
    (void)reach(check, disc_str_of("default", 7));
    for (size_t i = first; i < end; i++) {
        struct disc_str cluster = check->samples[i].tuple.name[DISC_TO_CLUSTER];
        if (cluster.len > 0) {
            (void)reach(check, cluster);
            check->has_endpoints = check->has_endpoints || has_endpoints(check, cluster);
        }
    }
    for (size_t c = 0; c < check->reached_len; c++) { /* traffic rules may add some */
        struct disc_str cluster = check->reached[c].name;
        ask_all(check, first, end, cluster);
        ask_all(check, 0, any_end, cluster);
    }
}

static void check_callees(struct check *check)
{
    size_t any_end = 0;
    while (any_end < check->samples_len && check->samples[any_end].tuple.name[DISC_TO].len == 0) {
        any_end++;
    }
    for (size_t first = any_end, end; first < check->samples_len; first = end) {
        struct disc_str callee = check->samples[first].tuple.name[DISC_TO];
        end = first + 1;
        while (end < check->samples_len &&
               disc_str_eq(check->samples[end].tuple.name[DISC_TO], callee)) {
            end++;
        }
        check_callee(check, any_end, first, end);
    }
    if (check->asked >= ASKED_MAX) {
        check->fn(check->arg, "pool", "too many keys to tell for all clusters whether calls agree");
    }
}

void check_pool(const struct disc_store *store, const struct disc_snapshot *snapshot,
                check_pool_fn fn, void *arg)
{
    struct check check = {.snapshot = snapshot, .fn = fn, .arg = arg};
    for (int layer = 0; layer < DISC_LAYERS; layer++) {
        disc_store_each_raw(store, (enum disc_layer)layer, NULL, add_key, &check);
    }
    sort_samples(&check);
    check_callees(&check);
    for (size_t i = 0; i < check.samples_len; i++) {
        free(check.samples[i].names);
    }
    free(check.samples);
    free(check.reached);
}
