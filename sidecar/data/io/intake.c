/*
 * sidecar/data/io/intake.c: see intake.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/intake.h"

void intake_init(struct intake *intake, struct worker *worker, const struct framing *framing,
                 enum codec_scan_kind kind, event_fn resume_spin, event_fn resume_starve)
{
    *intake = (struct intake){.worker = worker, .framing = framing, .kind = kind};
    list_init(&intake->incomplete);
    event_init(&intake->spin, resume_spin);
    event_init(&intake->starve, resume_starve);
}

/* Half-read frames hold so much that they may be waiting for each other, and this is the oldest. The reserve
 * for connections may be half of the limit, and the next piece as long as all that is held: where only
 * half-read frames hold buffers, those of some worker hold a quarter of its share when the limit bites. */
static bool may_go_over(const struct intake *intake)
{
    const struct worker *worker = intake->worker;
    return list_first(&worker->incomplete) == &intake->incomplete &&
           worker->incomplete_bytes >=
               worker->buffers.limit / (UINT64_C(4) * worker->env->workers_len);
}

static struct frame_env env_of(const struct intake *intake)
{
    struct worker *worker = intake->worker;
    return (struct frame_env){
        .framing = intake->framing,
        .kind = intake->kind,
        .max_bytes = (uint32_t)worker->env->bootstrap->limits.frame_bytes,
        .scan = &worker->scan,
        .ttheader = &worker->ttheader,
        .buffers = &worker->buffers,
        .pile = &worker->pile,
    };
}

void intake_done(struct intake *intake)
{
    struct frame_env env = env_of(intake);
    list_remove(&intake->incomplete);
    event_cancel(&intake->starve);
    event_cancel(&intake->spin);
    frame_reader_done(&intake->reader, &env);
    intake->worker->incomplete_bytes -= intake->kept_bytes;
    intake->kept_bytes = 0;
}

/* Keeps the list of incomplete frames in the order in which they began. */
static void note_incomplete(struct intake *intake)
{
    bool in_frame = intake_in_frame(intake);
    size_t kept = in_frame ? frame_reader_kept_bytes(&intake->reader) : 0;
    intake->worker->incomplete_bytes += kept - intake->kept_bytes;
    intake->kept_bytes = kept;
    if (in_frame && !list_linked(&intake->incomplete)) {
        list_push_back(&intake->worker->incomplete, &intake->incomplete);
    } else if (!in_frame) {
        list_remove(&intake->incomplete);
    }
}

/* A piece of the arena. A reply frees buffers: it may always be read, up to a piece that is not complete. */
static struct iovec piece(struct intake *intake)
{
    struct worker *worker = intake->worker;
    bool free_to_read = intake->kind == CODEC_SCAN_REPLY || may_go_over(intake) ||
                        buffers_may_charge(&worker->buffers, WORKER_READ_BYTES);
    bool keeps = frame_reader_keeps(&intake->reader) && !frame_reader_skips(&intake->reader);
    if (!free_to_read && keeps) {
        intake->starving = true;
        return (struct iovec){NULL, 0};
    }
    /* One that keeps nothing of it may read a little: small calls get through when the buffers are used up. */
    size_t len = free_to_read ? WORKER_READ_BYTES : BUFFERS_RESERVE_BYTES;
    void *base = arena_take(&worker->arena, len);
    return (struct iovec){base, base ? len : 0};
}

struct iovec intake_room(struct intake *intake)
{
    struct worker *worker = intake->worker;
    size_t len;

    intake->starving = false;
    if (intake->turn != worker->turn) {
        intake->turn = worker->turn;
        intake->reads = 0;
    }
    /* What is being proved comes first: a peer may send faster than slow frames are proved. */
    if (++intake->reads > WORKER_READS_PER_TURN || event_waits(&intake->spin)) {
        return (struct iovec){NULL, 0};
    }
    if (!frame_reader_keeps(&intake->reader)) {
        return piece(intake);
    }
    struct frame_env env = env_of(intake);
    env.forced = may_go_over(intake);
    uint8_t *room = frame_reader_room(&intake->reader, &env, &len); /* may grow what is kept */
    note_incomplete(intake);
    if (room) {
        return (struct iovec){room, len};
    }
    if (len > 0) {
        intake->starving = true;
        return (struct iovec){NULL, 0};
    }
    return piece(intake);
}

void intake_unfilled(struct intake *intake, struct iovec room)
{
    if (room.iov_len > 0 && arena_owns(&intake->worker->arena, room.iov_base)) {
        arena_shrink(&intake->worker->arena, room.iov_base, room.iov_len, 0);
    }
}

void intake_filled(struct intake *intake, struct iovec room, size_t n)
{
    if (arena_owns(&intake->worker->arena, room.iov_base)) {
        arena_shrink(&intake->worker->arena, room.iov_base, room.iov_len, n);
    }
    frame_reader_push(&intake->reader, room.iov_base, n);
}

static void note_next(struct intake *intake, enum frame_verdict verdict)
{
    if (verdict == FRAME_READY || verdict == FRAME_BAD) {
        list_remove(&intake->incomplete); /* the next frame is a younger one */
    }
    note_incomplete(intake);
}

enum frame_verdict intake_next(struct intake *intake, struct frame *ret_frame)
{
    struct frame_env env = env_of(intake);
    enum frame_verdict verdict = frame_reader_next(&intake->reader, &env, ret_frame);
    if (frame_reader_keeps(&intake->reader) || list_linked(&intake->incomplete)) {
        note_next(intake, verdict);
    }
    if (verdict == FRAME_YIELD) {
        intake_spin(intake);
    }
    return verdict;
}

bool intake_keep(struct intake *intake)
{
    if (intake->reader.window_len == 0) {
        return true;
    }
    struct frame_env env = env_of(intake);
    bool kept = frame_reader_keep(&intake->reader, &env);
    note_incomplete(intake);
    return kept;
}
