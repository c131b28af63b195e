/*
 * bench_framing.c: see bench_framing.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bench_framing.h"

#include <string.h>

#define LEN_BYTES   4
#define FIXED_BYTES 14 /* length, magic, flags, sequence, size of what follows in words */

bool bench_framing_parse(const char *text, enum bench_framing *ret)
{
    static const char *const names[] = {"framed", "unframed", "ttheader"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum bench_framing)i;
            return true;
        }
    }
    return false;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct writer {
    uint8_t *p;
    size_t len;
};

static void put16(struct writer *w, size_t v)
{
    w->p[w->len++] = (uint8_t)(v >> 8);
    w->p[w->len++] = (uint8_t)v;
}

static void put_text(struct writer *w, const char *text)
{
    put16(w, strlen(text));
    memcpy(w->p + w->len, text, strlen(text));
    w->len += strlen(text);
}

static bool is_said(const char *text)
{
    return text && text[0] != '\0';
}

static void put_number(struct writer *w, unsigned id, const char *text)
{
    if (is_said(text)) {
        put16(w, id);
        put_text(w, text);
    }
}

/* As Kitex's client writes it: FromService, ToService, ToMethod, the message's type; and one transient key. */
static size_t write_info(const struct bench_names *names, uint8_t *out)
{
    struct writer w = {out, 0};
    put16(&w, 0);
    w.p[w.len++] = 0x01;
    put16(&w, 1);
    put_text(&w, "RPC_TRANSIT_bench");
    put_text(&w, "1");
    w.p[w.len++] = 0x10;
    put16(&w, 1u + is_said(names->from) + is_said(names->to) + is_said(names->method));
    put_number(&w, 3, names->from);
    put_number(&w, 6, names->to);
    put_number(&w, 9, names->method);
    put_number(&w, 22, "1");
    while (w.len % 4 != 0) {
        w.p[w.len++] = 0;
    }
    return w.len;
}

static size_t write_header(const struct bench_names *names, size_t message_len, uint8_t *out)
{
    size_t info = write_info(names, out + FIXED_BYTES);
    bench_put32(out, (uint32_t)(FIXED_BYTES - LEN_BYTES + info + message_len));
    bench_put32(out + 4, 0x10000000u);
    bench_put32(out + 8, 1);
    struct writer w = {out, FIXED_BYTES - 2};
    put16(&w, info / 4);
    return FIXED_BYTES + info;
}

size_t bench_head_write(enum bench_framing framing, const struct bench_names *names,
                        size_t message_len, uint8_t out[BENCH_HEAD_MAX])
{
    switch (framing) {
    case BENCH_UNFRAMED:
        return 0;
    case BENCH_TTHEADER:
        return write_header(names, message_len, out);
    default:
        bench_put32(out, (uint32_t)message_len);
        return LEN_BYTES;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Behind the string at off; more than n: it is cut. */
static size_t skip_string(const uint8_t *p, size_t off, size_t n)
{
    return off + LEN_BYTES <= n ? off + LEN_BYTES + bench_get32(p + off) : n + 1;
}

/* The types of the benchmark's messages: struct, string, i32, map of strings. */
static size_t skip_struct(const uint8_t *p, size_t off, size_t n)
{
    while (off < n && p[off] != 0) {
        uint8_t type = p[off];
        off += 3;
        if (type == 12) {
            off = skip_struct(p, off, n);
        } else if (type == 11) {
            off = skip_string(p, off, n);
        } else if (type == 8) {
            off += 4;
        } else {
            uint32_t strings = off + 6 <= n ? 2 * bench_get32(p + off + 2) : 1;
            off += 6;
            while (strings-- > 0 && off <= n) {
                off = skip_string(p, off, n);
            }
        }
    }
    return off < n ? off + 1 : n + 1;
}

static bool find_unframed(const uint8_t *p, size_t n, struct bench_message *ret)
{
    size_t end = skip_string(p, LEN_BYTES, n);
    end = end + LEN_BYTES <= n ? skip_struct(p, end + LEN_BYTES, n) : n + 1;
    *ret = (struct bench_message){.len = end, .whole = end};
    return end <= n;
}

bool bench_message_find(enum bench_framing framing, const uint8_t *p, size_t n,
                        struct bench_message *ret)
{
    if (framing == BENCH_UNFRAMED) {
        return find_unframed(p, n, ret);
    }
    if (n < LEN_BYTES || n - LEN_BYTES < bench_get32(p)) {
        return false;
    }
    ret->whole = LEN_BYTES + bench_get32(p);
    ret->off = LEN_BYTES;
    if (framing == BENCH_TTHEADER && ret->whole >= FIXED_BYTES) {
        ret->off = FIXED_BYTES + 4u * (((size_t)p[12] << 8) | p[13]);
    }
    ret->len = ret->off <= ret->whole ? ret->whole - ret->off : 0; /* 0: no call, and told so */
    return true;
}
