/*
 * codec/rewrite.c: edits as a list of splices, kept in the order of their offsets.
 *
 * Nothing is written to the frame before codec_rewrite_finish(): only there is known whether all
 * edits together fit into the frame's limit. A splice that drops as many bytes as it inserts is
 * an edit in place.
 *
 *     body     [ ... log id ... Extra: types count entries ... STOP ... ]
 *     splices       ^4+len              ^      ^in place  ^end         ^new fields
 *
 * Within one offset the order is: entries of Extra, the added Extra, the added LogID; Extra may
 * be the last field of Base, so that its end is where new fields go.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/rewrite.h"

#include <assert.h>
#include <string.h>

#define FIELD_HEADER_BYTES 3
#define MAP_HEADER_BYTES   6
#define LENGTH_BYTES       4

void codec_rewrite_begin(struct codec_rewrite *rewrite)
{
    rewrite->splices_len = 0;
    rewrite->scratch_len = 0;
    rewrite->dropped = false;
    rewrite->name_prefix_len = 0;
    rewrite->extra_added = 0;
    rewrite->extra_added_id = 0;
    rewrite->extra_count_off = 0;
}

/* --- the scratch --- */

/* Room for len more bytes, or the edit is dropped. */
static bool scratch_has(struct codec_rewrite *rewrite, size_t len)
{
    if (len > (size_t)(CODEC_REWRITE_SCRATCH_BYTES - rewrite->scratch_len)) {
        rewrite->dropped = true;
        return false;
    }
    return true;
}

static void put(struct codec_rewrite *rewrite, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(rewrite->scratch + rewrite->scratch_len, bytes, len);
    }
    rewrite->scratch_len = (uint16_t)(rewrite->scratch_len + len);
}

static void put_string(struct codec_rewrite *rewrite, const char *text, size_t len)
{
    uint8_t wire[LENGTH_BYTES];

    wire_put32(wire, (uint32_t)len);
    put(rewrite, wire, sizeof wire);
    put(rewrite, text, len);
}

static void put_field(struct codec_rewrite *rewrite, uint8_t type, uint8_t id)
{
    const uint8_t wire[FIELD_HEADER_BYTES] = {type, 0, id};

    put(rewrite, wire, sizeof wire);
}

/* --- splices --- */

/* The splice that replaces what is at off already, or NULL. */
static struct codec_splice *replacement_at(struct codec_rewrite *rewrite, uint32_t off)
{
    for (size_t i = 0; i < rewrite->splices_len; i++) {
        if (rewrite->splices[i].off == off && rewrite->splices[i].drop_len > 0) {
            return &rewrite->splices[i];
        }
    }
    return NULL;
}

/* Whether a splice can go in; asked before the scratch is written. */
static bool splices_have_room(struct codec_rewrite *rewrite)
{
    if (rewrite->splices_len == CODEC_REWRITE_SPLICES_MAX) {
        rewrite->dropped = true;
        return false;
    }
    return true;
}

/* Takes what the scratch got since ins_off. Behind its equals, but before an added LogID. */
static void add_splice(struct codec_rewrite *rewrite, uint32_t off, uint32_t drop_len,
                       uint16_t ins_off, bool is_log_id)
{
    size_t at = rewrite->splices_len;

    assert(at < CODEC_REWRITE_SPLICES_MAX);
    while (at > 0) {
        const struct codec_splice *before = &rewrite->splices[at - 1];
        if (before->off < off || (before->off == off && !before->is_log_id)) {
            break;
        }
        rewrite->splices[at] = *before;
        at--;
    }
    rewrite->splices[at] = (struct codec_splice){
        .off = off,
        .drop_len = drop_len,
        .ins_off = ins_off,
        .ins_len = (uint16_t)(rewrite->scratch_len - ins_off),
        .is_log_id = is_log_id,
    };
    rewrite->splices_len++;
}

/* The string at off (its length first, old_len bytes) becomes this one. */
static void replace_string(struct codec_rewrite *rewrite, uint32_t off, uint32_t old_len,
                           const char *text, size_t len)
{
    struct codec_splice *earlier = replacement_at(rewrite, off);
    uint16_t ins_off = rewrite->scratch_len;

    if (!scratch_has(rewrite, LENGTH_BYTES + len) || (!earlier && !splices_have_room(rewrite))) {
        return;
    }
    put_string(rewrite, text, len);
    if (earlier) {
        earlier->ins_off = ins_off;
        earlier->ins_len = (uint16_t)(rewrite->scratch_len - ins_off);
    } else {
        add_splice(rewrite, off, LENGTH_BYTES + old_len, ins_off, false);
    }
}

/* --- Extra --- */

static bool is_extra_id(int id)
{
    return id == 1 || id == 3 || id == 5 || id == 6;
}

static int choose_extra_id(const struct codec_base *base, int extra_id)
{
    if (extra_id != CODEC_EXTRA_ID_AUTO) {
        return extra_id;
    }
    /* The canonical IDL has Addr in 3 and Client in 4; the talk's ends with Extra in 3. */
    return base->types[4] != 0 || base->types[3] == WIRE_STRING ? 6 : 3;
}

static bool adds_log_id(const struct codec_rewrite *rewrite)
{
    for (size_t i = 0; i < rewrite->splices_len; i++) {
        if (rewrite->splices[i].is_log_id) {
            return true;
        }
    }
    return false;
}

/* Whether a new Extra can have this id: looked for there, and nothing stands there. */
static bool extra_id_is_free(const struct codec_rewrite *rewrite, const struct codec_base *base,
                             int id)
{
    return is_extra_id(id) && base->types[id] == 0 && !(id == 1 && adds_log_id(rewrite));
}

static uint32_t extra_end(const struct codec_base *base)
{
    return base->extra.present ? base->extra.entries.off + base->extra.entries.len : base->stop_off;
}

/* The splice that adds to Extra, if its bytes are the scratch's last and so may grow. */
static struct codec_splice *growing_addition(struct codec_rewrite *rewrite,
                                             const struct codec_base *base)
{
    for (size_t i = 0; i < rewrite->splices_len; i++) {
        struct codec_splice *splice = &rewrite->splices[i];
        if (splice->off == extra_end(base) && splice->drop_len == 0 && !splice->is_log_id &&
            splice->ins_off + splice->ins_len == rewrite->scratch_len) {
            return splice;
        }
    }
    return NULL;
}

/* The field's header and an empty map, whose count is raised by every entry. */
static void put_extra_header(struct codec_rewrite *rewrite, uint8_t id)
{
    static const uint8_t empty_map[MAP_HEADER_BYTES] = {WIRE_STRING, WIRE_STRING};

    put_field(rewrite, WIRE_MAP, id);
    rewrite->extra_added_id = id;
    rewrite->extra_count_off = (uint16_t)(rewrite->scratch_len + 2);
    put(rewrite, empty_map, sizeof empty_map);
}

static void add_entry(struct codec_rewrite *rewrite, const struct codec_base *base, int extra_id,
                      const char *key, size_t key_len, const char *value, size_t value_len)
{
    bool adds_extra = !base->extra.present && rewrite->extra_added == 0;
    size_t header = adds_extra ? FIELD_HEADER_BYTES + MAP_HEADER_BYTES : 0;
    struct codec_splice *growing = adds_extra ? NULL : growing_addition(rewrite, base);
    uint16_t ins_off = rewrite->scratch_len;

    if (!scratch_has(rewrite, header + (size_t)2 * LENGTH_BYTES + key_len + value_len) ||
        (!growing && !splices_have_room(rewrite))) {
        return;
    }
    if (adds_extra) {
        put_extra_header(rewrite, (uint8_t)extra_id);
    }
    put_string(rewrite, key, key_len);
    put_string(rewrite, value, value_len);
    if (growing) {
        growing->ins_len = (uint16_t)(rewrite->scratch_len - growing->ins_off);
    } else {
        add_splice(rewrite, extra_end(base), 0, ins_off, false);
    }
    rewrite->extra_added++;
    if (!base->extra.present) {
        wire_put32(rewrite->scratch + rewrite->extra_count_off, rewrite->extra_added);
    }
}

void codec_rewrite_extra_set(struct codec_rewrite *rewrite, const uint8_t *body,
                             const struct codec_base *base, int extra_id, const char *key,
                             size_t key_len, const char *value, size_t value_len)
{
    struct wire_span old;
    int id = choose_extra_id(base, extra_id);

    /* Refused here, so that no sum below can wrap. The scratch has no room for them anyway. */
    if (key_len > CODEC_REWRITE_SCRATCH_BYTES || value_len > CODEC_REWRITE_SCRATCH_BYTES) {
        rewrite->dropped = true;
    } else if (base->extra.present && codec_extra_find(body, &base->extra, key, key_len, &old)) {
        replace_string(rewrite, old.off - LENGTH_BYTES, old.len, value, value_len);
    } else if (base->extra.present || extra_id_is_free(rewrite, base, id)) {
        add_entry(rewrite, base, id, key, key_len, value, value_len);
    }
}

void codec_rewrite_log_id_set(struct codec_rewrite *rewrite, const struct codec_base *base,
                              const char *log_id, size_t len)
{
    uint16_t ins_off = rewrite->scratch_len;

    if (len > CODEC_REWRITE_SCRATCH_BYTES) {
        rewrite->dropped = true;
    } else if (base->has_log_id && base->log_id.len == 0) {
        replace_string(rewrite, base->log_id.off - LENGTH_BYTES, 0, log_id, len);
    } else if (base->types[1] == 0 && rewrite->extra_added_id != 1 && !adds_log_id(rewrite) &&
               scratch_has(rewrite, FIELD_HEADER_BYTES + LENGTH_BYTES + len) &&
               splices_have_room(rewrite)) {
        put_field(rewrite, WIRE_STRING, 1);
        put_string(rewrite, log_id, len);
        add_splice(rewrite, base->stop_off, 0, ins_off, true);
    }
}

/* --- the name --- */

void codec_rewrite_name_strip(struct codec_rewrite *rewrite, const struct codec_message *message,
                              uint32_t prefix_len)
{
    uint8_t wire[LENGTH_BYTES];
    uint16_t ins_off = rewrite->scratch_len;

    assert(prefix_len <= message->name.len && rewrite->name_prefix_len == 0);
    if (prefix_len == 0 || !scratch_has(rewrite, sizeof wire) || !splices_have_room(rewrite)) {
        return;
    }
    rewrite->name_prefix_len = prefix_len;
    wire_put32(wire, message->name.len - prefix_len);
    put(rewrite, wire, sizeof wire);
    add_splice(rewrite, message->name.off - LENGTH_BYTES, LENGTH_BYTES + prefix_len, ins_off,
               false);
}

/* --- laying out --- */

/* All but the name's. */
static void drop_edits(struct codec_rewrite *rewrite, const struct codec_message *message)
{
    uint32_t prefix_len = rewrite->name_prefix_len;

    codec_rewrite_begin(rewrite);
    codec_rewrite_name_strip(rewrite, message, prefix_len);
    rewrite->dropped = true;
}

/* The body's length with all edits. */
static uint64_t edited_len(const struct codec_rewrite *rewrite, uint32_t body_len)
{
    uint64_t len = body_len;

    for (size_t i = 0; i < rewrite->splices_len; i++) {
        len += rewrite->splices[i].ins_len;
        len -= rewrite->splices[i].drop_len;
    }
    return len;
}

static bool is_in_place(const struct codec_splice *splice)
{
    return splice->drop_len == splice->ins_len;
}

static void replace_in_place(const struct codec_rewrite *rewrite, uint8_t *body)
{
    for (size_t i = 0; i < rewrite->splices_len; i++) {
        const struct codec_splice *splice = &rewrite->splices[i];
        if (is_in_place(splice)) {
            memcpy(body + splice->off, rewrite->scratch + splice->ins_off, splice->ins_len);
        }
    }
}

/* The count in any case: an earlier attempt may have added more. The types matter where the map was
 * empty: they may have been 0/0. */
static void patch_extra(const struct codec_rewrite *rewrite, uint8_t *body,
                        const struct codec_base *base)
{
    uint8_t *types = body + base->extra.types_off;

    if (rewrite->extra_added > 0) {
        types[0] = types[1] = WIRE_STRING;
    }
    wire_put32(types + 2, base->extra.count + rewrite->extra_added);
}

static size_t put_iov(struct iovec *iov, size_t n, uint8_t *p, size_t len)
{
    if (len == 0) {
        return n;
    }
    /* What lies side by side in the scratch goes out as one. */
    if (n > 0 && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == p) {
        iov[n - 1].iov_len += len;
        return n;
    }
    iov[n] = (struct iovec){p, len};
    return n + 1;
}

static size_t lay_out(struct codec_rewrite *rewrite, uint8_t *frame, uint32_t body_len,
                      struct iovec iov[CODEC_REWRITE_IOVS_MAX])
{
    uint8_t *body = frame + WIRE_FRAME_LEN_BYTES;
    uint8_t *from = frame; /* the length goes with the body's first bytes */
    size_t n = 0;

    for (size_t i = 0; i < rewrite->splices_len; i++) {
        const struct codec_splice *splice = &rewrite->splices[i];
        if (is_in_place(splice)) {
            continue;
        }
        assert(from <= body + splice->off);
        n = put_iov(iov, n, from, (size_t)(body + splice->off - from));
        n = put_iov(iov, n, rewrite->scratch + splice->ins_off, splice->ins_len);
        from = body + splice->off + splice->drop_len;
    }
    return put_iov(iov, n, from, (size_t)(body + body_len - from));
}

size_t codec_rewrite_finish(struct codec_rewrite *rewrite, uint8_t *frame,
                            const struct codec_message *message, const struct codec_base *base,
                            uint32_t body_len, int32_t seqid, uint32_t max_frame_bytes,
                            struct iovec iov[CODEC_REWRITE_IOVS_MAX], size_t *ret_total)
{
    uint8_t *body = frame + WIRE_FRAME_LEN_BYTES;
    uint64_t len = edited_len(rewrite, body_len);

    if (rewrite->splices_len > 0 && len > max_frame_bytes) {
        drop_edits(rewrite, message);
        len = edited_len(rewrite, body_len);
    }
    replace_in_place(rewrite, body);
    if (base && base->extra.present) {
        patch_extra(rewrite, body, base);
    }
    wire_put32(frame, (uint32_t)len);
    wire_put32(body + message->seqid_off, (uint32_t)seqid);
    *ret_total = WIRE_FRAME_LEN_BYTES + (size_t)len;
    return lay_out(rewrite, frame, body_len, iov);
}
