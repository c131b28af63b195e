/*
 * discovery/etcd/etcd_transport.h: requests to etcd over http_client, answers as the machine's
 * events.
 *
 * One range request and one watch stream at a time. Sends, collects, cuts into lines, parses;
 * decides nothing. Events come from the loop, never from within a call, never after a cancel.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_TRANSPORT_H
#define TSIDE_DISCOVERY_ETCD_ETCD_TRANSPORT_H

#include "discovery/etcd/etcd_fsm.h"
#include "discovery/http_client.h"

struct etcd_transport_options {
    struct http_client *http;               /* borrowed */
    const struct etcd_endpoints *endpoints; /* borrowed */
    /* now_ms is not filled in. What it points to is borrowed for the call; the receiver may send,
     * cancel and free from within. */
    void (*event)(void *arg, uint32_t endpoint, const struct etcd_input *input);
    void *arg;
};

struct etcd_transport;

struct etcd_transport *etcd_transport_new(const struct etcd_transport_options *options);
struct etcd_transport *etcd_transport_free(struct etcd_transport *transport); /* cancels; NULL */

void etcd_transport_range(struct etcd_transport *transport, uint32_t endpoint,
                          const struct etcd_range_query *query, uint32_t deadline_ms);
void etcd_transport_cancel_range(struct etcd_transport *transport);

void etcd_transport_watch(struct etcd_transport *transport, uint32_t endpoint,
                          const struct etcd_range range[], const int64_t start_revision[],
                          uint32_t n);
void etcd_transport_cancel_watch(struct etcd_transport *transport);

#endif
