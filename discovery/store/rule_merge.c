/*
 * discovery/store/rule_merge.c: which rule wins (docs/specification.md, section 2).
 *
 * Patterns in ascending order are keys in the caller's order of precedence: From is the highest bit,
 * and a name (0) comes before "*" (1). So one walk from 0 to 31 meets the winners first. The callee's
 * order is the same walk with the bits turned around by two: what the first walk found is kept, and
 * nothing is looked up twice. Real calls and `explain` both come through here.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/store/view_probe.h"

#include <assert.h>
#include <string.h>

/* From and FromCluster: the upper bits of a pattern in the caller's order, the lower ones in the
 * callee's. */
#define CALLER_BITS 2
#define CALLEE_BITS (DISC_NAMES - CALLER_BITS)
_Static_assert(DISC_PATTERN_BIT(DISC_FROM) == 16 && DISC_PATTERN_BIT(DISC_TO) == 4 &&
                   DISC_PATTERN_BIT(DISC_METHOD) == 1,
               "a pattern is the caller's two names, then the callee's three");

/* The rank-th pattern in the callee's order of precedence. */
static uint32_t callee_pattern(uint32_t rank)
{
    return rank >> CALLER_BITS | (rank & ((1u << CALLER_BITS) - 1)) << CALLEE_BITS;
}

/* Takes the fields of this order that no key before has set. */
static void take_fields(const struct disc_entry *entry, enum disc_order order,
                        struct disc_resolution *ret)
{
    const struct disc_rule *rule = entry->slot[DISC_CONFIG].rule;
    for (uint32_t i = 0; rule != NULL && i < rule->config.n; i++) {
        const struct disc_config_item *item = &rule->config.items[i];
        if (ret->from[item->field] == NULL && disc_field_order(item->field) == order) {
            ret->from[item->field] = rule;
            ret->value[item->field] = item->value;
        }
    }
}

static void add_candidate(const struct disc_entry *entry, uint32_t pattern,
                          struct disc_resolution *ret)
{
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
    take_fields(entry, DISC_ORDER_CALLER, ret);
}

/* Each pattern is probed once, in the caller's order; ret_found[pattern]: NULL where there is none. */
static void find_candidates(const struct disc_view *callee, const struct disc_view *star,
                            const struct disc_tuple *tuple, const struct disc_entry *ret_found[],
                            struct disc_resolution *ret)
{
    struct view_hashes hashes;
    view_hash_tuple(callee != NULL ? callee : star, tuple, &hashes);
    for (uint32_t pattern = 0; pattern < DISC_PATTERNS; pattern++) {
        const struct disc_view *view = (pattern & DISC_PATTERN_BIT(DISC_TO)) != 0 ? star : callee;
        ret_found[pattern] = view != NULL ? view_probe(view, tuple, &hashes, pattern) : NULL;
        if (ret_found[pattern] != NULL) {
            add_candidate(ret_found[pattern], pattern, ret);
        }
    }
}

bool disc_resolution_uses(const struct disc_resolution *resolution, const struct disc_rule *rule)
{
    if (rule->kind != DISC_CONFIG) {
        return rule == resolution->traffic || rule == resolution->degrade;
    }
    for (uint32_t i = 0; i < rule->config.n; i++) {
        if (resolution->from[rule->config.items[i].field] == rule) {
            return true;
        }
    }
    return false;
}

static const struct disc_rule *first_config(const struct disc_resolution *resolution)
{
    for (uint32_t i = 0; i < resolution->candidates_len; i++) {
        const struct disc_rule *rule = resolution->candidates[i].entry->slot[DISC_CONFIG].rule;
        if (rule != NULL && disc_resolution_uses(resolution, rule)) {
            return rule;
        }
    }
    return NULL;
}

void disc_resolve(const struct disc_view *callee, const struct disc_view *star,
                  const struct disc_tuple *tuple, struct disc_resolution *ret)
{
    const struct disc_entry *found[DISC_PATTERNS];
    memset(ret, 0, sizeof *ret);
    for (int i = 0; i < DISC_FIELD_MAX; i++) {
        ret->value[i] = disc_field_default((enum disc_field)i);
    }
    if (callee == NULL && star == NULL) {
        return;
    }
    find_candidates(callee, star, tuple, found, ret);
    for (uint32_t rank = 0; rank < DISC_PATTERNS; rank++) {
        const struct disc_entry *entry = found[callee_pattern(rank)];
        if (entry != NULL) {
            take_fields(entry, DISC_ORDER_CALLEE, ret);
        }
    }
    ret->config = first_config(ret);
}
