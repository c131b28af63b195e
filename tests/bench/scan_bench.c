/*
 * tests/bench/scan_bench.c: what proving a message costs, for three sizes of frames.
 *
 * Not a test: prints nanoseconds per message, the best of several runs. Compile with the release
 * preset. The frames are built like those that libthrift_c_glib was measured with, Base last.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/base.h"
#include "codec/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS 7

/* How much of each the request struct holds. */
struct shape {
    int i64s;
    int list_i64;
    int map_entries;
    int list_structs;
    int binary_bytes;
};

struct out {
    uint8_t bytes[1 << 17];
    uint32_t len;
};

static void put8(struct out *o, uint8_t v)
{
    o->bytes[o->len++] = v;
}

static void put32(struct out *o, uint32_t v)
{
    wire_put32(o->bytes + o->len, v);
    o->len += 4;
}

static void put64(struct out *o, uint64_t v)
{
    put32(o, (uint32_t)(v >> 32));
    put32(o, (uint32_t)v);
}

static void put_field(struct out *o, uint8_t type, uint16_t id)
{
    put8(o, type);
    wire_put16(o->bytes + o->len, id);
    o->len += 2;
}

static void put_bytes(struct out *o, const char *bytes, size_t len)
{
    put32(o, (uint32_t)len);
    memcpy(o->bytes + o->len, bytes, len);
    o->len += (uint32_t)len;
}

static void put_string(struct out *o, const char *text)
{
    put_bytes(o, text, strlen(text));
}

static void put_map_header(struct out *o, uint32_t n)
{
    put8(o, WIRE_STRING);
    put8(o, WIRE_STRING);
    put32(o, n);
}

static void put_base(struct out *o)
{
    put_field(o, WIRE_STRUCT, WIRE_BASE_FIELD_ID);
    put_field(o, WIRE_STRING, 1);
    put_string(o, "2024102712345678901234567");
    put_field(o, WIRE_STRING, 2);
    put_string(o, "app.feed.recommend");
    put_field(o, WIRE_MAP, 3);
    put_map_header(o, 2);
    put_string(o, "cluster");
    put_string(o, "default");
    put_string(o, "env");
    put_string(o, "prod");
    put8(o, WIRE_STOP);
}

static void put_containers(struct out *o, const struct shape *shape)
{
    char text[32];

    put_field(o, WIRE_LIST, 100);
    put8(o, WIRE_I64);
    put32(o, (uint32_t)shape->list_i64);
    for (int i = 0; i < shape->list_i64; i++) {
        put64(o, (uint64_t)i * 1234567);
    }
    put_field(o, WIRE_MAP, 101);
    put_map_header(o, (uint32_t)shape->map_entries);
    for (int i = 0; i < shape->map_entries; i++) {
        snprintf(text, sizeof text, "key-%06d", i);
        put_string(o, text);
        snprintf(text, sizeof text, "value-of-%09d", i);
        put_string(o, text);
    }
    put_field(o, WIRE_LIST, 102);
    put8(o, WIRE_STRUCT);
    put32(o, (uint32_t)shape->list_structs);
    for (int i = 0; i < shape->list_structs; i++) {
        put_field(o, WIRE_I64, 1);
        put64(o, (uint64_t)i);
        put_field(o, WIRE_STRING, 2);
        put_string(o, "an element of the list.:");
        put_field(o, WIRE_I32, 3);
        put32(o, 7);
        put8(o, WIRE_STOP);
    }
}

static void put_request(struct out *o, const struct shape *shape)
{
    static const char zeros[16384];

    o->len = 0;
    put32(o, WIRE_VERSION_1 | WIRE_CALL);
    put_string(o, "GetExample");
    put32(o, 0);
    put_field(o, WIRE_STRUCT, 1);
    for (int i = 0; i < shape->i64s; i++) {
        put_field(o, WIRE_I64, (uint16_t)(i + 1));
        put64(o, (uint64_t)i);
    }
    if (shape->list_i64 > 0) {
        put_containers(o, shape);
    }
    put_field(o, WIRE_STRING, 103);
    put_bytes(o, zeros, (size_t)shape->binary_bytes);
    put_base(o);
    put8(o, WIRE_STOP);
    put8(o, WIRE_STOP);
}

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* What a caller does with a frame; the sum keeps the compiler from dropping it. */
static uint32_t scan_header(const struct out *o)
{
    struct codec_scan scan;

    codec_scan_begin(&scan, CODEC_SCAN_REQUEST, o->len);
    /* The arguments have not arrived yet. */
    (void)codec_scan_run(&scan, o->bytes, 22, 65536);
    return scan.message.name.len;
}

static uint32_t scan_only(const struct out *o)
{
    struct codec_scan scan;

    codec_scan_begin(&scan, CODEC_SCAN_REQUEST, o->len);
    if (codec_scan_run(&scan, o->bytes, o->len, SIZE_MAX / 2) != CODEC_SCAN_DONE) {
        abort();
    }
    return scan.message.base.off;
}

static uint32_t scan_and_base(const struct out *o)
{
    struct codec_scan scan;
    struct codec_base base;

    codec_scan_begin(&scan, CODEC_SCAN_REQUEST, o->len);
    if (codec_scan_run(&scan, o->bytes, o->len, SIZE_MAX / 2) != CODEC_SCAN_DONE) {
        abort();
    }
    codec_base_read(o->bytes, scan.message.base, &base);
    return base.extra.count + base.caller.len;
}

static double measure(const struct out *o, uint32_t (*work)(const struct out *), int times)
{
    double best = 1e18;
    uint32_t sum = 0;

    for (int run = 0; run < RUNS; run++) {
        double begin = now_ns();
        for (int i = 0; i < times; i++) {
            sum += work(o);
            __asm__ volatile("" ::: "memory");
        }
        double ns = (now_ns() - begin) / times;
        best = ns < best ? ns : best;
    }
    return sum == 0 ? -1 : best;
}

int main(void)
{
    static const struct shape shapes[] = {
        {2, 0, 0, 0, 17}, {20, 50, 24, 30, 640}, {40, 1000, 300, 600, 16000}};
    static struct out o;

    printf("%8s %12s %12s %12s\n", "bytes", "header ns", "scan ns", "scan+Base ns");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        put_request(&o, &shapes[i]);
        int times = (int)(200000000 / (o.len + 1000));
        printf("%8" PRIu32 " %12.1f %12.1f %12.1f\n", o.len + 4, measure(&o, scan_header, times),
               measure(&o, scan_only, times), measure(&o, scan_and_base, times));
    }
    return 0;
}
