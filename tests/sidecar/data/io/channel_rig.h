/*
 * tests/sidecar/data/io/channel_rig.h: a channel over one end of a socket pair with a small buffer.
 *
 * A worker on a libuv loop whose turns the test makes, and ends: channels that count what they
 * report, with the test as their peer. What they send must be letters(), each place its own.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_IO_CHANNEL_RIG_H
#define TSIDE_TESTS_SIDECAR_DATA_IO_CHANNEL_RIG_H

#include "sidecar/data/io/channel.h"
#include "sidecar/data/io/transport_uv.h"

/* A worker whose turns the test makes. */
struct host {
    struct bootstrap bootstrap;
    struct worker_env env;
    struct worker *worker;
};

struct end {
    struct host *host;
    struct channel channel;
    int peer;    /* the other side of the pair; -1: closed */
    size_t fits; /* what the socket takes at once, about */
    bool pins;
    bool reads_in_pin;
    bool takes; /* messages; else they are kept */
    bool closed;
    uint8_t *behind;
    unsigned progress, ended, pinned, messages, starved;
    int status;
    uint64_t sent_at_progress;
    uint64_t received; /* by the peer */
};

struct host *host_new(void);
/* When its ends have gone; nothing may be charged then. */
void host_free(struct host *host);
/* Lets libuv report whatever there is. */
void turn(struct host *host);
/* Sends what is queued. */
void flush(struct host *host);
/* To limits.buffered_bytes. */
uint64_t charged(const struct host *host);

/* An end without heads in front of its messages: the stream is what was pushed. */
struct end *end_new(struct host *host);
struct end *end_with(struct host *host, const struct framing *framing);
/* Closes it, waits until it has closed, and frees it. */
void end_free(struct end *end);
/* The peer closes. */
void hang_up(struct end *end);

/* The letters of a long text, from this place on; to be freed. */
uint8_t *letters(uint64_t from, size_t len);
/* What has arrived at the peer, up to max bytes: must be the letters in their order. */
size_t receive(struct end *end, size_t max);
/* A message that is borrowed until the turn ends. */
void push(struct end *end, uint8_t *bytes, size_t len);
/* Flushes, receives and lets libuv report, until so much has arrived in all. */
void pump(struct end *end, uint64_t total);

#endif
