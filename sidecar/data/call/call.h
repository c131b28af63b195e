/*
 * sidecar/data/call/call.h: one call: a request message, what became of it, and its answer.
 *
 * A call belongs to the worker of its session, comes from a free list and goes back there. call_fsm.h
 * says what it does about each event; the files:
 *     call.c      the driver: events in, actions run; timers; the free list
 *     identify.c  the five names, the budget
 *     dispatch.c  the budget, the route, the stages: which endpoint
 *     attempt.c   one try there: connection, sending, loss
 *     answer.c    what tside answers itself
 *     account.c   counted, measured, logged: once
 * Whoever reports an event must not touch the call afterwards: it may be gone.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_CALL_H
#define TSIDE_SIDECAR_DATA_CALL_CALL_H

#include "codec/base.h"
#include "codec/rewrite.h"
#include "lb/candidate.h"
#include "sidecar/base/reason.h"
#include "sidecar/data/call/call_fsm.h"
#include "sidecar/data/io/frame_reader.h"
#include "sidecar/data/loop/worker.h"

#define CALL_LOG_ID_MAX_BYTES 128 /* of a LogID are kept for the log */
#define CALL_FRESH_LOG_ID_LEN 32
/* Of Extra: when the call came into the chain, in unix ms (deadline.clock: shared). */
#define CALL_STAMP_ENTRY "RPC_PERSIST_INGRESS_START_TIME"
/* Connections tried at most for one call while nothing of it, or not its last byte, has left. */
#define CALL_TRIES_MAX 4

/* Slots are the low bits of the seqid sent upstream, the generation tells late replies apart. */
#define CALL_SLOT_BITS 18
#define CALL_SLOTS_MAX (1u << CALL_SLOT_BITS)

struct session;
struct upstream_conn;

/* What the timer of a call stands for, beside its deadline. */
enum call_wait {
    CALL_WAIT_NONE = 0,
    CALL_WAIT_POOL,    /* pool.wait_ms */
    CALL_WAIT_SEND,    /* send_timeout_ms */
    CALL_WAIT_RECEIVE, /* receive_timeout_ms */
};

/* One try on one endpoint. A retry is a second one, a hedge two at once; one is all there is yet. */
struct attempt {
    struct endpoint_state *endpoint; /* borrowed from the route's target set */
    struct upstream_conn *conn;      /* bound or in use; NULL: none */
    uint32_t target;                 /* index in the set */
    bool reused;                     /* the connection had served a call before */
    bool counted;                    /* in endpoint->inflight */
    uint64_t started_us;
    uint64_t out_start; /* positions in the connection's output */
    uint64_t out_end;
};

struct call {
    struct worker *worker;
    enum call_state state;
    uint32_t slot;
    uint32_t generation;
    struct session *session; /* NULL: the caller is gone */
    struct list in_session;  /* the session's calls, in request order, or its oneways */
    struct list live;        /* worker->live */
    struct list waits;       /* worker->rule_waits, a pool's waiters, or a oneway connection's */
    uint64_t queue_turn;     /* its place there: sessions take turns */
    bool in_pool_queue;      /* waits is a pool's, a permit of endpoint->waiting is held */
    struct worker_timer timer;

    /* The request. */
    uint8_t *frame; /* length and body: borrowed from the turn, or in block */
    uint32_t frame_len;
    uint8_t *block; /* NULL: borrowed, or let go */
    struct codec_message message;
    struct codec_base base;
    const struct bootstrap_listener *listener;
    bool oneway;                      /* no answer is due */
    char prefix[WIRE_NAME_MAX_BYTES]; /* "Service" of "Service:method" */
    uint16_t prefix_len;
    char log_id[CALL_LOG_ID_MAX_BYTES];
    uint8_t log_id_len;
    bool log_id_fresh; /* to be filled in */
    bool has_prefix;   /* the message's name has a colon */
    bool budget_read;
    int64_t arrived_budget_ms; /* -1: none arrived */
    int64_t stamp_age_ms;      /* of the ingress stamp, where the listener's clock is shared */

    /* What is to be done with it. */
    struct route *route; /* NULL: not routed */
    struct target_set *set;
    struct disc_str cluster;
    struct lb_exclude exclude;
    uint32_t tries;
    struct attempt attempt;

    uint64_t start_us;
    uint64_t arrived_ms;  /* loop time of the turn that read the last byte */
    uint64_t deadline_ms; /* on the loop's clock */
    int64_t budget_ms;    /* what the deadline was made from */
    enum call_wait wait;
    uint64_t wait_until_ms;

    /* The outcome. */
    enum reason reason;
    int64_t detail_number;
    const char *detail; /* a sentence with at most one %lld; static */
    const char *cause;  /* stands behind it; static, NULL: unknown */
    bool accounted;
    bool ready; /* HELD, and nobody is busy with it any more: may go out in its turn */
    bool
        has_permit; /* of limits.calls; else it is refused, and its session pauses until it is gone */
    uint8_t *reply; /* the frame to pass on; NULL: tside's own answer, made when it is due */
    uint32_t reply_len;
    bool reply_borrowed;  /* valid until the end of the turn; else reply is a block */
    uint32_t held_len;    /* of it, in session->held_bytes */
    uint64_t upstream_us; /* of the last attempt */

    struct codec_rewrite rewrite; /* what the output queue points into while sending */
};

struct call_pool;
struct call_pool *call_pool_new(struct worker *worker);
struct call_pool *call_pool_free(struct call_pool *pool);

/* A frame that was read and proved: begins a call. May finish it before it returns. */
void call_start(struct session *session, struct frame *frame);
/* The same of a frame that is no message: answered bad_request. */
void call_start_bad(struct session *session, struct frame *frame);

/* A proved reply on the call's connection, right by type and seqid and name. The frame is taken. */
void call_reply(struct call *call, struct frame *frame);

void call_event(struct call *call, enum call_event event);
/* ANSWER for a call that has no route: counted and encoded now, while its names are at hand. */
void call_fail_unrouted(struct call *call, const struct disc_tuple *tuple, enum reason reason,
                        const char *detail, int64_t number);
/* ANSWER or TIMEOUT with what the answer says. detail is static, with at most one "%lld". */
void call_fail(struct call *call, enum call_event event, enum reason reason, const char *detail,
               int64_t number);
/* TIMEOUT: its deadline has passed. */
void call_fail_late(struct call *call);
void call_on_timer(struct call *call);
/* The process ends: every call whose outcome is open gets this one. */
void call_fail_all(struct worker *worker, enum reason reason, const char *detail, int64_t number);

/* The seqid that this call has upstream. */
static inline int32_t call_wire_seqid(const struct call *call)
{
    return (int32_t)((call->generation << CALL_SLOT_BITS | call->slot) & 0x7fffffffu);
}

/* Arms the timer for the deadline or, where it is earlier, the wait; for a oneway that is being sent,
 * for the wait alone. */
void call_arm(struct call *call, enum call_wait wait, uint32_t wait_ms);

/* Makes the request's bytes the call's own (once). False where memory is short. */
bool call_own_request(struct call *call);

/* ---- identify.c ---------------------------------------------------------------------------- */

/* The five names of the call, borrowed from the frame, the listener and *names. */
struct identity {
    struct disc_tuple tuple;
    char text[4][WIRE_NAME_MAX_BYTES]; /* what user_extra held, unescaped */
};

/* False where a name is no name: *ret_error says which. To may be absent (length 0). */
bool identify(struct call *call, struct identity *ret, const char **ret_error);

/* What the message is called, without a "Service:" prefix and cut where it is too long: the name that
 * a client looks for in the answer, "-" too. Borrowed from the frame. */
struct disc_str call_bare_name(const struct call *call);
/* The same as one of the five names: "-" is none. */
struct disc_str call_method(const struct call *call);

/* ---- dispatch.c ---------------------------------------------------------------------------- */

/* Routes the call and runs the stages; reports NO_RULES, PICKED or ANSWER. */
void dispatch(struct call *call);
/* Chooses another endpoint of the same set for one more try. False: there is none, or no try is left. */
bool dispatch_again(struct call *call);
/* 0 or less: the deadline has passed. */
int64_t call_remaining_ms(const struct call *call);

/* ---- attempt.c ----------------------------------------------------------------------------- */

void attempt_get_conn(struct call *call); /* action GET_CONN */
void attempt_send(struct call *call);     /* action SEND */
/* Gives up what the attempt holds of the pool or the connection (END_LEAVE, ANSWER_DROP, ...). */
void attempt_leave(struct call *call);
void attempt_drop(struct call *call);
void attempt_done(struct call *call, bool success); /* a reply came, or a oneway is sent */
/* Told by the connection. */
void attempt_connect_failed(struct call *call, enum reason reason, int status);
void attempt_lost(struct call *call, int status);
/* What came is no reply to this call (upstream_protocol, frame_too_large): conn->detail says why. */
void attempt_bad_reply(struct call *call, const struct upstream_conn *conn);

/* ---- answer.c ------------------------------------------------------------------------------ */

/* How long the frame of tside's own answer is. */
size_t answer_size(const struct call *call, const struct disc_tuple *tuple);
/* Writes it; out has answer_size() bytes. */
void answer_write(const struct call *call, const struct disc_tuple *tuple, uint8_t *out);
/* Queues it on the session's stream. False where memory is short. */
bool answer_push(struct call *call);

/* ---- account.c ----------------------------------------------------------------------------- */

/* Counts a call whose outcome is known: the first time alone. */
void account_call(struct call *call);
/* The same of a call that never got a route. */
void account_unrouted(struct call *call, const struct disc_tuple *tuple);

#endif
