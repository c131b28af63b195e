/*
 * sidecar/data/io/message.h: the bytes of one message, and the room in front of them.
 *
 *     [ room for a head | body ... ]
 *
 * Borrowed until the end of the turn, or in a block of its own. Several queues may hold pointers into a
 * borrowed body: what was borrowed is remembered, so that each of them can be moved to the block
 * (outq_rebase) when its turn to be kept comes.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_MESSAGE_H
#define TSIDE_SIDECAR_DATA_IO_MESSAGE_H

#include "sidecar/data/loop/buffers.h"

struct message {
    uint8_t *body; /* NULL: let go */
    uint32_t len;
    uint32_t head_room;  /* bytes in front of body that are the message's, too */
    uint8_t *block;      /* that body is in; NULL: borrowed */
    const uint8_t *lent; /* where body was before it had a block; NULL: never elsewhere */
};

/* Makes the bytes the message's own, once. False without memory: nothing has changed. */
static inline bool message_own(struct message *message, const struct buffers *buffers)
{
    if (message->block) {
        return true;
    }
    uint8_t *from = message->body - message->head_room;
    uint8_t *block = buffers_copy(buffers, from, (size_t)message->head_room + message->len);
    if (!block) {
        return false;
    }
    message->lent = message->body;
    message->block = block;
    message->body = block + message->head_room;
    return true;
}

/* Lets go of the bytes. */
static inline void message_done(struct message *message, const struct buffers *buffers)
{
    buffers_free(buffers, message->block);
    message->block = NULL;
    message->body = NULL;
}

#endif
