/*
 * tests/sim/fleet/fleet_heap.c: see fleet_heap.h. A binary heap.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/fleet/fleet_heap.h"

#include <assert.h>
#include <stdlib.h>

static void grow(struct fleet_heap *heap)
{
    heap->room = heap->room ? heap->room * 2 : 1024;
    heap->items = realloc(heap->items, heap->room * sizeof *heap->items);
    if (!heap->items) {
        abort();
    }
}

void fleet_heap_push(struct fleet_heap *heap, struct fleet_attempt attempt)
{
    if (heap->n == heap->room) {
        grow(heap);
    }
    size_t i = heap->n++;
    while (i > 0 && attempt.end_us < heap->items[(i - 1) / 2].end_us) {
        heap->items[i] = heap->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap->items[i] = attempt;
}

struct fleet_attempt fleet_heap_pop(struct fleet_heap *heap)
{
    assert(heap->n > 0);
    struct fleet_attempt top = heap->items[0];
    struct fleet_attempt last = heap->items[--heap->n];
    size_t i = 0;
    for (size_t child = 1; child < heap->n; child = 2 * i + 1) {
        child += child + 1 < heap->n && heap->items[child + 1].end_us < heap->items[child].end_us;
        if (last.end_us <= heap->items[child].end_us) {
            break;
        }
        heap->items[i] = heap->items[child];
        i = child;
    }
    heap->items[i] = last;
    return top;
}

void fleet_heap_done(struct fleet_heap *heap)
{
    free(heap->items);
    *heap = (struct fleet_heap){0};
}
