/*
 * sidecar/data/upstream/lease.h: one use of a connection: asked for, waited for, held, given back.
 *
 * The layer above (an attempt) embeds it. What happens to it is news: bits that are set, and its event
 * posted; nothing above is called. It ends by a reply, by a failure (both come as news: then the lease
 * holds nothing any more), by SENT of a ONEWAY message, or by lease_end().
 *
 *     NONE --> QUEUED --> CONNECTING --> READY --> SENDING --> SENT --> NONE
 *        \______________________________^  (an idle connection: at once)
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_LEASE_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_LEASE_H

#include "discovery/rules/tuple.h"
#include "sidecar/base/reason.h"
#include "sidecar/data/io/message.h"
#include "sidecar/data/loop/worker.h"

#include <sys/uio.h>

struct endpoint_state;
struct pool;
struct pool_tenant;
struct route;
struct upstream_conn;

/* What is to be sent, and on whose account; of a call, shared by its attempts. */
struct upstream_request {
    struct message message;    /* body NULL: let go, cannot be sent again */
    const struct route *route; /* whose limits hold, and the method that the reply must name */
    struct disc_str prefix;    /* "Service" of a message named "Service:method"; p NULL: none */
    const void *caller;        /* the same for calls of one connection; compared, never followed */
    bool oneway;               /* nothing will come back */
};

enum lease_state {
    LEASE_NONE = 0,
    LEASE_QUEUED,     /* waits for a permit or a connection */
    LEASE_CONNECTING, /* the connection is being made */
    LEASE_READY,      /* holds one, has sent nothing */
    LEASE_SENDING,
    LEASE_SENT
};

enum lease_news {
    LEASE_NEWS_READY = 1, /* a connection is there: lease_send() */
    LEASE_NEWS_STUCK = 2, /* the kernel did not take all within the turn */
    LEASE_NEWS_SENT = 4,  /* it has taken the last byte */
    LEASE_NEWS_REPLY = 8, /* in reply */
    LEASE_NEWS_FAILED = 16
};

/* What became of the message that was to be sent. */
enum lease_fault {
    LEASE_FAULT_NO_PERMIT = 0, /* the pool's limits: nothing was tried */
    LEASE_FAULT_NO_CONNECTION, /* could not be made */
    LEASE_FAULT_LOST,          /* the connection went: unsent says what may have left */
    LEASE_FAULT_BAD_REPLY      /* what came is no reply to it */
};

struct lease_failure {
    uint8_t fault;      /* enum lease_fault */
    uint8_t reason;     /* enum reason */
    bool unsent;        /* the last byte has not left: a framed callee has not run it */
    const char *detail; /* a sentence with at most one %lld; static */
    const char *cause;  /* stands behind it; static, NULL: unknown */
    int64_t number;
};

/* A proved reply to the message that was sent: borrowed until the end of the turn, or in a block. */
struct lease_reply {
    uint8_t *body;
    uint8_t *block; /* the taker's from now on; NULL: borrowed */
    uint32_t len;
    uint32_t seqid_off;
    int32_t code;            /* BaseResp's */
    uint32_t head_room : 23; /* bytes in front of body that are the reply's, too */
    uint32_t type : 6;       /* enum wire_message_type */
    uint32_t has_code : 1;
    uint32_t has_header : 1; /* a TTHeader stands in them */
    uint32_t says_end : 1;   /* and says that its connection will be closed */
};

struct lease {
    struct event event; /* posted with news; run is the layer's above */
    struct list node;   /* in the pool's queue, or among the connection's leases */
    struct upstream_request *request;
    struct pool_tenant *tenant; /* while not NONE */
    struct upstream_conn *conn; /* from CONNECTING on */
    union {
        uint64_t turn; /* QUEUED: its place */
        struct {       /* SENDING, SENT: positions in the connection's output */
            uint64_t out_start, out_end;
        };
    };
    union {
        struct lease_failure failure; /* NEWS_FAILED */
        struct lease_reply reply;     /* NEWS_REPLY */
    };
    int32_t seqid;
    uint8_t state; /* enum lease_state */
    uint8_t news;  /* enum lease_news bits */
    bool reused;   /* the connection had served before */
    bool paused;   /* its reply is not read: the caller does not take it */
    bool lent;     /* SENDING: the connection's output points into bytes that end with the turn */
    bool stuck; /* SENDING: the kernel did not take it within its turn; its bytes were kept then */
};

/* Of the list that it is in, by lease.node. */
static inline struct lease *lease_at(struct list *node)
{
    return container_of(node, struct lease, node);
}

void lease_init(struct lease *lease, struct upstream_request *request, event_fn run);

/* Asks for a connection to the endpoint; fresh: for one that has not served yet. READY at once, or the state
 * in which it waits; where it fails at once that is news, too. */
enum lease_state lease_get(struct lease *lease, struct worker *worker,
                           struct endpoint_state *endpoint, bool fresh);

/* READY: what its connection speaks. */
const struct framing *lease_framing(const struct lease *lease);
/* READY: queues the message, laid out in iov with the lease's seqid, len bytes without the head. Where memory is
 * short the failure is news. */
void lease_send(struct lease *lease, const struct iovec iov[], size_t n, uint32_t len);
/* READY: what was to be sent cannot be made, for want of memory: the connection goes, the failure is news. */
void lease_break(struct lease *lease);
/* Gives up whatever it holds; no news come any more. A connection on which bytes of it have left goes, for
 * a late reply must not meet another call; one that several calls use stays, for there replies are known by
 * their numbers. timed_out: it waited for its callee in vain. Harmless on NONE. */
void lease_end(struct lease *lease, bool timed_out);

/* Back-pressure: the caller does not take replies, or takes them again. Of a connection that others use,
 * too, this does nothing. */
void lease_pause(struct lease *lease);
void lease_resume(struct lease *lease);
/* SENT: whether its reply is being read, or stands still for the caller's sake. */
bool lease_is_read(const struct lease *lease);

/* Whether nothing of it came from its connection while another one of that endpoint is answered: as of a
 * callee that serves one connection at a time. */
bool lease_is_starved(const struct lease *lease);

/* QUEUED: whether permits are left, but kept for other tenants. */
bool lease_is_reserved(const struct lease *lease);

static inline void lease_post(struct lease *lease, struct worker *worker, enum lease_news news)
{
    lease->news |= (uint8_t)news;
    worker_event_post(worker, &lease->event);
}

void lease_check(const struct lease *lease);

#endif
