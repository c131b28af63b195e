/*
 * tests/sim/transport_memory.c: see transport_memory.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/transport_memory.h"

#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* libuv keeps so few vectors in the request itself; more take memory. */
#define REQUEST_IOVS 4
/* Reads of one callback, where each fills its room. */
#define READS_MAX 4

static struct sim_link *link_of(const struct transport *transport)
{
    struct sim_link *link;
    memcpy(&link, transport->room, sizeof link);
    return link;
}

static void hold(struct transport *transport, struct sim_link *link)
{
    memcpy(transport->room, &link, sizeof link);
    link->transport = transport;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static int memory_open(struct transport *transport, void *source)
{
    struct sim_link *link = source;
    SIM_TRACE("worker %u accepts link %u", link->home->worker->index, link->number);
    hold(transport, link);
    if (sim_open_fails(link)) {
        sim_count(SIM_EVENT_OPEN_FAILED);
        link->state = SIM_LINK_CLOSING;
        return -EMFILE;
    }
    link->state = SIM_LINK_OPEN;
    return 0;
}

static int memory_connect(struct transport *transport, const struct sockaddr *address)
{
    struct sim_worker *home = transport->worker->driver_owner;
    struct sim_link *link = sim_callee_dial(home, address);
    int status = link->connect_us == 0 ? link->connect_status : 0;
    SIM_TRACE("worker %u dials: link %u", home->worker->index, link->number);
    hold(transport, link);
    link->state = status ? SIM_LINK_CLOSING : SIM_LINK_CONNECTING;
    return status;
}

static bool memory_is_self(struct transport *transport)
{
    return link_of(transport)->is_self;
}

static void memory_close(struct transport *transport, bool reset)
{
    struct sim_link *link = link_of(transport);
    uint64_t now_us = link->home->sim->clock_us;
    SIM_TRACE("worker %u closes link %u", link->home->worker->index, link->number);
    if (link->unread_since_us > 0 && link->stopped_us == now_us) { /* to be closed, not before */
        link->left_unread_us = now_us - link->unread_since_us;
    }
    link->state = SIM_LINK_CLOSING;
    link->reading = false;
    link->writing = false;
    link->reset_by_tside = reset;
}

void transport_memory_closed(struct sim_link *link)
{
    struct transport *transport = link->transport;
    sim_link_left(link); /* may free it; what the peer did not take is its own */
    transport->events->closed(transport);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int memory_read_start(struct transport *transport)
{
    link_of(transport)->reading = true;
    return 0;
}

static void memory_read_stop(struct transport *transport)
{
    struct sim_link *link = link_of(transport);
    link->reading = false;
    link->stopped_us = link->home->sim->clock_us;
}

static bool memory_bytes_wait(struct transport *transport)
{
    return link_of(transport)->in.len > 0;
}

static size_t bytes_of_read(struct sim_link *link, size_t room)
{
    size_t n = link->in.len < room ? link->in.len : room;
    if (!link->partial || n < 2 || random_one_in(&link->random, 2)) {
        sim_count(SIM_EVENT_READ_WHOLE);
        return n;
    }
    sim_count(SIM_EVENT_READ_PARTIAL);
    return 1 + random_below(&link->random, (uint32_t)n);
}

/* As libuv reports it: each read is a callback of its own. */
static void report_read(struct sim_link *link, struct iovec room, ssize_t n)
{
    struct transport *transport = link->transport;
    struct worker *worker = transport->worker;
    transport->events->read(transport, room, n);
    worker_leave(worker);
}

static void read_bytes(struct sim_link *link, struct iovec room)
{
    size_t n = bytes_of_read(link, room.iov_len);
    SIM_TRACE("worker %u reads %zu of %zu bytes from link %u", link->home->worker->index, n,
              link->in.len, link->number);
    memcpy(room.iov_base, sim_pipe_bytes(&link->in), n);
    sim_pipe_skip(&link->in, n);
    link->read_total += n;
    link->unread_since_us = link->in.len > 0 ? link->home->sim->clock_us : 0;
    if (link->peer) {
        link->peer->read(link->peer_owner, link->read_total);
    }
    report_read(link, room, (ssize_t)n);
}

/* As libuv, which asks for room before it knows what it will read. True: there may be more. */
static bool read_once(struct sim_link *link)
{
    struct transport *transport = link->transport;
    struct iovec room = transport->events->room(transport);
    if (room.iov_len == 0) {
        sim_count(SIM_EVENT_READ_REFUSED);
        report_read(link, room, 0);
        return false;
    }
    if (link->in.len > 0) {
        bool fills = link->in.len >= room.iov_len;
        read_bytes(link, room);
        return fills;
    }
    if (link->broken || link->peer_shut) {
        link->end_told = true;
        link->reading = false;
        report_read(link, room, link->broken ? link->broken : TRANSPORT_EOF);
        return false;
    }
    sim_count(SIM_EVENT_READ_NOTHING);
    report_read(link, room, 0);
    return false;
}

static bool is_readable(const struct sim_link *link)
{
    return link->reading && !link->end_told &&
           (link->in.len > 0 || link->peer_shut || link->broken);
}

static void run_read(struct sim_link *link)
{
    for (int i = 0; i < READS_MAX && link->state == SIM_LINK_OPEN && link->reading; i++) {
        if (!read_once(link)) {
            break;
        }
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static ssize_t memory_try_write(struct transport *transport, const struct iovec iov[], size_t n)
{
    struct sim_link *link = link_of(transport);
    return link->state == SIM_LINK_OPEN && !link->writing ? sim_link_send(link, iov, n) : 0;
}

static size_t memory_unwritten(const struct transport *transport)
{
    const struct sim_link *link = link_of(transport);
    size_t left = 0;
    for (size_t i = link->pending_at; i < link->pending_len; i++) {
        left += link->pending[i].iov_len;
    }
    return left;
}

/* Moves what the peer's side has room for. 0 or an error. */
static int move_pending(struct sim_link *link)
{
    ssize_t moved =
        sim_link_send(link, link->pending + link->pending_at, link->pending_len - link->pending_at);
    if (moved < 0) {
        return (int)moved;
    }
    size_t left = (size_t)moved;
    while (link->pending_at < link->pending_len) {
        struct iovec *iov = &link->pending[link->pending_at];
        size_t n = iov->iov_len < left ? iov->iov_len : left;
        iov->iov_base = (uint8_t *)iov->iov_base + n;
        iov->iov_len -= n;
        left -= n;
        if (iov->iov_len > 0) {
            break;
        }
        link->pending_at++;
    }
    return 0;
}

/* Like libuv, it writes what it can at once, and says so from the poll. */
static int memory_write(struct transport *transport, const struct iovec iov[], size_t n)
{
    struct sim_link *link = link_of(transport);
    struct iovec *vectors =
        n > REQUEST_IOVS ? malloc(n * sizeof *iov) : sim_take(REQUEST_IOVS * sizeof *iov);
    if (!vectors) {
        return -ENOMEM;
    }
    memcpy(vectors, iov, n * sizeof *iov);
    sim_give(link->pending);
    link->pending = vectors;
    link->pending_len = n;
    link->pending_at = 0;
    link->writing = true;
    link->write_status = move_pending(link);
    sim_count(SIM_EVENT_WRITE_WAITED);
    return 0;
}

static bool is_over(const struct sim_link *link)
{
    return link->write_status < 0 || link->pending_at == link->pending_len;
}

static bool is_writable(const struct sim_link *link)
{
    return link->writing &&
           (is_over(link) || link->broken || !link->peer || link->out.len < link->room);
}

static void run_write(struct sim_link *link)
{
    struct transport *transport = link->transport;
    if (!is_over(link)) {
        link->write_status = move_pending(link);
    }
    if (is_over(link)) {
        link->pending_at = link->pending_len = 0;
        link->writing = false;
        transport->events->written(transport, link->write_status);
    }
}

/* ---- the poll -------------------------------------------------------------------------------- */

static void run_connect(struct sim_link *link)
{
    struct transport *transport = link->transport;
    link->state = SIM_LINK_OPEN;
    sim_count(link->connect_status ? SIM_EVENT_CONNECT_REFUSED : SIM_EVENT_CONNECTED);
    transport->events->connected(transport, link->connect_status);
}

bool transport_memory_is_ready(const struct sim_link *link, uint64_t now_us)
{
    if (link->state == SIM_LINK_CONNECTING) {
        return link->connect_us <= now_us;
    }
    return link->state == SIM_LINK_OPEN && (is_readable(link) || is_writable(link));
}

/* What is ready of one descriptor comes in one go, and bytes before room, as from libuv. */
void transport_memory_run(struct sim_link *link)
{
    if (link->state == SIM_LINK_CONNECTING) {
        run_connect(link);
        return;
    }
    if (is_readable(link)) {
        run_read(link);
    }
    if (link->state == SIM_LINK_OPEN && is_writable(link)) {
        run_write(link);
    }
}

const struct transport_ops transport_memory = {
    .name = "memory",
    .open = memory_open,
    .connect = memory_connect,
    .is_self = memory_is_self,
    .read_start = memory_read_start,
    .read_stop = memory_read_stop,
    .bytes_wait = memory_bytes_wait,
    .try_write = memory_try_write,
    .write = memory_write,
    .unwritten = memory_unwritten,
    .close = memory_close,
};
