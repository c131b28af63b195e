/*
 * tests/codec/message_mutate.c: damage, one function a class.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/message_gen.h"

#include <stdlib.h>
#include <string.h>

const char *mutation_str(enum mutation mutation)
{
    static const char *const names[MUTATION_MAX] = {
#define X(name, accepts, rejects) [MUTATION_##name] = #name,
        MUTATIONS(X)
#undef X
    };

    return names[mutation];
}

/* A site of this kind, or NULL. */
static uint8_t *pick_site(const struct generated *m, enum site_kind kind, struct random *random,
                          struct bytes *out)
{
    if (m->sites_len[kind] == 0) {
        return NULL;
    }
    return out->p + m->sites[kind][random_below(random, (uint32_t)m->sites_len[kind])];
}

static bool is_type(uint8_t type)
{
    return wire_type_min_bytes(type) > 0;
}

/* 0 may be wanted or not: as a field's type it is a STOP. */
static uint8_t bad_type(struct random *random, bool with_stop)
{
    for (;;) {
        uint8_t type = (uint8_t)random_next(random);
        if (random_one_in(random, 2)) {
            type %= 20; /* the near misses */
        }
        if (!is_type(type) && (with_stop || type != WIRE_STOP)) {
            return type;
        }
    }
}

static uint8_t other_type(struct random *random, uint8_t type)
{
    for (;;) {
        uint8_t other = (uint8_t)random_below(random, WIRE_TYPE_MAX);
        if (is_type(other) && other != type) {
            return other;
        }
    }
}

/* One more, one fewer, or a few. */
static uint32_t off_by_some(struct random *random, uint32_t v)
{
    uint32_t delta = 1 + (random_one_in(random, 3) ? random_below(random, 8) : 0);

    return random_one_in(random, 2) && v >= delta ? v - delta : v + delta;
}

static bool mutate_header(struct bytes *out, enum mutation mutation, struct random *random,
                          bool is_request)
{
    static const uint16_t versions[8] = {0, 1, 0x8000, 0x8002, 0x8101, 0xc001, 0x8221, 0xffff};
    static const uint8_t types[2][7] = {{0, 1, 4, 5, 0x81, 0x12, 255}, {0, 2, 3, 5, 0x82, 7, 255}};
    uint32_t name_len = wire_get32(out->p + 4);

    switch (mutation) {
    case MUTATION_VERSION:
        wire_put16(out->p, versions[random_below(random, 8)]);
        return true;
    case MUTATION_MESSAGE_TYPE:
        out->p[3] = types[is_request][random_below(random, 7)];
        return true;
    case MUTATION_UNUSED_BYTE:
        out->p[2] = (uint8_t)random_next(random);
        return true;
    case MUTATION_SEQID:
        wire_put32(out->p + 8 + name_len, (uint32_t)random_next(random));
        return true;
    case MUTATION_NAME_LENGTH_BEYOND:
        wire_put32(out->p + 4, random_one_in(random, 2)
                                   ? 0x80000000u | (uint32_t)random_next(random)
                                   : (uint32_t)out->len - 11 + random_below(random, 0x7fff0000));
        return true;
    case MUTATION_NAME_LENGTH_OFF:
        wire_put32(out->p + 4, off_by_some(random, name_len));
        return true;
    default:
        abort();
    }
}

/* A count whose product with the element's width wraps in 32 bits. */
static uint32_t wrapping_count(struct random *random)
{
    static const uint32_t counts[] = {0x20000000, 0x10000000, 0x40000000, 0x15555556, 0x20000001};

    return counts[random_below(random, 5)];
}

static bool mutate_number(const struct generated *m, struct bytes *out, enum mutation mutation,
                          struct random *random)
{
    bool is_count = mutation >= MUTATION_COUNT_NEGATIVE;
    uint8_t *site = pick_site(m, is_count ? SITE_COUNT : SITE_STRING_LENGTH, random, out);
    uint32_t any = (uint32_t)random_next(random);

    if (site == NULL) {
        return false;
    }
    switch (mutation) {
    case MUTATION_LENGTH_NEGATIVE:
    case MUTATION_COUNT_NEGATIVE:
        wire_put32(site, 0x80000000u | (random_one_in(random, 2) ? any : 0u - any % 20));
        break;
    case MUTATION_LENGTH_HUGE:
    case MUTATION_COUNT_HUGE: /* one more than the bytes behind it, at least */
        wire_put32(site, random_one_in(random, 2)
                             ? 0x7fffffffu - any % 20
                             : (uint32_t)(out->p + out->len - site) - 3 + any % 4);
        break;
    case MUTATION_COUNT_WRAPS:
        wire_put32(site, wrapping_count(random));
        break;
    default:
        wire_put32(site, off_by_some(random, wire_get32(site)));
        break;
    }
    return true;
}

static bool mutate_type(const struct generated *m, struct bytes *out, enum mutation mutation,
                        struct random *random)
{
    enum site_kind kind = mutation == MUTATION_EMPTY_TYPE_ANY  ? SITE_EMPTY_TYPE
                          : mutation < MUTATION_EMPTY_TYPE_ANY ? SITE_ELEMENT_TYPE
                          : mutation == MUTATION_STOP_DROPPED  ? SITE_STOP
                                                               : SITE_FIELD_TYPE;
    uint8_t *site = pick_site(m, kind, random, out);

    if (site == NULL) {
        return false;
    }
    switch (mutation) {
    case MUTATION_ELEMENT_TYPE_BAD:
        *site = bad_type(random, true);
        break;
    case MUTATION_FIELD_TYPE_BAD:
        *site = bad_type(random, false);
        break;
    case MUTATION_EMPTY_TYPE_ANY:
        *site = (uint8_t)random_next(random);
        break;
    case MUTATION_FIELD_IS_STOP:
        *site = WIRE_STOP;
        break;
    case MUTATION_STOP_DROPPED:
        bytes_splice(out, (size_t)(site - out->p), 1, NULL, 0);
        break;
    default:
        *site = other_type(random, *site);
        break;
    }
    return true;
}

/* A field that is levels deep, of structs and containers as they come. Each holds one value, so
 * that nothing but the structs' STOPs stands behind the innermost. */
static void put_nested(struct bytes *b, struct random *random, int levels)
{
    static const struct {
        uint8_t type;
        uint8_t header[6]; /* with the next level's type in front, or behind its key's */
        uint8_t header_len;
    } nests[] = {
        {WIRE_STRUCT, {0, 0, 9}, 3},
        {WIRE_LIST, {0, 0, 0, 0, 1}, 5},
        {WIRE_SET, {0, 0, 0, 0, 1}, 5},
        {WIRE_MAP, {WIRE_BOOL, 0, 0, 0, 0, 1}, 6},
    };
    size_t type_at = b->len;
    int structs = 0;

    bytes_put_field(b, WIRE_I32, 9);
    while (levels-- > 0) {
        uint32_t i = random_below(random, 4);
        structs += nests[i].type == WIRE_STRUCT;
        b->p[type_at] = nests[i].type;
        if (levels == 0 && nests[i].type == WIRE_STRUCT && random_one_in(random, 2)) {
            break; /* an empty one */
        }
        type_at = b->len + (nests[i].type == WIRE_MAP);
        bytes_put(b, nests[i].header, nests[i].header_len);
        if (nests[i].type == WIRE_MAP) {
            bytes_put8(b, 1);
        }
        b->p[type_at] = WIRE_I32;
    }
    if (b->p[type_at] == WIRE_I32) {
        bytes_put32(b, 12345);
    }
    while (structs-- > 0) {
        bytes_put8(b, WIRE_STOP);
    }
}

static bool mutate_depth(const struct generated *m, struct bytes *out, enum mutation mutation,
                         struct random *random)
{
    struct bytes field = {0};
    int depth = mutation == MUTATION_DEPTH_UP_TO_64 ? 64 - (int)random_below(random, 4)
                                                    : 65 + (int)random_below(random, 10);

    put_nested(&field, random, depth - 1);
    bytes_splice(out, m->args_off, 0, field.p, field.len);
    bytes_done(&field);
    return true;
}

/* Another field 255, in front of or behind all others, as a struct or as something else. */
static bool mutate_base_twice(const struct generated *m, struct bytes *out, struct random *random)
{
    struct bytes field = {0};
    bool is_inside = m->argument_off > 0 && random_one_in(random, 2);
    size_t at = random_one_in(random, 2) ? out->len - 1 : m->args_off;

    if (random_one_in(random, 3)) {
        bytes_put_field(&field, WIRE_I16, WIRE_BASE_FIELD_ID);
        bytes_put16(&field, 1);
    } else {
        bytes_put_field(&field, WIRE_STRUCT, WIRE_BASE_FIELD_ID);
        bytes_put_string_field(&field, 2, "another caller");
        bytes_put8(&field, WIRE_STOP);
    }
    bytes_splice(out, is_inside ? m->argument_off : at, 0, field.p, field.len);
    bytes_done(&field);
    return true;
}

/* An argument with a low id once more: another struct with Base, or no struct at all. */
static bool mutate_argument_twice(const struct generated *m, struct bytes *out,
                                  struct random *random)
{
    struct bytes field = {0};
    int16_t id = (int16_t)random_below(random, 4);

    if (random_one_in(random, 2)) {
        bytes_put_field(&field, WIRE_STRUCT, id);
        bytes_put_field(&field, WIRE_STRUCT, WIRE_BASE_FIELD_ID);
        bytes_put_string_field(&field, 2, "another caller");
        bytes_put8(&field, WIRE_STOP);
        bytes_put8(&field, WIRE_STOP);
    } else {
        bytes_put_field(&field, WIRE_BOOL, id);
        bytes_put8(&field, 1);
    }
    bytes_splice(out, random_one_in(random, 2) ? out->len - 1 : m->args_off, 0, field.p, field.len);
    bytes_done(&field);
    return true;
}

/* In front of Base's fields one more, of an id and type that may matter. */
static bool mutate_base_field(const struct generated *m, struct bytes *out, struct random *random)
{
    struct bytes field = {0};
    int16_t id = (int16_t)random_below(random, 8);

    if (m->base_off == 0) {
        return false;
    }
    switch (random_below(random, 3)) {
    case 0:
        bytes_put_string_field(&field, id, "twice");
        break;
    case 1:
        bytes_put_field(&field, WIRE_MAP, id);
        bytes_put_map(&field, WIRE_STRING, WIRE_STRING, 1);
        bytes_put_text(&field, "k");
        bytes_put_text(&field, "v");
        break;
    default:
        bytes_put_field(&field, WIRE_BOOL, id);
        bytes_put8(&field, 1);
        break;
    }
    bytes_splice(out, m->base_off, 0, field.p, field.len);
    bytes_done(&field);
    return true;
}

bool message_mutate(const struct generated *m, enum mutation mutation, struct random *random,
                    struct bytes *ret)
{
    ret->len = 0;
    bytes_put(ret, m->body.p, m->body.len);
    switch (mutation) {
    case MUTATION_NONE:
        return true;
    case MUTATION_CUT:
        ret->len = 12 + random_below(random, (uint32_t)ret->len - 12);
        return true;
    case MUTATION_CUT_HEADER:
        ret->len = random_below(random, 12);
        return true;
    case MUTATION_TRAILING:
        for (uint32_t n = 1 + random_below(random, 8); n > 0; n--) {
            bytes_put8(ret, random_one_in(random, 3) ? 0 : (uint8_t)random_next(random));
        }
        return true;
    case MUTATION_SECOND_MESSAGE:
        bytes_put(ret, m->body.p, m->body.len);
        return true;
    case MUTATION_FLIP_BYTE:
        ret->p[random_below(random, (uint32_t)ret->len)] ^=
            (uint8_t)(1u << random_below(random, 8));
        return true;
    case MUTATION_DEPTH_UP_TO_64:
    case MUTATION_DEPTH_OVER_64:
        return mutate_depth(m, ret, mutation, random);
    case MUTATION_BASE_TWICE:
        return mutate_base_twice(m, ret, random);
    case MUTATION_BASE_FIELD_TWICE:
        return mutate_base_field(m, ret, random);
    case MUTATION_ARGUMENT_TWICE:
        return mutate_argument_twice(m, ret, random);
    default:
        break;
    }
    if (mutation <= MUTATION_NAME_LENGTH_OFF) {
        return mutate_header(ret, mutation, random, m->is_request);
    }
    return mutation <= MUTATION_COUNT_OFF ? mutate_number(m, ret, mutation, random)
                                          : mutate_type(m, ret, mutation, random);
}
