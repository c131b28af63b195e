/*
 * sidecar/admin/admin.h: everything that lets people look inside; control thread only.
 *
 * admin reads the data plane through sidecar/shared and snapshots, never a session. What it needs
 * of the process is handed over in `struct admin_context` by server.c and stays valid until
 * admin_close() has completed.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_ADMIN_ADMIN_H
#define TSIDE_SIDECAR_ADMIN_ADMIN_H

#include "discovery/store/snapshot.h"
#include "discovery/store/store.h"
#include "sidecar/base/bootstrap.h"
#include "sidecar/base/log.h"
#include "sidecar/shared/counters.h"
#include "sidecar/shared/tuple_state.h"

#include <uv.h>

struct etcd_io;     /* discovery/etcd/etcd_io.h */
struct fleet_stats; /* sidecar/shared/fleet_stats.h */

struct admin_listener_info {
    const char *configured; /* as in the bootstrap file */
    char address[128];      /* as bound: the kernel's port, the unix path */
};

struct admin_context {
    uv_loop_t *loop;
    const struct bootstrap *bootstrap;
    struct log *log;
    struct disc_store *store;
    struct etcd_io *etcd; /* NULL: none configured */
    struct tuple_table *tuples;
    const struct fleet_stats *fleet; /* NULL: nothing is shared */
    uint32_t workers;
    const struct counters *const *worker_counters;      /* [workers] */
    const _Atomic uint64_t *const *worker_heartbeat_ms; /* [workers], on uv_now's clock */
    size_t listeners_len;
    const struct admin_listener_info *listeners;
    uint64_t started_unix_ms;

    /* What changes; called with owner. */
    void *owner;
    const struct disc_snapshot *(*snapshot)(void *owner); /* the newest published; NULL: none */
    bool (*draining)(void *owner);
    bool (*listening)(void *owner);
    void (*drain)(void *owner); /* POST /api/v1/drain: as SIGTERM */
};

struct admin;

/* Opens admin.listen and admin.socket of the bootstrap file. 0, or a negative errno with error
 * filled: "admin.socket /run/tside/admin.sock: Permission denied". */
int admin_new(const struct admin_context *context, struct admin **ret, char *error,
              size_t error_cap) __attribute__((warn_unused_result));
/* Address of the TCP listener as bound ("127.0.0.1:43121"), "" where none. */
const char *admin_address(const struct admin *admin);
/* admin.hosts from now on; borrowed until they are set again or admin is closed. */
void admin_set_hosts(struct admin *admin, char *const hosts[], size_t hosts_len);
void admin_close(struct admin *admin, void (*closed)(void *owner), void *owner);

/* Writes the access log's line of one record (shared/record.h). */
struct record_call;
void access_log_write(struct log *log, const struct record_call *record);

#endif
