/*
 * sidecar/data/upstream/upstream_order.h: what was sent on a connection and not answered, in that order.
 *
 * Of pool.mode pipeline: the callee answers in the order in which it was asked. Numbers, not leases: one that has
 * ended keeps its place, for its reply still comes in front of the others'.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_ORDER_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#define UPSTREAM_ORDER_MAX 512 /* a power of two */

struct upstream_order {
    uint32_t head;
    uint32_t n;
    int32_t seqids[UPSTREAM_ORDER_MAX];
};

/* A message is sent behind the others; there is room for it. */
void upstream_order_push(struct upstream_order *order, int32_t seqid);
/* The last one was taken back: not one byte of it has left. */
void upstream_order_drop_last(struct upstream_order *order);
/* A reply has come: true where it is the next one's, which is taken for that. */
bool upstream_order_take(struct upstream_order *order, int32_t seqid);
/* Whether it was sent and not answered. */
bool upstream_order_has(const struct upstream_order *order, int32_t seqid);

#endif
