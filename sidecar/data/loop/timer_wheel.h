/*
 * sidecar/data/loop/timer_wheel.h: every deadline of one worker, on a hierarchical timing wheel of 1 ms ticks.
 *
 * One wheel per worker, used by its thread alone. Reads no clock (time is an argument), allocates
 * nothing: the node lives in what it times. Arming, moving and cancelling cost O(1); a node is
 * moved down at most once a level in its life.
 *
 *     timer_wheel_set(&wheel, &call->timer, deadline_ms);
 *     ...
 *     while ((node = timer_wheel_expire(&wheel, uv_now(loop)))) {
 *         node->fire(node);                                          may set or cancel any node
 *     }
 *     arm the one uv_timer for timer_wheel_next_ms(&wheel)
 *
 * Level l has 64 slots of 64^l ms, all of them within the present slot of level l + 1:
 *
 *     level 1   |   .   |  now  |   o   |   o   | ...     64 slots of 64 ms
 *                       /        \
 *     level 0          |..n.o..o..|                       64 slots of 1 ms
 *
 * The invariant: where a node hangs follows from its expiry and the wheel's time alone (the highest
 * bit in which they differ names the level). So no slot at or before the present one is occupied,
 * nodes of one tick share a list and keep the order they were set in, and cancelling finds the list.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_TIMER_WHEEL_H
#define TSIDE_SIDECAR_DATA_LOOP_TIMER_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_WHEEL_SLOT_BITS 6
#define TIMER_WHEEL_SLOTS     (1u << TIMER_WHEEL_SLOT_BITS)
#define TIMER_WHEEL_LEVELS    5u

/* Two lists beside the slots: beyond the top level (2^30 ms, 12 days), and due but not popped. */
#define TIMER_WHEEL_FAR   (TIMER_WHEEL_LEVELS * TIMER_WHEEL_SLOTS)
#define TIMER_WHEEL_DUE   (TIMER_WHEEL_FAR + 1)
#define TIMER_WHEEL_LISTS (TIMER_WHEEL_FAR + 2)

/* Embedded in what it times, which sets fire and reads nothing but expires_ms. All zero: not armed. */
struct timer_node {
    struct timer_node *next; /* a ring; NULL: not armed */
    struct timer_node *prev;
    uint64_t expires_ms;
    void (*fire)(struct timer_node *node); /* called by the loop that popped it, not by the wheel */
};

struct timer_wheel {
    uint64_t now_ms; /* what is due by now has left the slots */
    size_t armed;
    uint64_t occupied[TIMER_WHEEL_LEVELS + 1];   /* a bit per list, 64 lists a word */
    struct timer_node *lists[TIMER_WHEEL_LISTS]; /* the first of each ring; level * 64 + slot */
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* Arms the node for that time, or moves it there. A time that has passed is due at once, behind what
 * is due already: a callback that re-arms for the present is called again by the same loop. */
void timer_wheel_set(struct timer_wheel *wheel, struct timer_node *node, uint64_t expires_ms);

/* Harmless on a node that is not armed. Whoever frees a node's home must have called it. */
void timer_wheel_cancel(struct timer_wheel *wheel, struct timer_node *node);

static inline bool timer_node_armed(const struct timer_node *node)
{
    return node->next;
}

/* When to call timer_wheel_expire() next: UINT64_MAX where nothing is armed. Never late. Exact within
 * the present 64 ms, else perhaps early: the start of the slot that holds the earliest node. */
uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel);

/* Pops one node whose time has come, unarmed, the earliest first and nodes of one tick in the order
 * they were set; NULL where none is left. Never early. A time before an earlier one counts as that. */
struct timer_node *timer_wheel_expire(struct timer_wheel *wheel, uint64_t now_ms);

/* Dies where the invariant is broken; walks every node, for tests and debug builds. */
void timer_wheel_check(const struct timer_wheel *wheel);

#endif
