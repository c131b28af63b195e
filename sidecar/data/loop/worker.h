/*
 * sidecar/data/loop/worker.h: one event loop that carries calls, and what is its own.
 *
 * A worker never waits for the control thread and takes no lock. Other threads reach it through one
 * mailbox; it answers by its counters and its ring. A connection stays on its worker for life.
 *
 * The worker knows no libuv: a driver (uv_driver.h, or a simulator) tells it the time and calls the
 * functions under "the driver's", and the layers above hang in `parts`. A turn:
 *
 *     timers -> before_poll: FLUSH -> poll: reads, answers, mail -> after_poll: FLUSH, end of the turn
 *
 * Each of these, and each callback of a connection, stands between worker_enter() and worker_leave(),
 * which runs all events that were posted meanwhile (event.h). What was read in a turn may be pointed at
 * until the flush behind the poll has passed.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_WORKER_H
#define TSIDE_SIDECAR_DATA_LOOP_WORKER_H

#include "codec/scan.h"
#include "codec/templates.h"
#include "codec/ttheader.h"
#include "lb/random.h"
#include "sidecar/base/bootstrap.h"
#include "sidecar/data/loop/arena.h"
#include "sidecar/data/loop/buffers.h"
#include "sidecar/data/loop/event.h"
#include "sidecar/data/loop/slab.h"
#include "sidecar/data/loop/timer_wheel.h"
#include "sidecar/shared/caller_share.h"
#include "sidecar/shared/counters.h"
#include "sidecar/shared/epoch.h"
#include "sidecar/shared/ring.h"

#define WORKER_ARENA_BYTES     ((size_t)1024 * 1024)
#define WORKER_READ_BYTES      65536 /* one piece of the arena, one read */
#define WORKER_READS_PER_TURN  4     /* of one connection */
#define WORKER_RING_BYTES      (256 * 1024)
#define WORKER_DRAIN_QUIET_MS  250  /* docs/specification.md, section 6: SIGTERM */
#define WORKER_STARVED_POLL_MS 5    /* how often those without buffers look again */
#define WORKER_LATE_MS         20   /* a timer this late: the loop stood still */
#define WORKER_TICK_MS         1000 /* housekeeping, and a heartbeat when nothing happens */

struct disc_snapshot;
struct route_cache;
struct transport_ops;
struct worker;

/* What the process tells its workers; made by server.c, outlives them. */
struct worker_env {
    const struct bootstrap *bootstrap;
    uint64_t drain_timeout_ms; /* in force: not written any more once workers are told to drain */
    const struct codec_templates *templates;
    struct tuple_table *tuples;
    struct permits connections; /* limits.connections */
    struct permits calls;       /* limits.calls */
    struct permits buffered;    /* limits.buffered_bytes */
    struct permits upstreams;   /* limits.upstream_connections: open or opening, to all callees */
    struct epoch epoch;         /* passed by each worker at the end of its turns */
    uint32_t workers_len;
    struct worker *workers[BOOTSTRAP_WORKERS_MAX];
    /* Wakes the control thread: a snapshot was acknowledged, a record written, a drain finished. */
    void (*notify_control)(void *owner);
    void *owner;
};

enum worker_phase {
    WORKER_SERVING = 0,
    WORKER_RESTING, /* no new connections for now, they wait in the kernel's queue; goes back to SERVING */
    WORKER_DRAINING, /* no new connections; sessions end one by one; from here on there is no way back */
    WORKER_ENDING, /* drain_timeout_ms passed: what is left is answered and closed */
    WORKER_STOPPED
};

/* What other threads post. Several of one kind are one. */
enum worker_mail {
    WORKER_MAIL_RULES = 1,       /* a newer snapshot, in next_snapshot */
    WORKER_MAIL_PHASE = 2,       /* wanted_phase has changed */
    WORKER_MAIL_PERMITS = 4,     /* permits came free that calls wait for here */
    WORKER_MAIL_IDLE_WANTED = 8, /* calls of another worker wait while connections are idle here */
    WORKER_MAIL_DESCRIPTORS_WANTED =
        16 /* another worker has none left for a connection to a callee */
};

/* Runs a worker's turns. All but wake() are called on the worker's thread. */
struct worker_driver {
    uint64_t (*now_us)(const struct worker *worker);  /* monotonic */
    uint64_t (*unix_us)(const struct worker *worker); /* wall clock, for stamps and logs alone */
    void (*wake)(struct worker *worker);              /* any thread: worker_read_mail() soon */
    void (*spin)(struct worker *worker, bool on);     /* the next turns come without waiting */
    void (*close)(struct worker *worker);             /* the worker has ended: no more turns */
};

/* What hangs above the loop; plane.c. */
struct worker_parts {
    void (*rules)(struct worker *worker); /* worker->snapshot is a newer one */
    void (*mail)(struct worker *worker, uint32_t mail);
    void (*tick)(struct worker *worker); /* about once a second, not before the first snapshot */
    void (*rest)(struct worker *worker, bool on); /* RESTING begins, or ends */
    void (*drain)(struct worker *worker);         /* DRAINING begins */
    void (*end)(struct worker *worker);           /* ENDING begins: answer and close everything */
};

struct worker {
    struct worker_env *env;
    uint32_t index;
    const struct worker_driver *driver;
    void *driver_owner; /* the driver's own */
    const struct worker_parts *parts;

    /* Written by other threads. */
    _Atomic uint32_t mail; /* enum worker_mail bits */
    _Atomic(const struct disc_snapshot *) next_snapshot;
    _Atomic uint32_t wanted_phase;

    /* Read by other threads. */
    _Atomic uint64_t seen_generation; /* no older snapshot is in use here */
    _Atomic uint64_t heartbeat_ms;    /* of the last turn, on the clock of now_us */
    _Atomic uint32_t phase;           /* enum worker_phase */
    struct counters counters;
    struct caller_share share; /* calls under way, by From */
    struct ring ring;

    /* The turn. */
    uint64_t now_ms; /* the loop's time; moves between callbacks alone */
    uint64_t now_us; /* the clock, read at most once a callback; 0: not yet */
    uint64_t turn;   /* counts turns; reads per turn hang on it */
    struct event_queue events;
    struct list early;    /* events: channels with much to send */
    struct list dirty;    /* events: channels with something to send */
    struct list spinning; /* events: go on in the next turn */
    struct list starved;  /* events: wait for buffered_bytes */
    struct timer_wheel wheel;
    struct timer_node housekeeping;
    uint64_t next_tick_ms;
    bool looked; /* at the sockets, since the loop stood still */
    struct arena arena;
    struct buffers_pile pile; /* blocks to free when the turn ends */
    struct block_cache blocks;
    struct buffers buffers;
    struct codec_scan scan; /* scratch of all frame readers, as is the next */
    struct codec_ttheader ttheader;
    size_t incomplete_bytes; /* held by frames begun */
    struct list incomplete;  /* struct intake.incomplete: frames begun, oldest first */

    /* What the layers above keep here. */
    const struct disc_snapshot *snapshot; /* NULL: none yet */
    struct route_cache *routes;
    const struct transport_ops *dial; /* that connections to callees are made by */
    struct lb_random random;
    struct slab calls;
    struct slab attempts;
    struct list sessions;       /* struct session.all */
    struct list listeners;      /* struct listener.all */
    struct list upstreams;      /* struct upstream_conn.all */
    struct list idle_upstreams; /* struct upstream_conn.in_idle: used longest ago in front */
    struct list pool_waits;     /* struct pool.waits: pools with calls that wait */
    struct list rule_waits;     /* struct call.waits: no snapshot yet */
    struct list live;           /* struct call.live: all calls */
    bool listeners_closed;      /* draining: a connection that still comes is to leave soon */
    uint64_t log_window_s;      /* failures logged per second are bounded */
    uint32_t log_in_window;
    uint64_t next_rejected_log_ms; /* of callers whose bytes cannot be followed */
    struct {
        uint64_t window_ms; /* deadline.clock shared: calls refused on the stamp's account */
        uint32_t calls, refused, calls_before, refused_before;
    } stamp;
};

/* NULL when out of memory. The driver is called once it is told to by uv_driver_open() or the like. */
struct worker *worker_new(struct worker_env *env, uint32_t index, uint64_t seed,
                          const struct worker_driver *driver, const struct worker_parts *parts);
/* Frees what worker_new() made; the layers above have ended. NULL. */
struct worker *worker_free(struct worker *worker);

/* The control thread is to look: a snapshot was taken up, a phase reached, a record written. */
void worker_notify_control(const struct worker *worker);

/* ---- any thread ----------------------------------------------------------------------------- */

void worker_post(struct worker *worker, enum worker_mail mail);
/* To every worker but this one. */
void worker_post_others(const struct worker *worker, enum worker_mail mail);
void worker_offer_snapshot(struct worker *worker, const struct disc_snapshot *snapshot);
void worker_want_phase(struct worker *worker, enum worker_phase phase);

static inline enum worker_phase worker_phase(const struct worker *worker)
{
    return (enum worker_phase)atomic_load_explicit(&worker->phase, memory_order_relaxed);
}

/* ---- the driver's ---------------------------------------------------------------------------- */

/* A callback begins, at that time on the loop's clock. */
static inline void worker_enter(struct worker *worker, uint64_t now_ms)
{
    worker->now_ms = now_ms;
    worker->now_us = 0;
}

/* It ends: everything that it caused is done before it returns. */
static inline void worker_leave(struct worker *worker)
{
    event_drain(&worker->events);
}

void worker_begin(struct worker *worker, uint64_t now_ms); /* before the first turn */
void worker_run_timers(struct worker *worker);
/* UINT64_MAX: none. */
static inline uint64_t worker_next_timer_ms(const struct worker *worker)
{
    return timer_wheel_next_ms(&worker->wheel);
}
void worker_run_spinning(struct worker *worker);
void worker_before_poll(struct worker *worker);
void worker_read_mail(struct worker *worker);
void worker_after_poll(struct worker *worker);
void worker_end(struct worker *worker);     /* ENDING, at once: of a worker that never ran */
void worker_stopped(struct worker *worker); /* after the last turn */

/* ---- the layers' above ----------------------------------------------------------------------- */

/* The loop's time in milliseconds, and the clock in microseconds: neither moves within a callback. */
static inline uint64_t worker_now_ms(const struct worker *worker)
{
    return worker->now_ms;
}
static inline uint64_t worker_now_us(struct worker *worker)
{
    if (worker->now_us == 0) {
        worker->now_us = worker->driver->now_us(worker);
    }
    return worker->now_us;
}
static inline uint64_t worker_unix_us(const struct worker *worker)
{
    return worker->driver->unix_us(worker);
}

static inline void worker_timer_set(struct worker *worker, struct timer_node *timer,
                                    uint64_t expires_ms)
{
    timer_wheel_set(&worker->wheel, timer, expires_ms);
}

static inline void worker_timer_cancel(struct worker *worker, struct timer_node *timer)
{
    timer_wheel_cancel(&worker->wheel, timer);
}

static inline void worker_event_post(struct worker *worker, struct event *event)
{
    event_post(&worker->events, event);
}

/* The event runs in the next turn, which comes without waiting. */
void worker_spin(struct worker *worker, struct event *event);
/* The event runs when buffers may be there again. */
void worker_starve(struct worker *worker, struct event *event);
/* Sends at once what waits in `early`. */
void worker_flush_early(struct worker *worker);

/* A line for the log, through the ring. */
void worker_log(struct worker *worker, int level, const char *component, const char *event,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
