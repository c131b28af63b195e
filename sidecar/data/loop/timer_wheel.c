/*
 * sidecar/data/loop/timer_wheel.c: see data/timer_wheel.h.
 *
 * Why a node's list can be computed: time moves on only to the start of the earliest occupied slot
 * (which is emptied then) or to a point before it, so that below a node's own slot nothing of its
 * expiry's upper bits ever changes while it hangs there.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/timer_wheel.h"

#include <assert.h>
#include <string.h>

#define LIST_NONE TIMER_WHEEL_LISTS

static unsigned list_of(const struct timer_wheel *wheel, uint64_t expires_ms)
{
    if (expires_ms <= wheel->now_ms) {
        return TIMER_WHEEL_DUE;
    }
    unsigned highest = 63 - (unsigned)__builtin_clzll(expires_ms ^ wheel->now_ms);
    unsigned level = highest / TIMER_WHEEL_SLOT_BITS;
    if (level >= TIMER_WHEEL_LEVELS) {
        return TIMER_WHEEL_FAR;
    }
    unsigned slot = (expires_ms >> (level * TIMER_WHEEL_SLOT_BITS)) % TIMER_WHEEL_SLOTS;
    return level * TIMER_WHEEL_SLOTS + slot;
}

static void mark_occupied(struct timer_wheel *wheel, unsigned list)
{
    wheel->occupied[list / 64] |= UINT64_C(1) << (list % 64);
}

static void mark_empty(struct timer_wheel *wheel, unsigned list)
{
    wheel->occupied[list / 64] &= ~(UINT64_C(1) << (list % 64));
}

static void append(struct timer_wheel *wheel, struct timer_node *node)
{
    unsigned list = list_of(wheel, node->expires_ms);
    struct timer_node *first = wheel->lists[list];

    if (first) {
        node->next = first;
        node->prev = first->prev;
        first->prev->next = node;
        first->prev = node;
        return;
    }
    node->next = node->prev = node;
    wheel->lists[list] = node;
    mark_occupied(wheel, list);
}

static void detach(struct timer_wheel *wheel, struct timer_node *node)
{
    unsigned list = list_of(wheel, node->expires_ms);

    if (node->next == node) {
        assert(wheel->lists[list] == node);
        wheel->lists[list] = NULL;
        mark_empty(wheel, list);
    } else {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        if (wheel->lists[list] == node) {
            wheel->lists[list] = node->next;
        }
    }
    node->next = node->prev = NULL;
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    memset(wheel, 0, sizeof(*wheel));
    wheel->now_ms = now_ms;
}

void timer_wheel_set(struct timer_wheel *wheel, struct timer_node *node, uint64_t expires_ms)
{
    timer_wheel_cancel(wheel, node);
    node->expires_ms = expires_ms;
    append(wheel, node);
    wheel->armed++;
}

void timer_wheel_cancel(struct timer_wheel *wheel, struct timer_node *node)
{
    if (!timer_node_armed(node)) {
        return;
    }
    detach(wheel, node);
    wheel->armed--;
}

/* Lower levels lie within one slot of the higher ones, so the lowest occupied one is the earliest. */
static unsigned earliest_list(const struct timer_wheel *wheel)
{
    if (wheel->lists[TIMER_WHEEL_DUE]) {
        return TIMER_WHEEL_DUE;
    }
    for (unsigned level = 0; level <= TIMER_WHEEL_LEVELS; level++) {
        if (wheel->occupied[level]) {
            return level * 64 + (unsigned)__builtin_ctzll(wheel->occupied[level]);
        }
    }
    return LIST_NONE;
}

static uint64_t list_start_ms(const struct timer_wheel *wheel, unsigned list)
{
    if (list == LIST_NONE) {
        return UINT64_MAX;
    }
    if (list == TIMER_WHEEL_DUE) {
        return wheel->now_ms;
    }
    unsigned shift = list / TIMER_WHEEL_SLOTS * TIMER_WHEEL_SLOT_BITS;
    if (list == TIMER_WHEEL_FAR) {
        return ((wheel->now_ms >> shift) + 1) << shift;
    }
    uint64_t turn = wheel->now_ms >> (shift + TIMER_WHEEL_SLOT_BITS);
    return (turn * TIMER_WHEEL_SLOTS + list % TIMER_WHEEL_SLOTS) << shift;
}

uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel)
{
    return list_start_ms(wheel, earliest_list(wheel));
}

/* Time reaches the start of that list: its nodes go to lower levels, or are due. */
static void cascade(struct timer_wheel *wheel, unsigned list)
{
    struct timer_node *node = wheel->lists[list];

    wheel->now_ms = list_start_ms(wheel, list);
    wheel->lists[list] = NULL;
    mark_empty(wheel, list);
    node->prev->next = NULL;
    while (node) {
        struct timer_node *next = node->next;
        append(wheel, node);
        node = next;
    }
}

struct timer_node *timer_wheel_expire(struct timer_wheel *wheel, uint64_t now_ms)
{
    for (;;) {
        unsigned list = earliest_list(wheel);
        if (list == TIMER_WHEEL_DUE) {
            struct timer_node *node = wheel->lists[TIMER_WHEEL_DUE];
            timer_wheel_cancel(wheel, node);
            return node;
        }
        if (list == LIST_NONE || list_start_ms(wheel, list) > now_ms) {
            break;
        }
        cascade(wheel, list);
    }
    if (wheel->now_ms < now_ms) {
        wheel->now_ms = now_ms;
    }
    return NULL;
}

static size_t check_list(const struct timer_wheel *wheel, unsigned list)
{
    const struct timer_node *first = wheel->lists[list];
    const struct timer_node *node = first;
    size_t n = 0;

    assert(!first == !(wheel->occupied[list / 64] >> (list % 64) & 1));
    while (node) {
        assert(node->next->prev == node);
        assert(list_of(wheel, node->expires_ms) == list);
        n++;
        assert(n <= wheel->armed);
        node = node->next == first ? NULL : node->next;
    }
    return n;
}

void timer_wheel_check(const struct timer_wheel *wheel)
{
    size_t n = 0;

    for (unsigned list = 0; list < TIMER_WHEEL_LISTS; list++) {
        n += check_list(wheel, list);
    }
    assert(n == wheel->armed);
}
