/*
 * sidecar/data/loop/buffers.h: owned buffers, charged to limits.buffered_bytes.
 *
 * Whatever outlives a turn of the loop is in a block from here: kept frames, replies that wait for
 * their turn, what the kernel did not take. One account for all workers. The limit acts where bytes are
 * read (intake.c asks before it reads); what was read is charged in any case.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_BUFFERS_H
#define TSIDE_SIDECAR_DATA_LOOP_BUFFERS_H

#include "sidecar/shared/counters.h"
#include "sidecar/shared/permit.h"

#include <stddef.h>

/* Set aside for every connection, up to half of the limit: what one that keeps nothing yet may read and keep
 * when the rest is used up. */
#define BUFFERS_RESERVE_BYTES 4096

struct buffers {
    struct permits *permits; /* shared by all workers */
    uint64_t limit;
    struct permits *connections; /* each has BUFFERS_RESERVE_BYTES set aside; NULL: none */
    struct counters *counters;
};

/* Whether that much may be charged now; counted where not. (Two workers that ask at the same time may
 * together go over the limit, by what each then charges.) */
bool buffers_may_charge(const struct buffers *buffers, size_t bytes);
void buffers_charge(const struct buffers *buffers, size_t bytes);
void buffers_credit(const struct buffers *buffers, size_t bytes);

/* A charged block; NULL without memory. */
void *buffers_alloc(const struct buffers *buffers, size_t bytes);
/* The same with a copy of the bytes. */
void *buffers_copy(const struct buffers *buffers, const void *bytes, size_t len);
void buffers_free(const struct buffers *buffers, void *block, size_t bytes);

#endif
