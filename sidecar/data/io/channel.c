/*
 * sidecar/data/io/channel.c: see channel.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/channel.h"

#include <assert.h>
#include <errno.h>

/* Vectors per write; more than that many segments take a second one. */
#define CHANNEL_IOVS 64

static struct channel *channel_of(struct transport *transport)
{
    struct channel *channel = container_of(transport, struct channel, transport);
    assert(channel->magic == CHANNEL_MAGIC);
    return channel;
}

/* ---- output ---------------------------------------------------------------------------------- */

static void mark_dirty(struct channel *channel)
{
    struct worker *worker = channel->worker;
    if (outq_bytes(&channel->out) >= CHANNEL_EARLY_BYTES && !channel->writing) {
        event_cancel(&channel->flush);
        list_push_back(&worker->early, &channel->flush.node);
    } else if (!event_waits(&channel->flush)) {
        list_push_back(&worker->dirty, &channel->flush.node);
    }
}

bool channel_push_iov(struct channel *channel, const struct iovec iov[], size_t n, uint32_t len)
{
    const struct framing *framing = channel->intake.framing;
    framing->head_write(iov[0].iov_base, len);
    if (outq_push_iov(&channel->out, iov, n)) {
        return false;
    }
    mark_dirty(channel);
    return true;
}

/* The head of a message that has no room for it in front: in the turn's memory where that has room. */
static bool push_head(struct channel *channel, uint32_t len)
{
    const struct framing *framing = channel->intake.framing;
    uint8_t *head = arena_take(&channel->worker->arena, framing->head_bytes);
    if (head) {
        framing->head_write(head, len);
        return outq_push_borrowed(&channel->out, head, framing->head_bytes) == 0;
    }
    head = buffers_alloc(&channel->worker->buffers, framing->head_bytes);
    if (!head) {
        return false;
    }
    framing->head_write(head, len);
    if (outq_push_owned(&channel->out, head, 0, framing->head_bytes)) {
        buffers_free(&channel->worker->buffers, head);
        return false;
    }
    return true;
}

bool channel_push_block(struct channel *channel, uint8_t *block, size_t len)
{
    return outq_push_owned(&channel->out, block, 0, len) == 0;
}

bool channel_push_message(struct channel *channel, struct message *message)
{
    const struct framing *framing = channel->intake.framing;
    bool apart = framing->head_bytes > message->head_room;
    uint8_t *from = message->body - (apart ? 0 : framing->head_bytes);
    size_t len = (size_t)(message->body - from) + message->len;
    if (apart && !push_head(channel, message->len)) {
        return false;
    }
    if (!apart) {
        framing->head_write(from, message->len);
    }
    int r = message->block ? outq_push_owned(&channel->out, message->block,
                                             (size_t)(from - message->block), len)
                           : outq_push_borrowed(&channel->out, from, len);
    if (r) {
        return false;
    }
    message->block = NULL;
    message->body = NULL;
    mark_dirty(channel);
    return true;
}

uint64_t channel_taken_total(const struct channel *channel)
{
    uint64_t known = outq_sent_total(&channel->out);
    if (channel->pending_len == 0) {
        return known;
    }
    if (channel->failed && !channel->writing) {
        return known + channel->pending_len -
               1; /* it failed: the last byte, at least, was not taken */
    }
    size_t left = channel->transport.ops->unwritten(&channel->transport);
    return known + (left < channel->pending_len ? channel->pending_len - left : 0);
}

bool channel_take_back(struct channel *channel, uint64_t position)
{
    if (channel->pending_len > 0 || outq_sent_total(&channel->out) > position) {
        return false;
    }
    (void)outq_drop_unsent_from(&channel->out, position);
    return true;
}

bool channel_own(struct channel *channel)
{
    return outq_own_rest(&channel->out) == 0;
}

static void write_failed(struct channel *channel, int status)
{
    if (!channel->failed) {
        channel->failed = status;
        event_cancel(&channel->flush);
        channel->ops->ended(channel, status);
    }
}

/* All that the transport was handed. */
static void taken(struct channel *channel)
{
    size_t len = channel->pending_len;
    channel->pending_len = 0;
    if (len > 0) {
        outq_consumed(&channel->out, len);
        channel->ops->progress(channel);
    }
}

/* What was handed over has been taken, or never will be. */
static void on_written(struct transport *transport, int status)
{
    struct channel *channel = channel_of(transport);
    channel->writing = false;
    if (channel->closed || channel->failed) {
        return;
    }
    if (status < 0) {
        write_failed(channel, status);
        return;
    }
    taken(channel);
    if (!channel->closed && outq_bytes(&channel->out) > 0) {
        mark_dirty(channel);
    }
}

/* Learns at once, not in the next turn, that all that was handed over is taken: before an answer or an end
 * that was read is judged. */
static void catch_up(struct channel *channel)
{
    if (channel->pending_len > 0 && !channel->failed &&
        channel->transport.ops->unwritten(&channel->transport) == 0) {
        taken(channel);
    }
}

/* Sends until the kernel takes no more. 0 or an error. */
static int try_write(struct channel *channel, bool *ret_progress)
{
    struct iovec iov[CHANNEL_IOVS];
    while (outq_bytes(&channel->out) > 0) {
        size_t total;
        size_t n = outq_fill_iov(&channel->out, iov, CHANNEL_IOVS, &total);
        ssize_t r = channel->transport.ops->try_write(&channel->transport, iov, n);
        if (r < 0) {
            return (int)r;
        }
        if (r > 0) {
            outq_consumed(&channel->out, (size_t)r);
            *ret_progress = true;
        }
        if ((size_t)r < total) {
            break;
        }
    }
    return 0;
}

/* Hands the first vectors of the rest to the transport. */
static int hand_over(struct channel *channel)
{
    struct iovec iov[CHANNEL_IOVS];
    size_t total;
    size_t n = outq_fill_iov(&channel->out, iov, CHANNEL_IOVS, &total);
    int r = channel->transport.ops->write(&channel->transport, iov, n);
    if (r == 0) {
        channel->pending_len = total;
        channel->writing = true;
    }
    return r;
}

/* Keeps what the kernel did not take, and hands it to the transport. 0 or an error. */
static int keep_rest(struct channel *channel)
{
    if (!channel->ops->pin(channel) && outq_own_rest(&channel->out)) {
        return -ENOMEM;
    }
    return channel->writing ? 0 : hand_over(channel);
}

/* The flush of a turn, or an early one. */
static void on_flush(struct event *event)
{
    struct channel *channel = container_of(event, struct channel, flush);
    bool progress = false;
    assert(channel->magic == CHANNEL_MAGIC);
    if (channel->failed || outq_bytes(&channel->out) == 0) {
        return;
    }
    int r = channel->writing ? 0 : try_write(channel, &progress);
    if (r == 0 && outq_bytes(&channel->out) > 0) {
        r = keep_rest(channel);
    }
    if (r < 0) {
        write_failed(channel, r);
    } else if (progress) {
        channel->ops->progress(channel);
    }
}

/* ---- input ----------------------------------------------------------------------------------- */

void channel_read_start(struct channel *channel)
{
    if (channel->reading || channel->closed || channel->ended) {
        return;
    }
    int r = channel->transport.ops->read_start(&channel->transport);
    channel->reading = r == 0;
    if (r) {
        channel->ended = r;
        intake_spin(&channel->intake);
    }
}

void channel_read_stop(struct channel *channel)
{
    if (channel->reading) {
        channel->transport.ops->read_stop(&channel->transport);
        channel->reading = false;
    }
}

void channel_read_starve(struct channel *channel)
{
    channel_read_stop(channel);
    intake_starve(&channel->intake);
}

static struct iovec on_room(struct transport *transport)
{
    return intake_room(&channel_of(transport)->intake);
}

/* Offers what is there; what is not taken up is kept. */
static void offer(struct channel *channel)
{
    channel->ops->input(channel);
    if (!channel->closed && !intake_keep(&channel->intake)) {
        channel->ops->ended(channel, -ENOMEM);
    }
}

static void on_bytes(struct channel *channel, struct iovec room, size_t n)
{
    if (!channel->ops->received(channel, room.iov_base, n)) {
        intake_unfilled(&channel->intake, room);
        return;
    }
    intake_filled(&channel->intake, room, n);
    offer(channel);
}

/* The last of what is read. Messages that came whole and are still being proved go first. */
static void on_end(struct channel *channel, int status)
{
    channel_read_stop(channel);
    if (event_waits(&channel->intake.spin)) {
        channel->ended = status;
    } else {
        channel->ops->ended(channel, status);
    }
}

static void on_read(struct transport *transport, struct iovec room, ssize_t n)
{
    struct channel *channel = channel_of(transport);
    catch_up(channel);
    if (channel->closed) {
        return;
    }
    if (n > 0) {
        on_bytes(channel, room, (size_t)n);
    } else {
        intake_unfilled(&channel->intake, room);
        if (n < 0) {
            on_end(channel, (int)n);
        } else if (channel->intake.starving) {
            channel->ops->starved(channel);
        }
    }
    worker_flush_early(channel->worker);
}

/* A long message goes on in the next turn, or buffers may be there again. */
static void go_on(struct channel *channel)
{
    assert(channel->magic == CHANNEL_MAGIC);
    channel->intake.starving = false;
    offer(channel);
    if (channel->ended && !channel->closed && !event_waits(&channel->intake.spin)) {
        channel->ops->ended(channel, channel->ended);
    }
}

static void on_spin(struct event *event)
{
    go_on(container_of(event, struct channel, intake.spin));
}

static void on_starve(struct event *event)
{
    go_on(container_of(event, struct channel, intake.starve));
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void on_connected(struct transport *transport, int status)
{
    struct channel *channel = channel_of(transport);
    if (!channel->closed) {
        channel->ops->connected(channel, status);
    }
}

static void on_closed(struct transport *transport)
{
    struct channel *channel = channel_of(transport);
    channel->magic = 0;
    channel->ops->closed(channel);
}

static const struct transport_events events = {
    .room = on_room,
    .read = on_read,
    .written = on_written,
    .connected = on_connected,
    .closed = on_closed,
};

void channel_init(struct channel *channel, struct worker *worker, const struct channel_ops *ops,
                  const struct transport_ops *transport, const struct framing *framing,
                  enum codec_scan_kind kind)
{
    channel->magic = CHANNEL_MAGIC;
    channel->reading = channel->writing = channel->closed = false;
    channel->failed = channel->ended = 0;
    channel->worker = worker;
    channel->ops = ops;
    channel->pending_len = 0;
    outq_init(&channel->out, &worker->buffers);
    event_init(&channel->flush, on_flush);
    intake_init(&channel->intake, worker, framing, kind, on_spin, on_starve);
    channel->transport.ops = transport;
    channel->transport.events = &events;
    channel->transport.worker = worker;
}

int channel_open(struct channel *channel, void *source)
{
    int r = channel->transport.ops->open(&channel->transport, source);
    channel->closed = r != 0;
    return r;
}

int channel_connect(struct channel *channel, const struct sockaddr *address)
{
    int r = channel->transport.ops->connect(&channel->transport, address);
    channel->closed = r != 0;
    return r;
}

void channel_close(struct channel *channel, bool reset)
{
    if (channel->closed) {
        return;
    }
    channel_read_stop(channel);
    channel->closed = true;
    event_cancel(&channel->flush);
    intake_done(&channel->intake);
    outq_done(&channel->out);
    channel->transport.ops->close(&channel->transport, reset);
}

void channel_check(const struct channel *channel)
{
    assert(channel->magic == CHANNEL_MAGIC);
    outq_check(&channel->out);
    assert(channel->pending_len <= outq_bytes(&channel->out));
    assert(!(channel->closed && channel->reading));
}
