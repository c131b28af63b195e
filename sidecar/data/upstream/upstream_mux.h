/*
 * sidecar/data/upstream/upstream_mux.h: what a connection keeps that carries several calls at once: of pool.mode mux
 * in whatever order they are answered, of pool.mode pipeline in the order in which they were sent.
 *
 * Its leases are numbered one after the other; a reply's number says whose it is. The numbers' slots are a
 * ring: number n stands at n modulo its size. A number whose slot is still held by a call that takes
 * long is passed over, so a number that is given out always has a slot of its own, and finding its lease
 * costs one look. The limit of calls in flight is half of the ring: passing over ends soon.
 *
 * A lease that ends without its reply leaves its number behind, not a slot: a reply under a number that was
 * given out and that no lease holds is late, as long as there are calls that have not been answered. Any other
 * one is no reply to anything.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_MUX_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_MUX_H

#include "sidecar/data/upstream/lease.h"
#include "sidecar/data/upstream/upstream_order.h"

#define UPSTREAM_MUX_SLOTS     1024                     /* a power of two */
#define UPSTREAM_MUX_CALLS_MAX (UPSTREAM_MUX_SLOTS / 2) /* in flight on one connection */
_Static_assert(UPSTREAM_MUX_CALLS_MAX <= UPSTREAM_ORDER_MAX, "each has a place");
/* So many calls in a row that timed out while nothing was answered: the connection gets no new ones. */
#define UPSTREAM_MUX_SILENT_MAX 8

struct upstream_mux {
    struct list sent; /* lease.node: SENT, in that order; the others are in the connection's list */
    bool ordered;     /* replies come in the order of the calls */
    uint32_t leases;  /* that hold the connection, UPSTREAM_MUX_CALLS_MAX at most */
    uint32_t unanswered; /* messages that have left, whose leases have ended without a reply */
    uint32_t silent;     /* leases that timed out since the last reply */
    uint32_t given;      /* numbers given out, INT32_MAX at most */
    int32_t last;        /* of them */
    uint64_t bytes;      /* of its leases' requests */
    struct lease *slots[UPSTREAM_MUX_SLOTS]; /* by number; NULL: free */
    struct upstream_order order;             /* ordered: what was sent and not answered */
};

/* Numbers begin behind `before`. NULL without memory. */
struct upstream_mux *upstream_mux_new(int32_t before, bool ordered)
    __attribute__((warn_unused_result));
/* Whether one more lease may take the connection. */
bool upstream_mux_has_room(const struct upstream_mux *mux);

/* A lease takes the connection, and leaves it, whatever it has come to. */
void upstream_mux_enter(struct upstream_mux *mux, const struct lease *lease);
void upstream_mux_leave(struct upstream_mux *mux, const struct lease *lease);

/* Gives it a number, in lease->seqid. */
void upstream_mux_number(struct upstream_mux *mux, struct lease *lease);
/* Its message is handed over to be sent, or is taken back. */
void upstream_mux_sends(struct upstream_mux *mux, const struct lease *lease);
void upstream_mux_takes_back(struct upstream_mux *mux);
/* Why a reply under that number cannot be the next one; NULL: it can, and is taken for it. */
const char *upstream_mux_disorder(struct upstream_mux *mux, int32_t seqid);
/* The lease that holds the number; NULL: none. */
struct lease *upstream_mux_find(const struct upstream_mux *mux, int32_t seqid);
/* No lease holds it: whether it is the late reply of one that has ended, which is taken for that. */
bool upstream_mux_take_late(struct upstream_mux *mux, int32_t seqid);

void upstream_mux_check(const struct upstream_mux *mux);

#endif
