/*
 * codec/scan.c: the proof, token by token.
 *
 * A token is what must be seen in one piece: the message header, a field's header with the fixed
 * part of its value, one element or the fixed part of it, a container's header. Either all of a
 * token has arrived and it is judged, or nothing of it is consumed and the caller comes again:
 * so the outcome can't depend on where the bytes were cut. What carries no structure (the bytes
 * of strings, elements of fixed width) is stepped over by arithmetic, also before it arrived.
 *
 *     cursor.pos       the next token; lim: below it, no question about bytes or budget arises
 *     scan->stack[]    the open structs and containers, depth of them; [0] is the arguments
 *
 * Lengths and counts are compared with what is left of the frame before anything is added, in 64
 * bits where they are multiplied: pos never passes frame_len. Without a frame the limit stands in its
 * place, and only two things differ: the last STOP is the end, and what passes frame_len is too large.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/scan.h"

#include <assert.h>
#include <string.h>

/* A step of this many bytes costs no budget: they are not examined. */
#define FREE_SKIP_BYTES 1024

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum shape {
    SHAPE_BAD = 0,
    SHAPE_FIXED,
    SHAPE_STRING,
    SHAPE_STRUCT,
    SHAPE_LIST, /* and set */
    SHAPE_MAP
};

/*
 * By type byte, all 256 of them: a peer's byte indexes this. Head is the fixed part of a value,
 * min all that it has at least: the two differ for structs, whose STOP is no head.
 */
struct type_info {
    uint8_t shape;
    uint8_t head;
    uint8_t min;
    uint8_t unused; /* four bytes are one load */
};

static const struct type_info types[256] = {
#define X(name, shape_, min_)                                                                      \
    [WIRE_##name] = {.shape = SHAPE_##shape_,                                                      \
                     .head = SHAPE_##shape_ == SHAPE_STRUCT ? 0 : (min_),                          \
                     .min = (min_)},
    WIRE_VALUES(X)
#undef X
};

enum step { STEP_GO = 0, STEP_MORE, STEP_YIELD, STEP_DONE, STEP_BAD };

struct cursor {
    struct codec_scan *scan;
    const uint8_t *body;
    uint32_t pos;
    uint32_t depth;
    uint32_t frame_len;
    uint32_t avail;
    uint64_t stop; /* the budget ends here */
    uint64_t lim;  /* the smaller of avail and stop */
};

static enum step fail(struct cursor *c, enum codec_error error)
{
    c->scan->error = error;
    c->scan->error_off = c->pos;
    return STEP_BAD;
}

/* What the frame has no room for: a lie within a frame; without one, a large message. */
static enum step fail_room(struct cursor *c, enum codec_error framed)
{
    return fail(c, c->scan->is_unframed ? CODEC_ERROR_TOO_LARGE : framed);
}

/* A length or a count of the peer that the frame has no room for. */
static enum step fail_claim(struct cursor *c, uint32_t claim, enum codec_error error)
{
    return claim > INT32_MAX ? fail(c, error) : fail_room(c, error);
}

static uint32_t left(const struct cursor *c)
{
    return c->frame_len - c->pos;
}

/* Not plainly within reach: past the frame, not here yet, or the budget is used up? */
static enum step judge_reach(struct cursor *c, uint32_t need)
{
    if (need > left(c)) {
        return fail_room(c, CODEC_ERROR_CUT);
    }
    if ((uint64_t)c->pos + need > c->avail) {
        return STEP_MORE;
    }
    return c->pos >= c->stop ? STEP_YIELD : STEP_GO;
}

static inline enum step reach(struct cursor *c, uint32_t need)
{
    return likely((uint64_t)c->pos + need <= c->lim) ? STEP_GO : judge_reach(c, need);
}

static void set_stop(struct cursor *c, uint64_t stop)
{
    c->stop = stop;
    c->lim = stop < c->avail ? stop : c->avail;
}

static inline void skip(struct cursor *c, uint32_t len)
{
    c->pos += len;
    if (unlikely(len >= FREE_SKIP_BYTES)) {
        set_stop(c, c->stop + len);
    }
}

/* --- Base: notes taken at depth 1 and 2 --- */

/* The field under way at depth 1 ended: which place for Base does it offer? */
static void settle_argument(struct codec_scan *scan)
{
    const struct codec_message *message = &scan->message;
    bool is_struct = message->field_type == WIRE_STRUCT;

    if (message->field_id == WIRE_BASE_FIELD_ID) {
        scan->own.found = is_struct;
        scan->own.span = message->field;
    }
    if (is_struct && (!scan->has_argument || message->field_id <= scan->argument_id)) {
        scan->has_argument = true;
        scan->argument_id = message->field_id;
        scan->held = scan->inner;
    } else if (!is_struct && scan->has_argument && message->field_id == scan->argument_id) {
        scan->held.found = false;
    }
}

static void close_field(struct codec_scan *scan, uint32_t end)
{
    struct codec_message *message = &scan->message;

    if (!scan->field_open) {
        return;
    }
    scan->field_open = false;
    message->field.len = end - message->field.off;
    if (scan->kind == CODEC_SCAN_REQUEST) {
        settle_argument(scan);
    } else if (message->field_id == 0) {
        scan->held = scan->inner; /* not found where the field is no struct */
    }
}

static void close_inner(struct codec_scan *scan, uint32_t end)
{
    if (scan->inner.open) {
        scan->inner.open = false;
        scan->inner.span.len = end - scan->inner.span.off;
    }
}

/* A field header at pos, at depth 1 or 2. */
static inline void note_field(struct cursor *c, uint8_t type)
{
    struct codec_scan *scan = c->scan;
    int16_t id = (int16_t)wire_get16(c->body + c->pos + 1);

    if (c->depth == 1) {
        close_field(scan, c->pos);
        scan->field_open = true;
        scan->inner = (struct codec_scan_place){0};
        scan->message.has_field = true;
        scan->message.field_id = id;
        scan->message.field_type = type;
        scan->message.field.off = c->pos + 3;
    } else if (unlikely(scan->inner.open || id == WIRE_BASE_FIELD_ID)) {
        close_inner(scan, c->pos);
        if (id == WIRE_BASE_FIELD_ID) {
            scan->inner.found = scan->inner.open = type == WIRE_STRUCT;
            scan->inner.span.off = c->pos + 3;
        }
    }
}

/* A STOP at pos, at depth 1 or 2. */
static void note_stop(struct cursor *c)
{
    if (c->depth == 1) {
        close_field(c->scan, c->pos);
    } else {
        close_inner(c->scan, c->pos);
    }
}

static enum step finish(struct cursor *c)
{
    struct codec_scan *scan = c->scan;
    const struct codec_scan_place *place = scan->own.found ? &scan->own : &scan->held;

    if (c->pos != c->frame_len && !scan->is_unframed) {
        return fail(c, CODEC_ERROR_TRAILING);
    }
    scan->message.has_base = place->found;
    scan->message.base_field_id =
        (int16_t)(scan->own.found ? WIRE_BASE_FIELD_ID : scan->argument_id);
    scan->message.base = place->span;
    return STEP_DONE;
}

/* --- values --- */

static inline enum step push_struct(struct cursor *c)
{
    assert(c->depth < WIRE_DEPTH_MAX); /* is_too_deep() was asked */
    c->scan->stack[c->depth++].is_struct = true;
    return STEP_GO;
}

/* The 4-byte length that ends at pos, then that many bytes. */
static inline enum step skip_string(struct cursor *c)
{
    uint32_t len = wire_get32(c->body + c->pos - 4);

    if (unlikely(len > left(c))) {
        return fail_claim(c, len, CODEC_ERROR_STRING_LENGTH);
    }
    skip(c, len);
    return STEP_GO;
}

/*
 * A container whose header ends at pos: n values (a map: pairs) of key and value type; lists
 * have the same type twice. What has a fixed width is stepped over, else a level is pushed.
 */
static enum step open_container(struct cursor *c, uint8_t key, uint8_t value, bool is_map)
{
    uint32_t n = wire_get32(c->body + c->pos - 4);
    uint32_t width = (is_map ? types[key].min : 0u) + types[value].min;

    if (n == 0) {
        return STEP_GO; /* with whatever type codes: some write 0 there */
    }
    if (types[key].shape == SHAPE_BAD || types[value].shape == SHAPE_BAD) {
        return fail(c, CODEC_ERROR_ELEMENT_TYPE);
    }
    /* Negative counts too: width is 1 at least, and no frame has 2^31 bytes. */
    if ((uint64_t)n * width > left(c)) {
        return fail_claim(c, n, CODEC_ERROR_COUNT);
    }
    if (types[key].shape == SHAPE_FIXED && types[value].shape == SHAPE_FIXED) {
        skip(c, n * width);
        return STEP_GO;
    }
    c->scan->stack[c->depth++] = (struct codec_scan_level){
        .types = {key, value}, .left = is_map ? 2 * n : n}; /* n is below frame_len / 2 for maps */
    return STEP_GO;
}

/* The value whose head ends at pos. May push a level. */
static inline enum step take_value(struct cursor *c, uint8_t type)
{
    const uint8_t *head = c->body + c->pos;

    switch (types[type].shape) {
    case SHAPE_FIXED:
        return STEP_GO;
    case SHAPE_STRING:
        return skip_string(c);
    case SHAPE_STRUCT:
        return push_struct(c);
    case SHAPE_LIST:
        return open_container(c, head[-5], head[-5], false);
    default:
        return open_container(c, head[-6], head[-5], true);
    }
}

/* Containers count as a level even where they are empty or stepped over. */
static inline bool is_too_deep(const struct cursor *c, uint8_t type)
{
    return c->depth == WIRE_DEPTH_MAX && types[type].shape >= SHAPE_STRUCT;
}

/* --- levels: each of the two loops stays until the level on top is of the other sort --- */

/* The STOP at pos. */
static inline enum step pop_struct(struct cursor *c)
{
    if (c->depth <= 2) {
        note_stop(c);
    }
    c->pos++;
    return --c->depth == 0 ? finish(c) : STEP_GO;
}

/* The field at pos, type is its first byte, which is no STOP. */
static enum step take_field(struct cursor *c, uint8_t type)
{
    struct type_info info = types[type];

    if (info.shape == SHAPE_BAD) {
        return fail(c, CODEC_ERROR_FIELD_TYPE);
    }
    if (is_too_deep(c, type)) {
        return fail(c, CODEC_ERROR_DEPTH);
    }
    enum step step = reach(c, 3u + info.head);
    if (step != STEP_GO) {
        return step;
    }
    if (c->depth <= 2) {
        note_field(c, type);
    }
    c->pos += 3u + info.head;
    return take_value(c, type);
}

/*
 * Most fields have a fixed width or are short strings: these are stepped over here, with all
 * that is needed in registers. Depth 1, and what may be Base at depth 2, is take_field()'s.
 */
static inline uint32_t skip_plain_fields(const struct cursor *c)
{
    const uint8_t *body = c->body;
    uint64_t lim = c->lim;
    uint64_t pos = c->pos;
    bool is_plain_depth = c->depth > 2;

    while (pos + 7 <= lim) {
        uint8_t type = body[pos];
        uint64_t next = pos + 7;
        if (!is_plain_depth && wire_get16(body + pos + 1) == WIRE_BASE_FIELD_ID) {
            break;
        }
        /* Strings by a branch, not by the table: the next load need not wait for the table's. */
        if (type == WIRE_STRING) {
            uint32_t len = wire_get32(body + pos + 3);
            next += len;
            if (len >= FREE_SKIP_BYTES || next > c->frame_len) {
                break;
            }
        } else if (types[type].shape == SHAPE_FIXED) {
            next = pos + 3u + types[type].head;
            if (next > lim) {
                break;
            }
        } else {
            break;
        }
        pos = next;
    }
    return (uint32_t)pos;
}

static enum step run_fields(struct cursor *c)
{
    enum step step;

    do {
        if (c->depth >= 2 && !c->scan->inner.open) {
            c->pos = skip_plain_fields(c);
        }
        step = reach(c, 1);
        if (unlikely(step != STEP_GO)) {
            return step;
        }
        uint8_t type = c->body[c->pos];
        step = type == WIRE_STOP ? pop_struct(c) : take_field(c, type);
    } while (step == STEP_GO && c->scan->stack[c->depth - 1].is_struct);
    return step;
}

/* Steps over short strings, *n at most; counts them off. */
static inline uint32_t skip_plain_strings(const struct cursor *c, uint32_t *n)
{
    uint64_t lim = c->lim;
    uint64_t pos = c->pos;
    uint32_t togo = *n;

    for (; togo > 0 && pos + 4 <= lim; togo--) {
        uint32_t len = wire_get32(c->body + pos);
        if (len >= FREE_SKIP_BYTES || pos + 4 + len > c->frame_len) {
            break;
        }
        pos += 4 + len;
    }
    *n = togo;
    return (uint32_t)pos;
}

/* Steps over structs that are nothing but a STOP, the most work that a peer's byte can cause. */
static inline uint32_t skip_empty_structs(const struct cursor *c, uint32_t *n)
{
    uint64_t pos = c->pos;
    uint32_t togo = *n;

    for (; togo > 0 && pos < c->lim && c->body[pos] == WIRE_STOP; togo--) {
        pos++;
    }
    *n = togo;
    return (uint32_t)pos;
}

static enum step run_elements(struct cursor *c)
{
    uint32_t depth = c->depth;
    struct codec_scan_level *level = &c->scan->stack[depth - 1];

    /* Where key and value are the same, it does not matter whose turn it is. */
    if (level->types[0] == WIRE_STRING && level->types[1] == WIRE_STRING) {
        c->pos = skip_plain_strings(c, &level->left);
    } else if (level->types[0] == WIRE_STRUCT && level->types[1] == WIRE_STRUCT &&
               depth < WIRE_DEPTH_MAX) {
        c->pos = skip_empty_structs(c, &level->left);
    }
    while (level->left > 0) {
        uint8_t type = level->types[level->turn];
        if (unlikely(is_too_deep(c, type))) {
            return fail(c, CODEC_ERROR_DEPTH);
        }
        enum step step = reach(c, types[type].head);
        if (unlikely(step != STEP_GO)) {
            return step;
        }
        level->left--;
        level->turn ^= 1;
        c->pos += types[type].head;
        step = take_value(c, type);
        if (unlikely(step != STEP_GO) || c->depth != depth) {
            return step;
        }
    }
    c->depth--;
    return STEP_GO;
}

static enum step run_levels(struct cursor *c)
{
    for (;;) {
        enum step step = c->scan->stack[c->depth - 1].is_struct ? run_fields(c) : run_elements(c);
        if (step != STEP_GO) {
            return step;
        }
    }
}

/* --- the header --- */

static bool type_is_allowed(enum codec_scan_kind kind, uint8_t type)
{
    return kind == CODEC_SCAN_REQUEST ? type == WIRE_CALL || type == WIRE_ONEWAY
                                      : type == WIRE_REPLY || type == WIRE_EXCEPTION;
}

/* Version and type, as far as they have arrived: a wrong one fails before the header is whole. */
static enum step check_version(struct cursor *c)
{
    enum step step = reach(c, 4);

    if (step != STEP_GO) {
        return step;
    }
    uint32_t word = wire_get32(c->body);
    if ((word & WIRE_VERSION_MASK) != WIRE_VERSION_1) {
        return fail(c, CODEC_ERROR_VERSION);
    }
    if (!type_is_allowed(c->scan->kind, (uint8_t)word)) {
        return fail(c, CODEC_ERROR_MESSAGE_TYPE);
    }
    return STEP_GO;
}

static enum step run_header(struct cursor *c)
{
    struct codec_message *message = &c->scan->message;

    if (c->frame_len < WIRE_MESSAGE_MIN_BYTES) {
        return fail(c, CODEC_ERROR_HEADER_SHORT);
    }
    enum step step = check_version(c);
    if (step == STEP_GO) {
        step = reach(c, 8);
    }
    if (step != STEP_GO) {
        return step;
    }
    uint32_t name_len = wire_get32(c->body + 4);
    if (name_len > c->frame_len - WIRE_MESSAGE_MIN_BYTES) {
        return fail(c, CODEC_ERROR_NAME_LENGTH);
    }
    step = reach(c, WIRE_MESSAGE_MIN_BYTES + name_len);
    if (step != STEP_GO) {
        return step;
    }
    message->type = c->body[3];
    message->name = (struct wire_span){8, name_len};
    message->seqid_off = 8 + name_len;
    message->seqid = (int32_t)wire_get32(c->body + message->seqid_off);
    message->args_off = message->seqid_off + 4;
    c->pos = message->args_off;
    c->scan->header_done = true;
    return STEP_GO;
}

/* --- the door --- */

void codec_scan_begin(struct codec_scan *scan, enum codec_scan_kind kind, uint32_t frame_len)
{
    static const struct codec_scan_place nowhere = {0};

    assert(frame_len <= INT32_MAX);
    /* Field by field: one memset over them costs a quarter of a small message's scan. The stack
     * is written before it is read. */
    scan->message = (struct codec_message){0};
    scan->header_done = kind == CODEC_SCAN_STRUCT;
    scan->error = CODEC_ERROR_NONE;
    scan->error_off = 0;
    scan->kind = kind;
    scan->is_unframed = false;
    scan->frame_len = frame_len;
    scan->pos = 0;
    scan->depth = 1;
    scan->field_open = false;
    scan->own = scan->inner = scan->held = nowhere;
    scan->has_argument = false;
    scan->argument_id = 0;
    scan->stack[0].is_struct = true;
}

void codec_scan_begin_unframed(struct codec_scan *scan, enum codec_scan_kind kind,
                               uint32_t max_bytes)
{
    codec_scan_begin(scan, kind, max_bytes);
    scan->is_unframed = true;
}

enum codec_scan_status codec_scan_run(struct codec_scan *scan, const uint8_t *body, size_t avail,
                                      size_t budget_bytes)
{
    static const enum codec_scan_status statuses[] = {
        [STEP_MORE] = CODEC_SCAN_MORE,
        [STEP_YIELD] = CODEC_SCAN_YIELD,
        [STEP_DONE] = CODEC_SCAN_DONE,
        [STEP_BAD] = CODEC_SCAN_BAD,
    };
    struct cursor c = {.scan = scan, .body = body, .pos = scan->pos, .depth = scan->depth};
    enum step step = STEP_GO;

    assert(scan->error == CODEC_ERROR_NONE && scan->depth > 0);
    assert(avail <= scan->frame_len || scan->is_unframed);
    c.frame_len = scan->frame_len;
    c.avail = avail < scan->frame_len ? (uint32_t)avail : scan->frame_len;
    /* At least one token a call, whatever the budget. */
    uint64_t budget = budget_bytes > UINT32_MAX ? UINT32_MAX : budget_bytes;
    set_stop(&c, (uint64_t)c.pos + (budget > 0 ? budget : 1));
    if (unlikely(!scan->header_done)) {
        step = run_header(&c);
    }
    if (step == STEP_GO) {
        step = run_levels(&c);
    }
    scan->pos = c.pos;
    scan->depth = (uint8_t)c.depth;
    return statuses[step];
}

const char *codec_error_str(enum codec_error error)
{
    static const char *const texts[CODEC_ERROR_MAX] = {
#define X(name, text) [CODEC_ERROR_##name] = (text),
        CODEC_ERRORS(X)
#undef X
    };

    return (unsigned)error < CODEC_ERROR_MAX ? texts[error] : "unknown error";
}

bool codec_error_is_header(enum codec_error error)
{
    return error >= CODEC_ERROR_HEADER_SHORT && error <= CODEC_ERROR_NAME_LENGTH;
}
