/*
 * discovery/rules/rule_draft.h: a rule while it is parsed; rule_parse.c freezes it into one block.
 *
 * Strings are borrowed from the JSON tree. Private to rule_parse.c, rule_traffic.c, rule_degrade.c
 * and rule_config.c.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_RULES_RULE_DRAFT_H
#define TSIDE_DISCOVERY_RULES_RULE_DRAFT_H

#include "discovery/base/json_value.h"
#include "discovery/rules/rule.h"

#define RULE_DRAFT_RANGES 4 /* RANGES fields in rule.def, at most */

#define RULE_BY_MAX_BYTES (6 + DISC_NAME_MAX_BYTES) /* "extra:" and a key */

struct rule_draft_target {
    struct disc_str name; /* as written */
    struct disc_str cluster;
    struct disc_str zone;
    uint32_t weight;
};

struct rule_draft {
    struct disc_by by; /* traffic, degrade */

    uint32_t targets_n;
    struct rule_draft_target targets[LB_SPLIT_ENTRIES_MAX];

    uint32_t percent_e2;
    enum disc_reply_kind reply;
    uint8_t *body; /* malloc'd */
    size_t body_len;

    uint32_t items_n;
    struct disc_config_item items[DISC_FIELD_MAX];
    uint32_t ranges_n;
    struct disc_ranges ranges[RULE_DRAFT_RANGES];
};

/* False with *error filled. */
bool rule_draft_traffic(struct rule_draft *draft, const json_t *root, struct disc_error *error);
bool rule_draft_degrade(struct rule_draft *draft, const json_t *root,
                        const struct codec_templates *templates, struct disc_error *error);
bool rule_draft_config(struct rule_draft *draft, const json_t *root, struct disc_error *error);

/* `by` of traffic and degrade; value NULL (absent) is `random`. */
bool rule_draft_by(struct disc_by *by, const json_t *value, struct disc_error *error);

#endif
