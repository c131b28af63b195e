/*
 * http_server_test.c: a client too slow for a whole request goes, one in time stays.
 *
 * Client and server share one loop; the client acts on a timer.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define REQUEST_MS  400
#define STEP_MS     25
#define PATIENCE_MS 8000 /* below the server's inactivity timeout */
#define LARGE_BYTES (32u << 20)

struct rig {
    uv_loop_t loop;
    uv_timer_t step;
    struct http_server *server;
    int fd; /* the client's */
    void (*act)(struct rig *rig);
    uint64_t begun_ms;
    uint64_t ended_ms; /* 0: the connection still stands */
    unsigned steps;
    unsigned answers;
    size_t received;
};

static void on_request(void *owner, const struct http_request *request, struct http_reply *reply)
{
    struct rig *rig = owner;
    bool large = strcmp(request->path, "/large") == 0;
    rig->answers++;
    reply->status = 200;
    reply->body_len = large ? LARGE_BYTES : 2;
    reply->body = calloc(1, reply->body_len);
}

static bool is_closed(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};
    return poll(&poll_fd, 1, 0) == 1;
}

static void finish(struct rig *rig)
{
    uv_close((uv_handle_t *)&rig->step, NULL);
    http_server_close(rig->server, NULL, NULL);
}

static void on_step(uv_timer_t *timer)
{
    struct rig *rig = timer->data;
    if (is_closed(rig->fd)) {
        rig->ended_ms = uv_now(&rig->loop);
        finish(rig);
    } else if (uv_now(&rig->loop) - rig->begun_ms > PATIENCE_MS) {
        finish(rig);
    } else {
        rig->act(rig);
        rig->steps++;
    }
}

static int listening(struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)address, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &len), 0);
    return fd;
}

/* Until the connection has ended or the patience. */
static void run(struct rig *rig, void (*act)(struct rig *rig))
{
    struct sockaddr_in address;
    memset(rig, 0, sizeof *rig);
    rig->act = act;
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    rig->server = http_server_new(&(struct http_options){.loop = &rig->loop,
                                                         .fd = listening(&address),
                                                         .connections = 2,
                                                         .timeout_s = 10,
                                                         .request_ms = REQUEST_MS,
                                                         .handler = on_request,
                                                         .owner = rig});
    assert_non_null(rig->server);
    rig->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(rig->fd, (struct sockaddr *)&address, sizeof address), 0);
    uv_timer_init(&rig->loop, &rig->step);
    rig->step.data = rig;
    rig->begun_ms = uv_now(&rig->loop);
    uv_timer_start(&rig->step, on_step, STEP_MS, STEP_MS);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    close(rig->fd);
}

static void send_text(struct rig *rig, const char *text)
{
    (void)send(rig->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT); /* the next step looks */
}

static void trickle_header(struct rig *rig)
{
    send_text(rig, rig->steps == 0 ? "GET / HTTP/1.1\r\nHost: localhost\r\nX: " : "x");
}

static void test_a_trickled_header(void **state)
{
    struct rig rig;
    run(&rig, trickle_header);
    assert_true(rig.ended_ms >= rig.begun_ms + REQUEST_MS);
    assert_int_equal(rig.answers, 0);
    (void)state;
}

static bool take(struct rig *rig)
{
    static char bytes[1 << 16];
    ssize_t n = recv(rig->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    rig->received += n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* Takes it when its time is long over: what the kernel holds still comes, and then the end. */
static void ask_for_much(struct rig *rig)
{
    if (rig->steps == 0) {
        send_text(rig, "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    while (rig->steps * STEP_MS > REQUEST_MS + 1000 && take(rig)) {
    }
}

/* The same with a little of it before, so that there is always progress. */
static void sip(struct rig *rig)
{
    ask_for_much(rig);
    (void)take(rig);
}

static void test_an_answer_that_is_not_taken(void **state)
{
    struct rig rig;
    void (*const acts[])(struct rig *) = {ask_for_much, sip};
    for (int i = 0; i < 2; i++) {
        run(&rig, acts[i]);
        assert_int_equal(rig.answers, 1);
        assert_true(rig.ended_ms >= rig.begun_ms + REQUEST_MS);
        assert_true(rig.received > 0 && rig.received < LARGE_BYTES);
    }
    (void)state;
}

static void ask_often(struct rig *rig)
{
    if (rig->steps == 80) { /* five times as long as one request may take */
        send_text(rig, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    } else if (rig->steps % 8 == 0 && rig->steps < 80) {
        send_text(rig, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
}

static void test_each_request_has_its_time(void **state)
{
    struct rig rig;
    run(&rig, ask_often);
    assert_int_equal(rig.answers, 11);
    assert_true(rig.ended_ms > 0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_trickled_header),
        cmocka_unit_test(test_an_answer_that_is_not_taken),
        cmocka_unit_test(test_each_request_has_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
