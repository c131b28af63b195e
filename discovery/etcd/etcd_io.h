/*
 * discovery/etcd/etcd_io.h: etcd as a source of the store: list, watch, and the last good state on
 * disk.
 *
 * Control thread. Drives the state machine (etcd_fsm) with http_client and a timer. start() loads
 * the state on disk into the store (origin DISK) before it returns, so that calls can be answered
 * with etcd down; the watch then resumes at the state's revision and a list is made only where that
 * cannot be had.
 *
 *     io = etcd_io_new(&options);
 *     etcd_io_start(io);            on_commit from here on, the first one maybe at once
 *     etcd_io_close(io, closed, arg);
 *
 * on_commit means that the store has something to build (disc_store_build, in slices). Saving the
 * state builds, too, so that the store may publish at any time. Keys appear and go exactly as etcd
 * has them, leases beside them; but what etcd lost without an operator's word (wiped, set back,
 * another cluster, an empty space) is held: see store.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_IO_H
#define TSIDE_DISCOVERY_ETCD_ETCD_IO_H

#include <uv.h>

#include "discovery/etcd/etcd_fsm.h"
#include "discovery/resolver.h"

#define ETCD_STATE_PERIOD_MS 5000
#define ETCD_HELD_RELEASE_MS 60000 /* half of a cluster is back for so long: the rest is let go */

struct etcd_io_options { /* strings are copied */
    uv_loop_t *loop;
    struct disc_store *store;         /* borrowed; it and its owner must live until closed */
    const char *const *endpoints;     /* "http://127.0.0.1:2379" */
    uint32_t endpoints_n;             /* 1..ETCD_ENDPOINTS_MAX */
    const char *prefix[DISC_SPACES];  /* as the store has them */
    const char *state_dir;            /* there and ours (state_dir_lock); NULL: nothing on disk */
    uint64_t seed;                    /* another one in each process */
    const struct etcd_timing *timing; /* NULL: etcd_timing_default */
    uint32_t page_limit;              /* 0: ETCD_PAGE_LIMIT */
    uint32_t state_period_ms;         /* 0: ETCD_STATE_PERIOD_MS */
    uint32_t held_release_ms;         /* 0: ETCD_HELD_RELEASE_MS */
    resolver_lookup_fn lookup;        /* of names; NULL: the C library's */

    void (*on_commit)(void *owner);
    /* What an operator wants to know, one line, no newline; is_bad: a warning. May be NULL. */
    void (*note)(void *owner, bool is_bad, const char *text);
    void *owner;
};

struct etcd_io_stats {
    enum etcd_state state;
    bool watching;
    uint64_t cluster_id;
    int64_t revision;           /* applied up to here, 0: nothing */
    int64_t event_age_ms;       /* since the last change; -1: none yet */
    int64_t sync_age_ms;        /* since the last proof of being up to date; -1: none yet */
    uint64_t reconnects;        /* streams after the first */
    uint64_t held[DISC_SPACES]; /* keys in force that etcd lost without a delete */
    bool loaded;                /* a state was found on disk */
    uint64_t loaded_keys;
    uint64_t
        written_unix_ms; /* when the state on disk was, by this process or one before; 0: none */
    uint64_t state_writes;
    uint64_t state_failures;
    struct etcd_fsm_stats machine;
    uint32_t endpoint;                     /* the one in use, or tried next */
    const struct etcd_endpoint *endpoints; /* [ETCD_ENDPOINTS_MAX], borrowed until the next event */
    uint64_t lookups;                      /* of names in the URLs */
    uint64_t lookup_failures;
};

struct etcd_io;

/* NULL where libcurl cannot be set up. */
struct etcd_io *etcd_io_new(const struct etcd_io_options *options);
void etcd_io_start(struct etcd_io *io);
/* Stops, saves the state, frees; closed (may be NULL) comes from the loop. Not from on_commit. */
void etcd_io_close(struct etcd_io *io, void (*closed)(void *arg), void *arg);

/* Lets one held key go, by its whole name. False: no such key is held. */
bool etcd_io_release(struct etcd_io *io, const char *whole_key);

void etcd_io_stats(const struct etcd_io *io, struct etcd_io_stats *ret);

#endif
