/*
 * tests/sim/sim_pipe.c: see sim_pipe.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_pipe.h"

#include "tests/sim/sim_alloc.h"

#include <string.h>

void sim_pipe_done(struct sim_pipe *pipe)
{
    sim_give(pipe->bytes);
    *pipe = (struct sim_pipe){0};
}

void sim_pipe_put(struct sim_pipe *pipe, const void *bytes, size_t len)
{
    if (len == 0) {
        return;
    }
    if (pipe->head > 0 && pipe->head + pipe->len + len > pipe->cap) {
        memmove(pipe->bytes, pipe->bytes + pipe->head, pipe->len);
        pipe->head = 0;
    }
    if (pipe->len + len > pipe->cap) {
        pipe->cap = (pipe->len + len) * 2;
        pipe->bytes = sim_retake(pipe->bytes, pipe->cap);
    }
    memcpy(pipe->bytes + pipe->head + pipe->len, bytes, len);
    pipe->len += len;
}

void sim_pipe_skip(struct sim_pipe *pipe, size_t len)
{
    pipe->head += len;
    pipe->len -= len;
    if (pipe->len == 0) {
        pipe->head = 0;
    }
}
