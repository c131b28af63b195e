/*
 * codec/proved.c: steps over values that are known to be well-formed.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/proved.h"

#include <assert.h>

static uint32_t fixed_width(uint8_t type)
{
    bool is_nested = type >= WIRE_STRING && type <= WIRE_LIST;

    return is_nested ? 0 : wire_type_min_bytes(type);
}

/* Strings, which Base consists of, without a call. */
static inline uint32_t skip_value(const uint8_t *body, uint32_t off, uint8_t type)
{
    return type == WIRE_STRING ? off + 4 + wire_get32(body + off) : proved_skip(body, off, type);
}

static uint32_t skip_fields(const uint8_t *body, uint32_t off)
{
    while (body[off] != WIRE_STOP) {
        off = skip_value(body, off + 3, body[off]);
    }
    return off + 1;
}

/* n times a key (where there is one: key_type is not STOP) and a value. */
static uint32_t skip_elements(const uint8_t *body, uint32_t off, uint32_t n, uint8_t key_type,
                              uint8_t value_type)
{
    if (fixed_width(value_type) > 0 && (key_type == WIRE_STOP || fixed_width(key_type) > 0)) {
        return off + n * (fixed_width(key_type) + fixed_width(value_type));
    }
    for (uint32_t i = 0; i < n; i++) {
        if (key_type != WIRE_STOP) {
            off = skip_value(body, off, key_type);
        }
        off = skip_value(body, off, value_type);
    }
    return off;
}

uint32_t proved_skip(const uint8_t *body, uint32_t off, uint8_t type)
{
    switch (type) {
    case WIRE_STRING:
        return off + 4 + wire_get32(body + off);
    case WIRE_STRUCT:
        return skip_fields(body, off);
    case WIRE_MAP:
        return skip_elements(body, off + 6, wire_get32(body + off + 2), body[off], body[off + 1]);
    case WIRE_SET:
    case WIRE_LIST:
        return skip_elements(body, off + 5, wire_get32(body + off + 1), WIRE_STOP, body[off]);
    default:
        assert(fixed_width(type) > 0);
        return off + fixed_width(type);
    }
}
