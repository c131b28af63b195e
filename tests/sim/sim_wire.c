/*
 * tests/sim/sim_wire.c: see sim_wire.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_wire.h"

#include "sidecar/base/extra_key.h"
#include "tests/sim/sim_framing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET_KEY "RPC_PERSIST_DDL_REMAIN_TIME"
#define ID_LEN     10 /* a letter, 8 digits, a dot */
#define TEXT_OFF   7  /* of the arguments: type, field id and length stand in front */

/* ---- writing --------------------------------------------------------------------------------- */

static char filling_at(uint32_t id, uint32_t i)
{
    return (char)('a' + (id * 7 + i * 3 + i / 26) % 26);
}

static void put_text(struct bytes *out, char letter, uint32_t id, uint32_t filling)
{
    char piece[256];
    int n = snprintf(piece, sizeof piece, "%c%08x.", letter, id);
    bytes_put32(out, (uint32_t)n + filling);
    bytes_put(out, piece, (size_t)n);
    for (uint32_t i = 0; i < filling;) {
        uint32_t len = 0;
        while (len < sizeof piece && i < filling) {
            piece[len++] = filling_at(id, i++);
        }
        bytes_put(out, piece, len);
    }
}

static size_t begin_frame(struct bytes *out)
{
    size_t from = out->len;
    bytes_put32(out, 0);
    return from;
}

static void end_frame(struct bytes *out, size_t from)
{
    wire_put32(out->p + from, (uint32_t)(out->len - from - WIRE_FRAME_LEN_BYTES));
}

static void put_head(struct bytes *out, const struct sim_reply *reply)
{
    bytes_put32(out, WIRE_VERSION_1 | (uint32_t)reply->type);
    bytes_put_string(out, reply->name, reply->name_len);
    bytes_put32(out, (uint32_t)reply->seqid);
}

static void put_user_extra(struct bytes *out, const struct sim_request *request)
{
    char text[256];
    int n = snprintf(text, sizeof text, "{\"k\": [1], ");
    if (request->budget_ms > 0) {
        n += snprintf(text + n, sizeof text - (size_t)n, "\"%s\":\"%06u\" , ", BUDGET_KEY,
                      request->budget_ms);
    }
    if (request->marked) {
        n += snprintf(text + n, sizeof text - (size_t)n, "\"%s\":\"\", ", EXTRA_KEY_RETRY);
    }
    snprintf(text + n, sizeof text - (size_t)n, "\"z\":null}");
    bytes_put_text(out, EXTRA_KEY_USER_EXTRA);
    bytes_put_text(out, text);
}

static void put_extra(struct bytes *out, const struct sim_request *request)
{
    char budget[16];
    uint32_t own = (request->budget_ms > 0) + request->marked;
    bytes_put_field(out, WIRE_MAP, 6);
    bytes_put_map(out, WIRE_STRING, WIRE_STRING,
                  (request->service != NULL) + (request->in_text ? 1 : own));
    if (request->service) {
        bytes_put_text(out, EXTRA_KEY_DEST_SERVICE);
        bytes_put_text(out, request->service);
    }
    if (request->in_text) {
        put_user_extra(out, request);
        return;
    }
    if (request->budget_ms > 0) {
        snprintf(budget, sizeof budget, "%u", request->budget_ms);
        bytes_put_text(out, BUDGET_KEY);
        bytes_put_text(out, budget);
    }
    if (request->marked) {
        bytes_put_text(out, EXTRA_KEY_RETRY);
        bytes_put_text(out, "");
    }
}

static void put_base(struct bytes *out, const struct sim_request *request)
{
    char log_id[16];
    snprintf(log_id, sizeof log_id, "%08x", request->id);
    bytes_put_field(out, WIRE_STRUCT, WIRE_BASE_FIELD_ID);
    bytes_put_string_field(out, 1, log_id);
    bytes_put_string_field(out, 2, request->caller);
    put_extra(out, request);
    bytes_put8(out, WIRE_STOP);
}

void sim_wire_request(struct bytes *out, const struct sim_request *request)
{
    size_t from = begin_frame(out);
    bytes_put_header(out, request->type, request->name, request->seqid);
    bytes_put_field(out, WIRE_STRING, 1);
    put_text(out, 't', request->id, request->filling);
    put_base(out, request);
    bytes_put8(out, WIRE_STOP);
    end_frame(out, from);
}

void sim_wire_reply(struct bytes *out, const struct sim_reply *reply)
{
    size_t from = begin_frame(out);
    put_head(out, reply);
    bytes_put_field(out, WIRE_STRUCT, 0);
    bytes_put_field(out, WIRE_STRING, 1);
    put_text(out, 'r', reply->id, reply->filling);
    bytes_put_field(out, WIRE_STRUCT, WIRE_BASE_RESP_FIELD_ID);
    bytes_put_field(out, WIRE_I32, 2);
    bytes_put32(out, (uint32_t)reply->code);
    bytes_put8(out, WIRE_STOP);
    bytes_put8(out, WIRE_STOP);
    bytes_put8(out, WIRE_STOP);
    end_frame(out, from);
}

void sim_wire_exception(struct bytes *out, const struct sim_reply *reply)
{
    size_t from = begin_frame(out);
    put_head(out, reply);
    bytes_put_field(out, WIRE_STRING, 1);
    put_text(out, 'x', reply->id, 0);
    bytes_put_field(out, WIRE_I32, 2);
    bytes_put32(out, WIRE_EXCEPTION_INTERNAL_ERROR);
    bytes_put8(out, WIRE_STOP);
    end_frame(out, from);
}

/* Where the arguments or the result begin. */
static size_t args_off(const struct bytes *frame, size_t from)
{
    size_t name = from + WIRE_FRAME_LEN_BYTES + 4;
    return name + 4 + wire_get32(frame->p + name) + WIRE_SEQID_BYTES;
}

void sim_wire_damage(struct bytes *frame, size_t from, enum sim_damage damage)
{
    size_t args = args_off(frame, from);
    size_t end = frame->len;
    switch (damage) {
    case SIM_DAMAGE_LENGTH:
        wire_put32(frame->p + args + 3, 0x7fffffff);
        break;
    case SIM_DAMAGE_TRAILING:
        bytes_put8(frame, 0);
        break;
    case SIM_DAMAGE_SECOND:
        for (size_t i = from + WIRE_FRAME_LEN_BYTES; i < end; i++) {
            bytes_put8(frame, frame->p[i]);
        }
        break;
    default:
        frame->p[args] = 99;
        break;
    }
    end_frame(frame, from);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Behind the string at off; n + 1: it is cut. */
static size_t skip_string(const uint8_t *p, size_t off, size_t n)
{
    size_t len = off + 4 <= n ? wire_get32(p + off) : n;
    return off + 4 <= n && len <= n - off - 4 ? off + 4 + len : n + 1;
}

static size_t skip_struct(const uint8_t *p, size_t off, size_t n);

/* Of the types that simulated messages are made of. */
static size_t skip_value(const uint8_t *p, size_t off, size_t n, uint8_t type)
{
    switch (type) {
    case WIRE_STRUCT:
        return skip_struct(p, off, n);
    case WIRE_STRING:
        return skip_string(p, off, n);
    case WIRE_I32:
        return off + 4;
    default: { /* a map of strings */
        uint32_t strings = off + 6 <= n ? 2 * wire_get32(p + off + 2) : 0;
        off = off + 6 <= n ? off + 6 : n + 1;
        while (strings-- > 0 && off <= n) {
            off = skip_string(p, off, n);
        }
        return off;
    }
    }
}

static size_t skip_struct(const uint8_t *p, size_t off, size_t n)
{
    while (off < n && p[off] != WIRE_STOP) {
        off = off + 3 <= n ? skip_value(p, off + 3, n, p[off]) : n + 1;
    }
    return off < n ? off + 1 : n + 1;
}

size_t sim_message_len(const uint8_t *p, size_t n)
{
    size_t off = n > 4 ? skip_string(p, 4, n) : n + 1;
    off = off + WIRE_SEQID_BYTES <= n ? skip_struct(p, off + WIRE_SEQID_BYTES, n) : n + 1;
    return off <= n ? off : 0;
}

bool sim_message_read(const uint8_t *body, uint32_t len, struct sim_message *ret)
{
    if (len < WIRE_MESSAGE_MIN_BYTES || (wire_get32(body) & WIRE_VERSION_MASK) != WIRE_VERSION_1) {
        return false;
    }
    uint32_t name_len = wire_get32(body + 4);
    if (name_len > len - WIRE_MESSAGE_MIN_BYTES) {
        return false;
    }
    ret->info = NULL;
    ret->type = (uint8_t)wire_get32(body);
    ret->name = (const char *)body + 8;
    ret->name_len = name_len;
    ret->seqid = (int32_t)wire_get32(body + 8 + name_len);
    ret->args = body + WIRE_MESSAGE_MIN_BYTES + name_len;
    ret->args_len = len - WIRE_MESSAGE_MIN_BYTES - name_len;
    return true;
}

bool sim_message_text(const struct sim_message *message, const char **ret_text, uint32_t *ret_len)
{
    const uint8_t *p = message->args;
    uint32_t left = message->args_len;
    if (message->type == WIRE_REPLY && left >= 3 && p[0] == WIRE_STRUCT) {
        p += 3;
        left -= 3;
    }
    if (left < TEXT_OFF || p[0] != WIRE_STRING || wire_get16(p + 1) != 1 ||
        wire_get32(p + 3) > left - TEXT_OFF) {
        return false;
    }
    *ret_text = (const char *)p + TEXT_OFF;
    *ret_len = wire_get32(p + 3);
    return true;
}

uint32_t sim_text_id(const char *text, uint32_t len, char letter, uint32_t *ret_filling)
{
    char digits[9] = {0};
    char *end;
    if (len < ID_LEN || text[0] != letter || text[ID_LEN - 1] != '.') {
        return SIM_NO_ID;
    }
    memcpy(digits, text + 1, 8);
    uint32_t id = (uint32_t)strtoul(digits, &end, 16);
    for (uint32_t i = 0; i < len - ID_LEN; i++) {
        if (text[ID_LEN + i] != filling_at(id, i)) {
            return SIM_NO_ID;
        }
    }
    *ret_filling = len - ID_LEN;
    return *end == '\0' ? id : SIM_NO_ID;
}

uint32_t sim_message_id_begun(const struct sim_message *message)
{
    uint32_t filling;
    bool there = message->args_len >= TEXT_OFF + ID_LEN;
    return there ? sim_text_id((const char *)message->args + TEXT_OFF, ID_LEN, 't', &filling)
                 : SIM_NO_ID;
}

int64_t sim_message_budget(const struct sim_message *message)
{
    const uint8_t *key =
        memmem(message->args, message->args_len, BUDGET_KEY, sizeof BUDGET_KEY - 1);
    if (message->info) {
        return sim_header_number(message->info, message->info_len, BUDGET_KEY);
    }
    size_t skip = sizeof BUDGET_KEY - 1 + 4; /* a length; or, in a JSON text, quotes and a colon */
    return key ? atoll((const char *)key + (key[skip - 4] == '"' ? skip - 1 : skip)) : -1;
}

bool sim_message_is_marked(const struct sim_message *message)
{
    if (message->info) {
        return memmem(message->info, message->info_len, EXTRA_KEY_AND_LEN(EXTRA_KEY_RETRY)) != NULL;
    }
    return memmem(message->args, message->args_len, EXTRA_KEY_AND_LEN(EXTRA_KEY_RETRY)) != NULL;
}

bool sim_name_is(const struct sim_message *message, const char *name)
{
    return message->name_len == strlen(name) && memcmp(message->name, name, message->name_len) == 0;
}
