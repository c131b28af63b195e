/*
 * discovery/rules/rule_config.c: the value of a `config` key against rule.def.
 *
 * Objects are flattened: {"pool": {"max_idle": 1}} sets the field pool.max_idle. A field that is
 * not built yet is refused whatever its value: to take it and do nothing would be a lie.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/rule_draft.h"

#include "discovery/rules/rule_table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 128

/* "p2c" or "random" or ... */
static void list_words(enum rule_type table, const char *what, char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "%s", what);
    const char * or = "";
    for (int i = 0; i < DISC_ENUM_MAX && n < cap; i++) {
        if (rule_enums[i].type == table && rule_enums[i].built) {
            n += (size_t)snprintf(out + n, cap - n, "%s\"%s\"", or, rule_enums[i].text);
            or = " or ";
        }
    }
}

/* One value of an enum table; what stands in front of the list of those that it may be. */
static bool parse_word(const struct rule_field_row *row, enum rule_type table, const char *what,
                       const json_t *value, int64_t *ret, struct disc_error *error)
{
    const char *text = json_string_value(value);
    char list[160];
    for (int i = 0; text && i < DISC_ENUM_MAX; i++) {
        const struct rule_enum_row *entry = &rule_enums[i];
        if (entry->type != table || strcmp(text, entry->text) != 0) {
            continue;
        }
        if (!entry->built) {
            json_value_refuse(error, row->path, "not yet: \"%s\"", entry->text);
            return false;
        }
        *ret = i;
        return true;
    }
    list_words(table, what, list, sizeof list);
    json_value_wrong(error, row->path, list, value);
    return false;
}

static bool parse_set(const struct rule_field_row *row, enum rule_type table, enum disc_enum first,
                      const json_t *value, union disc_value *ret, struct disc_error *error)
{
    static const char what[] = "a list of ";
    int64_t word = 0;
    char list[160];
    if (!json_is_array(value)) {
        list_words(table, what, list, sizeof list);
        json_value_wrong(error, row->path, list, value);
        return false;
    }
    ret->i = 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!parse_word(row, table, what, json_array_get(value, i), &word, error)) {
            return false;
        }
        assert(word >= (int64_t)first &&
               word - (int64_t)first < 32); /* its table's rows are neighbours */
        ret->i |= DISC_SET_BIT(word, first);
    }
    return true;
}

static bool parse_delay(const struct rule_field_row *row, const json_t *value,
                        union disc_value *ret, struct disc_error *error)
{
    const char *text = json_string_value(value);
    if (text && strcmp(text, "p95") == 0) {
        ret->i = DISC_DELAY_P95;
        return true;
    }
    if (text && strcmp(text, "p99") == 0) {
        ret->i = DISC_DELAY_P99;
        return true;
    }
    if (text) {
        json_value_wrong(error, row->path, "a number of milliseconds, \"p95\" or \"p99\"", value);
        return false;
    }
    return json_value_int(value, row->path, row->min, row->max, &ret->i, error);
}

static bool parse_range(const json_t *pair, const char *path, struct disc_ranges *ranges,
                        struct disc_error *error)
{
    const json_t *low = json_array_get(pair, 0);
    const json_t *high = json_array_get(pair, 1);
    if (!json_is_array(pair) || json_array_size(pair) != 2 || !json_is_integer(low) ||
        !json_is_integer(high) || json_integer_value(low) < INT32_MIN ||
        json_integer_value(high) > INT32_MAX ||
        json_integer_value(low) > json_integer_value(high)) {
        json_value_wrong(error, path, "a list of pairs [low, high] of 32-bit integers", pair);
        return false;
    }
    ranges->range[ranges->n].low = (int32_t)json_integer_value(low);
    ranges->range[ranges->n].high = (int32_t)json_integer_value(high);
    ranges->n++;
    return true;
}

static bool parse_ranges(struct rule_draft *draft, const struct rule_field_row *row,
                         const json_t *value, union disc_value *ret, struct disc_error *error)
{
    assert(draft->ranges_n < RULE_DRAFT_RANGES);
    struct disc_ranges *ranges = &draft->ranges[draft->ranges_n++];
    ranges->n = 0;
    if (!json_is_array(value)) {
        json_value_wrong(error, row->path, "a list of pairs [low, high] of 32-bit integers", value);
        return false;
    }
    if (json_array_size(value) > DISC_RANGES_MAX) {
        json_value_refuse(error, row->path, "must have at most %d pairs, has %zu", DISC_RANGES_MAX,
                          json_array_size(value));
        return false;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!parse_range(json_array_get(value, i), row->path, ranges, error)) {
            return false;
        }
    }
    ret->ranges = ranges;
    return true;
}

static bool parse_cluster(const struct rule_field_row *row, const json_t *value,
                          union disc_value *ret, struct disc_error *error)
{
    const char *name = json_string_value(value);
    size_t len = json_string_length(value);
    /* "" is allowed: it takes a fallback of a less specific key back. */
    if (name == NULL || len > DISC_NAME_MAX_BYTES || strcmp(name, "-") == 0 ||
        strcmp(name, "*") == 0 || strchr(name, '@') != NULL) {
        json_value_wrong(error, row->path, "a cluster's name of at most 256 bytes (no zone)",
                         value);
        return false;
    }
    ret->s = disc_str_of(name, len);
    return true;
}

/* Kept as text: a rule's value is small, and a route reads it once. */
static bool parse_by(const struct rule_field_row *row, const json_t *value, union disc_value *ret,
                     struct disc_error *error)
{
    static const char what[] =
        "\"log_id\", \"caller\" or \"extra:<key>\" with a key of 1..256 bytes";
    struct disc_by by = {DISC_BY_RANDOM, disc_str_of("", 0)};
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    if (text == NULL || len > RULE_BY_MAX_BYTES || !disc_by_parse(disc_str_of(text, len), &by) ||
        by.kind == DISC_BY_RANDOM) {
        json_value_wrong(error, row->path, what, value);
        return false;
    }
    ret->s = disc_str_of(text, len);
    return true;
}

static bool parse_share(const struct rule_field_row *row, const json_t *value,
                        union disc_value *ret, struct disc_error *error)
{
    double d = json_number_value(value);
    if (!json_is_number(value) || !(d >= (double)row->min && d <= (double)row->max)) {
        char what[64];
        (void)snprintf(what, sizeof what, "a number %" PRId64 "..%" PRId64, row->min, row->max);
        json_value_wrong(error, row->path, what, value);
        return false;
    }
    ret->d = d;
    return true;
}

static bool parse_field(struct rule_draft *draft, enum disc_field field, const json_t *value,
                        struct disc_error *error)
{
    const struct rule_field_row *row = &rule_fields[field];
    struct disc_config_item *item = &draft->items[draft->items_n];
    bool ok = false;
    if (!row->built) {
        json_value_refuse(error, row->path, "not yet: %s", row->path);
        return false;
    }
    item->field = field;
    memset(&item->value, 0, sizeof item->value);
    switch (row->type) {
    case RULE_TYPE_INT:
        ok = json_value_int(value, row->path, row->min, row->max, &item->value.i, error);
        break;
    case RULE_TYPE_SHARE:
        ok = parse_share(row, value, &item->value, error);
        break;
    case RULE_TYPE_BOOL:
        ok = json_is_boolean(value);
        item->value.i = json_is_true(value);
        if (!ok) {
            json_value_wrong(error, row->path, "true or false", value);
        }
        break;
    case RULE_TYPE_CLUSTER:
        ok = parse_cluster(row, value, &item->value, error);
        break;
    case RULE_TYPE_BY:
        ok = parse_by(row, value, &item->value, error);
        break;
    case RULE_TYPE_RANGES:
        ok = parse_ranges(draft, row, value, &item->value, error);
        break;
    case RULE_TYPE_ENUM_LB:
    case RULE_TYPE_ENUM_POOL_MODE:
    case RULE_TYPE_ENUM_POOL_FRAMING:
    case RULE_TYPE_ENUM_ACCESS:
    case RULE_TYPE_ENUM_RATE_SCOPE:
        ok = parse_word(row, row->type, "", value, &item->value.i, error);
        break;
    case RULE_TYPE_SET_RETRY_ON:
        ok = parse_set(row, RULE_TYPE_ENUM_RETRY_ON, DISC_RETRY_ON_CONNECT, value, &item->value,
                       error);
        break;
    case RULE_TYPE_DELAY:
        ok = parse_delay(row, value, &item->value, error);
        break;
    default: /* a row of rule.def says BUILT and has a type that this parser does not know */
        json_value_refuse(error, row->path, "not yet: %s", row->path);
        break;
    }
    draft->items_n += ok;
    return ok;
}

/* Looks path up: a field, or the name of an object that holds fields. */
static int find_field(const char *path)
{
    for (int i = 0; i < DISC_FIELD_MAX; i++) {
        if (strcmp(rule_fields[i].path, path) == 0) {
            return i;
        }
    }
    return -1;
}

static bool is_object_of_fields(const char *path, bool *ret_built)
{
    size_t len = strlen(path);
    bool found = false;
    *ret_built = false;
    for (int i = 0; i < DISC_FIELD_MAX; i++) {
        if (strncmp(rule_fields[i].path, path, len) == 0 && rule_fields[i].path[len] == '.') {
            found = true;
            *ret_built = *ret_built || rule_fields[i].built;
        }
    }
    return found;
}

/* The names that may stand where name stood, each once; returns their number. */
static size_t names_at(const char *prefix, char names[][PATH_MAX_BYTES],
                       const char *known[DISC_FIELD_MAX])
{
    size_t len = strlen(prefix);
    size_t n = 0;
    for (int i = 0; i < DISC_FIELD_MAX; i++) {
        if (strncmp(rule_fields[i].path, prefix, len) != 0) {
            continue;
        }
        const char *rest = rule_fields[i].path + len;
        (void)snprintf(names[n], PATH_MAX_BYTES, "%.*s", (int)strcspn(rest, "."), rest);
        if (n == 0 || strcmp(names[n], names[n - 1]) != 0) { /* rows of an object are neighbours */
            known[n] = names[n];
            n++;
        }
    }
    return n;
}

static void refuse_unknown(const char *prefix, const char *name, struct disc_error *error)
{
    char names[DISC_FIELD_MAX][PATH_MAX_BYTES];
    const char *known[DISC_FIELD_MAX];
    char path[PATH_MAX_BYTES];
    (void)snprintf(path, sizeof path, "%s%s", prefix, name);
    for (int i = 0; i < DISC_FIELD_MAX; i++) {
        /* Right name, wrong place: "max_idle", or "pool.max_idle" as one name. */
        const char *dot = strchr(rule_fields[i].path, '.');
        if (dot != NULL && (strcmp(dot + 1, name) == 0 || strcmp(rule_fields[i].path, name) == 0)) {
            json_value_refuse(error, path, "unknown field, did you mean {\"%.*s\": {\"%s\": ...}}?",
                              (int)(dot - rule_fields[i].path), rule_fields[i].path, dot + 1);
            return;
        }
    }
    json_value_unknown(error, path, name, known, names_at(prefix, names, known));
}

/* The members of one object; prefix is "" or "pool.". */
static bool parse_object(struct rule_draft *draft, const char *prefix, const json_t *object,
                         struct disc_error *error)
{
    const char *name;
    json_t *value;
    json_t *members = (json_t *)(uintptr_t)object; /* jansson's iterators know no const */
    json_object_foreach(members, name, value)
    {
        char path[PATH_MAX_BYTES];
        bool built = false;
        int len = snprintf(path, sizeof path, "%s%s", prefix, name);
        bool known = len < (int)sizeof path && strchr(name, '.') == NULL;
        int field = known ? find_field(path) : -1;
        if (field >= 0) {
            if (!parse_field(draft, (enum disc_field)field, value, error)) {
                return false;
            }
        } else if (known && is_object_of_fields(path, &built)) {
            if (!built && (!json_is_object(value) || json_object_size(value) == 0)) {
                json_value_refuse(error, path, "not yet: %s", path);
                return false;
            }
            if (!json_is_object(value)) {
                json_value_wrong(error, path, "an object", value);
                return false;
            }
            (void)snprintf(path + len, sizeof path - (size_t)len, ".");
            if (!parse_object(draft, path, value, error)) {
                return false;
            }
        } else {
            refuse_unknown(prefix, name, error);
            return false;
        }
    }
    return true;
}

static int compare_items(const void *a, const void *b)
{
    const struct disc_config_item *left = a;
    const struct disc_config_item *right = b;
    return (left->field > right->field) - (left->field < right->field);
}

bool rule_draft_config(struct rule_draft *draft, const json_t *root, struct disc_error *error)
{
    if (!json_is_object(root)) {
        json_value_wrong(error, "", "an object", root);
        return false;
    }
    if (!parse_object(draft, "", root, error)) {
        return false;
    }
    qsort(draft->items, draft->items_n, sizeof draft->items[0], compare_items);
    return true;
}
