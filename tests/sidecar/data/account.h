/*
 * tests/sidecar/data/account.h: buffers with an account of their own, for tests of what keeps bytes.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_ACCOUNT_H
#define TSIDE_TESTS_SIDECAR_DATA_ACCOUNT_H

#include "sidecar/data/loop/buffers.h"

struct account {
    struct permits permits;
    struct counters counters;
    struct buffers buffers;
};

/* Opens it; buffers points into the account, which must stay where it is. */
static inline void account_open(struct account *account, uint64_t limit)
{
    *account = (struct account){.buffers = {.limit = limit}};
    account->buffers.permits = &account->permits;
    account->buffers.counters = &account->counters;
}

static inline uint64_t account_charged(const struct account *account)
{
    return permit_taken(&account->permits);
}

#endif
