/*
 * discovery/rules/rule_table.h: rule.def as a table, for rule.c and the parser. Private to
 * discovery.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_RULES_RULE_TABLE_H
#define TSIDE_DISCOVERY_RULES_RULE_TABLE_H

#include "discovery/rules/rule.h"

enum rule_type {
    RULE_TYPE_INT = 0,
    RULE_TYPE_SHARE,
    RULE_TYPE_BOOL,
    RULE_TYPE_CLUSTER,
    RULE_TYPE_BY,
    RULE_TYPE_RANGES,
    RULE_TYPE_DELAY,
    RULE_TYPE_SET_RETRY_ON, /* values of RULE_TYPE_ENUM_RETRY_ON */
    RULE_TYPE_ENUM_LB,
    RULE_TYPE_ENUM_POOL_MODE,
    RULE_TYPE_ENUM_POOL_FRAMING,
    RULE_TYPE_ENUM_ACCESS,
    RULE_TYPE_ENUM_RATE_SCOPE,
    RULE_TYPE_ENUM_RETRY_ON,
    /* Types that only NOT_YET fields have: never parsed. */
    RULE_TYPE_OBJECT,
    RULE_TYPE_MAX
};

struct rule_field_row {
    const char *path;
    enum rule_type type;
    int64_t min;
    int64_t max;
    double def;
    enum disc_order order;
    bool built;
};

struct rule_enum_row {
    enum rule_type type;
    const char *text;
    bool built;
};

extern const struct rule_field_row rule_fields[DISC_FIELD_MAX];
extern const struct rule_enum_row rule_enums[DISC_ENUM_MAX];

#endif
