/*
 * tests/sidecar/base/log_test.c: every line is one JSON object, and none ever waits.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    int fds[2];
    struct log *log;
    char text[2 * LOG_LINE_MAX]; /* the last read */
};

static void open_pipe(struct fixture *f, enum log_level level, bool text)
{
    assert_int_equal(pipe2(f->fds, O_CLOEXEC), 0);
    f->log = log_new(f->fds[1], level, text, "host-17");
    assert_non_null(f->log);
}

static void close_pipe(struct fixture *f)
{
    log_free(f->log);
    close(f->fds[0]);
    close(f->fds[1]);
}

static const char *read_text(struct fixture *f)
{
    ssize_t n = read(f->fds[0], f->text, sizeof f->text - 1);
    assert_true(n > 0);
    f->text[n] = '\0';
    return f->text;
}

/* The one line in the pipe, parsed; the caller's to decref. */
static json_t *read_line(struct fixture *f)
{
    const char *text = read_text(f);
    size_t len = strlen(text);
    assert_true(len <= LOG_LINE_MAX);
    assert_int_equal(text[len - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        print_message("%s: %s\n", error.text, text);
    }
    assert_non_null(json);
    return json;
}

static const char *str(const json_t *json, const char *key)
{
    const char *s = json_string_value(json_object_get(json, key));
    assert_non_null(s);
    return s;
}

static void test_fields(void **state)
{
    (void)state;
    struct fixture f;
    struct log_line line;
    open_pipe(&f, LOG_INFO, false);
    assert_true(log_begin(f.log, &line, LOG_WARN, "server", "listening", "now listening"));
    log_str(&line, "address", "127.0.0.1:9090");
    log_int(&line, "fd", -7);
    log_int(&line, "big", INT64_MIN);
    log_end(f.log, &line);
    json_t *json = read_line(&f);
    assert_string_equal(str(json, "level"), "warn");
    assert_string_equal(str(json, "component"), "server");
    assert_string_equal(str(json, "event"), "listening");
    assert_string_equal(str(json, "msg"), "now listening");
    assert_string_equal(str(json, "node"), "host-17");
    assert_string_equal(str(json, "address"), "127.0.0.1:9090");
    assert_int_equal(json_integer_value(json_object_get(json, "pid")), getpid());
    assert_int_equal(json_integer_value(json_object_get(json, "fd")), -7);
    assert_true(json_integer_value(json_object_get(json, "big")) == INT64_MIN);
    assert_null(json_object_get(json, "cut"));
    json_decref(json);
    close_pipe(&f);
}

/* By the clock that the log reads: time() may be some milliseconds behind it. */
static time_t now(void)
{
    struct timespec ts;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &ts), 0);
    return ts.tv_sec;
}

static void test_ts_is_now(void **state)
{
    (void)state;
    struct fixture f;
    open_pipe(&f, LOG_INFO, false);
    time_t before = now();
    log_printf(f.log, LOG_INFO, "a", "b", "%d%%", 5);
    json_t *json = read_line(&f);
    struct tm tm = {0};
    const char *rest = strptime(str(json, "ts"), "%Y-%m-%dT%H:%M:%S", &tm);
    assert_non_null(rest);
    assert_int_equal(strlen(rest), strlen(".123456Z"));
    assert_true(timegm(&tm) >= before && timegm(&tm) <= now());
    assert_string_equal(str(json, "msg"), "5%");
    json_decref(json);
    close_pipe(&f);
}

static void test_call_line(void **state)
{
    (void)state;
    struct fixture f;
    struct log_line line;
    open_pipe(&f, LOG_ERROR, false);
    log_begin_call(f.log, &line, UINT64_C(1700000000123456));
    log_str(&line, "reason", "timeout");
    log_end(f.log, &line);
    json_t *json = read_line(&f);
    assert_string_equal(str(json, "ts"), "2023-11-14T22:13:20.123456Z");
    assert_string_equal(str(json, "event"), "call");
    assert_null(json_object_get(json, "level"));
    assert_null(json_object_get(json, "component"));
    assert_null(json_object_get(json, "msg"));
    json_decref(json);
    close_pipe(&f);
}

static void test_levels(void **state)
{
    (void)state;
    struct fixture f;
    struct log_line line;
    open_pipe(&f, LOG_WARN, false);
    assert_false(log_begin(f.log, &line, LOG_INFO, "a", "b", "c"));
    assert_true(log_begin(f.log, &line, LOG_WARN, "a", "b", "c"));
    log_set_level(f.log, LOG_DEBUG);
    assert_true(log_begin(f.log, &line, LOG_DEBUG, "a", "b", "c"));
    assert_string_equal(log_level_str(LOG_ERROR), "error");
    close_pipe(&f);
}

static void test_any_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *shown;
    } table[] = {
        {"plain", 5, "plain"},
        {"", 0, ""},
        {"\"quoted\"", 8, "\"quoted\""},
        {"back\\slash", 10, "back\\slash"},
        {"a\0b\n\t\x7f", 6, "a\\x00b\\x0A\\x09\\x7F"},
        {"\xff\xfe", 2, "\\xFF\\xFE"},
        {"gr\xc3\xbc\xc3\x9f dich", 11, "gr\xc3\xbc\xc3\x9f dich"},
        {"\xe2\x82", 2, "\\xE2\\x82"},
        {"\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80"},
        {"\xed\xa0\x80", 3, "\\xED\\xA0\\x80"}, /* a surrogate */
        {"\xc0\x80", 2, "\\xC0\\x80"},          /* overlong */
    };
    struct fixture f;
    open_pipe(&f, LOG_INFO, false);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct log_line line;
        assert_true(log_begin(f.log, &line, LOG_INFO, "a", "b", "c"));
        log_bytes(&line, "value", table[i].bytes, table[i].len);
        log_end(f.log, &line);
        json_t *json = read_line(&f);
        assert_string_equal(str(json, "value"), table[i].shown);
        json_decref(json);
    }
    close_pipe(&f);
}

/* Values of every length around the end of the line, of one, two and four bytes a character. */
static void test_long_values_are_cut(void **state)
{
    (void)state;
    static const char *const units[] = {"x", "\"", "\xc3\xbc", "\xf0\x9f\x98\x80", "\xff", "\x01"};
    static char value[3 * LOG_LINE_MAX];
    struct fixture f;
    open_pipe(&f, LOG_INFO, false);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t unit = strlen(units[u]);
        for (size_t len = 900; len < sizeof value; len += len < 5000 ? 1 : 997) {
            size_t n = 0;
            for (; n + unit <= len; n += unit) {
                memcpy(value + n, units[u], unit);
            }
            struct log_line line;
            assert_true(log_begin(f.log, &line, LOG_INFO, "a", "b", "c"));
            log_bytes(&line, "value", value, n);
            log_int(&line, "after", 1);
            log_str(&line, "last", "z");
            log_end(f.log, &line);
            json_t *json = read_line(&f);
            bool whole = json_object_get(json, "last") != NULL;
            assert_true(whole || json_is_true(json_object_get(json, "cut")));
            json_decref(json);
        }
    }
    close_pipe(&f);
}

static void test_long_message_leaves_room(void **state)
{
    (void)state;
    static char message[3 * LOG_LINE_MAX];
    memset(message, '"', sizeof message - 1);
    struct fixture f;
    struct log_line line;
    open_pipe(&f, LOG_INFO, false);
    assert_true(log_begin(f.log, &line, LOG_INFO, "a", "b", message));
    log_str(&line, "address", "127.0.0.1:1");
    log_end(f.log, &line);
    json_t *json = read_line(&f);
    assert_string_equal(str(json, "address"), "127.0.0.1:1");
    assert_true(json_is_true(json_object_get(json, "cut")));
    json_decref(json);
    log_printf(f.log, LOG_INFO, "a", "b", "%s", message);
    json_decref(read_line(&f));
    close_pipe(&f);
}

static void test_names(void **state)
{
    (void)state;
    struct fixture f;
    struct log_line line;
    const char *const names[] = {"access", "rate"};
    open_pipe(&f, LOG_INFO, true);
    for (size_t n = 0; n <= 2; n++) {
        log_begin_call(f.log, &line, 0);
        log_names(&line, "shadow", names, n);
        log_end(f.log, &line);
        const char *const lists[] = {"[]", "[\"access\"]", "[\"access\",\"rate\"]"};
        const char *list = strstr(read_text(&f), "shadow=");
        assert_non_null(list);
        assert_memory_equal(list + strlen("shadow="), lists[n], strlen(lists[n]));
    }
    close_pipe(&f);
}

/* At every length of what stands before it: a list is there as a whole, or not at all. */
static void test_names_at_the_end_of_a_line(void **state)
{
    (void)state;
    static char value[LOG_LINE_MAX];
    struct fixture f;
    struct log_line line;
    const char *const names[] = {"access", "rate"};
    size_t whole = 0, cut = 0;
    open_pipe(&f, LOG_INFO, false);
    memset(value, 'x', sizeof value);
    for (size_t len = LOG_LINE_MAX - 300; len < sizeof value; len++) {
        log_begin_call(f.log, &line, 0);
        log_bytes(&line, "value", value, len);
        log_names(&line, "shadow", names, 2);
        log_end(f.log, &line);
        json_t *json = read_line(&f);
        const json_t *list = json_object_get(json, "shadow");
        assert_true(!list || json_array_size(list) == 2);
        assert_true(list || json_is_true(json_object_get(json, "cut")));
        whole += list != NULL;
        cut += list == NULL;
        json_decref(json);
    }
    assert_true(whole > 0 && cut > 0);
    close_pipe(&f);
}

static void test_many_fields(void **state)
{
    (void)state;
    struct fixture f;
    struct log_line line;
    open_pipe(&f, LOG_INFO, false);
    assert_true(log_begin(f.log, &line, LOG_INFO, "a", "b", "c"));
    for (int i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i);
        if (i % 2 == 0) {
            log_int(&line, key, i);
        } else {
            log_str(&line, key, "v");
        }
    }
    log_end(f.log, &line);
    json_t *json = read_line(&f);
    assert_true(json_is_true(json_object_get(json, "cut")));
    json_decref(json);
    close_pipe(&f);
}

/* The pipe is blocking: a write that did not ask first would hang here. */
static void test_full_pipe_drops_and_tells(void **state)
{
    (void)state;
    struct fixture f;
    open_pipe(&f, LOG_INFO, false);
    int written = 0;
    while (log_dropped(f.log) == 0) {
        log_printf(f.log, LOG_INFO, "a", "b", "%0500d", written);
        written++;
        assert_true(written < 100000);
    }
    log_printf(f.log, LOG_INFO, "a", "b", "one more");
    assert_int_equal(log_dropped(f.log), 2);
    FILE *in = fdopen(dup(f.fds[0]), "r");
    char text[LOG_LINE_MAX + 1];
    for (int i = 0; i < written - 1; i++) {
        assert_non_null(fgets(text, sizeof text, in));
        json_t *json = json_loads(text, 0, NULL);
        assert_non_null(json);
        json_decref(json);
    }
    fclose(in);
    log_printf(f.log, LOG_INFO, "a", "b", "room again");
    json_t *json = read_line(&f);
    assert_int_equal(json_integer_value(json_object_get(json, "log_dropped")), 2);
    json_decref(json);
    log_printf(f.log, LOG_INFO, "a", "b", "told once");
    json = read_line(&f);
    assert_null(json_object_get(json, "log_dropped"));
    json_decref(json);
    close_pipe(&f);
}

/* No SIGPIPE, no wait: the reader is gone. */
static void test_reader_gone(void **state)
{
    (void)state;
    struct fixture f;
    open_pipe(&f, LOG_INFO, false);
    close(f.fds[0]);
    log_printf(f.log, LOG_INFO, "a", "b", "lost");
    assert_int_equal(log_dropped(f.log), 1);
    log_free(f.log);
    close(f.fds[1]);
}

/* A stream socket (the journal's) may take half a line; the next one still starts a line. */
static void test_socket(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct log *log = log_new(fds[1], LOG_INFO, false, "n");
    for (int i = 0; i < 5000; i++) {
        log_printf(log, LOG_INFO, "a", "b", "%0900d", i);
    }
    assert_true(log_dropped(log) > 0);
    close(fds[1]);
    FILE *in = fdopen(fds[0], "r");
    char text[LOG_LINE_MAX + 1];
    int torn = 0;
    while (fgets(text, sizeof text, in) != NULL) {
        json_t *json = json_loads(text, 0, NULL);
        torn += json == NULL;
        json_decref(json);
    }
    assert_true(torn <= 1);
    fclose(in);
    log_free(log);
}

static void test_text(void **state)
{
    (void)state;
    struct fixture f;
    struct log_line line;
    open_pipe(&f, LOG_INFO, true);
    assert_true(log_begin(f.log, &line, LOG_INFO, "server", "listening", "now\nlistening"));
    log_str(&line, "address", "127.0.0.1:9090");
    log_str(&line, "why", "be \"cause\"");
    log_str(&line, "empty", "");
    log_int(&line, "n", 3);
    log_end(f.log, &line);
    assert_string_equal(read_text(&f), "info server: now\\x0Alistening address=127.0.0.1:9090 "
                                       "why=\"be \\\"cause\\\"\" empty=\"\" n=3\n");
    log_begin_call(f.log, &line, 0);
    log_str(&line, "to", "x");
    log_end(f.log, &line);
    assert_string_equal(read_text(&f), "ts=1970-01-01T00:00:00.000000Z event=call to=x\n");
    close_pipe(&f);
}

static void test_text_is_cut(void **state)
{
    (void)state;
    static char value[2 * LOG_LINE_MAX];
    memset(value, 'y', sizeof value - 1);
    struct fixture f;
    struct log_line line;
    open_pipe(&f, LOG_INFO, true);
    assert_true(log_begin(f.log, &line, LOG_INFO, "server", "e", value));
    log_str(&line, "v", value);
    log_str(&line, "w", value);
    log_end(f.log, &line);
    size_t len = strlen(read_text(&f));
    assert_true(len <= LOG_LINE_MAX);
    assert_string_equal(f.text + len - strlen(" cut=true\n"), " cut=true\n");
    close_pipe(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_ts_is_now),
        cmocka_unit_test(test_call_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_long_values_are_cut),
        cmocka_unit_test(test_long_message_leaves_room),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_at_the_end_of_a_line),
        cmocka_unit_test(test_many_fields),
        cmocka_unit_test(test_full_pipe_drops_and_tells),
        cmocka_unit_test(test_reader_gone),
        cmocka_unit_test(test_socket),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
