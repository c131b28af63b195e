/*
 * sidecar/base/claims.h: listeners[].uids: which From the peer of a unix connection may claim.
 *
 * Immutable once the bootstrap file is read; any thread.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_CLAIMS_H
#define TSIDE_SIDECAR_BASE_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLAIMS_MAX 1024 /* pairs of a uid and a name, per listener */

struct claim {
    uint32_t uid;
    char *from;
};

struct claims {
    bool set; /* false: any peer may claim any From; true: what is not here is not allowed */
    uint32_t len;
    struct claim *items; /* [len] */
};

/* Digits alone; false where they make no uid. */
bool claims_parse_uid(const char *text, uint32_t *ret) __attribute__((warn_unused_result));
/* Copies from. 0; -EEXIST where the pair is there already, -E2BIG, -ENOMEM. */
int claims_add(struct claims *claims, uint32_t uid, const char *from)
    __attribute__((warn_unused_result));
/* uid -1: not known, may claim nothing. */
bool claims_allow(const struct claims *claims, int64_t uid, const char *from, size_t len);
/* The same pairs, in any order. */
bool claims_equal(const struct claims *a, const struct claims *b);
/* Frees what the pairs hold; claims is as if never set. */
void claims_done(struct claims *claims);

#endif
