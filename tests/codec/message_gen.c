/*
 * tests/codec/message_gen.c: the generator; the damage is message_mutate.c's.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/message_gen.h"

#include <string.h>

/* A message under way; fuel bounds its size. */
struct gen {
    struct generated *message;
    struct bytes *out;
    struct random *random;
    int fuel;
};

static const uint8_t all_types[] = {WIRE_BOOL, WIRE_I8,     WIRE_DOUBLE, WIRE_I16,    WIRE_I32,
                                    WIRE_I64,  WIRE_STRING, WIRE_STRUCT, WIRE_MAP,    WIRE_SET,
                                    WIRE_LIST, WIRE_STRING, WIRE_I32,    WIRE_STRUCT, WIRE_UUID};

static void note(struct gen *g, enum site_kind kind)
{
    struct generated *m = g->message;

    if (m->sites_len[kind] < SITES_MAX) {
        m->sites[kind][m->sites_len[kind]++] = (uint32_t)g->out->len;
    }
}

static uint32_t below(struct gen *g, uint32_t n)
{
    return random_below(g->random, n);
}

static uint8_t pick_type(struct gen *g)
{
    /* UUID is rare: libthrift_c_glib can't read it. */
    return all_types[below(g, sizeof all_types - !random_one_in(g->random, 16))];
}

static void put_field(struct gen *g, uint8_t type, int16_t id)
{
    note(g, SITE_FIELD_TYPE);
    bytes_put_field(g->out, type, id);
}

static void put_stop(struct gen *g)
{
    note(g, SITE_STOP);
    bytes_put8(g->out, WIRE_STOP);
}

static void put_text(struct gen *g, const char *text)
{
    note(g, SITE_STRING_LENGTH);
    bytes_put_text(g->out, text);
}

static void put_random_bytes(struct gen *g, uint32_t n)
{
    while (n-- > 0) {
        bytes_put8(g->out, (uint8_t)random_next(g->random));
    }
}

static void put_random_string(struct gen *g)
{
    uint32_t n = random_one_in(g->random, 64) ? below(g, 2000) : below(g, 12);

    note(g, SITE_STRING_LENGTH);
    bytes_put32(g->out, n);
    put_random_bytes(g, n);
}

static void put_value(struct gen *g, uint8_t type, int depth);

static void put_fields(struct gen *g, int depth, uint32_t n)
{
    while (n-- > 0) {
        uint8_t type = pick_type(g);
        put_field(g, type, (int16_t)below(g, 300));
        put_value(g, type, depth + 1);
    }
}

static void put_types(struct gen *g, const uint8_t types[], int types_len, uint32_t n)
{
    for (int i = 0; i < types_len; i++) {
        bool is_odd = n == 0 && random_one_in(g->random, 4);
        note(g, n > 0 ? SITE_ELEMENT_TYPE : SITE_EMPTY_TYPE);
        bytes_put8(g->out, is_odd ? 0 : types[i]);
    }
    note(g, SITE_COUNT);
    bytes_put32(g->out, n);
}

/* A map has two types, a set or list one. */
static void put_container(struct gen *g, int types_len, int depth)
{
    uint8_t types[2] = {pick_type(g), pick_type(g)};
    uint32_t n = g->fuel > 0 ? below(g, 5) : 0;

    if (depth == WIRE_DEPTH_MAX) {
        types[0] = WIRE_I16;
        types[1] = WIRE_STRING;
    }
    put_types(g, types, types_len, n);
    for (uint32_t i = 0; i < n; i++) {
        for (int k = 0; k < types_len; k++) {
            put_value(g, types[k], depth + 1);
        }
    }
}

/* depth: of this value where it is a struct or container. */
static void put_value(struct gen *g, uint8_t type, int depth)
{
    g->fuel--;
    switch (type) {
    case WIRE_STRING:
        put_random_string(g);
        break;
    case WIRE_STRUCT:
        put_fields(g, depth, g->fuel > 0 && depth < 60 ? below(g, 4) : 0);
        put_stop(g);
        break;
    case WIRE_MAP:
        put_container(g, 2, depth);
        break;
    case WIRE_SET:
    case WIRE_LIST:
        put_container(g, 1, depth);
        break;
    default:
        put_random_bytes(g, wire_type_min_bytes(type));
        break;
    }
}

/* --- Base --- */

static void put_string_field(struct gen *g, int16_t id, const char *text)
{
    put_field(g, WIRE_STRING, id);
    put_text(g, text);
}

static void put_extra(struct gen *g, int16_t id)
{
    static const char *const keys[] = {"cluster",      "env",        "dest_service",
                                       "dest_cluster", "user_extra", "RPC_PERSIST_DDL_REMAIN_TIME"};
    static const char *const values[] = {"default", "", "prod", "{\"dest_service\":\"x\"}", "250"};
    static const uint8_t types[] = {WIRE_STRING, WIRE_STRING};
    uint32_t n = below(g, 4);

    put_field(g, WIRE_MAP, id);
    put_types(g, types, 2, n);
    for (uint32_t i = 0; i < n; i++) {
        put_text(g, keys[below(g, 6)]);
        put_text(g, values[below(g, 5)]);
    }
}

/* The published variants of Base by the ids of their fields; 'm' marks Extra, 's' a string, 't'
 * a struct. */
static const char *const variants[] = {"1s2s3s4s5t6m", "1s2s3s6m", "1s2s3s4s5m",
                                       "1m",           "1s2s3m",   "0s1s2s5t"};

static void put_base_field(struct gen *g, int16_t id, char kind)
{
    static const char *const texts[] = {"", "app.feed", "20241027-LOG", "-", "a/b"};

    if (kind == 's') {
        put_string_field(g, id, texts[below(g, 5)]);
    } else if (kind == 'm') {
        put_extra(g, id);
    } else {
        put_field(g, WIRE_STRUCT, id);
        put_fields(g, 10, below(g, 2));
        put_stop(g);
    }
}

static void put_base_fields(struct gen *g)
{
    const char *variant = variants[below(g, sizeof variants / sizeof variants[0])];

    for (const char *at = variant; *at; at += 2) {
        if (!random_one_in(g->random, 6)) {
            put_base_field(g, (int16_t)(at[0] - '0'), at[1]);
        }
    }
    while (random_one_in(g->random, 6)) { /* a field twice, or with another type */
        put_base_field(g, (int16_t)below(g, 8), "smt"[below(g, 3)]);
    }
}

static void put_base(struct gen *g)
{
    put_field(g, WIRE_STRUCT, WIRE_BASE_FIELD_ID);
    g->message->base_off = g->out->len;
    put_base_fields(g);
    put_stop(g);
}

/* --- arguments and results --- */

static void put_argument(struct gen *g, int16_t id, bool with_base)
{
    put_field(g, WIRE_STRUCT, id);
    if (g->message->argument_off == 0) {
        g->message->argument_off = g->out->len;
    }
    put_fields(g, 2, below(g, 4));
    if (with_base) {
        put_base(g);
        if (random_one_in(g->random, 8)) {
            put_fields(g, 2, 1);
        }
    }
    put_stop(g);
}

static void put_arguments(struct gen *g)
{
    switch (below(g, 8)) {
    case 0: /* none, or anything */
        put_fields(g, 1, below(g, 3));
        break;
    case 1: /* Base beside the arguments */
        put_fields(g, 1, below(g, 2));
        put_base(g);
        break;
    case 2: /* several structs */
        put_argument(g, (int16_t)(1 + below(g, 3)), !random_one_in(g->random, 3));
        put_argument(g, (int16_t)(1 + below(g, 3)), !random_one_in(g->random, 3));
        break;
    default:
        put_argument(g, 1, !random_one_in(g->random, 8));
        break;
    }
}

static void put_base_resp(struct gen *g)
{
    put_field(g, WIRE_STRUCT, WIRE_BASE_RESP_FIELD_ID);
    g->message->base_off = g->out->len;
    put_string_field(g, 1, "ok");
    put_field(g, WIRE_I32, 2);
    put_random_bytes(g, 4);
    if (random_one_in(g->random, 3)) {
        put_extra(g, 3);
    }
    put_stop(g);
}

static void put_result(struct gen *g)
{
    switch (below(g, 6)) {
    case 0: /* void, or anything */
        put_fields(g, 1, below(g, 2));
        break;
    case 1: /* a declared exception */
        put_argument(g, (int16_t)(1 + below(g, 3)), random_one_in(g->random, 2));
        break;
    default:
        put_field(g, WIRE_STRUCT, 0);
        g->message->argument_off = g->out->len;
        put_fields(g, 2, below(g, 4));
        if (!random_one_in(g->random, 4)) {
            put_base_resp(g);
        }
        put_stop(g);
        break;
    }
}

static void put_application_exception(struct gen *g)
{
    put_string_field(g, 1, "something broke");
    put_field(g, WIRE_I32, 2);
    bytes_put32(g->out, below(g, 12));
}

static const char *pick_name(struct gen *g)
{
    static const char *const names[] = {"Visit",    "GetExample", "Service:Visit", "",
                                        "A:b:c",    ":x",         "\u00e9t\u00e9", "a/b%c",
                                        "x\xff\xfe"};
    static char long_name[600];

    if (!random_one_in(g->random, 50)) {
        return names[below(g, sizeof names / sizeof names[0])];
    }
    uint32_t len = 200 + below(g, 350);
    memset(long_name, 'n', len);
    long_name[len] = '\0';
    return long_name;
}

void message_generate(struct generated *message, struct random *random, bool is_request)
{
    struct gen g = {message, &message->body, random, 4 + (int)random_below(random, 60)};
    bool is_exception = !is_request && random_one_in(random, 5);
    uint8_t type = is_request ? (random_one_in(random, 4) ? WIRE_ONEWAY : WIRE_CALL)
                              : (is_exception ? WIRE_EXCEPTION : WIRE_REPLY);

    message->body.len = 0;
    message->is_request = is_request;
    message->argument_off = 0;
    message->base_off = 0;
    memset(message->sites_len, 0, sizeof message->sites_len);
    bytes_put_header(&message->body, (enum wire_message_type)type, pick_name(&g),
                     random_one_in(random, 2) ? 0 : (int32_t)random_next(random));
    message->args_off = message->body.len;
    if (is_exception) {
        put_application_exception(&g);
    } else if (is_request) {
        put_arguments(&g);
    } else {
        put_result(&g);
    }
    put_stop(&g);
}

void generated_done(struct generated *message)
{
    bytes_done(&message->body);
}
