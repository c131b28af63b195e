/*
 * codec/wire.c: what each type of the binary protocol costs at least.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/wire.h"

static const uint8_t min_bytes[WIRE_TYPE_MAX] = {
    [WIRE_BOOL] = 1, [WIRE_I8] = 1,  [WIRE_DOUBLE] = 8, [WIRE_I16] = 2,
    [WIRE_I32] = 4,  [WIRE_I64] = 8, [WIRE_STRING] = 4, [WIRE_STRUCT] = 1,
    [WIRE_MAP] = 6,  [WIRE_SET] = 5, [WIRE_LIST] = 5,   [WIRE_UUID] = 16,
};

uint32_t wire_type_min_bytes(uint8_t type)
{
    return type < WIRE_TYPE_MAX ? min_bytes[type] : 0;
}
