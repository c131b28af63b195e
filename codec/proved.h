/*
 * codec/proved.h: private to codec: walks over bytes that codec/scan.h has proved.
 *
 * Nothing is checked again, except by asserting that the walk stays inside its struct: that is
 * our own arithmetic, not the peer's. Recursion is bounded by the proof (WIRE_DEPTH_MAX).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_PROVED_H
#define TSIDE_CODEC_PROVED_H

#include "codec/wire.h"

#include <assert.h>
#include <stdbool.h>

struct proved_walk {
    const uint8_t *body;
    uint32_t pos;
    uint32_t end; /* behind the struct's STOP */
};

struct proved_field {
    int16_t id;
    uint8_t type;
    struct wire_span value; /* in wire form: a string with its length, a map with its types */
};

/* The string whose 4-byte length is at off. */
static inline struct wire_span proved_string(const uint8_t *body, uint32_t off)
{
    return (struct wire_span){off + 4, wire_get32(body + off)};
}

/* The offset behind the value of this type at off. */
uint32_t proved_skip(const uint8_t *body, uint32_t off, uint8_t type);

/* The next field, or false at the STOP. Strings, which Base consists of, are passed without a call. */
static inline bool proved_walk_next(struct proved_walk *walk, struct proved_field *ret)
{
    const uint8_t *p = walk->body + walk->pos;

    assert(walk->pos < walk->end);
    if (p[0] == WIRE_STOP) {
        return false;
    }
    uint32_t off = walk->pos + 3;
    uint32_t end = p[0] == WIRE_STRING ? off + 4 + wire_get32(walk->body + off)
                                       : proved_skip(walk->body, off, p[0]);
    *ret = (struct proved_field){(int16_t)wire_get16(p + 1), p[0], {off, end - off}};
    walk->pos = end;
    return true;
}

#endif
