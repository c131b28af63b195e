/*
 * sidecar/server/server.c: wires the process together; see server.h.
 *
 * Start: log, state directory, sockets, workers, sources, admin. End: SIGTERM drains the workers,
 * the last one to stop ends the control loop. SIGHUP: reload.c.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server/server.h"

#include "discovery/base/unix_clock.h"
#include "discovery/state/state_dir_lock.h"
#include "sidecar/admin/admin.h"
#include "sidecar/server/fleet_rates.h"
#include "sidecar/server/reload.h"
#include "sidecar/server/rules.h"
#include "sidecar/server/service_manager.h"
#include "sidecar/server/worker_group.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

_Static_assert(EPOCH_WORKERS_MAX >= BOOTSTRAP_WORKERS_MAX, "every worker passes the epoch");

struct server {
    struct server_options options;
    const struct bootstrap *bootstrap;
    struct log *log;
    struct codec_templates *templates;
    int state_lock; /* a descriptor; -1: none */
    struct rules rules;
    struct fleet_rates fleet;
    struct worker_group workers;
    struct admin *admin;
    struct admin_listener_info listener_info[BOOTSTRAP_LISTENERS_MAX];
    struct reload reload;

    uv_loop_t loop;
    uv_async_t notify; /* from workers */
    uv_timer_t tick;
    uv_timer_t drain_timeout;
    uv_signal_t sigterm;
    uv_signal_t sigint;
    uv_signal_t sighup;
    uv_signal_t sigusr2;

    uint64_t started_unix_ms;
    bool serving;
    bool draining;
    bool signalled; /* by SIGTERM or SIGINT */
    bool ending;
    int exit_code;
};

/* error: negative errno, which chooses the exit code. */
static void fatal(struct server *server, const char *event, int error, const char *message)
{
    log_printf(server->log, LOG_ERROR, "server", event, "%s", message);
    server->exit_code = error == -EACCES || error == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
}

/* ---- what workers report ------------------------------------------------------------------- */

static void on_offer(void *owner, const struct disc_snapshot *newest)
{
    worker_group_offer(&((struct server *)owner)->workers, newest);
}

/* Frees what no worker can hold any more. */
static void reclaim(struct server *server)
{
    rules_reclaim(&server->rules, worker_group_seen(&server->workers));
}

static void stop_control(struct server *server);

static void on_notify(uv_async_t *handle)
{
    struct server *server = handle->data;
    bool stopped = worker_group_stopped(&server->workers); /* before: no record comes after it */
    worker_group_write_records(&server->workers, server->log);
    reclaim(server);
    if (server->serving && stopped) {
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
    struct worker_env *env = &server->workers.env;
    reclaim(server);
    /* Loop times of workers and control are one clock. */
    tuple_table_tidy(env->tuples, &env->epoch, uv_now(&server->loop),
                     server->options.tuple_idle_ms);
}

/* ---- drain --------------------------------------------------------------------------------- */

static void on_drain_timeout(uv_timer_t *handle)
{
    struct server *server = handle->data;
    log_printf(server->log, LOG_WARN, "server", "drain_timeout",
               "drain_timeout_ms %llu passed: ending with calls under way",
               (unsigned long long)server->workers.env.drain_timeout_ms);
    worker_group_want_phase(&server->workers, WORKER_ENDING);
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
    service_manager_notify("STOPPING=1");
    worker_group_want_phase(&server->workers, WORKER_DRAINING);
    (void)uv_timer_start(&server->drain_timeout, on_drain_timeout,
                         server->workers.env.drain_timeout_ms, 0);
}

/* The first signal drains, the second one ends at once. A drain by hand before it is no signal:
 * `tside drain` and then the service manager's SIGTERM is one wish, not two. */
static void on_signal(uv_signal_t *handle, int signum)
{
    struct server *server = handle->data;
    (void)signum;
    if (server->signalled) {
        worker_group_want_phase(&server->workers, WORKER_ENDING);
    }
    server->signalled = true;
    begin_drain(server);
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
    reload_now(&server->reload, server->admin, server->rules.file);
    server->workers.env.drain_timeout_ms =
        reload_newest(&server->reload)->timeouts.drain_timeout_ms;
}

static void on_handover(uv_signal_t *handle, int signum)
{
    struct server *server = handle->data;
    (void)signum;
    log_printf(server->log, LOG_WARN, "server", "handover_not_yet",
               "not yet: SIGUSR2 is to hand over to a new process; nothing was done");
}

/* Before and after the loop, when no handler is installed. */
static void ignore_signals(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of its write, not of ours */
    (void)signal(SIGXFSZ,
                 SIG_IGN); /* likewise a log or state file that has grown to RLIMIT_FSIZE */
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGUSR2, SIG_IGN);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* All workers have stopped: the control loop ends when its handles have closed. */
static void stop_control(struct server *server)
{
    if (server->ending) {
        return;
    }
    server->ending = true;
    rules_close(&server->rules);
    fleet_rates_close(&server->fleet);
    if (server->admin) {
        admin_close(server->admin, NULL, NULL); /* the loop ends with the last handle */
    }
    close_handle((uv_handle_t *)&server->notify);
    close_handle((uv_handle_t *)&server->tick);
    close_handle((uv_handle_t *)&server->drain_timeout);
    close_handle((uv_handle_t *)&server->sigterm);
    close_handle((uv_handle_t *)&server->sigint);
    close_handle((uv_handle_t *)&server->sighup);
    close_handle((uv_handle_t *)&server->sigusr2);
    ignore_signals(); /* libuv has given them back: they would kill the process on its last steps */
}

/* ---- what admin asks for ------------------------------------------------------------------- */

/* What admin shows decides calls already: every worker has taken it up. */
static const struct disc_snapshot *admin_snapshot(void *owner)
{
    struct server *server = owner;
    return rules_in_force(&server->rules, worker_group_seen(&server->workers));
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
    char error[512];
    const struct admin_context context = {
        .loop = &server->loop,
        .bootstrap = server->bootstrap,
        .log = server->log,
        .store = server->rules.store,
        .etcd = server->rules.etcd,
        .tuples = server->workers.env.tuples,
        .fleet = &server->fleet.stats,
        .workers = server->workers.env.workers_len,
        .worker_counters = server->workers.counters,
        .worker_heartbeat_ms = server->workers.heartbeats,
        .listeners_len = server->bootstrap->listeners_len,
        .listeners = server->listener_info,
        .started_unix_ms = server->started_unix_ms,
        .owner = server,
        .snapshot = admin_snapshot,
        .draining = admin_draining,
        .listening = admin_listening,
        .drain = begin_drain,
    };
    int r = admin_new(&context, &server->admin, error, sizeof error);
    if (r) {
        fatal(server, "cannot_listen", r, error);
    }
    return r == 0;
}

/* ---- start --------------------------------------------------------------------------------- */

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
    init_timer(server, &server->tick);
    init_timer(server, &server->drain_timeout);
    return catch_signal(server, &server->sigterm, on_signal, SIGTERM) &&
           catch_signal(server, &server->sigint, on_signal, SIGINT) &&
           catch_signal(server, &server->sighup, on_reload, SIGHUP) &&
           catch_signal(server, &server->sigusr2, on_handover, SIGUSR2) &&
           uv_timer_start(&server->tick, on_tick, server->options.tick_ms,
                          server->options.tick_ms) == 0;
}

/* Two processes would write one state; and SO_REUSEPORT hides a second one on the port. */
static bool lock_state(struct server *server)
{
    const char *dir = server->bootstrap->state_dir;
    int64_t pid = 0;
    char message[512];
    (void)mkdir(dir, 0750); /* it may be there, or its parent not: the lock fails then */
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
    fatal(server, "state_dir", r, message);
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

static void fill_listener_info(struct server *server)
{
    for (size_t i = 0; i < server->bootstrap->listeners_len; i++) {
        struct admin_listener_info *info = &server->listener_info[i];
        info->configured = server->bootstrap->listeners[i].listen;
        snprintf(info->address, sizeof info->address, "%s", server->workers.sockets[i].address);
    }
}

static bool start_workers(struct server *server)
{
    char error[512];
    int r = worker_group_open(&server->workers, error, sizeof error);
    if (r) {
        fatal(server, "cannot_listen", r, error);
        return false;
    }
    fill_listener_info(server);
    return true;
}

static bool start(struct server *server)
{
    if (!lock_state(server) || !start_workers(server)) {
        return false;
    }
    if (!rules_start(&server->rules) ||
        !fleet_rates_start(&server->fleet, &server->loop, server->bootstrap, server->log,
                           server->workers.env.tuples)) {
        fatal(server, "cannot_start", 0, "out of memory or descriptors for the sources of rules");
        return false;
    }
    if (!start_admin(server)) {
        return false;
    }
    int r = worker_group_start(&server->workers);
    if (r) {
        fatal(server, "cannot_start", r, uv_strerror(r));
        return false;
    }
    server->serving = true;
    log_listening(server);
    service_manager_notify("READY=1");
    return true;
}

static void release(struct server *server)
{
    worker_group_free(&server->workers);
    rules_free(&server->rules);
    tuple_table_free(server->workers.env.tuples);
    codec_templates_free(server->templates);
    if (server->state_lock >= 0) {
        state_dir_unlock(server->state_lock);
    }
    (void)uv_loop_close(&server->loop); /* every handle has closed */
    reload_done(&server->reload);
    log_free(server->log);
}

/* What everything else stands on. False: out of memory or descriptors. */
static bool init(struct server *server)
{
    const struct bootstrap *bootstrap = server->bootstrap;
    server->state_lock = -1;
    server->started_unix_ms = unix_ms();
    server->templates = codec_templates_new();
    server->workers.env = (struct worker_env){
        .bootstrap = bootstrap,
        .drain_timeout_ms = bootstrap->timeouts.drain_timeout_ms,
        .templates = server->templates,
        .tuples = tuple_table_new(bootstrap->limits.metric_routes, bootstrap->workers),
        .epoch.workers = bootstrap->workers,
        .notify_control = notify_control,
        .owner = server,
    };
    const struct rules_options rules = {.loop = &server->loop,
                                        .bootstrap = bootstrap,
                                        .log = server->log,
                                        .templates = server->templates,
                                        .offer = on_offer,
                                        .owner = server};
    reload_init(&server->reload, bootstrap, server->log);
    return rules_init(&server->rules, &rules) && server->templates && server->workers.env.tuples;
}

int server_run(const struct server_options *options)
{
    const struct bootstrap *bootstrap = options->bootstrap;
    struct server *server = calloc(1, sizeof *server);
    if (!server) {
        return EX_OSERR;
    }
    server->options = *options;
    server->bootstrap = bootstrap;
    ignore_signals();
    server->log =
        log_new(2, (enum log_level)bootstrap->log_level, bootstrap->log_text, bootstrap->node_name);
    if (!server->log || !init_loop(server)) {
        log_free(server->log);
        free(server);
        return EX_OSERR;
    }
    if (bootstrap->limits.connections_lowered) {
        log_printf(server->log, LOG_WARN, "server", "connections_lowered",
                   "limits.connections is %llu: RLIMIT_NOFILE has room for no more",
                   (unsigned long long)bootstrap->limits.connections);
    }
    if (!init(server)) {
        fatal(server, "cannot_start", 0, "out of memory");
        stop_control(server);
    } else if (!start(server)) {
        stop_control(server);
    }
    (void)uv_run(&server->loop, UV_RUN_DEFAULT); /* until stop_control() has closed everything */
    log_printf(server->log, LOG_INFO, "server", "stopped", "the process ends");
    int code = server->exit_code;
    release(server);
    free(server);
    return code;
}
