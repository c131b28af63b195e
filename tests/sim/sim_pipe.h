/*
 * tests/sim/sim_pipe.h: bytes on their way, first in first out; grows as it must.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_PIPE_H
#define TSIDE_TESTS_SIM_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: empty. */
struct sim_pipe {
    uint8_t *bytes;
    size_t cap;
    size_t head; /* of what waits */
    size_t len;
};

void sim_pipe_done(struct sim_pipe *pipe);
void sim_pipe_put(struct sim_pipe *pipe, const void *bytes, size_t len);
/* Drops the first bytes: at most len. */
void sim_pipe_skip(struct sim_pipe *pipe, size_t len);

/* What waits, contiguous; good until the next put. NULL where nothing does. */
static inline const uint8_t *sim_pipe_bytes(const struct sim_pipe *pipe)
{
    return pipe->len > 0 ? pipe->bytes + pipe->head : NULL;
}

#endif
