/*
 * sidecar/data/io/channel.h: one connection, on either side: reading, output, opening and closing.
 *
 * The owner (a session, an upstream connection) embeds it. Bytes go through a transport (transport.h),
 * messages through a framing (framing.h); the owner sees proved messages and lengths.
 *
 *     channel_init(); channel_open() or channel_connect()
 *     channel_read_start()              ops->input(): while (channel_next(...) is a message) take it
 *     channel_push_...()                sent with one gathered write at the turn's flush, or early,
 *                                       beyond CHANNEL_EARLY_BYTES; ops->progress() when bytes were taken
 *     channel_close() -> ops->closed()  the memory may go
 *
 * ops are called from the loop, never from within a function that the owner called. What the kernel did
 * not take at the flush is owned from then on: by the owner, where ops->pin() sees to it, or copied.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_CHANNEL_H
#define TSIDE_SIDECAR_DATA_IO_CHANNEL_H

#include "sidecar/data/io/intake.h"
#include "sidecar/data/io/outq.h"
#include "sidecar/data/io/transport.h"

#define CHANNEL_MAGIC       0xc4a77e1du
#define CHANNEL_EARLY_BYTES ((size_t)128 * 1024)

struct channel;

struct channel_ops {
    /* Bytes were read. False: they are of no use, and dropped; else they are taken up, and input() comes. */
    bool (*received)(struct channel *channel, const uint8_t *bytes, size_t n);
    /* Messages may be there, or those that were kept may go on. */
    void (*input)(struct channel *channel);
    /* The peer sends no more (TRANSPORT_EOF), or the connection failed. What came whole was offered. */
    void (*ended)(struct channel *channel, int status);
    /* Reading stands still for want of buffers; input() comes when there may be some. */
    void (*starved)(struct channel *channel);
    /* Some bytes were taken, or all: outq_sent_total() has moved. */
    void (*progress)(struct channel *channel);
    /* What is left will stay beyond the turn. True: the owner sees to it that the queued bytes stay where
     * they are (or has moved them); else the channel copies them. */
    bool (*pin)(struct channel *channel);
    void (*connected)(struct channel *channel, int status); /* of channel_connect() */
    void (*closed)(struct channel *channel);
};

struct channel {
    uint32_t magic;
    bool reading;
    bool writing; /* the transport was handed bytes */
    bool closed; /* channel_close() was called, or opening failed: only ops->closed() still comes */
    int failed;  /* writing failed with this; reported once */
    int ended;   /* the end that was read while messages are still to be taken up; 0: none */
    struct worker *worker;
    const struct channel_ops *ops;
    struct outq out;
    struct event flush; /* in worker->dirty or worker->early */
    size_t pending_len; /* handed to the transport, not taken yet as far as it has said */
    struct intake intake;
    struct transport transport;
};

void channel_init(struct channel *channel, struct worker *worker, const struct channel_ops *ops,
                  const struct transport_ops *transport, const struct framing *framing,
                  enum codec_scan_kind kind);
/* Another framing, in both directions, before anything was taken up or pushed. */
static inline void channel_speak(struct channel *channel, const struct framing *framing)
{
    intake_speak(&channel->intake, framing);
}
/* 0 or an error: then ops->closed() comes, and nothing else. */
int channel_open(struct channel *channel, void *source) __attribute__((warn_unused_result));
int channel_connect(struct channel *channel, const struct sockaddr *address)
    __attribute__((warn_unused_result));
/* Forgets what is queued and kept. ops->closed() comes. */
void channel_close(struct channel *channel, bool reset);

static inline bool channel_is_self(struct channel *channel)
{
    return channel->transport.ops->is_self(&channel->transport);
}

static inline int64_t channel_peer_uid(struct channel *channel)
{
    return channel->transport.ops->peer_uid(&channel->transport);
}

/* ---- input ----------------------------------------------------------------------------------- */

/* Where this fails (memory, at worst), the end is reported like any other, in the next turn. */
void channel_read_start(struct channel *channel);
void channel_read_stop(struct channel *channel);
/* Stops, until buffers may be there. */
void channel_read_starve(struct channel *channel);

static inline enum frame_verdict channel_next(struct channel *channel, struct frame *ret_frame)
{
    return intake_next(&channel->intake, ret_frame);
}

/* input() comes in the next turn: for messages that were kept. */
static inline void channel_input_later(struct channel *channel)
{
    intake_spin(&channel->intake);
}

static inline bool channel_in_frame(const struct channel *channel)
{
    return intake_in_frame(&channel->intake);
}

/* Whether bytes are there that were not taken up: read already, or still in the socket. */
static inline bool channel_has_input(const struct channel *channel)
{
    return channel->intake.reader.window_len > 0 || frame_reader_keeps(&channel->intake.reader);
}
static inline bool channel_bytes_wait(struct channel *channel)
{
    return channel->transport.ops->bytes_wait(&channel->transport);
}

/* Takes no more messages: lets go of what is kept. */
static inline void channel_input_done(struct channel *channel)
{
    intake_done(&channel->intake);
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Vectors that stay until the end of the turn, the first of them with room for the framing's head, behind
 * which len bytes of a message follow. False where memory is short: then the connection must go. */
bool channel_push_iov(struct channel *channel, const struct iovec iov[], size_t n, uint32_t len)
    __attribute__((warn_unused_result));
/* A message; where it has no room for the head in front, that has a place of its own. Its block, where it has one,
 * is taken. */
bool channel_push_message(struct channel *channel, struct message *message)
    __attribute__((warn_unused_result));

/* A block in front of the message that is pushed next: a head that its sender has made. Taken, but where this fails. */
bool channel_push_block(struct channel *channel, uint8_t *block, size_t len)
    __attribute__((warn_unused_result));

/* Not sent yet, as far as we know. */
static inline size_t channel_unsent(const struct channel *channel)
{
    return outq_bytes(&channel->out);
}

/* Positions in the stream, in bytes: see outq.h. */
static inline uint64_t channel_pushed_total(const struct channel *channel)
{
    return outq_pushed_total(&channel->out);
}
static inline uint64_t channel_sent_total(const struct channel *channel)
{
    return outq_sent_total(&channel->out);
}

/* Bytes that were taken in the channel's whole life, to the byte, also of a hand-over that is under way; of
 * one that failed, the most that can have been. */
uint64_t channel_taken_total(const struct channel *channel);

/* Takes back what was pushed from position on, where not one byte of it was sent or is being sent.
 * False: some of it was. */
bool channel_take_back(struct channel *channel, uint64_t position);

/* Copies what is queued and borrowed, so that its lenders may go. Where the transport may hold some of it, it
 * must be the channel's own already. False without memory: the connection must go. */
bool channel_own(struct channel *channel) __attribute__((warn_unused_result));

void channel_check(const struct channel *channel);

#endif
