/*
 * tests/sidecar/cli/cli_test.c: the program as people and probes call it: what it prints, how it
 * ends.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char out[65536]; /* of the last command, both streams */

/* Runs "tside <arguments>" in the folder; its exit code. */
static int tside(const char *arguments)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && exec %s %s 2>&1", folder, TSIDE_BINARY, arguments);
    FILE *in = popen(command, "re");
    assert_non_null(in);
    size_t n = fread(out, 1, sizeof out - 1, in);
    out[n] = '\0';
    int status = pclose(in);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/tside-cli-XXXXXX");
    assert_non_null(mkdtemp(folder));
    put("good.yaml", "listeners: [{listen: \"127.0.0.1:0\"}]\n"
                     "rules_file: rules.yaml\n"
                     "admin: {listen: \"\", socket: admin.sock}\n");
    put("bad.yaml", "listeners: [{listen: \"127.0.0.1:0\"}]\nrules_file: rules.yaml\nworker: 1\n");
    put("rules.yaml", "rules:\n  \"a/default/b/default/c/config\": {timeout_ms: 300}\n");
    put("bad-rules.yaml", "rules:\n  \"a/default/b/default/c/config\": {timeout_m: 300}\n"
                          "  \"a/b\": 3\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void test_version(void **state)
{
    (void)state;
    assert_int_equal(tside("version"), 0);
    assert_string_equal(out, "tside " TSIDE_VERSION "\n");
    assert_int_equal(tside("--version"), 0);
    assert_string_equal(out, "tside " TSIDE_VERSION "\n");
    assert_int_equal(tside("version -o json"), 0);
    assert_string_equal(out, "{\"version\": \"" TSIDE_VERSION "\"}\n");
}

static void test_usage(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "--nonsense",
                                        "check --nonsense",
                                        "version -o xml",
                                        "version surplus",
                                        "check surplus",
                                        "drain --wait x",
                                        "drain --wait -1",
                                        "healthcheck --admin nonsense",
                                        "drain --admin 127.0.0.1:1",
                                        "docs",
                                        "docs nonsense"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (tside(wrong[i]) != 64) {
            print_message("tside %s: %s", wrong[i], out);
        }
        assert_int_equal(tside(wrong[i]), 64);
        assert_true(out[0] != '\0');
    }
}

static void test_help(void **state)
{
    (void)state;
    assert_int_equal(tside("--help"), 0);
    assert_non_null(strstr(out, "\n  check "));
    assert_non_null(strstr(strstr(out, "Not built yet:"), "\n  rollback "));
    assert_null(strstr(out, "docs"));
    assert_int_equal(tside("help"), 0);
    assert_non_null(strstr(out, "Usage: tside "));
    assert_int_equal(tside("check --help"), 0);
    assert_non_null(strstr(out, "Usage: tside check "));
}

static void test_verbs(void **state)
{
    (void)state;
    static const char *const later[] = {"test",     "get",        "set",    "unset",  "history",
                                        "rollback", "list",       "export", "import", "services",
                                        "register", "deregister", "status", "stats",  "top",
                                        "log",      "override"};
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        char arguments[64], expected[96];
        snprintf(arguments, sizeof arguments, "%s --whatever x", later[i]);
        snprintf(expected, sizeof expected, "tside: \"%s\": not yet, see docs/not-yet.md\n",
                 later[i]);
        assert_int_equal(tside(arguments), 64);
        assert_string_equal(out, expected);
    }
    assert_int_equal(tside("chekc"), 64);
    assert_string_equal(out, "tside: there is no command \"chekc\", did you mean \"check\"?\n");
    assert_int_equal(tside("nonsense"), 64);
    assert_string_equal(out, "tside: there is no command \"nonsense\", see tside --help\n");
}

static void test_check(void **state)
{
    (void)state;
    assert_int_equal(tside("check -c good.yaml"), 0);
    assert_string_equal(out, "ok\n");
    assert_int_equal(tside("check -c bad.yaml"), 65);
    assert_string_equal(out, "bad.yaml:3:1: unknown key worker, did you mean workers?\n");
    assert_int_equal(tside("check -c nonexistent.yaml"), 65);
    assert_int_equal(tside("check --rules rules.yaml"), 0);
    assert_string_equal(out, "ok\n");
    assert_int_equal(tside("check --rules bad-rules.yaml"), 65);
    assert_non_null(strstr(out, "bad-rules.yaml:2:"));
    assert_non_null(strstr(out, "did you mean \"timeout_ms\"?"));
    assert_non_null(strstr(out, "bad-rules.yaml:3:"));
    assert_int_equal(tside("check -c bad.yaml --rules bad-rules.yaml"), 65);
    assert_non_null(strstr(out, "bad.yaml:3:"));
    assert_non_null(strstr(out, "bad-rules.yaml:3:"));
    /* The file that the bootstrap file names is checked, too. */
    put("names.yaml", "listeners: [{listen: \"127.0.0.1:0\"}]\nrules_file: bad-rules.yaml\n");
    assert_int_equal(tside("check -c names.yaml"), 65);
    assert_non_null(strstr(out, "/bad-rules.yaml:2:"));
}

static void test_check_json(void **state)
{
    (void)state;
    assert_int_equal(tside("check -c good.yaml -o json"), 0);
    json_t *json = json_loads(out, 0, NULL);
    assert_true(json_is_true(json_object_get(json, "ok")));
    json_decref(json);
    assert_int_equal(tside("check -o json -c bad.yaml"), 65);
    json = json_loads(out, 0, NULL);
    assert_true(json_is_false(json_object_get(json, "ok")));
    const json_t *item = json_array_get(json_object_get(json, "findings"), 0);
    assert_string_equal(json_string_value(json_object_get(item, "file")), "bad.yaml");
    assert_int_equal(json_integer_value(json_object_get(item, "line")), 3);
    assert_int_equal(json_integer_value(json_object_get(item, "column")), 1);
    assert_string_equal(json_string_value(json_object_get(item, "message")),
                        "unknown key worker, did you mean workers?");
    json_decref(json);
}

static void test_run_refuses(void **state)
{
    (void)state;
    assert_int_equal(tside("run -c bad.yaml"), 65);
    assert_string_equal(out, "bad.yaml:3:1: unknown key worker, did you mean workers?\n");
    put("large.yaml", "listeners: [{listen: \"127.0.0.1:0\"}]\nrules_file: rules.yaml\n"
                      "limits: {connections: 1000000}\nworkers: 1\n");
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_max = limit.rlim_max < 1024 ? limit.rlim_max : 1024;
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0); /* for the rest of the tests, too */
    assert_int_equal(tside("run -c large.yaml"), 65);
    assert_non_null(strstr(out, "RLIMIT_NOFILE"));
}

static void test_docs(void **state)
{
    (void)state;
    assert_int_equal(tside("docs keys"), 0);
    assert_non_null(strstr(out, "| `timeout_ms` | integer 1..3600000 | `1000` | "));
    assert_non_null(strstr(out, "| `lb` | p2c, round_robin"));
    assert_int_equal(tside("docs bootstrap"), 0);
    assert_non_null(strstr(out, "| `state_dir` | path | `/var/lib/tside` | "));
    assert_int_equal(tside("docs reasons"), 0);
    assert_non_null(strstr(out, "| `no_route` | tside | "));
    assert_int_equal(tside("docs metrics"), 0);
    assert_non_null(strstr(out, "| `tside_downstream_connections` | gauge |  | "));
}

/* ---- against a running tside's admin ------------------------------------------------------- */

/* Answers on <folder>/admin.sock until a request for /quit: /livez lives, /readyz is not ready,
 * drain is taken and ends the listening. */
struct admin {
    int fd;
    pthread_t thread;
    _Atomic int drains;
};

static void answer(int fd, const char *status, const char *body)
{
    char text[512];
    int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status,
                     strlen(body), body);
    (void)send(fd, text, (size_t)n, MSG_NOSIGNAL);
}

static void *serve(void *arg)
{
    struct admin *admin = arg;
    bool open = true;
    while (open) {
        char request[2048] = "";
        int fd = accept(admin->fd, NULL, NULL);
        ssize_t n = read(fd, request, sizeof request - 1);
        (void)n;
        if (strncmp(request, "GET /livez ", 11) == 0) {
            answer(fd, "200 OK", "ok\n");
        } else if (strncmp(request, "GET /readyz ", 12) == 0) {
            answer(fd, "503 Service Unavailable", "not ready: no snapshot\n");
        } else if (strncmp(request, "POST /api/v1/drain ", 19) == 0) {
            atomic_fetch_add(&admin->drains, 1);
            answer(fd, "200 OK", "{}");
        } else if (strncmp(request, "GET /quit ", 10) == 0) {
            open = false;
        } else {
            answer(fd, "404 Not Found", "");
        }
        close(fd);
    }
    return NULL;
}

static struct sockaddr_un admin_path(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/admin.sock", folder);
    return addr;
}

static void admin_start(struct admin *admin)
{
    struct sockaddr_un addr = admin_path();
    admin->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(admin->fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(admin->fd, 8), 0);
    assert_int_equal(pthread_create(&admin->thread, NULL, serve, admin), 0);
}

static void admin_stop(struct admin *admin)
{
    struct sockaddr_un addr = admin_path();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(send(fd, "GET /quit ", 10, 0), 10);
    pthread_join(admin->thread, NULL);
    close(fd);
    close(admin->fd);
    unlink(addr.sun_path);
}

static void test_healthcheck(void **state)
{
    (void)state;
    struct admin admin = {0};
    admin_start(&admin);
    assert_int_equal(tside("healthcheck -c good.yaml"), 0);
    assert_string_equal(out, "ok\n");
    assert_int_equal(tside("healthcheck --admin unix:admin.sock"), 0);
    assert_int_equal(tside("healthcheck -c good.yaml --ready"), 1);
    assert_string_equal(out, "not ready: no snapshot\n");
    admin_stop(&admin);
    assert_int_equal(tside("healthcheck -c good.yaml"), 1);
    assert_non_null(strstr(out, "No such file or directory"));
    assert_int_equal(tside("healthcheck -c bad.yaml"), 65);
}

static void test_drain(void **state)
{
    (void)state;
    struct admin admin = {0};
    admin_start(&admin);
    assert_int_equal(tside("drain -c good.yaml"), 0);
    assert_int_equal(atomic_load(&admin.drains), 1);
    /* It never goes: a test does not drain. */
    assert_int_equal(tside("drain --admin unix:admin.sock --wait 0"), 1);
    assert_string_equal(out, "tside: still running after 0 s\n");
    assert_int_equal(atomic_load(&admin.drains), 2);
    admin_stop(&admin);
    assert_int_equal(tside("drain -c good.yaml --wait 5"), 69);
}

static void test_switched_off(void **state)
{
    (void)state;
    put("off.yaml", "listeners: [{listen: \"127.0.0.1:0\"}]\nrules_file: rules.yaml\n"
                    "admin: {listen: \"\", socket: \"\"}\n");
    assert_int_equal(tside("drain -c off.yaml"), 69);
    assert_string_equal(out, "tside: off.yaml switches admin.socket off: say where to ask with "
                             "--admin\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),      cmocka_unit_test(test_usage),
        cmocka_unit_test(test_help),         cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_check),        cmocka_unit_test(test_check_json),
        cmocka_unit_test(test_run_refuses),  cmocka_unit_test(test_docs),
        cmocka_unit_test(test_healthcheck),  cmocka_unit_test(test_drain),
        cmocka_unit_test(test_switched_off),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
