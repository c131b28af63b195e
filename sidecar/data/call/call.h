/*
 * sidecar/data/call/call.h: one call: a request message, what became of it, and its answer.
 *
 * A call belongs to the worker of its caller and comes from a slab. call_fsm.h says what it does about each
 * event; the files:
 *     call.c      the driver: events in, actions run; the deadline
 *     identify.c  the five names, the budget
 *     header.c    the same in a TTHeader, and the headers that go out
 *     user_extra.c  and in the JSON text of user_extra
 *     edits.c     what is written into the message that goes out
 *     dispatch.c  the budget, the route, the stages: which endpoint
 *     attempt.c   one try there: connection, edits, sending, how it ended
 *     retry.c     whether there is another one
 *     hedge.c     whether there is a second one beside the first
 *     answer.c    what tside answers itself
 *     account.c   counted, measured, logged: once
 * A session calls down into its calls; a call tells its session by posting caller.h's event.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_CALL_H
#define TSIDE_SIDECAR_DATA_CALL_CALL_H

#include "codec/base.h"
#include "codec/ttheader.h"
#include "lb/candidate.h"
#include "sidecar/data/call/attempt.h"
#include "sidecar/data/call/call_fsm.h"
#include "sidecar/data/call/caller.h"
#include "sidecar/data/call/user_extra.h"
#include "sidecar/data/io/frame_reader.h"
#include "sidecar/data/route/stage.h"

#define CALL_LOG_ID_MAX_BYTES  128 /* of a LogID are kept for the log */
#define CALL_FRESH_LOG_ID_LEN  32
#define CALL_PREFIX_INLINE_LEN 32 /* longer "Service" prefixes are kept in a block */

#define CALL_LATE_TEXT "no answer within %lld ms"
#define CALL_STARVED_HINT                                                                          \
    "only one connection to this endpoint was ever answered: a server that serves one at a time "  \
    "wants pool.max_connections 1"

struct call {
    struct worker *worker;
    struct caller *caller;   /* NULL: gone */
    struct list in_caller;   /* the caller's calls, in request order, or its oneways */
    struct list live;        /* worker->live */
    struct list waits;       /* worker->rule_waits; HELD: caller->finished */
    struct list attempts;    /* struct attempt.in_call, oldest first */
    struct event ended;      /* frees it */
    struct timer_node timer; /* the deadline */
    uint8_t state;           /* enum call_state */
    uint8_t tries;           /* attempts begun */
    uint8_t resends;         /* of these, sent again for free */
    uint8_t retries;         /* and those that retry.attempts counts */
    bool hedged;             /* its second attempt beside a first one has begun */
    bool in_share;           /* counted in worker->share */
    bool
        has_permit; /* of limits.calls; else it is refused, and its session pauses until it is gone */
    uint8_t result;     /* enum lb_result: what its attempts said of the callee, at last */
    uint32_t number_of; /* the second number of outcome.detail */

    /* What came. */
    struct {
        struct upstream_request wire; /* its bytes, and what attempts need of it */
        struct codec_message message;
        struct codec_base base;
        struct wire_span budget_value; /* in Extra; off 0: none came */
        struct wire_span stamp_value;
        const struct bootstrap_listener *listener;
        int64_t uid;    /* its caller's */
        uint32_t bytes; /* with its head, for the log */
        uint8_t log_id_len;
        bool log_id_fresh;     /* to be filled in */
        bool is_repeated;      /* header or user_extra say: another hop's retry */
        uint8_t in_user_extra; /* the metainfo that stands there, 1 << enum user_extra_member */
        char *prefix_block;    /* NULL: it is inline, or there is none */
        struct codec_ttheader *header;      /* of the message; NULL: none came */
        char log_id[CALL_LOG_ID_MAX_BYTES]; /* from here on not cleared */
        char prefix[CALL_PREFIX_INLINE_LEN];
    } request;

    /* How long it may take. Times are on the loop's clock. */
    struct {
        bool is_read;
        uint64_t start_us;
        uint64_t arrived_ms; /* of the turn that read the last byte */
        uint64_t deadline_ms;
        int64_t total_ms;     /* what the deadline was made from */
        int64_t came_ms;      /* what is left of the chain's budget; -1: none came */
        int64_t stamp_age_ms; /* of the ingress stamp, where the listener's clock is shared */
    } budget;

    /* What is to be done with it. */
    struct {
        struct route *route; /* NULL: not routed */
        struct target_set *set;
        struct disc_str cluster;
        uint32_t target;           /* the endpoint picked last */
        uint32_t taken;            /* what the stages hold for it */
        uint32_t shadowed;         /* stages that would have answered it */
        struct lb_exclude exclude; /* those tried already */
    } plan;

    /* What became of it. */
    struct {
        uint8_t reason; /* enum reason */
        bool accounted : 1;
        bool kept : 1;           /* the reply, if any, outlives the turn */
        bool unknown_method : 1; /* answered as a method that is not known */
        bool has_header : 1;     /* the callee's TTHeader stands in front of the reply */
        bool says_end : 1;       /* and says that the callee closes its connection */
        uint32_t held_len;       /* of the reply, in the session's held_bytes */
        const char *detail;      /* a sentence with at most two %lld; static */
        const char *cause;       /* stands behind it; static, NULL: unknown */
        int64_t number;
        const struct endpoint_state *endpoint; /* of the last attempt; the set's. NULL: none */
        uint64_t upstream_us;                  /* of the last attempt */
        struct message reply; /* body NULL: tside's own answer, made when it is due */
    } outcome;
};
_Static_assert(sizeof(struct call) <= 768, "a call must stay small");

/* ---- for the session ------------------------------------------------------------------------- */

/* A message that was read and proved, or is none (FRAME_BAD: answered bad_request): begins a call. Its outcome
 * may be there before this returns: then the caller's event is posted. False without memory: the session
 * must end. The frame's message is taken either way. */
bool call_begin(struct caller *caller, struct frame *frame, bool is_bad)
    __attribute__((warn_unused_result));
/* Its caller is gone. */
void call_caller_gone(struct call *call);
/* HELD: the reply, if it was borrowed, outlives the turn. False without memory. */
bool call_keep_reply(struct call *call) __attribute__((warn_unused_result));
/* HELD: its reply goes out now: accounted. The reply in outcome.reply or, where there is none, made by
 * tside itself, borrowed or in a block; false without memory. */
bool call_take_reply(struct call *call, struct message *ret) __attribute__((warn_unused_result));
/* HELD: the reply is out: the call ends. */
void call_answered(struct call *call);
/* Whether its reply may be read from the callee, by caller->flow. */
void call_set_flow(struct call *call);

/* ---- for the worker -------------------------------------------------------------------------- */

/* The first rules came: calls that wait for them go on. */
void call_rules_came(struct worker *worker);
/* The process ends: every call whose outcome is open gets this one. */
void call_fail_all(struct worker *worker, enum reason reason, const char *detail, int64_t number);

/* ---- among the files of this folder ---------------------------------------------------------- */

/* The one place that moves a call. */
void call_event(struct call *call, enum call_event event);
/* Tries the endpoint in plan.target; fails the call where its deadline has passed or memory is short. */
void call_try(struct call *call);
/* The first attempt was not answered within hedge_after_ms: a second one, on another endpoint. */
void call_hedge(struct call *call);
/* Its outcome is what tside answers itself. detail is static, with at most one "%lld". */
void call_fail(struct call *call, enum reason reason, const char *detail, int64_t number);
/* The same of a call that has no route: counted and encoded now, while its names are at hand. */
void call_fail_unrouted(struct call *call, const struct disc_tuple *tuple, enum reason reason,
                        const char *detail, int64_t number);
/* An attempt has ended by itself; it is still there to be looked at. */
void call_attempt_ended(struct call *call, const struct attempt *attempt,
                        enum attempt_result result);
/* 0 or less: the deadline has passed. */
static inline int64_t call_remaining_ms(const struct call *call)
{
    return (int64_t)(call->budget.deadline_ms - worker_now_ms(call->worker));
}

/* identify.c: the five names of the call, borrowed from the message, the listener and text. */
struct identity {
    struct disc_tuple tuple;
    struct user_extra user_extra; /* unescaped */
};

/* False where a name is no name: *ret_error says which. To may be absent (length 0). */
bool identify(struct call *call, struct identity *ret, const char **ret_error);

/* What the message is called, without a "Service:" prefix and cut where it is too long: the name that
 * a client looks for in the answer, "-" too. Borrowed from the message. */
struct disc_str call_bare_name(const struct call *call);
/* The same as one of the five names: "-" is none. */
struct disc_str call_method(const struct call *call);

/* dispatch.c: routes the call and runs the stages; reports NO_RULES, PICKED or an outcome. */
void dispatch(struct call *call);
/* Picks another endpoint of the same set for one more attempt. False: there is none. */
bool dispatch_other(struct call *call) __attribute__((warn_unused_result));
/* The same, one that was tried before where there is no other. */
bool dispatch_again(struct call *call) __attribute__((warn_unused_result));

/* answer.c: how long tside's own answer is, without a head. tuple NULL: the route's. */
size_t answer_size(const struct call *call, const struct disc_tuple *tuple);
/* Writes it; out has answer_size() bytes. */
void answer_write(const struct call *call, const struct disc_tuple *tuple, uint8_t *out);

/* account.c: what the stages hold of it goes back, and its breaker is told how it ended: once. */
void account_stages(struct call *call);
/* Counts a call whose outcome is known: the first time alone. */
void account_call(struct call *call);
/* The same of a call that never got a route. */
void account_unrouted(struct call *call, const struct disc_tuple *tuple);

void call_check(const struct call *call);

#endif
