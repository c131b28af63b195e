/*
 * tests/discovery/etcd/etcd_codec_test.c: base64, lines, ranges, tallies, bodies, replies,
 * messages.
 *
 * The replies are etcd 3.4.23's, byte for byte; those marked v2 have the form that grpc-gateway v2
 * (etcd 3.6) gives them.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/cmocka_first.h"

#include <inttypes.h>
#include <stdlib.h>

#include "discovery/base/base64.h"
#include "discovery/etcd/etcd_codec.h"
#include "discovery/etcd/etcd_lines.h"
#include "discovery/etcd/etcd_tally.h"

#define HEADER                                                                                     \
    "\"header\":{\"cluster_id\":\"13455796455940752355\",\"member_id\":\"443629905751424238\","    \
    "\"revision\":\"8\",\"raft_term\":\"2\"}"

/* ---- base64 ------------------------------------------------------------------------------- */

static void test_base64(void **state)
{
    static const char *const good[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfd", "//79"},
    };
    static const char *const bad[] = {"Z",    "Zg",     "Zg=",  "Zg==Zg==", "Z===", "====", "Zh==",
                                      "Zm9=", "Zm9v\n", "Zm 9", "Zm9-",     "=Zm9", "Zg=a"};
    char out[64];
    uint8_t raw[64];
    size_t len = 0;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t n = base64_encode(good[i][0], strlen(good[i][0]), out);
        assert_int_equal(n, strlen(good[i][1]));
        assert_int_equal(n, BASE64_ENCODED(strlen(good[i][0])));
        assert_memory_equal(out, good[i][1], n);
        assert_true(base64_decode(good[i][1], n, raw, &len));
        assert_int_equal(len, strlen(good[i][0]));
        assert_memory_equal(raw, good[i][0], len);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (base64_decode(bad[i], strlen(bad[i]), raw, &len)) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

/* ---- lines -------------------------------------------------------------------------------- */

struct heard {
    char text[256];
    int stop_after; /* lines; 0: never */
    int lines;
};

static bool on_line(void *arg, const char *line, size_t len)
{
    struct heard *heard = arg;
    size_t at = strlen(heard->text);
    snprintf(heard->text + at, sizeof heard->text - at, "[%.*s]", (int)len, line);
    return ++heard->lines != heard->stop_after;
}

/* At every cut in two, and byte by byte. */
static void test_lines_at_every_byte(void **state)
{
    static const char text[] = "one\n\ntwo two\r\n \n{\"three\":3}\nno newline";
    static const char wanted[] = "[one][two two\r][{\"three\":3}][no newline]";
    size_t len = strlen(text);
    for (size_t cut = 0; cut <= len + 1; cut++) {
        struct etcd_lines lines;
        struct heard heard = {{0}, 0, 0};
        etcd_lines_init(&lines, 100);
        if (cut <= len) {
            assert_int_equal(etcd_lines_feed(&lines, text, cut, on_line, &heard), ETCD_LINES_OK);
            assert_int_equal(etcd_lines_feed(&lines, text + cut, len - cut, on_line, &heard),
                             ETCD_LINES_OK);
        }
        for (size_t i = 0; cut > len && i < len; i++) {
            assert_int_equal(etcd_lines_feed(&lines, text + i, 1, on_line, &heard), ETCD_LINES_OK);
        }
        assert_int_equal(etcd_lines_end(&lines, on_line, &heard), ETCD_LINES_OK);
        assert_string_equal(heard.text, wanted);
        assert_int_equal(etcd_lines_end(&lines, on_line, &heard), ETCD_LINES_OK);
        assert_string_equal(heard.text, wanted);
        etcd_lines_done(&lines);
    }
}

static void test_lines_limits(void **state)
{
    struct etcd_lines lines;
    struct heard heard = {{0}, 2, 0};
    etcd_lines_init(&lines, 8);
    assert_int_equal(etcd_lines_feed(&lines, "a\nb\nc\n", 6, on_line, &heard), ETCD_LINES_STOPPED);
    assert_string_equal(heard.text, "[a][b]");
    etcd_lines_reset(&lines);
    assert_int_equal(etcd_lines_feed(&lines, "12345678\n", 9, on_line, &heard), ETCD_LINES_OK);
    assert_int_equal(etcd_lines_feed(&lines, "123456789\n", 10, on_line, &heard),
                     ETCD_LINES_TOO_LONG);
    etcd_lines_reset(&lines);
    assert_int_equal(etcd_lines_feed(&lines, "1234", 4, on_line, &heard), ETCD_LINES_OK);
    assert_int_equal(etcd_lines_feed(&lines, "56789", 5, on_line, &heard), ETCD_LINES_TOO_LONG);
    etcd_lines_done(&lines);
}

/* ---- ranges ------------------------------------------------------------------------------- */

static void test_ranges(void **state)
{
    static const struct {
        const char *rules;
        const char *services;
        const char *lists; /* "key..end key..end" */
        const char *watches;
    } rows[] = {
        {"/tside/rules", "/tside/services",
         "/tside/rules/../tside/rules0 /tside/services/../tside/services0", "/tside/../tside0"},
        {"/tside/rules/", "/tside/services//",
         "/tside/rules/../tside/rules0 /tside/services/../tside/services0", "/tside/../tside0"},
        {"", "/tside/services", "/..0", "/..0"},
        {"/tside", "/tside/services", "/tside/../tside0", "/tside/../tside0"},
        {"/tside/rules/x", "/tside/rules", "/tside/rules/../tside/rules0",
         "/tside/rules/../tside/rules0"},
        {"/a/rules", "/b/services", "/a/rules/../a/rules0 /b/services/../b/services0",
         "/a/rules/../a/rules0 /b/services/../b/services0"},
        {"rules", "services", "rules/..rules0 services/..services0",
         "rules/..rules0 services/..services0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const prefix[DISC_SPACES] = {rows[i].rules, rows[i].services};
        struct etcd_ranges ranges;
        char lists[256] = "";
        char watches[256] = "";
        etcd_ranges_init(&ranges, prefix);
        for (uint32_t k = 0; k < ranges.lists; k++) {
            sprintf(lists + strlen(lists), "%s%s..%s", k > 0 ? " " : "", ranges.list[k].key,
                    ranges.list[k].end);
        }
        for (uint32_t k = 0; k < ranges.watches; k++) {
            sprintf(watches + strlen(watches), "%s%s..%s", k > 0 ? " " : "", ranges.watch[k].key,
                    ranges.watch[k].end);
        }
        assert_string_equal(lists, rows[i].lists);
        assert_string_equal(watches, rows[i].watches);
        etcd_ranges_done(&ranges);
    }
}

static void test_whose_key(void **state)
{
    const char *const prefix[DISC_SPACES] = {"", "/tside/services"};
    struct etcd_ranges ranges;
    enum disc_space space;
    struct etcd_bytes rest;
    etcd_ranges_init(&ranges, prefix);
    assert_true(
        etcd_ranges_locate(&ranges, (struct etcd_bytes){"/tside/services/a/b", 19}, &space, &rest));
    assert_int_equal(space, DISC_SPACE_SERVICES);
    assert_int_equal(rest.len, 3);
    assert_true(etcd_ranges_locate(&ranges, (struct etcd_bytes){"/tside/serv", 11}, &space, &rest));
    assert_int_equal(space, DISC_SPACE_RULES);
    assert_memory_equal(rest.p, "tside/serv", 10);
    assert_false(etcd_ranges_locate(&ranges, (struct etcd_bytes){"x", 1}, &space, &rest));
    etcd_ranges_done(&ranges);
}

static void test_tally(void **state)
{
    struct etcd_tally tally;
    int64_t count = 0;
    int64_t newest = 0;
    etcd_tally_set(&tally, 5, 10);
    etcd_tally_add(&tally, 12, 1);
    etcd_tally_add(&tally, 12, 1);
    etcd_tally_add(&tally, 15, -1);
    assert_true(etcd_tally_at(&tally, 20, &count, &newest));
    assert_true(count == 6 && newest == 15);
    assert_true(etcd_tally_at(&tally, 14, &count, &newest));
    assert_true(count == 7 && newest == 12);
    assert_true(etcd_tally_at(&tally, 11, &count, &newest));
    assert_true(count == 5 && newest == 10);
    assert_false(etcd_tally_at(&tally, 9, &count, &newest));
    for (int64_t r = 100; r < 100 + ETCD_TALLY_LOG; r++) {
        etcd_tally_add(&tally, r, 1);
    }
    assert_true(etcd_tally_at(&tally, 100, &count, &newest));
    assert_true(count == 7 && newest == 100);
    assert_false(etcd_tally_at(&tally, 99, &count, &newest)); /* forgotten */
}

/* ---- bodies ------------------------------------------------------------------------------- */

static void test_bodies(void **state)
{
    struct etcd_range_query query = {.key = {"/a/", 3}, .end = {"/a0", 3}, .limit = 1000};
    char *body = etcd_range_body(&query);
    assert_string_equal(body, "{\"key\":\"L2Ev\",\"range_end\":\"L2Ew\",\"limit\":\"1000\"}");
    free(body);
    query = (struct etcd_range_query){.key = {"/a/", 3},
                                      .revision = INT64_MAX,
                                      .limit = 1,
                                      .keys_only = true,
                                      .newest_first = true};
    body = etcd_range_body(&query);
    assert_string_equal(body, "{\"key\":\"L2Ev\",\"revision\":\"9223372036854775807\","
                              "\"limit\":\"1\",\"keys_only\":true,\"sort_order\":\"DESCEND\","
                              "\"sort_target\":\"MOD\"}");
    free(body);
    const char *const prefix[DISC_SPACES] = {"/a", "/b"};
    const int64_t from[] = {7, 9};
    struct etcd_ranges ranges;
    etcd_ranges_init(&ranges, prefix);
    body = etcd_watch_body(ranges.watch, from, ranges.watches);
    assert_string_equal(body, "{\"create_request\":{\"key\":\"L2Ev\",\"range_end\":\"L2Ew\","
                              "\"start_revision\":\"7\",\"fragment\":true,\"progress_notify\":true,"
                              "\"watch_id\":\"1\"}}"
                              "{\"create_request\":{\"key\":\"L2Iv\",\"range_end\":\"L2Iw\","
                              "\"start_revision\":\"9\",\"fragment\":true,\"progress_notify\":true,"
                              "\"watch_id\":\"2\"}}");
    free(body);
    etcd_ranges_done(&ranges);
}

/* ---- replies ------------------------------------------------------------------------------ */

/* A copy without a NUL behind, so that reading on is found out. */
static enum etcd_parsed parse_range(const char *text, struct etcd_range_reply *ret,
                                    struct etcd_error *ret_error)
{
    size_t len = strlen(text);
    char *copy = malloc(len + 1);
    memcpy(copy, text, len);
    char *exact = realloc(copy, len > 0 ? len : 1);
    enum etcd_parsed parsed = etcd_range_parse(exact, len, ret, ret_error);
    free(exact);
    return parsed;
}

static void test_range_reply(void **state)
{
    struct etcd_range_reply reply = {0};
    struct etcd_error error;
    assert_int_equal(
        parse_range("{" HEADER ",\"kvs\":[{\"key\":\"L2EvMQ==\",\"create_revision\":\"2\","
                    "\"mod_revision\":\"3\",\"version\":\"2\",\"value\":\"djE=\","
                    "\"lease\":\"7587877\"},{\"key\":\"L2EA\",\"create_revision\":\"4\","
                    "\"mod_revision\":\"4\",\"version\":\"1\"}],\"more\":true,\"count\":\"3\"}",
                    &reply, &error),
        ETCD_PARSED_OK);
    assert_true(reply.header.cluster_id == 13455796455940752355u && reply.header.revision == 8);
    assert_true(reply.more && reply.count == 3 && reply.kvs.n == 2);
    assert_string_equal(reply.kvs.kv[0].key.p, "/a/1");
    assert_string_equal(reply.kvs.kv[0].value.p, "v1");
    assert_true(reply.kvs.kv[0].create_revision == 2 && reply.kvs.kv[0].mod_revision == 3);
    assert_int_equal(reply.kvs.kv[0].lease, 7587877);
    assert_int_equal(reply.kvs.kv[1].key.len, 3); /* with a NUL inside */
    assert_int_equal(reply.kvs.kv[1].value.len, 0);
    etcd_kvs_done(&reply.kvs);
    /* Nothing there: neither kvs nor count. Spaces, numbers, unknown fields, camels: v2. */
    assert_int_equal(
        parse_range(" { \"header\" : {\"cluster_id\":\"7\", \"revision\": 9, \"new\": [] } } ",
                    &reply, &error),
        ETCD_PARSED_OK);
    assert_true(reply.header.revision == 9 && reply.kvs.n == 0 && reply.count == 0 && !reply.more);
}

static void test_bad_range_replies(void **state)
{
    static const char *const bad[] = {
        "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"9223372036854775807\"}}",
        "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"9\"},\"kvs\":[{\"key\":\"YQ==\",\"mod_"
        "revision\":\"9223372036854775807\"}],\"count\":\"1\"}",
        "",
        "{}",
        "[]",
        "null",
        "42",
        "{",
        "{" HEADER,
        "<html>404</html>",
        "{\"kvs\":[]}",
        "{\"header\":{}}",
        "{\"header\":{\"revision\":\"5\"}}",
        "{\"header\":{\"cluster_id\":\"5\"}}",
        "{\"header\":{\"cluster_id\":\"5\",\"revision\":\"0\"}}",
        "{\"header\":{\"cluster_id\":\"5\",\"revision\":\"-1\"}}",
        "{\"header\":{\"cluster_id\":\"5\",\"revision\":\"x\"}}",
        "{\"header\":{\"cluster_id\":\"5\",\"revision\":\"5x\"}}",
        "{\"header\":{\"cluster_id\":\"5\",\"revision\":\"\"}}",
        "{\"header\":{\"cluster_id\":\"5\",\"revision\":\" 5\"}}",
        "{\"header\":{\"cluster_id\":\"5\",\"revision\":\"99999999999999999999\"}}",
        "{\"header\":{\"cluster_id\":\"-5\",\"revision\":\"5\"}}",
        "{\"header\":{\"cluster_id\":true,\"revision\":\"5\"}}",
        "{" HEADER ",\"kvs\":{}}",
        "{" HEADER ",\"kvs\":[1]}",
        "{" HEADER ",\"kvs\":[{}]}",
        "{" HEADER ",\"more\":1}",
        "{" HEADER ",\"count\":[]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"L2E\",\"mod_revision\":\"3\"}]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"\",\"mod_revision\":\"3\"}]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"L2Ev\"}]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"L2Ev\",\"mod_revision\":\"3\",\"value\":7}]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"L2Ev\",\"mod_revision\":\"3\",\"lease\":\"a\"}]}",
        "{" HEADER "} trailing",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct etcd_range_reply reply;
        struct etcd_error error = {.code = 99};
        if (parse_range(bad[i], &reply, &error) != ETCD_PARSED_BAD || error.code != 0 ||
            error.text[0] == '\0') {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

static void test_errors_of_both_dialects(void **state)
{
    static const struct {
        const char *json;
        int code;
        const char *text;
    } rows[] = {
        {"{\"error\":\"etcdserver: permission denied\",\"message\":\"etcdserver: permission "
         "denied\",\"code\":7}",
         7, "etcdserver: permission denied"},
        {"{\"code\":11, \"message\":\"etcdserver: mvcc: required revision has been compacted\", "
         "\"details\":[]}",
         11, "etcdserver: mvcc: required revision has been compacted"}, /* v2 */
        {"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\","
         "\"http_status\":\"Service Unavailable\"}}",
         14, "etcdserver: no leader"},
        {"{\"error\":{\"code\":14, \"message\":\"etcdserver: no leader\"}}", 14,
         "etcdserver: no leader"}, /* v2 */
        {"{\"error\":\"only text\"}", 0, "only text"},
        {"{\"error\":{}}", 0, "an error without a message"},
        {"{\"error\":null,\"code\":\"5\"}", 5, "an error without a message"},
        {"{\"error\":\"x\",\"code\":{}}", ETCD_CODE_UNKNOWN, "x"},
        {"{\"error\":\"x\",\"code\":-4}", ETCD_CODE_UNKNOWN, "x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct etcd_range_reply reply;
        struct etcd_watch_message message;
        struct etcd_error error;
        assert_int_equal(parse_range(rows[i].json, &reply, &error), ETCD_PARSED_ERROR);
        assert_int_equal(error.code, rows[i].code);
        assert_string_equal(error.text, rows[i].text);
        assert_int_equal(etcd_watch_parse(rows[i].json, strlen(rows[i].json), &message, &error),
                         ETCD_PARSED_ERROR);
        assert_int_equal(error.code, rows[i].code);
    }
}

/* ---- watch messages ----------------------------------------------------------------------- */

static struct etcd_watch_message parsed(const char *text)
{
    struct etcd_watch_message message;
    struct etcd_error error = {0};
    if (etcd_watch_parse(text, strlen(text), &message, &error) != ETCD_PARSED_OK) {
        fail_msg("%s: %s", text, error.text);
    }
    return message;
}

static void test_watch_messages(void **state)
{
    struct etcd_watch_message m =
        parsed("{\"result\":{" HEADER ",\"watch_id\":\"2\",\"created\":true}}");
    assert_true(m.created && !m.canceled && m.watch_id == 2 && m.events.n == 0);
    m = parsed("{\"result\":{" HEADER ",\"watch_id\":1,\"fragment\":true,\"events\":["
               "{\"kv\":{\"key\":\"L2EvNw==\",\"create_revision\":\"11\",\"mod_revision\":\"11\","
               "\"version\":\"1\",\"value\":\"Nw==\",\"lease\":\"77\"}},{\"type\":\"DELETE\","
               "\"kv\":{\"key\":\"L2EvMw==\",\"mod_revision\":\"12\"},\"prev_kv\":{}}]}}");
    assert_true(m.fragment && m.events.n == 2 && m.watch_id == 1);
    assert_true(!m.events.kv[0].deleted && m.events.kv[0].lease == 77);
    assert_true(m.events.kv[1].deleted && m.events.kv[1].mod_revision == 12);
    assert_string_equal(m.events.kv[1].key.p, "/a/3");
    etcd_kvs_done(&m.events);
    m = parsed("{\"result\":{\"header\":{\"cluster_id\":\"5\"},\"canceled\":true,"
               "\"compact_revision\":\"8\"}}");
    assert_true(m.canceled && m.compact_revision == 8 && m.header.revision == 0);
    m = parsed("{\"result\":{" HEADER ",\"watch_id\":\"-1\",\"created\":true,\"canceled\":true,"
               "\"cancel_reason\":\"mvcc: watcher range is empty\"}}");
    assert_true(m.created && m.canceled && m.watch_id == -1);
    assert_string_equal(m.cancel_reason, "mvcc: watcher range is empty");
    m = parsed("{\"result\":{" HEADER "}}");
    assert_true(m.events.n == 0 && !m.created && m.watch_id == 0);
    m = parsed("{\"result\":{" HEADER ",\"events\":[{\"type\":\"PUT\",\"kv\":{\"key\":\"L2Ev\","
               "\"mod_revision\":\"1\"}}]}}");
    assert_int_equal(m.events.n, 1);
    etcd_kvs_done(&m.events);
}

static void test_bad_watch_messages(void **state)
{
    static const char *const bad[] = {
        "{\"result\":{\"header\":{\"cluster_id\":\"7\",\"revision\":\"9223372036854775807\"}}}",
        "{\"result\":{\"header\":{\"cluster_id\":\"7\",\"revision\":\"9\"},\"events\":[{\"kv\":{"
        "\"key\":\"YQ==\",\"mod_revision\":\"9223372036854775807\"}}]}}",
        "{}",
        "{\"result\":{}}",
        "{\"result\":[]}",
        "{" HEADER "}",
        "{\"result\":{" HEADER ",\"events\":7}}",
        "{\"result\":{" HEADER ",\"events\":[{}]}}",
        "{\"result\":{" HEADER ",\"events\":[{\"type\":\"LATER\",\"kv\":{\"key\":\"L2Ev\","
        "\"mod_revision\":\"1\"}}]}}",
        "{\"result\":{" HEADER ",\"events\":[{\"type\":1,\"kv\":{\"key\":\"L2Ev\","
        "\"mod_revision\":\"1\"}}]}}",
        "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"L2Ev\",\"mod_revision\":\"1\"}},"
        "{\"kv\":{\"key\":\"!\",\"mod_revision\":\"1\"}}]}}",
        "{\"result\":{" HEADER ",\"watch_id\":\"one\"}}",
        "{\"result\":{" HEADER ",\"compact_revision\":{}}}",
        "\xff\xfe",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct etcd_watch_message message;
        struct etcd_error error;
        if (etcd_watch_parse(bad[i], strlen(bad[i]), &message, &error) != ETCD_PARSED_BAD) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

/* Every prefix of a message, and every message with one byte gone, is refused or read, not more. */
static void test_mutilated(void **state)
{
    static const char text[] =
        "{\"result\":{" HEADER ",\"watch_id\":\"1\",\"events\":[{\"kv\":{\"key\":\"L2EvNw==\","
        "\"create_revision\":\"11\",\"mod_revision\":\"11\",\"value\":\"Nw==\"}}]}}";
    size_t len = strlen(text);
    struct etcd_watch_message message;
    struct etcd_error error;
    for (size_t cut = 0; cut < len; cut++) {
        char *copy = malloc(len);
        memcpy(copy, text, cut);
        copy = realloc(copy, cut > 0 ? cut : 1);
        assert_int_equal(etcd_watch_parse(copy, cut, &message, &error), ETCD_PARSED_BAD);
        copy = realloc(copy, len);
        memcpy(copy, text, cut);
        memcpy(copy + cut, text + cut + 1, len - cut - 1);
        copy = realloc(copy, len - 1);
        if (etcd_watch_parse(copy, len - 1, &message, &error) == ETCD_PARSED_OK) {
            etcd_kvs_done(&message.events);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_lines_at_every_byte),
        cmocka_unit_test(test_lines_limits),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_whose_key),
        cmocka_unit_test(test_tally),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_range_reply),
        cmocka_unit_test(test_bad_range_replies),
        cmocka_unit_test(test_errors_of_both_dialects),
        cmocka_unit_test(test_watch_messages),
        cmocka_unit_test(test_bad_watch_messages),
        cmocka_unit_test(test_mutilated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
