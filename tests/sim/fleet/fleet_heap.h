/*
 * tests/sim/fleet/fleet_heap.h: attempts that are under way, the one that ends first on top.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_FLEET_HEAP_H
#define TSIDE_TESTS_SIM_FLEET_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fleet_attempt {
    double end_us;
    double begun_us;      /* this attempt */
    double call_begun_us; /* the call's first one */
    uint32_t host;
    uint32_t endpoint;
    uint32_t tries; /* of the call, this one included */
    bool failed;
};

struct fleet_heap {
    struct fleet_attempt *items;
    size_t n, room;
};

void fleet_heap_push(struct fleet_heap *heap, struct fleet_attempt attempt);
/* There must be one. */
struct fleet_attempt fleet_heap_pop(struct fleet_heap *heap);
void fleet_heap_done(struct fleet_heap *heap);

#endif
