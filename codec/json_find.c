/*
 * codec/json_find.c: a strict JSON reader that keeps nothing but the members it was asked for.
 *
 * One loop over tokens instead of recursion: of the open brackets only "is it an object" must be
 * known, one bit a level, 64 levels in one word. `expect` says what may come next; every token
 * is checked against it, so that the grammar is in one place (next_token).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/json_find.h"

#include <string.h>

#define DEPTH_MAX 64

enum expect {
    EXPECT_VALUE = 0,
    EXPECT_VALUE_OR_END, /* just behind '[' */
    EXPECT_NAME,         /* behind ',' in an object */
    EXPECT_NAME_OR_END,  /* just behind '{' */
    EXPECT_COMMA_OR_END,
    EXPECT_NOTHING
};

struct reader {
    const uint8_t *text;
    const uint8_t *p;
    const uint8_t *end;
    uint64_t objects; /* bit n: level n is an object, else an array */
    unsigned depth;
    enum expect expect;
    size_t n;
    struct json_wanted *wanted;
    struct json_wanted *member; /* the wanted one whose value comes next, at depth 1 */
    struct json_members *list;  /* NULL: none is wanted */
    bool is_listed;             /* the value that comes next, at depth 1, is for the list... */
    struct wire_span name;      /* ...under this name */
};

/* Where a string's unescaped bytes go: compared with names, or kept. */
struct sink {
    char *bytes;
    size_t cap;
    size_t len; /* may pass cap: what is behind it is not kept */
};

static void sink_put(struct sink *sink, const uint8_t *bytes, size_t len)
{
    if (sink->len < sink->cap) {
        size_t room = sink->cap - sink->len;
        memcpy(sink->bytes + sink->len, bytes, len < room ? len : room);
    }
    sink->len += len;
}

static void sink_put_code_point(struct sink *sink, uint32_t cp)
{
    uint8_t bytes[4];
    size_t len;

    if (cp < 0x80) {
        bytes[0] = (uint8_t)cp;
        len = 1;
    } else if (cp < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | cp >> 6);
        bytes[1] = (uint8_t)(0x80 | (cp & 0x3f));
        len = 2;
    } else if (cp < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | cp >> 12);
        bytes[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (cp & 0x3f));
        len = 3;
    } else {
        bytes[0] = (uint8_t)(0xf0 | cp >> 18);
        bytes[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
        bytes[3] = (uint8_t)(0x80 | (cp & 0x3f));
        len = 4;
    }
    sink_put(sink, bytes, len);
}

/* The length of the well-formed UTF-8 sequence at p, 0 where there is none. No overlong forms, no
 * surrogates, nothing above U+10FFFF. */
static size_t utf8_len(const uint8_t *p, const uint8_t *end)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (len == 0 || p[0] > 0xf4 || len > (size_t)(end - p)) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) {
        return 0;
    }
    return len;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Four hex digits at p, -1 where there are none. */
static int32_t hex4(const uint8_t *p, const uint8_t *end)
{
    int32_t value = 0;

    if (end - p < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        uint8_t lower = p[i] | 0x20;
        if (is_digit(p[i])) {
            value = value << 4 | (p[i] - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value << 4 | (lower - 'a' + 10);
        } else {
            return -1;
        }
    }
    return value;
}

/* Behind "\u". A surrogate must be the first of a pair: half a pair has no UTF-8. */
static bool read_unicode_escape(struct reader *r, struct sink *sink)
{
    int32_t high = hex4(r->p, r->end);

    if (high < 0) {
        return false;
    }
    r->p += 4;
    if (high < 0xd800 || high > 0xdfff) {
        sink_put_code_point(sink, (uint32_t)high);
        return true;
    }
    if (high > 0xdbff || r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u') {
        return false;
    }
    int32_t low = hex4(r->p + 2, r->end);
    if (low < 0xdc00 || low > 0xdfff) {
        return false;
    }
    r->p += 6;
    sink_put_code_point(sink,
                        0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
    return true;
}

/* Behind a backslash. */
static bool read_escape(struct reader *r, struct sink *sink)
{
    static const char from[] = "\"\\/bfnrt";
    static const uint8_t to[] = "\"\\/\b\f\n\r\t";

    if (r->p == r->end) {
        return false;
    }
    uint8_t c = *r->p++;
    if (c == 'u') {
        return read_unicode_escape(r, sink);
    }
    const char *at = memchr(from, c, sizeof from - 1);
    if (!at) {
        return false;
    }
    sink_put(sink, &to[at - from], 1);
    return true;
}

/* Behind the opening quote; ends behind the closing one. */
static bool read_string(struct reader *r, struct sink *sink)
{
    while (r->p < r->end) {
        uint8_t c = *r->p;
        if (c == '"') {
            r->p++;
            return true;
        }
        if (c == '\\') {
            r->p++;
            if (!read_escape(r, sink)) {
                return false;
            }
            continue;
        }
        size_t len = c < 0x20 ? 0 : utf8_len(r->p, r->end);
        if (len == 0) {
            return false;
        }
        sink_put(sink, r->p, len);
        r->p += len;
    }
    return false;
}

static bool read_digits(struct reader *r)
{
    const uint8_t *begin = r->p;

    while (r->p < r->end && is_digit(*r->p)) {
        r->p++;
    }
    return r->p > begin;
}

static bool read_number(struct reader *r)
{
    if (*r->p == '-') {
        r->p++;
    }
    if (r->p < r->end && *r->p == '0') {
        r->p++;
    } else if (!read_digits(r)) {
        return false;
    }
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        if (!read_digits(r)) {
            return false;
        }
    }
    if (r->p < r->end && (*r->p | 0x20) == 'e') {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-')) {
            r->p++;
        }
        return read_digits(r);
    }
    return true;
}

static bool read_word(struct reader *r, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(r->end - r->p) < len || memcmp(r->p, word, len) != 0) {
        return false;
    }
    r->p += len;
    return true;
}

static bool in_object(const struct reader *r)
{
    return r->objects >> (r->depth - 1) & 1;
}

static void value_ended(struct reader *r)
{
    r->expect = r->depth > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
}

static bool open_level(struct reader *r, bool is_object)
{
    if (r->depth == DEPTH_MAX) {
        return false;
    }
    uint64_t bit = 1ull << r->depth++;
    r->objects = is_object ? r->objects | bit : r->objects & ~bit;
    r->expect = is_object ? EXPECT_NAME_OR_END : EXPECT_VALUE_OR_END;
    return true;
}

static bool close_level(struct reader *r, bool is_object)
{
    if (r->depth == 0 || in_object(r) != is_object) {
        return false;
    }
    r->depth--;
    value_ended(r);
    return true;
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r')) {
        r->p++;
    }
}

/* From there to p. */
static struct wire_span span_from(const struct reader *r, const uint8_t *begin)
{
    return (struct wire_span){(uint32_t)(begin - r->text), (uint32_t)(r->p - begin)};
}

/* Whose value comes next at depth 1, by its name (of which no more than 256 bytes are there). */
static void choose_member(struct reader *r, const char *name, size_t len)
{
    r->member = NULL;
    r->is_listed = false;
    if (r->depth != 1) {
        return;
    }
    for (size_t i = 0; i < r->n; i++) {
        if (r->wanted[i].name_len == len && len <= WIRE_NAME_MAX_BYTES &&
            memcmp(r->wanted[i].name, name, len) == 0) {
            r->member = &r->wanted[i];
            r->member->found = false; /* the last one counts, also where it is no string */
        }
    }
    r->is_listed = r->list && len >= r->list->prefix_len &&
                   memcmp(r->list->prefix, name, r->list->prefix_len) == 0;
}

/* At a name's opening quote; ends behind the colon. */
static bool read_name(struct reader *r)
{
    char name[WIRE_NAME_MAX_BYTES];
    struct sink sink = {name, r->depth == 1 ? sizeof name : 0, 0};
    const uint8_t *begin = r->p++;

    if (!read_string(r, &sink)) {
        return false;
    }
    r->name = span_from(r, begin);
    skip_blanks(r);
    if (r->p == r->end || *r->p++ != ':') {
        return false;
    }
    choose_member(r, name, sink.len);
    r->expect = EXPECT_VALUE;
    return true;
}

static void list_member(struct reader *r, struct wire_span value)
{
    struct json_members *list = r->list;

    if (list->len == JSON_MEMBERS_MAX) {
        list->left_out = true;
        return;
    }
    list->at[list->len].name = r->name;
    list->at[list->len].value = value;
    list->len++;
}

static bool read_string_value(struct reader *r)
{
    struct json_wanted *member = r->depth == 1 ? r->member : NULL;
    struct sink sink = {0};

    if (member) {
        sink = (struct sink){member->value, sizeof member->value, 0};
    }
    const uint8_t *begin = r->p++;
    if (!read_string(r, &sink)) {
        return false;
    }
    if (member) {
        member->found = true;
        member->raw = span_from(r, begin);
        member->len = sink.len;
        member->too_long = sink.len > sizeof member->value;
    }
    if (r->depth == 1 && r->is_listed) {
        list_member(r, span_from(r, begin));
    }
    value_ended(r);
    return true;
}

static bool read_value(struct reader *r)
{
    bool ok;

    switch (*r->p) {
    case '{':
    case '[':
        return open_level(r, *r->p++ == '{');
    case '"':
        return read_string_value(r);
    case 't':
        ok = read_word(r, "true");
        break;
    case 'f':
        ok = read_word(r, "false");
        break;
    case 'n':
        ok = read_word(r, "null");
        break;
    default:
        ok = (*r->p == '-' || is_digit(*r->p)) && read_number(r);
        break;
    }
    value_ended(r);
    return ok;
}

/* The grammar: what may stand at p, which is no blank. */
static bool next_token(struct reader *r)
{
    switch (r->expect) {
    case EXPECT_VALUE_OR_END:
        if (*r->p == ']') {
            r->p++;
            return close_level(r, false);
        }
        return read_value(r);
    case EXPECT_VALUE:
        return read_value(r);
    case EXPECT_NAME_OR_END:
        if (*r->p == '}') {
            r->p++;
            return close_level(r, true);
        }
        return *r->p == '"' && read_name(r);
    case EXPECT_NAME:
        return *r->p == '"' && read_name(r);
    case EXPECT_COMMA_OR_END:
        if (*r->p == ',') {
            r->p++;
            r->expect = in_object(r) ? EXPECT_NAME : EXPECT_VALUE;
            return true;
        }
        return (*r->p == '}' || *r->p == ']') && close_level(r, *r->p++ == '}');
    default:
        return false;
    }
}

static bool read_object(struct reader *r)
{
    skip_blanks(r);
    if (r->p == r->end || *r->p != '{') {
        return false;
    }
    while (r->p < r->end) {
        if (!next_token(r)) {
            return false;
        }
        skip_blanks(r);
    }
    return r->expect == EXPECT_NOTHING;
}

static void forget(size_t n, struct json_wanted wanted[])
{
    for (size_t i = 0; i < n; i++) {
        wanted[i].found = false;
        wanted[i].too_long = false;
        wanted[i].len = 0;
    }
}

bool json_find(const uint8_t *text, size_t len, size_t n, struct json_wanted wanted[])
{
    struct reader r = {.text = text, .p = text, .end = text + len, .n = n, .wanted = wanted};

    forget(n, wanted);
    if (!read_object(&r)) {
        forget(n, wanted);
        return false;
    }
    return true;
}

bool json_list(const uint8_t *text, size_t len, struct json_members *members)
{
    struct reader r = {.text = text, .p = text, .end = text + len, .list = members};

    members->len = 0;
    members->left_out = false;
    if (!read_object(&r)) {
        members->len = 0;
        members->left_out = false;
        return false;
    }
    return true;
}

size_t json_unquote(const uint8_t *raw, size_t raw_len, char *out, size_t cap)
{
    struct reader r = {.text = raw, .p = raw + 1, .end = raw + raw_len};
    struct sink sink = {out, cap, 0};

    (void)read_string(&r, &sink); /* it was read before */
    return sink.len;
}

/* --- writing --- */

/* One byte below 0x20, a quote or a backslash. Returns how many bytes stand for it. */
static size_t escape(uint8_t c, char out[6])
{
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    static const char hex[] = "0123456789abcdef";
    const char *at = memchr(from, c, sizeof from - 1);

    out[0] = '\\';
    if (at) {
        out[1] = to[at - from];
        return 2;
    }
    out[1] = 'u';
    out[2] = out[3] = '0';
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

static size_t quote_into(const uint8_t *p, const uint8_t *end, struct sink *sink)
{
    sink_put(sink, (const uint8_t *)"\"", 1);
    while (p < end) {
        size_t len = utf8_len(p, end);
        if (len == 0) {
            return 0;
        }
        if (*p < 0x20 || *p == '"' || *p == '\\') {
            char escaped[6];
            sink_put(sink, (const uint8_t *)escaped, escape(*p, escaped));
        } else {
            sink_put(sink, p, len);
        }
        p += len;
    }
    sink_put(sink, (const uint8_t *)"\"", 1);
    return sink->len;
}

size_t json_quote(const char *text, size_t len, char *out, size_t cap)
{
    const uint8_t *p = (const uint8_t *)text;
    struct sink counted = {0};
    struct sink written = {out, cap, 0};
    size_t needed = quote_into(p, p + len, &counted);

    return needed > 0 && needed <= cap ? quote_into(p, p + len, &written) : needed;
}
