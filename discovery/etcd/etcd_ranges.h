/*
 * discovery/etcd/etcd_ranges.h: which parts of etcd's key space are listed and watched, and whose a
 * key is.
 *
 *     prefixes                               listed                     watched
 *     /tside/rules, /tside/services          both, one after the other  /tside/          one order
 *     "" (the whole tree), /tside/services   /                          /                one order
 *     /a/rules, /b/services                  both                       both             two orders
 *
 * One watch delivers revisions in order and each transaction whole, so keys that change together
 * are seen together. Two watches (on one stream) keep that promise for each prefix, not across the
 * two: only then, for prefixes with nothing but "/" in common, where one watch would bring a
 * stranger's whole cluster. Keys between the prefixes (audit records) are delivered and ignored.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_RANGES_H
#define TSIDE_DISCOVERY_ETCD_ETCD_RANGES_H

#include "discovery/store/store.h"

#define ETCD_RANGES_MAX DISC_SPACES

struct etcd_bytes {
    const char *p;
    size_t len;
};

struct etcd_range {
    char *key; /* first key; NUL-terminated, no NUL inside */
    size_t key_len;
    char *end; /* first key behind it */
    size_t end_len;
};

struct etcd_ranges {
    char *prefix[DISC_SPACES]; /* with its '/' at the end */
    size_t prefix_len[DISC_SPACES];
    uint32_t lists;
    struct etcd_range list[ETCD_RANGES_MAX];
    uint32_t watches;
    struct etcd_range watch[ETCD_RANGES_MAX];
    uint32_t watch_of[ETCD_RANGES_MAX]; /* list -> watch that covers it */
    uint32_t list_of[DISC_SPACES];      /* space -> list that covers it */
};

/* Length of a prefix, or a URL, without the slashes at its end. */
size_t etcd_prefix_len(const char *prefix);

/* Prefixes as the store has them: "/tside/rules", maybe "". Slashes at the end do not count. */
void etcd_ranges_init(struct etcd_ranges *ranges, const char *const prefix[DISC_SPACES]);
void etcd_ranges_done(struct etcd_ranges *ranges);

/* False for a key that is below no prefix. Where both match, the longer prefix has it. */
bool etcd_ranges_locate(const struct etcd_ranges *ranges, struct etcd_bytes key,
                        enum disc_space *ret_space, struct etcd_bytes *ret_rest);

#endif
