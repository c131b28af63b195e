/*
 * discovery/store/rule_merge.c: which rule wins (docs/specification.md, section 2).
 *
 * Patterns in ascending order are keys in order of precedence: From is the highest bit, and a name
 * (0) comes before "*" (1). So one walk from 0 to 31 meets the winners first. Real calls and
 * `explain` both come through here.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/store/view_probe.h"

#include <assert.h>
#include <string.h>

static void merge_config(const struct disc_rule *rule, struct disc_resolution *ret)
{
    if (ret->config == NULL && rule->config.n > 0) {
        ret->config = rule;
    }
    for (uint32_t i = 0; i < rule->config.n; i++) {
        const struct disc_config_item *item = &rule->config.items[i];
        if (ret->from[item->field] == NULL) {
            ret->from[item->field] = rule;
            ret->value[item->field] = item->value;
        }
    }
}

static void add_candidate(const struct disc_entry *entry, uint32_t pattern,
                          struct disc_resolution *ret)
{
    const struct disc_rule *config = entry->slot[DISC_CONFIG].rule;
    assert(ret->candidates_len < DISC_PATTERNS);
    ret->candidates[ret->candidates_len].pattern = pattern;
    ret->candidates[ret->candidates_len].entry = entry;
    ret->candidates_len++;
    if (ret->traffic == NULL) {
        ret->traffic = entry->slot[DISC_TRAFFIC].rule;
    }
    if (ret->degrade == NULL) {
        ret->degrade = entry->slot[DISC_DEGRADE].rule;
    }
    if (config != NULL) {
        merge_config(config, ret);
    }
}

void disc_resolve(const struct disc_view *callee, const struct disc_view *star,
                  const struct disc_tuple *tuple, struct disc_resolution *ret)
{
    const struct disc_view *any = callee != NULL ? callee : star;
    struct view_hashes hashes;
    memset(ret, 0, sizeof *ret);
    for (int i = 0; i < DISC_FIELD_MAX; i++) {
        ret->value[i] = disc_field_default((enum disc_field)i);
    }
    if (any == NULL) {
        return;
    }
    view_hash_tuple(any, tuple, &hashes);
    for (uint32_t pattern = 0; pattern < DISC_PATTERNS; pattern++) {
        const struct disc_view *view = (pattern & DISC_PATTERN_BIT(DISC_TO)) != 0 ? star : callee;
        const struct disc_entry *entry =
            view != NULL ? view_probe(view, tuple, &hashes, pattern) : NULL;
        if (entry != NULL) {
            add_candidate(entry, pattern, ret);
        }
    }
}
