/*
 * sidecar/data/io/stream.c: see stream.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/stream.h"

#include <assert.h>

/* Vectors per write; more than that many segments take a second one. */
#define STREAM_IOVS 64

void stream_init(struct stream *stream, const struct stream_ops *ops, const struct buffers *buffers,
                 struct list *dirty_head)
{
    outq_init(&stream->out, buffers);
    stream->ops = ops;
    stream->dirty_head = dirty_head;
    list_init(&stream->dirty);
    stream->pending_len = 0;
    stream->writing = false;
    stream->failed = false;
    stream->request.data = stream;
}

static void mark_dirty(struct stream *stream)
{
    if (!list_linked(&stream->dirty)) {
        list_push_back(stream->dirty_head, &stream->dirty);
    }
    if (outq_bytes(&stream->out) >= STREAM_EARLY_FLUSH_BYTES) {
        list_remove(&stream->dirty);
        list_push_front(stream->dirty_head, &stream->dirty);
    }
}

bool stream_push(struct stream *stream, const void *bytes, size_t len)
{
    if (outq_push_borrowed(&stream->out, bytes, len)) {
        return false;
    }
    mark_dirty(stream);
    return true;
}

bool stream_push_iov(struct stream *stream, const struct iovec iov[], size_t n)
{
    if (outq_push_iov(&stream->out, iov, n)) {
        return false;
    }
    mark_dirty(stream);
    return true;
}

bool stream_push_block(struct stream *stream, uint8_t *block, size_t off, size_t len)
{
    if (outq_push_owned(&stream->out, block, off, len)) {
        return false;
    }
    mark_dirty(stream);
    return true;
}

uint64_t stream_taken_total(const struct stream *stream)
{
    uint64_t told = outq_sent_total(&stream->out);
    if (stream->pending_len == 0) {
        return told;
    }
    size_t left = uv_stream_get_write_queue_size(&stream->uv.stream);
    return told + (left < stream->pending_len ? stream->pending_len - left : 0);
}

static void fail(struct stream *stream, int status)
{
    if (!stream->failed) {
        stream->failed = true;
        list_remove(&stream->dirty);
        stream->ops->failed(stream, status);
    }
}

/* All that libuv was handed. */
static void taken(struct stream *stream)
{
    size_t len = stream->pending_len;
    stream->pending_len = 0;
    if (len > 0) {
        outq_consumed(&stream->out, len);
        stream->ops->progress(stream);
    }
}

/* What libuv was handed has been taken, or never will be. The stream's memory is still there: it goes
 * in the close callback, which libuv calls after this one. */
static void on_written(uv_write_t *request, int status)
{
    struct stream *stream = request->data;
    stream->writing = false;
    if (status == UV_ECANCELED || stream->failed) {
        return; /* closed by us */
    }
    if (status < 0) {
        fail(stream, status);
        return;
    }
    taken(stream);
    if (outq_bytes(&stream->out) > 0) {
        mark_dirty(stream);
    }
}

void stream_catch_up(struct stream *stream)
{
    if (stream->pending_len > 0 && !stream->failed &&
        uv_stream_get_write_queue_size(&stream->uv.stream) == 0) {
        taken(stream);
    }
}

static size_t fill(const struct stream *stream, uv_buf_t bufs[STREAM_IOVS], size_t *ret_total)
{
    struct iovec iov[STREAM_IOVS];
    size_t n = outq_fill_iov(&stream->out, iov, STREAM_IOVS);
    *ret_total = 0;
    for (size_t i = 0; i < n; i++) {
        bufs[i] = uv_buf_init(iov[i].iov_base, (unsigned)iov[i].iov_len);
        *ret_total += iov[i].iov_len;
    }
    return n;
}

/* Sends until the kernel takes no more. 0 or a libuv error. */
static int try_write(struct stream *stream, bool *ret_progress)
{
    uv_buf_t bufs[STREAM_IOVS];
    while (outq_bytes(&stream->out) > 0) {
        size_t total;
        size_t n = fill(stream, bufs, &total);
        int r = uv_try_write(&stream->uv.stream, bufs, (unsigned)n);
        if (r == UV_EAGAIN) {
            return 0;
        }
        if (r < 0) {
            return r;
        }
        outq_consumed(&stream->out, (size_t)r);
        *ret_progress = true;
        if ((size_t)r < total) {
            return 0;
        }
    }
    return 0;
}

/* Hands the first vectors of the rest to libuv. */
static int hand_over(struct stream *stream)
{
    uv_buf_t bufs[STREAM_IOVS];
    size_t total;
    size_t n = fill(stream, bufs, &total);
    int r = uv_write(&stream->request, &stream->uv.stream, bufs, (unsigned)n, on_written);
    if (r == 0) {
        stream->pending_len = total;
        stream->writing = true;
    }
    return r;
}

void stream_flush(struct stream *stream)
{
    bool progress = false;
    list_remove(&stream->dirty);
    if (stream->failed || outq_bytes(&stream->out) == 0) {
        return;
    }
    int r = stream->writing ? 0 : try_write(stream, &progress);
    if (r == 0 && outq_bytes(&stream->out) > 0) {
        if (!stream->ops->pin(stream) && outq_own_rest(&stream->out)) {
            r = UV_ENOMEM;
        } else if (!stream->writing) {
            r = hand_over(stream);
        }
    }
    if (r < 0) {
        fail(stream, r);
    } else if (progress) {
        stream->ops->progress(stream);
    }
}

void stream_done(struct stream *stream)
{
    list_remove(&stream->dirty);
    stream->failed = true;
    outq_done(&stream->out);
}
