/*
 * tests/sim/sim_link.c: see sim_link.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_link.h"

#include "tests/sim/sim.h"

#include <errno.h>

struct sim_link *sim_link_new(struct sim_worker *home, uint64_t seed)
{
    struct sim_link *link = sim_take(sizeof *link);
    link->home = home;
    link->number = home->sim->links_made++;
    link->random.state = seed;
    link->room = SIM_LINK_ROOM_BYTES;
    list_push_back(&home->links, &link->in_worker);
    return link;
}

static void free_if_left(struct sim_link *link)
{
    if (link->state == SIM_LINK_CLOSED && !link->peer) {
        list_remove(&link->in_worker);
        sim_pipe_done(&link->in);
        sim_pipe_done(&link->out);
        sim_give(link->pending);
        sim_give(link);
    }
}

/* ---- the peer's ------------------------------------------------------------------------------ */

size_t sim_link_write(struct sim_link *link, const void *bytes, size_t len)
{
    if (!sim_link_has_room(link)) {
        return 0;
    }
    size_t room = SIM_LINK_ROOM_BYTES - link->in.len;
    size_t n = len < room ? len : room;
    sim_pipe_put(&link->in, bytes, n);
    if (link->unread_since_us == 0) {
        link->unread_since_us = link->home->sim->clock_us;
    }
    return n;
}

size_t sim_link_take(struct sim_link *link, struct sim_pipe *into, size_t max)
{
    size_t n = link->out.len < max ? link->out.len : max;
    sim_pipe_put(into, sim_pipe_bytes(&link->out), n);
    sim_pipe_skip(&link->out, n);
    return n;
}

bool sim_link_is_over(const struct sim_link *link)
{
    return link->broken ||
           (link->state >= SIM_LINK_CLOSING && (link->out.len == 0 || link->reset_by_tside));
}

void sim_link_shut(struct sim_link *link)
{
    link->peer_shut = true;
}

void sim_link_close(struct sim_link *link, bool reset)
{
    link->peer_shut = true;
    link->peer = NULL;
    link->peer_owner = NULL;
    if (reset) {
        link->broken = -ECONNRESET;
        sim_pipe_skip(&link->in, link->in.len); /* what was on its way is lost */
    }
    if (link->state == SIM_LINK_ACCEPTING && reset) {
        link->state = SIM_LINK_CLOSED; /* it leaves the listener's queue */
    }
    free_if_left(link);
}

/* ---- tside's end ----------------------------------------------------------------------------- */

static size_t room_of(const struct sim_link *link)
{
    return link->out.len < link->room ? link->room - link->out.len : 0;
}

/* How many of these the kernel takes: all that there is room for, or fewer. */
static size_t taken_of(struct sim_link *link, size_t total)
{
    size_t room = room_of(link);
    size_t most = total < room ? total : room;
    if (link->partial && most > 1 && random_one_in(&link->random, 3)) {
        most = 1 + random_below(&link->random, (uint32_t)most);
    }
    if (most < total) {
        sim_count(SIM_EVENT_WRITE_PARTIAL);
    }
    return most;
}

ssize_t sim_link_send(struct sim_link *link, const struct iovec iov[], size_t n)
{
    size_t total = 0;
    if (link->broken) {
        return link->broken;
    }
    for (size_t i = 0; i < n; i++) {
        total += iov[i].iov_len;
    }
    if (!link->peer) {
        link->broken = -EPIPE; /* these the kernel still takes; it learns of it by the answer */
        return (ssize_t)total;
    }
    size_t most = taken_of(link, total);
    SIM_TRACE("worker %u writes %zu of %zu bytes to link %u", link->home->worker->index, most,
              total, link->number);
    size_t left = most;
    for (size_t i = 0; i < n && left > 0; i++) {
        size_t len = iov[i].iov_len < left ? iov[i].iov_len : left;
        sim_pipe_put(&link->out, iov[i].iov_base, len);
        link->peer->sent(link->peer_owner, iov[i].iov_base, len);
        left -= len;
    }
    return (ssize_t)most;
}

void sim_link_left(struct sim_link *link)
{
    link->state = SIM_LINK_CLOSED;
    link->transport = NULL;
    if (link->peer) {
        link->peer->closed(link->peer_owner);
    }
    free_if_left(link);
}
