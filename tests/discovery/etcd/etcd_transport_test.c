/*
 * tests/discovery/etcd/etcd_transport_test.c: bytes of a gateway, good and bad, as the machine's
 * events.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/cmocka_first.h"

#include <stdlib.h>

#include "discovery/etcd/etcd_transport.h"
#include "tests/support/fake_etcd.h"

#define HEADER  "\"header\":{\"cluster_id\":\"7\",\"revision\":\"9\"}"
#define CREATED "{\"result\":{" HEADER ",\"watch_id\":\"1\",\"created\":true}}\n"
#define CHANGE                                                                                     \
    "{\"result\":{" HEADER ",\"watch_id\":\"1\",\"events\":[{\"kv\":{\"key\":\"L2Ev\","            \
    "\"mod_revision\":\"9\"}}]}}\n"

static uv_loop_t loop;
static struct fake_etcd fake;
static struct http_client *client;
static struct etcd_transport *transport;
static struct etcd_endpoints endpoints;
static struct etcd_ranges ranges;
static char events[512];         /* " CREATED CHANGES ..." without BYTES */
static char text[256];           /* of the last error */
static enum etcd_event leave_at; /* cancels the watch from within this event */

static void on_event(void *arg, uint32_t endpoint, const struct etcd_input *input)
{
    if (input->event != ETCD_EVENT_BYTES) {
        snprintf(events + strlen(events), sizeof events - strlen(events), " %s",
                 etcd_event_str(input->event));
    }
    if (input->error != NULL) {
        snprintf(text, sizeof text, "%s", input->error->text);
    }
    if (input->event == ETCD_EVENT_BAD_MESSAGE || input->event == leave_at) {
        etcd_transport_cancel_watch(transport);
    }
}

static int setup(void **state)
{
    static const char *const prefix[DISC_SPACES] = {"/tside/rules", "/tside/services"};
    const char *urls[1];
    uv_loop_init(&loop);
    fake_etcd_start(&fake, &loop);
    client = http_client_new(&loop);
    urls[0] = fake.url;
    etcd_endpoints_init(&endpoints, urls, 1);
    const struct etcd_transport_options options = {
        .http = client, .endpoints = &endpoints, .event = on_event};
    transport = etcd_transport_new(&options);
    etcd_ranges_init(&ranges, prefix);
    events[0] = text[0] = '\0';
    leave_at = ETCD_EVENT_START;
    return 0;
}

static int teardown(void **state)
{
    transport = etcd_transport_free(transport);
    http_client_close(client, NULL, NULL);
    fake_etcd_stop(&fake);
    uv_run(&loop, UV_RUN_DEFAULT);
    etcd_ranges_done(&ranges);
    etcd_endpoints_done(&endpoints);
    return uv_loop_close(&loop);
}

static void until(const char *wanted)
{
    uint64_t end = uv_hrtime() + 5000000000u;
    while (strcmp(events, wanted) != 0) {
        if (uv_hrtime() > end) {
            fail_msg("%s instead of %s", events, wanted);
        }
        uv_run(&loop, UV_RUN_NOWAIT);
    }
}

static void watch(void)
{
    const int64_t from[ETCD_RANGES_MAX] = {10, 0};
    fake.mode = FAKE_OPEN;
    fake.reply = "";
    etcd_transport_watch(transport, 0, ranges.watch, from, ranges.watches);
    while (fake.requests == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void say(const char *bytes)
{
    fake_etcd_send(&fake, bytes, strlen(bytes));
}

static void range(const char *reply)
{
    const struct etcd_range_query query = {.key = {"/a/", 3}, .limit = 5};
    fake.mode = FAKE_WHOLE;
    fake.reply = reply;
    etcd_transport_range(transport, 0, &query, 300);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void test_range(void **state)
{
    range("HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n"
          "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"9\"}}");
    until(" RANGE_OK");
    assert_non_null(strstr(fake.request, "POST /v3/kv/range HTTP/1.1\r\n"));
    assert_non_null(strstr(fake.request, "{\"key\":\"L2Ev\",\"limit\":\"5\"}"));
}

static void test_range_failures(void **state)
{
    static const struct {
        const char *reply;
        const char *text;
    } rows[] = {
        {"HTTP/1.1 503 No\r\nContent-Length: 51\r\n\r\n"
         "{\"error\":\"etcdserver: no leader\",\"code\":14}        ",
         "etcdserver: no leader"},
        {"HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nNot Found",
         "HTTP status 404: no JSON gateway here"},
        {"HTTP/1.1 502 No\r\nContent-Length: 2\r\n\r\n{}", "HTTP status 502: not from etcd"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "no reply to a range request"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "end of file"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", "timeout: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        events[0] = '\0';
        range(rows[i].reply);
        until(" RANGE_FAILED");
        if (strncmp(text, rows[i].text, strlen(rows[i].text)) != 0 &&
            strstr(text, rows[i].text) == NULL) {
            fail_msg("%s instead of %s", text, rows[i].text);
        }
    }
    fake.reply = "";
}

static void test_range_too_large(void **state)
{
    char *chunk = malloc(1 << 16);
    memset(chunk, ' ', 1 << 16);
    const struct etcd_range_query query = {.key = {"/a/", 3}};
    fake.mode = FAKE_OPEN;
    fake.reply = "";
    etcd_transport_range(transport, 0, &query, 0);
    while (fake.requests == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    for (size_t sent = 0; events[0] == '\0' && sent < 2 * ETCD_REPLY_MAX_BYTES; sent += 1 << 16) {
        fake_etcd_send(&fake, chunk, 1 << 16);
        for (int i = 0; i < 4; i++) {
            uv_run(&loop, UV_RUN_NOWAIT);
        }
    }
    until(" RANGE_TOO_LARGE");
    free(chunk);
}

static void test_watch_byte_by_byte(void **state)
{
    static const char bytes[] = CREATED CHANGE;
    watch();
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        fake_etcd_send(&fake, bytes + i, 1);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    until(" CREATED CHANGES");
    assert_non_null(strstr(fake.request, "POST /v3/watch HTTP/1.1\r\n"));
    assert_non_null(strstr(fake.request, "Grpc-Metadata-hasleader: true\r\n"));
}

/* SIGTERM of etcd: an error without a newline, then an end in good order. */
static void test_watch_ends_well(void **state)
{
    watch();
    say(CREATED "{\"error\":{\"grpc_code\":14,\"message\":\"transport is closing\"}}");
    until(" CREATED");
    fake_etcd_end(&fake);
    until(" CREATED ENDED");
    assert_string_equal(text, "transport is closing");
    for (int i = 0; i < 20; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_string_equal(events, " CREATED ENDED"); /* once */
}

static void test_watch_error_in_stream(void **state)
{
    watch();
    say("{\"error\":{\"code\":14, \"message\":\"etcdserver: no leader\"}}\n" CREATED);
    until(" ENDED");
    while (fake.open > 0) { /* etcd would leave it open */
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_string_equal(events, " ENDED");
}

static void test_watch_plain_end(void **state)
{
    watch();
    fake_etcd_end(&fake);
    until(" ENDED");
    assert_memory_equal(text, "closed: ", 8);
}

static void test_watch_garbage(void **state)
{
    watch();
    say(CREATED "<html>\n" CHANGE);
    until(" CREATED BAD_MESSAGE");
    while (fake.open > 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_string_equal(events, " CREATED BAD_MESSAGE");
}

static void test_watch_left_in_event(void **state)
{
    leave_at = ETCD_EVENT_CREATED;
    watch();
    say(CREATED CHANGE CHANGE);
    until(" CREATED");
    while (fake.open > 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_string_equal(events, " CREATED");
}

static void test_watch_line_too_long(void **state)
{
    char *chunk = malloc(1 << 16);
    memset(chunk, 'x', 1 << 16);
    watch();
    for (size_t sent = 0; events[0] == '\0' && sent < 2 * ETCD_REPLY_MAX_BYTES; sent += 1 << 16) {
        fake_etcd_send(&fake, chunk, 1 << 16);
        for (int i = 0; i < 4; i++) {
            uv_run(&loop, UV_RUN_NOWAIT);
        }
    }
    until(" BAD_MESSAGE");
    assert_string_equal(text, "watch: a message is too long");
    free(chunk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_range),
        TEST(test_range_failures),
        TEST(test_range_too_large),
        TEST(test_watch_byte_by_byte),
        TEST(test_watch_ends_well),
        TEST(test_watch_error_in_stream),
        TEST(test_watch_plain_end),
        TEST(test_watch_garbage),
        TEST(test_watch_left_in_event),
        TEST(test_watch_line_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
