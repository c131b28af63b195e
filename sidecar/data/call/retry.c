/*
 * sidecar/data/call/retry.c: see retry.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/retry.h"

#include "sidecar/data/call/call.h"

enum retry_verdict retry_decide(const struct call *call, const struct attempt *attempt,
                                enum attempt_result result)
{
    const struct lease_failure *failure = &attempt->lease.failure;
    bool can_be_sent =
        result == ATTEMPT_FAILED && failure->unsent && call->request.wire.message.body;
    if (!can_be_sent || call->tries >= CALL_TRIES_MAX || call->state != CALL_STATE_TRYING ||
        worker_phase(call->worker) >= WORKER_ENDING) {
        return RETRY_NO;
    }
    switch ((enum lease_fault)failure->fault) {
    case LEASE_FAULT_NO_CONNECTION:
        return RETRY_OTHER;
    case LEASE_FAULT_LOST:
        return attempt->lease.reused ? RETRY_SAME : RETRY_OTHER;
    default:
        return RETRY_NO;
    }
}
