/*
 * codec/rewrite.c: edits as a list of splices, kept in the order of their offsets.
 *
 *     body     [ name seqid ... log id ... Extra: types count | entries ... STOP ... ]
 *     splices                    ^4+len           ^6 and new    ^value     ^new fields
 *
 * Within one offset the order is: the added Extra, the added LogID. The message's header is copied
 * into the scratch where it fits: head, header and seqid then are one vector.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/rewrite.h"

#include "codec/json_find.h"

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
    rewrite->json_len_end = 0;
    rewrite->extra_added = 0;
    rewrite->extra_added_id = 0;
    rewrite->extra_count_off = 0;
}

/* --- the scratch --- */

/* Room for len more bytes, or the edit is dropped. */
static bool scratch_has(struct codec_rewrite *rewrite, size_t len)
{
    if (rewrite->scratch_len + len > CODEC_REWRITE_EDITS_BYTES) {
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

/* What was put since then; the mask tells the compiler that it fits a splice. */
static uint16_t scratch_since(const struct codec_rewrite *rewrite, uint16_t ins_off)
{
    return (rewrite->scratch_len - ins_off) & 0x3fff;
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

/* What a splice puts in: the order at one offset, and what may grow, hang on it. */
enum splice_kind {
    SPLICE_VALUE = 0,
    SPLICE_ADDITION, /* entries of Extra */
    SPLICE_LOG_ID
};

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
                       uint16_t ins_off, enum splice_kind kind)
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
        .ins_len = scratch_since(rewrite, ins_off),
        .is_log_id = kind == SPLICE_LOG_ID,
        .is_addition = kind == SPLICE_ADDITION,
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
        earlier->ins_len = scratch_since(rewrite, ins_off);
    } else {
        add_splice(rewrite, off, LENGTH_BYTES + old_len, ins_off, SPLICE_VALUE);
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

/* New entries go in front of the others, side by side with the count that goes up with them; those of a new
 * Extra, with its header, to the end of Base. */
static uint32_t addition_off(const struct codec_base *base)
{
    return base->extra.present ? base->extra.types_off : base->stop_off;
}

/* The splice that adds to Extra, if its bytes are the scratch's last and so may grow. */
static struct codec_splice *growing_addition(struct codec_rewrite *rewrite)
{
    for (size_t i = 0; i < rewrite->splices_len; i++) {
        struct codec_splice *splice = &rewrite->splices[i];
        if (splice->is_addition && splice->ins_off + splice->ins_len == rewrite->scratch_len) {
            return splice;
        }
    }
    return NULL;
}

/* What stands in front of the first entry that is added: the header of a new Extra, and the map's types and
 * count; the types become strings' where the map was empty. */
static void put_map_header(struct codec_rewrite *rewrite, const struct codec_base *base, int id)
{
    static const uint8_t map[MAP_HEADER_BYTES] = {WIRE_STRING, WIRE_STRING};

    if (!base->extra.present) {
        put_field(rewrite, WIRE_MAP, (uint8_t)id);
        rewrite->extra_added_id = (uint8_t)id;
    }
    rewrite->extra_count_off = (uint16_t)(rewrite->scratch_len + 2);
    put(rewrite, map, sizeof map);
}

static void add_entry(struct codec_rewrite *rewrite, const struct codec_base *base, int extra_id,
                      const struct codec_entry *entry)
{
    bool is_first = rewrite->extra_added == 0;
    size_t header = is_first ? FIELD_HEADER_BYTES + MAP_HEADER_BYTES : 0;
    struct codec_splice *growing = is_first ? NULL : growing_addition(rewrite);
    uint16_t ins_off = rewrite->scratch_len;
    uint32_t drop_len = base->extra.present ? MAP_HEADER_BYTES : 0;

    if (!scratch_has(rewrite,
                     header + (size_t)2 * LENGTH_BYTES + entry->key_len + entry->value_len) ||
        (!growing && !splices_have_room(rewrite))) {
        return;
    }
    if (is_first) {
        put_map_header(rewrite, base, extra_id);
    }
    put_string(rewrite, entry->key, entry->key_len);
    put_string(rewrite, entry->value, entry->value_len);
    if (growing) {
        growing->ins_len = scratch_since(rewrite, growing->ins_off);
    } else if (is_first) {
        add_splice(rewrite, addition_off(base), drop_len, ins_off, SPLICE_ADDITION);
    } else {
        add_splice(rewrite, addition_off(base) + drop_len, 0, ins_off, SPLICE_ADDITION);
    }
    rewrite->extra_added++;
    wire_put32(rewrite->scratch + rewrite->extra_count_off,
               (base->extra.present ? base->extra.count : 0) + rewrite->extra_added);
}

void codec_rewrite_extra_set(struct codec_rewrite *rewrite, const struct codec_base *base,
                             int extra_id, const struct codec_entry *entry)
{
    int id = choose_extra_id(base, extra_id);

    /* So long that no sum below can wrap; the scratch would refuse them anyway. */
    if (entry->key_len > CODEC_REWRITE_SCRATCH_BYTES ||
        entry->value_len > CODEC_REWRITE_SCRATCH_BYTES) {
        rewrite->dropped = true;
    } else if (base->extra.present && entry->old.off > 0) {
        replace_string(rewrite, entry->old.off - LENGTH_BYTES, entry->old.len, entry->value,
                       entry->value_len);
    } else if (base->extra.present || extra_id_is_free(rewrite, base, id)) {
        add_entry(rewrite, base, id, entry);
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
        add_splice(rewrite, base->stop_off, 0, ins_off, SPLICE_LOG_ID);
    }
}

/* --- a JSON text --- */

/* Where the text begins that is edited already; 0: none is. */
static uint32_t edited_json(const struct codec_rewrite *rewrite)
{
    for (size_t i = 0; rewrite->json_len_end > 0 && i < rewrite->splices_len; i++) {
        if (rewrite->splices[i].ins_off + LENGTH_BYTES == rewrite->json_len_end) {
            return rewrite->splices[i].off + LENGTH_BYTES;
        }
    }
    return 0;
}

/* A text's length is rewritten with its first member. */
static void put_json_length(struct codec_rewrite *rewrite, struct wire_span text)
{
    uint16_t ins_off = rewrite->scratch_len;
    uint8_t length[LENGTH_BYTES];

    wire_put32(length, text.len);
    put(rewrite, length, sizeof length);
    add_splice(rewrite, text.off - LENGTH_BYTES, LENGTH_BYTES, ins_off, SPLICE_VALUE);
    rewrite->json_len_end = rewrite->scratch_len;
}

/* Whether a member's value can go in, and the length where that is not there yet. */
static bool json_has_room(struct codec_rewrite *rewrite, size_t len, bool is_first, bool is_again)
{
    size_t splices = (is_first ? 1u : 0u) + (is_again ? 0u : 1u);

    if (rewrite->splices_len + splices > CODEC_REWRITE_SPLICES_MAX) {
        rewrite->dropped = true;
        return false;
    }
    return scratch_has(rewrite, len + (is_first ? LENGTH_BYTES : 0));
}

/* Room for the edit, and the length of the text that it belongs to. */
static bool begin_json_edit(struct codec_rewrite *rewrite, struct wire_span text, size_t len,
                            bool is_again)
{
    uint32_t edited = edited_json(rewrite);

    if (len == 0 || (edited > 0 && edited != text.off)) {
        rewrite->dropped = true;
        return false;
    }
    if (!json_has_room(rewrite, len, edited == 0, is_again)) {
        return false;
    }
    if (edited == 0) {
        put_json_length(rewrite, text);
    }
    return true;
}

/* How long it is as JSON; 0: it is none, or too long anyway. */
static size_t quoted_len(const char *text, size_t len)
{
    return len > CODEC_REWRITE_SCRATCH_BYTES ? 0 : json_quote(text, len, NULL, 0);
}

static void put_quoted(struct codec_rewrite *rewrite, const char *text, size_t len)
{
    size_t room = CODEC_REWRITE_EDITS_BYTES - rewrite->scratch_len;
    size_t n = json_quote(text, len, (char *)rewrite->scratch + rewrite->scratch_len, room);

    rewrite->scratch_len = (uint16_t)(rewrite->scratch_len + n);
}

/* What the scratch got since ins_off came into the text instead of so many bytes. */
static void grow_json(struct codec_rewrite *rewrite, uint16_t ins_off, uint32_t old_len)
{
    uint8_t *length = rewrite->scratch + rewrite->json_len_end - LENGTH_BYTES;

    wire_put32(length, wire_get32(length) - old_len + scratch_since(rewrite, ins_off));
}

void codec_rewrite_json_set(struct codec_rewrite *rewrite, const struct codec_json_member *member,
                            const char *value, size_t len)
{
    uint32_t off = member->text.off + member->raw.off;
    struct codec_splice *earlier = edited_json(rewrite) > 0 ? replacement_at(rewrite, off) : NULL;

    if (!begin_json_edit(rewrite, member->text, quoted_len(value, len), earlier != NULL)) {
        return;
    }
    uint16_t ins_off = rewrite->scratch_len;
    put_quoted(rewrite, value, len);
    grow_json(rewrite, ins_off, earlier ? earlier->ins_len : member->raw.len);
    if (earlier) {
        earlier->ins_off = ins_off;
        earlier->ins_len = scratch_since(rewrite, ins_off);
    } else {
        add_splice(rewrite, off, member->raw.len, ins_off, SPLICE_VALUE);
    }
}

void codec_rewrite_json_add(struct codec_rewrite *rewrite, const struct codec_json_member *behind,
                            const struct codec_entry *entry)
{
    size_t key_len = quoted_len(entry->key, entry->key_len);
    size_t value_len = quoted_len(entry->value, entry->value_len);
    size_t len = key_len > 0 && value_len > 0 ? 2 + key_len + value_len : 0;

    if (!begin_json_edit(rewrite, behind->text, len, false)) {
        return;
    }
    uint16_t ins_off = rewrite->scratch_len;
    put(rewrite, ",", 1);
    put_quoted(rewrite, entry->key, entry->key_len);
    put(rewrite, ":", 1);
    put_quoted(rewrite, entry->value, entry->value_len);
    grow_json(rewrite, ins_off, 0);
    add_splice(rewrite, behind->text.off + behind->raw.off + behind->raw.len, 0, ins_off,
               SPLICE_VALUE);
}

/* --- laying out --- */

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

static size_t put_iov(struct iovec *iov, size_t n, const uint8_t *p, size_t len)
{
    if (len == 0) {
        return n;
    }
    /* What lies side by side goes out as one. */
    if (n > 0 && (const uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == p) {
        iov[n - 1].iov_len += len;
        return n;
    }
    /* writev(2) only reads; its type cannot say so. */
    iov[n] = (struct iovec){(void *)(uintptr_t)p, len};
    return n + 1;
}

/* Head, message header and seqid; *ret_from is where the body goes on. A name that is too long for the scratch
 * goes out from where it lies. */
static size_t lay_out_header(struct codec_rewrite *rewrite, const uint8_t *body,
                             const struct codec_message *message, const struct codec_rewrite_to *to,
                             struct iovec *iov, uint32_t *ret_from)
{
    uint8_t *start = rewrite->scratch + rewrite->scratch_len;
    uint8_t *out = start + to->head_bytes;
    const uint8_t *name = body + message->name.off + to->name_skip;
    uint32_t name_len = message->name.len - to->name_skip;
    size_t room = CODEC_REWRITE_SCRATCH_BYTES - rewrite->scratch_len;
    bool fits = name_len <= room - to->head_bytes - WIRE_MESSAGE_MIN_BYTES;

    memcpy(out, body, LENGTH_BYTES); /* version and type */
    wire_put32(out + LENGTH_BYTES, name_len);
    out += (size_t)2 * LENGTH_BYTES;
    if (fits && name_len > 0) {
        memcpy(out, name, name_len);
        out += name_len;
    }
    wire_put32(out, (uint32_t)to->seqid);
    *ret_from = message->seqid_off + WIRE_SEQID_BYTES;
    if (fits) {
        return put_iov(iov, 0, start, (size_t)(out - start) + WIRE_SEQID_BYTES);
    }
    size_t n = put_iov(iov, 0, start, (size_t)(out - start));
    n = put_iov(iov, n, name, name_len);
    return put_iov(iov, n, out, WIRE_SEQID_BYTES);
}

size_t codec_rewrite_finish(struct codec_rewrite *rewrite, const uint8_t *body, uint32_t body_len,
                            const struct codec_message *message, const struct codec_rewrite_to *to,
                            struct iovec iov[CODEC_REWRITE_IOVS_MAX], uint32_t *ret_len)
{
    uint32_t stripped_len = body_len - to->name_skip;
    uint64_t len = edited_len(rewrite, stripped_len);
    uint32_t from;

    assert(to->name_skip <= message->name.len);

    if (rewrite->splices_len > 0 && len > to->max_bytes) {
        codec_rewrite_begin(rewrite);
        rewrite->dropped = true;
        len = stripped_len;
    }
    *ret_len = (uint32_t)len;
    size_t n = lay_out_header(rewrite, body, message, to, iov, &from);
    for (size_t i = 0; i < rewrite->splices_len; i++) {
        const struct codec_splice *splice = &rewrite->splices[i];
        assert(from <= splice->off);
        n = put_iov(iov, n, body + from, splice->off - from);
        n = put_iov(iov, n, rewrite->scratch + splice->ins_off, splice->ins_len);
        from = splice->off + splice->drop_len;
    }
    return put_iov(iov, n, body + from, body_len - from);
}
