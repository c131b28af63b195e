/*
 * tests/discovery/etcd/etcd_fsm_play.h: the machine in virtual time; the test plays etcd.
 *
 * One machine at a time: begin() makes it, each step is something that etcd does, did() is what the
 * machine wants done for it, end() frees it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_DISCOVERY_ETCD_ETCD_FSM_PLAY_H
#define TSIDE_TESTS_DISCOVERY_ETCD_ETCD_FSM_PLAY_H

#include "tests/discovery/cmocka_first.h"

#include <inttypes.h>

#include "discovery/etcd/etcd_fsm.h"

#define CLUSTER 42u
#define KV_MAX  8

static struct etcd_ranges ranges;
static struct etcd_fsm *fsm;
static uint64_t now;
static uint64_t deadline; /* of the last request */
static const struct etcd_action *actions;
static uint32_t actions_n;
static struct etcd_kv kv[KV_MAX];
static size_t kv_n;

/* ---- playing ------------------------------------------------------------------------------ */

static inline void begin_at(const char *rules, const char *services, uint32_t endpoints,
                            uint64_t seed)
{
    const char *const prefix[DISC_SPACES] = {rules, services};
    etcd_ranges_init(&ranges, prefix);
    const struct etcd_fsm_options options = {
        .endpoints = endpoints, .seed = seed, .ranges = &ranges, .timing = etcd_timing_default};
    fsm = etcd_fsm_new(&options);
    now = 1000000;
    kv_n = 0;
}

static inline void begin(uint32_t endpoints)
{
    begin_at("/tside/rules", "/tside/services", endpoints, 1);
}

static inline void end(void)
{
    fsm = etcd_fsm_free(fsm);
    etcd_ranges_done(&ranges);
}

static inline void step(struct etcd_input input)
{
    input.now_ms = now;
    actions_n = etcd_fsm_step(fsm, &input, &actions);
    for (uint32_t i = 0; i < actions_n; i++) {
        if (actions[i].what == ETCD_DO_RANGE) {
            deadline = now + actions[i].deadline_ms;
        }
    }
    kv_n = 0;
}

static inline void simple(enum etcd_event event)
{
    step((struct etcd_input){.event = event});
}

static inline void failed(enum etcd_event event, int code, const char *text)
{
    struct etcd_error error = {.code = code};
    snprintf(error.text, sizeof error.text, "%s", text);
    step((struct etcd_input){.event = event, .error = &error});
}

static inline void unreachable(void)
{
    failed(ETCD_EVENT_RANGE_FAILED, 0, "unreachable");
}

/* The next message or reply holds this. */
static inline void with(const char *key, int64_t create, int64_t mod, bool deleted)
{
    kv[kv_n++] = (struct etcd_kv){.key = {key, strlen(key)},
                                  .create_revision = create,
                                  .mod_revision = mod,
                                  .deleted = deleted};
}

static inline void range_ok_of(uint64_t cluster, int64_t revision, int64_t count, bool more,
                               size_t bytes)
{
    const struct etcd_range_reply reply = {
        .header = {cluster, revision}, .kvs = {kv_n, kv, NULL}, .more = more, .count = count};
    step((struct etcd_input){.event = ETCD_EVENT_RANGE_OK, .range = &reply, .range_bytes = bytes});
}

static inline void range_ok(int64_t revision, int64_t count)
{
    range_ok_of(CLUSTER, revision, count, false, 100);
}

static inline void message(const struct etcd_watch_message *in)
{
    struct etcd_watch_message copy = *in;
    copy.header.cluster_id = copy.header.cluster_id > 0 ? copy.header.cluster_id : CLUSTER;
    copy.watch_id = copy.watch_id > 0 ? copy.watch_id : 1;
    copy.events = (struct etcd_kvs){kv_n, kv, NULL};
    step((struct etcd_input){.event = etcd_watch_event(&copy), .watch = &copy});
}

static inline void created(int64_t revision)
{
    message(&(struct etcd_watch_message){.header = {.revision = revision}, .created = true});
}

static inline void changes(bool fragment)
{
    message(&(struct etcd_watch_message){.header = {.revision = kv[kv_n - 1].mod_revision},
                                         .fragment = fragment});
}

static inline void progress(int64_t revision)
{
    message(&(struct etcd_watch_message){.header = {.revision = revision}});
}

static inline void canceled(int64_t compact_revision, const char *reason)
{
    struct etcd_watch_message in = {.canceled = true, .compact_revision = compact_revision};
    snprintf(in.cancel_reason, sizeof in.cancel_reason, "%s", reason);
    message(&in);
}

static inline const struct etcd_action *did(enum etcd_do what)
{
    for (uint32_t i = 0; i < actions_n; i++) {
        if (actions[i].what == what) {
            return &actions[i];
        }
    }
    return NULL;
}

#define expect(wanted)                                                                             \
    assert_string_equal(etcd_state_str(etcd_fsm_state(fsm)), etcd_state_str(ETCD_STATE_##wanted))

/* To the machine's next timer. Returns the wait. */
static inline uint64_t sleep_on(void)
{
    uint64_t due = etcd_fsm_timer_ms(fsm);
    assert_true(due != UINT64_MAX);
    uint64_t wait = due > now ? due - now : 0;
    now += wait;
    simple(ETCD_EVENT_TIMER);
    return wait;
}

/* Three rules and two services at revision 10. */
static inline void list_done(void)
{
    with("/tside/rules/a", 3, 3, false);
    with("/tside/rules/b", 4, 9, false);
    with("/tside/rules/c", 5, 5, false);
    range_ok(10, 3);
    with("/tside/services/x", 6, 6, false);
    with("/tside/services/y", 7, 7, false);
    range_ok(12, 2);
    assert_non_null(did(ETCD_DO_LIST_COMMIT));
    assert_int_equal(did(ETCD_DO_LIST_COMMIT)->revision[0], 10);
}

static inline void watching(uint32_t endpoints)
{
    begin(endpoints);
    simple(ETCD_EVENT_START);
    list_done();
    expect(OPEN);
    created(10);
    expect(WATCH);
}

/* Silence until the probe, answered by a cluster that has moved on to `revision`. */
static inline void probed(int64_t revision)
{
    sleep_on();
    expect(PROBE);
    range_ok(revision, 1);
}

static inline void audit_answers(int64_t at, int64_t rules, int64_t rules_newest, int64_t services,
                                 int64_t services_newest)
{
    expect(AUDIT);
    if (rules > 0) {
        with("/tside/rules/b", 1, rules_newest, false);
    }
    range_ok(at, rules);
    if (etcd_fsm_state(fsm) == ETCD_STATE_AUDIT) {
        if (services > 0) {
            with("/tside/services/x", 1, services_newest, false);
        }
        range_ok(at, services);
    }
}

#endif
