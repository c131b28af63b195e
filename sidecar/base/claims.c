/*
 * sidecar/base/claims.c: see claims.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool claims_parse_uid(const char *text, uint32_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
        n >= UINT32_MAX) { /* the last one is no uid: (uid_t)-1 */
        return false;
    }
    *ret = (uint32_t)n;
    return true;
}

static bool has(const struct claims *claims, int64_t uid, const char *from, size_t len)
{
    for (uint32_t i = 0; i < claims->len; i++) {
        const struct claim *claim = &claims->items[i];
        if (claim->uid == uid && strlen(claim->from) == len &&
            memcmp(claim->from, from, len) == 0) {
            return true;
        }
    }
    return false;
}

int claims_add(struct claims *claims, uint32_t uid, const char *from)
{
    if (has(claims, uid, from, strlen(from))) {
        return -EEXIST;
    }
    if (claims->len == CLAIMS_MAX) {
        return -E2BIG;
    }
    struct claim *items = realloc(claims->items, (claims->len + 1) * sizeof *items);
    if (!items) {
        return -ENOMEM;
    }
    claims->items = items;
    items[claims->len] = (struct claim){.uid = uid, .from = strdup(from)};
    if (!items[claims->len].from) {
        return -ENOMEM;
    }
    claims->len++;
    return 0;
}

bool claims_allow(const struct claims *claims, int64_t uid, const char *from, size_t len)
{
    return !claims->set || has(claims, uid, from, len);
}

bool claims_equal(const struct claims *a, const struct claims *b)
{
    bool equal = a->set == b->set && a->len == b->len;
    for (uint32_t i = 0; equal && i < a->len; i++) { /* no pair stands twice */
        const struct claim *claim = &a->items[i];
        equal = has(b, claim->uid, claim->from, strlen(claim->from));
    }
    return equal;
}

void claims_done(struct claims *claims)
{
    for (uint32_t i = 0; i < claims->len; i++) {
        free(claims->items[i].from);
    }
    free(claims->items);
    *claims = (struct claims){0};
}
