/*
 * discovery/etcd/etcd_fsm.h: list, then watch: what to do when, as a pure state machine.
 *
 * Events and the time come in, actions go out; no socket, no clock, no libuv. etcd_io carries the
 * actions out, tests and simulations play etcd.
 *
 *     IDLE -> LIST <-> LIST_WAIT            pages of one revision, all or nothing
 *       |      |
 *       +-> OPEN <-> OPEN_WAIT              the stream is asked for; `created` makes it
 *              |
 *            WATCH <-> PROBE                silence: is the member alive, has it a leader?
 *              |  <-> AUDIT <-> DOUBT       do count and newest revision agree with ours?
 *
 * The stream stays open in WATCH, PROBE, AUDIT and DOUBT, which take its messages alike. Every way
 * back leads through OPEN (resume behind the last revision) or, where resuming is impossible or
 * untrustworthy, LIST. What is in force is never dropped on the way: only a complete list and the
 * events of a watch change it. Answers of another cluster than the known one are passed over
 * (etcd_fsm_cluster.c). What a list lacks for reasons that are no operator's word is held
 * (etcd_fsm_held.c).
 *
 * seen[w]: everything up to this revision has been applied, for watch w.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_FSM_H
#define TSIDE_DISCOVERY_ETCD_ETCD_FSM_H

#include "discovery/etcd/etcd_codec.h"
#include "discovery/etcd/etcd_endpoints.h"
#include "discovery/etcd/etcd_tally.h"
#include "discovery/state/state_resume.h"
#include "lb/random.h"

#define ETCD_STATES(X)                                                                             \
    X(IDLE, "idle")                                                                                \
    X(LIST, "listing")                                                                             \
    X(LIST_WAIT, "waiting to list")                                                                \
    X(OPEN, "connecting")                                                                          \
    X(OPEN_WAIT, "waiting to connect")                                                             \
    X(WATCH, "watching")                                                                           \
    X(PROBE, "probing")                                                                            \
    X(AUDIT, "auditing")                                                                           \
    X(DOUBT, "doubting")                                                                           \
    X(CLOSED, "closed")

#define ETCD_EVENTS(X)                                                                             \
    X(START)                                                                                       \
    X(TIMER)                                                                                       \
    X(RANGE_OK)                                                                                    \
    X(RANGE_FAILED)                                                                                \
    X(RANGE_TOO_LARGE)                                                                             \
    X(CREATED)                                                                                     \
    X(CHANGES)                                                                                     \
    X(PROGRESS)                                                                                    \
    X(CANCELED)                                                                                    \
    X(BYTES)                                                                                       \
    X(ENDED)                                                                                       \
    X(BAD_MESSAGE)                                                                                 \
    X(ENDPOINTS)                                                                                   \
    X(STOP)

/* Why everything was listed (again). */
#define ETCD_RELISTS(X)                                                                            \
    X(START, "start")                                                                              \
    X(COMPACTED, "compacted")                                                                      \
    X(CLUSTER, "cluster_changed")                                                                  \
    X(REGRESSED, "revision_regressed")                                                             \
    X(AUDIT, "audit")                                                                              \
    X(LOST, "deletes_lost")                                                                        \
    X(HOURLY, "hourly")                                                                            \
    X(BAD_MESSAGE, "bad_message")                                                                  \
    X(CANCELED, "canceled")

#define X_STATE(id, text)  ETCD_STATE_##id,
#define X_EVENT(id)        ETCD_EVENT_##id,
#define X_RELIST(id, text) ETCD_RELIST_##id,
enum etcd_state { ETCD_STATES(X_STATE) ETCD_STATE_MAX };
enum etcd_event { ETCD_EVENTS(X_EVENT) ETCD_EVENT_MAX };
enum etcd_relist { ETCD_RELISTS(X_RELIST) ETCD_RELIST_MAX };
#undef X_STATE
#undef X_EVENT
#undef X_RELIST

const char *etcd_state_str(enum etcd_state state);
const char *etcd_event_str(enum etcd_event event);
const char *etcd_relist_str(enum etcd_relist relist);

/* ---- what goes in ------------------------------------------------------------------------- */

struct etcd_input {
    enum etcd_event event;
    uint64_t now_ms;                        /* monotonic */
    const struct etcd_range_reply *range;   /* RANGE_OK */
    size_t range_bytes;                     /* RANGE_OK: length of its text */
    const struct etcd_watch_message *watch; /* CREATED, CHANGES, PROGRESS, CANCELED */
    const struct etcd_error *error;         /* RANGE_FAILED, ENDED; may be NULL */
    const uint32_t *endpoints;              /* ENDPOINTS: the numbers that there are now */
    uint32_t endpoints_n;                   /* 1..ETCD_ENDPOINTS_MAX */
};

/* Which of the four a message of the stream is. */
enum etcd_event etcd_watch_event(const struct etcd_watch_message *message);

/* ---- what comes out ----------------------------------------------------------------------- */

enum etcd_do {
    ETCD_DO_RANGE =
        0, /* send `query` to `endpoint`; RANGE_FAILED after deadline_ms at the latest */
    ETCD_DO_CANCEL_RANGE,
    ETCD_DO_WATCH, /* open the stream at `endpoint` from revision[w] for each watch w */
    ETCD_DO_CANCEL_WATCH,
    ETCD_DO_LIST_RESET,   /* forget the pages so far */
    ETCD_DO_LIST_PAGE,    /* keep the page that came in */
    ETCD_DO_LIST_COMMIT,  /* the pages are all there is, at revision[0] */
    ETCD_DO_CHANGES,      /* keep the message's events above revision[0], then apply what is kept
                               of this watch up to revision[1] */
    ETCD_DO_CHANGES_DROP, /* forget what is kept of all watches */
    ETCD_DO_REVISION      /* nothing changed up to etcd_fsm_revision() */
};

struct etcd_action {
    enum etcd_do what;
    uint32_t endpoint;
    uint32_t deadline_ms;
    uint32_t watch;
    int64_t revision[ETCD_RANGES_MAX];
    bool hold[DISC_SPACES];        /* LIST_COMMIT: what the list lacks of the space is held */
    struct etcd_range_query query; /* borrowed from the machine until its next step */
};
#define ETCD_ACTIONS_MAX 12

struct etcd_timing {
    uint32_t open_ms;        /* until all watches are created */
    uint32_t page_ms;        /* one page of a list, one part of an audit */
    uint32_t quiet_ms;       /* a stream without a byte for so long is probed, 20 % either way */
    uint32_t probe_ms;       /* the probe's deadline */
    uint32_t found_ms;       /* a member that stops is found within; more than page and probe */
    uint32_t doubt_ms;       /* how long changes may be under way when the audit disagrees */
    uint32_t audit_ms;       /* 10 % either way */
    uint32_t list_ms;        /* a full list without a reason, up to a quarter later */
    uint32_t stranger_ms;    /* another cluster is believed where no address had ours for so long */
    uint32_t healthy_ms;     /* a stream that lived so long was a good one */
    uint32_t backoff_min_ms; /* doubles with every failed round, full jitter */
    uint32_t backoff_max_ms;
};
extern const struct etcd_timing etcd_timing_default;

struct etcd_fsm_options {
    uint32_t endpoints; /* 1..ETCD_ENDPOINTS_MAX at first, numbered from 0 */
    uint64_t seed;
    const struct etcd_ranges *ranges; /* borrowed */
    struct etcd_timing timing;
    uint32_t page_limit; /* keys of a page at most */
};

/* Where etcd has no key of a space left and the deletes do not come: the stream is reopened after
 * so long at the soonest, and then after twice that. */
#define ETCD_REOPEN_MIN_MS 5000
#define ETCD_REOPEN_MAX_MS 60000

#define ETCD_PAGE_LIMIT      1000
#define ETCD_PAGE_BYTES      (8u << 20)  /* pages above this make the next one shorter */
#define ETCD_REPLY_MAX_BYTES (16u << 20) /* etcd_io gives a page up here: RANGE_TOO_LARGE */

struct etcd_fsm_stats {
    uint64_t messages, events, duplicates, bad_messages;
    uint64_t streams;     /* created */
    uint64_t disconnects; /* of these, ended by whatever cause */
    uint64_t relists[ETCD_RELIST_MAX];
    uint64_t lists, pages; /* completed */
    uint64_t empty_lists;  /* without a key of a space that etcd had keys of: not believed */
    uint64_t backoffs, probes, probe_failures, audits, audit_doubts, stalls;
    uint64_t cluster_changes, regressions, lagging;
    uint64_t strangers; /* answers of another cluster, passed over */
    uint64_t strays;    /* events that their state has no use for */
};

struct etcd_fsm;

struct etcd_fsm *etcd_fsm_new(const struct etcd_fsm_options *options);
struct etcd_fsm *etcd_fsm_free(struct etcd_fsm *fsm); /* NULL */

/* Before START: what the last process held. */
void etcd_fsm_restore(struct etcd_fsm *fsm, const struct state_resume *resume);
void etcd_fsm_resume(const struct etcd_fsm *fsm, struct state_resume *ret);

/*
 * One step. *ret_actions stay valid until the next one and are to be carried out in order; what is
 * begun reports back through later events only (never from within), what is canceled never does.
 */
uint32_t etcd_fsm_step(struct etcd_fsm *fsm, const struct etcd_input *input,
                       const struct etcd_action **ret_actions);

/* When TIMER is due; UINT64_MAX: not at all. */
uint64_t etcd_fsm_timer_ms(const struct etcd_fsm *fsm);

enum etcd_state etcd_fsm_state(const struct etcd_fsm *fsm);
/* Whether answers of this cluster are passed over. */
bool etcd_fsm_is_stranger(const struct etcd_fsm *fsm, uint64_t cluster_id);
bool etcd_fsm_is_watching(const struct etcd_fsm *fsm);
uint32_t etcd_fsm_endpoint(const struct etcd_fsm *fsm);  /* in use, or tried next */
int64_t etcd_fsm_revision(const struct etcd_fsm *fsm);   /* all watches have seen it */
uint64_t etcd_fsm_synced_ms(const struct etcd_fsm *fsm); /* the last proof of being up to date; 0 */
const struct etcd_fsm_stats *etcd_fsm_stats(const struct etcd_fsm *fsm);

/* For tests: is there a row for this pair, and does the machine hold together? */
bool etcd_fsm_has(enum etcd_state state, enum etcd_event event);
void etcd_fsm_check(const struct etcd_fsm *fsm);

#endif
