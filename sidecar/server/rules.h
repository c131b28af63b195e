/*
 * sidecar/server/rules.h: the sources of rules, the store they fill, and the snapshots made of it.
 *
 * Control thread. Sources: etcd with the last state on disk, and the rules file. The first snapshot
 * is offered when the rules are there: at once from the file alone, with the first list or the
 * state on disk where etcd is configured, or after RULES_WAIT_MS without either.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SERVER_RULES_H
#define TSIDE_SIDECAR_SERVER_RULES_H

#include "codec/templates.h"
#include "discovery/etcd/etcd_io.h"
#include "discovery/file/file_source.h"
#include "discovery/store/store.h"
#include "sidecar/base/bootstrap.h"
#include "sidecar/base/log.h"
#include "sidecar/server/snapshots.h"

#include <uv.h>

/* Calls wait for rules that long after the start (less than the default timeout_ms); then they are
 * answered no_endpoint. */
#define RULES_WAIT_MS 900
/* Keys with a loopback address that are logged one by one. */
#define RULES_LOOPBACK_LOGGED 20
/* How long one slice of compiling may keep the control loop (design, section 2). */
#define RULES_BUILD_SLICE_US 5000

struct rules_options {
    uv_loop_t *loop;
    const struct bootstrap *bootstrap; /* its state_dir is locked by this process */
    struct log *log;
    const struct codec_templates *templates;
    /* A newer snapshot is there for the workers; valid until rules_reclaim() with a newer
     * generation. */
    void (*offer)(void *owner, const struct disc_snapshot *newest);
    void *owner;
};

struct rules {
    struct rules_options options;
    struct disc_store *store;
    struct file_source *file; /* NULL: none */
    struct etcd_io *etcd;     /* NULL: none */
    struct snapshots snapshots;
    uv_idle_t build; /* active while something is to be compiled */
    uv_timer_t wait;
    bool etcd_came; /* a list, or the last state from disk */
    bool ready;     /* snapshots are offered */
    uint32_t loopback_logged;
};

/* False: out of memory; rules_close() and rules_free() are due either way. */
bool rules_init(struct rules *rules, const struct rules_options *options)
    __attribute__((warn_unused_result));
/* Opens the sources. False: out of memory or descriptors. */
bool rules_start(struct rules *rules) __attribute__((warn_unused_result));

/* The newest snapshot whose generation is `seen` at the most, and that stands for all sources;
 * NULL: nothing is known yet. */
const struct disc_snapshot *rules_in_force(const struct rules *rules, uint64_t seen);
/* Frees snapshots that no worker can hold once all have seen generation `seen`. */
void rules_reclaim(struct rules *rules, uint64_t seen);

/* Closes the sources and handles; they are gone when the loop has ended. */
void rules_close(struct rules *rules);
/* After the loop has ended and the workers are gone. */
void rules_free(struct rules *rules);

#endif
