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
    bool done; /* else bad */
    enum codec_error error;
    uint32_t error_off;
    bool header_done;
    struct codec_message message;
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

/* Whether two outcomes agree in all that may be relied on. */
bool feed_same(const struct feed_outcome *a, const struct feed_outcome *b);

#endif
