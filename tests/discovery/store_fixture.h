/*
 * store_fixture.h: a store whose snapshots land here, and short words for what tests do with it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_STORE_FIXTURE_H
#define TSIDE_TESTS_STORE_FIXTURE_H

#include "discovery/store/store.h"

#define NOW_MS 1700000000000u

struct fixture {
    struct codec_templates *templates;
    struct disc_store *store;
    struct disc_snapshot *snapshot; /* the last one published */
    int published;
    bool attach_fails; /* as out of memory */
    int attached;      /* hooks called */
    int detached;
    int rejected;
    int loopback;
};

void fixture_begin(struct fixture *fixture, const char *rules_prefix);
void fixture_end(struct fixture *fixture); /* frees snapshot, then store */

void fixture_put(struct fixture *fixture, enum disc_layer layer, enum disc_space space,
                 const char *key, const char *text, int64_t revision);
void fixture_delete(struct fixture *fixture, enum disc_layer layer, enum disc_space space,
                    const char *key);
/* Commits and builds to the end. */
void fixture_commit(struct fixture *fixture, enum disc_layer layer, int64_t revision);

/* begin, put, commit: etcd layer; text NULL deletes. */
void fixture_etcd(struct fixture *fixture, enum disc_space space, const char *key, const char *text,
                  int64_t revision);
void fixture_file(struct fixture *fixture, enum disc_space space, const char *key,
                  const char *text);

/* "From/FromCluster/To/ToCluster/Method"; the names live in buf. */
struct disc_tuple fixture_tuple(const char *text, char *buf);
#define FIXTURE_TUPLE_BUF (DISC_NAMES * DISC_NAME_MAX_BYTES)

/* Resolves against the last snapshot. */
void fixture_resolve(const struct fixture *fixture, const char *tuple, struct disc_resolution *ret);
int64_t fixture_timeout(const struct fixture *fixture, const char *tuple);

/* NULL where there is none. */
const struct disc_cluster *fixture_cluster(const struct fixture *fixture, const char *service,
                                           const char *cluster);

#endif
