/*
 * tests/support/fake_etcd.h: an HTTP server in the test's own loop that misbehaves as the test sets
 * it.
 *
 * One behaviour for all connections at a time. It reads a request to the end of its body, then
 * answers with `reply` the way the mode says. Not a gateway: replies are the test's bytes.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SUPPORT_FAKE_ETCD_H
#define TSIDE_TESTS_SUPPORT_FAKE_ETCD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum fake_mode {
    FAKE_WHOLE = 0, /* in one piece; the connection stays */
    FAKE_DRIP,      /* a byte a turn of the loop */
    FAKE_CUT,       /* half of it, then the connection is closed */
    FAKE_RESET,     /* the connection is reset instead */
    FAKE_SILENT,    /* never */
    FAKE_OPEN       /* what there is, and the body's end stays open: fake_etcd_send() adds */
};

struct fake_etcd {
    uv_loop_t *loop;
    uv_tcp_t server;
    enum fake_mode mode;
    const char *reply; /* all of it, head too, or a body with FAKE_OPEN (chunked here) */
    char url[64];
    char request[8192];   /* the last one, head and body */
    uint32_t connections; /* so far */
    uint32_t open;        /* now */
    uint32_t requests;
    struct fake_conn *conns;
};

void fake_etcd_start(struct fake_etcd *fake, uv_loop_t *loop);
/* A chunk to every connection that has asked. */
void fake_etcd_send(struct fake_etcd *fake, const char *bytes, size_t len);
/* The end of the open bodies, in good order. */
void fake_etcd_end(struct fake_etcd *fake);
void fake_etcd_stop(struct fake_etcd *fake); /* run the loop afterwards */

#endif
