/*
 * sidecar/data/loop/worker.h: one event loop that carries calls, and all that it owns.
 *
 * A worker never waits for the control thread and takes no lock. It is told things by atomics and one
 * uv_async (a newer snapshot, drain, permits that came free), and tells things by its counters and
 * its ring. A connection stays on its worker for life.
 *
 * A turn of the loop:
 *     timers -> prepare: FLUSH, arm the timer -> poll: reads, answers -> check: FLUSH, reset arena
 * What was read in a turn may be pointed at until the flush in check has passed.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_WORKER_H
#define TSIDE_SIDECAR_DATA_LOOP_WORKER_H

#include "codec/scan.h"
#include "codec/templates.h"
#include "lb/random.h"
#include "sidecar/base/bootstrap.h"
#include "sidecar/base/list.h"
#include "sidecar/data/loop/arena.h"
#include "sidecar/data/loop/buffers.h"
#include "sidecar/data/loop/timer_wheel.h"
#include "sidecar/data/route/route.h"
#include "sidecar/shared/counters.h"
#include "sidecar/shared/epoch.h"
#include "sidecar/shared/ring.h"

#include <uv.h>

#define WORKER_ARENA_BYTES     (1024 * 1024)
#define WORKER_READ_BYTES      65536 /* one piece of the arena, one read */
#define WORKER_READS_PER_TURN  4     /* of one connection */
#define WORKER_RING_BYTES      (256 * 1024)
#define WORKER_DRAIN_QUIET_MS  250  /* contract, section 6: SIGTERM */
#define WORKER_STARVED_POLL_MS 5    /* how often those without buffers look again */
#define WORKER_TICK_MS         1000 /* housekeeping, and a heartbeat when nothing happens */
#define WORKER_SWEEP_ROUTES    256  /* cached routes looked at per tick */
#define WORKER_ROUTE_IDLE_MS   600000

struct call;
struct call_pool;
struct session;

/* What all workers share; made by server.c, outlives them. */
struct worker_env {
    const struct bootstrap *bootstrap;
    uint64_t drain_timeout_ms; /* in force: not written any more once workers are told to drain */
    const struct codec_templates *templates;
    struct tuple_table *tuples;
    struct epoch epoch;         /* passed by each worker at the end of its turns */
    struct permits connections; /* limits.connections */
    struct permits upstreams;   /* limits.upstream_connections: open or opening, to all callees */
    struct permits calls;       /* limits.calls */
    struct permits buffered;    /* limits.buffered_bytes */
    uint32_t workers_len;
    struct worker *workers[BOOTSTRAP_WORKERS_MAX];
    /* Wakes the control thread: a snapshot was acknowledged, a record written, a drain finished. */
    void (*notify_control)(void *owner);
    void *owner;
};

enum worker_phase {
    WORKER_SERVING = 0,
    WORKER_DRAINING, /* no new connections; sessions end one by one */
    WORKER_ENDING,   /* drain_timeout_ms passed: whatever is left is answered and closed */
    WORKER_STOPPED
};

enum worker_timer_kind {
    WORKER_TIMER_CALL = 0,
    WORKER_TIMER_SESSION,
    WORKER_TIMER_UPSTREAM,
    WORKER_TIMER_HOUSEKEEPING
};

/* A node on the wheel and whose it is. */
struct worker_timer {
    struct timer_node node;
    enum worker_timer_kind kind;
};

struct worker {
    struct worker_env *env;
    uint32_t index;
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t spin; /* active while somebody must go on in the next turn */
    uv_timer_t timer;
    uint64_t armed_ms; /* what timer is set for; UINT64_MAX: off */

    /* Told by other threads. */
    _Atomic(const struct disc_snapshot *) next_snapshot;
    _Atomic uint32_t wanted_phase;
    _Atomic bool permits_came;
    _Atomic bool idle_wanted;

    /* Read by other threads. */
    _Atomic uint64_t seen_generation; /* no older snapshot is in use here */
    _Atomic uint64_t heartbeat_ms;    /* uv_hrtime() / 1e6 of the last turn */
    _Atomic uint32_t phase;           /* enum worker_phase */
    struct counters counters;
    struct ring ring;

    /* The worker's own. */
    const struct disc_snapshot *snapshot; /* NULL: none yet */
    struct route_cache *routes;
    struct lb_random random;
    struct arena arena;
    struct timer_wheel wheel;
    struct buffers buffers;
    struct codec_scan scan; /* scratch of all frame readers */
    uint64_t turn;          /* counts turns; reads per turn hang on it */
    uint64_t next_tick_ms;
    bool has_loop;
    bool started;
    bool ran;

    struct list dirty;        /* struct stream.dirty */
    struct list spinning;     /* struct intake.spin: go on in the next turn */
    struct list starved;      /* struct intake.starved: wait for buffered_bytes */
    size_t incomplete_bytes;  /* held by frames begun */
    struct list incomplete;   /* struct intake.incomplete: frames begun, oldest first */
    struct list sessions;     /* struct session.all */
    struct list listeners;    /* struct listener.all */
    struct list upstreams;    /* struct upstream_conn.all */
    struct list pool_waits;   /* struct endpoint_pool.waits: pools that somebody waits at */
    struct list rule_waits;   /* struct call.waits: no snapshot yet */
    bool listeners_closed;    /* draining: whoever still comes is to leave soon */
    struct list live;         /* struct call.live: all calls */
    struct buffers_pile pile; /* blocks to free when the turn ends */
    struct call_pool *calls;
    struct worker_timer housekeeping;
    uint64_t log_window_ms; /* failures logged per second are bounded */
    uint32_t log_in_window;
    uint64_t next_rejected_log_ms; /* of callers whose bytes cannot be followed */
    struct {
        uint64_t window_ms; /* deadline.clock shared: calls refused on the stamp's account */
        uint32_t calls, refused, calls_before, refused_before;
    } stamp;
};

/* NULL when out of memory or descriptors. The loop does not run yet. */
struct worker *worker_new(struct worker_env *env, uint32_t index, uint64_t seed);
/* Before worker_start(): fd listens already and is the worker's from now on. 0 or a libuv error. */
int worker_listen(struct worker *worker, const struct bootstrap_listener *config, int fd);
/* Starts the thread. 0 or a libuv error. */
int worker_start(struct worker *worker);
/* Waits for the thread, which ends in phase STOPPED; at once where it was never started. */
void worker_join(struct worker *worker);
/* Frees everything, when all workers have been joined. NULL. */
struct worker *worker_free(struct worker *worker);

/* From the control thread. */
void worker_offer_snapshot(struct worker *worker, const struct disc_snapshot *snapshot);
void worker_want_phase(struct worker *worker, enum worker_phase phase);
/* From another worker: permits that somebody here waits for came free. */
void worker_permits_came(struct worker *worker);
/* From another worker, whose callers wait while connections are idle here. */
void worker_idle_wanted(struct worker *worker);

/* The loop's time in milliseconds, and the clock in microseconds. */
static inline uint64_t worker_now_ms(const struct worker *worker)
{
    return uv_now(&worker->loop);
}
uint64_t worker_now_us(void);
/* Wall-clock time, for stamps and logs alone. */
uint64_t worker_unix_us(void);

void worker_timer_set(struct worker *worker, struct worker_timer *timer, uint64_t expires_ms);
void worker_timer_cancel(struct worker *worker, struct worker_timer *timer);

/* The next turn comes without waiting for anything. */
void worker_spin(struct worker *worker);
/* Sends at once what has grown beyond STREAM_EARLY_FLUSH_BYTES. */
void worker_flush_early(struct worker *worker);

/* A line for the log, through the ring. */
void worker_log(struct worker *worker, int level, const char *component, const char *event,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
