/*
 * bench_framing.h: how the benchmarks' callers and callees put messages on the wire, and find them there. By
 * its own few lines: the programs are peers of what is measured, and share nothing with it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_BENCH_FRAMING_H
#define TSIDE_TESTS_BENCH_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_framing { BENCH_FRAMED = 0, BENCH_UNFRAMED, BENCH_TTHEADER };

#define BENCH_HEAD_MAX 512 /* bytes in front of a message */

/* "framed", "unframed", "ttheader". */
bool bench_framing_parse(const char *text, enum bench_framing *ret);

/* What a TTHeader says; NULL or "": nothing. */
struct bench_names {
    const char *from;
    const char *to;
    const char *method;
};

/* Writes what stands in front of a message of so many bytes; returns its length. */
size_t bench_head_write(enum bench_framing framing, const struct bench_names *names,
                        size_t message_len, uint8_t out[BENCH_HEAD_MAX]);

struct bench_message {
    size_t off;
    size_t len;
    size_t whole; /* with its head */
};

/* The first message of these bytes. False: it is not whole. */
bool bench_message_find(enum bench_framing framing, const uint8_t *p, size_t n,
                        struct bench_message *ret);

static inline uint32_t bench_get32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline void bench_put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

#endif
