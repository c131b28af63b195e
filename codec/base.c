/*
 * codec/base.c: what Base and BaseResp say.
 *
 * Base is walked once and only the place of the last field under each interesting id is kept;
 * what it means is decided at the end, so that "the last one counts" costs nothing.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/base.h"

#include "codec/proved.h"

#include <assert.h>
#include <string.h>

#define IDS_END 7 /* ids 1..6 are looked at */

#define BASE_RESP_CODE_ID 2

static bool is_string_map(const uint8_t *body, uint32_t off)
{
    uint8_t key = body[off];
    uint8_t value = body[off + 1];

    /* Some languages write 0 for the types of an empty map. */
    return (key == WIRE_STRING && value == WIRE_STRING) ||
           (key == 0 && value == 0 && wire_get32(body + off + 2) == 0);
}

static void read_extra(const uint8_t *body, const uint8_t types[IDS_END],
                       const struct wire_span values[IDS_END], struct codec_extra *ret)
{
    static const uint8_t ids[] = {1, 3, 5, 6};

    for (size_t i = 0; i < sizeof ids; i++) {
        uint32_t off = values[ids[i]].off;
        if (types[ids[i]] == WIRE_MAP && is_string_map(body, off)) {
            ret->present = true;
            ret->field_id = ids[i];
            ret->types_off = off;
            ret->count = wire_get32(body + off + 2);
            ret->entries = (struct wire_span){off + 6, values[ids[i]].len - 6};
            return;
        }
    }
}

void codec_base_read(const uint8_t *body, struct wire_span base, struct codec_base *ret)
{
    struct proved_walk walk = {body, base.off, base.off + base.len};
    struct wire_span values[IDS_END] = {{0, 0}};
    struct proved_field field;

    *ret = (struct codec_base){0};
    while (proved_walk_next(&walk, &field)) {
        if (field.id >= 1 && field.id < IDS_END) {
            ret->types[field.id] = field.type;
            values[field.id] = field.value;
        }
    }
    assert(walk.pos + 1 == walk.end);
    ret->stop_off = walk.pos;
    if (ret->types[1] == WIRE_STRING) {
        ret->has_log_id = true;
        ret->log_id = proved_string(body, values[1].off);
    }
    if (ret->types[2] == WIRE_STRING) {
        ret->has_caller = true;
        ret->caller = proved_string(body, values[2].off);
    }
    read_extra(body, ret->types, values, &ret->extra);
}

/* The last byte first: keys of one length mostly differ there. */
static inline bool key_equals(const struct codec_key *key, const uint8_t *p, uint32_t len)
{
    return key->len == len && (len == 0 || (uint8_t)key->name[len - 1] == p[len - 1]) &&
           memcmp(key->name, p, len) == 0;
}

void codec_extra_find_many(const uint8_t *body, const struct codec_extra *extra, size_t n,
                           const struct codec_key keys[], struct wire_span ret_values[])
{
    uint32_t off = extra->entries.off;

    memset(ret_values, 0, n * sizeof ret_values[0]);
    for (uint32_t i = 0; extra->present && i < extra->count; i++) {
        struct wire_span key = proved_string(body, off);
        struct wire_span value = proved_string(body, key.off + key.len);
        for (size_t k = 0; k < n; k++) {
            if (key_equals(&keys[k], body + key.off, key.len)) {
                ret_values[k] = value;
            }
        }
        off = value.off + value.len;
    }
    assert(off == extra->entries.off + extra->entries.len);
}

bool codec_extra_find(const uint8_t *body, const struct codec_extra *extra, const char *key,
                      size_t key_len, struct wire_span *ret_value)
{
    struct codec_key wanted = {key, key_len};
    struct wire_span value;

    codec_extra_find_many(body, extra, 1, &wanted, &value);
    if (value.off == 0) {
        return false;
    }
    *ret_value = value;
    return true;
}

void codec_extra_walk_begin(struct codec_extra_walk *walk, const uint8_t *body,
                            const struct codec_extra *extra)
{
    *walk = (struct codec_extra_walk){body, extra->entries.off, extra->present ? extra->count : 0};
}

bool codec_extra_walk_next(struct codec_extra_walk *walk, struct wire_span *ret_key,
                           struct wire_span *ret_value)
{
    if (walk->left == 0) {
        return false;
    }
    walk->left--;
    *ret_key = proved_string(walk->body, walk->pos);
    *ret_value = proved_string(walk->body, ret_key->off + ret_key->len);
    walk->pos = ret_value->off + ret_value->len;
    return true;
}

bool codec_base_resp_code(const uint8_t *body, const struct codec_message *message,
                          int32_t *ret_code)
{
    struct proved_walk walk = {body, message->base.off, message->base.off + message->base.len};
    struct proved_field field;
    struct proved_field code = {0};

    if (message->type != WIRE_REPLY || !message->has_base) {
        return false;
    }
    while (proved_walk_next(&walk, &field)) {
        if (field.id == BASE_RESP_CODE_ID) {
            code = field;
        }
    }
    if (code.type != WIRE_I32) {
        return false;
    }
    *ret_code = (int32_t)wire_get32(body + code.value.off);
    return true;
}
