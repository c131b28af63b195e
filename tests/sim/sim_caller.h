/*
 * tests/sim/sim_caller.h: an application: connects, calls, takes its replies, leaves; or worse.
 *
 * What it was told is judged when tside's kernel takes the bytes, not when it gets round to
 * reading them. Replies must come in request order (on the listener that lets them come in any, by
 * their seqid).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_CALLER_H
#define TSIDE_TESTS_SIM_CALLER_H

#include "tests/sim/sim_framing.h"
#include "tests/sim/sim_link.h"
#include "tests/sim/sim_plan.h"
#include "tests/sim/sim_wire.h"

#define SIM_CONNECTION_CALLS_MAX 96

struct sim;
struct sim_call;
struct sim_caller_traits;

struct sim_caller {
    struct sim *sim;
    uint32_t number;
    const struct sim_caller_traits *traits;
    struct random random;
    uint32_t calls_left;
    uint64_t wake_us;

    /* Its connection. */
    struct sim_link *link; /* NULL: none */
    uint32_t conn_calls_left;
    bool any_order;
    bool zero_seqids;
    enum sim_framing framing;
    bool broken; /* it has sent what cannot be followed: nothing more is to come */
    bool shut;
    struct bytes out; /* built, not written from out_at on */
    size_t out_at;
    uint64_t written;     /* of the stream, what waits in out included */
    struct sim_pipe told; /* what tside sent, up to the last whole frame */
    struct sim_call *sent[SIM_CONNECTION_CALLS_MAX]; /* in request order */
    uint32_t sent_len;
    uint32_t arrived;                                 /* of so many tside has read the last byte */
    struct sim_call *queue[SIM_CONNECTION_CALLS_MAX]; /* the same without ONEWAY messages */
    uint32_t queue_len;
    uint32_t front; /* of those before it none is waited for */
};

void sim_caller_open(struct sim_caller *caller, struct sim *sim, uint32_t number);
void sim_caller_done(struct sim_caller *caller);

bool sim_caller_can_act(const struct sim_caller *caller);
void sim_caller_act(struct sim_caller *caller);
/* When it does something by itself; UINT64_MAX: never. */
uint64_t sim_caller_next_us(const struct sim_caller *caller);
bool sim_caller_is_done(const struct sim_caller *caller);
/* Makes no new calls; those that are out are waited for. */
void sim_caller_stop(struct sim_caller *caller);

/* The call that one that calls one after the other is waiting for; NULL: none. */
const struct sim_call *sim_caller_waits_for(const struct sim_caller *caller);

#endif
