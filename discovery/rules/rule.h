/*
 * discovery/rules/rule.h: one rule: a key's tuple pattern, its kind and its compiled value.
 *
 * Immutable once parsed, shared by views and by cached routes on any thread, counted. A rule is one
 * block of memory, cut to what its kind needs: never copy one by value. Parsing is strict: an
 * unknown field, a wrong type, a value out of range or a field of a later version rejects the whole
 * key with an error that names field, value and range.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_RULES_RULE_H
#define TSIDE_DISCOVERY_RULES_RULE_H

#include "codec/templates.h"
#include "discovery/base/error.h"
#include "discovery/base/refcount.h"
#include "discovery/rules/tuple.h"
#include "lb/split.h"

#define DISC_VALUE_MAX_BYTES 65536 /* a rule's JSON text */

enum disc_kind { DISC_TRAFFIC = 0, DISC_DEGRADE, DISC_CONFIG, DISC_KINDS };

/* "traffic", "degrade", "config": the last part of the key. */
const char *disc_kind_str(enum disc_kind kind);

/* ---- config ------------------------------------------------------------------------------- */

enum disc_field {
#define FIELD(id, path, type, min, max, def, order, state, test, meaning) DISC_FIELD_##id,
#include "discovery/rules/rule.def"
    DISC_FIELD_MAX
};

/* Which of the keys that set a field wins: the names are compared in this order, and the first place
 * where a name stands against "*" decides. */
enum disc_order {
    DISC_ORDER_CALLER = 0, /* From, FromCluster, To, ToCluster, Method */
    DISC_ORDER_CALLEE,     /* To, ToCluster, Method, From, FromCluster */
    DISC_ORDER_MAX
};

const char *disc_order_str(enum disc_order order); /* "caller", "callee" */

/* Values of the enum types, in the order of rule.def, one enum for all tables. */
enum disc_enum {
#define ENUM(table, id, text, state) DISC_##id,
#include "discovery/rules/rule.def"
    DISC_ENUM_MAX
};

/* A DELAY that is a percentile of the latencies measured, not a number of milliseconds. */
#define DISC_DELAY_P95 (-95)
#define DISC_DELAY_P99 (-99)

/* The bit of a value in a SET of its enum table, whose first value this is. */
#define DISC_SET_BIT(value, first) (1u << ((unsigned)(value) - (unsigned)(first)))

#define DISC_RANGES_MAX 32
struct disc_ranges {
    uint32_t n;
    struct {
        int32_t low;
        int32_t high;
    } range[DISC_RANGES_MAX];
};

/* Which member holds depends on the field's type: i for INT, BOOL (0/1), enums (enum disc_enum), SET (DISC_SET_BIT
 * of each value) and DELAY (milliseconds or DISC_DELAY_...),
 * d for SHARE, s for CLUSTER ("" is none) and BY (as written), ranges for RANGES (NULL is none). Pointers are borrowed
 * from the rule. */
union disc_value {
    int64_t i;
    double d;
    struct disc_str s;
    const struct disc_ranges *ranges;
};

struct disc_config_item {
    enum disc_field field;
    union disc_value value;
};

struct disc_config {
    uint32_t n;
    struct disc_config_item *items; /* the fields that the rule sets, ascending */
};

/* The built-in default of a field. */
union disc_value disc_field_default(enum disc_field field);
const char *disc_field_path(enum disc_field field);
bool disc_field_is_built(enum disc_field field);
enum disc_order disc_field_order(enum disc_field field);
/* The value as JSON text ("100", "true", "\"p2c\"", "[[500,599]]"), NUL-terminated, cut at cap;
 * returns the length written. NOT_YET fields print their default as well. */
size_t disc_value_print(enum disc_field field, const union disc_value *value, char *out,
                        size_t cap);

/* ---- traffic and degrade ------------------------------------------------------------------ */

enum disc_by_kind { DISC_BY_RANDOM = 0, DISC_BY_LOG_ID, DISC_BY_CALLER, DISC_BY_EXTRA };

struct disc_by {
    enum disc_by_kind kind;
    struct disc_str extra_key; /* for EXTRA */
};

/* "random", "log_id", "caller" or "extra:<key>" with a key of 1..256 bytes; *ret borrows from text.
 * False: none of them. */
bool disc_by_parse(struct disc_str text, struct disc_by *ret) __attribute__((warn_unused_result));

struct disc_target {
    struct disc_str cluster; /* "default" of "default@lf" */
    struct disc_str zone;    /* "lf"; length 0: any */
    uint32_t weight;
};

struct disc_traffic {
    struct disc_by by;
    uint32_t n;
    struct disc_target *targets; /* sorted by the name as written */
    struct lb_split split; /* entry i is targets[i]; last: its memory ends behind entry n - 1 */
};

enum disc_reply_kind {
    DISC_REPLY_DEFAULT = 0, /* no `reply`: an exception with the default message */
    DISC_REPLY_EXCEPTION,
    DISC_REPLY_BASE_RESP,
    DISC_REPLY_VOID,
    DISC_REPLY_RESULT
};

struct disc_degrade {
    struct disc_by by;
    uint32_t percent_e2; /* hundredths of a percent: 0..10000 */
    enum disc_reply_kind reply;
    uint8_t *body; /* the struct behind the message header; NULL for DEFAULT */
    size_t body_len;
};

/* ---- rule --------------------------------------------------------------------------------- */

struct disc_rule {
    struct refcount refs;
    enum disc_kind kind;
    int64_t mod_revision; /* 0: the embedded source */
    char *key;            /* as etcd holds it, prefix and all; NUL-terminated */
    char *text;           /* the value as written; NUL-terminated */
    union {
        struct disc_traffic traffic;
        struct disc_degrade degrade;
        struct disc_config config;
    };
};

/*
 * Parses a value. key is copied, text too. templates encode degrade replies and are only used here.
 * NULL on refusal, with *ret_error filled (out of memory is a refusal, too).
 */
struct disc_rule *disc_rule_parse(enum disc_kind kind, const char *key, const char *text,
                                  size_t text_len, int64_t mod_revision,
                                  const struct codec_templates *templates,
                                  struct disc_error *ret_error);

struct disc_rule *disc_rule_ref(struct disc_rule *rule);
struct disc_rule *disc_rule_unref(struct disc_rule *rule); /* NULL */

#endif
