/*
 * codec/json_find.h: one top-level string member out of a JSON text, in place.
 *
 * Base.Extra["user_extra"] is JSON text from a caller; `dest_service` and `dest_cluster` are looked
 * for in it (docs/specification.md, section 1). No tree, no allocation: the whole text is checked
 * (RFC 8259, depth at most 64, valid UTF-8, one object) and the wanted members are unescaped into
 * the caller's buffer. Where a value stands is told, too: it can be replaced by what json_quote()
 * writes, without touching the rest (codec/rewrite.h).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_JSON_FIND_H
#define TSIDE_CODEC_JSON_FIND_H

#include "codec/wire.h"

#include <stdbool.h>

struct json_wanted {
    const char *name; /* compared with the unescaped member name */
    size_t name_len;
    bool found;           /* a string member of that name stands there (the last one counts) */
    bool too_long;        /* found, but longer than the buffer: value is not usable */
    struct wire_span raw; /* found: the value in the text, its quotes included */
    size_t len;
    char value[WIRE_NAME_MAX_BYTES];
};

/* False, with every `found` false, where the text is not one well-formed JSON object. A wanted
 * member of another type than string is not found. */
bool json_find(const uint8_t *text, size_t len, size_t n, struct json_wanted wanted[])
    __attribute__((warn_unused_result));

#define JSON_MEMBERS_MAX 64

/* The string members whose unescaped names begin with a prefix, as they stand: both spans with their quotes. */
struct json_members {
    const char *prefix;
    size_t prefix_len; /* at most WIRE_NAME_MAX_BYTES */
    size_t len;
    bool left_out; /* there are more than fit */
    struct {
        struct wire_span name;
        struct wire_span value;
    } at[JSON_MEMBERS_MAX];
};

/* Lists them in order; one that stands twice is there twice. False, and none, where json_find() says false. */
bool json_list(const uint8_t *text, size_t len, struct json_members *members)
    __attribute__((warn_unused_result));

/* What a string that one of the above found means, raw with its quotes. Returns the length that it needs, which is
 * never more than raw_len; what is behind cap is not written. */
size_t json_unquote(const uint8_t *raw, size_t raw_len, char *out, size_t cap);

/*
 * These bytes as a JSON string, with its quotes: quotes, backslashes and control bytes are escaped,
 * all else stays. Returns the length that it needs; where that is more than cap nothing is written.
 * 0: they are not UTF-8, which JSON cannot hold.
 */
size_t json_quote(const char *text, size_t len, char *out, size_t cap);

#endif
