/*
 * discovery/store/endpoint.h: versions of endpoints, and the state that all versions of one share.
 *
 * Private to the store. Control thread only, counts included: a view that a worker lets go last is
 * freed by the control thread (see view_build.h), and its endpoints with it.
 *
 *     endpoint_table --> endpoint_shared (state) <-- version 1 (weight 10), held by an old view
 *                                                <-- version 2 (weight 0), held by the store
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STORE_ENDPOINT_H
#define TSIDE_DISCOVERY_STORE_ENDPOINT_H

#include "discovery/base/key_index.h"
#include "discovery/rules/key.h"
#include "discovery/store/store.h"

struct endpoint_table {
    const struct disc_store_options *options; /* borrowed: the hooks */
    struct key_index by_key;                  /* whole key -> struct endpoint_shared */
};

/* A service's value. */
struct service_value {
    uint32_t weight;
    char zone[DISC_NAME_MAX_BYTES + 1];
};

/* Empty text means the defaults. False with *error filled. */
bool service_value_parse(const char *text, size_t len, struct service_value *ret,
                         struct disc_error *error);

/* What endpoint_new() takes besides key and value. */
struct endpoint_source {
    enum disc_layer layer;
    int64_t mod_revision;
    int64_t lease;
    const char *text; /* as written, copied */
    size_t text_len;
};

void endpoint_table_init(struct endpoint_table *table, const struct disc_store_options *options,
                         uint64_t seed);
/* Every version must be gone. */
void endpoint_table_done(struct endpoint_table *table);

/* A new version, counted 1. Attaches state where the key has no other version. */
struct disc_endpoint *endpoint_new(struct endpoint_table *table, const char *whole_key,
                                   const struct disc_service_key *key,
                                   const struct service_value *value,
                                   const struct endpoint_source *source);
struct disc_endpoint *endpoint_ref(struct disc_endpoint *endpoint);
struct disc_endpoint *endpoint_unref(struct disc_endpoint *endpoint); /* NULL; may detach */

/* The value as written. */
const char *endpoint_text(const struct disc_endpoint *endpoint, size_t *ret_len);

#endif
