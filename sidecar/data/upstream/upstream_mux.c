/*
 * sidecar/data/upstream/upstream_mux.c: see upstream_mux.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/upstream_mux.h"

#include <assert.h>
#include <stdlib.h>

struct upstream_mux *upstream_mux_new(int32_t before, bool ordered)
{
    struct upstream_mux *mux = calloc(1, sizeof *mux);
    if (mux) {
        list_init(&mux->sent);
        mux->last = before;
        mux->ordered = ordered;
    }
    return mux;
}

bool upstream_mux_has_room(const struct upstream_mux *mux)
{
    uint32_t places = mux->leases + (mux->ordered ? mux->unanswered : 0);
    return places < UPSTREAM_MUX_CALLS_MAX;
}

static struct lease **slot_of(struct upstream_mux *mux, int32_t seqid)
{
    return &mux->slots[(uint32_t)seqid & (UPSTREAM_MUX_SLOTS - 1)];
}

void upstream_mux_enter(struct upstream_mux *mux, const struct lease *lease)
{
    assert(mux->leases < UPSTREAM_MUX_CALLS_MAX);
    mux->leases++;
    mux->bytes += lease->request->message.len;
}

void upstream_mux_leave(struct upstream_mux *mux, const struct lease *lease)
{
    mux->leases--;
    mux->bytes -= lease->request->message.len;
    if (lease->state >= LEASE_READY) {
        *slot_of(mux, lease->seqid) = NULL;
    }
}

/* Numbers are above 0. */
static int32_t next_of(int32_t seqid)
{
    return seqid < INT32_MAX ? seqid + 1 : 1;
}

void upstream_mux_number(struct upstream_mux *mux, struct lease *lease)
{
    struct lease **slot;
    do {
        mux->last = next_of(mux->last);
        mux->given += mux->given < INT32_MAX;
        slot = slot_of(mux, mux->last);
    } while (*slot);
    *slot = lease;
    lease->seqid = mux->last;
}

void upstream_mux_sends(struct upstream_mux *mux, const struct lease *lease)
{
    if (mux->ordered) {
        upstream_order_push(&mux->order, lease->seqid);
    }
}

void upstream_mux_takes_back(struct upstream_mux *mux)
{
    if (mux->ordered) {
        upstream_order_drop_last(&mux->order);
    }
}

const char *upstream_mux_disorder(struct upstream_mux *mux, int32_t seqid)
{
    if (!mux->ordered || upstream_order_take(&mux->order, seqid)) {
        return NULL;
    }
    return upstream_order_has(&mux->order, seqid) ? "replies come in another order than the calls "
                                                    "were sent: this callee needs pool.mode pool"
                                                  : "a reply has a seqid that was not sent";
}

struct lease *upstream_mux_find(const struct upstream_mux *mux, int32_t seqid)
{
    struct lease *lease = mux->slots[(uint32_t)seqid & (UPSTREAM_MUX_SLOTS - 1)];
    return lease && lease->seqid == seqid ? lease : NULL;
}

/* How many numbers were given out behind it, if it was. */
static uint32_t age_of(const struct upstream_mux *mux, int32_t seqid)
{
    return seqid <= mux->last ? (uint32_t)mux->last - (uint32_t)seqid
                              : (uint32_t)mux->last + (INT32_MAX - (uint32_t)seqid);
}

bool upstream_mux_take_late(struct upstream_mux *mux, int32_t seqid)
{
    bool late = seqid > 0 && mux->unanswered > 0 && age_of(mux, seqid) < mux->given;
    mux->unanswered -= late;
    return late;
}

void upstream_mux_check(const struct upstream_mux *mux)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < UPSTREAM_MUX_SLOTS; i++) {
        const struct lease *lease = mux->slots[i];
        held += lease != NULL;
        assert(!lease || ((uint32_t)lease->seqid & (UPSTREAM_MUX_SLOTS - 1)) == i);
        assert(!lease || lease->state >= LEASE_READY);
    }
    assert(held <= mux->leases && mux->leases <= UPSTREAM_MUX_CALLS_MAX);
    assert(!mux->ordered || mux->order.n <= mux->leases + mux->unanswered);
    for (const struct list *n = mux->sent.next; n != &mux->sent; n = n->next) {
        const struct lease *lease = lease_at((struct list *)(uintptr_t)n);
        assert(lease->state == LEASE_SENT && upstream_mux_find(mux, lease->seqid) == lease);
    }
}
