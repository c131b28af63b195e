/*
 * sidecar/data/upstream/upstream_order.c: see upstream_order.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/upstream_order.h"

#include <assert.h>

static uint32_t place(const struct upstream_order *order, uint32_t i)
{
    return (order->head + i) & (UPSTREAM_ORDER_MAX - 1);
}

void upstream_order_push(struct upstream_order *order, int32_t seqid)
{
    assert(order->n < UPSTREAM_ORDER_MAX);
    order->seqids[place(order, order->n++)] = seqid;
}

void upstream_order_drop_last(struct upstream_order *order)
{
    assert(order->n > 0);
    order->n--;
}

bool upstream_order_take(struct upstream_order *order, int32_t seqid)
{
    if (order->n == 0 || order->seqids[order->head] != seqid) {
        return false;
    }
    order->head = place(order, 1);
    order->n--;
    return true;
}

bool upstream_order_has(const struct upstream_order *order, int32_t seqid)
{
    for (uint32_t i = 0; i < order->n; i++) {
        if (order->seqids[place(order, i)] == seqid) {
            return true;
        }
    }
    return false;
}
