/*
 * sidecar/data/call/retry.h: whether a call is tried again, decided in one place.
 *
 * Sent again for free, on the same endpoint: what provably never left, or of which the last byte was not
 * taken by the kernel, on a connection that had served before and has died. A framed callee cannot run
 * half a frame.
 *
 * Tried again on another endpoint, counted by retry.attempts and drawn from the budget of the tuple: what
 * retry.on names. What may have reached the callee, a timeout and an exception only where retry.idempotent
 * says so. A call that is a retry of another hop's (its Extra says so) is not tried again here: else a chain
 * of n hops would multiply its attempts (docs/specification.md, section 5).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_RETRY_H
#define TSIDE_SIDECAR_DATA_CALL_RETRY_H

#include "sidecar/data/call/attempt.h"

/* Times that one call is sent again for free. */
#define RETRY_RESENDS_MAX 3
/* From this one on it wants a connection of its own making: idle ones have died under it. */
#define RETRY_FRESH_FROM 2

enum retry_verdict {
    RETRY_NO = 0,
    RETRY_RESEND, /* free, the same endpoint */
    RETRY_AGAIN   /* counted, another endpoint; its piece of the budget is drawn */
};

/* Of an attempt that has ended, but is not freed yet. */
enum retry_verdict retry_decide(const struct call *call, const struct attempt *attempt,
                                enum attempt_result result);

/* Whether a reply, were it not an exception that may be tried again, would be passed on. */
bool retry_wants_other_reply(const struct call *call, const struct attempt *attempt);

/* Whether the call's bytes may be wanted again once the callee has them: for a retry, or for a hedge. */
bool retry_keeps_request(const struct call *call);

/* Draws one more attempt from the tuple's budget. */
bool retry_take_budget(const struct call *call) __attribute__((warn_unused_result));

#endif
