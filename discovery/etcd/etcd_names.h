/*
 * discovery/etcd/etcd_names.h: the endpoints: how they answer, and the names in etcd's URLs.
 *
 * Control thread. Names are looked up at the start and whenever one of their addresses fails, at
 * most once in ETCD_LOOKUP_PAUSE_MS each; not while all is well.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_NAMES_H
#define TSIDE_DISCOVERY_ETCD_ETCD_NAMES_H

#include "discovery/etcd/etcd_endpoints.h"
#include "discovery/resolver.h"

#define ETCD_LOOKUP_PAUSE_MS 1000

struct etcd_names_options {
    uv_loop_t *loop;
    const char *const *urls;     /* copied */
    uint32_t urls_n;             /* 1..ETCD_ENDPOINTS_MAX */
    resolver_lookup_fn lookup;   /* NULL: the C library's */
    void (*answered)(void *arg); /* from the loop: endpoints may have come, and is_pending ended */
    void *arg;
    void (*note)(void *owner, bool is_bad, const char *text); /* as in etcd_io.h */
    void *owner;
};

struct etcd_names;

/* NULL where the loop has no handle left. */
struct etcd_names *etcd_names_new(const struct etcd_names_options *options);
struct etcd_endpoints *etcd_names_endpoints(struct etcd_names *names); /* borrowed */

/* Looks every name up. */
void etcd_names_start(struct etcd_names *names);
/* A name was not answered even once, with addresses or without. */
bool etcd_names_is_pending(const struct etcd_names *names);
/* The endpoint answered, or failed, which is noted once per outage. Where it failed, its name, if
 * it has one, is looked up: it may have other addresses by now. */
void etcd_names_ok(struct etcd_names *names, uint32_t number);
void etcd_names_failed(struct etcd_names *names, uint32_t number, const char *text);

uint64_t etcd_names_lookups(const struct etcd_names *names);
uint64_t etcd_names_failures(const struct etcd_names *names); /* without an address, or refused */

/* answered is not called any more; closed comes from the loop. */
void etcd_names_close(struct etcd_names *names, void (*closed)(void *arg), void *arg);

#endif
