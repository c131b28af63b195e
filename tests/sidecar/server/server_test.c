/*
 * tests/sidecar/server/server_test.c: a whole process within this one, its hours cut to milliseconds.
 *
 * The address and thread sanitizers see what its threads do to each other.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server/server.h"

#include "codec/wire.h"
#include "tests/codec/bytes.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define CALLERS     4
#define CALLS       20000 /* of each caller */
#define CONNECTIONS 10    /* of each caller, one after the other: several workers have some */
#define METHODS     12
#define ASKED_MAX   20000 /* times that /metrics is asked before a test gives up */

struct scene {
    char folder[32];
    struct sockaddr_un address;
    struct sockaddr_un admin;
    _Atomic unsigned callers;
    _Atomic unsigned next_method;
    _Atomic unsigned unanswered;
    bool all_left;
};

static void put(const char *folder, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static struct sockaddr_un socket_in(const struct scene *scene, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", scene->folder, name);
    return address;
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    strcpy(scene->folder, "/tmp/tside-server-XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    put(scene->folder, "rules.yaml", "rules: {}\n");
    put(scene->folder, "tside.yaml",
        "workers: 3\nlisteners: [{listen: \"unix:thrift.sock\"}]\nrules_file: rules.yaml\n"
        "state_dir: state\nadmin: {listen: \"\", socket: admin.sock}\nlog: {level: error}\n"
        "limits: {metric_routes: 16}\n");
    scene->address = socket_in(scene, "thrift.sock");
    scene->admin = socket_in(scene, "admin.sock");
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", scene->folder);
    assert_int_equal(system(command), 0);
    free(scene);
    return 0;
}

/* Waits until the process listens. */
static int connected(const struct sockaddr_un *address)
{
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
            return fd;
        }
        close(fd);
    }
}

/* A call that has no route is counted under its tuple, which nobody holds afterwards. */
static void put_call(struct bytes *frame, unsigned method)
{
    char name[32];
    snprintf(name, sizeof name, "Method%u", method);
    frame->len = 0;
    bytes_put32(frame, 0);
    bytes_put_header(frame, WIRE_CALL, name, 1);
    bytes_put8(frame, 0);
    wire_put32(frame->p, (uint32_t)frame->len - WIRE_FRAME_LEN_BYTES);
}

static bool answered(int fd, const struct bytes *frame)
{
    uint8_t reply[4096];
    if (send(fd, frame->p, frame->len, MSG_NOSIGNAL) != (ssize_t)frame->len ||
        recv(fd, reply, WIRE_FRAME_LEN_BYTES, MSG_WAITALL) != WIRE_FRAME_LEN_BYTES) {
        return false;
    }
    uint32_t len = wire_get32(reply);
    return len <= sizeof reply && recv(fd, reply, len, MSG_WAITALL) == (ssize_t)len;
}

/* Whether /metrics has that line. */
static bool metrics_say(const struct scene *scene, const char *line)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
    static char text[1 << 18];
    size_t len = 0;
    ssize_t n;
    int fd = connected(&scene->admin);
    (void)send(fd, request, sizeof request - 1, MSG_NOSIGNAL); /* then nothing comes, either */
    while (len + 1 < sizeof text && (n = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0) {
        len += (size_t)n;
    }
    close(fd);
    text[len] = '\0';
    return strstr(text, line) != NULL;
}

/* The last caller to finish ends the process, when every tuple has left. */
static void *call_all_methods(void *arg)
{
    struct scene *scene = arg;
    struct bytes frame = {0};
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        int fd = connected(&scene->address);
        for (unsigned n = 0; n < CALLS / CONNECTIONS; n++) {
            put_call(&frame, atomic_fetch_add(&scene->next_method, 1) % METHODS);
            if (!answered(fd, &frame)) {
                atomic_fetch_add(&scene->unanswered, 1);
            }
        }
        close(fd);
    }
    bytes_done(&frame);
    if (atomic_fetch_sub(&scene->callers, 1) == 1) {
        for (int i = 0; i < ASKED_MAX && !scene->all_left; i++) {
            scene->all_left = metrics_say(scene, "\ntside_tuples 0\n");
        }
        kill(getpid(), SIGTERM);
    }
    return NULL;
}

/* Tuples leave while workers look them up, again and again: so each worker passes the epochs. */
static void test_tuples_leave_under_load(void **state)
{
    struct scene *scene = *state;
    char path[64];
    snprintf(path, sizeof path, "%s/tside.yaml", scene->folder);
    struct bootstrap *bootstrap = bootstrap_load(path, NULL, NULL);
    assert_non_null(bootstrap);
    pthread_t callers[CALLERS];
    scene->callers = CALLERS;
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&callers[i], NULL, call_all_methods, scene), 0);
    }
    const struct server_options options = {
        .bootstrap = bootstrap, .tick_ms = 1, .tuple_idle_ms = 1};
    assert_int_equal(server_run(&options), 0);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i], NULL);
    }
    assert_int_equal(scene->unanswered, 0);
    assert_true(scene->all_left);
    bootstrap_free(bootstrap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tuples_leave_under_load, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
