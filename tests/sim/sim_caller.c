/*
 * tests/sim/sim_caller.c: see sim_caller.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_caller.h"

#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

/* Built ahead of what the connection takes, at most. */
#define OUT_BYTES_MAX 65536
/* Bytes that came so short a while ago may cross with tside's closing. */
#define UNREAD_MAX_US 100000

struct sim_caller_traits {
    uint32_t depth;        /* calls under way at once */
    uint32_t piece_bytes;  /* written or taken at once */
    uint32_t room_bytes;   /* of replies that its kernel holds */
    uint32_t think_ms;     /* between two calls, at most */
    uint32_t sleep_one_in; /* acts, for seconds: 0: never; likewise below */
    uint32_t vanish_one_in;
    uint32_t hostile_one_in; /* calls */
    uint32_t oneway_one_in;
    bool half_closes;
    bool large;
};

static const struct sim_caller_traits traits[SIM_CALLER_KINDS] = {
    [SIM_CALLER_POLITE] = {.depth = 1, .piece_bytes = 65536, .room_bytes = 65536, .think_ms = 60},
    [SIM_CALLER_PIPELINING] = {.depth = 12, .piece_bytes = 4096, .room_bytes = 65536},
    [SIM_CALLER_FLOODING] = {.depth = 48, .piece_bytes = 65536, .room_bytes = 16384, .large = true},
    [SIM_CALLER_SLOW] = {.depth = 2, .piece_bytes = 7, .room_bytes = 300},
    [SIM_CALLER_HALF_CLOSING] = {.depth = 6,
                                 .piece_bytes = 4096,
                                 .room_bytes = 65536,
                                 .half_closes = true},
    [SIM_CALLER_VANISHING] = {.depth = 6,
                              .piece_bytes = 1000,
                              .room_bytes = 4096,
                              .vanish_one_in = 30},
    [SIM_CALLER_HOSTILE] = {.depth = 4,
                            .piece_bytes = 2000,
                            .room_bytes = 65536,
                            .hostile_one_in = 3},
    [SIM_CALLER_SLEEPING] =
        {.depth = 24, .piece_bytes = 65536, .room_bytes = 2000, .sleep_one_in = 40, .large = true},
    [SIM_CALLER_SPRAYING] = {.depth = 4,
                             .piece_bytes = 4096,
                             .room_bytes = 65536,
                             .oneway_one_in = 2},
};

static bool one_in(struct sim_caller *caller, uint32_t n)
{
    return n > 0 && random_one_in(&caller->random, n);
}

/* ---- what tside tells it --------------------------------------------------------------------- */

static bool is_expected(const struct sim_call *call)
{
    return call->kind != SIM_CALL_FORGET && !call->answered;
}

static void advance_front(struct sim_caller *caller)
{
    while (caller->front < caller->queue_len && !is_expected(caller->queue[caller->front])) {
        caller->front++;
    }
}

/* In any order: by the seqid, which is unique there. */
static struct sim_call *find_by_seqid(const struct sim_caller *caller,
                                      const struct sim_message *message)
{
    for (uint32_t i = 0; i < caller->queue_len; i++) {
        struct sim_call *call = caller->queue[i];
        if (!call->answered && call->seqid == message->seqid) {
            return call;
        }
    }
    return NULL;
}

static bool may_be_for(const struct sim_call *call, const struct sim_message *message)
{
    return !call->answered && call->seqid == message->seqid && sim_name_is(message, call->method);
}

/* In order: the first that is open. What need not be answered may be passed over, also once the
 * front is beyond it. */
static struct sim_call *find_in_order(const struct sim_caller *caller,
                                      const struct sim_message *message)
{
    for (uint32_t i = caller->front; i-- > 0 && caller->queue[i]->kind == SIM_CALL_FORGET;) {
        if (may_be_for(caller->queue[i], message)) {
            return caller->queue[i];
        }
    }
    for (uint32_t i = caller->front; i < caller->queue_len; i++) {
        struct sim_call *call = caller->queue[i];
        if (is_expected(call) || may_be_for(call, message)) {
            return call;
        }
    }
    return NULL;
}

/* The sequence of the header in front of a call; an answer has it again. */
static int32_t sequence_of(uint32_t id)
{
    return (int32_t)(id * 2654435761u);
}

static void take_answer(struct sim_caller *caller, const struct sim_framed *framed)
{
    struct sim_message message;
    SIM_CHECK(sim_message_read(framed->body, framed->len, &message), "answer",
              "caller %u got no message", caller->number);
    message.info = framed->info;
    message.info_len = framed->info_len;
    struct sim_call *call =
        caller->any_order ? find_by_seqid(caller, &message) : find_in_order(caller, &message);
    SIM_CHECK(call, "answer", "caller %u got an answer to nothing", caller->number);
    SIM_CHECK(call->arrived_ms > 0, "answer", "caller %u got an answer before it had asked",
              caller->number);
    SIM_CHECK(!framed->info ||
                  framed->sequence == sequence_of(sim_oracle_id(&caller->sim->oracle, call)),
              "answer", "caller %u got a header with another call's sequence", caller->number);
    sim_oracle_answer(&caller->sim->oracle, call, &message, caller->link->home->loop_ms);
    advance_front(caller);
}

static void on_sent(void *owner, const uint8_t *bytes, size_t n)
{
    struct sim_caller *caller = owner;
    struct sim_framed framed;
    sim_pipe_put(&caller->told, bytes, n);
    while (sim_framing_next(&caller->told, caller->framing, &framed)) {
        take_answer(caller, &framed);
        sim_pipe_skip(&caller->told, framed.whole);
    }
}

static void on_read(void *owner, uint64_t total)
{
    struct sim_caller *caller = owner;
    while (caller->arrived < caller->sent_len && caller->sent[caller->arrived]->end <= total) {
        caller->sent[caller->arrived++]->arrived_ms = caller->link->home->loop_ms;
    }
}

/* Whether tside may let go of it with calls open. */
static bool may_be_dropped(const struct sim_caller *caller)
{
    return caller->broken || caller->traits->sleep_one_in > 0 ||
           caller->traits->vanish_one_in > 0 || caller->traits->room_bytes < OUT_BYTES_MAX;
}

/* A connection is not closed for silence while the caller's bytes lie there to be read. */
static void check_unread(const struct sim_caller *caller)
{
    const struct sim *sim = caller->sim;
    bool excused = may_be_dropped(caller) || sim->draining || sim->ending ||
                   sim->oracle.happened.memory_failed;
    SIM_CHECK(excused || caller->link->left_unread_us <= UNREAD_MAX_US, "deserted",
              "caller %u was not read from for %llu us, and left", caller->number,
              (unsigned long long)caller->link->left_unread_us);
}

static void on_closed(void *owner)
{
    struct sim_caller *caller = owner;
    check_unread(caller);
    if (caller->queue_len == 0) {
        sim_count(SIM_EVENT_CALLER_REFUSED);
    }
    for (uint32_t i = 0; i < caller->queue_len && !may_be_dropped(caller); i++) {
        sim_oracle_deserted(&caller->sim->oracle, caller->queue[i]);
    }
}

static const struct sim_peer_ops peer_ops = {.sent = on_sent, .read = on_read, .closed = on_closed};

/* ---- its connection -------------------------------------------------------------------------- */

static void connect_link(struct sim_caller *caller)
{
    struct sim *sim = caller->sim;
    uint32_t most = caller->calls_left < SIM_CONNECTION_CALLS_MAX ? caller->calls_left
                                                                  : SIM_CONNECTION_CALLS_MAX;
    struct sim_worker *home = &sim->workers[random_below(&caller->random, sim->plan->workers)];
    caller->link = sim_link_new(home, random_next(&caller->random));
    caller->link->partial = sim->plan->knobs[SIM_KNOB_PARTIAL];
    caller->link->room = caller->traits->room_bytes;
    caller->link->peer = &peer_ops;
    caller->link->peer_owner = caller;
    caller->any_order = one_in(caller, 4);
    caller->link->in_any_order = caller->any_order;
    caller->framing = (enum sim_framing)random_below(&caller->random, SIM_FRAMINGS);
    caller->zero_seqids = !caller->any_order && one_in(caller, 3);
    caller->conn_calls_left = 1 + random_below(&caller->random, most);
    SIM_TRACE("caller %u connects, %s", caller->number, sim_framing_str(caller->framing));
    sim_count(SIM_EVENT_CALLER_CONNECTED);
}

static void forget_connection(struct sim_caller *caller)
{
    caller->link = NULL;
    caller->broken = caller->shut = false;
    caller->out.len = caller->out_at = 0;
    caller->written = 0;
    sim_pipe_skip(&caller->told, caller->told.len);
    caller->queue_len = caller->front = caller->sent_len = caller->arrived = 0;
}

static void leave(struct sim_caller *caller, bool reset)
{
    struct sim_link *link = caller->link;
    SIM_TRACE("caller %u leaves%s", caller->number, reset ? " by a reset" : "");
    forget_connection(caller);
    sim_link_close(link, reset);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static enum sim_call_kind kind_of_call(struct sim_caller *caller)
{
    if (one_in(caller, caller->traits->hostile_one_in)) {
        uint32_t n = random_below(&caller->random, 8);
        return n == 0 ? SIM_CALL_PROBE : n < 3 ? SIM_CALL_NO_ROUTE : SIM_CALL_BAD;
    }
    if (one_in(caller, caller->traits->oneway_one_in)) {
        /* Without seqids nobody could tell which of several was answered after all. */
        return !caller->zero_seqids && one_in(caller, 4) ? SIM_CALL_FORGET : SIM_CALL_ONEWAY;
    }
    return SIM_CALL_CALL;
}

static uint32_t filling_of_call(struct sim_caller *caller)
{
    if (caller->sim->plan->knobs[SIM_KNOB_LARGE_MESSAGES] &&
        one_in(caller, caller->traits->large ? 10 : 60)) {
        return random_below(&caller->random, SIM_FRAME_BYTES_MAX - 1000);
    }
    return random_below(&caller->random, one_in(caller, 10) ? 6000 : 120);
}

static void name_call(struct sim_caller *caller, struct sim_call *call, bool *ret_prefixed)
{
    static const char *const methods[] = {"Visit", "Fetch"};
    static const char *const prefixed[SIM_SERVICES][2] = {{"svc.0:Visit", "svc.0:Fetch"},
                                                          {"svc.1:Visit", "svc.1:Fetch"}};
    uint32_t n = random_below(&caller->random, 2);
    *ret_prefixed = call->kind <= SIM_CALL_ONEWAY && one_in(caller, 6);
    call->method = call->kind == SIM_CALL_FORGET  ? "Forget"
                   : call->kind == SIM_CALL_PROBE ? "__can__finagle__trace__v3__"
                                                  : methods[n];
    call->name = *ret_prefixed ? prefixed[call->service][n] : call->method;
}

static struct sim_call *new_call(struct sim_caller *caller)
{
    static const uint32_t budgets[] = {5, 20, 60, 200};
    struct sim_call *call = sim_oracle_new(&caller->sim->oracle);
    if (!call) {
        return NULL;
    }
    call->kind = kind_of_call(caller);
    call->caller = caller->number;
    call->service = random_below(&caller->random, SIM_SERVICES);
    call->seqid = caller->zero_seqids
                      ? 0
                      : (int32_t)sim_oracle_id(&caller->sim->oracle, call) - SIM_CALLS_MAX / 2;
    call->filling = filling_of_call(caller);
    call->budget_ms = one_in(caller, 3) ? budgets[random_below(&caller->random, 4)] : 0;
    call->marked = one_in(caller, 4);
    return call;
}

/* Part of what is asked for stands in the header instead, where there is one. */
static struct sim_header header_for(struct sim_caller *caller, struct sim_request *request)
{
    struct sim_header header = {
        .sequence = sequence_of(request->id), .transit = SIM_HEADER_REQUEST, .number = request->id};
    if (sim_framing_has_header(caller->framing) && one_in(caller, 2)) {
        header.to_service = request->service;
        header.budget_ms = request->budget_ms;
        header.is_marked = request->marked;
        request->service = NULL;
        request->budget_ms = 0;
        request->marked = false;
    }
    return header;
}

static void frame_call(struct sim_caller *caller, const struct sim_header *header, size_t begin)
{
    sim_framing_wrap(&caller->out, begin, caller->framing, header);
    sim_count(caller->framing == SIM_UNFRAMED ? SIM_EVENT_UNFRAMED_SENT
              : caller->framing == SIM_FRAMED ? SIM_EVENT_FRAMED_SENT
                                              : SIM_EVENT_TTHEADER_SENT);
}

static void write_call(struct sim_caller *caller, struct sim_call *call)
{
    bool prefixed;
    char from[16];
    size_t begin = caller->out.len;
    name_call(caller, call, &prefixed);
    snprintf(from, sizeof from, "app.%u", caller->number % 4);
    struct sim_request request = {
        .id = sim_oracle_id(&caller->sim->oracle, call),
        .type = call->kind == SIM_CALL_ONEWAY ? WIRE_ONEWAY : WIRE_CALL,
        .name = call->name,
        .seqid = call->seqid,
        .filling = call->filling,
        .caller = from,
        .service =
            prefixed || call->kind == SIM_CALL_NO_ROUTE ? NULL : sim_service_name(call->service),
        .budget_ms = call->budget_ms,
        .marked = call->marked,
        .in_text = one_in(caller, 4),
    };
    struct sim_header header = header_for(caller, &request);
    sim_wire_request(&caller->out, &request);
    if (call->kind == SIM_CALL_BAD) {
        uint32_t ways = caller->framing == SIM_UNFRAMED ? SIM_DAMAGE_UNFRAMED : SIM_DAMAGE_MAX;
        sim_wire_damage(&caller->out, begin, (enum sim_damage)random_below(&caller->random, ways));
    }
    frame_call(caller, &header, begin);
    SIM_TRACE("caller %u makes call %u, kind %d, %zu bytes", caller->number, request.id, call->kind,
              caller->out.len - begin);
    call->has_header = sim_framing_has_header(caller->framing);
    caller->written += caller->out.len - begin;
    call->end = caller->written;
    if (caller->framing == SIM_UNFRAMED && call->kind == SIM_CALL_BAD) {
        /* Nothing says where it ends: it is answered as soon as it is seen, and is the last. */
        call->end -= caller->out.len - begin - 1;
        caller->broken = true;
        caller->conn_calls_left = 0;
    }
}

static void count_call(const struct sim_call *call)
{
    bool oneway = call->kind == SIM_CALL_ONEWAY || call->kind == SIM_CALL_FORGET;
    sim_count(call->kind >= SIM_CALL_BAD ? SIM_EVENT_REFUSABLE_SENT
              : oneway                   ? SIM_EVENT_ONEWAY_SENT
                                         : SIM_EVENT_CALL_SENT);
}

static void add_call(struct sim_caller *caller)
{
    struct sim_call *call = new_call(caller);
    caller->conn_calls_left--;
    caller->calls_left--;
    if (!call) {
        caller->conn_calls_left = caller->calls_left = 0;
        return;
    }
    write_call(caller, call);
    count_call(call);
    caller->sent[caller->sent_len++] = call;
    if (call->kind != SIM_CALL_ONEWAY) {
        caller->queue[caller->queue_len++] = call;
        advance_front(caller);
    }
}

/* Something behind which the stream cannot be followed. */
static void break_stream(struct sim_caller *caller)
{
    static const char *const ends[] = {
        "0000 0000",                                              /* an empty frame */
        "7fff ffff 8001 0001",                                    /* far above the limit */
        "0000 0014 8002 0001 0000 0001 41",                       /* another version */
        "0000 0011 8001 0002 0000 0001 41 0000 0000 00 00 00 00", /* a reply */
        "0000 0010 8001 0001 7000 0000 4141 4141 4141 4141",      /* a name longer than its frame */
        "0000 0020 8001 0001",    /* a frame that is never finished */
        "0000 0005 8001 0001 00", /* shorter than a header */
    };
    bytes_put_hex(&caller->out, ends[random_below(&caller->random, sizeof ends / sizeof ends[0])]);
    caller->broken = true;
    caller->conn_calls_left = 0;
    sim_count(SIM_EVENT_BROKEN_SENT);
}

static uint32_t open_calls(const struct sim_caller *caller)
{
    uint32_t open = 0;
    for (uint32_t i = caller->front; i < caller->queue_len; i++) {
        open += is_expected(caller->queue[i]);
    }
    return open;
}

/* One call after the other: the next when the reply has been read, too. */
static bool may_call(const struct sim_caller *caller)
{
    bool waits = caller->traits->depth == 1 && caller->link->out.len > 0;
    return caller->conn_calls_left > 0 && !waits && open_calls(caller) < caller->traits->depth &&
           caller->out.len - caller->out_at < OUT_BYTES_MAX;
}

static void build(struct sim_caller *caller)
{
    while (may_call(caller)) {
        add_call(caller);
        if (!caller->broken && one_in(caller, caller->traits->hostile_one_in * 10)) {
            break_stream(caller);
        }
        if (caller->traits->think_ms > 0) {
            caller->wake_us = caller->sim->clock_us +
                              random_below(&caller->random, caller->traits->think_ms * 1000);
            break;
        }
    }
}

/* ---- acting ---------------------------------------------------------------------------------- */

static bool has_to_write(const struct sim_caller *caller)
{
    return caller->out_at < caller->out.len && sim_link_has_room(caller->link);
}

static void write_some(struct sim_caller *caller)
{
    size_t left = caller->out.len - caller->out_at;
    size_t most = left < caller->traits->piece_bytes ? left : caller->traits->piece_bytes;
    if (most > 1 && caller->sim->plan->knobs[SIM_KNOB_PARTIAL] && one_in(caller, 2)) {
        most = 1 + random_below(&caller->random, (uint32_t)most);
    }
    caller->out_at += sim_link_write(caller->link, caller->out.p + caller->out_at, most);
    if (caller->out_at == caller->out.len) {
        caller->out.len = caller->out_at = 0;
    }
}

static void take_some(struct sim_caller *caller)
{
    struct sim_pipe taken = {0};
    uint32_t piece = caller->traits->piece_bytes;
    uint32_t least = caller->traits->room_bytes / 8; /* else a large reply takes for ever */
    (void)sim_link_take(caller->link, &taken, piece > least ? piece : least);
    sim_pipe_done(&taken);
}

/* All calls of the connection are built and written. */
static bool is_written(const struct sim_caller *caller)
{
    return caller->conn_calls_left == 0 && caller->out_at == caller->out.len;
}

static bool wants_to_shut(const struct sim_caller *caller)
{
    return caller->traits->half_closes && !caller->shut && is_written(caller);
}

static bool wants_to_leave(const struct sim_caller *caller)
{
    return is_written(caller) && !caller->broken && !caller->traits->half_closes &&
           open_calls(caller) == 0 && caller->arrived == caller->sent_len;
}

static void come_to_an_end(struct sim_caller *caller)
{
    if (wants_to_shut(caller)) {
        caller->shut = true;
        sim_link_shut(caller->link);
        sim_count(SIM_EVENT_CALLER_HALF_CLOSED);
    } else if (wants_to_leave(caller)) {
        sim_count(SIM_EVENT_CALLER_CLOSED);
        leave(caller, false);
    }
}

static bool is_asleep(const struct sim_caller *caller)
{
    return caller->wake_us > caller->sim->clock_us;
}

bool sim_caller_can_act(const struct sim_caller *caller)
{
    if (!caller->link) {
        return caller->calls_left > 0 && !is_asleep(caller);
    }
    if (sim_link_is_over(caller->link)) {
        return true;
    }
    bool takes = sim_link_has_bytes(caller->link) &&
                 (caller->traits->sleep_one_in == 0 || !is_asleep(caller));
    return takes || has_to_write(caller) || (may_call(caller) && !is_asleep(caller)) ||
           wants_to_shut(caller) || wants_to_leave(caller);
}

/* It comes again, if it has calls left; not at once, for it may have been refused. */
static void lose_connection(struct sim_caller *caller)
{
    leave(caller, false);
    caller->wake_us = caller->sim->clock_us + 1000 + random_below(&caller->random, 20000);
}

static void act_on_link(struct sim_caller *caller)
{
    if (sim_link_has_bytes(caller->link) && !one_in(caller, 4)) {
        take_some(caller);
    }
    if (!is_asleep(caller)) {
        build(caller);
    }
    if (has_to_write(caller)) {
        write_some(caller);
    }
    if (one_in(caller, caller->traits->sleep_one_in)) {
        caller->wake_us = caller->sim->clock_us + random_below(&caller->random, 4000000);
    }
    come_to_an_end(caller);
}

void sim_caller_act(struct sim_caller *caller)
{
    if (!caller->link) {
        connect_link(caller);
    } else if (sim_link_is_over(caller->link)) {
        lose_connection(caller);
    } else if (open_calls(caller) > 0 && one_in(caller, caller->traits->vanish_one_in)) {
        sim_count(SIM_EVENT_CALLER_VANISHED);
        leave(caller, one_in(caller, 2));
    } else {
        act_on_link(caller);
    }
}

uint64_t sim_caller_next_us(const struct sim_caller *caller)
{
    return is_asleep(caller) ? caller->wake_us : UINT64_MAX;
}

bool sim_caller_is_done(const struct sim_caller *caller)
{
    return !caller->link && caller->calls_left == 0;
}

void sim_caller_stop(struct sim_caller *caller)
{
    caller->calls_left = 0;
    caller->conn_calls_left = 0;
}

const struct sim_call *sim_caller_waits_for(const struct sim_caller *caller)
{
    bool waits = caller->link && caller->traits->depth == 1 && caller->front < caller->queue_len;
    return waits ? caller->queue[caller->front] : NULL;
}

/* ---- birth and death ------------------------------------------------------------------------- */

void sim_caller_open(struct sim_caller *caller, struct sim *sim, uint32_t number)
{
    const struct sim_plan_peer *plan = &sim->plan->callers[number];
    caller->sim = sim;
    caller->number = number;
    caller->traits = &traits[plan->kind];
    caller->random.state = plan->seed;
    caller->calls_left = plan->off ? 0 : sim->plan->calls_each;
    caller->wake_us = sim->clock_us + random_below(&caller->random, 20000);
}

void sim_caller_done(struct sim_caller *caller)
{
    if (caller->link) {
        leave(caller, false);
    }
    bytes_done(&caller->out);
    sim_pipe_done(&caller->told);
}
