/*
 * codec/wire.h: the numbers of Thrift's strict binary protocol, and big-endian access.
 *
 * Any folder may include it. Byte-wise reads and writes, so no pointer needs to be aligned.
 * Source: doc/specs/thrift-binary-protocol.md of apache/thrift.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_WIRE_H
#define TSIDE_CODEC_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum wire_type {
    WIRE_STOP = 0,
    WIRE_VOID = 1,
    WIRE_BOOL = 2,
    WIRE_I8 = 3,
    WIRE_DOUBLE = 4,
    WIRE_I16 = 6,
    WIRE_I32 = 8,
    WIRE_I64 = 10,
    WIRE_STRING = 11,
    WIRE_STRUCT = 12,
    WIRE_MAP = 13,
    WIRE_SET = 14,
    WIRE_LIST = 15,
    WIRE_UUID = 16,
    WIRE_TYPE_MAX
};

/* X(type, shape, bytes that a value has at least): all that may stand in a message. */
#define WIRE_VALUES(X)                                                                             \
    X(BOOL, FIXED, 1)                                                                              \
    X(I8, FIXED, 1)                                                                                \
    X(DOUBLE, FIXED, 8)                                                                            \
    X(I16, FIXED, 2)                                                                               \
    X(I32, FIXED, 4)                                                                               \
    X(I64, FIXED, 8)                                                                               \
    X(STRING, STRING, 4) /* its length */                                                          \
    X(STRUCT, STRUCT, 1) /* its STOP */                                                            \
    X(MAP, MAP, 6)       /* types and count */                                                     \
    X(SET, LIST, 5)                                                                                \
    X(LIST, LIST, 5)                                                                               \
    X(UUID, FIXED, 16)

enum wire_message_type {
    WIRE_CALL = 1,
    WIRE_REPLY = 2,
    WIRE_EXCEPTION = 3,
    WIRE_ONEWAY = 4,
    WIRE_MESSAGE_TYPE_MAX
};

/* TApplicationException's types that tside uses itself. */
enum wire_exception_type {
    WIRE_EXCEPTION_UNKNOWN_METHOD = 1,
    WIRE_EXCEPTION_INTERNAL_ERROR = 6,
    WIRE_EXCEPTION_PROTOCOL_ERROR = 7,
};

#define WIRE_VERSION_1           0x80010000u
#define WIRE_VERSION_MASK        0xffff0000u
#define WIRE_FRAME_LEN_BYTES     4
#define WIRE_SEQID_BYTES         4
#define WIRE_MESSAGE_MIN_BYTES   12  /* version and type, name length, seqid */
#define WIRE_DEPTH_MAX           64  /* the arguments struct is depth 1 */
#define WIRE_NAME_MAX_BYTES      256 /* each of the five names */
#define WIRE_FRAME_BYTES_DEFAULT 16384000
#define WIRE_BASE_FIELD_ID       255
#define WIRE_BASE_RESP_FIELD_ID  255

/* A run of bytes inside a frame's body; offsets count from the body's first byte. */
struct wire_span {
    uint32_t off;
    uint32_t len;
};

static inline uint16_t wire_get16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t wire_get32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline void wire_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void wire_put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* The bytes a value of this type has at least; 0 where the type may not stand in a message. */
uint32_t wire_type_min_bytes(uint8_t type);

#endif
