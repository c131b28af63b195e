/*
 * sidecar/data/io/intake.c: see intake.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/intake.h"

void intake_init(struct intake *intake, struct worker *worker, enum codec_scan_kind kind,
                 void (*resume)(struct intake *intake))
{
    *intake = (struct intake){.worker = worker, .kind = kind, .resume = resume};
    list_init(&intake->incomplete);
    list_init(&intake->starved);
    list_init(&intake->spin);
}

/* Half-read frames hold so much that they may be waiting for each other, and this is the oldest. */
static bool may_go_over(const struct intake *intake)
{
    const struct worker *worker = intake->worker;
    return list_first(&worker->incomplete) == &intake->incomplete &&
           worker->incomplete_bytes >= worker->buffers.limit / (2 * worker->env->workers_len);
}

static struct frame_env env_of(const struct intake *intake)
{
    struct worker *worker = intake->worker;
    return (struct frame_env){
        .kind = intake->kind,
        .max_bytes = (uint32_t)worker->env->bootstrap->limits.frame_bytes,
        .scan = &worker->scan,
        .buffers = &worker->buffers,
        .forced = may_go_over(intake),
        .pile = &worker->pile,
    };
}

void intake_done(struct intake *intake)
{
    struct frame_env env = env_of(intake);
    list_remove(&intake->incomplete);
    list_remove(&intake->starved);
    list_remove(&intake->spin);
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

void intake_alloc(struct intake *intake, uv_buf_t *buf)
{
    struct worker *worker = intake->worker;
    struct frame_env env = env_of(intake);
    size_t len;

    *buf = uv_buf_init(NULL, 0);
    intake->starving = false;
    if (intake->turn != worker->turn) {
        intake->turn = worker->turn;
        intake->reads = 0;
    }
    /* What is being proved comes first: a peer may send faster than slow frames are proved. */
    if (++intake->reads > WORKER_READS_PER_TURN || list_linked(&intake->spin)) {
        return;
    }
    uint8_t *room = frame_reader_room(&intake->reader, &env, &len); /* may grow what is kept */
    note_incomplete(intake);
    if (room) {
        *buf = uv_buf_init((char *)room, (unsigned)len);
        return;
    }
    /* Replies are what frees buffers: they may always be read, up to a piece that is not complete. */
    bool free_to_read = env.forced || intake->kind == CODEC_SCAN_REPLY ||
                        buffers_may_charge(&worker->buffers, WORKER_READ_BYTES);
    if (len > 0 || (!free_to_read && frame_reader_keeps(&intake->reader))) {
        intake->starving = true;
        return;
    }
    /* Who keeps nothing may read a little: small calls get through, whoever uses the buffers up. */
    unsigned take = free_to_read ? WORKER_READ_BYTES : BUFFERS_RESERVE_BYTES;
    char *piece = arena_take(&worker->arena, take);
    if (piece) {
        *buf = uv_buf_init(piece, take);
    }
}

void intake_unfilled(struct intake *intake, const uv_buf_t *buf)
{
    if (buf->len > 0 && arena_owns(&intake->worker->arena, buf->base)) {
        arena_shrink(&intake->worker->arena, buf->base, buf->len, 0);
    }
}

void intake_filled(struct intake *intake, const uv_buf_t *buf, size_t nread)
{
    if (arena_owns(&intake->worker->arena, buf->base)) {
        arena_shrink(&intake->worker->arena, buf->base, buf->len, nread);
    }
    frame_reader_push(&intake->reader, (uint8_t *)buf->base, nread);
}

enum frame_verdict intake_next(struct intake *intake, struct frame *ret_frame)
{
    struct frame_env env = env_of(intake);
    enum frame_verdict verdict = frame_reader_next(&intake->reader, &env, ret_frame);
    if (verdict == FRAME_READY || verdict == FRAME_BAD) {
        list_remove(&intake->incomplete); /* the next frame is a younger one */
    }
    note_incomplete(intake);
    return verdict;
}

bool intake_keep(struct intake *intake)
{
    struct frame_env env = env_of(intake);
    bool kept = frame_reader_keep(&intake->reader, &env);
    note_incomplete(intake);
    return kept;
}

void intake_starve(struct intake *intake)
{
    struct worker *worker = intake->worker;
    if (!list_linked(&intake->starved)) {
        list_push_back(&worker->starved, &intake->starved);
        if (!timer_node_armed(&worker->housekeeping.node) ||
            worker->housekeeping.node.expires_ms > worker_now_ms(worker) + WORKER_STARVED_POLL_MS) {
            worker_timer_set(worker, &worker->housekeeping,
                             worker_now_ms(worker) + WORKER_STARVED_POLL_MS);
        }
    }
}

void intake_spin(struct intake *intake)
{
    if (!list_linked(&intake->spin)) {
        list_push_back(&intake->worker->spinning, &intake->spin);
        worker_spin(intake->worker);
    }
}
