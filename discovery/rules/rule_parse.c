/*
 * discovery/rules/rule_parse.c: text -> rule.
 *
 * The JSON tree is read into a draft (rule_draft.h), which is then frozen into one block of exactly
 * the size it needs: a host may hold 100,000 rules. The block, in this order:
 *
 *     struct disc_rule, cut behind the last byte its kind uses
 *     targets[] | body | items[], ranges
 *     every string: key, text, names
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/rule_draft.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 8u

/* Hands out a block from front to back; with base NULL it only counts. */
struct block {
    uint8_t *base;
    size_t used;
};

static void *take(struct block *block, size_t size, size_t align)
{
    block->used = (block->used + align - 1) & ~(align - 1);
    void *p = block->base != NULL ? block->base + block->used : NULL;
    block->used += size;
    return p;
}

static char *take_text(struct block *block, const char *text, size_t len)
{
    char *copy = take(block, len + 1, 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

static void take_str(struct block *block, struct disc_str from, struct disc_str *to)
{
    const char *copy = take_text(block, from.p, from.len);
    if (to != NULL) {
        *to = disc_str_of(copy, from.len);
    }
}

static size_t ranges_size(const struct disc_ranges *ranges)
{
    return offsetof(struct disc_ranges, range) + ranges->n * sizeof ranges->range[0];
}

/* Of a split of n entries only this much is kept: its last array is cut. */
static size_t split_size(size_t n)
{
    _Static_assert(offsetof(struct lb_split, name_hash) + sizeof((struct lb_split *)0)->name_hash ==
                       sizeof(struct lb_split),
                   "name_hash must be the last member");
    return offsetof(struct lb_split, name_hash) + n * sizeof((struct lb_split *)0)->name_hash[0];
}

static void freeze_traffic(struct block *block, const struct rule_draft *draft,
                           struct disc_traffic *traffic)
{
    struct disc_target *targets = take(block, draft->targets_n * sizeof(struct disc_target), ALIGN);
    for (uint32_t i = 0; i < draft->targets_n; i++) {
        struct disc_target *target = targets != NULL ? &targets[i] : NULL;
        take_str(block, draft->targets[i].cluster, target != NULL ? &target->cluster : NULL);
        take_str(block, draft->targets[i].zone, target != NULL ? &target->zone : NULL);
        if (target != NULL) {
            target->weight = draft->targets[i].weight;
        }
    }
    take_str(block, draft->by.extra_key, traffic != NULL ? &traffic->by.extra_key : NULL);
    if (traffic != NULL) {
        struct lb_split_entry entries[LB_SPLIT_ENTRIES_MAX];
        struct lb_split split;
        for (uint32_t i = 0; i < draft->targets_n; i++) {
            entries[i].name = draft->targets[i].name.p;
            entries[i].weight = draft->targets[i].weight;
        }
        bool ok = lb_split_init(&split, entries, draft->targets_n);
        assert(ok); /* the parser has checked number, order and sum */
        (void)ok;
        traffic->by.kind = draft->by.kind;
        traffic->n = draft->targets_n;
        traffic->targets = targets;
        memcpy(&traffic->split, &split, split_size(split.n));
    }
}

static void freeze_degrade(struct block *block, const struct rule_draft *draft,
                           struct disc_degrade *degrade)
{
    uint8_t *body = draft->body != NULL ? take(block, draft->body_len, 1) : NULL;
    take_str(block, draft->by.extra_key, degrade != NULL ? &degrade->by.extra_key : NULL);
    if (degrade != NULL) {
        degrade->by.kind = draft->by.kind;
        degrade->percent_e2 = draft->percent_e2;
        degrade->reply = draft->reply;
        degrade->body = body;
        degrade->body_len = draft->body_len;
        if (body != NULL) {
            memcpy(body, draft->body, draft->body_len);
        }
    }
}

static void freeze_config(struct block *block, const struct rule_draft *draft,
                          struct disc_config *config)
{
    struct disc_config_item *items =
        take(block, draft->items_n * sizeof(struct disc_config_item), ALIGN);
    if (items != NULL) {
        memcpy(items, draft->items, draft->items_n * sizeof items[0]);
        config->n = draft->items_n;
        config->items = items;
    }
    for (uint32_t i = 0; i < draft->items_n; i++) {
        const struct disc_config_item *item = &draft->items[i];
        if (item->field == DISC_FIELD_FALLBACK_CLUSTER || item->field == DISC_FIELD_HASH_BY) {
            take_str(block, item->value.s, items != NULL ? &items[i].value.s : NULL);
        } else if (item->field == DISC_FIELD_FAILURES_BASE_RESP) {
            void *copy = take(block, ranges_size(item->value.ranges), ALIGN);
            if (copy != NULL) {
                memcpy(copy, item->value.ranges, ranges_size(item->value.ranges));
                items[i].value.ranges = copy;
            }
        }
    }
}

static size_t head_size(enum disc_kind kind, const struct rule_draft *draft)
{
    switch (kind) {
    case DISC_TRAFFIC:
        return offsetof(struct disc_rule, traffic.split) + split_size(draft->targets_n);
    case DISC_DEGRADE:
        return offsetof(struct disc_rule, degrade) + sizeof(struct disc_degrade);
    default:
        return offsetof(struct disc_rule, config) + sizeof(struct disc_config);
    }
}

/* Lays the rule out in the block; with a block that only counts, returns NULL. */
static struct disc_rule *freeze(struct block *block, enum disc_kind kind,
                                const struct rule_draft *draft, const char *key, const char *text,
                                size_t text_len)
{
    struct disc_rule *rule = take(block, head_size(kind, draft), ALIGN);
    switch (kind) {
    case DISC_TRAFFIC:
        freeze_traffic(block, draft, rule != NULL ? &rule->traffic : NULL);
        break;
    case DISC_DEGRADE:
        freeze_degrade(block, draft, rule != NULL ? &rule->degrade : NULL);
        break;
    default:
        freeze_config(block, draft, rule != NULL ? &rule->config : NULL);
        break;
    }
    char *key_copy = take_text(block, key, strlen(key));
    char *text_copy = take_text(block, text, text_len);
    if (rule != NULL) {
        rule->kind = kind;
        rule->key = key_copy;
        rule->text = text_copy;
    }
    return rule;
}

static bool parse(struct rule_draft *draft, enum disc_kind kind, const json_t *root,
                  const struct codec_templates *templates, struct disc_error *error)
{
    switch (kind) {
    case DISC_TRAFFIC:
        return rule_draft_traffic(draft, root, error);
    case DISC_DEGRADE:
        return rule_draft_degrade(draft, root, templates, error);
    default:
        return rule_draft_config(draft, root, error);
    }
}

struct disc_rule *disc_rule_parse(enum disc_kind kind, const char *key, const char *text,
                                  size_t text_len, int64_t mod_revision,
                                  const struct codec_templates *templates,
                                  struct disc_error *ret_error)
{
    struct rule_draft draft;
    struct disc_rule *rule = NULL;
    if (text_len > DISC_VALUE_MAX_BYTES) {
        json_value_refuse(ret_error, "", "must be at most %d bytes, is %zu", DISC_VALUE_MAX_BYTES,
                          text_len);
        return NULL;
    }
    json_t *root = json_value_load(text, text_len, ret_error);
    if (root == NULL) {
        return NULL;
    }
    /* The big arrays are counted, not cleared: this runs once per key of a list. */
    memset(&draft, 0, offsetof(struct rule_draft, targets));
    draft.percent_e2 = 0;
    draft.reply = DISC_REPLY_DEFAULT;
    draft.body = NULL;
    draft.body_len = 0;
    draft.items_n = 0;
    draft.ranges_n = 0;
    draft.by.extra_key = disc_str_of("", 0);
    if (parse(&draft, kind, root, templates, ret_error)) {
        struct block block = {NULL, 0};
        (void)freeze(&block, kind, &draft, key, text, text_len);
        block.base = calloc(1, block.used);
        block.used = 0;
        if (block.base == NULL) {
            json_value_refuse(ret_error, "", "out of memory");
        } else {
            rule = freeze(&block, kind, &draft, key, text, text_len);
            refcount_init(&rule->refs);
            rule->mod_revision = mod_revision;
        }
    }
    free(draft.body);
    json_decref(root);
    return rule;
}
