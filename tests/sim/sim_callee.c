/*
 * tests/sim/sim_callee.c: see sim_callee.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_callee.h"

#include "tests/sim/sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* A reply that is not due yet, of a connection that calls share. */
struct held {
    struct list node;
    uint64_t due_us;
    bool is_cut;    /* nothing follows it */
    bool overtakes; /* a liar's, that goes in front of others */
    uint32_t id;    /* of the call */
    struct bytes bytes;
};

struct conn {
    struct list node;
    struct sim_callee *callee;
    struct sim_link *link;
    struct sim_pipe in; /* taken, up to the last whole frame */
    struct bytes out;   /* replies, written up to out_at */
    struct list held;   /* those that go behind them, each in its time */
    size_t out_at;
    uint64_t due_us;   /* out is written from then on */
    uint64_t close_us; /* it is closed; UINT64_MAX: not by itself */
    bool resets;       /* ... with a reset */
    bool is_cut;       /* out ends within a reply */
    bool busy;         /* has a call whose reply is not out */
    bool had_call, had_oneway;
    bool is_retired;     /* it has said that it closes it */
    bool answered_early; /* the frame that is coming in */
};

static bool one_in(struct sim_callee *callee, uint32_t n)
{
    return random_one_in(&callee->random, n);
}

static uint64_t later(struct sim_callee *callee, uint32_t most_ms)
{
    return callee->sim->clock_us + random_below(&callee->random, most_ms * 1000 + 1);
}

/* Whether its service's calls may share connections. */
static bool is_shared(const struct sim_callee *callee)
{
    return callee->sim->world.service[callee->number % SIM_SERVICES].mux;
}

/* ... and are answered in the order in which they came. */
static bool is_in_order(const struct sim_callee *callee)
{
    return is_shared(callee) && callee->sim->world.in_order;
}

static enum sim_framing framing_of(const struct sim_callee *callee)
{
    return callee->sim->world.service[callee->number % SIM_SERVICES].framing;
}

/* In front of the message that comes in; more than that: it is not known yet. */
static size_t head_of(const struct conn *conn)
{
    return sim_framing_head(framing_of(conn->callee), sim_pipe_bytes(&conn->in), conn->in.len);
}

static struct sim_happened *happened(struct sim_callee *callee)
{
    return &callee->sim->oracle.happened;
}

/* ---- connections ----------------------------------------------------------------------------- */

static void on_sent(void *owner, const uint8_t *bytes, size_t n)
{
    (void)owner;
    (void)bytes;
    (void)n;
}

static void on_read(void *owner, uint64_t total)
{
    (void)owner;
    (void)total;
}

static void on_closed(void *owner)
{
    (void)owner; /* seen when what was sent has been taken */
}

static const struct sim_peer_ops peer_ops = {.sent = on_sent, .read = on_read, .closed = on_closed};

/* Not one byte of a refused message: what came of one that never came whole is looked at, too. */
static void check_rest(const struct conn *conn)
{
    const struct sim_oracle *oracle = &conn->callee->sim->oracle;
    struct sim_message message;
    uint32_t id = SIM_NO_ID;
    size_t head = head_of(conn);
    if (conn->in.len > head && sim_message_read(sim_pipe_bytes(&conn->in) + head,
                                                (uint32_t)(conn->in.len - head), &message)) {
        id = sim_message_id_begun(&message);
    }
    SIM_CHECK(id == SIM_NO_ID ||
                  (id < oracle->calls_len && oracle->calls[id].kind <= SIM_CALL_FORGET),
              "refused at a callee", "the beginning of call %u", id);
}

static struct held *held_at(struct list *node)
{
    return container_of(node, struct held, node);
}

static void free_held(struct held *held)
{
    list_remove(&held->node);
    bytes_done(&held->bytes);
    sim_give(held);
}

static void free_conn(struct conn *conn)
{
    struct list *node;
    check_rest(conn);
    while ((node = list_first(&conn->held))) {
        free_held(held_at(node));
    }
    list_remove(&conn->node);
    sim_pipe_done(&conn->in);
    bytes_done(&conn->out);
    sim_give(conn);
}

static void close_conn(struct conn *conn, bool reset)
{
    sim_link_close(conn->link, reset);
    free_conn(conn);
}

static void refuse(struct sim_callee *callee, struct sim_link *link)
{
    static const int at_once[] = {-EMFILE, -EADDRNOTAVAIL, -ENETUNREACH, -EPERM, -ECONNREFUSED};
    switch (random_below(&callee->random, 4)) {
    case 0:
        link->connect_us = 0;
        link->connect_status = at_once[random_below(&callee->random, 5)];
        happened(callee)->connect_failed = true;
        sim_count(SIM_EVENT_CONNECT_AT_ONCE);
        break;
    case 1:
        link->connect_us = UINT64_MAX;
        sim_count(SIM_EVENT_CONNECT_HUNG);
        break;
    case 2:
        link->is_self = true;
        happened(callee)->connect_failed = true;
        sim_count(SIM_EVENT_CONNECT_SELF);
        break;
    default:
        link->connect_status = -ECONNREFUSED;
        happened(callee)->connect_failed = true;
        break;
    }
}

static struct sim_callee *callee_at(struct sim *sim, const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    return &sim->callees[ntohs(v4->sin_port) - SIM_CALLEE_PORT];
}

struct sim_link *sim_callee_dial(struct sim_worker *home, const struct sockaddr *address)
{
    struct sim_callee *callee = callee_at(home->sim, address);
    struct sim_link *link = sim_link_new(home, random_next(&callee->random));
    struct conn *conn = sim_take(sizeof *conn);
    conn->callee = callee;
    conn->link = link;
    conn->close_us = UINT64_MAX;
    list_init(&conn->held);
    link->state = SIM_LINK_CONNECTING;
    link->partial = home->sim->plan->knobs[SIM_KNOB_PARTIAL];
    link->room = callee->kind == SIM_CALLEE_SLOW ? 200 : SIM_LINK_ROOM_BYTES;
    link->peer = &peer_ops;
    link->peer_owner = conn;
    link->connect_us = later(callee, one_in(callee, 10) ? 10 : 1) + 1;
    list_push_back(&callee->conns, &conn->node);
    if (callee->kind == SIM_CALLEE_REFUSING && !one_in(callee, 3)) {
        refuse(callee, link);
    }
    return link;
}

/* ---- replies --------------------------------------------------------------------------------- */

static struct sim_reply reply_to(struct sim_callee *callee, const struct sim_call *call,
                                 const struct sim_message *message)
{
    const struct sim *sim = callee->sim;
    bool large = sim->plan->knobs[SIM_KNOB_LARGE_MESSAGES] && one_in(callee, 20);
    bool bare = one_in(callee, 2);
    return (struct sim_reply){
        .id = sim_oracle_id(&sim->oracle, call),
        .type = WIRE_REPLY,
        .name = bare ? call->method : message->name,
        .name_len = bare ? strlen(call->method) : message->name_len,
        .seqid = message->seqid,
        .filling = random_below(&callee->random, large ? SIM_FRAME_BYTES_MAX - 1000 : 200),
    };
}

/* Whether it says with a good reply that it will close the connection. */
static bool retires(struct conn *conn)
{
    struct sim_callee *callee = conn->callee;
    if (!sim_framing_has_header(framing_of(callee)) || is_shared(callee) || !one_in(callee, 20)) {
        return false;
    }
    SIM_TRACE("callee %u is to close link %u", callee->number, conn->link->number);
    sim_count(SIM_EVENT_CALLEE_RETIRES);
    conn->is_retired = true;
    return true;
}

/* What was put from there on goes out as the callee speaks; a header has a sequence that nobody asked for. */
static void speak(struct conn *conn, size_t from, uint32_t id, bool is_last)
{
    enum sim_framing framing = framing_of(conn->callee);
    const struct sim_header header = {
        .transit = SIM_HEADER_REPLY, .number = id, .sequence = -7, .is_reset = is_last};
    sim_framing_wrap(&conn->out, from, framing, &header);
    sim_count(framing == SIM_UNFRAMED ? SIM_EVENT_UNFRAMED_ANSWERED
              : framing == SIM_FRAMED ? SIM_EVENT_FRAMED_ANSWERED
                                      : SIM_EVENT_TTHEADER_ANSWERED);
}

static void put_reply(struct conn *conn, struct sim_call *call, const struct sim_message *message)
{
    struct sim_callee *callee = conn->callee;
    size_t from = conn->out.len;
    struct sim_reply reply = reply_to(callee, call, message);
    if (one_in(callee, 12)) {
        reply.type = WIRE_EXCEPTION;
        sim_wire_exception(&conn->out, &reply);
        speak(conn, from, reply.id, retires(conn));
        call->deeds |= SIM_DEED_EXCEPTION;
        sim_count(SIM_EVENT_CALLEE_EXCEPTION);
        return;
    }
    bool fails = one_in(callee, 12);
    if (call->deeds & (SIM_DEED_FAILED | SIM_DEED_REPLIED)) { /* sent again: the same reply */
        fails = call->deeds & SIM_DEED_FAILED;
        reply.filling = call->reply_filling;
    }
    reply.code = fails ? 503 : 0;
    sim_wire_reply(&conn->out, &reply);
    speak(conn, from, reply.id, retires(conn));
    call->deeds |= fails ? SIM_DEED_FAILED : SIM_DEED_REPLIED;
    call->reply_filling = reply.filling;
    sim_count(fails ? SIM_EVENT_CALLEE_FAILURE : SIM_EVENT_CALLEE_REPLIED);
}

/* What is no reply to the call, in one of the ways there are. */
static void lie(struct conn *conn, struct sim_call *call, const struct sim_message *message)
{
    struct sim_callee *callee = conn->callee;
    struct sim_reply reply = reply_to(callee, call, message);
    size_t from = conn->out.len;
    enum sim_framing framing = framing_of(callee);
    uint32_t ways = framing == SIM_UNFRAMED ? 6 : framing == SIM_FRAMED ? 8 : 10;
    uint32_t way = random_below(&callee->random, ways);
    reply.filling %= 100; /* else two of them are above the limit */
    happened(callee)->callee_lied = true;
    conn->busy = false; /* a good reply may be among them */
    sim_count(SIM_EVENT_CALLEE_LIED);
    happened(callee)->shared_lied |= is_shared(callee);
    if (way == 0) { /* of a shared connection one that is nobody else's */
        int32_t far = is_shared(callee) ? 100000 : 1;
        reply.seqid += one_in(callee, 2) ? far : -far;
    } else if (way == 1) {
        reply.name = "Nobody";
        reply.name_len = 6;
    } else if (way == 2) {
        reply.type = one_in(callee, 2) ? WIRE_CALL : (enum wire_message_type)7;
    } else if (way == 3) { /* the right one, and once more */
        put_reply(conn, call, message);
        from = conn->out.len;
    }
    sim_wire_reply(&conn->out, &reply);
    if (way >= 4 && way < 8) {
        sim_wire_damage(&conn->out, from, (enum sim_damage)(way - 4));
    }
    speak(conn, from, reply.id, false);
    if (way >= 8) { /* another magic, or a header longer than its frame */
        conn->out.p[from + (way == 8 ? 5 : 12)] ^= 0xff;
    }
}

static void put_huge(struct conn *conn, const struct sim_call *call,
                     const struct sim_message *message)
{
    struct sim_reply reply = reply_to(conn->callee, call, message);
    reply.filling = SIM_FRAME_BYTES_MAX;
    size_t from = conn->out.len;
    sim_wire_reply(&conn->out, &reply);
    speak(conn, from, reply.id, false);
    happened(conn->callee)->callee_huge = true;
    happened(conn->callee)->shared_lied |= is_shared(conn->callee);
    sim_count(SIM_EVENT_CALLEE_HUGE);
}

/* Ends the connection before all of the reply, or a part of it, is out. */
static void put_cut(struct conn *conn, struct sim_call *call, const struct sim_message *message)
{
    struct sim_callee *callee = conn->callee;
    put_reply(conn, call, message);
    conn->out.len = random_below(&callee->random, (uint32_t)conn->out.len);
    conn->close_us = conn->due_us;
    conn->resets = one_in(callee, 3);
    happened(callee)->callee_closed = true;
    sim_count(SIM_EVENT_CALLEE_CUT);
}

static void plan_close(struct conn *conn, uint32_t most_ms, bool resets)
{
    conn->close_us = later(conn->callee, most_ms);
    conn->resets = resets;
    happened(conn->callee)->callee_closed = true;
}

/* What a callee of its kind makes of a call. */
static void answer(struct conn *conn, struct sim_call *call, const struct sim_message *message)
{
    struct sim_callee *callee = conn->callee;
    conn->due_us = callee->sim->clock_us;
    switch (callee->kind) {
    case SIM_CALLEE_SLOW:
        conn->due_us = later(callee, 8);
        break;
    case SIM_CALLEE_LATE:
        conn->due_us = later(callee, 120);
        sim_count(SIM_EVENT_CALLEE_LATE);
        break;
    case SIM_CALLEE_SILENT:
        if (one_in(callee, 4)) {
            conn->due_us = UINT64_MAX;
            sim_count(SIM_EVENT_CALLEE_SILENT);
            return;
        }
        break;
    case SIM_CALLEE_CUTTING:
        if (one_in(callee, 5)) {
            put_cut(conn, call, message);
            return;
        }
        break;
    case SIM_CALLEE_LYING:
        if (one_in(callee, 20)) {
            put_huge(conn, call, message);
            return;
        }
        if (one_in(callee, 4)) {
            lie(conn, call, message);
            return;
        }
        break;
    default:
        break;
    }
    put_reply(conn, call, message);
}

/* Behind a reply, or while nothing is asked. */
static void think_of_closing(struct conn *conn)
{
    struct sim_callee *callee = conn->callee;
    if (callee->kind == SIM_CALLEE_CUTTING && one_in(callee, 4)) {
        plan_close(conn, one_in(callee, 2) ? 0 : 10, false);
    } else if (callee->kind == SIM_CALLEE_RESETTING && one_in(callee, 4)) {
        plan_close(conn, one_in(callee, 2) ? 0 : 10, true);
    }
}

/* Whether this reply may go out, and has not to wait for one in front of it. */
static bool is_due(const struct conn *conn, const struct list *node)
{
    const struct held *held = held_at((struct list *)(uintptr_t)node);
    bool waits = is_in_order(conn->callee) && !held->overtakes && node->prev != &conn->held;
    return held->due_us <= conn->callee->sim->clock_us && !waits;
}

static bool has_due(const struct conn *conn)
{
    for (const struct list *n = conn->held.next; n != &conn->held && !conn->is_cut; n = n->next) {
        if (is_due(conn, n)) {
            return true;
        }
    }
    return false;
}

/* Puts down a reply that goes out in front of one that was asked for before. */
static void note_order(struct conn *conn, const struct list *node)
{
    const struct held *held = held_at((struct list *)(uintptr_t)node);
    if (held->overtakes && node->prev != &conn->held) {
        conn->callee->sim->oracle.calls[held->id].deeds |= SIM_DEED_OVERTOOK;
        sim_count(SIM_EVENT_CALLEE_OVERTAKES);
    }
}

static void put_due(struct conn *conn)
{
    for (struct list *n = conn->held.next, *next; n != &conn->held; n = next) {
        next = n->next;
        if (is_due(conn, n) && !conn->is_cut) {
            conn->is_cut = held_at(n)->is_cut;
            note_order(conn, n);
            bytes_put(&conn->out, held_at(n)->bytes.p, held_at(n)->bytes.len);
            conn->due_us = conn->callee->sim->clock_us;
            free_held(held_at(n));
        }
    }
}

/* Whether this reply breaks the order that its callee has promised. */
static void overtake(struct conn *conn, struct held *held)
{
    struct sim_callee *callee = conn->callee;
    held->overtakes = callee->kind == SIM_CALLEE_LYING && one_in(callee, 8);
    sim_count(SIM_EVENT_CALLEE_IN_ORDER);
    happened(callee)->callee_lied |= held->overtakes;
    happened(callee)->shared_lied |= held->overtakes;
}

/* The same as answer(), but what becomes of one call holds up no other. */
static void answer_shared(struct conn *conn, struct sim_call *call,
                          const struct sim_message *message)
{
    struct sim_callee *callee = conn->callee;
    struct held *held = sim_take(sizeof *held);
    struct bytes out = conn->out;
    uint64_t due_us = conn->due_us;
    if (!list_empty(&conn->held)) {
        sim_count(SIM_EVENT_CALLEE_SHARED);
    }
    conn->out = (struct bytes){0};
    answer(conn, call, message);
    held->id = sim_oracle_id(&callee->sim->oracle, call);
    held->bytes = conn->out;
    held->is_cut = conn->close_us == conn->due_us;
    held->due_us = conn->due_us;
    if (is_in_order(callee) && !list_empty(&conn->held)) {
        overtake(conn, held);
    }
    if (held->due_us == callee->sim->clock_us && conn->close_us == UINT64_MAX) {
        held->due_us = later(callee, one_in(callee, 2) ? 0 : 3);
    }
    conn->out = out;
    conn->due_us = due_us;
    list_push_back(&conn->held, &held->node);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void take_oneway(struct conn *conn)
{
    struct sim_callee *callee = conn->callee;
    conn->had_oneway = true;
    sim_count(SIM_EVENT_CALLEE_GOT_ONEWAY);
    if (callee->kind == SIM_CALLEE_LYING && one_in(callee, 3)) {
        bytes_put_text(&conn->out, "an answer that nobody wants");
        conn->due_us = callee->sim->clock_us;
    }
}

static void take_call(struct conn *conn, struct sim_call *call, const struct sim_message *message)
{
    SIM_CHECK(!conn->busy || is_shared(conn->callee), "pool",
              "callee %u: a call before the reply to another one", conn->callee->number);
    SIM_CHECK(!conn->is_retired || conn->answered_early, "pool",
              "callee %u: a call on a connection that it closes", conn->callee->number);
    conn->had_call = true;
    sim_count(SIM_EVENT_CALLEE_GOT_CALL);
    if (conn->answered_early) {
        conn->answered_early = false;
        return;
    }
    if (is_shared(conn->callee)) {
        answer_shared(conn, call, message);
    } else {
        conn->busy = true;
        answer(conn, call, message);
    }
    think_of_closing(conn);
}

static void take_request(struct conn *conn, const struct sim_framed *framed)
{
    struct sim_callee *callee = conn->callee;
    struct sim_message message;
    SIM_CHECK(sim_message_read(framed->body, framed->len, &message), "request",
              "callee %u got no message", callee->number);
    SIM_CHECK(sim_message_len(framed->body, framed->len) == framed->len, "request",
              "callee %u got a message that does not end where it should", callee->number);
    message.info = framed->info;
    message.info_len = framed->info_len;
    SIM_TRACE("callee %u reads a message from link %u", callee->number, conn->link->number);
    struct sim_call *call = sim_oracle_request(&callee->sim->oracle, callee->number, &message);
    if (call->kind == SIM_CALL_CALL) {
        take_call(conn, call, &message);
    } else {
        take_oneway(conn);
    }
    SIM_CHECK(!conn->had_call || !conn->had_oneway, "pool",
              "callee %u: calls and ONEWAY messages on one connection", callee->number);
}

static void take_requests(struct conn *conn)
{
    struct sim_framed framed;
    while (sim_framing_next(&conn->in, framing_of(conn->callee), &framed)) {
        take_request(conn, &framed);
        sim_pipe_skip(&conn->in, framed.whole);
    }
}

/* Answers a call whose end has not come. Where the kernel has it by then, that is a good reply. */
static void answer_early(struct conn *conn)
{
    struct sim_callee *callee = conn->callee;
    const uint8_t *p = sim_pipe_bytes(&conn->in);
    struct sim_message message;
    size_t head = head_of(conn);
    bool can = callee->kind == SIM_CALLEE_LYING && conn->in.len > head + 100 &&
               !conn->answered_early && !conn->busy && one_in(callee, 2);
    if (!can || !sim_message_read(p + head, (uint32_t)(conn->in.len - head), &message) ||
        message.type != WIRE_CALL) {
        return;
    }
    uint32_t id = sim_message_id_begun(&message);
    if (id < callee->sim->oracle.calls_len) {
        conn->answered_early = true;
        happened(callee)->callee_lied = true;
        happened(callee)->shared_lied |= is_shared(callee);
        conn->due_us = callee->sim->clock_us;
        put_reply(conn, &callee->sim->oracle.calls[id], &message);
        sim_count(SIM_EVENT_CALLEE_EARLY);
    }
}

/* ---- acting ---------------------------------------------------------------------------------- */

static bool is_closing(const struct conn *conn)
{
    bool out = conn->out_at == conn->out.len && !has_due(conn);
    return conn->close_us <= conn->callee->sim->clock_us && (out || conn->resets);
}

static bool has_to_write(const struct conn *conn)
{
    return conn->out_at < conn->out.len && conn->due_us <= conn->callee->sim->clock_us &&
           sim_link_has_room(conn->link) && conn->link->state == SIM_LINK_OPEN;
}

static bool can_act(const struct conn *conn)
{
    return sim_link_is_over(conn->link) || sim_link_has_bytes(conn->link) || has_due(conn) ||
           has_to_write(conn) || is_closing(conn);
}

static void write_some(struct conn *conn)
{
    struct sim_callee *callee = conn->callee;
    size_t most = conn->out.len - conn->out_at;
    if (most > 1 && conn->link->partial && one_in(callee, 2)) {
        most = 1 + random_below(&callee->random, (uint32_t)most);
    }
    conn->out_at += sim_link_write(conn->link, conn->out.p + conn->out_at, most);
    if (conn->out_at == conn->out.len) {
        conn->out.len = conn->out_at = 0;
        conn->busy = false;
    }
}

static void take_some(struct conn *conn)
{
    struct sim_callee *callee = conn->callee;
    size_t most = callee->kind == SIM_CALLEE_SLOW ? 1 + random_below(&callee->random, 100)
                                                  : SIM_LINK_ROOM_BYTES;
    (void)sim_link_take(conn->link, &conn->in, most);
    take_requests(conn);
    if (conn->in.len > 0) {
        answer_early(conn);
    }
}

/* tside has let go: what it had sent before is still a request. */
static void take_last(struct conn *conn)
{
    if (!conn->link->broken && !conn->link->reset_by_tside) {
        (void)sim_link_take(conn->link, &conn->in, SIZE_MAX);
        take_requests(conn);
    }
    close_conn(conn, false);
}

static void act_on(struct conn *conn)
{
    put_due(conn);
    if (sim_link_is_over(conn->link)) {
        take_last(conn);
    } else if (is_closing(conn)) {
        sim_count(conn->resets ? SIM_EVENT_CALLEE_RESET : SIM_EVENT_CALLEE_CLOSED);
        close_conn(conn, conn->resets);
    } else if (has_to_write(conn) && (!sim_link_has_bytes(conn->link) || one_in(conn->callee, 2))) {
        write_some(conn);
    } else {
        take_some(conn);
    }
}

bool sim_callee_can_act(const struct sim_callee *callee)
{
    for (struct list *n = callee->conns.next; n != &callee->conns; n = n->next) {
        if (can_act(container_of(n, struct conn, node))) {
            return true;
        }
    }
    return false;
}

void sim_callee_act(struct sim_callee *callee)
{
    struct conn *pick = NULL;
    uint32_t n = 0;
    for (struct list *node = callee->conns.next; node != &callee->conns; node = node->next) {
        struct conn *conn = container_of(node, struct conn, node);
        if (can_act(conn) && one_in(callee, ++n)) {
            pick = conn;
        }
    }
    if (pick) {
        act_on(pick);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_held_us(const struct conn *conn)
{
    uint64_t next = UINT64_MAX;
    for (struct list *n = conn->held.next; n != &conn->held && !conn->is_cut; n = n->next) {
        next = earlier(next, held_at(n)->due_us);
    }
    return next;
}

uint64_t sim_callee_next_us(const struct sim_callee *callee)
{
    uint64_t next = UINT64_MAX;
    for (struct list *n = callee->conns.next; n != &callee->conns; n = n->next) {
        const struct conn *conn = container_of(n, struct conn, node);
        uint64_t due = conn->out_at < conn->out.len ? conn->due_us : UINT64_MAX;
        next = earlier(next, earlier(due, conn->close_us));
        next = earlier(next, next_held_us(conn));
    }
    return next > callee->sim->clock_us ? next : UINT64_MAX;
}

/* ---- birth and death ------------------------------------------------------------------------- */

void sim_callee_open(struct sim_callee *callee, struct sim *sim, uint32_t number)
{
    const struct sim_plan_peer *plan = &sim->plan->callees[number];
    callee->sim = sim;
    callee->number = number;
    callee->kind = plan->off ? SIM_CALLEE_QUICK : (enum sim_callee_kind)plan->kind;
    callee->random.state = plan->seed;
    list_init(&callee->conns);
}

void sim_callee_done(struct sim_callee *callee)
{
    struct list *node;
    while ((node = list_first(&callee->conns))) {
        close_conn(container_of(node, struct conn, node), false);
    }
}
