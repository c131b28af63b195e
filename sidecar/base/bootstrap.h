/*
 * sidecar/base/bootstrap.h: the bootstrap file, read and checked.
 *
 * bootstrap.c reads it through discovery/file/yaml_reader and the table options.def; every finding is
 * reported at once, with file, line, column, and a suggestion for a misspelt name. What
 * docs/specification.md, section 6, has and is not built yet is refused with a clear error.
 * Immutable after loading; any thread.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_BOOTSTRAP_H
#define TSIDE_SIDECAR_BASE_BOOTSTRAP_H

#include "sidecar/base/claims.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BOOTSTRAP_LISTENERS_MAX 64
#define BOOTSTRAP_WORKERS_MAX   64
#define BOOTSTRAP_ETCD_MAX      16
#define BOOTSTRAP_HOSTS_MAX     32

/* What callers may speak: bits, in the order of the option's words. */
enum listener_accept {
    LISTENER_ACCEPT_FRAMED = 1,
    LISTENER_ACCEPT_UNFRAMED = 2,
    LISTENER_ACCEPT_TTHEADER = 4
};

struct bootstrap_listener {
    char *listen; /* as written */
    bool is_unix;
    char *host;           /* an IP address without brackets; unix: the path */
    uint16_t port;        /* 0: the kernel chooses */
    uint32_t mode;        /* unix: file mode, 0 where not set */
    char *caller_service; /* "" where not set; likewise below */
    char *caller_cluster;
    char *callee_service;
    char *callee_cluster;
    bool any_order;       /* replies: any_order */
    uint32_t accept;      /* enum listener_accept bits */
    int extra_id;         /* 0: auto */
    bool fill_log_id;     /* default true */
    bool strip_service;   /* callees get the method's name without its "Service:" */
    char *deadline_entry; /* default RPC_PERSIST_DDL_REMAIN_TIME */
    uint32_t deadline_entry_len;
    bool deadline_rewrite; /* default true */
    bool deadline_shared_clock;
    bool deadline_chain_stop; /* default true */
    struct claims uids;       /* unix */
};

struct bootstrap {
    char *path; /* of the file itself; NULL where it was built in */
    char *node_name;
    char *node_zone;
    uint32_t workers; /* resolved: at least 1 */
    size_t listeners_len;
    struct bootstrap_listener listeners[BOOTSTRAP_LISTENERS_MAX];
    char *rules_file; /* absolute; NULL where not set */
    struct {
        size_t endpoints_len; /* 0: no etcd */
        char *endpoints[BOOTSTRAP_ETCD_MAX];
        char *rules_prefix;
        char *services_prefix;
        char *fleet_prefix;
    } etcd;
    char *state_dir;
    struct {
        char *listen; /* NULL: none */
        char *host;
        uint16_t port;
        char *socket; /* absolute path, NULL: none */
        size_t hosts_len;
        char *hosts[BOOTSTRAP_HOSTS_MAX];
    } admin;
    struct {
        uint64_t frame_bytes;
        uint64_t connections;
        bool connections_set;     /* in the file: not lowered by bootstrap_fit() */
        bool connections_lowered; /* by bootstrap_fit() */
        /* No option: the descriptors that bootstrap_fit() leaves for connections to callees, at least as
         * many as for callers'. */
        uint64_t upstream_connections;
        uint64_t calls;
        uint64_t buffered_bytes;
        uint64_t pipelined_calls;
        uint64_t metric_routes;
        uint64_t tuples;
    } limits;
    struct {
        uint64_t frame_timeout_ms;
        uint64_t idle_ms;
        uint64_t write_stall_ms;
        uint64_t drain_timeout_ms;
    } timeouts;
    int log_level; /* enum log_level */
    bool log_text; /* format: text */
};

/* One finding: "file:line:col: message". */
typedef void (*bootstrap_finding_fn)(void *arg, const char *finding);

/* NULL where the file cannot be read or has a finding; each was reported. */
struct bootstrap *bootstrap_load(const char *path, bootstrap_finding_fn report, void *arg)
    __attribute__((warn_unused_result));
struct bootstrap *bootstrap_free(struct bootstrap *bootstrap);
/* For `tside check` alone: what could be read is returned beside the findings, *ret_good is whether
 * there were none. NULL: out of memory. */
struct bootstrap *bootstrap_read(const char *path, bootstrap_finding_fn report, void *arg,
                                 bool *ret_good) __attribute__((warn_unused_result));

/* live: SIGHUP changes it. */
typedef void (*bootstrap_diff_fn)(void *arg, const char *key, bool live);

/* Every key whose value differs, in the order of options.def: "limits.calls",
 * "listeners[0].replies"; "listeners" where their number differs. */
void bootstrap_diff(const struct bootstrap *a, const struct bootstrap *b, bootstrap_diff_fn fn,
                    void *arg);

/* Whether the process can do with so many descriptors. limits.connections is lowered to what fits
 * where it is the default; where the file says it, or nothing fits, false, reported. Until it was
 * called, limits.upstream_connections is none. */
bool bootstrap_fit(struct bootstrap *bootstrap, uint64_t files, bootstrap_finding_fn report,
                   void *arg) __attribute__((warn_unused_result));

/* All keys as a Markdown table, for the manual. */
void bootstrap_print_reference(FILE *out);

#endif
