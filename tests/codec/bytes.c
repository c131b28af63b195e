/*
 * tests/codec/bytes.c: see bytes.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/bytes.h"

#include <stdlib.h>
#include <string.h>

static void reserve(struct bytes *b, size_t more)
{
    if (b->cap - b->len >= more) {
        return;
    }
    size_t cap = (b->len + more) * 2;
    uint8_t *p = realloc(b->p, cap);
    if (p == NULL) {
        abort();
    }
    b->p = p;
    b->cap = cap;
}

void bytes_done(struct bytes *b)
{
    free(b->p);
    *b = (struct bytes){0};
}

void bytes_put(struct bytes *b, const void *p, size_t len)
{
    reserve(b, len);
    if (len > 0) {
        memcpy(b->p + b->len, p, len);
        b->len += len;
    }
}

void bytes_put8(struct bytes *b, uint8_t v)
{
    bytes_put(b, &v, 1);
}

void bytes_put16(struct bytes *b, uint16_t v)
{
    uint8_t wire[2];

    wire_put16(wire, v);
    bytes_put(b, wire, sizeof wire);
}

void bytes_put32(struct bytes *b, uint32_t v)
{
    uint8_t wire[4];

    wire_put32(wire, v);
    bytes_put(b, wire, sizeof wire);
}

void bytes_put64(struct bytes *b, uint64_t v)
{
    bytes_put32(b, (uint32_t)(v >> 32));
    bytes_put32(b, (uint32_t)v);
}

void bytes_put_string(struct bytes *b, const void *p, size_t len)
{
    bytes_put32(b, (uint32_t)len);
    bytes_put(b, p, len);
}

void bytes_put_text(struct bytes *b, const char *text)
{
    bytes_put_string(b, text, strlen(text));
}

void bytes_put_header(struct bytes *b, enum wire_message_type type, const char *name, int32_t seqid)
{
    bytes_put32(b, WIRE_VERSION_1 | type);
    bytes_put_text(b, name);
    bytes_put32(b, (uint32_t)seqid);
}

void bytes_put_field(struct bytes *b, uint8_t type, int16_t id)
{
    bytes_put8(b, type);
    bytes_put16(b, (uint16_t)id);
}

void bytes_put_string_field(struct bytes *b, int16_t id, const char *text)
{
    bytes_put_field(b, WIRE_STRING, id);
    bytes_put_text(b, text);
}

void bytes_put_map(struct bytes *b, uint8_t key, uint8_t value, uint32_t n)
{
    bytes_put8(b, key);
    bytes_put8(b, value);
    bytes_put32(b, n);
}

void bytes_splice(struct bytes *b, size_t off, size_t drop, const void *p, size_t len)
{
    if (off > b->len || drop > b->len - off) {
        abort();
    }
    reserve(b, len);
    memmove(b->p + off + len, b->p + off + drop, b->len - off - drop);
    if (len > 0) {
        memcpy(b->p + off, p, len);
    }
    b->len += len - drop;
}

static uint8_t digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;

    if (at == NULL) {
        abort();
    }
    return (uint8_t)(at - digits);
}

void bytes_put_hex(struct bytes *b, const char *hex)
{
    while (*hex != '\0') {
        if (*hex == ' ') {
            hex++;
            continue;
        }
        bytes_put8(b, (uint8_t)(digit(hex[0]) << 4 | digit(hex[1])));
        hex += 2;
    }
}
