/*
 * discovery/etcd/etcd_fleet_codec.h: bodies and replies of an exchange (etcd_fleet.h). Pure.
 *
 * Understands the gateways of etcd 3.4 to 3.6: 64-bit integers as strings or numbers.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_FLEET_CODEC_H
#define TSIDE_DISCOVERY_ETCD_ETCD_FLEET_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names in an exchange: two operations each, and etcd takes 128. */
#define ETCD_FLEET_NAMES_MAX 60
/* Of more hosts than this under one name only the number is learnt. */
#define ETCD_FLEET_HOSTS_MAX 100

struct etcd_fleet_item {
    const char *name; /* in the key, as it stands; may hold slashes */
    bool tells;       /* demand is news */
    double demand;    /* 0: none any more, the key goes */
};

/* What others have told under a name. */
struct etcd_fleet_others {
    uint32_t total;
    uint32_t n; /* of demand: less than total where there are too many, or some are no numbers */
    double demand[ETCD_FLEET_HOSTS_MAX];
};

enum etcd_fleet_result {
    ETCD_FLEET_OK = 0,
    ETCD_FLEET_FAILED, /* what was to be told may or may not be */
    ETCD_FLEET_LOST    /* the lease was lost: all has to be told again, in the next exchange */
};

/* Allocated, NUL-terminated; the caller's. */
char *etcd_fleet_grant_body(int64_t ttl_s);
char *etcd_fleet_keepalive_body(int64_t lease);
char *etcd_fleet_txn_body(const char *prefix, const char *host, int64_t lease,
                          const struct etcd_fleet_item items[], uint32_t n);

/* Of a grant: the lease; of a keepalive: the same while it lives, else 0. -1: no such reply. */
int64_t etcd_fleet_grant_parse(const char *text, size_t len);
int64_t etcd_fleet_keepalive_parse(const char *text, size_t len);

/* The reply to etcd_fleet_txn_body() of the same arguments. FAILED where it is none; LOST where etcd does not know
 * the lease. */
enum etcd_fleet_result etcd_fleet_txn_parse(const char *text, size_t len, const char *host,
                                            const bool tells[], uint32_t n,
                                            struct etcd_fleet_others ret[]);

#endif
