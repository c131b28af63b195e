/*
 * tests/sidecar/data/plane_rig.h: one process's call path, between callers and callees that the
 * test plays.
 *
 * Workers made by plane_new(), in virtual time, over memory_transport; a rule is put as it would be
 * in etcd. After every callback plane_check() looks at all there is.
 *
 *     struct rig *rig = rig_new(1);
 *     rig_config(rig, "*", "{...}");                 of every method
 *     rig_serve(rig, RIG_PORT); rig_commit(rig);     one endpoint of "svc"
 *     struct memory_peer *caller = rig_caller(rig, 0);
 *     rig_call(caller, "M", 7); rig_rest(rig);
 *     rig_answer(rig_callee(rig, 0), "M"); rig_rest(rig);
 *     rig_expect_reply(caller, "M", 7);
 *     rig_free(rig);                                 ends the workers; nothing may be left
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_PLANE_RIG_H
#define TSIDE_TESTS_SIDECAR_DATA_PLANE_RIG_H

#include "sidecar/data/plane.h"
#include "sidecar/data/session/session.h"
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_conn.h"
#include "tests/sidecar/data/memory_transport.h"
#include "tests/sidecar/data/scarce.h"
#include "tests/sidecar/data/steps.h"

#define RIG_WORKERS_MAX 2
#define RIG_PORT        9101 /* of the one endpoint of rig_begin() */

struct rig {
    struct bootstrap bootstrap; /* a test may change it */
    struct world *world;
    struct worker_env env;
    uint32_t workers;
    struct virtual_loop loop[RIG_WORKERS_MAX];
    struct memory_net net[RIG_WORKERS_MAX];
    unsigned notified; /* the control thread */
};

/* With limits that no test meets by accident, and no rules yet. */
struct rig *rig_new(uint32_t workers);
/* Ends the workers at once where they have not ended; every permit and byte must be back. */
void rig_free(struct rig *rig);

static inline struct worker *rig_worker(const struct rig *rig, uint32_t index)
{
    return rig->loop[index].worker;
}
uint64_t rig_now_ms(const struct rig *rig);
/* Until nothing is left to be done now; until ms have passed. */
void rig_rest(struct rig *rig);
void rig_pass(struct rig *rig, uint64_t ms);
/* scarce_begin(), where no worker has blocks kept that would do instead. */
void rig_scarce(struct rig *rig, unsigned n, bool all);
/* Every worker is to be in that phase. */
void rig_phase(struct rig *rig, enum worker_phase phase);

/* ---- rules ----------------------------------------------------------------------------------- */

/* Of calls of method ("*": all) to svc; the config's JSON. Holds from rig_commit() on. */
void rig_config(struct rig *rig, const char *method, const char *json);
/* An endpoint of svc at 127.0.0.1, and that it is no more. */
void rig_serve(struct rig *rig, uint16_t port);
void rig_serve_weighted(struct rig *rig, uint16_t port, unsigned weight); /* 10 is the others' */
void rig_unserve(struct rig *rig, uint16_t port);
/* Workers that rest have the new snapshot then. */
void rig_commit(struct rig *rig);
/* The control thread frees what no worker holds any more. */
void rig_reap(struct rig *rig);
/* rig_config("*"), one endpoint at RIG_PORT, rig_commit(). */
void rig_begin(struct rig *rig, const char *json);

struct endpoint_state *rig_endpoint(const struct rig *rig, uint16_t port);

/* ---- callers --------------------------------------------------------------------------------- */

/* A caller that the worker has taken up. */
struct memory_peer *rig_caller(struct rig *rig, uint32_t worker);
/* The same of the first worker, from a process of that uid. */
struct memory_peer *rig_caller_as(struct rig *rig, int64_t uid);
/* The session of the caller that came last to that worker. */
struct session *rig_session(const struct rig *rig, uint32_t worker);

struct rig_request {
    uint8_t type; /* enum wire_message_type; 0: CALL */
    const char *method;
    int32_t seqid;
    size_t payload;     /* bytes of its string; 0: none */
    const char *budget; /* ms, as text, in Base.Extra; NULL: no Base */
    const char *from;   /* Base.Caller, without a budget; NULL: the listener\'s */
    const char *mark; /* with a budget: another entry of Extra, with the value "yes"; NULL: none */
};
void rig_put(struct bytes *out, const struct rig_request *request);
void rig_send(struct memory_peer *caller, const struct rig_request *request);
void rig_call(struct memory_peer *caller, const char *method, int32_t seqid);
void rig_oneway(struct memory_peer *caller, const char *method);

/* The next of what it was sent is that reply, or tside's own answer with this text in it. */
void rig_expect_reply(struct memory_peer *caller, const char *method, int32_t seqid);
void rig_expect_failure(struct memory_peer *caller, int32_t seqid, const char *text);
/* It was sent nothing more. */
void rig_expect_nothing(const struct memory_peer *peer);

/* ---- callees --------------------------------------------------------------------------------- */

/* A frame that a peer was sent: points into peer->out. */
struct rig_message {
    uint8_t type;
    struct disc_str name;
    int32_t seqid;
    const uint8_t *body;
    size_t len;
};

/* The first worker's n-th connection to RIG_PORT, from 0; it must be there. How many there are. */
struct memory_peer *rig_callee(const struct rig *rig, unsigned n);
unsigned rig_callees(const struct rig *rig);
/* The next whole frame, whose payload must be as rig_put() wrote it; false: there is none. */
bool rig_next(struct memory_peer *peer, struct rig_message *ret);
/* It was sent this method next. Returns the seqid. */
int32_t rig_expect_call(struct memory_peer *callee, const char *method);
/* A reply under that seqid. */
void rig_reply(struct memory_peer *callee, const char *method, int32_t seqid, size_t payload);
/* Both: it was sent this method, and answers. */
void rig_answer(struct memory_peer *callee, const char *method);

/* ---- both ------------------------------------------------------------------------------------ */

/* A caller of the first worker whose call "M" with seqid 1 has been taken up: the callee has it, unless the rig
 * holds it up. */
struct memory_peer *rig_calling(struct rig *rig);
/* The first connection to RIG_PORT has got this call and answers it; the caller has the reply. */
void rig_serve_call(struct rig *rig, struct memory_peer *caller, const char *method, int32_t seqid);

/* ---- what was counted ------------------------------------------------------------------------ */

/* Over all workers. */
uint64_t rig_metric(const struct rig *rig, enum metric metric);
uint64_t rig_reason(const struct rig *rig, enum reason reason);

#endif
