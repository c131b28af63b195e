/*
 * codec/wire.c: what each type of the binary protocol costs at least.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/wire.h"

static const uint8_t min_bytes[WIRE_TYPE_MAX] = {
#define X(name, shape, min) [WIRE_##name] = (min),
    WIRE_VALUES(X)
#undef X
};

uint32_t wire_type_min_bytes(uint8_t type)
{
    return type < WIRE_TYPE_MAX ? min_bytes[type] : 0;
}
