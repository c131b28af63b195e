/*
 * sidecar/data/call/answer.c: what tside answers itself (docs/specification.md, section 3).
 *
 * A configured degrade reply, or a TApplicationException whose message begins with the reason, says
 * what decided, names the tuple, and ends with the command that explains it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/reply_build.h"
#include "sidecar/data/call/call.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reason, detail and address, then the tuple twice at most (encoded names). */
#define ANSWER_TUPLE_MAX ((size_t)4 * DISC_NAMES * (DISC_NAME_MAX_BYTES + 1))
#define ANSWER_TEXT_MAX  (512 + 2 * ANSWER_TUPLE_MAX)

static const struct disc_tuple *tuple_of(const struct call *call, const struct disc_tuple *tuple)
{
    return tuple ? tuple : &call->plan.route->tuple;
}

static const struct disc_degrade *degrade_of(const struct call *call)
{
    if (call->outcome.reason != REASON_DEGRADED || !call->plan.route ||
        !call->plan.route->degrade) {
        return NULL;
    }
    const struct disc_degrade *degrade = &call->plan.route->degrade->degrade;
    return degrade->reply == DISC_REPLY_DEFAULT ? NULL : degrade;
}

static size_t append_detail(char *text, size_t len, const struct call *call)
{
    const char *format = call->outcome.detail ? call->outcome.detail : "";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
    int n = snprintf(text + len, ANSWER_TEXT_MAX - len, format, (long long)call->outcome.number,
                     (long long)call->number_of);
#pragma GCC diagnostic pop
    return n > 0 && len + (size_t)n < ANSWER_TEXT_MAX ? len + (size_t)n : len;
}

/* The tuple as commands take it; bytes outside UTF-8, which no client could read, as \xHH. */
static void show_tuple(const struct disc_tuple *tuple, char out[ANSWER_TUPLE_MAX])
{
    char encoded[DISC_TUPLE_ENCODED_MAX_BYTES];
    size_t len = disc_tuple_encode(tuple, encoded, sizeof encoded);
    disc_name_display(disc_str_of(encoded, len), out, ANSWER_TUPLE_MAX);
}

static size_t write_text(const struct call *call, const struct disc_tuple *tuple, char *text)
{
    char names[ANSWER_TUPLE_MAX];
    const struct endpoint_state *endpoint = call->outcome.endpoint;
    show_tuple(tuple, names);

    size_t len = (size_t)snprintf(text, ANSWER_TEXT_MAX,
                                  "[tside %s] %s: ", reason_str(call->outcome.reason), names);
    len = append_detail(text, len, call);
    if (call->outcome.cause) {
        len += (size_t)snprintf(text + len, ANSWER_TEXT_MAX - len, ": %s", call->outcome.cause);
    }
    if (endpoint) {
        len += (size_t)snprintf(text + len, ANSWER_TEXT_MAX - len, ", endpoint %s, try %u",
                                endpoint->address, call->tries);
    }
    len += (size_t)snprintf(text + len, ANSWER_TEXT_MAX - len, "; tside explain %s", names);
    return len;
}

static int32_t exception_type(const struct call *call)
{
    if (call->outcome.unknown_method) {
        return WIRE_EXCEPTION_UNKNOWN_METHOD;
    }
    return call->outcome.reason == REASON_BAD_REQUEST ? WIRE_EXCEPTION_PROTOCOL_ERROR
                                                      : WIRE_EXCEPTION_INTERNAL_ERROR;
}

/* The bare name, under which a client knows its answer. A call without a route still has its frame. */
static struct disc_str name_of(const struct call *call)
{
    return call->plan.route ? call->plan.route->tuple.name[DISC_METHOD] : call_bare_name(call);
}

size_t answer_size(const struct call *call, const struct disc_tuple *tuple)
{
    const struct disc_degrade *degrade = degrade_of(call);
    size_t header = codec_reply_header_size(name_of(call).len);
    if (degrade) {
        return header + degrade->body_len;
    }
    char text[ANSWER_TEXT_MAX];
    size_t len = write_text(call, tuple_of(call, tuple), text);
    return header + codec_body_exception(call->worker->env->templates, exception_type(call), text,
                                         len, NULL, 0);
}

void answer_write(const struct call *call, const struct disc_tuple *tuple, uint8_t *out)
{
    const struct codec_templates *templates = call->worker->env->templates;
    const struct disc_degrade *degrade = degrade_of(call);
    struct disc_str name = name_of(call);
    const uint8_t *bytes = (const uint8_t *)name.p;

    if (degrade) {
        enum wire_message_type type =
            degrade->reply == DISC_REPLY_EXCEPTION ? WIRE_EXCEPTION : WIRE_REPLY;
        size_t n =
            codec_reply_header_write(out, type, bytes, name.len, call->request.message.seqid);
        memcpy(out + n, degrade->body, degrade->body_len);
        return;
    }
    char text[ANSWER_TEXT_MAX];
    size_t len = write_text(call, tuple_of(call, tuple), text);
    size_t body_len = codec_body_exception(templates, exception_type(call), text, len, NULL, 0);
    size_t n =
        codec_reply_header_write(out, WIRE_EXCEPTION, bytes, name.len, call->request.message.seqid);
    (void)codec_body_exception(templates, exception_type(call), text, len, out + n, body_len);
}
