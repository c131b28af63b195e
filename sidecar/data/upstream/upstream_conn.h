/*
 * sidecar/data/upstream/upstream_conn.h: one connection to a callee.
 *
 * Made by the pool for a call (mode `pool`: one call in flight) or for ONEWAY messages, which share
 * it. upstream_fsm.h says what it does about each event. It holds one permit of its endpoint's
 * connections from birth to close; its memory goes in the handle's close callback.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_CONN_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_CONN_H

#include "sidecar/data/call/call.h"
#include "sidecar/data/io/intake.h"
#include "sidecar/data/io/stream.h"
#include "sidecar/data/upstream/upstream_fsm.h"

#define UPSTREAM_MAGIC 0x09577ea3u

struct endpoint_pool;

struct upstream_conn {
    uint32_t magic;
    enum upstream_state state;
    struct worker *worker;
    struct endpoint_pool *pool;
    struct stream stream;
    struct intake intake;
    struct list all;     /* worker->upstreams */
    struct list idle;    /* pool->idle */
    struct call *call;   /* bound while connecting, in flight while busy; NULL: none */
    struct list oneways; /* struct call.waits: waiting for the connection, then being sent */
    bool oneway;
    bool reading;
    bool counted_idle;    /* holds a permit of endpoint->idle */
    bool tainted;         /* more came than was asked for: not to be used again */
    int ended;            /* EOF or an error that was read while a reply is still being proved */
    bool reset;           /* to be closed with a reset */
    size_t dropped_bytes; /* of the read that BYTES reports, where no call waits for them */
    uint32_t idle_ms;     /* of the last call's pool configuration; likewise max_idle */
    uint32_t max_idle;
    int status;         /* libuv's, of what ended it */
    enum reason reason; /* why it failed: connect_failed, connect_timeout, upstream_protocol... */
    const char *detail; /* as in struct call, likewise below */
    int64_t detail_number;
    const char *cause;
    struct worker_timer timer; /* connecting, then idle */
    uv_connect_t connect;
};

/* A call takes it; its configuration holds from now on. */
void upstream_conn_bind(struct upstream_conn *conn, struct call *call);

/* Begins connecting; the permit is the connection's from now on. 0, or a libuv error where that fails at
 * once: then the permit is still the caller's. */
int upstream_conn_new(struct endpoint_pool *pool, bool oneway, uint32_t connect_timeout_ms,
                      struct upstream_conn **ret);

void upstream_conn_event(struct upstream_conn *conn, enum upstream_event event);
void upstream_conn_on_timer(struct upstream_conn *conn);

/* Back-pressure: the session of the call in flight does not take its replies, or takes them again. */
void upstream_conn_pause(struct upstream_conn *conn);
void upstream_conn_resume(struct upstream_conn *conn);

#endif
