/*
 * tests/bench/scan_bench.c: what proving a message costs, for three sizes of frames.
 *
 * Not a test: prints nanoseconds per message, the best of several runs. Compile with the release
 * preset. The frames are built like those that libthrift_c_glib was measured with, Base last.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/base.h"
#include "codec/scan.h"
#include "codec/ttheader_edit.h"

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
    uint8_t bytes[1 << 19];
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

static uint32_t scan_unframed(const struct out *o)
{
    struct codec_scan scan;

    codec_scan_begin_unframed(&scan, CODEC_SCAN_REQUEST, WIRE_FRAME_BYTES_DEFAULT);
    if (codec_scan_run(&scan, o->bytes, o->len, SIZE_MAX / 2) != CODEC_SCAN_DONE) {
        abort();
    }
    return codec_scan_len(&scan);
}

/* --- TTHeader --- */

static struct codec_ttheader read_ttheader(const struct out *o)
{
    struct codec_ttheader header;

    codec_ttheader_begin(&header, WIRE_FRAME_BYTES_DEFAULT);
    if (codec_ttheader_run(&header, o->bytes, o->len) != CODEC_TTHEADER_DONE) {
        abort();
    }
    return header;
}

static uint32_t scan_ttheader(const struct out *o)
{
    return read_ttheader(o).info_end;
}

static uint32_t scan_ttheader_and_message(const struct out *o)
{
    struct codec_ttheader header = read_ttheader(o);
    struct codec_scan scan;

    codec_scan_begin(&scan, CODEC_SCAN_REQUEST, header.message.len);
    if (codec_scan_run(&scan, o->bytes + header.message.off, header.message.len, SIZE_MAX / 2) !=
        CODEC_SCAN_DONE) {
        abort();
    }
    return scan.message.base.off;
}

#define SET(id_, value_)                                                                           \
    {                                                                                              \
        .id = (id_), .value = (value_), .value_len = sizeof(value_) - 1                            \
    }
#define SET_TEXT(key_, value_)                                                                     \
    {                                                                                              \
        .key = (key_), .key_len = sizeof(key_) - 1, .value = (value_),                             \
        .value_len = sizeof(value_) - 1                                                            \
    }

/* The budget, the method and the retry marker, as for each attempt. */
static uint32_t edit_ttheader(const struct out *o)
{
    static const struct codec_ttheader_edit edits[] = {
        SET(CODEC_TTHEADER_KEY_TO_METHOD, "GetExample"), SET(CODEC_TTHEADER_KEY_RPC_TIMEOUT, "249"),
        SET_TEXT("RPC_PERSIST_DDL_REMAIN_TIME", "249"), SET_TEXT("RPC_PERSIST_RetryReq", "1")};
    static uint8_t written[CODEC_TTHEADER_BYTES_MAX];
    struct codec_ttheader header = read_ttheader(o);
    struct codec_ttheader_plan plan;
    const struct codec_ttheader_to to = {1, header.message.len, false};

    if (!codec_ttheader_plan(&plan, o->bytes, &header, 4, edits, &to)) {
        abort();
    }
    codec_ttheader_write(&plan, written);
    return plan.bytes + written[17];
}

/* What a mesh's client sends: who calls whom, and some entries that go along. */
static void put_ttheader(struct out *o, const struct out *message)
{
    static const struct codec_ttheader_edit entries[] = {
        SET(CODEC_TTHEADER_KEY_LOG_ID, "2024102712345678901234567"),
        SET(CODEC_TTHEADER_KEY_FROM_SERVICE, "app.feed.recommend"),
        SET(CODEC_TTHEADER_KEY_FROM_CLUSTER, "default"),
        SET(CODEC_TTHEADER_KEY_TO_SERVICE, "example.service"),
        SET(CODEC_TTHEADER_KEY_TO_CLUSTER, "default"),
        SET(CODEC_TTHEADER_KEY_TO_METHOD, "GetExample"),
        SET(10, "prod"),
        SET(CODEC_TTHEADER_KEY_RPC_TIMEOUT, "250"),
        SET(20, "Visit"),
        SET(CODEC_TTHEADER_KEY_MESSAGE_TYPE, "1"),
        SET_TEXT("isn", "ExampleService"),
        SET_TEXT("rip", "10.0.3.7"),
        SET_TEXT("RPC_PERSIST_DDL_REMAIN_TIME", "250"),
    };
    struct codec_ttheader_plan plan;
    const struct codec_ttheader_to to = {1, message->len, false};

    if (!codec_ttheader_plan_fresh(&plan, sizeof entries / sizeof entries[0], entries, &to)) {
        abort();
    }
    codec_ttheader_write(&plan, o->bytes);
    memcpy(o->bytes + plan.bytes, message->bytes, message->len);
    o->len = plan.bytes + message->len;
}

/* The most work that a header can be: as many entries as there may be, then zeros up to its largest size. */
static void put_worst_ttheader(struct out *o, const struct out *message)
{
    memset(o->bytes, 0, CODEC_TTHEADER_BYTES_MAX);
    wire_put32(o->bytes, CODEC_TTHEADER_BYTES_MAX - WIRE_FRAME_LEN_BYTES + message->len);
    wire_put16(o->bytes + 4, CODEC_TTHEADER_MAGIC);
    wire_put16(o->bytes + 12, UINT16_MAX);
    o->bytes[CODEC_TTHEADER_INFO_OFF] = CODEC_TTHEADER_INFO_TEXT;
    wire_put16(o->bytes + CODEC_TTHEADER_INFO_OFF + 1, CODEC_TTHEADER_ITEMS_MAX - 1);
    memcpy(o->bytes + CODEC_TTHEADER_BYTES_MAX, message->bytes, message->len);
    o->len = CODEC_TTHEADER_BYTES_MAX + message->len;
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

static void print_ttheader(const char *what, const struct out *o, int times)
{
    printf("%12s %8" PRIu32 " %12.1f %12.1f %12.1f\n", what, read_ttheader(o).header_bytes,
           measure(o, scan_ttheader, times), measure(o, scan_ttheader_and_message, times),
           measure(o, edit_ttheader, times));
}

int main(void)
{
    static const struct shape shapes[] = {
        {2, 0, 0, 0, 17}, {20, 50, 24, 30, 640}, {40, 1000, 300, 600, 16000}};
    static struct out o;
    static struct out with_header;

    printf("%8s %12s %12s %12s %12s\n", "bytes", "header ns", "scan ns", "unframed ns",
           "scan+Base ns");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        put_request(&o, &shapes[i]);
        int times = (int)(200000000 / (o.len + 1000));
        printf("%8" PRIu32 " %12.1f %12.1f %12.1f %12.1f\n", o.len + 4,
               measure(&o, scan_header, times), measure(&o, scan_only, times),
               measure(&o, scan_unframed, times), measure(&o, scan_and_base, times));
    }
    put_request(&o, &shapes[0]);
    printf("%12s %8s %12s %12s %12s\n", "TTHeader", "bytes", "header ns", "+ scan ns",
           "header+edit");
    put_ttheader(&with_header, &o);
    print_ttheader("usual", &with_header, 100000);
    put_worst_ttheader(&with_header, &o);
    print_ttheader("worst", &with_header, 100);
    return 0;
}
