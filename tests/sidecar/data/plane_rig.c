/*
 * tests/sidecar/data/plane_rig.c: see plane_rig.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/world.h"

#include "tests/sidecar/data/plane_rig.h"

#define RULE_MAX_BYTES 256

static char nothing[] = "";
static char service[] = "svc";
static char application[] = "app";
static char listen_text[] = "127.0.0.1:9090";
static char deadline_entry[] = "RPC_PERSIST_DDL_REMAIN_TIME";

/* ---- birth ----------------------------------------------------------------------------------- */

static void on_notify(void *owner)
{
    struct rig *rig = owner;
    rig->notified++;
}

static void set_bootstrap(struct bootstrap *bootstrap, uint32_t workers)
{
    bootstrap->workers = workers;
    bootstrap->listeners_len = 1;
    bootstrap->listeners[0] = (struct bootstrap_listener){
        .listen = listen_text,
        .caller_service = application,
        .caller_cluster = nothing,
        .callee_service = service,
        .callee_cluster = nothing,
        .accept = LISTENER_ACCEPT_FRAMED,
        .deadline_entry = deadline_entry,
        .deadline_entry_len = sizeof deadline_entry - 1,
        .deadline_rewrite = true,
        .deadline_chain_stop = true,
    };
    bootstrap->limits.frame_bytes = 1 << 20;
    bootstrap->limits.connections = 1000;
    bootstrap->limits.upstream_connections = 1000;
    bootstrap->limits.calls = 1000;
    bootstrap->limits.buffered_bytes = 64 << 20;
    bootstrap->limits.pipelined_calls = 64;
    bootstrap->limits.metric_routes = 100;
    bootstrap->limits.tuples = 100;
    bootstrap->timeouts.frame_timeout_ms = 10000;
    bootstrap->timeouts.idle_ms = 0;
    bootstrap->timeouts.write_stall_ms = 10000;
    bootstrap->timeouts.drain_timeout_ms = 30000;
}

static void open_worker(struct rig *rig, uint32_t index)
{
    struct worker *worker =
        plane_new(&rig->env, index, 7 + index, &virtual_driver, &memory_transport);
    assert_non_null(worker);
    rig->env.workers[index] = worker;
    virtual_loop_open(&rig->loop[index], worker);
    rig->loop[index].check = plane_check;
    memory_net_open(&rig->net[index], &rig->loop[index]);
}

struct rig *rig_new(uint32_t workers)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct world *world = calloc(1, sizeof *world);
    assert_true(rig && world && workers <= RIG_WORKERS_MAX);
    set_bootstrap(&rig->bootstrap, workers);
    world_init(world);
    world->workers = workers;
    rig->world = world;
    rig->workers = workers;
    rig->env = (struct worker_env){
        .bootstrap = &rig->bootstrap,
        .drain_timeout_ms = rig->bootstrap.timeouts.drain_timeout_ms,
        .templates = world->templates,
        .tuples = tuple_table_new(rig->bootstrap.limits.metric_routes, workers),
        .workers_len = workers,
        .notify_control = on_notify,
        .owner = rig,
    };
    assert_non_null(rig->env.tuples);
    for (uint32_t i = 0; i < workers; i++) {
        open_worker(rig, i);
    }
    return rig;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void close_worker(struct rig *rig, uint32_t index)
{
    struct worker *worker = rig_worker(rig, index);
    assert_true(rig->loop[index].closed);
    assert_true(list_empty(&worker->sessions));
    assert_true(list_empty(&worker->upstreams));
    assert_true(list_empty(&worker->live));
    assert_int_equal(worker->attempts.taken, 0);
    assert_int_equal(worker->incomplete_bytes, 0);
    worker_stopped(worker);
    memory_net_close(&rig->net[index]);
    plane_free(worker);
}

static void assert_all_given_back(const struct rig *rig)
{
    const struct world *world = rig->world;
    assert_int_equal(permit_taken(&rig->env.calls), 0);
    assert_int_equal(permit_taken(&rig->env.connections), 0);
    assert_int_equal(permit_taken(&rig->env.buffered), 0);
    for (uint32_t i = 0; i < world->endpoints_len; i++) {
        const struct endpoint_state *endpoint = world->endpoints[i];
        if (endpoint) {
            assert_int_equal(permit_taken(&endpoint->connections), 0);
            assert_int_equal(permit_taken(&endpoint->idle), 0);
            assert_int_equal(permit_taken(&endpoint->waiting), 0);
            assert_int_equal(endpoint->waiting_workers, 0);
            assert_int_equal(endpoint->inflight, 0);
            assert_int_equal(endpoint->answered, 0);
        }
    }
}

void rig_free(struct rig *rig)
{
    struct world *world = rig->world;
    (void)scarce_end();
    rig_phase(rig, WORKER_ENDING);
    assert_int_equal(rig_metric(rig, METRIC_CALLS_INFLIGHT), 0);
    assert_int_equal(rig_metric(rig, METRIC_CONNECTIONS), 0);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_CONNECTIONS), 0);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), 0);
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 0);
    for (uint32_t i = 0; i < rig->workers; i++) {
        close_worker(rig, i);
    }
    assert_all_given_back(rig);
    tuple_table_free(rig->env.tuples);
    world_done(world);
    free(world);
    free(rig);
}

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t rig_now_ms(const struct rig *rig)
{
    return virtual_loop_now_ms(&rig->loop[0]);
}

void rig_rest(struct rig *rig)
{
    virtual_rest(rig->loop, rig->workers);
}

void rig_pass(struct rig *rig, uint64_t ms)
{
    virtual_pass(rig->loop, rig->workers, ms);
}

void rig_scarce(struct rig *rig, unsigned n, bool all)
{
    for (uint32_t i = 0; i < rig->workers; i++) {
        block_cache_done(&rig_worker(rig, i)->blocks);
    }
    scarce_begin(n, all);
}

void rig_phase(struct rig *rig, enum worker_phase phase)
{
    for (uint32_t i = 0; i < rig->workers; i++) {
        if (!rig->loop[i].closed) {
            worker_want_phase(rig_worker(rig, i), phase);
        }
    }
    rig_rest(rig);
}

/* ---- rules ----------------------------------------------------------------------------------- */

void rig_config(struct rig *rig, const char *method, const char *json)
{
    char key[RULE_MAX_BYTES];
    snprintf(key, sizeof key, "*/*/svc/*/%s/config", method);
    world_rule(rig->world, key, json);
}

static const char *service_key(uint16_t port, char key[RULE_MAX_BYTES])
{
    snprintf(key, RULE_MAX_BYTES, "svc/default/127.0.0.1:%u", port);
    return key;
}

void rig_serve_weighted(struct rig *rig, uint16_t port, unsigned weight)
{
    char key[RULE_MAX_BYTES], text[32];
    snprintf(text, sizeof text, "{\"weight\": %u}", weight);
    world_endpoint(rig->world, service_key(port, key), text);
}

void rig_serve(struct rig *rig, uint16_t port)
{
    rig_serve_weighted(rig, port, 10);
}

void rig_unserve(struct rig *rig, uint16_t port)
{
    char key[RULE_MAX_BYTES];
    world_delete(rig->world, DISC_SPACE_SERVICES, service_key(port, key));
}

void rig_commit(struct rig *rig)
{
    world_commit(rig->world);
    for (uint32_t i = 0; i < rig->workers; i++) {
        worker_offer_snapshot(rig_worker(rig, i), rig->world->snapshot);
    }
    rig_rest(rig);
    world_forget_old(rig->world); /* every worker has moved on */
}

void rig_reap(struct rig *rig)
{
    disc_store_reap(rig->world->store);
}

void rig_begin(struct rig *rig, const char *json)
{
    rig_config(rig, "*", json);
    rig_serve(rig, RIG_PORT);
    rig_commit(rig);
}

struct endpoint_state *rig_endpoint(const struct rig *rig, uint16_t port)
{
    char address[RULE_MAX_BYTES];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    struct endpoint_state *endpoint = world_endpoint_state(rig->world, address);
    assert_non_null(endpoint);
    return endpoint;
}

/* ---- callers --------------------------------------------------------------------------------- */

static struct memory_peer *take_up(struct rig *rig, uint32_t worker, int64_t uid)
{
    struct memory_peer *caller = memory_caller(&rig->net[worker]);
    caller->uid = uid;
    virtual_loop_enter(&rig->loop[worker]);
    assert_true(session_accept(rig_worker(rig, worker), &memory_transport, caller,
                               &rig->bootstrap.listeners[0]));
    virtual_loop_leave(&rig->loop[worker]);
    return caller;
}

struct memory_peer *rig_caller(struct rig *rig, uint32_t worker)
{
    return take_up(rig, worker, -1);
}

struct memory_peer *rig_caller_as(struct rig *rig, int64_t uid)
{
    return take_up(rig, 0, uid);
}

struct session *rig_session(const struct rig *rig, uint32_t worker)
{
    struct list *sessions = &rig_worker(rig, worker)->sessions;
    return list_empty(sessions) ? NULL : container_of(sessions->prev, struct session, all);
}

static void put_base(struct bytes *out, const char *budget, const char *mark)
{
    bytes_put_field(out, WIRE_STRUCT, 255);
    bytes_put_field(out, WIRE_MAP, 6);
    bytes_put_map(out, WIRE_STRING, WIRE_STRING, mark ? 2 : 1);
    bytes_put_text(out, deadline_entry);
    bytes_put_text(out, budget);
    if (mark) {
        bytes_put_text(out, mark);
        bytes_put_text(out, "yes");
    }
    bytes_put8(out, WIRE_STOP);
}

static void put_payload(struct bytes *out, size_t payload)
{
    bytes_put_field(out, WIRE_STRING, 1);
    bytes_put32(out, (uint32_t)payload);
    for (size_t i = 0; i < payload; i++) {
        bytes_put8(out, (uint8_t)i);
    }
}

void rig_put(struct bytes *out, const struct rig_request *request)
{
    struct bytes body = {0};
    bytes_put_header(&body, request->type ? request->type : WIRE_CALL, request->method,
                     request->seqid);
    if (request->payload > 0) {
        put_payload(&body, request->payload);
    }
    if (request->from) {
        bytes_put_field(&body, WIRE_STRUCT, 255);
        bytes_put_string_field(&body, 2, request->from);
        bytes_put8(&body, WIRE_STOP);
    } else if (request->budget) {
        put_base(&body, request->budget, request->mark);
    }
    bytes_put8(&body, WIRE_STOP);
    bytes_put_string(out, body.p, body.len);
    bytes_done(&body);
}

void rig_send(struct memory_peer *caller, const struct rig_request *request)
{
    scarce_hold();
    rig_put(&caller->in, request);
    scarce_release();
}

void rig_call(struct memory_peer *caller, const char *method, int32_t seqid)
{
    rig_send(caller, &(struct rig_request){.method = method, .seqid = seqid});
}

void rig_oneway(struct memory_peer *caller, const char *method)
{
    rig_send(caller, &(struct rig_request){.type = WIRE_ONEWAY, .method = method});
}

/* ---- what a peer was sent -------------------------------------------------------------------- */

/* The string that rig_put() wrote, where there is one, is whole: place by place. */
static void check_payload(const struct rig_message *message)
{
    const uint8_t *field = (const uint8_t *)message->name.p + message->name.len + WIRE_SEQID_BYTES;
    if (message->type == WIRE_EXCEPTION || field[0] != WIRE_STRING) {
        return;
    }
    uint32_t len = wire_get32(field + 3);
    for (uint32_t i = 0; i < len; i++) {
        assert_int_equal(field[7 + i], (uint8_t)i);
    }
    assert_ptr_equal(field + 7 + len + 1, message->body + message->len);
}

bool rig_next(struct memory_peer *peer, struct rig_message *ret)
{
    size_t avail = peer->out.len - peer->out_seen;
    const uint8_t *p = peer->out.p + peer->out_seen;
    size_t len = avail < WIRE_FRAME_LEN_BYTES ? SIZE_MAX : wire_get32(p);
    if (len == SIZE_MAX || avail - WIRE_FRAME_LEN_BYTES < len) {
        return false;
    }
    const uint8_t *body = p + WIRE_FRAME_LEN_BYTES;
    uint32_t name_len = wire_get32(body + 4);
    *ret = (struct rig_message){
        .type = body[3],
        .name = disc_str_of((const char *)body + 8, name_len),
        .seqid = (int32_t)wire_get32(body + 8 + name_len),
        .body = body,
        .len = len,
    };
    peer->out_seen += WIRE_FRAME_LEN_BYTES + len;
    check_payload(ret);
    return true;
}

static struct rig_message expect(struct memory_peer *peer, const char *method)
{
    struct rig_message message;
    if (!rig_next(peer, &message)) {
        fail_msg("nothing came instead of %s", method ? method : "an answer");
    }
    if (method && !disc_str_eq(message.name, disc_str_of_z(method))) {
        fail_msg("%.*s came instead of %s", (int)message.name.len, message.name.p, method);
    }
    return message;
}

struct memory_peer *rig_callee(const struct rig *rig, unsigned n)
{
    struct memory_peer *callee = memory_callee(&rig->net[0], RIG_PORT, n);
    assert_non_null(callee);
    return callee;
}

unsigned rig_callees(const struct rig *rig)
{
    return memory_callees(&rig->net[0], RIG_PORT);
}

int32_t rig_expect_call(struct memory_peer *callee, const char *method)
{
    assert_non_null(callee);
    struct rig_message message = expect(callee, method);
    assert_true(message.type == WIRE_CALL || message.type == WIRE_ONEWAY);
    return message.seqid;
}

void rig_expect_reply(struct memory_peer *caller, const char *method, int32_t seqid)
{
    struct rig_message message = expect(caller, method);
    if (message.type != WIRE_REPLY) {
        fail_msg("%s was answered: %.*s", method, (int)message.len, (const char *)message.body);
    }
    assert_int_equal(message.seqid, seqid);
}

void rig_expect_failure(struct memory_peer *caller, int32_t seqid, const char *text)
{
    struct rig_message message = expect(caller, NULL);
    assert_int_equal(message.type, WIRE_EXCEPTION);
    assert_int_equal(message.seqid, seqid);
    if (!memmem(message.body, message.len, text, strlen(text))) {
        fail_msg("'%s' is not in: %.*s", text, (int)message.len, (const char *)message.body);
    }
}

void rig_expect_nothing(const struct memory_peer *peer)
{
    assert_int_equal(peer->out.len - peer->out_seen, 0);
}

void rig_reply(struct memory_peer *callee, const char *method, int32_t seqid, size_t payload)
{
    rig_send(callee, &(struct rig_request){
                         .type = WIRE_REPLY, .method = method, .seqid = seqid, .payload = payload});
}

void rig_answer(struct memory_peer *callee, const char *method)
{
    rig_reply(callee, method, rig_expect_call(callee, method), 0);
}

/* ---- both ------------------------------------------------------------------------------------ */

struct memory_peer *rig_calling(struct rig *rig)
{
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "M", 1);
    rig_rest(rig);
    return caller;
}

void rig_serve_call(struct rig *rig, struct memory_peer *caller, const char *method, int32_t seqid)
{
    rig_answer(rig_callee(rig, 0), method);
    rig_rest(rig);
    rig_expect_reply(caller, method, seqid);
}

/* ---- what was counted ------------------------------------------------------------------------ */

uint64_t rig_metric(const struct rig *rig, enum metric metric)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < rig->workers; i++) {
        sum += counter_get(&rig_worker(rig, i)->counters, metric);
    }
    return sum;
}

struct reason_sum {
    enum reason reason;
    uint64_t calls;
};

static bool add_reason(void *arg, const struct tuple_state *state)
{
    struct reason_sum *sum = arg;
    struct tuple_sums sums;
    tuple_state_sum(state, &sums);
    sum->calls += sums.reason[sum->reason];
    return true;
}

uint64_t rig_reason(const struct rig *rig, enum reason reason)
{
    struct reason_sum sum = {.reason = reason};
    tuple_table_each(rig->env.tuples, add_reason, &sum);
    return sum.calls;
}
