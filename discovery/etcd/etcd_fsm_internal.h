/*
 * discovery/etcd/etcd_fsm_internal.h: the machine's parts among themselves: etcd_fsm.c (table,
 * moves), etcd_fsm_endpoints.c (which is next), etcd_fsm_cluster.c (whose answers count),
 * etcd_fsm_list.c (pages), etcd_fsm_watch.c (stream), etcd_fsm_audit.c (probe and audit),
 * etcd_fsm_held.c (what etcd has no more).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_FSM_INTERNAL_H
#define TSIDE_DISCOVERY_ETCD_ETCD_FSM_INTERNAL_H

#include "discovery/etcd/etcd_fsm.h"

/* A list under way. */
struct fsm_list {
    enum etcd_relist reason;
    bool has_proof;      /* events were lost: what it has not, no stream will delete */
    uint32_t range;      /* being listed */
    uint32_t restarts;   /* the list's revision was compacted under us */
    uint32_t page_limit; /* outlives the list */
    uint32_t page_limit_max;
    int64_t revision; /* of the first page; 0: not known yet */
    uint64_t cluster_id;
    char *cursor; /* owned; where the next page begins, NULL: at the range's start */
    size_t cursor_len;
    int64_t count[DISC_SPACES];
    int64_t newest[DISC_SPACES];
};

/* A revision whose last fragment is not here yet: counted when it is. */
struct fsm_pending {
    int64_t revision; /* 0: none */
    bool touched[DISC_SPACES];
    int64_t delta[DISC_SPACES];
};

struct fsm_audit {
    uint32_t range; /* being asked for */
    struct {
        int64_t at; /* the answer holds at this revision */
        int64_t count;
        int64_t newest;
    } answer[ETCD_RANGES_MAX];
};

struct etcd_fsm {
    const struct etcd_ranges *ranges;
    struct etcd_timing timing;
    struct lb_random random;
    uint32_t endpoints;
    uint32_t order[ETCD_ENDPOINTS_MAX]; /* shuffled */
    uint32_t at;                        /* in order[] */

    enum etcd_state state; /* written by fsm_go() alone */
    uint64_t now_ms;       /* of the current step */
    uint64_t wake_ms;      /* OPEN, the waits and DOUBT: their time is up */
    bool range_open;       /* a request of the kind is under way */
    bool watch_open;
    int64_t asked_revision; /* had been seen when the request was sent */

    uint64_t cluster_id;  /* 0: nothing is held */
    uint64_t believed_id; /* another one that is being listed; 0: none */
    uint64_t known_ms;    /* when an address last had the known cluster */
    uint32_t tried;       /* endpoints left since then */
    int64_t seen[ETCD_RANGES_MAX];
    struct etcd_tally tally[DISC_SPACES];
    struct fsm_pending pending[ETCD_RANGES_MAX];
    bool awaits[DISC_SPACES]; /* etcd has no key of it, by an audit, and its deletes did not come */

    struct fsm_list list;
    struct fsm_audit audit;

    uint32_t round;          /* failures since each endpoint was tried */
    uint32_t attempts;       /* backoffs in a row */
    uint32_t lists_in_row;   /* without a healthy stream between */
    uint32_t lagging;        /* endpoints in a row that were behind us */
    bool stalled;            /* the stream was reopened for an audit's doubt: the next one lists */
    uint32_t created;        /* bit w: watch w is there */
    uint64_t reopen_wait_ms; /* between two reopenings for awaited deletes; 0: none */
    uint64_t reopen_ms;      /* not to be reopened for them before */
    uint64_t changes_ms;     /* the last changes; 0: none yet */
    uint64_t opened_ms;      /* when the stream was complete; 0: not yet */
    uint64_t alive_ms;       /* the last sign of life from its endpoint */
    uint64_t probe_ms;       /* when silence is long enough */
    uint64_t audit_ms;
    uint64_t audited_ms; /* when the last audit began */
    uint64_t list_ms;
    uint64_t synced_ms;

    struct etcd_fsm_stats stats;
    uint32_t actions_n;
    struct etcd_action actions[ETCD_ACTIONS_MAX];
};

typedef void (*fsm_handler)(struct etcd_fsm *fsm, const struct etcd_input *input);

/* ---- etcd_fsm.c --------------------------------------------------------------------------- */

/* The one way to another state; cancels what the new one has no use for. */
void fsm_go(struct etcd_fsm *fsm, enum etcd_state state);
struct etcd_action *fsm_do(struct etcd_fsm *fsm, enum etcd_do what);
void fsm_send_range(struct etcd_fsm *fsm, const struct etcd_range_query *query,
                    uint32_t deadline_ms);

/* The attempt at `want` (LIST or OPEN) failed: the next endpoint, at once while there is one that
 * was not tried in this round, else after a backoff. */
void fsm_fail(struct etcd_fsm *fsm, enum etcd_state want);
void fsm_back_off(struct etcd_fsm *fsm, enum etcd_state want);
void fsm_back_off_longest(struct etcd_fsm *fsm, enum etcd_state want); /* what trying won't mend */
void fsm_healthy(struct etcd_fsm *fsm);                                /* failures are history */

/* value, up to share percent more or less. */
uint64_t fsm_jitter(struct etcd_fsm *fsm, uint64_t value, uint32_t percent);
int64_t fsm_revision(const struct etcd_fsm *fsm);
bool fsm_is_refusal(int code, const char *text); /* authentication or permission */

/* ---- etcd_fsm_endpoints.c ----------------------------------------------------------------- */

void fsm_endpoints_init(struct etcd_fsm *fsm, uint32_t n);
void fsm_next_endpoint(struct etcd_fsm *fsm);
void fsm_endpoints_change(struct etcd_fsm *fsm, const struct etcd_input *input);

/* ---- etcd_fsm_cluster.c ------------------------------------------------------------------- */

bool fsm_is_stranger(const struct etcd_fsm *fsm, uint64_t cluster_id);
/* To be asked with the header of each answer. True: it is another cluster's, and the endpoint is
 * being left, or listed as the new cluster where the known one is gone for long. */
bool fsm_leaves_stranger(struct etcd_fsm *fsm, uint64_t cluster_id);
/* This cluster is the known one, here and now. */
void fsm_cluster_known(struct etcd_fsm *fsm, uint64_t cluster_id);

/* ---- etcd_fsm_list.c ---------------------------------------------------------------------- */

void fsm_list_begin(struct etcd_fsm *fsm, enum etcd_relist reason);
/* It was begun for no more than caution: what is held is as good as ever. */
bool fsm_list_is_optional(const struct etcd_fsm *fsm);
/* The list, or its optional end, at the next endpoint. */
void fsm_list_fail(struct etcd_fsm *fsm);
void fsm_list_resume(struct etcd_fsm *fsm); /* from LIST_WAIT, at the page it stopped at */
void fsm_list_page(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_list_failed(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_list_too_large(struct etcd_fsm *fsm, const struct etcd_input *input);

/* ---- etcd_fsm_watch.c --------------------------------------------------------------------- */

void fsm_watch_open(struct etcd_fsm *fsm);
/* The stream is no good any more, for whatever reason: resume at the next endpoint. */
void fsm_watch_lost(struct etcd_fsm *fsm);
void fsm_watch_created(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_watch_changes(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_watch_progress(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_watch_canceled(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_watch_bytes(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_watch_ended(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_watch_bad(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_open_late(struct etcd_fsm *fsm, const struct etcd_input *input);

/* ---- etcd_fsm_audit.c --------------------------------------------------------------------- */

void fsm_alive(struct etcd_fsm *fsm); /* just now: the member answered or sent something */
void fsm_audit_soon(struct etcd_fsm *fsm);
void fsm_watch_timer(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_probe_ok(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_probe_failed(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_audit_ok(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_audit_failed(struct etcd_fsm *fsm, const struct etcd_input *input);
void fsm_doubt_over(struct etcd_fsm *fsm, const struct etcd_input *input);

/* ---- etcd_fsm_held.c ---------------------------------------------------------------------- */

/* The list that is complete would leave a space without a key whose deletes are under way. */
bool fsm_held_forgets_list(const struct etcd_fsm *fsm);
/* Of which spaces the list's silence about a key is not taken for a delete. Before cluster and
 * tallies become the list's. */
void fsm_held_judge_list(struct etcd_fsm *fsm, bool ret_hold[DISC_SPACES]);
/* What was applied brought the deletes that were awaited. */
void fsm_held_after_changes(struct etcd_fsm *fsm);
/* An event above this revision shows that awaited deletes are lost: only a list can tell now. */
bool fsm_held_shows_lost(struct etcd_fsm *fsm, const struct etcd_kvs *events, int64_t above);
/* A range is behind and etcd has no key of it: reopens the stream, or waits until it may. */
void fsm_held_await(struct etcd_fsm *fsm);
/* No range is. */
void fsm_held_await_no_more(struct etcd_fsm *fsm);

#endif
