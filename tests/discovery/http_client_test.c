/*
 * tests/discovery/http_client_test.c: libcurl in the loop against a server that misbehaves.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/cmocka_first.h"

#include <stdlib.h>
#include <unistd.h>

#include "discovery/http_client.h"
#include "tests/support/fake_etcd.h"

#define REPLY "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
#define BIG   (1 << 20)

struct seen {
    struct http_client *client;
    struct http_call *call;
    char body[256];
    size_t len; /* of all, also what body does not hold */
    uint32_t pieces;
    uint32_t done;
    enum http_error error;
    int status;
    size_t cancel_at;     /* bytes after which it is canceled from within on_bytes; 0: never */
    bool close_at_cancel; /* the whole client instead */
    uint32_t post_again;  /* times, from on_done */
    struct http_request request;
};

static uv_loop_t loop;
static struct fake_etcd fake;
static struct http_client *client;
static bool closed;

static void post(struct seen *seen);

static void on_closed(void *arg)
{
    closed = true;
}

static void on_bytes(void *arg, const char *p, size_t len)
{
    struct seen *seen = arg;
    assert_non_null(seen->call); /* nothing comes after a cancel */
    if (seen->len + len < sizeof seen->body) {
        memcpy(seen->body + seen->len, p, len);
    }
    seen->len += len;
    seen->pieces++;
    if (seen->cancel_at > 0 && seen->len >= seen->cancel_at) {
        if (seen->close_at_cancel) {
            http_client_close(client, on_closed, NULL);
            client = NULL;
        } else {
            http_call_cancel(seen->call);
        }
        seen->call = NULL;
    }
}

static void on_done(void *arg, const struct http_result *result)
{
    struct seen *seen = arg;
    assert_non_null(seen->call);
    seen->call = NULL;
    seen->done++;
    seen->error = result->error;
    seen->status = result->status;
    assert_non_null(result->text);
    if (seen->post_again > 0) {
        seen->post_again--;
        post(seen);
    }
}

static void post(struct seen *seen)
{
    const struct http_callbacks callbacks = {on_bytes, on_done, seen};
    struct http_request request = seen->request;
    if (request.url == NULL) {
        request.url = fake.url;
    }
    if (request.body == NULL) {
        request.body = "{}";
        request.body_len = 2;
    }
    seen->call = http_client_post(client, &request, &callbacks);
    assert_non_null(seen->call);
}

static int setup(void **state)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* would hijack us */
    uv_loop_init(&loop);
    fake_etcd_start(&fake, &loop);
    fake.reply = REPLY;
    client = http_client_new(&loop);
    closed = false;
    return 0;
}

static int teardown(void **state)
{
    if (client != NULL) {
        http_client_close(client, on_closed, NULL);
        assert_false(closed);
    }
    fake_etcd_stop(&fake);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    return uv_loop_close(&loop); /* not one handle is left */
}

static void until_done(const struct seen *seen, uint32_t times)
{
    while (seen->done < times) {
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void turns(int n)
{
    for (int i = 0; i < n; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
}

/* ---- calls -------------------------------------------------------------------------------- */

static void test_post(void **state)
{
    static const char *const headers[] = {"Grpc-Metadata-hasleader: true", NULL};
    struct seen seen = {.request = {.body = "{\"a\":1}", .body_len = 7, .headers = headers}};
    post(&seen);
    assert_int_equal(seen.done, 0); /* never from within */
    until_done(&seen, 1);
    assert_int_equal(seen.error, HTTP_OK);
    assert_int_equal(seen.status, 200);
    assert_memory_equal(seen.body, "hello world", 11);
    assert_non_null(strstr(fake.request, "POST / HTTP/1.1\r\n"));
    assert_non_null(strstr(fake.request, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(fake.request, "Grpc-Metadata-hasleader: true\r\n"));
    assert_null(strstr(fake.request, "Expect"));
    assert_non_null(strstr(fake.request, "\r\n\r\n{\"a\":1}"));
}

static void test_connections(void **state)
{
    struct seen seen = {.post_again = 4};
    post(&seen);
    until_done(&seen, 5);
    assert_int_equal(fake.connections, 1); /* kept */
    struct seen own = {.request = {.own_connection = true}, .post_again = 2};
    post(&own);
    until_done(&own, 3);
    assert_int_equal(fake.connections, 4);
    while (fake.open != 1) { /* and closed each time */
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void test_large_body(void **state)
{
    struct seen seen = {0};
    char *body = malloc(BIG + 1);
    memset(body, 'x', BIG);
    body[BIG] = '\0';
    fake.mode = FAKE_OPEN;
    fake.reply = "";
    post(&seen);
    while (fake.requests == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    for (int i = 0; i < 64; i++) { /* little enough for the kernel to take at once */
        fake_etcd_send(&fake, body, BIG / 64);
        while (seen.len < (size_t)(i + 1) * (BIG / 64)) {
            uv_run(&loop, UV_RUN_ONCE);
        }
    }
    fake_etcd_end(&fake);
    until_done(&seen, 1);
    assert_int_equal(seen.len, BIG);
    assert_int_equal(seen.error, HTTP_OK);
    free(body);
}

static void test_drip(void **state)
{
    struct seen seen = {0};
    fake.mode = FAKE_DRIP;
    post(&seen);
    until_done(&seen, 1);
    assert_int_equal(seen.error, HTTP_OK);
    assert_true(seen.pieces > 5);
    assert_memory_equal(seen.body, "hello world", 11);
}

static void test_failures(void **state)
{
    static const struct {
        enum fake_mode mode;
        const char *reply;
        enum http_error error;
        int status;
    } rows[] = {
        {FAKE_CUT,
         "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n123456789012345678901234567890"
         "123456789012345678901234567890",
         HTTP_BROKEN, 200},
        {FAKE_CUT, "HTTP/1.1 200 OK", HTTP_BROKEN, 0},
        {FAKE_RESET, "", HTTP_BROKEN, 0},
        {FAKE_WHOLE, "SSH-2.0-OpenSSH\r\n\r\n", HTTP_FAILED, 0},
        {FAKE_WHOLE, "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", HTTP_OK, 503},
        {FAKE_WHOLE,
         "HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n"
         "\r\n",
         HTTP_OK, 301},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct seen seen = {.request = {.own_connection = true, .timeout_ms = 2000}};
        fake.mode = rows[i].mode;
        fake.reply = rows[i].reply;
        post(&seen);
        until_done(&seen, 1);
        if (seen.error != rows[i].error || seen.status != rows[i].status) {
            fail_msg("row %zu: %s %d", i, http_error_str(seen.error), seen.status);
        }
    }
}

static void test_no_server(void **state)
{
    struct seen refused = {.request = {.url = "http://127.0.0.1:1/"}};
    struct seen nonsense = {.request = {.url = "file:///etc/passwd"}};
    struct seen empty = {.request = {.url = ""}};
    post(&refused);
    post(&nonsense);
    post(&empty);
    assert_int_equal(refused.done + nonsense.done + empty.done, 0);
    until_done(&refused, 1);
    until_done(&nonsense, 1);
    until_done(&empty, 1);
    assert_int_equal(refused.error, HTTP_UNREACHABLE);
    assert_int_equal(nonsense.error, HTTP_FAILED);
    assert_int_equal(empty.error, HTTP_FAILED);
}

static void test_silence(void **state)
{
    struct seen seen = {.request = {.timeout_ms = 150}};
    fake.mode = FAKE_SILENT;
    uint64_t start = uv_hrtime();
    post(&seen);
    until_done(&seen, 1);
    assert_int_equal(seen.error, HTTP_TIMEOUT);
    assert_in_range((uv_hrtime() - start) / 1000000, 140, 1500);
}

/* A name that does not resolve, with resolvers that do not answer, must not hold the loop. */
static void test_cancel_while_resolving(void **state)
{
    struct seen seen = {.request = {.url = "http://nobody.invalid:2379/", .timeout_ms = 5000}};
    post(&seen);
    turns(3);
    uint64_t start = uv_hrtime();
    if (seen.call != NULL) {
        http_call_cancel(seen.call);
    }
    assert_in_range((uv_hrtime() - start) / 1000000, 0, 100);
}

/* ---- streams ------------------------------------------------------------------------------ */

static void test_stream(void **state)
{
    struct seen seen = {.request = {.own_connection = true}};
    fake.mode = FAKE_OPEN;
    fake.reply = "one\n";
    post(&seen);
    while (seen.len < 4) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    /* Others are served beside it. */
    fake.mode = FAKE_WHOLE;
    fake.reply = REPLY;
    struct seen beside = {0};
    post(&beside);
    until_done(&beside, 1);
    assert_int_equal(seen.done, 0);
    fake_etcd_send(&fake, "two\n", 4);
    while (seen.len < 8) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_memory_equal(seen.body, "one\ntwo\n", 8);
    fake_etcd_end(&fake);
    until_done(&seen, 1);
    assert_int_equal(seen.error, HTTP_OK); /* a clean end, which still is one */
}

static void test_cancel_in_callback(void **state)
{
    struct seen seen = {.request = {.own_connection = true}, .cancel_at = 4};
    fake.mode = FAKE_OPEN;
    fake.reply = "one\ntwo\n";
    post(&seen);
    while (seen.len < 4) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    while (fake.open > 0) { /* closed, too */
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(seen.done, 0);
    struct seen next = {0}; /* the client is as good as new */
    fake.mode = FAKE_WHOLE;
    fake.reply = REPLY;
    post(&next);
    until_done(&next, 1);
    assert_int_equal(next.error, HTTP_OK);
}

static void test_cancel_outside(void **state)
{
    struct seen seen = {.request = {.own_connection = true}};
    fake.mode = FAKE_SILENT;
    post(&seen);
    http_call_cancel(seen.call); /* before it has begun */
    seen.call = NULL;
    post(&seen);
    while (fake.requests == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    http_call_cancel(seen.call);
    seen.call = NULL;
    while (fake.open > 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(seen.done, 0);
}

static void test_close_in_callback(void **state)
{
    struct seen seen = {
        .request = {.own_connection = true}, .cancel_at = 1, .close_at_cancel = true};
    struct seen other = {.request = {.own_connection = true}};
    fake.mode = FAKE_OPEN;
    fake.reply = "x";
    post(&other);
    post(&seen);
    while (!closed) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_null(client);
    assert_int_equal(seen.done + other.done, 0);
}

/* Sockets come and go with the same numbers. */
static void test_many(void **state)
{
    struct seen seen[20];
    for (int i = 0; i < 20; i++) {
        seen[i] = (struct seen){.request = {.own_connection = i % 2 == 0}, .post_again = 4};
        post(&seen[i]);
    }
    for (int i = 0; i < 20; i++) {
        until_done(&seen[i], 5);
        assert_int_equal(seen[i].error, HTTP_OK);
        assert_int_equal(seen[i].len, 5 * 11);
    }
}

/* The address is the caller's, the rest the URL's; nothing is looked up, and two addresses of one
 * name have connections of their own. */
static void test_connect_to(void **state)
{
    char url[64];
    char host[64];
    snprintf(url, sizeof url, "http://etcd.invalid%s", strrchr(fake.url, ':'));
    snprintf(host, sizeof host, "\r\nHost: etcd.invalid%s\r\n", strrchr(fake.url, ':'));
    struct seen seen = {.request = {.url = url, .connect_to = "127.0.0.1"}};
    post(&seen);
    until_done(&seen, 1);
    assert_int_equal(seen.error, HTTP_OK);
    assert_non_null(strstr(fake.request, host));
    post(&seen);
    until_done(&seen, 2);
    assert_int_equal(fake.connections, 1);
    seen.request.connect_to = "127.0.0.2"; /* nobody there */
    post(&seen);
    until_done(&seen, 3);
    assert_int_equal(seen.error, HTTP_UNREACHABLE);
    seen.request.connect_to = "[::1]";
    post(&seen);
    until_done(&seen, 4);
    assert_int_equal(seen.error, HTTP_UNREACHABLE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_post),           TEST(test_connections),
        TEST(test_large_body),     TEST(test_drip),
        TEST(test_failures),       TEST(test_no_server),
        TEST(test_silence),        TEST(test_cancel_while_resolving),
        TEST(test_stream),         TEST(test_cancel_in_callback),
        TEST(test_cancel_outside), TEST(test_close_in_callback),
        TEST(test_many),           TEST(test_connect_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
