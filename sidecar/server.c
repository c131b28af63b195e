/*
 * sidecar/server.c: wires the process together; see server.h.
 *
 * Start: log, state directory, sources, sockets, admin, workers. The workers are offered their first
 * snapshot when the rules are there: at once from files and disk, with the first list from etcd, or
 * after SERVER_RULES_WAIT_MS without any. End: SIGTERM drains the workers, the last one to stop ends
 * the control loop. SIGHUP: reload.c.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server.h"

#include "discovery/etcd_io.h"
#include "discovery/file_source.h"
#include "discovery/state_dir_lock.h"
#include "sidecar/admin/admin.h"
#include "sidecar/data/worker.h"
#include "sidecar/reload.h"
#include "sidecar/shared/record.h"
#include "sidecar/snapshots.h"
#include "sidecar/sockets.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

/* Calls wait for rules that long after the start (less than the default timeout_ms); then they are told
 * that there is no endpoint. */
#define SERVER_RULES_WAIT_MS 900
/* How long one slice of compiling may keep the control loop (design, section 2). */
#define SERVER_BUILD_SLICE_US 5000
/* Housekeeping of the control thread. */
#define SERVER_TICK_MS 1000
/* Tuples without a call for this long leave the table (contract, section 7). */
#define SERVER_TUPLE_IDLE_MS 3600000

struct server {
    const struct bootstrap *bootstrap;
    struct log *log;
    struct codec_templates *templates;
    struct disc_store *store;
    int state_lock; /* a descriptor; -1: none */
    struct file_source *file_source;
    struct etcd_io *etcd;
    struct admin *admin;
    struct snapshots snapshots;
    struct reload reload;
    struct worker_env env;

    uv_loop_t loop;
    uv_async_t notify; /* from workers */
    uv_idle_t build;   /* active while something is to be compiled */
    uv_timer_t tick;
    uv_timer_t rules_wait;
    uv_timer_t drain_timeout;
    uv_signal_t sigterm;
    uv_signal_t sigint;
    uv_signal_t sighup;
    uv_signal_t sigusr2;

    struct listen_sockets sockets[BOOTSTRAP_LISTENERS_MAX];
    struct admin_listener_info listener_info[BOOTSTRAP_LISTENERS_MAX];
    const struct counters *counters[BOOTSTRAP_WORKERS_MAX];
    const _Atomic uint64_t *heartbeats[BOOTSTRAP_WORKERS_MAX];
    uint64_t started_unix_ms;
    bool etcd_came;   /* a list, or the last state from disk */
    bool rules_ready; /* workers may be offered snapshots */
    bool serving;
    bool draining;
    bool ending;
    int exit_code;
};

static uint64_t unix_ms(void)
{
    uv_timeval64_t now;
    return uv_gettimeofday(&now) ? 0 : (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_usec / 1000u;
}

static void fatal(struct server *server, const char *event, const char *message)
{
    log_printf(server->log, LOG_ERROR, "server", event, "%s", message);
    server->exit_code = EX_UNAVAILABLE;
}

/* ---- snapshots ----------------------------------------------------------------------------- */

static void offer(struct server *server)
{
    const struct disc_snapshot *newest = snapshots_newest(&server->snapshots);
    for (uint32_t i = 0; newest && server->rules_ready && i < server->env.workers_len; i++) {
        worker_offer_snapshot(server->env.workers[i], newest);
    }
}

static void on_publish(void *owner, struct disc_snapshot *snapshot)
{
    struct server *server = owner;
    snapshots_add(&server->snapshots, snapshot);
    offer(server);
}

/* The oldest generation that a worker may hold. */
static uint64_t seen_by_all(const struct server *server)
{
    uint64_t seen = UINT64_MAX;
    for (uint32_t i = 0; i < server->env.workers_len; i++) {
        uint64_t one = atomic_load(&server->env.workers[i]->seen_generation);
        seen = one < seen ? one : seen;
    }
    return seen;
}

/* Frees what no worker can hold any more. */
static void reclaim(struct server *server)
{
    uint64_t seen = seen_by_all(server);
    snapshots_reclaim(&server->snapshots, seen);
    disc_store_reap(server->store);
    tuple_table_reclaim(server->env.tuples, seen);
}

static void rules_are_ready(struct server *server)
{
    if (!server->rules_ready) {
        server->rules_ready = true;
        (void)uv_timer_stop(&server->rules_wait); /* always 0 */
        offer(server);
    }
}

/* One slice; the rest in the next turns, between other events. */
static void build(struct server *server);

static void on_build(uv_idle_t *handle)
{
    build(handle->data);
}

static void build(struct server *server)
{
    if (!disc_store_build(server->store, SERVER_BUILD_SLICE_US)) {
        (void)uv_idle_start(&server->build, on_build); /* always 0 */
        return;
    }
    (void)uv_idle_stop(&server->build); /* always 0 */
    if (!server->etcd || server->etcd_came) {
        rules_are_ready(server);
    }
}

/* A source has committed. */
static void on_commit(void *owner)
{
    build(owner);
}

static void on_etcd_commit(void *owner)
{
    struct server *server = owner;
    server->etcd_came = true;
    build(server);
}

/* Where no source has anything: an empty snapshot, so that calls are answered and not left waiting. */
static void build_at_least_nothing(struct server *server)
{
    if (!snapshots_newest(&server->snapshots)) {
        disc_store_begin(server->store, DISC_LAYER_FILE, false);
        disc_store_commit(server->store, DISC_LAYER_FILE, 0, DISC_ORIGIN_NONE,
                          uv_now(&server->loop));
    }
    build(server);
}

static void on_rules_wait(uv_timer_t *handle)
{
    struct server *server = handle->data;
    build_at_least_nothing(server);
    log_printf(server->log, LOG_WARN, "server", "no_rules",
               "neither etcd nor the state directory gave rules: serving without");
    rules_are_ready(server);
}

/* ---- what workers tell --------------------------------------------------------------------- */

static void drain_ring(struct server *server, struct worker *worker)
{
    const uint32_t *record;
    uint32_t len;
    while ((record = ring_peek(&worker->ring, &len))) {
        if (*record == RECORD_CALL) {
            access_log_write(server->log, (const struct record_call *)(const void *)record);
        } else {
            const struct record_log *line = (const void *)record;
            log_printf(server->log, (enum log_level)line->level, line->component, line->event,
                       "%.*s", (int)line->len, line->message);
        }
        ring_next(&worker->ring);
    }
}

static void stop_control(struct server *server);

static void on_notify(uv_async_t *handle)
{
    struct server *server = handle->data;
    uint32_t stopped = 0;
    for (uint32_t i = 0; i < server->env.workers_len; i++) {
        struct worker *worker = server->env.workers[i];
        drain_ring(server, worker);
        stopped += atomic_load(&worker->phase) == WORKER_STOPPED;
    }
    reclaim(server);
    if (server->serving && stopped == server->env.workers_len) {
        stop_control(server);
    }
}

static void notify_control(void *owner)
{
    struct server *server = owner;
    (void)uv_async_send(&server->notify); /* fails on a closed handle alone */
}

static void on_tick(uv_timer_t *handle)
{
    struct server *server = handle->data;
    const struct disc_snapshot *newest = snapshots_newest(&server->snapshots);
    reclaim(server);
    if (newest) {
        /* Loop times of workers and control are one clock. */
        tuple_table_expire(server->env.tuples, uv_now(&server->loop), SERVER_TUPLE_IDLE_MS,
                           disc_snapshot_generation(newest));
    }
}

/* ---- drain --------------------------------------------------------------------------------- */

static void want_phase(struct server *server, enum worker_phase phase)
{
    for (uint32_t i = 0; i < server->env.workers_len; i++) {
        worker_want_phase(server->env.workers[i], phase);
    }
}

static void on_drain_timeout(uv_timer_t *handle)
{
    struct server *server = handle->data;
    log_printf(server->log, LOG_WARN, "server", "drain_timeout",
               "drain_timeout_ms %llu passed: ending with calls under way",
               (unsigned long long)server->env.drain_timeout_ms);
    want_phase(server, WORKER_ENDING);
}

static void begin_drain(void *owner)
{
    struct server *server = owner;
    if (server->draining) {
        return;
    }
    server->draining = true;
    log_printf(server->log, LOG_INFO, "server", "draining",
               "no new connections; calls under way finish");
    notify_service_manager("STOPPING=1");
    want_phase(server, WORKER_DRAINING);
    (void)uv_timer_start(&server->drain_timeout, on_drain_timeout, server->env.drain_timeout_ms, 0);
}

/* The first signal drains, the second one ends at once. */
static void on_signal(uv_signal_t *handle, int signum)
{
    struct server *server = handle->data;
    (void)signum;
    if (server->draining) {
        want_phase(server, WORKER_ENDING);
    } else {
        begin_drain(server);
    }
}

static void on_reload(uv_signal_t *handle, int signum)
{
    struct server *server = handle->data;
    (void)signum;
    if (server->draining) { /* what it would change is in use or closed */
        log_printf(server->log, LOG_WARN, "server", "reload_rejected",
                   "draining: the bootstrap file is not read again");
        return;
    }
    reload_now(&server->reload, server->admin, server->file_source);
    server->env.drain_timeout_ms = reload_newest(&server->reload)->timeouts.drain_timeout_ms;
}

static void on_handover(uv_signal_t *handle, int signum)
{
    struct server *server = handle->data;
    (void)signum;
    log_printf(server->log, LOG_WARN, "server", "handover_not_yet",
               "not yet: SIGUSR2 is to hand over to a new process; nothing was done");
}

/* Where nobody listens, before and after the loop. */
static void ignore_signals(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of its write, not of ours */
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGUSR2, SIG_IGN);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void close_sources(struct server *server)
{
    if (server->file_source) {
        file_source_close(server->file_source, NULL); /* the loop ends with the last handle */
    }
    if (server->etcd) {
        etcd_io_close(server->etcd, NULL, NULL);
    }
    if (server->admin) {
        admin_close(server->admin, NULL, NULL);
    }
}

/* All workers have stopped: the control loop ends when its handles have closed. */
static void stop_control(struct server *server)
{
    if (server->ending) {
        return;
    }
    server->ending = true;
    close_sources(server);
    close_handle((uv_handle_t *)&server->notify);
    close_handle((uv_handle_t *)&server->build);
    close_handle((uv_handle_t *)&server->tick);
    close_handle((uv_handle_t *)&server->rules_wait);
    close_handle((uv_handle_t *)&server->drain_timeout);
    close_handle((uv_handle_t *)&server->sigterm);
    close_handle((uv_handle_t *)&server->sigint);
    close_handle((uv_handle_t *)&server->sighup);
    close_handle((uv_handle_t *)&server->sigusr2);
    ignore_signals(); /* libuv has given them back: they would kill us on the last steps */
}

/* ---- admin's questions --------------------------------------------------------------------- */

/* What admin shows decides calls already: every worker has taken it up. */
static const struct disc_snapshot *admin_snapshot(void *owner)
{
    struct server *server = owner;
    bool known = !server->etcd || server->etcd_came || server->file_source;
    return known ? snapshots_in_force(&server->snapshots, seen_by_all(server)) : NULL;
}

static bool admin_draining(void *owner)
{
    return ((struct server *)owner)->draining;
}

static bool admin_listening(void *owner)
{
    return ((struct server *)owner)->serving;
}

static bool start_admin(struct server *server)
{
    const struct admin_context context = {
        .loop = &server->loop,
        .bootstrap = server->bootstrap,
        .log = server->log,
        .store = server->store,
        .etcd = server->etcd,
        .tuples = server->env.tuples,
        .workers = server->env.workers_len,
        .worker_counters = server->counters,
        .worker_heartbeat_ms = server->heartbeats,
        .listeners_len = server->bootstrap->listeners_len,
        .listeners = server->listener_info,
        .started_unix_ms = server->started_unix_ms,
        .owner = server,
        .snapshot = admin_snapshot,
        .draining = admin_draining,
        .listening = admin_listening,
        .drain = begin_drain,
    };
    server->admin = admin_new(&context);
    return server->admin != NULL;
}

/* ---- start --------------------------------------------------------------------------------- */

static void *attach_endpoint(void *owner, const char *key, const struct disc_endpoint *endpoint)
{
    struct server *server = owner;
    (void)key;
    return endpoint_state_new(endpoint->address, endpoint->host, endpoint->port,
                              server->env.workers_len);
}

static void detach_endpoint(void *owner, void *state)
{
    (void)owner;
    atomic_store(&((struct endpoint_state *)state)->gone, true);
    endpoint_state_unref(state);
}

static void on_file_error(void *owner, const char *message)
{
    struct server *server = owner;
    log_printf(server->log, LOG_ERROR, "rules_file", "rules_file_rejected", "%s", message);
}

static uint64_t store_clock_ms(void *owner)
{
    return uv_now(&((struct server *)owner)->loop);
}

static void on_etcd_note(void *owner, bool is_bad, const char *text)
{
    struct server *server = owner;
    log_printf(server->log, is_bad ? LOG_WARN : LOG_INFO, "etcd", is_bad ? "etcd_trouble" : "etcd",
               "%s", text);
}

static void init_timer(struct server *server, uv_timer_t *timer)
{
    (void)uv_timer_init(&server->loop, timer); /* always 0 */
    timer->data = server;
}

static bool catch_signal(struct server *server, uv_signal_t *handle, uv_signal_cb callback,
                         int signum)
{
    (void)uv_signal_init(&server->loop, handle); /* fails with the loop alone */
    handle->data = server;
    return uv_signal_start(handle, callback, signum) == 0;
}

static bool init_loop(struct server *server)
{
    if (uv_loop_init(&server->loop) || uv_async_init(&server->loop, &server->notify, on_notify)) {
        return false;
    }
    server->notify.data = server;
    (void)uv_idle_init(&server->loop, &server->build); /* always 0, likewise below */
    server->build.data = server;
    init_timer(server, &server->tick);
    init_timer(server, &server->rules_wait);
    init_timer(server, &server->drain_timeout);
    return catch_signal(server, &server->sigterm, on_signal, SIGTERM) &&
           catch_signal(server, &server->sigint, on_signal, SIGINT) &&
           catch_signal(server, &server->sighup, on_reload, SIGHUP) &&
           catch_signal(server, &server->sigusr2, on_handover, SIGUSR2) &&
           uv_timer_start(&server->tick, on_tick, SERVER_TICK_MS, SERVER_TICK_MS) == 0;
}

static void on_rejected(void *owner, const struct disc_rejection *rejection)
{
    struct server *server = owner;
    struct log_line line;
    if (log_begin(server->log, &line, LOG_WARN, "discovery", "key_rejected",
                  rejection->in_force ? "a value was refused, the last good one stays in force"
                                      : "a value was refused, the key counts as absent")) {
        log_str(&line, "key", rejection->key);
        log_str(&line, "field", rejection->field);
        log_str(&line, "reason", rejection->reason);
        log_int(&line, "mod_revision", rejection->mod_revision);
        log_end(server->log, &line);
    }
}

static bool init_store(struct server *server)
{
    const struct bootstrap *bootstrap = server->bootstrap;
    const struct disc_store_options options = {
        .prefix = {bootstrap->etcd.rules_prefix, bootstrap->etcd.services_prefix},
        .templates = server->templates,
        .endpoint_attach = attach_endpoint,
        .endpoint_detach = detach_endpoint,
        .rejected = on_rejected,
        .publish = on_publish,
        .owner = server,
    };
    server->store = disc_store_new(&options);
    return server->store != NULL;
}

static bool open_sockets(struct server *server)
{
    const struct bootstrap *bootstrap = server->bootstrap;
    char error[512];
    for (size_t i = 0; i < bootstrap->listeners_len; i++) {
        const struct bootstrap_listener *listener = &bootstrap->listeners[i];
        if (!listen_sockets_open(listener, server->env.workers_len, &server->sockets[i], error,
                                 sizeof error)) {
            fatal(server, "cannot_listen", error);
            return false;
        }
        server->listener_info[i].configured = listener->listen;
        snprintf(server->listener_info[i].address, sizeof server->listener_info[i].address, "%s",
                 server->sockets[i].address);
    }
    return true;
}

static bool make_workers(struct server *server)
{
    uint64_t seed = uv_hrtime() ^ ((uint64_t)uv_os_getpid() << 32);
    for (uint32_t i = 0; i < server->env.workers_len; i++) {
        struct worker *worker = worker_new(&server->env, i, seed + i);
        if (!worker) {
            fatal(server, "cannot_start", "out of memory or descriptors for a worker");
            server->env.workers_len = i;
            return false;
        }
        server->env.workers[i] = worker;
        server->counters[i] = &worker->counters;
        server->heartbeats[i] = &worker->heartbeat_ms;
    }
    return true;
}

/* Hands the sockets to the workers: they are theirs from then on, also where this fails. */
static bool hand_out_sockets(struct server *server)
{
    for (size_t i = 0; i < server->bootstrap->listeners_len; i++) {
        struct listen_sockets *sockets = &server->sockets[i];
        while (sockets->n > 0) {
            uint32_t w = --sockets->n;
            int r = worker_listen(server->env.workers[w], &server->bootstrap->listeners[i],
                                  sockets->fds[w]);
            if (r) {
                fatal(server, "cannot_listen", uv_strerror(r));
                return false;
            }
        }
    }
    return true;
}

static bool start_file_source(struct server *server)
{
    const char *path = server->bootstrap->rules_file;
    const struct file_source_options options = {.on_commit = on_commit,
                                                .on_error = on_file_error,
                                                .store_clock_ms = store_clock_ms,
                                                .owner = server};
    if (!path) {
        return true;
    }
    server->file_source = file_source_new(&server->loop, path, server->store, &options);
    if (!server->file_source) {
        return false;
    }
    /* A file that is bad now was reported; it is watched, and calls are told that there is no rule. */
    (void)file_source_load_now(server->file_source);
    return true;
}

static bool start_etcd(struct server *server)
{
    const struct bootstrap *bootstrap = server->bootstrap;
    if (bootstrap->etcd.endpoints_len == 0) {
        return true;
    }
    const struct etcd_io_options options = {
        .loop = &server->loop,
        .store = server->store,
        .endpoints = (const char *const *)bootstrap->etcd.endpoints,
        .endpoints_n = (uint32_t)bootstrap->etcd.endpoints_len,
        .prefix = {bootstrap->etcd.rules_prefix, bootstrap->etcd.services_prefix},
        .state_dir = server->state_lock >= 0 ? bootstrap->state_dir : NULL,
        .seed = uv_hrtime() ^ (uint64_t)uv_os_getpid(),
        .on_commit = on_etcd_commit,
        .note = on_etcd_note,
        .owner = server,
    };
    server->etcd = etcd_io_new(&options);
    return server->etcd != NULL;
}

/* Rules from the file come at once; from etcd (or its last state on disk) when they come. */
static bool start_sources(struct server *server)
{
    /* etcd first: while it is configured, the file's rules alone are not the whole truth. */
    if (!start_etcd(server) || !start_file_source(server)) {
        fatal(server, "cannot_start", "out of memory or descriptors for the sources of rules");
        return false;
    }
    if (!server->etcd) {
        build_at_least_nothing(server);
        return true;
    }
    (void)uv_timer_start(&server->rules_wait, on_rules_wait, SERVER_RULES_WAIT_MS, 0);
    etcd_io_start(server->etcd);
    return true;
}

/* Two processes would write one state; and SO_REUSEPORT hides a second one on the port. */
static bool lock_state(struct server *server)
{
    const char *dir = server->bootstrap->state_dir;
    int64_t pid = 0;
    char message[512];
    (void)mkdir(dir, 0750); /* it may be there, or its parent not: the lock tells */
    int r = state_dir_lock(dir, &server->state_lock, &pid);
    if (r == 0) {
        return true;
    }
    server->state_lock = -1;
    if (r == -EWOULDBLOCK) {
        snprintf(message, sizeof message, "state_dir %s is in use by process %lld", dir,
                 (long long)pid);
    } else {
        snprintf(message, sizeof message, "state_dir %s: %s", dir, strerror(-r));
    }
    fatal(server, "state_dir", message);
    return false;
}

static void log_listening(struct server *server)
{
    for (size_t i = 0; i < server->bootstrap->listeners_len; i++) {
        struct log_line line;
        if (log_begin(server->log, &line, LOG_INFO, "server", "listening",
                      "listening for callers")) {
            log_str(&line, "listen", server->listener_info[i].configured);
            log_str(&line, "address", server->listener_info[i].address);
            log_end(server->log, &line);
        }
    }
}

static bool start(struct server *server)
{
    server->templates = codec_templates_new();
    server->env.templates = server->templates;
    server->env.tuples =
        tuple_table_new(server->bootstrap->limits.metric_routes, server->env.workers_len);
    if (!server->templates || !server->env.tuples || !init_store(server)) {
        fatal(server, "cannot_start", "out of memory");
        return false;
    }
    if (!lock_state(server) || !open_sockets(server) || !make_workers(server) ||
        !hand_out_sockets(server)) {
        return false;
    }
    if (!start_sources(server)) {
        return false;
    }
    if (!start_admin(server)) {
        fatal(server, "cannot_start", "the admin port cannot be opened");
        return false;
    }
    for (uint32_t i = 0; i < server->env.workers_len; i++) {
        int r = worker_start(server->env.workers[i]);
        if (r) {
            fatal(server, "cannot_start", uv_strerror(r));
            want_phase(server, WORKER_ENDING); /* those that run; release() waits for them */
            return false;
        }
    }
    server->serving = true;
    log_listening(server);
    notify_service_manager("READY=1");
    return true;
}

static void release(struct server *server)
{
    /* All have ended before the first is freed: they wake each other until then. */
    for (uint32_t i = 0; i < server->env.workers_len; i++) {
        worker_join(server->env.workers[i]);
    }
    for (uint32_t i = 0; i < server->env.workers_len; i++) {
        server->env.workers[i] = worker_free(server->env.workers[i]);
    }
    for (size_t i = 0; i < server->bootstrap->listeners_len; i++) {
        listen_sockets_close(&server->sockets[i]);
        listen_sockets_unlink(&server->bootstrap->listeners[i], &server->sockets[i]);
    }
    snapshots_free_all(&server->snapshots);
    disc_store_free(server->store);
    tuple_table_free(server->env.tuples);
    codec_templates_free(server->templates);
    if (server->state_lock >= 0) {
        state_dir_unlock(server->state_lock);
    }
    (void)uv_loop_close(&server->loop);
    reload_done(&server->reload);
    log_free(server->log);
}

int server_run(const struct bootstrap *bootstrap)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server) {
        return EX_OSERR;
    }
    ignore_signals();
    server->bootstrap = bootstrap;
    server->state_lock = -1;
    server->started_unix_ms = unix_ms();
    server->env.bootstrap = bootstrap;
    server->env.drain_timeout_ms = bootstrap->timeouts.drain_timeout_ms;
    server->env.workers_len = bootstrap->workers;
    server->env.notify_control = notify_control;
    server->env.owner = server;
    server->log =
        log_new(2, (enum log_level)bootstrap->log_level, bootstrap->log_text, bootstrap->node_name);
    if (!server->log || !init_loop(server)) {
        free(server);
        return EX_OSERR;
    }
    reload_init(&server->reload, bootstrap, server->log);
    if (!start(server)) {
        stop_control(server);
    }
    (void)uv_run(&server->loop,
                 UV_RUN_DEFAULT); /* ends when stop_control() has closed everything */
    log_printf(server->log, LOG_INFO, "server", "stopped", "every call has been answered");
    int code = server->exit_code;
    release(server);
    free(server);
    return code;
}
