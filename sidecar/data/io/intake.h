/*
 * sidecar/data/io/intake.h: the receiving half of a connection, on either side.
 *
 * A frame reader and its place among the worker's others: reads per turn are bounded, a frame that is
 * too long for one turn goes on in the next, and who cannot have buffers waits for them. Where half-read
 * frames hold half of a worker's share of the buffers, the oldest of them may go on over the limit, or
 * they would lock each other out.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_INTAKE_H
#define TSIDE_SIDECAR_DATA_IO_INTAKE_H

#include "sidecar/data/io/frame_reader.h"
#include "sidecar/data/loop/worker.h"

struct intake {
    struct frame_reader reader;
    struct worker *worker;
    enum codec_scan_kind kind;
    uint32_t reads;    /* in this turn */
    uint64_t turn;     /* that reads counts in */
    size_t kept_bytes; /* of an incomplete frame, in worker->incomplete_bytes */
    bool starving;     /* the last alloc was refused for want of buffers */
    struct list incomplete;
    struct list starved;
    struct list spin;
    /* Goes on: a frame in the next turn, or buffers came free. */
    void (*resume)(struct intake *intake);
};

void intake_init(struct intake *intake, struct worker *worker, enum codec_scan_kind kind,
                 void (*resume)(struct intake *intake));
void intake_done(struct intake *intake);

/* libuv's alloc callback: room behind a frame that is kept, or a piece of the arena, or nothing. */
void intake_alloc(struct intake *intake, uv_buf_t *buf);
/* libuv's read callback, nread > 0: gives back what was not filled and takes up the rest. */
void intake_filled(struct intake *intake, const uv_buf_t *buf, size_t nread);
/* nread <= 0: gives the piece back. */
void intake_unfilled(struct intake *intake, const uv_buf_t *buf);

enum frame_verdict intake_next(struct intake *intake, struct frame *ret_frame);
/* After the last intake_next() of a callback. False where memory is short. */
bool intake_keep(struct intake *intake);

/* Waits for buffers: resume() is called when there may be some. */
void intake_starve(struct intake *intake);
/* resume() is called in the next turn. */
void intake_spin(struct intake *intake);

static inline bool intake_in_frame(const struct intake *intake)
{
    return frame_reader_in_frame(&intake->reader);
}

#endif
