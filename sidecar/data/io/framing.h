/*
 * sidecar/data/io/framing.h: how messages follow each other in a stream of bytes.
 *
 * A framing may put a head in front of each message. No other file knows how long that is or what it says:
 * readers ask where the message begins and how long it is, writers leave room and have it filled.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_FRAMING_H
#define TSIDE_SIDECAR_DATA_IO_FRAMING_H

#include "codec/ttheader.h"

#include <stddef.h>
#include <stdint.h>

enum framing_status {
    FRAMING_MORE = 0, /* the head is not whole yet */
    FRAMING_HEAD,     /* it is: the message follows, within the limit */
    FRAMING_EMPTY,
    FRAMING_TOO_LARGE,
    FRAMING_NO_HEAD /* what stands there is none: the stream cannot be followed */
};

/* What a head says, as far as it was read. */
struct framing_head {
    uint32_t
        bytes;     /* in front of the message; MORE: so many are wanted at least, of all there is */
    uint32_t len;  /* of the message; 0: it ends where its grammar ends */
    bool is_begun; /* of a head that is read on where it was left */
    struct codec_ttheader *ttheader; /* the reader's, of a TTHeader */
};

struct framing {
    const char *name;
    uint8_t head_bytes; /* of a head that is written */
    uint8_t head_least; /* no head that is read is shorter */
    /* Reads the head at p, or goes on with it: is_begun is false at first. */
    enum framing_status (*head_read)(const uint8_t *p, size_t avail, uint32_t max_bytes,
                                     struct framing_head *head);
    /* Writes the head of a message of that length; head has head_bytes bytes. */
    void (*head_write)(uint8_t *head, uint32_t len);
};

/* TFramedTransport: a 4-byte big-endian length. */
extern const struct framing framing_framed;
/* TBufferedTransport: nothing, one message behind the other. */
extern const struct framing framing_unframed;
/* TTHeader: a header of any length (codec/ttheader.h). What is written in front of a message is up to who sends it. */
extern const struct framing framing_ttheader;

#endif
