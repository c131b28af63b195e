/*
 * discovery/etcd/etcd_endpoints.h: the addresses that etcd may be at: every one of every URL's
 * host.
 *
 * A URL with an IP address is one endpoint. A name is as many as it has addresses, each tried,
 * judged and shown by itself; before they are known, the name as it stands is one. Endpoints have
 * numbers that stay theirs while they are here. Pure: etcd_io does the lookups.
 *
 * An address that a name has no more stays while it answers (a DNS server may give a few of many)
 * and goes when it fails. An empty answer changes nothing.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_ENDPOINTS_H
#define TSIDE_DISCOVERY_ETCD_ETCD_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ETCD_ENDPOINTS_MAX     64
#define ETCD_ADDRESS_MAX_BYTES 48

struct etcd_endpoint {
    const char *url;                      /* NULL: nobody has the number */
    char address[ETCD_ADDRESS_MAX_BYTES]; /* of the name in url; "": url is taken as it stands */
    uint32_t source;                      /* number of the URL */
    bool is_listed;                       /* the name has it, by the last answer */
    bool tried;
    bool ok;             /* its last answer was one, of the known cluster */
    uint64_t cluster_id; /* of its last answer; 0: none yet */
    uint64_t failures;
    char last_error[200]; /* "" if there never was one */
    uint64_t last_error_unix_ms;
};

struct etcd_endpoints {
    uint32_t sources; /* URLs */
    char *url[ETCD_ENDPOINTS_MAX];
    char *name[ETCD_ENDPOINTS_MAX]; /* host of the URL; NULL: it is an IP address */
    struct etcd_endpoint endpoint[ETCD_ENDPOINTS_MAX];
    uint32_t next;     /* numbers are given out in turn: none comes back at once */
    uint64_t left_out; /* addresses for which there was no number */
};

/* Copies the URLs, 1..ETCD_ENDPOINTS_MAX of them; slashes at the end do not count. */
void etcd_endpoints_init(struct etcd_endpoints *endpoints, const char *const urls[], uint32_t n);
void etcd_endpoints_done(struct etcd_endpoints *endpoints);

/* The name has these addresses now. */
void etcd_endpoints_resolved(struct etcd_endpoints *endpoints, uint32_t source,
                             const char (*address)[ETCD_ADDRESS_MAX_BYTES], size_t n);

/* Lets those go that no name has any more and that do not answer. */
void etcd_endpoints_prune(struct etcd_endpoints *endpoints);

/* The numbers in use, ascending; returns how many. */
uint32_t etcd_endpoints_numbers(const struct etcd_endpoints *endpoints,
                                uint32_t ret[ETCD_ENDPOINTS_MAX]);

#endif
