/*
 * discovery/etcd/etcd_fsm.c: the table of states and events, and the moves between states.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_fsm.h"

#include <assert.h>

#include "discovery/base/memory.h"
#include "discovery/etcd/etcd_fsm_internal.h"

const struct etcd_timing etcd_timing_default = {
    .open_ms = 3000,
    .page_ms = 5000,
    .quiet_ms = 4500,
    .probe_ms = 3000,
    .found_ms = 9500, /* 10 s, and timers may be late */
    .doubt_ms = 1000,
    .audit_ms = 60000,
    .list_ms = 3600000,
    .stranger_ms = 60000,
    .healthy_ms = 5000,
    .backoff_min_ms = 250,
    .backoff_max_ms = 5000,
};

#define X_TEXT(id, text) text,
#define X_NAME(id)       #id,

const char *etcd_state_str(enum etcd_state state)
{
    static const char *const names[] = {ETCD_STATES(X_TEXT)};
    return (unsigned)state < ETCD_STATE_MAX ? names[state] : "?";
}

const char *etcd_event_str(enum etcd_event event)
{
    static const char *const names[] = {ETCD_EVENTS(X_NAME)};
    return (unsigned)event < ETCD_EVENT_MAX ? names[event] : "?";
}

const char *etcd_relist_str(enum etcd_relist relist)
{
    static const char *const names[] = {ETCD_RELISTS(X_TEXT)};
    return (unsigned)relist < ETCD_RELIST_MAX ? names[relist] : "?";
}

/* ---- moves -------------------------------------------------------------------------------- */

struct etcd_action *fsm_do(struct etcd_fsm *fsm, enum etcd_do what)
{
    assert(fsm->actions_n < ETCD_ACTIONS_MAX);
    struct etcd_action *action = &fsm->actions[fsm->actions_n++];
    *action = (struct etcd_action){.what = what, .endpoint = fsm->order[fsm->at]};
    return action;
}

static bool has_range(enum etcd_state state)
{
    return state == ETCD_STATE_LIST || state == ETCD_STATE_PROBE || state == ETCD_STATE_AUDIT;
}

static bool is_streaming(enum etcd_state state)
{
    return state == ETCD_STATE_WATCH || state == ETCD_STATE_PROBE || state == ETCD_STATE_AUDIT ||
           state == ETCD_STATE_DOUBT;
}

void fsm_go(struct etcd_fsm *fsm, enum etcd_state state)
{
    if (fsm->range_open) { /* what the new state asks for, it asks anew */
        fsm->range_open = false;
        fsm_do(fsm, ETCD_DO_CANCEL_RANGE);
    }
    if (fsm->watch_open && !is_streaming(state)) {
        fsm->watch_open = false;
        fsm_do(fsm, ETCD_DO_CANCEL_WATCH);
    }
    if (is_streaming(fsm->state) && !is_streaming(state)) {
        fsm->stats.disconnects++;
        fsm->known_ms = fsm->now_ms; /* the known cluster was here until now */
    }
    fsm->state = state;
    fsm->wake_ms = UINT64_MAX;
}

void fsm_send_range(struct etcd_fsm *fsm, const struct etcd_range_query *query,
                    uint32_t deadline_ms)
{
    struct etcd_action *action = fsm_do(fsm, ETCD_DO_RANGE);
    fsm->asked_revision = fsm_revision(fsm);
    action->query = *query;
    action->deadline_ms = deadline_ms;
    fsm->range_open = true;
}

uint64_t fsm_jitter(struct etcd_fsm *fsm, uint64_t value, uint32_t percent)
{
    uint64_t span = value * percent / 100;
    return value - span + lb_random_scale(lb_random_next(&fsm->random), 2 * span + 1);
}

void fsm_healthy(struct etcd_fsm *fsm)
{
    fsm->round = 0;
    fsm->attempts = 0;
    fsm->lists_in_row = 0;
}

void fsm_back_off(struct etcd_fsm *fsm, enum etcd_state want)
{
    uint64_t ceiling = (uint64_t)fsm->timing.backoff_min_ms << (fsm->attempts & 31);
    if (fsm->attempts >= 16 || ceiling > fsm->timing.backoff_max_ms) {
        ceiling = fsm->timing.backoff_max_ms;
    } else {
        fsm->attempts++;
    }
    /* Full jitter spreads a fleet best; the floor keeps one host from spinning. */
    uint64_t floor = ceiling / 8;
    uint64_t wait = floor + lb_random_scale(lb_random_next(&fsm->random), ceiling - floor + 1);
    fsm->stats.backoffs++;
    fsm_go(fsm, want == ETCD_STATE_LIST ? ETCD_STATE_LIST_WAIT : ETCD_STATE_OPEN_WAIT);
    fsm->wake_ms = fsm->now_ms + wait;
}

void fsm_back_off_longest(struct etcd_fsm *fsm, enum etcd_state want)
{
    fsm->attempts = 16;
    fsm_next_endpoint(fsm);
    fsm_back_off(fsm, want);
}

void fsm_fail(struct etcd_fsm *fsm, enum etcd_state want)
{
    fsm_next_endpoint(fsm);
    fsm->round++;
    if (fsm->round >= fsm->endpoints) {
        fsm_back_off(fsm, want);
    } else if (want == ETCD_STATE_LIST) {
        fsm_list_resume(fsm);
    } else {
        fsm_watch_open(fsm);
    }
}

bool fsm_is_refusal(int code, const char *text)
{
    static const char *const signs[] = {"permission denied", "user name is empty",
                                        "invalid auth token", "auth revision", "authentication"};
    if (code == ETCD_CODE_PERMISSION_DENIED || code == ETCD_CODE_UNAUTHENTICATED) {
        return true;
    }
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        if (strstr(text, signs[i]) != NULL) {
            return true;
        }
    }
    return false;
}

int64_t fsm_revision(const struct etcd_fsm *fsm)
{
    int64_t revision = fsm->seen[0];
    for (uint32_t w = 1; w < fsm->ranges->watches; w++) {
        revision = fsm->seen[w] < revision ? fsm->seen[w] : revision;
    }
    return revision;
}

/* ---- the table ---------------------------------------------------------------------------- */

static void start(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    fsm->known_ms = fsm->now_ms;
    if (fsm->cluster_id != 0) {
        fsm_audit_soon(fsm); /* the state on disk is taken on trust until then */
        fsm_watch_open(fsm);
    } else {
        fsm_list_begin(fsm, ETCD_RELIST_START);
    }
}

static void wait_over(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    if (fsm->now_ms < fsm->wake_ms) {
        return;
    }
    if (fsm->state == ETCD_STATE_LIST_WAIT) {
        fsm_list_resume(fsm);
    } else {
        fsm_watch_open(fsm);
    }
}

static void stop(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    fsm_go(fsm, ETCD_STATE_CLOSED);
}

/* A timer that fires once more, an event of what was canceled a moment ago. */
static void stray(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    fsm->stats.strays++;
}

#define STATE(s)    [ETCD_STATE_##s]
#define ON(e)       [ETCD_EVENT_##e]
#define STRAY_RANGE ON(RANGE_OK) = stray, ON(RANGE_FAILED) = stray, ON(RANGE_TOO_LARGE) = stray
#define STRAY_WATCH                                                                                \
    ON(CREATED) = stray, ON(CHANGES) = stray, ON(PROGRESS) = stray, ON(CANCELED) = stray,          \
    ON(BYTES) = stray, ON(ENDED) = stray, ON(BAD_MESSAGE) = stray
#define STREAM                                                                                     \
    ON(CHANGES) = fsm_watch_changes, ON(PROGRESS) = fsm_watch_progress,                            \
    ON(CANCELED) = fsm_watch_canceled, ON(BYTES) = fsm_watch_bytes, ON(ENDED) = fsm_watch_ended,   \
    ON(BAD_MESSAGE) = fsm_watch_bad
#define EVERYWHERE ON(ENDPOINTS) = fsm_endpoints_change, ON(STOP) = stop
#define STARTED    ON(START) = stray

static const fsm_handler table[ETCD_STATE_MAX][ETCD_EVENT_MAX] = {
    STATE(IDLE) = {ON(START) = start, ON(TIMER) = stray, STRAY_RANGE, STRAY_WATCH, EVERYWHERE},
    STATE(LIST) = {STARTED, ON(TIMER) = stray, ON(RANGE_OK) = fsm_list_page,
                   ON(RANGE_FAILED) = fsm_list_failed, ON(RANGE_TOO_LARGE) = fsm_list_too_large,
                   STRAY_WATCH, EVERYWHERE},
    STATE(LIST_WAIT) = {STARTED, ON(TIMER) = wait_over, STRAY_RANGE, STRAY_WATCH, EVERYWHERE},
    STATE(OPEN) = {STARTED, ON(TIMER) = fsm_open_late, STRAY_RANGE, ON(CREATED) = fsm_watch_created,
                   STREAM, EVERYWHERE},
    STATE(OPEN_WAIT) = {STARTED, ON(TIMER) = wait_over, STRAY_RANGE, STRAY_WATCH, EVERYWHERE},
    STATE(WATCH) = {STARTED, ON(TIMER) = fsm_watch_timer, STRAY_RANGE, ON(CREATED) = stray, STREAM,
                    EVERYWHERE},
    STATE(PROBE) = {STARTED, ON(TIMER) = stray, ON(RANGE_OK) = fsm_probe_ok,
                    ON(RANGE_FAILED) = fsm_probe_failed, ON(RANGE_TOO_LARGE) = fsm_probe_failed,
                    ON(CREATED) = stray, STREAM, EVERYWHERE},
    STATE(AUDIT) = {STARTED, ON(TIMER) = stray, ON(RANGE_OK) = fsm_audit_ok,
                    ON(RANGE_FAILED) = fsm_audit_failed, ON(RANGE_TOO_LARGE) = fsm_audit_failed,
                    ON(CREATED) = stray, STREAM, EVERYWHERE},
    STATE(DOUBT) = {STARTED, ON(TIMER) = fsm_doubt_over, STRAY_RANGE, ON(CREATED) = stray, STREAM,
                    EVERYWHERE},
    STATE(CLOSED) = {STARTED, ON(TIMER) = stray, STRAY_RANGE, STRAY_WATCH, EVERYWHERE},
};

bool etcd_fsm_has(enum etcd_state state, enum etcd_event event)
{
    return table[state][event] != NULL;
}

enum etcd_event etcd_watch_event(const struct etcd_watch_message *message)
{
    if (message->canceled || message->compact_revision > 0) {
        return ETCD_EVENT_CANCELED;
    }
    if (message->created) {
        return ETCD_EVENT_CREATED;
    }
    return message->events.n > 0 ? ETCD_EVENT_CHANGES : ETCD_EVENT_PROGRESS;
}

uint32_t etcd_fsm_step(struct etcd_fsm *fsm, const struct etcd_input *input,
                       const struct etcd_action **ret_actions)
{
    fsm->actions_n = 0;
    fsm->now_ms = input->now_ms;
    switch (input->event) {
    case ETCD_EVENT_RANGE_OK:
    case ETCD_EVENT_RANGE_FAILED:
    case ETCD_EVENT_RANGE_TOO_LARGE:
        fsm->range_open = false;
        break;
    case ETCD_EVENT_ENDED:
        fsm->watch_open = false;
        break;
    default:
        break;
    }
    table[fsm->state][input->event](fsm, input);
    etcd_fsm_check(fsm);
    *ret_actions = fsm->actions;
    return fsm->actions_n;
}

uint64_t etcd_fsm_timer_ms(const struct etcd_fsm *fsm)
{
    if (fsm->state != ETCD_STATE_WATCH) {
        return fsm->wake_ms;
    }
    uint64_t soonest = fsm->probe_ms < fsm->audit_ms ? fsm->probe_ms : fsm->audit_ms;
    return fsm->list_ms < soonest ? fsm->list_ms : soonest;
}

/* ---- life --------------------------------------------------------------------------------- */

struct etcd_fsm *etcd_fsm_new(const struct etcd_fsm_options *options)
{
    assert(options->endpoints > 0 && options->endpoints <= ETCD_ENDPOINTS_MAX);
    struct etcd_fsm *fsm = memory_zalloc(sizeof *fsm);
    fsm->ranges = options->ranges;
    fsm->timing = options->timing;
    fsm->list.page_limit_max = options->page_limit > 0 ? options->page_limit : ETCD_PAGE_LIMIT;
    fsm->list.page_limit = fsm->list.page_limit_max;
    fsm->wake_ms = fsm->audit_ms = fsm->list_ms = fsm->probe_ms = UINT64_MAX;
    lb_random_init(&fsm->random, options->seed);
    fsm_endpoints_init(fsm, options->endpoints);
    return fsm;
}

struct etcd_fsm *etcd_fsm_free(struct etcd_fsm *fsm)
{
    if (fsm != NULL) {
        free(fsm->list.cursor);
        free(fsm);
    }
    return NULL;
}

void etcd_fsm_restore(struct etcd_fsm *fsm, const struct state_resume *resume)
{
    assert(fsm->state == ETCD_STATE_IDLE);
    fsm->cluster_id = resume->cluster_id;
    for (uint32_t i = 0; i < ETCD_RANGES_MAX; i++) {
        fsm->seen[i] = resume->seen[i];
    }
    for (int s = 0; s < DISC_SPACES; s++) {
        etcd_tally_set(&fsm->tally[s], resume->count[s], resume->newest[s]);
    }
}

void etcd_fsm_resume(const struct etcd_fsm *fsm, struct state_resume *ret)
{
    ret->cluster_id = fsm->cluster_id;
    for (uint32_t i = 0; i < ETCD_RANGES_MAX; i++) {
        ret->seen[i] = fsm->seen[i];
    }
    for (int s = 0; s < DISC_SPACES; s++) {
        ret->count[s] = fsm->tally[s].count;
        ret->newest[s] = fsm->tally[s].newest;
    }
}

void etcd_fsm_check(const struct etcd_fsm *fsm)
{
    assert(fsm->range_open == has_range(fsm->state));
    assert(fsm->watch_open == (fsm->state == ETCD_STATE_OPEN || is_streaming(fsm->state)));
    assert(!fsm->watch_open || fsm->cluster_id != 0);
    assert(fsm->at < fsm->endpoints && fsm->list.page_limit > 0);
}

enum etcd_state etcd_fsm_state(const struct etcd_fsm *fsm)
{
    return fsm->state;
}

bool etcd_fsm_is_watching(const struct etcd_fsm *fsm)
{
    return is_streaming(fsm->state);
}

bool etcd_fsm_is_stranger(const struct etcd_fsm *fsm, uint64_t cluster_id)
{
    return fsm_is_stranger(fsm, cluster_id);
}

uint32_t etcd_fsm_endpoint(const struct etcd_fsm *fsm)
{
    return fsm->order[fsm->at];
}

int64_t etcd_fsm_revision(const struct etcd_fsm *fsm)
{
    return fsm_revision(fsm);
}

uint64_t etcd_fsm_synced_ms(const struct etcd_fsm *fsm)
{
    return fsm->synced_ms;
}

const struct etcd_fsm_stats *etcd_fsm_stats(const struct etcd_fsm *fsm)
{
    return &fsm->stats;
}
