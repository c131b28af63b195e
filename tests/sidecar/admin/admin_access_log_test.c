/*
 * tests/sidecar/admin/admin_access_log_test.c: a finished call's line has the specified fields.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/world.h"

#include "sidecar/admin/admin.h"
#include "sidecar/base/shadow.h"
#include "sidecar/shared/record.h"

#include <jansson.h>
#include <unistd.h>

static const char *const strings[RECORD_STRINGS] = {
    "id-1", "a", "default", "b", "default", "Vi\"sit", "127.0.0.1:9101", "canary", "/t", "/c",
};

static struct record_call *record_new(const char *const s[RECORD_STRINGS])
{
    size_t len = 0;
    for (int i = 0; i < RECORD_STRINGS; i++) {
        len += strlen(s[i]);
    }
    struct record_call *record = calloc(1, sizeof *record + len);
    assert_non_null(record);
    char *p = record->strings;
    for (int i = 0; i < RECORD_STRINGS; i++) {
        record->len[i] = (uint16_t)strlen(s[i]);
        memcpy(p, s[i], record->len[i]);
        p += record->len[i];
    }
    record->type = RECORD_CALL;
    record->reason = REASON_TIMEOUT;
    record->ts_unix_us = UINT64_C(1700000000123456);
    record->total_us = 301000;
    record->upstream_us = 300000;
    record->deadline_ms = 300;
    record->left_ms = -1;
    record->bytes_in = 184;
    record->attempts = 1;
    return record;
}

/* The line as JSON. Takes the record. */
static json_t *written(struct record_call *record)
{
    int fds[2];
    char line[LOG_LINE_MAX + 1];
    assert_int_equal(pipe(fds), 0);
    struct log *log = log_new(fds[1], LOG_INFO, false, "host-17");
    access_log_write(log, record);
    ssize_t len = read(fds[0], line, sizeof line);
    assert_true(len > 0 && len <= LOG_LINE_MAX);
    assert_int_equal(line[len - 1], '\n');
    json_t *json = json_loadb(line, (size_t)len, 0, NULL);
    assert_non_null(json);
    log_free(log);
    close(fds[0]);
    close(fds[1]);
    free(record);
    return json;
}

static const char *str(const json_t *json, const char *key)
{
    const char *s = json_string_value(json_object_get(json, key));
    return s ? s : "(none)";
}

static void test_fields(void **state)
{
    static const char *const fields[] = {
        "ts",          "log_id",      "from",     "from_cluster", "to",        "to_cluster",
        "method",      "reason",      "upstream", "cluster",      "attempts",  "total_us",
        "upstream_us", "deadline_ms", "left_ms",  "bytes_in",     "bytes_out", "rule_traffic",
        "rule_config", "event",       "shadow",
    };
    json_t *json = written(record_new(strings));
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (!json_object_get(json, fields[i])) {
            fail_msg("%s is missing", fields[i]);
        }
    }
    assert_string_equal(str(json, "event"), "call");
    assert_string_equal(str(json, "reason"), "timeout");
    assert_string_equal(str(json, "method"), "Vi\"sit");
    assert_string_equal(str(json, "rule_config"), "/c");
    assert_int_equal(json_integer_value(json_object_get(json, "left_ms")), -1);
    assert_int_equal(json_integer_value(json_object_get(json, "bytes_out")), 0);
    json_decref(json);
    (void)state;
}

static void test_shadow_is_a_list(void **state)
{
    (void)state;
    json_t *json = written(record_new(strings));
    assert_int_equal(json_array_size(json_object_get(json, "shadow")), 0);
    json_decref(json);
    struct record_call *record = record_new(strings);
    record->shadowed = shadow_bit(SHADOW_ACCESS);
    json = written(record);
    const json_t *list = json_object_get(json, "shadow");
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_string_value(json_array_get(list, 0)), "access");
    json_decref(json);
}

static void test_unknown_names(void **state)
{
    const char *const unknown[RECORD_STRINGS] = {"",  "none", "default", "", "default",
                                                 "M", "",     "",        "", ""};
    json_t *json = written(record_new(unknown));
    assert_string_equal(str(json, "to"), "-");
    assert_string_equal(str(json, "upstream"), "");
    json_decref(json);
    (void)state;
}

static void test_long_lines_are_cut_and_stay_json(void **state)
{
    char quotes[RECORD_STRING_MAX + 1], name[DISC_NAME_MAX_BYTES + 1];
    memset(quotes, '"', RECORD_STRING_MAX);
    quotes[RECORD_STRING_MAX] = '\0';
    memset(name, 1, DISC_NAME_MAX_BYTES);
    name[DISC_NAME_MAX_BYTES] = '\0';
    const char *const longest[RECORD_STRINGS] = {quotes, name,   name,   name,   name,
                                                 name,   quotes, quotes, quotes, quotes};
    json_t *json = written(record_new(longest));
    assert_string_equal(str(json, "reason"), "timeout");
    assert_int_equal(json_integer_value(json_object_get(json, "attempts")), 1);
    assert_true(strlen(str(json, "rule_config")) > 10);
    json_decref(json);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_shadow_is_a_list),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_long_lines_are_cut_and_stay_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
