/*
 * discovery/base/base64.c: see discovery/base/base64.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/base64.h"

static const char alphabet[64] __attribute__((nonstring)) =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(const void *in, size_t len, char *out)
{
    const uint8_t *p = in;
    char *start = out;
    for (; len >= 3; len -= 3, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[(v >> 12) & 63];
        *out++ = alphabet[(v >> 6) & 63];
        *out++ = alphabet[v & 63];
    }
    if (len > 0) {
        uint32_t v = (uint32_t)p[0] << 16 | (len == 2 ? (uint32_t)p[1] << 8 : 0);
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[(v >> 12) & 63];
        *out++ = (char)(len == 2 ? alphabet[(v >> 6) & 63] : '=');
        *out++ = '=';
    }
    return (size_t)(out - start);
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters of which `pad` at the end are '='; the number of bytes, -1 on refusal. */
static int decode_group(const char *in, int pad, uint8_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4 - pad; i++) {
        int d = value_of(in[i]);
        if (d < 0) {
            return -1;
        }
        v |= (uint32_t)d << (18 - 6 * i);
    }
    if (pad > 0 && (v & ((1u << (8 * pad)) - 1)) != 0) {
        return -1; /* two spellings of the same bytes */
    }
    for (int i = 0; i < 3 - pad; i++) {
        out[i] = (uint8_t)(v >> (16 - 8 * i));
    }
    return 3 - pad;
}

bool base64_decode(const char *text, size_t len, uint8_t *out, size_t *ret_len)
{
    size_t n = 0;
    if (len % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < len; i += 4) {
        int pad = 0;
        if (i + 4 == len && text[i + 3] == '=') {
            pad = text[i + 2] == '=' ? 2 : 1;
        }
        int got = decode_group(text + i, pad, out + n);
        if (got < 0) {
            return false;
        }
        n += (size_t)got;
    }
    *ret_len = n;
    return true;
}
