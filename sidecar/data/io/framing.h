/*
 * sidecar/data/io/framing.h: how messages follow each other in a stream of bytes.
 *
 * A framing puts a head in front of each message. No other file knows how long that is or what it says:
 * readers ask where the message begins and how long it is, writers leave room and have it filled.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_FRAMING_H
#define TSIDE_SIDECAR_DATA_IO_FRAMING_H

#include <stddef.h>
#include <stdint.h>

enum framing_status {
    FRAMING_MORE = 0, /* the head is not whole yet */
    FRAMING_LENGTH,   /* the message's length is known and within the limit */
    FRAMING_EMPTY,
    FRAMING_TOO_LARGE
};

struct framing {
    const char *name;
    uint8_t head_bytes; /* of the head in front of a message */
    /* Reads the head at p. *ret_len, for LENGTH alone, is the message's length. */
    enum framing_status (*head_read)(const uint8_t *p, size_t avail, uint32_t max_bytes,
                                     uint32_t *ret_len);
    /* Writes the head of a message of that length; head has head_bytes bytes. */
    void (*head_write)(uint8_t *head, uint32_t len);
};

/* TFramedTransport: a 4-byte big-endian length. */
extern const struct framing framing_framed;

#endif
