/*
 * codec/ttheader.c: the proof, token by token, as codec/scan.c does it.
 *
 * A token is what must be seen in one piece: four bytes here and there of the fixed part, a block's kind and
 * count, an entry up to its value's length. Either all of it has arrived and it is judged, or nothing of it is
 * consumed. Values are stepped over by arithmetic. Lengths are compared with what is left of the header
 * before anything is added: pos never passes it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/ttheader.h"

#include <assert.h>
#include <string.h>

#define FLAG_STREAM 0x0002

#define LENGTH_BYTES 2 /* of a key, a value, and a count */
#define ID_BYTES     2
#define BLOCK_BYTES  3 /* kind and count */

enum step { STEP_GO = 0, STEP_MORE, STEP_DONE, STEP_BAD };

static enum step fail(struct codec_ttheader *h, enum codec_ttheader_error error)
{
    h->error = error;
    h->error_off = h->pos;
    return STEP_BAD;
}

/* Of the fixed part and of the payload: bytes that exist if they have not come yet. */
static enum step reach(const struct codec_ttheader *h, size_t avail, uint32_t need)
{
    return (uint64_t)h->pos + need <= avail ? STEP_GO : STEP_MORE;
}

/* Of the info blocks: bytes that the header may not have. */
static enum step reach_info(struct codec_ttheader *h, size_t avail, uint32_t need)
{
    return need > h->header_bytes - h->pos ? fail(h, CODEC_TTHEADER_ERROR_CUT)
                                           : reach(h, avail, need);
}

/* --- the fixed part --- */

/* The largest length that a message within the limit can have: behind the longest header, framed. */
static uint64_t length_max(const struct codec_ttheader *h)
{
    uint64_t max = (uint64_t)CODEC_TTHEADER_BYTES_MAX + h->max_bytes;

    return max < CODEC_TTHEADER_LENGTH_MAX ? max : CODEC_TTHEADER_LENGTH_MAX;
}

static enum step take_length(struct codec_ttheader *h, const uint8_t *p)
{
    uint32_t length = wire_get32(p);

    if (length > length_max(h)) {
        return fail(h, CODEC_TTHEADER_ERROR_TOO_LARGE);
    }
    h->pos = WIRE_FRAME_LEN_BYTES;
    h->total_bytes = WIRE_FRAME_LEN_BYTES + length;
    return STEP_GO;
}

static enum step take_magic(struct codec_ttheader *h, const uint8_t *p)
{
    if (wire_get16(p + h->pos) != CODEC_TTHEADER_MAGIC) {
        return fail(h, CODEC_TTHEADER_ERROR_MAGIC);
    }
    h->flags = wire_get16(p + h->pos + 2);
    if (h->flags & FLAG_STREAM) {
        return fail(h, CODEC_TTHEADER_ERROR_STREAM);
    }
    h->pos += 4;
    return STEP_GO;
}

/* Sequence and header size. */
static enum step take_sizes(struct codec_ttheader *h, const uint8_t *p)
{
    uint32_t size = 4u * wire_get16(p + h->pos + 4);
    uint32_t header_bytes = CODEC_TTHEADER_FIXED_BYTES + size;

    if (size == 0) {
        return fail(h, CODEC_TTHEADER_ERROR_HEADER_SIZE);
    }
    if (h->total_bytes < header_bytes + WIRE_MESSAGE_MIN_BYTES) {
        return fail(h, CODEC_TTHEADER_ERROR_LENGTH);
    }
    h->sequence = (int32_t)wire_get32(p + h->pos);
    h->header_bytes = header_bytes;
    h->pos = CODEC_TTHEADER_FIXED_BYTES;
    return STEP_GO;
}

static enum step take_protocol(struct codec_ttheader *h, const uint8_t *p)
{
    if (p[h->pos] != 0) {
        return fail(h, CODEC_TTHEADER_ERROR_PROTOCOL);
    }
    if (p[h->pos + 1] != 0) {
        return fail(h, CODEC_TTHEADER_ERROR_TRANSFORM);
    }
    h->pos = h->info_end = CODEC_TTHEADER_INFO_OFF;
    h->is_opened = true;
    return STEP_GO;
}

static enum step run_fixed(struct codec_ttheader *h, const uint8_t *p, size_t avail)
{
    static const struct {
        uint32_t off;
        uint32_t need;
        enum step (*take)(struct codec_ttheader *, const uint8_t *);
    } parts[] = {
        {0, 4, take_length}, {4, 4, take_magic}, {8, 6, take_sizes}, {14, 2, take_protocol}};
    enum step step = STEP_GO;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && step == STEP_GO; i++) {
        if (h->pos > parts[i].off) {
            continue;
        }
        step = reach(h, avail, parts[i].need);
        if (step == STEP_GO) {
            step = parts[i].take(h, p);
        }
    }
    return step;
}

/* --- info blocks --- */

/* Which of the entries with numbers this is; INT_MAX where it is none that matters. */
static enum codec_ttheader_int index_of(uint16_t id)
{
    switch (id) {
#define X(name, key)                                                                               \
    case CODEC_TTHEADER_KEY_##name:                                                                \
        return CODEC_TTHEADER_INT_##name;
        CODEC_TTHEADER_INTS(X)
#undef X
    default:
        return CODEC_TTHEADER_INT_MAX;
    }
}

/* The value whose length is `before` bytes behind pos. */
static enum step take_value(struct codec_ttheader *h, const uint8_t *p, size_t avail,
                            uint32_t before)
{
    enum step step = reach_info(h, avail, before + LENGTH_BYTES);

    if (step != STEP_GO) {
        return step;
    }
    uint32_t len = wire_get16(p + h->pos + before);
    uint32_t room = h->header_bytes - h->pos - before - LENGTH_BYTES;
    if (len > room) {
        return fail(h, CODEC_TTHEADER_ERROR_CUT);
    }
    h->pos += before + LENGTH_BYTES + len;
    h->info_end = h->pos;
    return STEP_GO;
}

static enum step take_text_entry(struct codec_ttheader *h, const uint8_t *p, size_t avail)
{
    enum step step = reach_info(h, avail, LENGTH_BYTES);

    return step == STEP_GO ? take_value(h, p, avail, LENGTH_BYTES + wire_get16(p + h->pos)) : step;
}

static enum step take_int_entry(struct codec_ttheader *h, const uint8_t *p, size_t avail)
{
    uint32_t off = h->pos;
    enum step step = take_value(h, p, avail, ID_BYTES);

    if (step != STEP_GO) {
        return step;
    }
    enum codec_ttheader_int index = index_of(wire_get16(p + off));
    if (index != CODEC_TTHEADER_INT_MAX) {
        uint32_t value_off = off + ID_BYTES + LENGTH_BYTES;
        h->ints[index] = (struct wire_span){value_off, h->pos - value_off};
    }
    return STEP_GO;
}

/* Behind the zeros at pos: eight at once where there are many. */
static uint32_t skip_padding(const uint8_t *p, uint32_t pos, uint32_t end)
{
    uint64_t word;

    for (; end - pos >= sizeof word; pos += sizeof word) {
        memcpy(&word, p + pos, sizeof word);
        if (word != 0) {
            break;
        }
    }
    while (pos < end && p[pos] == CODEC_TTHEADER_INFO_PADDING) {
        pos++;
    }
    return pos;
}

/* n more of what is limited. */
static bool count_items(struct codec_ttheader *h, uint32_t n)
{
    h->items += n;
    return h->items <= CODEC_TTHEADER_ITEMS_MAX;
}

static enum step take_token(struct codec_ttheader *h, const uint8_t *p, size_t avail)
{
    enum step step = take_value(h, p, avail, 1);

    return step == STEP_GO && !count_items(h, 1) ? fail(h, CODEC_TTHEADER_ERROR_ITEMS) : step;
}

/* A kind and a count. */
static enum step open_block(struct codec_ttheader *h, const uint8_t *p, size_t avail)
{
    enum step step = reach_info(h, avail, BLOCK_BYTES);

    if (step != STEP_GO) {
        return step;
    }
    h->info = p[h->pos];
    h->left = wire_get16(p + h->pos + 1);
    if (!count_items(h, 1u + h->left)) {
        return fail(h, CODEC_TTHEADER_ERROR_ITEMS);
    }
    h->pos += BLOCK_BYTES;
    h->info_end = h->pos;
    return STEP_GO;
}

/* The kind at pos, and what stands in front of the entries. */
static enum step take_block(struct codec_ttheader *h, const uint8_t *p, size_t avail)
{
    enum step step = reach_info(h, avail, 1);

    if (step != STEP_GO) {
        return step;
    }
    switch (p[h->pos]) {
    case CODEC_TTHEADER_INFO_PADDING:
        h->pos =
            skip_padding(p, h->pos, avail < h->header_bytes ? (uint32_t)avail : h->header_bytes);
        return STEP_GO;
    case CODEC_TTHEADER_INFO_TOKEN:
        return take_token(h, p, avail);
    case CODEC_TTHEADER_INFO_TEXT:
    case CODEC_TTHEADER_INFO_INT:
        return open_block(h, p, avail);
    default:
        return fail(h, CODEC_TTHEADER_ERROR_INFO);
    }
}

static enum step run_info(struct codec_ttheader *h, const uint8_t *p, size_t avail)
{
    enum step step = STEP_GO;

    while (step == STEP_GO && (h->left > 0 || h->pos < h->header_bytes)) {
        if (h->left == 0) {
            step = take_block(h, p, avail);
            continue;
        }
        step = h->info == CODEC_TTHEADER_INFO_INT ? take_int_entry(h, p, avail)
                                                  : take_text_entry(h, p, avail);
        h->left -= step == STEP_GO;
    }
    return step;
}

/* --- the payload --- */

/* A message begins with a set bit, a length has none; what is neither, the message's proof refuses. */
static enum step take_payload(struct codec_ttheader *h, const uint8_t *p, size_t avail)
{
    enum step step = reach(h, avail, WIRE_FRAME_LEN_BYTES);
    struct wire_span rest = {h->header_bytes, h->total_bytes - h->header_bytes};

    if (step != STEP_GO) {
        return step;
    }
    uint32_t word = wire_get32(p + rest.off);
    h->is_inner_framed = word <= INT32_MAX;
    if (h->is_inner_framed) {
        rest.off += WIRE_FRAME_LEN_BYTES;
        rest.len -= WIRE_FRAME_LEN_BYTES;
    }
    if (h->is_inner_framed && word != rest.len) {
        return fail(h, CODEC_TTHEADER_ERROR_INNER_LENGTH);
    }
    if (rest.len > h->max_bytes) {
        return fail(h, CODEC_TTHEADER_ERROR_TOO_LARGE);
    }
    h->message = rest;
    return STEP_DONE;
}

/* --- the door --- */

void codec_ttheader_begin(struct codec_ttheader *header, uint32_t max_bytes)
{
    *header = (struct codec_ttheader){.max_bytes = max_bytes};
}

enum codec_ttheader_status codec_ttheader_run(struct codec_ttheader *header, const uint8_t *p,
                                              size_t avail)
{
    static const enum codec_ttheader_status statuses[] = {
        [STEP_MORE] = CODEC_TTHEADER_MORE,
        [STEP_DONE] = CODEC_TTHEADER_DONE,
        [STEP_BAD] = CODEC_TTHEADER_BAD,
    };
    enum step step = STEP_GO;

    assert(header->error == CODEC_TTHEADER_ERROR_NONE);
    if (!header->is_opened) {
        step = run_fixed(header, p, avail);
    }
    if (step == STEP_GO) {
        step = run_info(header, p, avail);
    }
    if (step == STEP_GO) {
        step = take_payload(header, p, avail);
    }
    return statuses[step];
}

const char *codec_ttheader_error_str(enum codec_ttheader_error error)
{
    static const char *const texts[CODEC_TTHEADER_ERROR_MAX] = {
#define X(name, text) [CODEC_TTHEADER_ERROR_##name] = (text),
        CODEC_TTHEADER_ERRORS(X)
#undef X
    };

    return (unsigned)error < CODEC_TTHEADER_ERROR_MAX ? texts[error] : "unknown error";
}

/* --- the second pass --- */

/* The text whose 2-byte length is at off. */
static struct wire_span text_at(const uint8_t *p, uint32_t off)
{
    return (struct wire_span){off + LENGTH_BYTES, wire_get16(p + off)};
}

static void read_entry(struct codec_ttheader_walk *walk, struct codec_ttheader_item *ret)
{
    uint32_t off = walk->pos + ID_BYTES;

    walk->left--;
    if (walk->info == CODEC_TTHEADER_INFO_INT) {
        ret->id = wire_get16(walk->p + walk->pos);
    } else {
        ret->key = text_at(walk->p, walk->pos);
        off = ret->key.off + ret->key.len;
    }
    ret->value = text_at(walk->p, off);
    walk->pos = ret->value.off + ret->value.len;
}

static void read_block(struct codec_ttheader_walk *walk, struct codec_ttheader_item *ret)
{
    walk->info = walk->p[walk->pos];
    switch (walk->info) {
    case CODEC_TTHEADER_INFO_PADDING:
        walk->pos = skip_padding(walk->p, walk->pos, walk->end);
        break;
    case CODEC_TTHEADER_INFO_TOKEN:
        ret->value = text_at(walk->p, walk->pos + 1);
        walk->pos = ret->value.off + ret->value.len;
        break;
    default:
        ret->is_block = true;
        ret->count = walk->left = wire_get16(walk->p + walk->pos + 1);
        walk->pos += BLOCK_BYTES;
        break;
    }
}

void codec_ttheader_walk_begin(struct codec_ttheader_walk *walk,
                               const struct codec_ttheader *header, const uint8_t *p)
{
    *walk = (struct codec_ttheader_walk){
        .p = p, .pos = CODEC_TTHEADER_INFO_OFF, .end = header->info_end};
}

bool codec_ttheader_walk_next(struct codec_ttheader_walk *walk, struct codec_ttheader_item *ret)
{
    uint32_t off = walk->pos;

    if (off == walk->end) {
        return false;
    }
    *ret = (struct codec_ttheader_item){0};
    if (walk->left > 0) {
        read_entry(walk, ret);
    } else {
        read_block(walk, ret);
    }
    assert(walk->pos <= walk->end); /* it was proved */
    ret->info = walk->info;
    ret->span = (struct wire_span){off, walk->pos - off};
    return true;
}

void codec_ttheader_find_many(const uint8_t *p, const struct codec_ttheader *header, size_t n,
                              const struct codec_key keys[], struct wire_span ret_values[])
{
    struct codec_ttheader_walk walk;
    struct codec_ttheader_item item;

    memset(ret_values, 0, n * sizeof ret_values[0]);
    codec_ttheader_walk_begin(&walk, header, p);
    while (codec_ttheader_walk_next(&walk, &item)) {
        for (size_t i = 0; i < n && item.info == CODEC_TTHEADER_INFO_TEXT && !item.is_block; i++) {
            if (keys[i].len == item.key.len &&
                memcmp(keys[i].name, p + item.key.off, item.key.len) == 0) {
                ret_values[i] = item.value;
            }
        }
    }
}
