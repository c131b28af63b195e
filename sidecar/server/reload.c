/*
 * sidecar/server/reload.c: see sidecar/server/reload.h.
 *
 *     bootstrap file -> findings? -> log: reload_rejected, nothing else
 *                    -> good: apply LIVE options -> read the rules file
 *                             other than at start? -> log: reload_needs_restart
 *                             -> log: reloaded
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server/reload.h"

#include "discovery/file/file_source.h"
#include "sidecar/admin/admin.h"
#include "sidecar/base/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define COMPONENT "bootstrap"

void reload_init(struct reload *reload, const struct bootstrap *started, struct log *log)
{
    *reload = (struct reload){.started = started, .log = log};
}

void reload_done(struct reload *reload)
{
    reload->newest = bootstrap_free(reload->newest);
}

const struct bootstrap *reload_newest(const struct reload *reload)
{
    return reload->newest ? reload->newest : reload->started;
}

/* ---- what differs ------------------------------------------------------------------------- */

/* Keys of one kind, "a, b"; more than a line holds are cut, which the line mentions. */
struct keys {
    bool live;
    size_t len;
    char text[LOG_LINE_MAX];
};

static void add_key(void *arg, const char *key, bool live)
{
    struct keys *keys = arg;
    if (live != keys->live) {
        return;
    }
    size_t room = sizeof keys->text - keys->len;
    int n = snprintf(keys->text + keys->len, room, "%s%s", keys->len > 0 ? ", " : "", key);
    keys->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void tell_keys(const struct reload *reload, enum log_level level, const char *event,
                      const char *message, const struct keys *keys)
{
    struct log_line line;
    if (log_begin(reload->log, &line, level, COMPONENT, event, message)) {
        log_str(&line, "options", keys->text);
        log_end(reload->log, &line);
    }
}

/* ---- reading ------------------------------------------------------------------------------ */

static void on_finding(void *arg, const char *finding)
{
    const struct reload *reload = arg;
    log_printf(reload->log, LOG_ERROR, COMPONENT, "reload_rejected", "%s", finding);
}

/* As at the start, where the limit was raised. */
static uint64_t files_allowed(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : UINT64_MAX;
}

static struct bootstrap *load(struct reload *reload)
{
    struct bootstrap *fresh = bootstrap_load(reload->started->path, on_finding, reload);
    if (fresh && !bootstrap_fit(fresh, files_allowed(), on_finding, reload)) {
        return bootstrap_free(fresh);
    }
    if (fresh && !fresh->limits.connections_set && !reload->started->limits.connections_set) {
        /* The host sets it in both files: what `workers` does to it is no difference of its own. */
        fresh->limits.connections = reload->started->limits.connections;
    }
    return fresh;
}

/* drain_timeout_ms is server.c's to apply. */
static void apply(struct reload *reload, struct bootstrap *fresh, struct admin *admin)
{
    log_set_level(reload->log, (enum log_level)fresh->log_level);
    log_set_text(reload->log, fresh->log_text);
    admin_set_hosts(admin, fresh->admin.hosts, fresh->admin.hosts_len);
    bootstrap_free(reload->newest);
    reload->newest = fresh;
}

void reload_now(struct reload *reload, struct admin *admin, struct file_source *rules)
{
    struct bootstrap *fresh = load(reload);
    if (!fresh) {
        return;
    }
    struct keys changed = {.live = true}, restart = {.live = false};
    int old_level = reload_newest(reload)->log_level;
    bootstrap_diff(reload_newest(reload), fresh, add_key, &changed);
    bootstrap_diff(reload->started, fresh, add_key, &restart);
    apply(reload, fresh, admin);
    if (rules) {
        (void)file_source_load_now(rules); /* what is wrong was logged, the last good one stays */
    }
    /* At the lower of both levels: a log that has just become quieter still shows that it
     * worked. */
    log_set_level(reload->log,
                  (enum log_level)(old_level < fresh->log_level ? old_level : fresh->log_level));
    if (restart.len > 0) {
        tell_keys(reload, LOG_WARN, "reload_needs_restart",
                  "what differs from the start and cannot change while the process runs", &restart);
    }
    tell_keys(reload, LOG_INFO, "reloaded", "the bootstrap file was read again", &changed);
    log_set_level(reload->log, (enum log_level)fresh->log_level);
}
