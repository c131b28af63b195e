/*
 * tests/sim/sim_oracle.h: what may become of each call, and whether that is what came.
 *
 * A model of every call by its number: what was sent, when tside had read it, what callees got and
 * answered, what the caller was told, what was logged. It knows the specification
 * (docs/specification.md, section 3) and nothing of how the product goes about it; the two looks
 * that it takes inside, at the deadlines of live calls and at the rings, say so.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_ORACLE_H
#define TSIDE_TESTS_SIM_ORACLE_H

#include "sidecar/base/reason.h"
#include "tests/sim/sim_framing.h"
#include "tests/sim/sim_wire.h"

#define SIM_CALLS_MAX (SIM_CALLERS_MAX * SIM_CALLS_EACH)

struct sim;
struct sim_worker;

enum sim_call_kind {
    SIM_CALL_CALL = 0,
    SIM_CALL_ONEWAY,
    SIM_CALL_FORGET,   /* a T_CALL that the rules make oneway; answered where it never got so far */
    SIM_CALL_BAD,      /* not one well-formed message */
    SIM_CALL_NO_ROUTE, /* names no callee */
    SIM_CALL_PROBE     /* Finagle's */
};

/* What a callee has done about it, wholly or in part. */
enum sim_deed {
    SIM_DEED_REPLIED = 1,
    SIM_DEED_FAILED = 2, /* replied with a code that `failures` lists */
    SIM_DEED_EXCEPTION = 4,
    SIM_DEED_OVERTOOK = 8 /* replied in front of others, where it had promised not to */
};

struct sim_call {
    enum sim_call_kind kind;
    uint32_t caller;  /* number */
    uint32_t service; /* number */
    const char *name;
    const char *method; /* name without "Service:" */
    int32_t seqid;
    uint32_t filling;
    uint32_t budget_ms;  /* 0: none */
    bool marked;         /* it comes from another hop's retry */
    bool has_header;     /* its caller speaks TTHeader */
    uint64_t end;        /* where it ends in its connection's stream */
    uint64_t arrived_ms; /* on the loop's clock: its last byte was read; 0: not yet */
    uint8_t deeds;       /* enum sim_deed bits */
    uint32_t reply_filling;
    bool had_unmarked; /* a callee got it that was not marked as a retry */
    uint8_t delivered; /* times that a callee got it whole */
    bool answered;     /* to its caller */
    bool logged;
    enum reason reason; /* answered: how */
    enum reason logged_reason;
};

/* What has happened in the run that excuses an outcome. */
struct sim_happened {
    bool memory_failed;
    bool connect_failed;
    bool callee_closed, callee_lied, callee_huge;
    bool shared_lied; /* or was above the limit, on a connection that others' calls were on, too */
};

struct sim_oracle {
    struct sim *sim;
    struct sim_call *calls; /* [SIM_CALLS_MAX] */
    uint32_t calls_len;
    uint64_t answered[REASON_MAX];
    uint64_t records;
    struct sim_happened happened;
};

void sim_oracle_open(struct sim *sim);
void sim_oracle_close(struct sim_oracle *oracle);

/* A new call; NULL: no more in this run. */
struct sim_call *sim_oracle_new(struct sim_oracle *oracle);
static inline uint32_t sim_oracle_id(const struct sim_oracle *oracle, const struct sim_call *call)
{
    return (uint32_t)(call - oracle->calls);
}

/* The time that it may take at most, by what is known. */
uint32_t sim_oracle_bound_ms(const struct sim_oracle *oracle, const struct sim_call *call);

/* Callee `callee` got this whole message; the call that it is. */
struct sim_call *sim_oracle_request(struct sim_oracle *oracle, uint32_t callee,
                                    const struct sim_message *message);

/* The call was told this by tside, at that time on its loop's clock. */
void sim_oracle_answer(struct sim_oracle *oracle, struct sim_call *call,
                       const struct sim_message *message, uint64_t loop_ms);

/* tside let go of a caller that did nothing wrong, and of this call of its, unanswered. */
void sim_oracle_deserted(const struct sim_oracle *oracle, const struct sim_call *call);

/* No call outlives its deadline by more than the timers' next turn, which has just been. */
void sim_oracle_check_deadlines(struct sim *sim, const struct sim_worker *home);

/* Reads what the workers have logged. */
void sim_oracle_read_rings(struct sim_oracle *oracle);

/* All is quiet: the accounts agree. */
void sim_oracle_check_end(struct sim_oracle *oracle);

#endif
