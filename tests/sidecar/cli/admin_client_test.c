/*
 * tests/sidecar/cli/admin_client_test.c: answers in every form and every cut, against a scripted
 * peer.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/admin_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* Takes one connection, reads the request's head, answers in pieces, closes (or not). */
struct peer {
    int listen_fd;
    const char *answer;
    size_t piece; /* bytes a write; 0: all at once */
    bool hang;    /* keeps the connection open until the client has closed it */
    char request[4096];
    pthread_t thread;
    struct admin_address address;
};

static void *serve(void *arg)
{
    struct peer *peer = arg;
    int fd = accept(peer->listen_fd, NULL, NULL);
    size_t n = 0;
    while (strstr(peer->request, "\r\n\r\n") == NULL ||
           (strstr(peer->request, "body") == NULL && strstr(peer->request, "Length: 4"))) {
        ssize_t r = read(fd, peer->request + n, sizeof peer->request - 1 - n);
        if (r <= 0) {
            break;
        }
        n += (size_t)r;
    }
    size_t len = strlen(peer->answer);
    size_t piece = peer->piece > 0 ? peer->piece : len;
    for (size_t at = 0; at < len; at += piece) {
        size_t part = len - at < piece ? len - at : piece;
        if (send(fd, peer->answer + at, part, MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    char byte;
    while (peer->hang && read(fd, &byte, 1) > 0) {
    }
    close(fd);
    return NULL;
}

static void peer_start(struct peer *peer)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    char text[64];
    peer->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer->listen_fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(peer->listen_fd, 4), 0);
    assert_int_equal(getsockname(peer->listen_fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(addr.sin_port));
    assert_true(admin_address_parse(text, &peer->address));
    assert_int_equal(pthread_create(&peer->thread, NULL, serve, peer), 0);
}

static void peer_stop(struct peer *peer)
{
    pthread_join(peer->thread, NULL);
    close(peer->listen_fd);
}

static int get(struct peer *peer, uint32_t timeout_ms, size_t body_max, struct admin_response *ret)
{
    peer_start(peer);
    int r = admin_request(&peer->address, "GET", "/x?y=1", NULL, timeout_ms, body_max, ret);
    peer_stop(peer);
    return r;
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host; /* NULL: refused */
        const char *port;
        bool is_unix;
    } table[] = {
        {"127.0.0.1:9901", "127.0.0.1", "9901", false},
        {"localhost:1", "localhost", "1", false},
        {"[::1]:9901", "::1", "9901", false},
        {"unix:/run/a.sock", "/run/a.sock", "", true},
        {"/run/a.sock", "/run/a.sock", "", true},
        {"unix:a.sock", "a.sock", "", true},
        {"", NULL, NULL, false},
        {"127.0.0.1", NULL, NULL, false},
        {":9901", NULL, NULL, false},
        {"127.0.0.1:", NULL, NULL, false},
        {"127.0.0.1:x", NULL, NULL, false},
        {"127.0.0.1:65536", NULL, NULL, false},
        {"127.0.0.1:999999999", NULL, NULL, false},
        {"unix:", NULL, NULL, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct admin_address address;
        assert_int_equal(admin_address_parse(table[i].text, &address), table[i].host != NULL);
        if (table[i].host != NULL) {
            assert_string_equal(address.host, table[i].host);
            assert_string_equal(address.port, table[i].port);
            assert_int_equal(address.is_unix, table[i].is_unix);
        }
    }
    char longest[300] = "unix:/";
    memset(longest + 6, 'x', 200);
    struct admin_address address;
    assert_false(admin_address_parse(longest, &address));
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        int r;
        int status;
        const char *body;
    } table[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0, 200, "hello"},
        {"HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhelloXX", 0, 200, "hello"},
        {"HTTP/1.0 503 Nope\r\n\r\nnot ready", 0, 503, "not ready"},
        {"HTTP/1.1 200\r\n\r\n", 0, 200, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, 200, ""},
        {"HTTP/1.1 204 No Content\r\n\r\n", 0, 204, ""},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, 200,
         "ok"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
         "chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n",
         0, 200, "hello!"},
        {"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 0, 200, "ok"},
        {"", -EPROTO, 0, NULL},
        {"SSH-2.0-OpenSSH\r\n", -EPROTO, 0, NULL},
        {"HTTP/2 200\r\n\r\n", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\n", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", -EPROTO, 0, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", -EPROTO, 0, NULL},
    };
    static const size_t pieces[] = {0, 1, 7};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            struct peer peer = {.answer = table[i].answer, .piece = pieces[p]};
            struct admin_response response;
            int r = get(&peer, 5000, 200, &response);
            /* A peer that closes with bytes unread resets. */
            assert_int_equal(r, table[i].r);
            if (r == 0) {
                assert_int_equal(response.status, table[i].status);
                assert_string_equal(response.body, table[i].body);
                assert_int_equal(response.len, strlen(table[i].body));
                free(response.body);
            }
        }
    }
}

static void test_request(void **state)
{
    (void)state;
    struct peer peer = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
    struct admin_response response;
    assert_int_equal(get(&peer, 5000, 10, &response), 0);
    free(response.body);
    char host[64];
    snprintf(host, sizeof host, "\r\nHost: 127.0.0.1:%s\r\n", peer.address.port);
    assert_ptr_equal(strstr(peer.request, "GET /x?y=1 HTTP/1.1\r\n"), peer.request);
    assert_non_null(strstr(peer.request, host));
    assert_non_null(strstr(peer.request, "\r\nConnection: close\r\n"));
    assert_null(strstr(peer.request, "Content-Length"));

    struct peer post = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
    peer_start(&post);
    assert_int_equal(admin_request(&post.address, "POST", "/p", "body", 5000, 10, &response), 0);
    free(response.body);
    peer_stop(&post);
    assert_non_null(strstr(post.request, "\r\nContent-Length: 4\r\n\r\nbody"));
}

static void test_limit(void **state)
{
    (void)state;
    struct admin_response response;
    struct peer exact = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"};
    assert_int_equal(get(&exact, 5000, 5, &response), 0);
    free(response.body);
    struct peer over = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"};
    assert_int_equal(get(&over, 5000, 4, &response), -EMSGSIZE);
    struct peer endless = {.answer = "HTTP/1.1 200 OK\r\n\r\nhello"};
    assert_int_equal(get(&endless, 5000, 4, &response), -EMSGSIZE);
}

static void test_complete_without_close(void **state)
{
    (void)state;
    struct admin_response response;
    struct peer peer = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", .hang = true};
    assert_int_equal(get(&peer, 5000, 100, &response), 0);
    assert_string_equal(response.body, "ok");
    free(response.body);
}

static void test_silence_times_out(void **state)
{
    (void)state;
    struct admin_response response;
    struct peer peer = {.answer = "HTTP/1.1 200 OK\r\n", .hang = true};
    assert_int_equal(get(&peer, 50, 100, &response), -ETIMEDOUT);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct admin_response response;
    struct admin_address address;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    char text[64];
    /* Bound, not listening: refused, and no other process can take the port meanwhile. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(addr.sin_port));
    assert_true(admin_address_parse(text, &address));
    assert_int_equal(admin_request(&address, "GET", "/", NULL, 1000, 10, &response), -ECONNREFUSED);
    close(fd);
    assert_true(admin_address_parse("unix:/nonexistent/admin.sock", &address));
    assert_int_equal(admin_request(&address, "GET", "/", NULL, 1000, 10, &response), -ENOENT);
}

static void test_unix(void **state)
{
    (void)state;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/tside-admin-client-XXXXXX";
    char text[128];
    assert_non_null(mkdtemp(folder));
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/s", folder);
    snprintf(text, sizeof text, "unix:%s/s", folder);
    struct peer peer = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"};
    struct admin_response response;
    peer.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer.listen_fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(peer.listen_fd, 1), 0);
    assert_int_equal(pthread_create(&peer.thread, NULL, serve, &peer), 0);
    assert_true(admin_address_parse(text, &peer.address));
    assert_int_equal(admin_request(&peer.address, "GET", "/", NULL, 5000, 10, &response), 0);
    assert_string_equal(response.body, "ok");
    assert_non_null(strstr(peer.request, "\r\nHost: localhost\r\n"));
    free(response.body);
    assert_int_equal(admin_peer(&peer.address, 5000), getpid());
    peer_stop(&peer);
    assert_int_equal(admin_peer(&peer.address, 5000), 0);
    unlink(addr.sun_path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_complete_without_close),
        cmocka_unit_test(test_silence_times_out),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_unix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
