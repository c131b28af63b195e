/*
 * tests/sidecar/admin/admin_http_test.c: admin over real sockets: the loop in a thread, raw clients
 * here.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/admin/admin_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#define MAIN_CONNECTIONS 56 /* as in admin.c */
#define RESERVE          8  /* as in http.h */
#define CLIENT_TIMEOUT_S 20

struct fixture {
    struct admin_world w;
    struct admin *admin;
    char dir[64], socket[96];
    char host[16], listen[16];
    char *hosts[1];
    int port;
    pthread_t thread;
    uv_async_t stop;
};

/* ---- the server's side ----------------------------------------------------------------------- */

static void on_admin_closed(void *owner)
{
    struct fixture *f = owner;
    f->admin = NULL;
}

static void on_stop(uv_async_t *async)
{
    struct fixture *f = async->data;
    admin_close(f->admin, on_admin_closed, f);
    uv_close((uv_handle_t *)async, NULL);
}

static void *run_loop(void *arg)
{
    struct fixture *f = arg;
    uv_run(&f->w.loop, UV_RUN_DEFAULT);
    return NULL;
}

static struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    admin_world_init(&f->w);
    return f;
}

static int start(struct fixture *f, void **state)
{
    static char allowed[] = "tside.internal";
    strcpy(f->dir, "/tmp/tside-admin-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->socket, sizeof f->socket, "%s/admin.sock", f->dir);
    strcpy(f->host, "127.0.0.1");
    strcpy(f->listen, "127.0.0.1:0");
    f->w.bootstrap.admin.listen = f->listen;
    f->w.bootstrap.admin.host = f->host;
    f->w.bootstrap.admin.socket = f->socket;
    f->hosts[0] = allowed;
    f->w.bootstrap.admin.hosts_len = 1;
    f->w.bootstrap.admin.hosts[0] = allowed;
    char error[256];
    assert_int_equal(admin_new(&f->w.context, &f->admin, error, sizeof error), 0);
    f->port = atoi(strchr(admin_address(f->admin), ':') + 1);
    assert_true(f->port > 0);
    uv_async_init(&f->w.loop, &f->stop, on_stop);
    f->stop.data = f;
    assert_int_equal(pthread_create(&f->thread, NULL, run_loop, f), 0);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return start(fixture_new(), state);
}

static void put_file(struct world *world, const char *key, const char *text)
{
    disc_store_put(world->store, DISC_LAYER_FILE, DISC_SPACE_RULES, key, strlen(key), text,
                   strlen(text), 0, 0, WORLD_NOW_MS);
}

/* Keys in both layers, and rejected ones: with and without a good value behind them. */
static int setup_layers(void **state)
{
    struct fixture *f = fixture_new();
    struct world *world = &f->w.world;
    disc_store_begin(world->store, DISC_LAYER_FILE, true);
    put_file(world, "*/*/b/*/*/config", "{\"timeout_ms\": 1}");
    put_file(world, "*/*/b/*/*/degrade", "5");
    put_file(world, "*/*/c/*/*/degrade", "6");
    disc_store_commit(world->store, DISC_LAYER_FILE, 0, DISC_ORIGIN_ETCD, WORLD_NOW_MS);
    world_rule(world, "*/*/b/*/*/degrade", "-1");
    world_rule(world, "a/*/b/*/*/traffic", "{\"default\": 7}");
    world_commit(world);
    world_rule(world, "a/*/b/*/*/traffic", "{\"default\": -7}");
    world_commit(world);
    return start(f, state);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    uv_async_send(&f->stop);
    pthread_join(f->thread, NULL);
    assert_null(f->admin);
    assert_int_equal(access(f->socket, F_OK), -1);
    rmdir(f->dir);
    admin_world_done(&f->w);
    free(f);
    return 0;
}

/* ---- the client's side ----------------------------------------------------------------------- */

static int dial(const struct fixture *f, bool local)
{
    struct timeval patience = {.tv_sec = CLIENT_TIMEOUT_S};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    strcpy(un.sun_path, f->socket);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    const struct sockaddr *addr = local ? (struct sockaddr *)&un : (struct sockaddr *)&in;
    assert_int_equal(connect(fd, addr, local ? sizeof un : sizeof in), 0);
    return fd;
}

struct answer {
    int status;
    char head[2048];
    char body[65536 * 4];
    size_t body_len;
};

static void send_text(int fd, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

/* Reads one answer; status 0 where the connection ended without one. */
static void receive(int fd, bool is_head, struct answer *a)
{
    size_t n = 0;
    memset(a->head, 0, sizeof a->head);
    a->status = 0;
    a->body_len = 0;
    while (n < sizeof a->head - 1 && !strstr(a->head, "\r\n\r\n")) {
        if (recv(fd, a->head + n, 1, 0) != 1) {
            return;
        }
        n++;
    }
    assert_int_equal(sscanf(a->head, "HTTP/1.%*c %d", &a->status), 1);
    const char *length = strcasestr(a->head, "content-length:");
    assert_non_null(length);
    size_t want = is_head ? 0 : strtoul(length + 15, NULL, 10);
    assert_true(want < sizeof a->body);
    while (a->body_len < want) {
        ssize_t got = recv(fd, a->body + a->body_len, want - a->body_len, 0);
        assert_true(got > 0);
        a->body_len += (size_t)got;
    }
    a->body[a->body_len] = '\0';
}

static struct answer answer; /* large: not on the stack */

static int ask(const struct fixture *f, bool local, const char *request)
{
    int fd = dial(f, local);
    send_text(fd, request);
    receive(fd, strncmp(request, "HEAD", 4) == 0, &answer);
    close(fd);
    return answer.status;
}

static int get(const struct fixture *f, const char *path)
{
    char request[4096];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", path,
             f->port);
    return ask(f, false, request);
}

static json_t *get_json(const struct fixture *f, const char *path)
{
    assert_int_equal(get(f, path), 200);
    assert_non_null(strcasestr(answer.head, "content-type: application/json"));
    assert_non_null(strcasestr(answer.head, "cache-control: no-store"));
    json_t *json = json_loads(answer.body, 0, NULL);
    assert_non_null(json);
    return json;
}

static const char *str(const json_t *json, const char *key)
{
    const char *value = json_string_value(json_object_get(json, key));
    assert_non_null(value);
    return value;
}

static void assert_error(int status, const char *code)
{
    assert_int_equal(answer.status, status);
    json_t *json = json_loads(answer.body, 0, NULL);
    const json_t *error = json_object_get(json, "error");
    assert_string_equal(str(error, "code"), code);
    assert_true(strlen(str(error, "message")) > 0);
    assert_non_null(json_object_get(error, "hint"));
    json_decref(json);
}

/* ---- what it says ---------------------------------------------------------------------------- */

static void test_probes(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/livez"), 200);
    assert_string_equal(answer.body, "ok\n");
    assert_int_equal(get(f, "/readyz"), 200);
    assert_int_equal(get(f, "/readyz?verbose"), 200);
    assert_non_null(strstr(answer.body, "[+] snapshot\n"));

    f->w.no_snapshot = true;
    assert_int_equal(get(f, "/readyz"), 503);
    assert_non_null(strstr(answer.body, "not ready: no rules"));
    assert_int_equal(get(f, "/livez"), 200);
    f->w.no_snapshot = false;
    f->w.draining = true;
    assert_int_equal(get(f, "/readyz?verbose"), 503);
    assert_non_null(strstr(answer.body, "[-] not draining"));
    f->w.listening = false;
    assert_int_equal(get(f, "/readyz"), 503);

    f->w.heartbeat_ms[1] -= 6000;
    assert_int_equal(get(f, "/livez"), 503);
    assert_non_null(strstr(answer.body, "worker 1"));
}

static void test_info(void **state)
{
    struct fixture *f = *state;
    json_t *info = get_json(f, "/api/v1/info");
    assert_string_equal(str(info, "version"), TSIDE_VERSION);
    assert_int_equal(json_integer_value(json_object_get(info, "pid")), getpid());
    assert_string_equal(str(info, "node"), "host-17");
    assert_string_equal(str(info, "state"), "live");
    const json_t *listener = json_array_get(json_object_get(info, "listeners"), 0);
    assert_string_equal(str(listener, "address"), "127.0.0.1:40001");
    assert_int_equal(json_integer_value(json_object_get(info, "workers")), ADMIN_WORKERS);
    json_decref(info);
}

static void test_config_pages(void **state)
{
    struct fixture *f = *state;
    json_t *all = get_json(f, "/api/v1/config");
    const json_t *items = json_object_get(all, "items");
    assert_int_equal(json_array_size(items), 3);
    assert_string_equal(str(json_array_get(items, 0), "key"), "/tside/rules/*/*/b/*/*/config");
    assert_string_equal(str(json_array_get(items, 0), "source"), "etcd");
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(json_array_get(items, 0), "value"), "timeout_ms")),
                     300);
    assert_true(json_is_null(json_object_get(all, "next")));

    char path[512] = "/api/v1/config?limit=1";
    for (size_t i = 0; i < 3; i++) {
        json_t *page = get_json(f, path);
        const json_t *item = json_array_get(json_object_get(page, "items"), 0);
        assert_string_equal(str(item, "key"), str(json_array_get(items, i), "key"));
        if (i < 2) {
            snprintf(path, sizeof path, "/api/v1/config?limit=1&cursor=%s", str(page, "next"));
        } else {
            assert_true(json_is_null(json_object_get(page, "next")));
        }
        json_decref(page);
    }
    json_decref(all);
    assert_int_equal(get(f, "/api/v1/config?limit=0"), 400);
    assert_int_equal(get(f, "/api/v1/config?cursor=6"), 400);
    assert_int_equal(get(f, "/api/v1/config?cursor=6G"), 400);
    assert_int_equal(get(f, "/api/v1/config?cursor=00"), 400);
    assert_error(400, "bad_request");
    assert_int_equal(get(f, "/api/v1/config?limit=x"), 400);
    assert_int_equal(get(f, "/api/v1/config?limit=1001"), 400);
}

/* etcd wins key by key where its value is good; what is rejected is not in force. */
static void test_layers(void **state)
{
    static const struct {
        const char *key, *source, *value;
    } wanted[] = {
        {"/tside/rules/*/*/b/*/*/config", "etcd", "{\"timeout_ms\":300}"},
        {"/tside/rules/*/*/b/*/*/degrade", "file", "5"},
        {"/tside/rules/*/*/c/*/*/degrade", "file", "6"},
        {"/tside/rules/a/*/b/*/*/traffic", "etcd", "{\"default\":7}"},
    };
    struct fixture *f = *state;
    json_t *json = get_json(f, "/api/v1/config");
    for (size_t i = 0; i < 4; i++) {
        const json_t *item = json_array_get(json_object_get(json, "items"), i);
        assert_string_equal(str(item, "key"), wanted[i].key);
        assert_string_equal(str(item, "source"), wanted[i].source);
        char *value = json_dumps(json_object_get(item, "value"), JSON_ENCODE_ANY | JSON_COMPACT);
        assert_string_equal(value, wanted[i].value);
        free(value);
    }
    json_decref(json);
}

static void test_config_errors(void **state)
{
    struct fixture *f = *state;
    json_t *json = get_json(f, "/api/v1/config/errors?limit=1");
    const json_t *item = json_array_get(json_object_get(json, "items"), 0);
    assert_string_equal(str(item, "key"), "/tside/rules/*/*/b/*/*/degrade");
    assert_int_equal(json_integer_value(json_object_get(item, "since")), WORLD_NOW_MS);
    char path[256];
    snprintf(path, sizeof path, "/api/v1/config/errors?limit=1&cursor=%s", str(json, "next"));
    json_decref(json);

    json = get_json(f, path);
    item = json_array_get(json_object_get(json, "items"), 0);
    assert_string_equal(str(item, "key"), "/tside/rules/a/*/b/*/*/traffic");
    assert_true(strlen(str(item, "reason")) > 0);
    assert_non_null(json_object_get(item, "field"));
    const json_t *in_force = json_object_get(item, "in_force");
    assert_int_equal(json_integer_value(json_object_get(in_force, "default")), 7);
    assert_true(json_is_null(json_object_get(json, "next")));
    json_decref(json);
}

static void test_explain(void **state)
{
    struct fixture *f = *state;
    json_t *json = get_json(f, "/api/v1/explain?tuple=a/b/M");
    assert_string_equal(str(json, "tuple"), "a/default/b/default/M");
    assert_string_equal(str(json_object_get(json, "outcome"), "action"), "forward");
    json_decref(json);
    json = get_json(f, "/api/v1/explain?tuple=a%2Fdefault%2Fb%2Fcanary%2Fx%252Fy&log_id=1");
    assert_string_equal(str(json, "tuple"), "a/default/b/canary/x%2Fy");
    json_decref(json);
    assert_int_equal(get(f, "/api/v1/explain"), 400);
    assert_error(400, "bad_request");
    assert_int_equal(get(f, "/api/v1/explain?tuple=a/b"), 400);
    assert_int_equal(get(f, "/api/v1/explain?tuple="), 400);
    f->w.no_snapshot = true;
    assert_int_equal(get(f, "/api/v1/explain?tuple=a/b/M"), 503);
}

static void test_routes_and_stats(void **state)
{
    struct fixture *f = *state;
    struct tuple_state *one = admin_world_tuple(&f->w, "a", "b", "M");
    struct tuple_state *two = admin_world_tuple(&f->w, "a", "b", "N");
    for (int i = 0; i < 100; i++) {
        tuple_counts_add(tuple_state_counts(one, i % ADMIN_WORKERS),
                         i < 90 ? REASON_OK : REASON_TIMEOUT, 2000, 1);
    }
    json_t *json = get_json(f, "/api/v1/routes?limit=1");
    const json_t *route = json_array_get(json_object_get(json, "items"), 0);
    assert_string_equal(str(route, "method"), "M");
    assert_string_equal(str(route, "to_cluster"), "default");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(route, "reasons"), "timeout")), 10);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(route, "qps"), "count")),
                     100);
    double p99 = json_number_value(json_object_get(route, "p99_ms"));
    assert_true(p99 > 0 && p99 <= 2);
    assert_string_equal(str(json_object_get(route, "keys"), "config"),
                        "/tside/rules/*/*/b/*/*/config");
    assert_true(json_is_null(json_object_get(json_object_get(route, "keys"), "traffic")));
    char path[256];
    snprintf(path, sizeof path, "/api/v1/routes?cursor=%s", str(json, "next"));
    json_decref(json);
    json = get_json(f, path);
    assert_int_equal(json_array_size(json_object_get(json, "items")), 1);
    json_decref(json);

    counter_add(&f->w.counters[0], METRIC_CONNECTIONS, 2);
    counter_add(&f->w.counters[1], METRIC_CONNECTIONS, 3);
    json = get_json(f, "/api/v1/stats");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "counters"),
                                                        "tside_downstream_connections")),
                     5);
    assert_int_equal(json_array_size(json_object_get(json, "routes")), 2);
    json_decref(json);
    tuple_state_unref(one);
    tuple_state_unref(two);
}

static void test_the_rest_answers(void **state)
{
    struct fixture *f = *state;
    json_decref(get_json(f, "/api/v1/etcd"));
    json_t *errors = get_json(f, "/api/v1/config/errors");
    assert_int_equal(json_array_size(json_object_get(errors, "items")), 0);
    json_decref(errors);
    assert_int_equal(get(f, "/"), 200);
    assert_int_equal(get(f, "/metrics"), 200);
    assert_non_null(strcasestr(answer.head, "content-type: text/plain; version=0.0.4"));
    assert_int_equal(get(f, "/nothing"), 404);
    assert_error(404, "not_found");
    assert_int_equal(get(f, "/api/v1/pools"), 501);
    assert_error(501, "not_yet");
}

/* ---- which requests are answered ------------------------------------------------------------- */

static int get_as(const struct fixture *f, const char *host)
{
    char request[512];
    snprintf(request, sizeof request, "GET /livez HTTP/1.1\r\nHost: %s\r\n\r\n", host);
    return ask(f, false, request);
}

static void test_host_check(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get_as(f, "evil.example"), 403);
    assert_error(403, "forbidden_host");
    assert_int_equal(get_as(f, "localhost.evil.example:80"), 403);
    assert_int_equal(get_as(f, "LOCALHOST:1"), 200);
    assert_int_equal(get_as(f, "10.1.2.3:9901"), 200);
    assert_int_equal(get_as(f, "[::1]:9901"), 200);
    assert_int_equal(get_as(f, "tside.internal"), 200);
    assert_int_equal(ask(f, false, "GET /livez HTTP/1.0\r\n\r\n"), 403);
    /* On the unix socket no Host is needed: its permissions decide. */
    assert_int_equal(ask(f, true, "GET /livez HTTP/1.1\r\nHost: anything\r\n\r\n"), 200);
}

static void test_posting(void **state)
{
    struct fixture *f = *state;
    const char *post =
        "POST /api/v1/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(ask(f, false, post), 405);
    assert_error(405, "method_not_allowed");
    assert_int_equal(f->w.drains, 0);
    assert_int_equal(ask(f, true, "GET /api/v1/drain HTTP/1.1\r\nHost: localhost\r\n\r\n"), 405);
    assert_non_null(strcasestr(answer.head, "allow: POST"));
    assert_int_equal(ask(f, true, "DELETE /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"), 405);
    assert_non_null(strcasestr(answer.head, "allow: GET, HEAD"));
    assert_int_equal(ask(f, true, post), 202);
    while (f->w.drains == 0) { /* the loop's next turn */
    }
    assert_int_equal(f->w.drains, 1);
}

static void test_body_limit(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        ask(f, true, "POST /api/v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n"),
        413);
    static char request[70000 + 256];
    int n = snprintf(request, sizeof request,
                     "POST /api/v1/drain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "%x\r\n",
                     70000);
    memset(request + n, 'x', 70000);
    strcpy(request + n + 70000, "\r\n0\r\n\r\n");
    assert_int_equal(ask(f, true, request), 413);
    assert_int_equal(f->w.drains, 0);
    assert_int_equal(
        ask(f, true, "POST /api/v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"), 202);
}

static void test_socket_file(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->socket, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
}

static void test_stale_socket_is_replaced_live_one_is_not(void **state)
{
    struct admin_world w;
    char dir[] = "/tmp/tside-admin-XXXXXX", path[64];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    admin_world_init(&w);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    strcpy(un.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(fd, 1), 0);
    w.bootstrap.admin.socket = path;
    struct admin *admin = NULL;
    char error[256], expected[256];
    assert_int_equal(admin_new(&w.context, &admin, error, sizeof error), -EADDRINUSE);
    snprintf(expected, sizeof expected, "admin.socket %s: Address already in use", path);
    assert_string_equal(error, expected);
    assert_null(admin);
    close(fd);
    assert_int_equal(admin_new(&w.context, &admin, error, sizeof error), 0);
    admin_close(admin, NULL, NULL);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    rmdir(dir);
    admin_world_done(&w);
    (void)state;
}

/* ---- connections ----------------------------------------------------------------------------- */

static void test_head_has_no_body(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f, false);
    send_text(fd, "HEAD /api/v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n"
                  "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    receive(fd, true, &answer);
    assert_int_equal(answer.status, 200);
    receive(fd, false, &answer);
    assert_string_equal(answer.body, "ok\n");
    close(fd);
}

static void test_keep_alive(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f, false);
    for (int i = 0; i < 50; i++) {
        send_text(fd, "GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n");
        receive(fd, false, &answer);
        assert_int_equal(answer.status, 200);
    }
    close(fd);
}

static void test_slow_client(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f, false);
    const char *request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (const char *p = request; *p; p++) {
        assert_int_equal(send(fd, p, 1, MSG_NOSIGNAL), 1);
        if (p - request == 10) {
            assert_int_equal(get(f, "/readyz"), 200); /* not held up by the slow one */
        }
    }
    receive(fd, false, &answer);
    assert_int_equal(answer.status, 200);
    close(fd);
}

static void test_garbage(void **state)
{
    struct fixture *f = *state;
    static char request[50000];
    memset(request, 'a', sizeof request - 1);
    memcpy(request, "GET /", 5);
    int fd = dial(f, false);
    (void)send(fd, request, strlen(request), MSG_NOSIGNAL);
    char byte;
    while (recv(fd, &byte, 1, 0) > 0) {
    }
    close(fd);
    fd = dial(f, false);
    (void)send(fd, "\x16\x03\x01\x02\x00\x01\r\n\r\n", 10, MSG_NOSIGNAL);
    while (recv(fd, &byte, 1, 0) > 0) {
    }
    close(fd);
    assert_int_equal(get(f, "/livez"), 200);
}

/* A client that takes every connection, and more than the reserve, keeps no probe out. */
static void test_probes_answer_when_all_is_taken(void **state)
{
    struct fixture *f = *state;
    int idle[MAIN_CONNECTIONS + 60 * RESERVE];
    size_t n = 0;
    for (; n < MAIN_CONNECTIONS; n++) {
        idle[n] = dial(f, false);
    }
    assert_int_equal(get(f, "/livez"), 200);
    assert_int_equal(get(f, "/readyz"), 200);
    assert_non_null(strcasestr(answer.head, "connection: close"));
    assert_int_equal(get(f, "/metrics"), 503);
    assert_error(503, "busy");
    for (; n < sizeof idle / sizeof idle[0]; n++) {
        idle[n] = dial(f, false);
        send_text(idle[n], "GET /metrics HTTP/1.1\r\n"); /* begun and never ended */
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(get(f, "/livez"), 200);
    }
    /* The unix socket has connections of its own. */
    assert_int_equal(ask(f, true, "GET /api/v1/info HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    while (n > 0) {
        close(idle[--n]);
    }
    while (get(f, "/metrics") != 200) { /* until the server has seen them go */
        assert_int_equal(answer.status, 503);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_probes),
        TEST(test_info),
        TEST(test_config_pages),
        cmocka_unit_test_setup_teardown(test_layers, setup_layers, teardown),
        cmocka_unit_test_setup_teardown(test_config_errors, setup_layers, teardown),
        TEST(test_explain),
        TEST(test_routes_and_stats),
        TEST(test_the_rest_answers),
        TEST(test_host_check),
        TEST(test_posting),
        TEST(test_body_limit),
        TEST(test_socket_file),
        cmocka_unit_test(test_stale_socket_is_replaced_live_one_is_not),
        TEST(test_head_has_no_body),
        TEST(test_keep_alive),
        TEST(test_slow_client),
        TEST(test_garbage),
        TEST(test_probes_answer_when_all_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
