/*
 * sidecar/data/upstream/upstream_reply.c: see upstream_reply.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/upstream_reply.h"

#include "codec/base.h"
#include "sidecar/data/route/route.h"
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_cure.h"

#include <string.h>

/* The method, bare or as it was sent. */
static bool name_matches(const struct upstream_request *request, const uint8_t *name, uint32_t len)
{
    struct disc_str method = request->route->tuple.name[DISC_METHOD];
    struct disc_str prefix = request->prefix;
    if (len == method.len && memcmp(name, method.p, len) == 0) {
        return true;
    }
    return prefix.p && len == prefix.len + 1 + method.len &&
           memcmp(name, prefix.p, prefix.len) == 0 && name[prefix.len] == ':' &&
           memcmp(name + prefix.len + 1, method.p, method.len) == 0;
}

static void bad(struct upstream_conn *conn, enum reason reason, const char *detail, int64_t number)
{
    conn->failure = (struct lease_failure){.reason = (uint8_t)reason,
                                           .fault = LEASE_FAULT_BAD_REPLY,
                                           .detail = detail,
                                           .cause = conn->failure.cause,
                                           .number = number};
    upstream_conn_event(conn, UPSTREAM_EVENT_BAD);
}

/* Why a proved message is no reply to what the lease sent; NULL where it is. */
static const char *mismatch(const struct upstream_conn *conn, const struct lease *lease,
                            const struct frame *frame)
{
    const struct codec_message *message = &frame->scan->message;
    if (message->seqid != lease->seqid) {
        return "the reply has another seqid than was sent";
    }
    if (!name_matches(lease->request, frame->message.body + message->name.off, message->name.len)) {
        return "the reply is to another method";
    }
    /* Of what several leases have handed over together a part is taken, and answered, before that is said. */
    bool sent =
        conn->mux ? upstream_lease_is_taken(conn, lease) : upstream_lease_is_sent(conn, lease);
    return sent ? NULL : "the reply came before the request was sent";
}

static void note_answered(struct upstream_conn *conn)
{
    if (!conn->answered) {
        conn->answered = true;
        atomic_fetch_add_explicit(&conn->pool->endpoint->answered, 1, memory_order_relaxed);
        atomic_store_explicit(&conn->pool->endpoint->has_answered, true, memory_order_relaxed);
    }
}

/* A TTHeader: whether the callee says that this connection will be closed, and is to be used no more. */
static __attribute__((noinline)) bool is_ending(const struct frame *frame)
{
    static const struct codec_key key = {CODEC_TTHEADER_TEXT_RESET,
                                         sizeof CODEC_TTHEADER_TEXT_RESET - 1};
    struct wire_span value;
    codec_ttheader_find_many(frame->message.body - frame->message.head_room, frame->ttheader, 1,
                             &key, &value);
    return value.off != 0;
}

/* What came is a reply to what the lease sent; else the connection has gone. */
static bool give_reply(struct upstream_conn *conn, struct lease *lease, struct frame *frame,
                       bool ending)
{
    const struct codec_message *message = &frame->scan->message;
    const char *why = mismatch(conn, lease, frame);
    if (why) {
        message_done(&frame->message, &conn->worker->buffers);
        bad(conn, REASON_UPSTREAM_PROTOCOL, why, 0);
        return false;
    }
    note_answered(conn);
    upstream_conn_unbind(lease);
    lease->reply = (struct lease_reply){.body = frame->message.body,
                                        .block = frame->message.block,
                                        .len = frame->message.len,
                                        .head_room = frame->message.head_room,
                                        .seqid_off = message->seqid_off,
                                        .type = message->type,
                                        .has_header = frame->ttheader != NULL,
                                        .says_end = ending};
    lease->reply.has_code = codec_base_resp_code(frame->message.body, message, &lease->reply.code);
    lease_post(lease, conn->worker, LEASE_NEWS_REPLY);
    return true;
}

static void take_reply(struct upstream_conn *conn, struct frame *frame)
{
    bool ending = frame->ttheader && is_ending(frame);
    if (give_reply(conn, upstream_first_lease(conn), frame, ending)) {
        conn->tainted = ending || conn->channel.ended || channel_has_input(&conn->channel);
        upstream_conn_event(conn, UPSTREAM_EVENT_FREE);
    }
}

/* The same of a connection that several calls use. */
static void take_numbered(struct upstream_conn *conn, struct frame *frame)
{
    struct upstream_mux *mux = conn->mux;
    int32_t seqid = frame->scan->message.seqid;
    struct lease *lease = upstream_mux_find(mux, seqid);
    const char *disorder = upstream_mux_disorder(mux, seqid);
    bool ending = frame->ttheader && is_ending(frame);
    conn->retiring = conn->retiring || ending;
    if (disorder) {
        message_done(&frame->message, &conn->worker->buffers);
        bad(conn, REASON_UPSTREAM_PROTOCOL, disorder, 0);
    } else if (!lease && upstream_mux_take_late(mux, seqid)) {
        mux->silent = 0;
        counter_add(&conn->worker->counters, METRIC_LATE_REPLIES, 1);
        message_done(&frame->message, &conn->worker->buffers);
    } else if (!lease) {
        message_done(&frame->message, &conn->worker->buffers);
        bad(conn, REASON_UPSTREAM_PROTOCOL, "a reply has a seqid that was not sent", 0);
    } else if (give_reply(conn, lease, frame, ending)) {
        mux->silent = 0;
        upstream_conn_left(conn);
    }
}

static void too_large(struct upstream_conn *conn)
{
    bad(conn, REASON_FRAME_TOO_LARGE, "the reply is above limits.frame_bytes %lld",
        (int64_t)conn->worker->env->bootstrap->limits.frame_bytes);
}

static void broken(struct upstream_conn *conn, enum frame_broken why)
{
    size_t n;
    const uint8_t *p = frame_reader_rest(&conn->channel.intake.reader, &n);
    const char *cure = upstream_cure(conn->channel.intake.framing, p, n,
                                     (uint32_t)conn->worker->env->bootstrap->limits.frame_bytes);
    if (cure) {
        bad(conn, REASON_UPSTREAM_PROTOCOL, cure, 0);
    } else if (why == FRAME_BROKEN_TOO_LARGE) {
        too_large(conn);
    } else {
        conn->failure.cause = frame_broken_str(why);
        bad(conn, REASON_UPSTREAM_PROTOCOL, "what came is no reply", 0);
    }
}

static void no_message(struct upstream_conn *conn, enum codec_error error)
{
    if (error == CODEC_ERROR_TOO_LARGE) {
        too_large(conn);
    } else {
        bad(conn, REASON_UPSTREAM_PROTOCOL, codec_error_str(error), 0);
    }
}

bool upstream_reply_take(struct upstream_conn *conn)
{
    struct frame frame;
    switch (channel_next(&conn->channel, &frame)) {
    case FRAME_READY:
        if (!conn->mux) {
            take_reply(conn, &frame);
            break;
        }
        take_numbered(conn, &frame);
        return conn->state == UPSTREAM_STATE_MUX;
    case FRAME_BAD:
        no_message(conn, frame.scan->error);
        break;
    case FRAME_BROKEN:
        broken(conn, frame.broken);
        break;
    case FRAME_NO_MEMORY:
        bad(conn, REASON_INTERNAL, "out of memory", 0);
        break;
    case FRAME_NONE:
    case FRAME_YIELD:
        break;
    }
    return false;
}
