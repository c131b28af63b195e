/*
 * discovery/rules/rule.c: the tables behind rule.def, and a rule's count.
 *
 * Any thread: the tables are constant, and a rule is immutable but for its count.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/rule.h"

#include "discovery/rules/rule_table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum state { NOT_YET = 0, BUILT = 1 };

/* rule.def names enum defaults without our prefix. */
enum default_name {
#define ENUM(table, id, text, state) id = DISC_##id,
#include "discovery/rules/rule.def"
};

const struct rule_field_row rule_fields[DISC_FIELD_MAX] = {
#define FIELD(id, path, type, min, max, def, order, state, test, meaning)                          \
    {path, RULE_TYPE_##type, min, max, (double)(def), DISC_ORDER_##order, state},
#include "discovery/rules/rule.def"
};

const struct rule_enum_row rule_enums[DISC_ENUM_MAX] = {
#define ENUM(table, id, text, state) {RULE_TYPE_ENUM_##table, text, state},
#include "discovery/rules/rule.def"
};

static const struct disc_ranges default_base_resp = {.n = 1, .range = {{500, 599}}};

const char *disc_kind_str(enum disc_kind kind)
{
    static const char *const names[DISC_KINDS] = {"traffic", "degrade", "config"};
    return (unsigned)kind < DISC_KINDS ? names[kind] : "?";
}

const char *disc_field_path(enum disc_field field)
{
    return (unsigned)field < DISC_FIELD_MAX ? rule_fields[field].path : "?";
}

bool disc_field_is_built(enum disc_field field)
{
    return (unsigned)field < DISC_FIELD_MAX && rule_fields[field].built;
}

enum disc_order disc_field_order(enum disc_field field)
{
    return (unsigned)field < DISC_FIELD_MAX ? rule_fields[field].order : DISC_ORDER_CALLER;
}

const char *disc_order_str(enum disc_order order)
{
    static const char *const names[DISC_ORDER_MAX] = {"caller", "callee"};
    return (unsigned)order < DISC_ORDER_MAX ? names[order] : "?";
}

/* "p2c", "round_robin", ... */
static const char *enum_str(enum disc_enum value)
{
    return (unsigned)value < DISC_ENUM_MAX ? rule_enums[value].text : "?";
}

union disc_value disc_field_default(enum disc_field field)
{
    union disc_value value = {.i = 0};
    assert((unsigned)field < DISC_FIELD_MAX);
    const struct rule_field_row *row = &rule_fields[field];
    switch (row->type) {
    case RULE_TYPE_SHARE:
        value.d = row->def;
        break;
    case RULE_TYPE_CLUSTER:
        value.s = disc_str_of("", 0);
        break;
    case RULE_TYPE_BY:
        value.s = disc_str_of_z("log_id");
        break;
    case RULE_TYPE_RANGES:
        value.ranges = field == DISC_FIELD_FAILURES_BASE_RESP ? &default_base_resp : NULL;
        break;
    default:
        value.i = (int64_t)row->def;
        break;
    }
    return value;
}

/* Appends to out[*n] within cap; what does not fit is cut. */
static void append(char *out, size_t cap, size_t *n, const char *text, size_t len)
{
    size_t room = cap - 1 - *n;
    size_t take = len < room ? len : room;
    memcpy(out + *n, text, take);
    *n += take;
    out[*n] = '\0';
}

/* A name as a JSON string: it came out of one, so it is UTF-8 without NUL. */
static void append_string(char *out, size_t cap, size_t *n, struct disc_str s)
{
    append(out, cap, n, "\"", 1);
    for (uint32_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char text[8];
        if (c == '"' || c == '\\') {
            (void)snprintf(text, sizeof text, "\\%c", c);
        } else if (c < 0x20) {
            (void)snprintf(text, sizeof text, "\\u%04x", c);
        } else {
            text[0] = (char)c;
            text[1] = '\0';
        }
        append(out, cap, n, text, strlen(text));
    }
    append(out, cap, n, "\"", 1);
}

static void append_ranges(char *out, size_t cap, size_t *n, const struct disc_ranges *ranges)
{
    append(out, cap, n, "[", 1);
    for (uint32_t i = 0; ranges != NULL && i < ranges->n; i++) {
        char text[40];
        (void)snprintf(text, sizeof text, "%s[%" PRId32 ",%" PRId32 "]", i > 0 ? "," : "",
                       ranges->range[i].low, ranges->range[i].high);
        append(out, cap, n, text, strlen(text));
    }
    append(out, cap, n, "]", 1);
}

/* ["connect","reset"] */
static void append_set(char *out, size_t cap, size_t *n, enum rule_type type, int64_t bits)
{
    append(out, cap, n, "[", 1);
    for (int i = 0; i < DISC_ENUM_MAX; i++) {
        if (rule_enums[i].type != type) {
            continue;
        }
        if (bits & 1) {
            append(out, cap, n, ",", out[*n - 1] != '[');
            append_string(out, cap, n, disc_str_of_z(rule_enums[i].text));
        }
        bits >>= 1;
    }
    append(out, cap, n, "]", 1);
}

size_t disc_value_print(enum disc_field field, const union disc_value *value, char *out, size_t cap)
{
    char text[48] = "null";
    size_t n = 0;
    if (cap == 0) {
        return 0;
    }
    out[0] = '\0';
    switch ((unsigned)field < DISC_FIELD_MAX ? rule_fields[field].type : RULE_TYPE_MAX) {
    case RULE_TYPE_INT:
        (void)snprintf(text, sizeof text, "%" PRId64, value->i);
        break;
    case RULE_TYPE_DELAY:
        (void)snprintf(text, sizeof text, value->i < 0 ? "\"p%" PRId64 "\"" : "%" PRId64,
                       value->i < 0 ? -value->i : value->i);
        break;
    case RULE_TYPE_SET_RETRY_ON:
        append_set(out, cap, &n, RULE_TYPE_ENUM_RETRY_ON, value->i);
        return n;
    case RULE_TYPE_BOOL:
        (void)snprintf(text, sizeof text, "%s", value->i != 0 ? "true" : "false");
        break;
    case RULE_TYPE_SHARE:
        (void)snprintf(text, sizeof text, "%.10g", value->d);
        break;
    case RULE_TYPE_CLUSTER:
    case RULE_TYPE_BY:
        append_string(out, cap, &n, value->s);
        return n;
    case RULE_TYPE_RANGES:
        append_ranges(out, cap, &n, value->ranges);
        return n;
    case RULE_TYPE_ENUM_LB:
    case RULE_TYPE_ENUM_POOL_MODE:
    case RULE_TYPE_ENUM_POOL_FRAMING:
    case RULE_TYPE_ENUM_ACCESS:
    case RULE_TYPE_ENUM_RATE_SCOPE:
        (void)snprintf(text, sizeof text, "\"%s\"", enum_str((enum disc_enum)value->i));
        break;
    default:
        break;
    }
    append(out, cap, &n, text, strlen(text));
    return n;
}

struct disc_rule *disc_rule_ref(struct disc_rule *rule)
{
    if (rule != NULL) {
        refcount_ref(&rule->refs);
    }
    return rule;
}

struct disc_rule *disc_rule_unref(struct disc_rule *rule)
{
    if (rule != NULL && refcount_unref(&rule->refs)) {
        free(rule); /* one block, see rule_parse.c */
    }
    return NULL;
}
