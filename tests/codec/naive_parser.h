/*
 * tests/codec/naive_parser.h: a second parser of the same grammar, as plain as it can be.
 *
 * Recursive, byte by byte, never skipping, whole messages only: slow, and so unlike codec/scan.c
 * that both are unlikely to be wrong in the same way. An oracle for tests.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_CODEC_NAIVE_PARSER_H
#define TSIDE_TESTS_CODEC_NAIVE_PARSER_H

#include "codec/wire.h"

#include <stdbool.h>

enum naive_verdict { NAIVE_MESSAGE = 0, NAIVE_BAD_HEADER, NAIVE_BAD_BODY };

struct naive_result {
    enum naive_verdict verdict;
    uint8_t type;
    int32_t seqid;
    struct wire_span name;

    bool has_base; /* requests: Base; replies: BaseResp */
    int16_t base_field_id;
    struct wire_span base;

    bool has_field; /* the last field of the arguments or the result */
    int16_t field_id;
    uint8_t field_type;
    struct wire_span field;

    int depth;        /* the deepest level */
    bool beyond_glib; /* has types that libthrift_c_glib 0.17 lacks */
};

struct naive_result naive_parse(const uint8_t *body, size_t len, bool is_request);

#endif
