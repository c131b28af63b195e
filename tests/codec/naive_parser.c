/*
 * tests/codec/naive_parser.c: see naive_parser.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/naive_parser.h"

#include <string.h>

/* Messages have at most some hundred distinct fields at depth 1; more are refused loudly. */
#define FIELDS_MAX 4096

struct parser {
    const uint8_t *p;
    size_t len;
    size_t at;
    int deepest;
    bool beyond_glib;
};

static bool take(struct parser *in, size_t n, uint64_t *ret)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        if (in->at == in->len) {
            return false;
        }
        v = v * 256 + in->p[in->at++];
    }
    *ret = v;
    return true;
}

static bool drop(struct parser *in, uint64_t n)
{
    uint64_t byte;

    while (n-- > 0) {
        if (!take(in, 1, &byte)) {
            return false;
        }
    }
    return true;
}

static bool parse_value(struct parser *in, uint64_t type, int depth);

/* One field, or STOP as type 0. The value's span is set where there is one. */
struct field {
    uint64_t type;
    int16_t id;
    struct wire_span value;
};

static bool parse_field(struct parser *in, int depth, struct field *ret)
{
    uint64_t id;

    if (!take(in, 1, &ret->type) || ret->type == 0) {
        return in->at > 0 && ret->type == 0;
    }
    if (!take(in, 2, &id)) {
        return false;
    }
    ret->id = (int16_t)(uint16_t)id;
    ret->value.off = (uint32_t)in->at;
    if (!parse_value(in, ret->type, depth + 1)) {
        return false;
    }
    ret->value.len = (uint32_t)in->at - ret->value.off;
    return true;
}

static bool parse_struct(struct parser *in, int depth)
{
    struct field field = {.type = 1};

    while (field.type != 0) {
        field.type = 1;
        if (!parse_field(in, depth, &field)) {
            return false;
        }
    }
    return true;
}

static bool is_type(uint64_t type)
{
    return type >= 2 && type <= 16 && type != 5 && type != 7 && type != 9;
}

static bool parse_elements(struct parser *in, const uint64_t types[], int types_len, int depth)
{
    uint64_t n;

    if (!take(in, 4, &n) || n > 0x7fffffff) {
        return false;
    }
    for (int i = 0; i < types_len; i++) {
        in->beyond_glib |= n == 0 && types[i] > 1 && !is_type(types[i]);
        in->beyond_glib |= types[i] == 16;
        if (n > 0 && !is_type(types[i])) {
            return false;
        }
    }
    while (n-- > 0) {
        for (int i = 0; i < types_len; i++) {
            if (!parse_value(in, types[i], depth + 1)) {
                return false;
            }
        }
    }
    return true;
}

static bool parse_container(struct parser *in, int types_len, int depth)
{
    uint64_t types[2];

    for (int i = 0; i < types_len; i++) {
        if (!take(in, 1, &types[i])) {
            return false;
        }
    }
    return parse_elements(in, types, types_len, depth);
}

static bool parse_string(struct parser *in)
{
    uint64_t n;

    return take(in, 4, &n) && n <= 0x7fffffff && drop(in, n);
}

/* depth: of this value, if it is one that counts. */
static bool parse_value(struct parser *in, uint64_t type, int depth)
{
    if (type >= 12 && type <= 15) {
        if (depth > 64) {
            return false;
        }
        in->deepest = depth > in->deepest ? depth : in->deepest;
    }
    switch (type) {
    case 2:
    case 3:
        return drop(in, 1);
    case 6:
        return drop(in, 2);
    case 8:
        return drop(in, 4);
    case 4:
    case 10:
        return drop(in, 8);
    case 11:
        return parse_string(in);
    case 12:
        return parse_struct(in, depth);
    case 13:
        return parse_container(in, 2, depth);
    case 14:
    case 15:
        return parse_container(in, 1, depth);
    case 16:
        in->beyond_glib = true;
        return drop(in, 16);
    default:
        return false;
    }
}

/* --- what the fields mean, once all of them are known --- */

struct fields {
    size_t len;
    struct field at[FIELDS_MAX];
};

static bool parse_fields(struct parser *in, int depth, struct fields *ret)
{
    struct field field;

    for (ret->len = 0;;) {
        field = (struct field){.type = 1};
        if (!parse_field(in, depth, &field) || ret->len == FIELDS_MAX) {
            return false;
        }
        if (field.type == 0) {
            return true;
        }
        ret->at[ret->len++] = field;
    }
}

static const struct field *last_with_id(const struct fields *fields, int16_t id)
{
    for (size_t i = fields->len; i > 0; i--) {
        if (fields->at[i - 1].id == id) {
            return &fields->at[i - 1];
        }
    }
    return NULL;
}

/* The struct in field 255 of the struct that is this field's value. */
static bool base_inside(const struct parser *in, const struct field *outer, struct wire_span *ret)
{
    static struct fields fields;
    struct parser inner = {.p = in->p, .len = in->len, .at = outer ? outer->value.off : 0};

    if (!outer || outer->type != WIRE_STRUCT || !parse_fields(&inner, 2, &fields)) {
        return false;
    }
    const struct field *base = last_with_id(&fields, 255);
    if (!base || base->type != WIRE_STRUCT) {
        return false;
    }
    *ret = base->value;
    return true;
}

static const struct field *lowest_struct(const struct fields *fields)
{
    const struct field *lowest = NULL;

    for (size_t i = 0; i < fields->len; i++) {
        if (fields->at[i].type == WIRE_STRUCT && (!lowest || fields->at[i].id < lowest->id)) {
            lowest = &fields->at[i];
        }
    }
    return lowest ? last_with_id(fields, lowest->id) : NULL;
}

static void find_base(const struct parser *in, const struct fields *fields, bool is_request,
                      struct naive_result *ret)
{
    const struct field *own = last_with_id(fields, 255);
    const struct field *outer = is_request ? lowest_struct(fields) : last_with_id(fields, 0);

    if (is_request && own && own->type == WIRE_STRUCT) {
        ret->has_base = true;
        ret->base_field_id = 255;
        ret->base = own->value;
    } else if (base_inside(in, outer, &ret->base)) {
        ret->has_base = true;
        ret->base_field_id = outer->id;
    }
}

static bool parse_header(struct parser *in, bool is_request, struct naive_result *ret)
{
    uint64_t version;
    uint64_t name_len;
    uint64_t seqid;

    if (in->len < 12 || !take(in, 4, &version) || version >> 16 != 0x8001) {
        return false;
    }
    ret->type = (uint8_t)version;
    if (is_request ? ret->type != 1 && ret->type != 4 : ret->type != 2 && ret->type != 3) {
        return false;
    }
    if (!take(in, 4, &name_len)) {
        return false;
    }
    ret->name = (struct wire_span){(uint32_t)in->at, (uint32_t)name_len};
    if (!drop(in, name_len) || !take(in, 4, &seqid)) {
        return false;
    }
    ret->seqid = (int32_t)(uint32_t)seqid;
    return true;
}

struct naive_result naive_parse(const uint8_t *body, size_t len, bool is_request)
{
    static struct fields fields;
    struct parser in = {.p = body, .len = len, .deepest = 1};
    struct naive_result result = {0};

    if (!parse_header(&in, is_request, &result)) {
        result.verdict = NAIVE_BAD_HEADER;
        return result;
    }
    if (!parse_fields(&in, 1, &fields) || in.at != len) {
        result.verdict = NAIVE_BAD_BODY;
        return result;
    }
    find_base(&in, &fields, is_request, &result);
    if (fields.len > 0) {
        const struct field *last = &fields.at[fields.len - 1];
        result.has_field = true;
        result.field_id = last->id;
        result.field_type = (uint8_t)last->type;
        result.field = last->value;
    }
    result.depth = in.deepest;
    result.beyond_glib = in.beyond_glib;
    return result;
}
