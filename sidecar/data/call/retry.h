/*
 * sidecar/data/call/retry.h: whether a call is tried again, decided in one place.
 *
 * What provably never left, or of which the last byte was not taken by the kernel, is tried again for
 * free: a framed callee cannot run half a frame. What may have reached the callee is not.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_RETRY_H
#define TSIDE_SIDECAR_DATA_CALL_RETRY_H

#include "sidecar/data/call/attempt.h"

enum retry_verdict {
    RETRY_NO = 0,
    RETRY_SAME, /* the same endpoint: a connection that had served before has died */
    RETRY_OTHER /* another endpoint of the set */
};

/* Of an attempt that has ended, but is not freed yet. */
enum retry_verdict retry_decide(const struct call *call, const struct attempt *attempt,
                                enum attempt_result result);

#endif
