/*
 * sidecar/data/io/stream.h: the sending half of a connection, on either side.
 *
 * What is queued during a turn of the loop is sent with one gathered write at the turn's flush (or
 * early, beyond STREAM_EARLY_FLUSH_BYTES). What the kernel did not take is owned from then on and
 * handed to libuv, which tells when it was taken. The owner is told of progress and of failure, never
 * from within a call that it made itself, but at the flush.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_STREAM_H
#define TSIDE_SIDECAR_DATA_IO_STREAM_H

#include "sidecar/base/list.h"
#include "sidecar/data/io/outq.h"
#include "sidecar/data/loop/buffers.h"

#include <uv.h>

#define STREAM_EARLY_FLUSH_BYTES (128 * 1024)

struct stream;

struct stream_ops {
    /* Some bytes were taken, or all: outq_sent_total() has moved. */
    void (*progress)(struct stream *stream);
    /* Writing failed; status is libuv's. Told once. */
    void (*failed)(struct stream *stream, int status);
    /* What is left will stay beyond the turn. True: the owner sees to it that the queued bytes stay
     * where they are (or has moved them); else the stream copies them. */
    bool (*pin)(struct stream *stream);
};

struct stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct outq out;
    const struct stream_ops *ops;
    struct list *dirty_head; /* the worker's list of streams to flush */
    struct list dirty;
    size_t pending_len; /* handed to libuv, not taken yet as far as we were told; 0: nothing is */
    uv_write_t request;
    bool writing; /* request is libuv's */
    bool failed;
};

/* The uv handle is initialised by the owner. */
void stream_init(struct stream *stream, const struct stream_ops *ops, const struct buffers *buffers,
                 struct list *dirty_head);

/* Queues bytes that stay until the end of the turn. False where memory is short: then the connection
 * must go. */
bool stream_push(struct stream *stream, const void *bytes, size_t len);
bool stream_push_iov(struct stream *stream, const struct iovec iov[], size_t n);
/* Queues [off, off + len) of a block of the same buffers, and takes the block. */
bool stream_push_block(struct stream *stream, uint8_t *block, size_t off, size_t len);

/* Not sent yet, as far as we know. */
static inline size_t stream_unsent(const struct stream *stream)
{
    return outq_bytes(&stream->out);
}

/* Learns at once, not in the next turn, that the kernel has taken all that libuv was handed. To be
 * called before an answer or an end that was read is judged. */
void stream_catch_up(struct stream *stream);

/* Bytes that the kernel has taken in the stream's whole life, to the byte. */
uint64_t stream_taken_total(const struct stream *stream);

/* Sends what is queued, keeps the rest. Called for each stream of the dirty list at the flush. */
void stream_flush(struct stream *stream);

/* Before uv_close(): forgets what is queued. */
void stream_done(struct stream *stream);

#endif
