/*
 * codec/ttheader_edit.c: one pass that plans, one that writes.
 *
 * The plan knows of each edit the entry that it is about, and how long the blocks will be. The writer walks
 * the same items again and copies, replaces or leaves out.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/ttheader_edit.h"

#include <assert.h>
#include <string.h>

#define LENGTH_BYTES 2
#define ID_BYTES     2
#define BLOCK_BYTES  3
#define UNIT_BYTES   4 /* of the header size, and of a padded header */

/* --- edits and entries --- */

/* Which edit an entry is about; edits_len where it is none. */
static size_t edit_of(const struct codec_ttheader_plan *plan,
                      const struct codec_ttheader_item *item)
{
    size_t i = 0;

    if (item->is_block ||
        (item->info != CODEC_TTHEADER_INFO_TEXT && item->info != CODEC_TTHEADER_INFO_INT)) {
        return plan->edits_len;
    }
    for (; i < plan->edits_len; i++) {
        const struct codec_ttheader_edit *edit = &plan->edits[i];
        bool is_text = item->info == CODEC_TTHEADER_INFO_TEXT;
        if (is_text != (edit->key != NULL)) {
            continue;
        }
        if (is_text ? edit->key_len == item->key.len &&
                          memcmp(edit->key, plan->p + item->key.off, item->key.len) == 0
                    : edit->id == item->id) {
            break;
        }
    }
    return i;
}

static uint32_t entry_bytes(const struct codec_ttheader_edit *edit)
{
    size_t key = edit->key ? LENGTH_BYTES + edit->key_len : ID_BYTES;

    return (uint32_t)(key + LENGTH_BYTES + edit->value_len);
}

static bool is_writable(const struct codec_ttheader_edit *edit)
{
    return edit->value_len <= CODEC_TTHEADER_TEXT_MAX &&
           (!edit->key || edit->key_len <= CODEC_TTHEADER_TEXT_MAX);
}

static struct codec_ttheader_tail *tail_of(struct codec_ttheader_plan *plan, bool is_text)
{
    return is_text ? &plan->text : &plan->number;
}

/* --- lists --- */

/* The edit about this key; len where there is none. */
static size_t edit_with_key(const struct codec_ttheader_edits *edits, const char *key,
                            size_t key_len)
{
    size_t i = 0;

    while (i < edits->len && !(edits->at[i].key && edits->at[i].key_len == key_len &&
                               memcmp(edits->at[i].key, key, key_len) == 0)) {
        i++;
    }
    return i;
}

/* The first own_len edits stay as they are. False where there is no room. */
static bool add_entry(struct codec_ttheader_edits *edits, size_t own_len,
                      const struct codec_ttheader_edit *entry)
{
    size_t i = edit_with_key(edits, entry->key, entry->key_len);

    if (i == CODEC_TTHEADER_EDITS_MAX) {
        return false;
    }
    if (i >= own_len) {
        edits->at[i] = *entry;
        edits->len += i == edits->len;
    }
    return true;
}

void codec_ttheader_edits_add_extra(struct codec_ttheader_edits *edits, const uint8_t *body,
                                    const struct codec_extra *extra, struct codec_key prefix)
{
    struct codec_extra_walk walk;
    struct wire_span key;
    struct wire_span value;
    size_t own_len = edits->len;
    size_t looked_at = 0;

    codec_extra_walk_begin(&walk, body, extra);
    while (codec_extra_walk_next(&walk, &key, &value)) {
        const struct codec_ttheader_edit entry = {.key = (const char *)body + key.off,
                                                  .key_len = key.len,
                                                  .value = (const char *)body + value.off,
                                                  .value_len = value.len};
        if (key.len < prefix.len || memcmp(entry.key, prefix.name, prefix.len) != 0) {
            continue;
        }
        if (!is_writable(&entry)) {
            edits->left_out = true;
            continue;
        }
        if (looked_at++ == CODEC_TTHEADER_EXTRA_MAX || !add_entry(edits, own_len, &entry)) {
            edits->left_out = true;
            return;
        }
    }
}

/* The string, unescaped, behind what the room holds; NULL where it does not fit. */
static const char *unquote_into(struct codec_ttheader_room *room, const uint8_t *text,
                                struct wire_span raw, size_t *ret_len)
{
    char *out = room->p + room->len;
    size_t left = room->cap - room->len;
    size_t len = json_unquote(text + raw.off, raw.len, out, left);

    if (len > left) {
        return NULL;
    }
    room->len += len;
    *ret_len = len;
    return out;
}

void codec_ttheader_edits_add_json(struct codec_ttheader_edits *edits, const uint8_t *text,
                                   const struct json_members *members,
                                   struct codec_ttheader_room *room)
{
    size_t own_len = edits->len;

    edits->left_out |= members->left_out;
    for (size_t i = 0; i < members->len; i++) {
        struct codec_ttheader_edit entry = {0};
        size_t used = room->len;
        entry.key = unquote_into(room, text, members->at[i].name, &entry.key_len);
        entry.value =
            entry.key ? unquote_into(room, text, members->at[i].value, &entry.value_len) : NULL;
        if (!entry.value || !is_writable(&entry) || !add_entry(edits, own_len, &entry)) {
            edits->left_out = true;
            room->len = used;
        }
    }
}

/* --- planning --- */

/* Finds the entry of each edit and takes the bytes of those that go off. */
static void plan_entries(struct codec_ttheader_plan *plan)
{
    struct codec_ttheader_walk walk;
    struct codec_ttheader_item item;

    codec_ttheader_walk_begin(&walk, plan->header, plan->p);
    while (codec_ttheader_walk_next(&walk, &item)) {
        size_t i = edit_of(plan, &item);
        if (i < plan->edits_len) {
            plan->last_off[i] = item.span.off;
            plan->added &= ~(1ull << i);
            plan->info_bytes -= item.span.len;
        }
        if (item.is_block) {
            tail_of(plan, item.info == CODEC_TTHEADER_INFO_TEXT)->off = item.span.off;
        }
    }
}

/* Adds the bytes of the entries that are set, and of the blocks that are new. */
static bool plan_values(struct codec_ttheader_plan *plan)
{
    for (size_t i = 0; i < plan->edits_len; i++) {
        const struct codec_ttheader_edit *edit = &plan->edits[i];
        if (!edit->value) {
            plan->added &= ~(1ull << i);
            continue;
        }
        if (!is_writable(edit)) {
            return false;
        }
        plan->info_bytes += entry_bytes(edit);
        tail_of(plan, edit->key)->adds += plan->added >> i & 1;
    }
    for (int is_text = 0; is_text < 2; is_text++) {
        const struct codec_ttheader_tail *tail = tail_of(plan, is_text);
        plan->info_bytes += tail->adds > 0 && tail->off == 0 ? BLOCK_BYTES : 0;
    }
    return true;
}

static uint32_t padding_of(uint32_t info_bytes)
{
    uint32_t size = CODEC_TTHEADER_INFO_OFF - CODEC_TTHEADER_FIXED_BYTES + info_bytes;

    return (UNIT_BYTES - size % UNIT_BYTES) % UNIT_BYTES;
}

bool codec_ttheader_plan(struct codec_ttheader_plan *plan, const uint8_t *p,
                         const struct codec_ttheader *header, size_t n,
                         const struct codec_ttheader_edit edits[],
                         const struct codec_ttheader_to *to)
{
    assert(n <= CODEC_TTHEADER_EDITS_MAX);
    plan->p = p;
    plan->header = header;
    plan->edits = edits;
    plan->edits_len = n;
    plan->to = *to;
    plan->info_bytes = header->info_end - CODEC_TTHEADER_INFO_OFF;
    plan->added = UINT64_MAX; /* last_off of an edit that adds says nothing */
    plan->text = plan->number = (struct codec_ttheader_tail){0};
    plan_entries(plan);
    if (!plan_values(plan)) {
        return false;
    }
    uint32_t bytes = CODEC_TTHEADER_INFO_OFF + plan->info_bytes + padding_of(plan->info_bytes);
    plan->bytes = bytes + (to->is_inner_framed ? WIRE_FRAME_LEN_BYTES : 0);
    return bytes <= CODEC_TTHEADER_BYTES_MAX &&
           (uint64_t)plan->bytes + to->message_bytes <= CODEC_TTHEADER_LENGTH_MAX;
}

bool codec_ttheader_plan_fresh(struct codec_ttheader_plan *plan, size_t n,
                               const struct codec_ttheader_edit edits[],
                               const struct codec_ttheader_to *to)
{
    static const uint8_t nothing[CODEC_TTHEADER_INFO_OFF] = {0};
    static const struct codec_ttheader empty = {.info_end = CODEC_TTHEADER_INFO_OFF};

    return codec_ttheader_plan(plan, nothing, &empty, n, edits, to);
}

/* --- writing --- */

static uint8_t *put(uint8_t *out, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(out, bytes, len);
    }
    return out + len;
}

static uint8_t *put16(uint8_t *out, size_t v)
{
    wire_put16(out, (uint16_t)v);
    return out + 2;
}

static uint8_t *put_entry(uint8_t *out, const struct codec_ttheader_edit *edit)
{
    if (edit->key) {
        out = put16(out, edit->key_len);
        out = put(out, edit->key, edit->key_len);
    } else {
        out = put16(out, edit->id);
    }
    out = put16(out, edit->value_len);
    return put(out, edit->value, edit->value_len);
}

static uint8_t *put_added(const struct codec_ttheader_plan *plan, uint8_t *out, bool is_text)
{
    for (size_t i = 0; i < plan->edits_len; i++) {
        if ((plan->added >> i & 1) && is_text == (plan->edits[i].key != NULL)) {
            out = put_entry(out, &plan->edits[i]);
        }
    }
    return out;
}

/* The block that is being written: its count is known at its end. */
struct open_block {
    const struct codec_ttheader_tail *tail; /* NULL: none is open */
    uint8_t *count_at;
    uint32_t off; /* where it was */
    uint16_t count;
    bool is_text;
};

static uint8_t *end_block(const struct codec_ttheader_plan *plan, struct open_block *block,
                          uint8_t *out)
{
    if (block->tail && block->tail->off == block->off) {
        out = put_added(plan, out, block->is_text);
        block->count = (uint16_t)(block->count + block->tail->adds);
    }
    if (block->tail) {
        wire_put16(block->count_at, block->count);
    }
    block->tail = NULL;
    return out;
}

static uint8_t *begin_block(const struct codec_ttheader_plan *plan, struct open_block *block,
                            const struct codec_ttheader_item *item, uint8_t *out)
{
    bool is_text = item->info == CODEC_TTHEADER_INFO_TEXT;

    *block = (struct open_block){.tail = is_text ? &plan->text : &plan->number,
                                 .count_at = out + 1,
                                 .off = item->span.off,
                                 .count = item->count,
                                 .is_text = is_text};
    *out = item->info;
    return out + BLOCK_BYTES;
}

static uint8_t *put_item(const struct codec_ttheader_plan *plan, struct open_block *block,
                         const struct codec_ttheader_item *item, uint8_t *out)
{
    size_t i = edit_of(plan, item);

    if (i == plan->edits_len) {
        return put(out, plan->p + item->span.off, item->span.len);
    }
    if (plan->edits[i].value && plan->last_off[i] == item->span.off) {
        return put_entry(out, &plan->edits[i]);
    }
    block->count--;
    return out;
}

static uint8_t *put_info(const struct codec_ttheader_plan *plan, uint8_t *out)
{
    struct codec_ttheader_walk walk;
    struct codec_ttheader_item item;
    struct open_block block = {0};

    codec_ttheader_walk_begin(&walk, plan->header, plan->p);
    for (;;) {
        if (walk.left == 0) {
            out = end_block(plan, &block, out);
        }
        if (!codec_ttheader_walk_next(&walk, &item)) {
            return out;
        }
        out = item.is_block ? begin_block(plan, &block, &item, out)
                            : put_item(plan, &block, &item, out);
    }
}

/* What is added where there was no block of its kind. */
static uint8_t *put_new_block(const struct codec_ttheader_plan *plan, uint8_t *out, bool is_text)
{
    const struct codec_ttheader_tail *tail = is_text ? &plan->text : &plan->number;

    if (tail->off > 0 || tail->adds == 0) {
        return out;
    }
    *out = is_text ? CODEC_TTHEADER_INFO_TEXT : CODEC_TTHEADER_INFO_INT;
    wire_put16(out + 1, tail->adds);
    return put_added(plan, out + BLOCK_BYTES, is_text);
}

static void put_fixed(const struct codec_ttheader_plan *plan, uint8_t *out, uint32_t header_bytes)
{
    uint32_t total = plan->bytes + plan->to.message_bytes;

    wire_put32(out, total - WIRE_FRAME_LEN_BYTES);
    wire_put16(out + 4, CODEC_TTHEADER_MAGIC);
    wire_put16(out + 6, plan->header->flags);
    wire_put32(out + 8, (uint32_t)plan->to.sequence);
    wire_put16(out + 12, (uint16_t)((header_bytes - CODEC_TTHEADER_FIXED_BYTES) / UNIT_BYTES));
    wire_put16(out + 14, 0); /* Thrift Binary, no transforms */
}

void codec_ttheader_write(const struct codec_ttheader_plan *plan, uint8_t *out)
{
    static const uint8_t zeros[UNIT_BYTES] = {0};
    uint32_t inner = plan->to.is_inner_framed ? WIRE_FRAME_LEN_BYTES : 0;
    uint8_t *end = out + plan->bytes;

    put_fixed(plan, out, plan->bytes - inner);
    out = put_info(plan, out + CODEC_TTHEADER_INFO_OFF);
    out = put_new_block(plan, out, true);
    out = put_new_block(plan, out, false);
    out = put(out, zeros, padding_of(plan->info_bytes));
    if (plan->to.is_inner_framed) {
        wire_put32(out, plan->to.message_bytes);
    }
    assert(out + inner == end); /* the plan counted right */
}
