/*
 * tests/sim/sim_framing.c: see sim_framing.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_framing.h"

#include "sidecar/base/extra_key.h"
#include "tests/sim/sim_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN_BYTES   4
#define FIXED_BYTES 14 /* length, magic, flags, sequence, size of what follows in words */
#define MAGIC       0x1000

#define BLOCK_TEXT   0x01
#define BLOCK_NUMBER 0x10

#define NUMBER_TO_SERVICE  6
#define NUMBER_RPC_TIMEOUT 12

const char *sim_framing_str(enum sim_framing framing)
{
    static const char *const names[SIM_FRAMINGS] = {"framed", "unframed", "ttheader",
                                                    "ttheader_framed"};
    return names[framing];
}

bool sim_framing_has_header(enum sim_framing framing)
{
    return framing >= SIM_TTHEADER;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_short_text(struct bytes *out, const char *text)
{
    bytes_put16(out, (uint16_t)strlen(text));
    bytes_put(out, text, strlen(text));
}

static void put_texts(struct bytes *out, const struct sim_header *header)
{
    char number[16];
    bytes_put8(out, BLOCK_TEXT);
    bytes_put16(out, (uint16_t)(1 + header->is_marked + header->is_reset));
    put_short_text(out, header->transit);
    snprintf(number, sizeof number, "%u", header->number);
    put_short_text(out, number);
    if (header->is_marked) {
        put_short_text(out, EXTRA_KEY_RETRY);
        put_short_text(out, "");
    }
    if (header->is_reset) {
        put_short_text(out, "crrst");
        put_short_text(out, "1");
    }
}

static void put_numbers(struct bytes *out, const struct sim_header *header)
{
    char budget[16];
    uint16_t n = (uint16_t)((header->to_service != NULL) + (header->budget_ms > 0));
    if (n == 0) {
        return;
    }
    bytes_put8(out, BLOCK_NUMBER);
    bytes_put16(out, n);
    if (header->to_service) {
        bytes_put16(out, NUMBER_TO_SERVICE);
        put_short_text(out, header->to_service);
    }
    if (header->budget_ms > 0) {
        snprintf(budget, sizeof budget, "%u", header->budget_ms);
        bytes_put16(out, NUMBER_RPC_TIMEOUT);
        put_short_text(out, budget);
    }
}

/* Protocol, no transforms, the blocks, and zeros up to a whole word. */
static void put_info(struct bytes *out, const struct sim_header *header)
{
    bytes_put16(out, 0);
    put_texts(out, header);
    put_numbers(out, header);
    while (out->len % 4 != 0) {
        bytes_put8(out, 0);
    }
}

static void put_headed(struct bytes *out, const struct sim_header *header, const uint8_t *message,
                       size_t len, bool is_inner_framed)
{
    struct bytes info = {0};
    put_info(&info, header);
    size_t inner = is_inner_framed ? LEN_BYTES : 0;
    bytes_put32(out, (uint32_t)(FIXED_BYTES - LEN_BYTES + info.len + inner + len));
    bytes_put16(out, MAGIC);
    bytes_put16(out, 0);
    bytes_put32(out, (uint32_t)header->sequence);
    bytes_put16(out, (uint16_t)(info.len / 4));
    bytes_put(out, info.p, info.len);
    if (is_inner_framed) {
        bytes_put32(out, (uint32_t)len);
    }
    bytes_put(out, message, len);
    bytes_done(&info);
}

void sim_framing_wrap(struct bytes *frame, size_t from, enum sim_framing framing,
                      const struct sim_header *header)
{
    struct bytes message = {0};
    if (framing == SIM_FRAMED) {
        return;
    }
    bytes_put(&message, frame->p + from + LEN_BYTES, frame->len - from - LEN_BYTES);
    frame->len = from;
    if (framing == SIM_UNFRAMED) {
        bytes_put(frame, message.p, message.len);
    } else {
        put_headed(frame, header, message.p, message.len, framing == SIM_TTHEADER_FRAMED);
    }
    bytes_done(&message);
}

/* ---- reading --------------------------------------------------------------------------------- */

static uint32_t info_len(const uint8_t *p)
{
    return 4u * wire_get16(p + FIXED_BYTES - 2);
}

size_t sim_framing_head(enum sim_framing framing, const uint8_t *p, size_t n)
{
    if (!sim_framing_has_header(framing)) {
        return framing == SIM_UNFRAMED ? 0 : LEN_BYTES;
    }
    if (n < FIXED_BYTES) {
        return FIXED_BYTES;
    }
    return FIXED_BYTES + info_len(p) + (framing == SIM_TTHEADER_FRAMED ? LEN_BYTES : 0);
}

static bool next_framed(const struct sim_pipe *pipe, enum sim_framing framing,
                        struct sim_framed *ret)
{
    const uint8_t *p = sim_pipe_bytes(pipe);
    if (pipe->len < LEN_BYTES || pipe->len - LEN_BYTES < wire_get32(p)) {
        return false;
    }
    size_t head = sim_framing_head(framing, p, pipe->len);
    *ret = (struct sim_framed){.whole = LEN_BYTES + wire_get32(p)};
    if (head > ret->whole) {
        return false; /* the oracle waits in vain, and says so */
    }
    ret->body = p + head;
    ret->len = ret->whole - (uint32_t)head;
    if (sim_framing_has_header(framing)) {
        ret->info = p + FIXED_BYTES;
        ret->info_len = info_len(p);
        ret->sequence = (int32_t)wire_get32(p + 8);
    }
    return true;
}

bool sim_framing_next(const struct sim_pipe *pipe, enum sim_framing framing, struct sim_framed *ret)
{
    if (framing != SIM_UNFRAMED) {
        return next_framed(pipe, framing, ret);
    }
    const uint8_t *p = sim_pipe_bytes(pipe);
    uint32_t len = (uint32_t)sim_message_len(p, pipe->len);
    *ret = (struct sim_framed){.body = p, .len = len, .whole = len};
    return len > 0;
}

int64_t sim_header_number(const uint8_t *info, uint32_t info_len, const char *key)
{
    char text[24] = {0};
    size_t key_len = strlen(key);
    const uint8_t *at = info ? memmem(info, info_len, key, key_len) : NULL;
    if (!at) {
        return -1;
    }
    size_t left = info_len - (size_t)(at - info) - key_len;
    size_t len = left >= 2 ? wire_get16(at + key_len) : 0;
    if (len > left - 2 || len >= sizeof text) {
        return -1;
    }
    memcpy(text, at + key_len + 2, len);
    return strtoll(text, NULL, 10);
}
