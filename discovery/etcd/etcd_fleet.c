/*
 * discovery/etcd/etcd_fleet.c: see discovery/etcd/etcd_fleet.h.
 *
 *     IDLE --> LEASE (grant or keepalive) --> TXN --> IDLE, done()
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_fleet.h"

#include "discovery/base/memory.h"
#include "discovery/etcd/etcd_endpoints.h"
#include "discovery/etcd/etcd_fleet_codec.h"
#include "discovery/http_client.h"

#include <assert.h>

#define REPLY_MAX_BYTES ((size_t)4 << 20)

enum step { STEP_IDLE = 0, STEP_GRANT, STEP_KEEPALIVE, STEP_TXN };

struct etcd_fleet {
    struct http_client *http;
    uint32_t endpoints_n;
    uint32_t endpoint; /* the one in use */
    char *endpoints[ETCD_ENDPOINTS_MAX];
    char *prefix;
    char *host;
    int64_t lease; /* 0: none */

    enum step step;
    struct http_call *call;
    struct etcd_fleet_item items[ETCD_FLEET_NAMES_MAX];
    bool tells[ETCD_FLEET_NAMES_MAX];
    uint32_t items_n;
    etcd_fleet_done_fn done;
    void *arg;

    char *reply;
    size_t reply_len;
    size_t reply_cap;
    char error[200];
    struct etcd_fleet_others others[ETCD_FLEET_NAMES_MAX];
};

struct etcd_fleet *etcd_fleet_new(const struct etcd_fleet_options *options)
{
    struct http_client *http = http_client_new(options->loop);
    if (!http) {
        return NULL;
    }
    struct etcd_fleet *fleet = memory_zalloc(sizeof *fleet);
    fleet->http = http;
    fleet->endpoints_n = options->endpoints_n;
    assert(fleet->endpoints_n > 0 && fleet->endpoints_n <= ETCD_ENDPOINTS_MAX);
    for (uint32_t i = 0; i < options->endpoints_n; i++) {
        fleet->endpoints[i] = memory_check(strdup(options->endpoints[i]));
    }
    fleet->prefix = memory_check(strdup(options->prefix));
    fleet->host = memory_check(strdup(options->host));
    return fleet;
}

bool etcd_fleet_is_busy(const struct etcd_fleet *fleet)
{
    return fleet->step != STEP_IDLE;
}

const char *etcd_fleet_error(const struct etcd_fleet *fleet)
{
    return fleet->error;
}

static void forget_items(struct etcd_fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->items_n; i++) {
        free((char *)(uintptr_t)fleet->items[i].name);
    }
    fleet->items_n = 0;
}

/* ---- the end of an exchange ------------------------------------------------------------------ */

static void finish(struct etcd_fleet *fleet, enum etcd_fleet_result result)
{
    fleet->step = STEP_IDLE;
    forget_items(fleet);
    fleet->done(fleet->arg, result, fleet->others);
}

static void fail(struct etcd_fleet *fleet, const char *what, const char *why)
{
    snprintf(fleet->error, sizeof fleet->error, "%s, %s: %s", fleet->endpoints[fleet->endpoint],
             what, why);
    fleet->endpoint = (fleet->endpoint + 1) % fleet->endpoints_n;
    finish(fleet, ETCD_FLEET_FAILED);
}

/* All that was told went with the lease. */
static void lose_lease(struct etcd_fleet *fleet)
{
    fleet->lease = 0;
    finish(fleet, ETCD_FLEET_LOST);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void on_bytes(void *arg, const char *p, size_t len)
{
    struct etcd_fleet *fleet = arg;
    if (len > REPLY_MAX_BYTES - fleet->reply_len) {
        http_call_cancel(fleet->call);
        fail(fleet, "exchange", "the reply is too large");
        return;
    }
    if (fleet->reply_len + len > fleet->reply_cap) {
        fleet->reply_cap = 2 * (fleet->reply_len + len);
        fleet->reply = memory_resize(fleet->reply, fleet->reply_cap, 1);
    }
    memcpy(fleet->reply + fleet->reply_len, p, len);
    fleet->reply_len += len;
}

static void on_done(void *arg, const struct http_result *result);

/* Takes the body. */
static void post(struct etcd_fleet *fleet, enum step step, const char *path, char *body)
{
    const struct http_callbacks callbacks = {
        .on_bytes = on_bytes, .on_done = on_done, .arg = fleet};
    const char *base = fleet->endpoints[fleet->endpoint];
    size_t len = strlen(base) + strlen(path) + 1;
    char *url = memory_alloc(len);
    snprintf(url, len, "%s%s", base, path);
    const struct http_request request = {
        .url = url, .body = body, .body_len = strlen(body), .timeout_ms = ETCD_FLEET_DEADLINE_MS};
    fleet->step = step;
    fleet->reply_len = 0;
    fleet->call = http_client_post(fleet->http, &request, &callbacks);
    free(url);
    free(body);
}

static void begin_lease(struct etcd_fleet *fleet)
{
    if (fleet->lease == 0) {
        post(fleet, STEP_GRANT, "/v3/lease/grant", etcd_fleet_grant_body(ETCD_FLEET_TTL_S));
    } else {
        post(fleet, STEP_KEEPALIVE, "/v3/lease/keepalive", etcd_fleet_keepalive_body(fleet->lease));
    }
}

static void begin_txn(struct etcd_fleet *fleet)
{
    post(fleet, STEP_TXN, "/v3/kv/txn",
         etcd_fleet_txn_body(fleet->prefix, fleet->host, fleet->lease, fleet->items,
                             fleet->items_n));
}

static void granted(struct etcd_fleet *fleet)
{
    int64_t lease = etcd_fleet_grant_parse(fleet->reply, fleet->reply_len);
    if (lease < 0) {
        fail(fleet, "lease", "no lease was granted");
        return;
    }
    fleet->lease = lease;
    begin_txn(fleet);
}

static void kept_alive(struct etcd_fleet *fleet)
{
    int64_t lease = etcd_fleet_keepalive_parse(fleet->reply, fleet->reply_len);
    if (lease < 0) {
        fail(fleet, "lease", "no answer to a keepalive");
    } else if (lease == 0) {
        lose_lease(fleet);
    } else {
        begin_txn(fleet);
    }
}

static void exchanged(struct etcd_fleet *fleet)
{
    enum etcd_fleet_result result = etcd_fleet_txn_parse(
        fleet->reply, fleet->reply_len, fleet->host, fleet->tells, fleet->items_n, fleet->others);
    if (result == ETCD_FLEET_LOST) {
        lose_lease(fleet);
    } else if (result == ETCD_FLEET_FAILED) {
        fail(fleet, "exchange", "the transaction failed");
    } else {
        finish(fleet, ETCD_FLEET_OK);
    }
}

static void on_done(void *arg, const struct http_result *result)
{
    struct etcd_fleet *fleet = arg;
    fleet->call = NULL;
    if (result->error != HTTP_OK) {
        fail(fleet, "exchange", result->text);
    } else if (fleet->step == STEP_GRANT) {
        granted(fleet);
    } else if (fleet->step == STEP_KEEPALIVE) {
        kept_alive(fleet);
    } else {
        exchanged(fleet);
    }
}

void etcd_fleet_exchange(struct etcd_fleet *fleet, const struct etcd_fleet_item items[], uint32_t n,
                         etcd_fleet_done_fn done, void *arg)
{
    assert(fleet->step == STEP_IDLE && n <= ETCD_FLEET_NAMES_MAX);
    for (uint32_t i = 0; i < n; i++) {
        fleet->items[i] = items[i];
        fleet->items[i].name = memory_check(strdup(items[i].name));
        fleet->tells[i] = items[i].tells;
    }
    fleet->items_n = n;
    fleet->done = done;
    fleet->arg = arg;
    begin_lease(fleet);
}

void etcd_fleet_close(struct etcd_fleet *fleet, void (*closed)(void *arg), void *arg)
{
    http_client_close(fleet->http, closed, arg); /* cancels the call */
    forget_items(fleet);
    for (uint32_t i = 0; i < fleet->endpoints_n; i++) {
        free(fleet->endpoints[i]);
    }
    free(fleet->prefix);
    free(fleet->host);
    free(fleet->reply);
    free(fleet);
}
