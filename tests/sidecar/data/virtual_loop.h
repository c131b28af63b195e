/*
 * tests/sidecar/data/virtual_loop.h: drives workers in virtual time: the test makes their turns.
 *
 *     struct virtual_loop loop;
 *     worker = worker_new(&env, 0, seed, &virtual_driver, &parts);
 *     virtual_loop_open(&loop, worker);
 *     virtual_loop_turn(&loop);              one turn, in libuv's order, at the present time
 *     virtual_pass(&loop, 1, 100);           100 ms pass: a turn for each timer on the way
 *
 * Sockets, where there are any, hang in by struct virtual_sockets. One thread: several loops take
 * turns.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_VIRTUAL_LOOP_H
#define TSIDE_TESTS_SIDECAR_DATA_VIRTUAL_LOOP_H

#include "sidecar/data/loop/worker.h"

#define VIRTUAL_START_MS UINT64_C(1000000)
#define VIRTUAL_UNIX_MS  INT64_C(1700000000000) /* on the wall, when the loop's clock shows START */
/* Turns without time passing; more is a worker that never rests. */
#define VIRTUAL_TURNS_MAX 10000

struct virtual_loop;

struct virtual_sockets {
    void (*poll)(struct virtual_loop *loop);       /* reports what there is */
    void (*close)(struct virtual_loop *loop);      /* reports what has closed: the end of a turn */
    bool (*busy)(const struct virtual_loop *loop); /* whether either has something to report */
};

struct virtual_loop {
    struct worker *worker;
    uint64_t now_us;
    bool spinning;                         /* the worker wants the next turn at once */
    bool woken;                            /* there is mail */
    bool closed;                           /* the worker has ended */
    const struct virtual_sockets *sockets; /* NULL: none */
    void *sockets_owner;
    /* Looks at the worker between two callbacks; NULL: nothing does. */
    void (*check)(const struct worker *worker);
};

extern const struct worker_driver virtual_driver;

/* Of a worker that was made with that driver. Begins it. */
void virtual_loop_open(struct virtual_loop *loop, struct worker *worker);

static inline uint64_t virtual_loop_now_ms(const struct virtual_loop *loop)
{
    return loop->now_us / 1000;
}

/* A callback of the sockets begins and ends by these two. */
void virtual_loop_enter(struct virtual_loop *loop);
void virtual_loop_leave(struct virtual_loop *loop);

void virtual_loop_turn(struct virtual_loop *loop);
/* Turns until nothing is left to be done, without time passing. */
void virtual_rest(struct virtual_loop *loops, size_t n);
/* The same, then ms pass. */
void virtual_pass(struct virtual_loop *loops, size_t n, uint64_t ms);

#endif
