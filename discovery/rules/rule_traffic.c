/*
 * discovery/rules/rule_traffic.c: the value of a `traffic` key, and `by`.
 *
 * The short form is {"default": 90, "canary": 10}; the long one {"clusters": {...}, "by": "..."}.
 * Where every value is an integer the form is short, so clusters may be named "clusters" or "by".
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/rule_draft.h"

#include <stdlib.h>
#include <string.h>

bool disc_by_parse(struct disc_str text, struct disc_by *ret)
{
    static const char extra[] = "extra:";
    const uint32_t skip = sizeof extra - 1;
    const struct {
        const char *text;
        enum disc_by_kind kind;
    } kinds[] = {
        {"random", DISC_BY_RANDOM}, {"log_id", DISC_BY_LOG_ID}, {"caller", DISC_BY_CALLER}};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (disc_str_eq(text, disc_str_of_z(kinds[i].text))) {
            *ret = (struct disc_by){kinds[i].kind, disc_str_of("", 0)};
            return true;
        }
    }
    if (text.len <= skip || text.len > skip + DISC_NAME_MAX_BYTES ||
        memcmp(text.p, extra, skip) != 0) {
        return false;
    }
    *ret = (struct disc_by){DISC_BY_EXTRA, disc_str_of(text.p + skip, text.len - skip)};
    return true;
}

bool rule_draft_by(struct disc_by *by, const json_t *value, struct disc_error *error)
{
    static const char what[] =
        "\"random\", \"log_id\", \"caller\" or \"extra:<key>\" with a key of "
        "1..256 bytes";
    const char *text = value != NULL ? json_string_value(value) : "random";
    size_t len = value != NULL ? json_string_length(value) : strlen(text);
    if (text != NULL && len <= RULE_BY_MAX_BYTES && disc_by_parse(disc_str_of(text, len), by)) {
        return true;
    }
    json_value_wrong(error, "by", what, value);
    return false;
}

/* "cluster" or "cluster@zone". */
static bool parse_target(struct rule_draft_target *target, const char *name, const json_t *weight,
                         struct disc_error *error)
{
    size_t len = strlen(name);
    const char *at = strrchr(name, '@');
    int64_t value = 0;
    target->name = disc_str_of(name, len);
    target->cluster = disc_str_of(name, at != NULL ? (size_t)(at - name) : len);
    target->zone =
        at != NULL ? disc_str_of(at + 1, len - (size_t)(at + 1 - name)) : disc_str_of("", 0);
    if (target->cluster.len == 0 || target->cluster.len > DISC_NAME_MAX_BYTES ||
        target->zone.len > DISC_NAME_MAX_BYTES || (at != NULL && target->zone.len == 0) ||
        (target->cluster.len == 1 && strchr("-*", name[0]) != NULL)) {
        json_value_refuse(error, name,
                          "is no cluster's name: must be <cluster> or "
                          "<cluster>@<zone>, each of 1..256 bytes");
        return false;
    }
    if (!json_value_int(weight, name, 0, LB_WEIGHT_MAX, &value, error)) {
        return false;
    }
    target->weight = (uint32_t)value;
    return true;
}

static int compare_targets(const void *a, const void *b)
{
    const struct rule_draft_target *left = a;
    const struct rule_draft_target *right = b;
    return strcmp(left->name.p, right->name.p); /* JSON names hold no NUL */
}

static bool parse_clusters(struct rule_draft *draft, json_t *clusters, struct disc_error *error)
{
    const char *name;
    json_t *weight;
    uint64_t total = 0;
    if (json_object_size(clusters) > LB_SPLIT_ENTRIES_MAX) {
        json_value_refuse(error, "", "must name at most %d clusters, names %zu",
                          LB_SPLIT_ENTRIES_MAX, json_object_size(clusters));
        return false;
    }
    json_object_foreach(clusters, name, weight)
    {
        if (!parse_target(&draft->targets[draft->targets_n], name, weight, error)) {
            return false;
        }
        total += draft->targets[draft->targets_n++].weight;
    }
    if (total == 0) {
        json_value_refuse(error, "",
                          draft->targets_n == 0 ? "must name at least one cluster"
                                                : "weights must not all be 0");
        return false;
    }
    qsort(draft->targets, draft->targets_n, sizeof draft->targets[0], compare_targets);
    return true;
}

static bool is_short_form(json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (!json_is_integer(value)) {
            /* Not a weight: a mistake in the short form, unless it is the long form's field. */
            return json_object_get(object, "clusters") == NULL &&
                   json_object_get(object, "by") == NULL;
        }
    }
    return true;
}

static bool parse_long_form(struct rule_draft *draft, json_t *object, struct disc_error *error)
{
    static const char *const known[] = {"clusters", "by"};
    const char *name;
    json_t *value;
    json_t *clusters = json_object_get(object, "clusters");
    json_object_foreach(object, name, value)
    {
        if (json_value_index(name, known, 2) < 0) {
            json_value_unknown(error, name, name, known, 2);
            return false;
        }
    }
    if (!json_is_object(clusters)) {
        if (clusters == NULL) {
            json_value_refuse(error, "clusters", "is missing");
        } else {
            json_value_wrong(error, "clusters", "an object of weights", clusters);
        }
        return false;
    }
    return rule_draft_by(&draft->by, json_object_get(object, "by"), error) &&
           parse_clusters(draft, clusters, error);
}

bool rule_draft_traffic(struct rule_draft *draft, const json_t *root, struct disc_error *error)
{
    json_t *object = (json_t *)(uintptr_t)root; /* jansson's iterators know no const */
    if (!json_is_object(root)) {
        json_value_wrong(error, "", "an object of weights", root);
        return false;
    }
    if (!is_short_form(object)) {
        return parse_long_form(draft, object, error);
    }
    return parse_clusters(draft, object, error);
}
