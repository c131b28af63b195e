/*
 * discovery/store/store_apply.c: one reported change at a time becomes what a layer holds of a key.
 *
 * The last good value of a layer's key stays in force until a better one comes or the key is
 * deleted; what was refused is kept beside it, with the reason, until it is mended.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/json_value.h"
#include "discovery/base/memory.h"
#include "discovery/store/store_internal.h"

#include <assert.h>

/* Keys above the limit that are listed one by one. */
#define LISTED_ABOVE_LIMIT 1024

/* ---- what is in force ------------------------------------------------------------------------ */

static bool has_good(const struct store_side *side)
{
    return side != NULL && (side->rule != NULL || side->endpoint != NULL);
}

enum disc_layer store_record_layer(const struct store_record *record)
{
    if (has_good(record->side[DISC_LAYER_ETCD])) {
        return DISC_LAYER_ETCD;
    }
    return has_good(record->side[DISC_LAYER_FILE]) ? DISC_LAYER_FILE : DISC_LAYERS;
}

static const struct store_side *rejected_side(const struct store_record *record)
{
    for (int layer = DISC_LAYERS - 1; layer >= 0; layer--) {
        if (record->side[layer] != NULL && record->side[layer]->rejection != NULL) {
            return record->side[layer];
        }
    }
    return NULL;
}

void store_record_rejection(const struct store_record *record, struct disc_rejection *ret)
{
    const struct store_side *side = rejected_side(record);
    enum disc_layer layer = store_record_layer(record);
    assert(side != NULL);
    ret->key = record->key;
    ret->field = side->rejection->error.field;
    ret->reason = side->rejection->error.reason;
    ret->mod_revision = side->mod_revision;
    ret->since_unix_ms = side->rejection->since_unix_ms;
    ret->in_force = NULL;
    if (layer != DISC_LAYERS) {
        size_t len = 0;
        const struct store_side *good = record->side[layer];
        ret->in_force = good->rule != NULL ? good->rule->text : endpoint_text(good->endpoint, &len);
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static void rejection_free(struct store_side *side)
{
    if (side->rejection != NULL) {
        free(side->rejection->text);
        free(side->rejection);
        side->rejection = NULL;
    }
}

static void side_free(struct disc_store *store, struct store_side *side)
{
    side->rule = disc_rule_unref(side->rule);
    side->endpoint = endpoint_unref(side->endpoint);
    rejection_free(side);
    store->stats.loopback -= side->is_loopback;
    free(side);
    store->sides--;
}

void store_record_free(struct disc_store *store, struct store_record *record)
{
    for (int layer = 0; layer < DISC_LAYERS; layer++) {
        if (record->side[layer] != NULL) {
            side_free(store, record->side[layer]);
            record->side[layer] = NULL;
        }
    }
    free(record);
}

/* Keeps the list of rejected keys and its number. */
static void update_listed(struct disc_store *store, struct store_record *record)
{
    bool rejected = rejected_side(record) != NULL;
    if (rejected == record->listed) {
        return;
    }
    struct key_index *list = &store->rejected[record->space];
    if (rejected) {
        key_index_insert(list, record->key, record);
    } else {
        (void)key_index_remove(list, record->key); /* returns the record */
    }
    record->listed = rejected;
}

/* Finds out whose key it is; *error says why it is refused. */
static enum disc_key_verdict classify(struct disc_store *store, enum disc_space space,
                                      const char *key, size_t len, struct store_callee **ret_callee,
                                      struct disc_error *error)
{
    enum disc_key_verdict verdict;
    if (space == DISC_SPACE_RULES) {
        struct disc_rule_key rule;
        verdict = disc_rule_key_parse(key, len, &rule, error);
        if (verdict == DISC_KEY_OURS) {
            *ret_callee = store_callee_get(store, rule.tuple.name[DISC_TO]);
        }
    } else {
        struct disc_service_key service;
        verdict = disc_service_key_parse(key, len, &service, error);
        if (verdict == DISC_KEY_OURS) {
            *ret_callee = store_callee_get(store, service.service);
        }
    }
    return verdict;
}

static struct store_record *record_new(struct disc_store *store, const char *whole,
                                       const struct store_op *op)
{
    struct disc_error error;
    size_t len = strlen(whole);
    struct store_record *record = memory_zalloc(sizeof *record + len + 1);
    memcpy(record->key, whole, len);
    record->space = op->space;
    record->verdict = classify(store, op->space, op->bytes, op->key_len, &record->callee, &error);
    if (record->callee != NULL && op->space == DISC_SPACE_RULES) {
        store_callee_add_rule(record->callee, record);
    } else if (record->callee != NULL) {
        record->callee->services++;
    }
    if (record->callee != NULL) {
        store_callee_dirty(store, record->callee); /* it may be new: no callee is without a view */
    }
    store->foreign += record->verdict == DISC_KEY_FOREIGN;
    key_index_insert(&store->records[op->space], record->key, record);
    return record;
}

/* The record has no side left: it goes. */
static void record_drop(struct disc_store *store, struct store_record *record)
{
    struct store_callee *callee = record->callee;
    assert(!record->listed);
    store->foreign -= record->verdict == DISC_KEY_FOREIGN;
    if (callee != NULL) {
        if (record->space == DISC_SPACE_RULES) {
            store_callee_remove_rule(callee, record);
        } else {
            callee->services--;
        }
        /* Compiled next, and removed there where this was its last key. */
        store_callee_dirty(store, callee);
    }
    (void)key_index_remove(&store->records[record->space], record->key); /* the record */
    free(record);
}

static void side_delete(struct disc_store *store, struct store_record *record,
                        enum disc_layer layer)
{
    store->stats.keys[layer][record->space] -= record->verdict != DISC_KEY_FOREIGN;
    if (layer == DISC_LAYER_ETCD) {
        store_set_held(store, record, false);
    }
    side_free(store, record->side[layer]);
    record->side[layer] = NULL;
    update_listed(store, record);
    if (record->callee != NULL) {
        store_callee_dirty(store, record->callee);
    }
    for (int other = 0; other < DISC_LAYERS; other++) {
        if (record->side[other] != NULL) {
            return;
        }
    }
    record_drop(store, record);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void reject(struct disc_store *store, struct store_record *record, enum disc_layer layer,
                   const struct store_op *op, const struct disc_error *error, bool again)
{
    struct store_side *side = record->side[layer];
    uint64_t since = side->rejection != NULL ? side->rejection->since_unix_ms : op->now_unix_ms;
    bool has_text = op->kind == STORE_OP_PUT;
    rejection_free(side);
    side->rejection = memory_zalloc(sizeof *side->rejection);
    side->rejection->error = *error;
    side->rejection->since_unix_ms = since;
    side->rejection->again = again;
    side->rejection->text_len = has_text ? op->text_len : 0;
    side->rejection->text = memory_text(op->bytes + op->key_len + 1, side->rejection->text_len);
    store->stats.rejections_total++;
    update_listed(store, record);
    if (record->callee != NULL && record->space == DISC_SPACE_RULES) {
        store_callee_dirty(store, record->callee); /* explain shows it */
    }
    if (store->options.rejected != NULL && rejected_side(record) == side) {
        struct disc_rejection rejection;
        store_record_rejection(record, &rejection);
        store->options.rejected(store->options.owner, &rejection);
    }
}

static void accept_value(struct disc_store *store, struct store_record *record,
                         enum disc_layer layer, struct disc_rule *rule,
                         struct disc_endpoint *endpoint)
{
    struct store_side *side = record->side[layer];
    /* The new one is there already: state that only this endpoint has stays attached. */
    side->rule = disc_rule_unref(side->rule);
    side->endpoint = endpoint_unref(side->endpoint);
    side->rule = rule;
    side->endpoint = endpoint;
    rejection_free(side);
    update_listed(store, record);
    store_callee_dirty(store, record->callee);
}

/* This and put_service(): where the text was cut (source_len), the parser refuses its length and
 * does not read it. */
static void put_rule(struct disc_store *store, struct store_record *record, enum disc_layer layer,
                     const struct store_op *op)
{
    struct disc_rule_key key;
    struct disc_error error;
    (void)disc_rule_key_parse(op->bytes, op->key_len, &key, &error); /* OURS, as before */
    struct disc_rule *rule =
        disc_rule_parse(key.kind, record->key, op->bytes + op->key_len + 1, op->source_len,
                        op->mod_revision, store->options.templates, &error);
    if (rule == NULL) {
        reject(store, record, layer, op, &error, false);
    } else {
        accept_value(store, record, layer, rule, NULL);
    }
}

/* Once per key, not once per value: registrations are written again and again. */
static void note_loopback(struct disc_store *store, struct store_record *record)
{
    struct store_side *side = record->side[DISC_LAYER_ETCD];
    if (side->is_loopback) {
        return;
    }
    side->is_loopback = true;
    store->stats.loopback++;
    if (store->options.loopback != NULL) {
        store->options.loopback(store->options.owner, record->key);
    }
}

static void put_service(struct disc_store *store, struct store_record *record,
                        enum disc_layer layer, const struct store_op *op)
{
    struct disc_service_key key;
    struct service_value value;
    struct disc_error error;
    const struct endpoint_source source = {.layer = layer,
                                           .mod_revision = op->mod_revision,
                                           .lease = op->lease,
                                           .text = op->bytes + op->key_len + 1,
                                           .text_len = op->text_len};
    (void)disc_service_key_parse(op->bytes, op->key_len, &key, &error); /* OURS, as before */
    if (!service_value_parse(source.text, op->source_len, &value, &error)) {
        reject(store, record, layer, op, &error, false);
        return;
    }
    accept_value(store, record, layer, NULL,
                 endpoint_new(&store->endpoints, record->key, &key, &value, &source));
    if (key.is_loopback && layer == DISC_LAYER_ETCD) {
        note_loopback(store, record);
    }
}

static bool same_text(const char *a, size_t a_len, const struct store_op *op)
{
    return a_len == op->text_len && memcmp(a, op->bytes + op->key_len + 1, a_len) == 0;
}

/* A full list repeats what is known: nothing to do then, and nothing to rebuild. */
static bool is_known(const struct store_side *side, const struct store_op *op)
{
    if (op->kind != STORE_OP_PUT || side->mod_revision != op->mod_revision ||
        side->lease != op->lease) {
        return false;
    }
    if (side->rejection != NULL) {
        return !side->rejection->again &&
               same_text(side->rejection->text, side->rejection->text_len, op);
    }
    if (side->rule != NULL) {
        return same_text(side->rule->text, strlen(side->rule->text), op);
    }
    if (side->endpoint != NULL) {
        size_t len = 0;
        const char *text = endpoint_text(side->endpoint, &len);
        return same_text(text, len, op);
    }
    return false;
}

/* NULL where the store is full. */
static struct store_side *side_new(struct disc_store *store, enum disc_layer layer,
                                   const struct store_op *op, const char *whole,
                                   struct store_record **record)
{
    if (store->sides >= store->options.keys_max + LISTED_ABOVE_LIMIT) {
        store->stats.rejections_total++;
        return NULL;
    }
    if (*record == NULL) {
        *record = record_new(store, whole, op);
    }
    struct store_side *side = memory_zalloc(sizeof *side);
    (*record)->side[layer] = side;
    store->sides++;
    store->stats.keys[layer][op->space] += (*record)->verdict != DISC_KEY_FOREIGN;
    return side;
}

static void put_value(struct disc_store *store, struct store_record *record, enum disc_layer layer,
                      const struct store_op *op)
{
    struct store_callee *callee = NULL;
    struct disc_error error;
    bool fresh = !has_good(record->side[layer]);
    switch (record->verdict) {
    case DISC_KEY_OURS:
        break;
    case DISC_KEY_REFUSED:
        (void)classify(store, op->space, op->bytes, op->key_len, &callee, &error); /* the reason */
        reject(store, record, layer, op, &error, false);
        return;
    default:
        return; /* not ours: counted, left alone */
    }
    if (op->kind == STORE_OP_REJECT) {
        memcpy(&error, op->bytes + op->key_len + 1, sizeof error);
        reject(store, record, layer, op, &error, true);
    } else if (fresh && store->sides > store->options.keys_max) {
        json_value_refuse(&error, "", "more than %zu keys", store->options.keys_max);
        reject(store, record, layer, op, &error, true);
    } else if (record->space == DISC_SPACE_RULES) {
        put_rule(store, record, layer, op);
    } else {
        put_service(store, record, layer, op);
    }
}

void store_apply(struct disc_store *store, enum disc_layer layer, const struct store_op *op)
{
    const char *whole = store_whole_key(store, op->space, op->bytes, op->key_len);
    struct store_record *record = key_index_find(&store->records[op->space], whole);
    struct store_side *side = record != NULL ? record->side[layer] : NULL;
    switch (op->kind) {
    case STORE_OP_DELETE:
    case STORE_OP_RELEASE:
        if (side != NULL && (side->held || op->kind == STORE_OP_DELETE)) {
            side_delete(store, record, layer);
        }
        return;
    case STORE_OP_HOLD:
        if (has_good(side)) {
            store_set_held(store, record, true);
        }
        return;
    default:
        break;
    }
    if (side != NULL && layer == DISC_LAYER_ETCD) {
        store_set_held(store, record, false); /* it is etcd's own again */
    }
    if (side != NULL && is_known(side, op)) {
        side->mark = store->mark[layer];
        return;
    }
    if (side == NULL) {
        side = side_new(store, layer, op, whole, &record);
        if (side == NULL) {
            return;
        }
    }
    side->mark = store->mark[layer];
    side->mod_revision = op->mod_revision;
    side->lease = op->lease;
    put_value(store, record, layer, op);
}

void store_sweep(struct disc_store *store, const struct store_txn *txn,
                 const struct key_index_node *node)
{
    struct store_record *record = node->value;
    const struct store_side *side = record->side[txn->layer];
    if (side == NULL || side->mark == store->mark[txn->layer] || side->held) {
        return;
    }
    if (txn->hold[record->space] && has_good(side)) {
        store_set_held(store, record, true);
    } else {
        side_delete(store, record, txn->layer);
    }
}
