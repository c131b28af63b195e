/*
 * codec/base.h: reads the Base and BaseResp structs of a message that codec/scan.h has proved.
 *
 * Second, short pass over proved bytes only (never over a peer's raw bytes): it does not check
 * bounds again beyond asserting its own arithmetic. Published IDLs number Base's fields in two
 * ways; the types tell them apart (docs/specification.md, section 1).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_BASE_H
#define TSIDE_CODEC_BASE_H

#include "codec/scan.h"

/* Base.Extra: the field with the lowest id among 1, 3, 5, 6 that is a map<string,string>. */
struct codec_extra {
    bool present;
    int16_t field_id;
    uint32_t types_off; /* key type, value type, then the 4-byte count */
    uint32_t count;
    struct wire_span entries; /* all pairs, in wire form */
};

struct codec_base {
    bool has_log_id; /* field 1 is a string (last one counts) */
    struct wire_span log_id;
    bool has_caller; /* field 2 is a string */
    struct wire_span caller;
    struct codec_extra extra;
    uint32_t stop_off; /* Base's STOP byte: a new field goes in front of it */
    uint8_t types[7];  /* type of field 1..6 (last one), 0 where absent; [0] unused */
};

void codec_base_read(const uint8_t *body, struct wire_span base, struct codec_base *ret);

/* The value of the LAST entry with this key. False (ret untouched) where there is none. */
bool codec_extra_find(const uint8_t *body, const struct codec_extra *extra, const char *key,
                      size_t key_len, struct wire_span *ret_value)
    __attribute__((warn_unused_result));

/* Looks n keys up in one pass; values[i].off is 0 where keys[i] is absent (no value of a frame
 * begins at 0). */
struct codec_key {
    const char *name;
    size_t len;
};
void codec_extra_find_many(const uint8_t *body, const struct codec_extra *extra, size_t n,
                           const struct codec_key keys[], struct wire_span ret_values[]);

/* One entry after the other, in the order in which they stand. */
struct codec_extra_walk {
    const uint8_t *body;
    uint32_t pos;
    uint32_t left;
};

void codec_extra_walk_begin(struct codec_extra_walk *walk, const uint8_t *body,
                            const struct codec_extra *extra);

/* False behind the last one. */
bool codec_extra_walk_next(struct codec_extra_walk *walk, struct wire_span *ret_key,
                           struct wire_span *ret_value);

/*
 * BaseResp.StatusCode of a proved reply: field 2 (i32) of the struct in field 255 of the struct
 * in result field 0. False where any of them is absent or of another type.
 */
bool codec_base_resp_code(const uint8_t *body, const struct codec_message *message,
                          int32_t *ret_code) __attribute__((warn_unused_result));

#endif
