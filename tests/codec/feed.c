/*
 * tests/codec/feed.c: see feed.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/feed.h"

#include <stdlib.h>
#include <string.h>

#define AMPLE SIZE_MAX

/* Runs until the scanner wants more than these bytes; true where it is done or bad. */
static bool run(struct codec_scan *scan, struct guard *guard, const uint8_t *body, size_t avail,
                size_t budget)
{
    const uint8_t *copy = guard_copy(guard, body, avail);

    for (size_t turns = 0; turns <= avail + 2; turns++) {
        switch (codec_scan_run(scan, copy, avail, budget == AMPLE ? avail + 1 : budget)) {
        case CODEC_SCAN_MORE:
            return false;
        case CODEC_SCAN_DONE:
        case CODEC_SCAN_BAD:
            return true;
        default:
            break; /* yielded: goes on without new bytes */
        }
    }
    abort(); /* a turn without progress */
}

static struct feed_outcome outcome_of(const struct codec_scan *scan)
{
    return (struct feed_outcome){
        .done = scan->error == CODEC_ERROR_NONE,
        .len = scan->error == CODEC_ERROR_NONE ? codec_scan_len(scan) : 0,
        .error = scan->error,
        .error_off = scan->error_off,
        .header_done = scan->header_done,
        .message = scan->message,
    };
}

struct feed_outcome feed_steps(struct guard *guard, enum codec_scan_kind kind, const uint8_t *body,
                               size_t len, size_t step, size_t budget)
{
    struct codec_scan scan;

    /* Whatever was in the memory before must not matter. */
    memset(&scan, 0xa5, sizeof scan);
    codec_scan_begin(&scan, kind, (uint32_t)len);
    for (size_t avail = step < len ? step : len;;
         avail += step < len - avail ? step : len - avail) {
        if (run(&scan, guard, body, avail, budget)) {
            return outcome_of(&scan);
        }
        if (avail == len) {
            abort(); /* more is wanted than the frame has */
        }
    }
}

struct feed_outcome feed_whole(struct guard *guard, enum codec_scan_kind kind, const uint8_t *body,
                               size_t len)
{
    return feed_steps(guard, kind, body, len, len, AMPLE);
}

struct feed_outcome feed_cut(struct guard *guard, enum codec_scan_kind kind, const uint8_t *body,
                             size_t len, size_t cut)
{
    struct codec_scan scan;

    memset(&scan, 0x5a, sizeof scan);
    codec_scan_begin(&scan, kind, (uint32_t)len);
    if (!run(&scan, guard, body, cut, AMPLE) && !run(&scan, guard, body, len, AMPLE)) {
        abort();
    }
    return outcome_of(&scan);
}

struct feed_outcome feed_unframed(struct guard *guard, enum codec_scan_kind kind,
                                  const struct feed_bytes *bytes, size_t step, size_t budget)
{
    struct codec_scan scan;

    memset(&scan, 0xa5, sizeof scan);
    codec_scan_begin_unframed(&scan, kind, bytes->max_bytes);
    for (size_t avail = step < bytes->len ? step : bytes->len;;
         avail += step < bytes->len - avail ? step : bytes->len - avail) {
        if (run(&scan, guard, bytes->p, avail, budget)) {
            return outcome_of(&scan);
        }
        if (avail == bytes->len) {
            struct feed_outcome unfinished = outcome_of(&scan);
            unfinished.done = false;
            unfinished.wants_more = true;
            unfinished.len = 0;
            return unfinished;
        }
    }
}

static bool same_span(struct wire_span a, struct wire_span b)
{
    return a.off == b.off && a.len == b.len;
}

static bool same_header(const struct codec_message *a, const struct codec_message *b)
{
    return a->type == b->type && a->seqid == b->seqid && a->seqid_off == b->seqid_off &&
           same_span(a->name, b->name) && a->args_off == b->args_off;
}

static bool same_body(const struct codec_message *a, const struct codec_message *b)
{
    return a->has_base == b->has_base &&
           (!a->has_base ||
            (a->base_field_id == b->base_field_id && same_span(a->base, b->base))) &&
           a->has_field == b->has_field &&
           (!a->has_field || (a->field_id == b->field_id && a->field_type == b->field_type &&
                              same_span(a->field, b->field)));
}

bool feed_same(const struct feed_outcome *a, const struct feed_outcome *b)
{
    return a->done == b->done && a->wants_more == b->wants_more && a->len == b->len &&
           a->error == b->error && a->error_off == b->error_off &&
           a->header_done == b->header_done &&
           (!a->header_done || same_header(&a->message, &b->message)) &&
           (!a->done || same_body(&a->message, &b->message));
}
