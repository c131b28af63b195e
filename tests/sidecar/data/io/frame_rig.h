/*
 * tests/sidecar/data/io/frame_rig.h: a frame reader in the hands of a worker that checks all it gets.
 *
 * A script is a stream of bytes and the frames that must come out of it. The rig gives the bytes to
 * the reader as the worker does: rooms where it offers some, else windows that end at a forbidden
 * page and last for one turn; frames that were borrowed are looked at again when the turn ends, and
 * only then are blocks freed.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_IO_FRAME_RIG_H
#define TSIDE_TESTS_SIDECAR_DATA_IO_FRAME_RIG_H

#include "sidecar/data/io/frame_reader.h"
#include "tests/codec/bytes.h"
#include "tests/codec/random.h"
#include "tests/support/guard.h"

#define SCRIPT_FRAMES_MAX 4096
#define RIG_READS_MAX     4
#define RIG_WINDOW_MAX    65536

struct script_frame {
    enum frame_verdict verdict; /* READY, BAD or, at the end, BROKEN */
    size_t off;                 /* in the stream */
    size_t head;                /* bytes in front of the message */
    size_t len;
    enum codec_error error;   /* of BAD */
    enum frame_broken broken; /* of BROKEN */
};

struct script {
    enum codec_scan_kind kind;
    const struct framing *framing;
    uint32_t max_bytes;
    struct bytes wire;
    size_t frames_len;
    struct script_frame frames[SCRIPT_FRAMES_MAX];
};

/* Framed. Another framing is set before anything is added: unframed, where what is bad ends the stream, or TTHeader,
 * with headers of all lengths. */
void script_init(struct script *script, enum codec_scan_kind kind);
void script_done(struct script *script);
/* One more frame with this body; what must become of it is asked of the scanner. */
void script_add(struct script *script, const void *body, size_t len);
/* A length alone, which nobody can follow. */
void script_add_length(struct script *script, uint32_t len, enum frame_broken broken);
/* A message with one string of so many bytes. */
void script_add_call(struct script *script, const char *name, size_t payload);
/* n elements of one byte each: slow to prove. */
void script_add_tiny(struct script *script, uint32_t n);

/* How the bytes arrive. Zero: all at once, as far as windows reach. */
struct rig_plan {
    size_t chunk;            /* bytes a read brings at most; 0: as many as fit */
    bool random_chunks;      /* 1 to chunk */
    size_t cut;              /* no read goes over this place in the stream; 0: none */
    unsigned reads;          /* in a turn; 0: one */
    unsigned pause_one_in;   /* frames are not taken up for a while; 0: never */
    bool read_before_resume; /* more may be read before what was kept is looked at */
    bool blocks_are_held;    /* frames that own their block live on for some turns */
};

struct rig {
    const struct script *script;
    struct permits permits;
    struct counters counters;
    struct buffers buffers;
    struct codec_scan scan;
    struct codec_ttheader ttheader;
    struct frame_env env;
    struct frame_reader reader;
    struct random random;
    struct rig_plan plan;
    struct guard windows[RIG_READS_MAX];
    unsigned reads; /* in this turn, and how many bytes each brought */
    size_t window_len[RIG_READS_MAX];
    size_t fed;  /* bytes of the stream given to the reader */
    size_t next; /* frame of the script that comes next */
    bool broken;
    bool paused;
    uint64_t most_charged;
    unsigned borrowed, owned, yields, refusals; /* how often */
    /* Of this turn: frames that are borrowed, blocks to be freed at its end. */
    size_t seen_len;
    struct {
        const uint8_t *bytes;
        size_t frame;
    } seen[SCRIPT_FRAMES_MAX];
    struct buffers_pile pile;
    /* Owned by frames that were taken. */
    size_t held_len;
    struct {
        uint8_t *block;
        const uint8_t *bytes;
        size_t frame;
    } held[SCRIPT_FRAMES_MAX];
};

void rig_init(struct rig *rig, const struct script *script, const struct rig_plan *plan,
              uint64_t seed);
/* Ends the turn and the reader; nothing may be charged then. */
void rig_done(struct rig *rig);

/* One read, of at most max bytes, without looking at them. Returns how many: 0 where no room was
 * granted or nothing is left. */
size_t rig_read(struct rig *rig, size_t max);
/* Takes up to max frames; keeps the rest. The last verdict (READY: there may be more). */
enum frame_verdict rig_take(struct rig *rig, size_t max);
void rig_end_turn(struct rig *rig);

/* The whole script by the plan. */
void rig_run(struct rig *rig);
/* rig_init, rig_run, rig_done. */
void rig_play(const struct script *script, const struct rig_plan *plan, uint64_t seed);

#endif
