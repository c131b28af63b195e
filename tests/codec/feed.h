/*
 * tests/codec/feed.h: gives a message to the scanner in every way a network can.
 *
 * The bytes that have arrived always end at a forbidden page, and move from one call to the next.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_CODEC_FEED_H
#define TSIDE_TESTS_CODEC_FEED_H

#include "codec/scan.h"
#include "tests/support/guard.h"

struct feed_outcome {
    bool done;       /* else bad */
    bool wants_more; /* neither: unframed bytes that end within a message */
    uint32_t len;    /* done: the message's */
    enum codec_error error;
    uint32_t error_off;
    bool header_done;
    struct codec_message message;
};

/* What a connection brings, and the limit of a message. */
struct feed_bytes {
    const uint8_t *p;
    size_t len;
    uint32_t max_bytes;
};

/* All at once, within a budget that suffices. */
struct feed_outcome feed_whole(struct guard *guard, enum codec_scan_kind kind, const uint8_t *body,
                               size_t len);

/* step more bytes each time, at most budget of them examined in a call. */
struct feed_outcome feed_steps(struct guard *guard, enum codec_scan_kind kind, const uint8_t *body,
                               size_t len, size_t step, size_t budget);

/* In two pieces. */
struct feed_outcome feed_cut(struct guard *guard, enum codec_scan_kind kind, const uint8_t *body,
                             size_t len, size_t cut);

/* As feed_steps(), without a frame: what is there may end within the message or go on behind it. */
struct feed_outcome feed_unframed(struct guard *guard, enum codec_scan_kind kind,
                                  const struct feed_bytes *bytes, size_t step, size_t budget);

/* Whether two outcomes agree in all that may be relied on. */
bool feed_same(const struct feed_outcome *a, const struct feed_outcome *b);

#endif
