/*
 * listen_socket_test.c: which socket gets an address, and which process owns a unix socket's file.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/listen_socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- addresses ----------------------------------------------------------------------------- */

static void test_addresses(void **state)
{
    static const struct {
        const char *host, *text;
        uint16_t port;
        bool is_unix;
    } good[] = {
        {"127.0.0.1", "127.0.0.1:9090", 9090, false},
        {"::1", "[::1]:80", 80, false},
        {"/run/a.sock", "unix:/run/a.sock", 0, true},
    };
    union socket_address address[3];
    char text[SOCKET_ADDRESS_TEXT_MAX], path[200];
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(socket_address_of(good[i].host, good[i].port, good[i].is_unix, &address[i]) >
                    0);
        socket_address_print(&address[i], text, sizeof text);
        assert_string_equal(text, good[i].text);
    }
    for (int i = 0; i < 9; i++) {
        assert_int_equal(socket_address_equal(&address[i / 3], &address[i % 3]), i / 3 == i % 3);
    }
    union socket_address other;
    assert_true(socket_address_of("127.0.0.1", 9091, false, &other) > 0);
    assert_false(socket_address_equal(&address[0], &other));
    assert_true(socket_address_of("::2", 80, false, &other) > 0);
    assert_false(socket_address_equal(&address[1], &other));

    memset(path, 'p', sizeof path);
    path[108] = '\0';
    assert_int_equal(socket_address_of(path, 0, true, &other), 0);
    path[107] = '\0';
    assert_true(socket_address_of(path, 0, true, &other) > 0);
    assert_int_equal(socket_address_of("", 0, true, &other), 0);
    assert_int_equal(socket_address_of("localhost", 80, false, &other), 0);
}

/* ---- TCP ----------------------------------------------------------------------------------- */

static int tcp(union socket_address *address, enum listen_sharing sharing)
{
    socklen_t len = sizeof address->v4;
    return listen_socket_tcp(address, len, sharing, 8);
}

/* SO_REUSEPORT is for our own sockets: another process that comes first or second is seen. */
static void test_a_port_is_one_process_s(void **state)
{
    union socket_address address, same;
    (void)state;
    assert_true(socket_address_of("127.0.0.1", 0, false, &address) > 0);
    int first = tcp(&address, LISTEN_FIRST);
    assert_true(first >= 0);
    assert_int_not_equal(address.v4.sin_port, 0);
    int next = tcp(&address, LISTEN_NEXT);
    assert_true(next >= 0);
    same = address;
    assert_int_equal(tcp(&same, LISTEN_FIRST), -EADDRINUSE);
    assert_int_equal(tcp(&same, LISTEN_ALONE), -EADDRINUSE);
    close(first);
    assert_int_equal(tcp(&same, LISTEN_FIRST), -EADDRINUSE); /* one of them is enough */
    close(next);
    int alone = tcp(&same, LISTEN_ALONE);
    assert_true(alone >= 0);
    assert_int_equal(tcp(&address, LISTEN_NEXT), -EADDRINUSE);
    assert_int_equal(tcp(&address, LISTEN_FIRST), -EADDRINUSE);
    close(alone);
}

/* ---- unix ---------------------------------------------------------------------------------- */

struct folder {
    char path[64];
    char socket[96];
};

static int make_folder(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);
    assert_non_null(folder);
    strcpy(folder->path, "/tmp/tside-listen-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->socket, sizeof folder->socket, "%s/s", folder->path);
    *state = folder;
    return 0;
}

static int remove_folder(void **state)
{
    struct folder *folder = *state;
    (void)unlink(folder->socket);
    assert_int_equal(rmdir(folder->path), 0);
    free(folder);
    return 0;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void test_its_file_comes_and_goes(void **state)
{
    const struct folder *folder = *state;
    struct socket_file file;
    struct stat st;
    int fd = listen_socket_unix(folder->socket, 0640, 8, &file);
    assert_true(fd >= 0);
    assert_int_equal(lstat(folder->socket, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0640);
    close(fd);
    socket_file_remove(folder->socket, &file);
    assert_false(exists(folder->socket));
    socket_file_remove(folder->socket, &file); /* nothing is there */
}

static void test_the_last_folder_is_made(void **state)
{
    const struct folder *folder = *state;
    struct socket_file file;
    char sub[128], path[160];
    snprintf(sub, sizeof sub, "%s/sub", folder->path);
    snprintf(path, sizeof path, "%s/s", sub);
    int fd = listen_socket_unix(path, 0, 8, &file);
    assert_true(fd >= 0);
    close(fd);
    socket_file_remove(path, &file);
    assert_int_equal(rmdir(sub), 0);
    snprintf(path, sizeof path, "%s/no/such/s", folder->path);
    assert_int_equal(listen_socket_unix(path, 0, 8, &file), -ENOENT);
}

static void test_a_file_left_over_is_replaced(void **state)
{
    const struct folder *folder = *state;
    struct socket_file dead, file;
    close(listen_socket_unix(folder->socket, 0, 8, &dead));
    assert_true(exists(folder->socket));
    int fd = listen_socket_unix(folder->socket, 0, 8, &file);
    assert_true(fd >= 0);
    close(fd);
}

static int dial(const char *path, int type)
{
    union socket_address address;
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
    assert_true(socket_address_of(path, 0, true, &address) > 0);
    return connect(fd, &address.any, sizeof address.path) == 0 ? fd : (close(fd), -1);
}

/* A process listens there, even if so busy that no connection fits into its queue. */
static void test_a_live_one_is_left_alone(void **state)
{
    const struct folder *folder = *state;
    struct socket_file file, other;
    int fds[8], n = 0;
    int fd = listen_socket_unix(folder->socket, 0, 0, &file);
    assert_true(fd >= 0);
    assert_int_equal(listen_socket_unix(folder->socket, 0, 8, &other), -EADDRINUSE);
    while (n < 8 && (fds[n] = dial(folder->socket, SOCK_STREAM)) >= 0) {
        n++;
    }
    assert_true(n < 8); /* full */
    assert_int_equal(listen_socket_unix(folder->socket, 0, 8, &other), -EADDRINUSE);
    assert_true(exists(folder->socket));
    while (n > 0) {
        close(fds[--n]);
    }
    close(fd);
}

static void test_a_datagram_socket_is_left_alone(void **state)
{
    const struct folder *folder = *state;
    struct socket_file file;
    union socket_address address;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_true(socket_address_of(folder->socket, 0, true, &address) > 0);
    assert_int_equal(bind(fd, &address.any, sizeof address.path), 0);
    assert_int_equal(listen_socket_unix(folder->socket, 0, 8, &file), -EADDRINUSE);
    assert_true(exists(folder->socket));
    close(fd);
}

static void test_what_is_no_socket_is_left_alone(void **state)
{
    const struct folder *folder = *state;
    struct socket_file file;
    FILE *precious = fopen(folder->socket, "w");
    assert_non_null(precious);
    fclose(precious);
    assert_int_equal(listen_socket_unix(folder->socket, 0, 8, &file), -EEXIST);
    assert_true(exists(folder->socket));
}

static void test_another_s_file_is_not_removed(void **state)
{
    const struct folder *folder = *state;
    struct socket_file ours, theirs;
    char aside[128];
    int fd = listen_socket_unix(folder->socket, 0, 8, &ours);
    snprintf(aside, sizeof aside, "%s/aside", folder->path);
    assert_int_equal(rename(folder->socket, aside), 0); /* its inode is not free yet */
    int other = listen_socket_unix(folder->socket, 0, 8, &theirs);
    assert_true(fd >= 0 && other >= 0);
    socket_file_remove(folder->socket, &ours);
    assert_true(exists(folder->socket));
    close(fd);
    close(other);
    assert_int_equal(unlink(aside), 0);
}

static void test_what_an_error_of_accept_asks_for(void **state)
{
    (void)state;
    static const int of_one[] = {EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTUNREACH};
    static const int lasting[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EAGAIN, EBADF, EINVAL};
    for (size_t i = 0; i < sizeof of_one / sizeof of_one[0]; i++) {
        assert_true(accept_error_is_of_one(of_one[i]));
    }
    for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++) {
        assert_false(accept_error_is_of_one(lasting[i]));
    }
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_a_port_is_one_process_s),
        IN_FOLDER(test_its_file_comes_and_goes),
        IN_FOLDER(test_the_last_folder_is_made),
        IN_FOLDER(test_a_file_left_over_is_replaced),
        IN_FOLDER(test_a_live_one_is_left_alone),
        IN_FOLDER(test_a_datagram_socket_is_left_alone),
        IN_FOLDER(test_what_is_no_socket_is_left_alone),
        IN_FOLDER(test_another_s_file_is_not_removed),
        cmocka_unit_test(test_what_an_error_of_accept_asks_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
