/*
 * tests/sim/sim_callee.h: a service's endpoint: accepts, answers, or does what callees do at their
 * worst.
 *
 * Serves what one connection brings one after the other; where calls may share it (pool.mode mux) each in its own
 * time, so that replies come in another order. A second call on a connection before the
 * first one's reply has been written is against the rules of mode `pool`, and so are calls beside
 * ONEWAY messages in any.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_CALLEE_H
#define TSIDE_TESTS_SIM_CALLEE_H

#include "tests/sim/sim_link.h"
#include "tests/sim/sim_plan.h"

#include <sys/socket.h>

#define SIM_CALLEE_PORT 40000 /* of the first */

struct sim;

struct sim_callee {
    struct sim *sim;
    uint32_t number;
    enum sim_callee_kind kind;
    struct random random;
    struct list conns; /* of sim_callee.c */
};

void sim_callee_open(struct sim_callee *callee, struct sim *sim, uint32_t number);
void sim_callee_done(struct sim_callee *callee);

/* A worker connects there: a link that is CONNECTING. connect_us 0: it fails at once, with
 * connect_status. */
struct sim_link *sim_callee_dial(struct sim_worker *home, const struct sockaddr *address);

bool sim_callee_can_act(const struct sim_callee *callee);
/* Something on one of its connections. */
void sim_callee_act(struct sim_callee *callee);
uint64_t sim_callee_next_us(const struct sim_callee *callee);

#endif
