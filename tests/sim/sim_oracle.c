/*
 * tests/sim/sim_oracle.c: see sim_oracle.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_oracle.h"

#include "sidecar/data/session/session.h"
#include "sidecar/shared/record.h"
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

/* Beyond a deadline the timers' next turn may come so much later: their tick. */
#define TICK_MS 1
/* A message of no more bytes is taken up in the turn that reads its end. */
#define SMALL_BYTES 2048
/* timeout_ms by default: of calls that wait for the first rules. */
#define NO_RULES_TIMEOUT_MS 1000

void sim_oracle_open(struct sim *sim)
{
    sim->oracle.sim = sim;
    sim->oracle.calls = sim_take(SIM_CALLS_MAX * sizeof(struct sim_call));
}

void sim_oracle_close(struct sim_oracle *oracle)
{
    sim_give(oracle->calls);
}

struct sim_call *sim_oracle_new(struct sim_oracle *oracle)
{
    if (oracle->calls_len == SIM_CALLS_MAX) {
        return NULL;
    }
    sim_report->calls = oracle->calls_len + 1;
    return &oracle->calls[oracle->calls_len++];
}

uint32_t sim_oracle_bound_ms(const struct sim_oracle *oracle, const struct sim_call *call)
{
    const struct sim *sim = oracle->sim;
    uint32_t bound = sim->world.timeout_max_ms;
    if (sim->plan->knobs[SIM_KNOB_LATE_RULES] && bound < NO_RULES_TIMEOUT_MS) {
        bound = NO_RULES_TIMEOUT_MS;
    }
    return call->budget_ms > 0 && call->budget_ms < bound ? call->budget_ms : bound;
}

/* ---- at a callee ----------------------------------------------------------------------------- */

/* Reasons that say that nothing was sent. */
static bool is_refusal(enum reason reason)
{
    switch (reason) {
    case REASON_DENIED:
    case REASON_DEGRADED:
    case REASON_RATE_LIMITED:
    case REASON_CONCURRENCY_LIMIT:
    case REASON_BREAKER_OPEN:
    case REASON_NO_ROUTE:
    case REASON_NO_ENDPOINT:
    case REASON_POOL_EXHAUSTED:
    case REASON_CONNECT_FAILED:
    case REASON_CONNECT_TIMEOUT:
    case REASON_BAD_REQUEST:
        return true;
    default:
        return false;
    }
}

/* Whether a callee that had it may get it again. */
static bool may_repeat(const struct sim_oracle *oracle, const struct sim_call *call)
{
    return oracle->sim->world.service[call->service].idempotent && !call->marked &&
           call->kind <= SIM_CALL_FORGET;
}

static void check_request(const struct sim_oracle *oracle, const struct sim_call *call,
                          uint32_t callee, const struct sim_message *message)
{
    uint32_t id = sim_oracle_id(oracle, call);
    int64_t budget = sim_message_budget(message);
    bool oneway = call->kind == SIM_CALL_ONEWAY;
    SIM_CHECK(call->kind <= SIM_CALL_FORGET, "refused at a callee", "call %u, kind %d", id,
              call->kind);
    SIM_CHECK(!call->answered || !is_refusal(call->reason) || may_repeat(oracle, call),
              "refused at a callee", "call %u was answered %s", id, reason_str(call->reason));
    SIM_CHECK(call->delivered == 0 || may_repeat(oracle, call), "sent twice",
              "call %u, kind %d, is at callee %u again", id, call->kind, callee);
    SIM_CHECK(call->delivered < oracle->sim->world.service[call->service].sent_max,
              "sent too often", "call %u is at callee %u for the %u. time", id, callee,
              call->delivered + 1);
    SIM_CHECK(!call->had_unmarked || sim_message_is_marked(message), "unmarked",
              "call %u is at callee %u again", id, callee);
    SIM_CHECK(callee % SIM_SERVICES == call->service, "stranger", "call %u to service %u at %u", id,
              call->service, callee);
    SIM_CHECK(sim_name_is(message, call->name), "request", "call %u under another name", id);
    SIM_CHECK(message->type == (oneway ? WIRE_ONEWAY : WIRE_CALL), "request", "call %u as type %u",
              id, message->type);
    SIM_CHECK(budget > 0 && budget <= (int64_t)sim_oracle_bound_ms(oracle, call), "budget",
              "call %u with %lld ms left", id, (long long)budget);
    SIM_CHECK(!message->info || !call->has_header ||
                  sim_header_number(message->info, message->info_len, SIM_HEADER_REQUEST) == id,
              "header", "call %u without what came in its header", id);
}

struct sim_call *sim_oracle_request(struct sim_oracle *oracle, uint32_t callee,
                                    const struct sim_message *message)
{
    const char *text;
    uint32_t len, filling = 0;
    uint32_t id = SIM_NO_ID;
    if (sim_message_text(message, &text, &len)) {
        id = sim_text_id(text, len, 't', &filling);
    }
    SIM_CHECK(id < oracle->calls_len && oracle->calls[id].filling == filling, "request",
              "callee %u got what nobody sent", callee);
    struct sim_call *call = &oracle->calls[id];
    SIM_TRACE("callee %u has call %u", callee, id);
    check_request(oracle, call, callee, message);
    call->had_unmarked = call->had_unmarked || !sim_message_is_marked(message);
    if (call->delivered++ > 0) {
        sim_count(SIM_EVENT_CALLEE_GOT_AGAIN);
    }
    return call;
}

/* ---- at its caller --------------------------------------------------------------------------- */

/* "[tside <reason>] ...": REASON_MAX where it begins otherwise. */
static enum reason reason_of_text(const char *text, uint32_t len)
{
    static const char begin[] = "[tside ";
    size_t skip = sizeof begin - 1;
    if (len < skip || memcmp(text, begin, skip) != 0) {
        return REASON_MAX;
    }
    for (int i = 0; i < REASON_MAX; i++) {
        size_t n = strlen(reason_str((enum reason)i));
        if (len > skip + n && memcmp(text + skip, reason_str((enum reason)i), n) == 0 &&
            text[skip + n] == ']') {
            return (enum reason)i;
        }
    }
    return REASON_MAX;
}

/* The callee's own answer: it must be this call's, as the callee wrote it. */
static enum reason reason_of_reply(const struct sim_oracle *oracle, const struct sim_call *call,
                                   const struct sim_message *message)
{
    const char *text;
    uint32_t len, filling = 0;
    uint32_t id = sim_oracle_id(oracle, call);
    bool exception = message->type == WIRE_EXCEPTION;
    SIM_CHECK(sim_message_text(message, &text, &len), "answer", "call %u: no answer at all", id);
    uint32_t got = sim_text_id(text, len, exception ? 'x' : 'r', &filling);
    SIM_CHECK(got == id, "another's reply", "call %u got the reply of %u", id, got);
    SIM_CHECK(filling == (exception ? 0 : call->reply_filling), "answer", "call %u: %u bytes of %u",
              id, filling, call->reply_filling);
    if (exception) {
        return REASON_APP_EXCEPTION;
    }
    return call->deeds & SIM_DEED_FAILED ? REASON_APP_FAILURE : REASON_OK;
}

static enum reason reason_of(const struct sim_oracle *oracle, const struct sim_call *call,
                             const struct sim_message *message)
{
    const char *text;
    uint32_t len;
    if (message->type == WIRE_EXCEPTION && sim_message_text(message, &text, &len)) {
        enum reason reason = reason_of_text(text, len);
        if (reason != REASON_MAX) {
            return reason;
        }
    }
    return reason_of_reply(oracle, call, message);
}

/* No earlier than the shortest time that may have been up. */
static bool time_is_up(const struct sim_oracle *oracle, const struct sim_call *call,
                       uint64_t loop_ms)
{
    uint32_t least = sim_oracle_bound_ms(oracle, call);
    least = least < SIM_TIMEOUT_MIN_MS ? least : SIM_TIMEOUT_MIN_MS;
    return loop_ms >= call->arrived_ms + least;
}

/* Whether a reply to it may have been taken for one: not where its only one came out of turn. */
static bool is_replied(const struct sim_call *call, enum sim_deed deed)
{
    bool out_of_turn = (call->deeds & SIM_DEED_OVERTOOK) && call->delivered == 1;
    return (call->deeds & deed) && !out_of_turn;
}

/* Whether a call that may be carried can end so, in this run. */
static bool is_possible(const struct sim_oracle *oracle, const struct sim_call *call,
                        enum reason reason, uint64_t loop_ms)
{
    const struct sim *sim = oracle->sim;
    const struct sim_happened *happened = &oracle->happened;
    switch (reason) {
    case REASON_OK:
        return is_replied(call, SIM_DEED_REPLIED);
    case REASON_APP_EXCEPTION:
        return is_replied(call, SIM_DEED_EXCEPTION);
    case REASON_APP_FAILURE:
        return is_replied(call, SIM_DEED_FAILED);
    case REASON_DEGRADED:
        return sim->world.degraded;
    case REASON_DENIED:
        return sim->world.denied;
    case REASON_CONCURRENCY_LIMIT:
        return sim->plan->knobs[SIM_KNOB_SMALL_LIMITS] || sim->world.limited;
    case REASON_RATE_LIMITED:
        return sim->world.limited;
    case REASON_BREAKER_OPEN:
        return sim->world.breakers;
    case REASON_NO_ENDPOINT:
        return sim->world.lost_endpoints;
    case REASON_POOL_EXHAUSTED:
    case REASON_CONNECT_TIMEOUT: /* connecting and sending may always take too long */
    case REASON_SEND_TIMEOUT:
        return true;
    case REASON_CONNECT_FAILED:
        return happened->connect_failed || happened->memory_failed;
    case REASON_TIMEOUT:
        return time_is_up(oracle, call, loop_ms);
    case REASON_UPSTREAM_RESET:
        return happened->callee_closed || happened->memory_failed || happened->shared_lied;
    case REASON_UPSTREAM_PROTOCOL:
        return happened->callee_lied;
    case REASON_FRAME_TOO_LARGE:
        return happened->callee_huge;
    case REASON_DRAINING:
        return sim->ending;
    case REASON_INTERNAL:
        return happened->memory_failed;
    default:
        return false;
    }
}

static void check_reason(const struct sim_oracle *oracle, const struct sim_call *call,
                         enum reason reason, uint64_t loop_ms)
{
    static const enum reason refused_as[] = {[SIM_CALL_BAD] = REASON_BAD_REQUEST,
                                             [SIM_CALL_NO_ROUTE] = REASON_NO_ROUTE,
                                             [SIM_CALL_PROBE] = REASON_BAD_REQUEST};
    uint32_t id = sim_oracle_id(oracle, call);
    if (call->kind >= SIM_CALL_BAD) {
        SIM_CHECK(reason == refused_as[call->kind], "outcome", "call %u, kind %d, ended as %s", id,
                  call->kind, reason_str(reason));
        return;
    }
    SIM_CHECK(is_possible(oracle, call, reason, loop_ms), "outcome",
              "call %u ended as %s, %lld ms after it came", id, reason_str(reason),
              (long long)(loop_ms - call->arrived_ms));
    SIM_CHECK(!is_refusal(reason) || call->delivered == 0 || may_repeat(oracle, call),
              "refused at a callee", "call %u ended as %s", id, reason_str(reason));
}

/* What the callee's header says comes back, but for what is about its own connection; of tside's own answers none. */
static void check_reply_header(const struct sim_oracle *oracle, const struct sim_call *call,
                               const struct sim_message *message, enum reason reason)
{
    const struct sim *sim = oracle->sim;
    uint32_t id = sim_oracle_id(oracle, call);
    bool is_callees =
        reason == REASON_OK || reason == REASON_APP_EXCEPTION || reason == REASON_APP_FAILURE;
    bool has_one = is_callees && sim_framing_has_header(sim->world.service[call->service].framing);
    if (!message->info) {
        return;
    }
    SIM_CHECK(sim_header_number(message->info, message->info_len, SIM_HEADER_REPLY) ==
                  (has_one ? (int64_t)id : -1),
              "header", "call %u, %s: not what its callee said", id, reason_str(reason));
    SIM_CHECK(sim->draining || sim->ending ||
                  sim_header_number(message->info, message->info_len, "crrst") < 0,
              "header", "the caller of call %u is told to go away", id);
}

void sim_oracle_answer(struct sim_oracle *oracle, struct sim_call *call,
                       const struct sim_message *message, uint64_t loop_ms)
{
    uint32_t id = sim_oracle_id(oracle, call);
    SIM_CHECK(!call->answered, "one outcome", "call %u was answered before", id);
    SIM_CHECK(message->seqid == call->seqid, "answer", "call %u under seqid %d", id,
              message->seqid);
    SIM_CHECK(sim_name_is(message, call->method) || sim_name_is(message, call->name), "answer",
              "call %u under another name", id);
    enum reason reason = reason_of(oracle, call, message);
    SIM_TRACE("caller %u is told %s about call %u", call->caller, reason_str(reason), id);
    check_reason(oracle, call, reason, loop_ms);
    check_reply_header(oracle, call, message, reason);
    call->answered = true;
    call->reason = reason;
    oracle->answered[reason]++;
    SIM_CHECK(!call->logged || call->logged_reason == reason, "one outcome",
              "call %u is logged as %s and answered %s", id, reason_str(call->logged_reason),
              reason_str(reason));
    sim_count(SIM_EVENT_ANSWERED);
}

void sim_oracle_deserted(const struct sim_oracle *oracle, const struct sim_call *call)
{
    const struct sim *sim = oracle->sim;
    bool excused = oracle->happened.memory_failed || sim->ending || call->arrived_ms == 0 ||
                   call->kind == SIM_CALL_ONEWAY || call->kind == SIM_CALL_FORGET;
    SIM_CHECK(excused || call->answered, "deserted", "call %u lost its connection unanswered",
              sim_oracle_id(oracle, call));
}

/* ---- time ------------------------------------------------------------------------------------ */

/* By the product's own word: no live call's deadline has passed. */
static void check_live(const struct sim_worker *home, const struct call *call)
{
    const struct attempt *attempt =
        list_empty(&call->attempts) ? NULL
                                    : container_of(call->attempts.prev, struct attempt, in_call);
    bool sending = attempt && attempt->state == ATTEMPT_STATE_SENDING;
    if (call->state == CALL_STATE_HELD || (call->request.wire.oneway && sending)) {
        return;
    }
    SIM_CHECK(home->loop_ms <= call->budget.deadline_ms + TICK_MS, "deadline",
              "a live call is %llu ms late",
              (unsigned long long)(home->loop_ms - call->budget.deadline_ms));
}

/* By what was sent: one that waits for its only call is not kept waiting. */
static void check_caller(const struct sim *sim, const struct sim_worker *home,
                         const struct sim_caller *caller)
{
    const struct sim_link *link = caller->link;
    const struct sim_call *call = sim_caller_waits_for(caller);
    if (!call || link->home != home || link->writing || call->arrived_ms == 0 ||
        call->filling > SMALL_BYTES || sim->oracle.happened.memory_failed) {
        return;
    }
    uint64_t latest = call->arrived_ms + sim_oracle_bound_ms(&sim->oracle, call) + TICK_MS;
    SIM_CHECK(home->loop_ms <= latest, "deadline", "call %u is %llu ms late",
              sim_oracle_id(&sim->oracle, call), (unsigned long long)(home->loop_ms - latest));
}

void sim_oracle_check_deadlines(struct sim *sim, const struct sim_worker *home)
{
    const struct list *live = &home->worker->live;
    if (!home->timers_ran) {
        return;
    }
    for (struct list *n = live->next; n != live; n = n->next) {
        check_live(home, container_of(n, struct call, live));
    }
    for (uint32_t i = 0; i < sim->plan->callers_len; i++) {
        if (sim->callers[i].link) {
            check_caller(sim, home, &sim->callers[i]);
        }
    }
}

/* ---- what was logged ------------------------------------------------------------------------- */

static void take_record(struct sim_oracle *oracle, const struct record_call *record)
{
    char digits[9] = {0};
    oracle->records++;
    if (record->len[RECORD_LOG_ID] != 8) {
        return; /* not one well-formed message: it has no LogID */
    }
    memcpy(digits, record->strings, 8);
    uint32_t id = (uint32_t)strtoul(digits, NULL, 16);
    SIM_CHECK(id < oracle->calls_len, "log", "LogID %s is nobody's", digits);
    struct sim_call *call = &oracle->calls[id];
    SIM_CHECK(!call->logged, "one outcome", "call %u is logged twice", id);
    call->logged = true;
    call->logged_reason = (enum reason)record->reason;
    SIM_CHECK(!call->answered || call->reason == call->logged_reason, "one outcome",
              "call %u was answered %s and is logged as %s", id, reason_str(call->reason),
              reason_str(call->logged_reason));
}

void sim_oracle_read_rings(struct sim_oracle *oracle)
{
    for (uint32_t i = 0; i < oracle->sim->plan->workers; i++) {
        struct ring *ring = &oracle->sim->workers[i].worker->ring;
        const void *record;
        uint32_t len;
        while ((record = ring_peek(ring, &len))) {
            const struct record_call *call = record;
            if (call->type == RECORD_CALL) {
                take_record(oracle, call);
            }
            ring_next(ring);
        }
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool add_sums(void *arg, const struct tuple_state *state)
{
    uint64_t *reasons = arg;
    struct tuple_sums sums;
    tuple_state_sum(state, &sums);
    SIM_CHECK(sums.inflight == 0, "accounts", "%llu calls in flight",
              (unsigned long long)sums.inflight);
    for (int i = 0; i < REASON_MAX; i++) {
        reasons[i] += sums.reason[i];
    }
    return true;
}

static uint64_t counted(const struct sim *sim, enum metric metric)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < sim->plan->workers; i++) {
        sum += counter_get(&sim->workers[i].worker->counters, metric);
    }
    return sum;
}

/* Every call that came is counted once; of those that were answered it is known as what. */
static void check_counts(const struct sim_oracle *oracle, const uint64_t reasons[REASON_MAX])
{
    uint64_t total = 0, arrived = 0;
    for (uint32_t i = 0; i < oracle->calls_len; i++) {
        arrived += oracle->calls[i].arrived_ms > 0;
    }
    for (int i = 0; i < REASON_MAX; i++) {
        SIM_CHECK(reasons[i] >= oracle->answered[i], "accounts", "%s: %llu counted, %llu answered",
                  reason_str((enum reason)i), (unsigned long long)reasons[i],
                  (unsigned long long)oracle->answered[i]);
        total += reasons[i];
        sim_report->reasons[i] += reasons[i];
    }
    SIM_CHECK(total <= oracle->calls_len, "accounts", "%llu calls counted, %u sent",
              (unsigned long long)total, oracle->calls_len);
    SIM_CHECK(!oracle->sim->plan->calm || total == arrived, "accounts",
              "%llu calls counted, %llu came", (unsigned long long)total,
              (unsigned long long)arrived);
    uint64_t unlogged = counted(oracle->sim, METRIC_CALLS_UNLOGGED);
    SIM_CHECK(counted(oracle->sim, METRIC_LOG_DROPPED) > 0 || oracle->records + unlogged == total,
              "log", "%llu calls, %llu in the log, %llu left out", (unsigned long long)total,
              (unsigned long long)oracle->records, (unsigned long long)unlogged);
}

void sim_oracle_check_end(struct sim_oracle *oracle)
{
    static const enum metric gauges[] = {METRIC_CONNECTIONS,   METRIC_UPSTREAM_CONNECTIONS,
                                         METRIC_UPSTREAM_IDLE, METRIC_CALLS_INFLIGHT,
                                         METRIC_POOL_WAITING,  METRIC_BUFFERED_BYTES};
    uint64_t reasons[REASON_MAX] = {0};
    sim_oracle_read_rings(oracle);
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
        SIM_CHECK(counted(oracle->sim, gauges[i]) == 0, "gauges", "number %d is left at %llu",
                  (int)gauges[i], (unsigned long long)counted(oracle->sim, gauges[i]));
    }
    sim_report->events[SIM_EVENT_BREAKER_OPENED] += counted(oracle->sim, METRIC_BREAKER_OPENED);
    sim_report->events[SIM_EVENT_LATE_DROPPED] += counted(oracle->sim, METRIC_LATE_REPLIES);
    sim_report->events[SIM_EVENT_EJECTED] += counted(oracle->sim, METRIC_EJECTIONS);
    sim_report->events[SIM_EVENT_FAILED_OPEN] += counted(oracle->sim, METRIC_FAIL_OPEN);
    tuple_table_each(oracle->sim->env.tuples, add_sums, reasons);
    check_counts(oracle, reasons);
}
