/*
 * tests/sim/sim_pipe.c: see sim_pipe.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_pipe.h"

#include "tests/sim/sim_alloc.h"
#include "tests/sim/sim_wire.h"

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

const uint8_t *sim_pipe_message(const struct sim_pipe *pipe, bool unframed, uint32_t *ret_len)
{
    const uint8_t *p = sim_pipe_bytes(pipe);
    if (unframed) {
        *ret_len = (uint32_t)sim_message_len(p, pipe->len);
        return *ret_len > 0 ? p : NULL;
    }
    if (pipe->len < WIRE_FRAME_LEN_BYTES || pipe->len - WIRE_FRAME_LEN_BYTES < wire_get32(p)) {
        return NULL;
    }
    *ret_len = wire_get32(p);
    return p + WIRE_FRAME_LEN_BYTES;
}

void sim_pipe_skip_message(struct sim_pipe *pipe, bool unframed, uint32_t len)
{
    sim_pipe_skip(pipe, (unframed ? 0 : WIRE_FRAME_LEN_BYTES) + len);
}
