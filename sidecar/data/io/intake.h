/*
 * sidecar/data/io/intake.h: the receiving half of a connection, on either side.
 *
 * A frame reader and its place among the worker's others: reads per turn are bounded, a frame that is
 * too long for one turn goes on in the next, and one that cannot have buffers waits for them. Where
 * half-read frames hold a quarter of a worker's share of the buffers, the oldest of them may go on over the
 * limit, or they would lock each other out.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_INTAKE_H
#define TSIDE_SIDECAR_DATA_IO_INTAKE_H

#include "sidecar/data/io/frame_reader.h"
#include "sidecar/data/loop/worker.h"

#include <sys/uio.h>

struct intake {
    struct frame_reader reader;
    struct worker *worker;
    const struct framing *framing;
    enum codec_scan_kind kind;
    uint32_t reads;    /* in this turn */
    uint64_t turn;     /* that reads counts in */
    size_t kept_bytes; /* of an incomplete frame, in worker->incomplete_bytes */
    bool starving;     /* the last room was refused for want of buffers */
    struct list incomplete;
    struct event spin;   /* goes on in the next turn */
    struct event starve; /* goes on when buffers may be there */
};

/* resume runs when the intake is to go on: behind intake_spin() or intake_starve(). */
void intake_init(struct intake *intake, struct worker *worker, const struct framing *framing,
                 enum codec_scan_kind kind, event_fn resume_spin, event_fn resume_starve);
void intake_done(struct intake *intake);

/* Another framing, before anything was taken up. */
static inline void intake_speak(struct intake *intake, const struct framing *framing)
{
    intake->framing = framing;
    frame_reader_forget_head(&intake->reader);
}

/* Room behind a frame that is kept, or a piece of the arena, or nothing. */
struct iovec intake_room(struct intake *intake);
/* n bytes came there, at least 1: gives back what was not filled and takes up the rest. */
void intake_filled(struct intake *intake, struct iovec room, size_t n);
/* Gives the room back. */
void intake_unfilled(struct intake *intake, struct iovec room);

/* FRAME_YIELD has arranged for the next turn. */
enum frame_verdict intake_next(struct intake *intake, struct frame *ret_frame);
/* After the last intake_next() of a callback. False where memory is short. */
bool intake_keep(struct intake *intake);

/* Waits for buffers. */
static inline void intake_starve(struct intake *intake)
{
    worker_starve(intake->worker, &intake->starve);
}

/* Goes on in the next turn. */
static inline void intake_spin(struct intake *intake)
{
    worker_spin(intake->worker, &intake->spin);
}

static inline bool intake_in_frame(const struct intake *intake)
{
    return frame_reader_in_frame(&intake->reader);
}

#endif
