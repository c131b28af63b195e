/*
 * sidecar/cli/check_pool.h: whether the calls that reach one cluster agree on `pool`.
 *
 * The connections to an endpoint are shared by all its callers on the host, while `pool` is resolved
 * for each tuple: where tuples disagree each call applies its own limits, which is seldom meant.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_CLI_CHECK_POOL_H
#define TSIDE_SIDECAR_CLI_CHECK_POOL_H

#include "discovery/store/store.h"

/* cluster: "Service/Cluster" as in keys. */
typedef void (*check_pool_fn)(void *arg, const char *cluster, const char *text);

/* snapshot: the store's newest, with all that was committed built. Says one sentence of each cluster
 * whose calls disagree. */
void check_pool(const struct disc_store *store, const struct disc_snapshot *snapshot,
                check_pool_fn fn, void *arg);

#endif
