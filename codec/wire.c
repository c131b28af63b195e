/*
 * codec/wire.c: what each type of the binary protocol costs at least, and what it is called.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/wire.h"

static const struct {
    uint8_t min_bytes;
    const char *name;
} types[WIRE_TYPE_MAX] = {
    [WIRE_BOOL] = {1, "bool"},     [WIRE_I8] = {1, "i8"},         [WIRE_DOUBLE] = {8, "double"},
    [WIRE_I16] = {2, "i16"},       [WIRE_I32] = {4, "i32"},       [WIRE_I64] = {8, "i64"},
    [WIRE_STRING] = {4, "string"}, [WIRE_STRUCT] = {1, "struct"}, [WIRE_MAP] = {6, "map"},
    [WIRE_SET] = {5, "set"},       [WIRE_LIST] = {5, "list"},     [WIRE_UUID] = {16, "uuid"},
};

uint32_t wire_type_min_bytes(uint8_t type)
{
    return type < WIRE_TYPE_MAX ? types[type].min_bytes : 0;
}

const char *wire_type_str(uint8_t type)
{
    return type < WIRE_TYPE_MAX && types[type].name ? types[type].name : "unknown";
}
