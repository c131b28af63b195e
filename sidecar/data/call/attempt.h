/*
 * sidecar/data/call/attempt.h: one try of a call on one endpoint.
 *
 * A call has a list of them: a retry is a second one, a hedge two at once. Each has a lease of a
 * connection, a timer, and edits of its own; the request's bytes are shared and never written to.
 * attempt_fsm.h says what it does about each event. It is freed behind the events.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_ATTEMPT_H
#define TSIDE_SIDECAR_DATA_CALL_ATTEMPT_H

#include "codec/rewrite.h"
#include "sidecar/data/call/attempt_fsm.h"
#include "sidecar/data/upstream/lease.h"

struct call;

/* How an attempt ended. */
enum attempt_result {
    ATTEMPT_REPLIED = 0, /* lease.reply */
    ATTEMPT_SENT,        /* a ONEWAY message has left */
    ATTEMPT_FAILED,      /* lease.failure */
    ATTEMPT_TIMED_OUT,   /* the deadline, or one of its own waits */
    ATTEMPT_OVERTAKEN,   /* another attempt of the call was answered first */
    ATTEMPT_UNWANTED     /* the call has its outcome, lost its caller, or the process ends */
};

struct attempt {
    struct lease lease;
    struct call *call;
    struct list in_call;             /* call->attempts */
    struct endpoint_state *endpoint; /* borrowed from the call's target set */
    uint64_t started_us;
    struct timer_node timer; /* by state: the pause before it, pool.wait_ms, send_timeout_ms,
                                hedge_after_ms or receive_timeout_ms */
    uint32_t target;         /* index in the set */
    uint8_t state;           /* enum attempt_state */
    bool repeats : 1;        /* a retry or a hedge: the request may have been run */
    bool is_hedge : 1;
    bool hedge_due : 1; /* SENT: the timer is the hedge's */
    bool is_trial : 1;  /* holds the slot of its endpoint, which comes back from an ejection */
    uint8_t *header;    /* a TTHeader that goes out in front of the request; NULL: none */
    struct codec_rewrite rewrite; /* what the output queue points into while sending */
};
_Static_assert(sizeof(struct attempt) <= 576, "an attempt must stay small");

/* A try on this endpoint of the call's set. NULL without memory. */
struct attempt *attempt_new(struct call *call, uint32_t target) __attribute__((warn_unused_result));
/* Asks for a connection, after a pause; what becomes of it the call learns from the queue. */
void attempt_start(struct attempt *attempt, uint32_t pause_ms);

/* The one exit: gives back what it holds, measures, records and counts, once, and frees it behind the events.
 * The call is not asked: who ends it knows what is to follow. */
void attempt_end(struct attempt *attempt, enum attempt_result result);

/* What the reply says of the call, by the rule's own list of failures: OK, APP_EXCEPTION or APP_FAILURE. */
enum reason attempt_reply_reason(const struct attempt *attempt);

/* The callee has the whole request. */
static inline bool attempt_is_sent(const struct attempt *attempt)
{
    return attempt->state == ATTEMPT_STATE_SENT;
}

void attempt_check(const struct attempt *attempt);

#endif
