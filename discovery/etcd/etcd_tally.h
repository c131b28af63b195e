/*
 * discovery/etcd/etcd_tally.h: how many keys a space holds at which revision, by what etcd sent.
 *
 * The audit asks etcd for the count of a listed range and its newest mod_revision; the answer holds
 * at some revision that may lie behind or before what the watch has brought, so the tally remembers
 * its last revisions. Counting needs no key set: a put whose create_revision is its mod_revision
 * adds a key, a delete event removes one.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_TALLY_H
#define TSIDE_DISCOVERY_ETCD_ETCD_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#define ETCD_TALLY_LOG 64

struct etcd_tally {
    int64_t count;
    int64_t newest; /* revision of the last change in the space */
    uint32_t n;     /* entries in the log, the oldest overwritten when it is full */
    uint32_t head;  /* the newest one */
    struct {
        int64_t revision;
        int64_t count;
    } log[ETCD_TALLY_LOG];
};

void etcd_tally_set(struct etcd_tally *tally, int64_t count, int64_t newest);
/* A change of `delta` keys at a revision not below the newest. */
void etcd_tally_add(struct etcd_tally *tally, int64_t revision, int64_t delta);
/* What held at this revision; false where that is forgotten. */
bool etcd_tally_at(const struct etcd_tally *tally, int64_t revision, int64_t *ret_count,
                   int64_t *ret_newest);

#endif
