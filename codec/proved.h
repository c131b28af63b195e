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

/* The next field, or false at the STOP. */
bool proved_walk_next(struct proved_walk *walk, struct proved_field *ret);

/* The string whose 4-byte length is at off. */
static inline struct wire_span proved_string(const uint8_t *body, uint32_t off)
{
    return (struct wire_span){off + 4, wire_get32(body + off)};
}

#endif
