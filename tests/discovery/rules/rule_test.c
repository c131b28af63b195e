/*
 * rule_test.c: values of `traffic` and `degrade` keys, and what every value has in common.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/rule.h"

#include "tests/discovery/cmocka_first.h"

static struct codec_templates *templates;

static int begin(void **state)
{
    (void)state;
    templates = codec_templates_new();
    return templates != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    templates = codec_templates_free(templates);
    return 0;
}

static struct disc_rule *parse(enum disc_kind kind, const char *text)
{
    struct disc_error error = {"", ""};
    struct disc_rule *rule =
        disc_rule_parse(kind, "/r/a/b/c/d/e/x", text, strlen(text), 7, templates, &error);
    if (rule == NULL) {
        fail_msg("%s: %s: %s", text, error.field, error.reason);
    }
    assert_string_equal(rule->key, "/r/a/b/c/d/e/x");
    assert_string_equal(rule->text, text);
    assert_int_equal(rule->mod_revision, 7);
    assert_int_equal(rule->kind, kind);
    return rule;
}

struct bad {
    const char *text;
    const char *field;
    const char *reason; /* part of it */
};

static void refused(enum disc_kind kind, const struct bad *bad)
{
    struct disc_error error = {"?", "?"};
    struct disc_rule *rule =
        disc_rule_parse(kind, "k", bad->text, strlen(bad->text), 7, templates, &error);
    if (rule != NULL) {
        fail_msg("%s: accepted", bad->text);
    }
    if (strcmp(error.field, bad->field) != 0 || strstr(error.reason, bad->reason) == NULL) {
        fail_msg("%s: got \"%s\": %s", bad->text, error.field, error.reason);
    }
}

/* A field's name, or a reason, that is too long is cut between two characters. */
static void test_long_fields(void **state)
{
    char text[256] = "{\"";
    char field[64] = "";
    (void)state;
    for (int i = 0; i < 41; i++) {
        strcat(text, "\xc3\xa9");
    }
    strcat(text, "\": 1}");
    for (int i = 0; i < 31; i++) { /* 62 of 63 bytes */
        strcat(field, "\xc3\xa9");
    }
    refused(DISC_CONFIG, &(struct bad){text, field, "unknown field"});
    refused(DISC_DEGRADE, &(struct bad){text, field, "unknown field"});
    memmove(text + 3, text + 2, strlen(text + 2) + 1);
    text[2] = 'x'; /* now it fits to the byte */
    char odd_field[64] = "x";
    strcat(odd_field, field);
    refused(DISC_CONFIG, &(struct bad){text, odd_field, "unknown field"});
    char traffic[256] = "{\"";
    for (int i = 0; i < 63; i++) {
        strcat(traffic, "\xc3\xa9");
    }
    strcat(traffic, "x\": -1}");
    refused(DISC_TRAFFIC, &(struct bad){traffic, field, ""});
}

static void test_syntax(void **state)
{
    (void)state;
    static const struct bad bad[] = {
        {"", "", "line 1, column 1: "},
        {"{", "", "line 1, column 1: "},
        {"{\n  \"a\": 1,\n  \"a\": 2}", "", "line 3, column 5: duplicate object key"},
        {"{} {}", "", "line 1, column 4: "},
        {"{\"a\": 1,}", "", "line 1, column 9: "},
        {"{'a': 1}", "", "line 1, column 2: "},
        {"{\"a\xff\": 1}", "", "line 1, column "},
        {"{\"a\\u0000\": 1}", "", "line 1, column "},
        {"{\"a\": 99999999999999999999}", "", "too big"},
        {"nul", "", "line 1, column 3: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (int kind = 0; kind < DISC_KINDS; kind++) {
            refused((enum disc_kind)kind, &bad[i]);
        }
    }
}

static void test_traffic(void **state)
{
    (void)state;
    struct disc_rule *rule = parse(DISC_TRAFFIC, "{\"default\": 90, \"canary\": 10}");
    const struct disc_traffic *t = &rule->traffic;
    assert_int_equal(t->n, 2);
    assert_int_equal(t->by.kind, DISC_BY_RANDOM);
    assert_true(disc_str_eq(t->targets[0].cluster, disc_str_of("canary", 6)));
    assert_int_equal(t->targets[0].weight, 10);
    assert_int_equal(t->targets[0].zone.len, 0);
    assert_true(disc_str_eq(t->targets[1].cluster, disc_str_of("default", 7)));
    assert_int_equal(t->split.total, 100);
    int canary = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        canary += lb_split_pick(&t->split, i * 0x9e3779b97f4a7c15u) == 0;
    }
    assert_in_range(canary, 70, 130);
    rule = disc_rule_unref(rule);

    rule =
        parse(DISC_TRAFFIC, "{\"clusters\": {\"default@lf\": 70, \"default@hl\": 0, \"a@b@c\":1},"
                            " \"by\": \"extra:user\"}");
    assert_int_equal(rule->traffic.by.kind, DISC_BY_EXTRA);
    assert_true(disc_str_eq(rule->traffic.by.extra_key, disc_str_of("user", 4)));
    assert_true(disc_str_eq(rule->traffic.targets[0].cluster, disc_str_of("a@b", 3)));
    assert_true(disc_str_eq(rule->traffic.targets[0].zone, disc_str_of("c", 1)));
    assert_true(disc_str_eq(rule->traffic.targets[1].zone, disc_str_of("hl", 2)));
    assert_true(disc_str_eq(rule->traffic.targets[2].cluster, disc_str_of("default", 7)));
    assert_true(disc_str_eq(rule->traffic.targets[2].zone, disc_str_of("lf", 2)));
    assert_true(disc_rule_ref(rule) == rule);
    (void)disc_rule_unref(rule); /* NULL */
    rule = disc_rule_unref(rule);
    assert_null(rule);
}

static void test_traffic_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum disc_by_kind by;
    } good[] = {
        {"{\"default\": 1000000}", DISC_BY_RANDOM},
        {"{\"clusters\": 1, \"by\": 2}", DISC_BY_RANDOM}, /* clusters of these names */
        {"{\"clusters\": {\"a\": 1}}", DISC_BY_RANDOM},
        {"{\"clusters\": {\"a\": 1}, \"by\": \"random\"}", DISC_BY_RANDOM},
        {"{\"clusters\": {\"a\": 1}, \"by\": \"log_id\"}", DISC_BY_LOG_ID},
        {"{\"clusters\": {\"a\": 1}, \"by\": \"caller\"}", DISC_BY_CALLER},
        {"{\"clusters\": {\"a\": 1}, \"by\": \"extra:x\"}", DISC_BY_EXTRA},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct disc_rule *rule = parse(DISC_TRAFFIC, good[i].text);
        assert_int_equal(rule->traffic.by.kind, good[i].by);
        rule = disc_rule_unref(rule);
    }
    static const struct bad bad[] = {
        {"[]", "", "must be an object of weights, is []"},
        {"5", "", "must be an object of weights, is 5"},
        {"null", "", "must be an object of weights"},
        {"{}", "", "at least one cluster"},
        {"{\"a\": 0, \"b\": 0}", "", "must not all be 0"},
        {"{\"a\": -1, \"b\": 5}", "a", "must be an integer 0..1000000, is -1"},
        {"{\"a\": 1000001}", "a", "must be an integer 0..1000000, is 1000001"},
        {"{\"a\": 1.5}", "a", "must be an integer 0..1000000, is 1.5"},
        {"{\"a\": 1.0}", "a", "must be an integer 0..1000000, is 1.0"},
        {"{\"a\": true}", "a", "must be an integer 0..1000000, is true"},
        {"{\"a\": \"5\"}", "a", "must be an integer 0..1000000, is \"5\""},
        {"{\"a\": null, \"b\": 1}", "a", "must be an integer 0..1000000, is null"},
        {"{\"@lf\": 5}", "@lf", "is no cluster's name"},
        {"{\"a@\": 5}", "a@", "is no cluster's name"},
        {"{\"\": 5}", "", "is no cluster's name"},
        {"{\"-\": 5}", "-", "is no cluster's name"},
        {"{\"*\": 5}", "*", "is no cluster's name"},
        {"{\"clusters\": {\"a\": 1}, \"buy\": \"x\"}", "buy", "did you mean \"by\"?"},
        {"{\"clusters\": {\"a\": 1}, \"weights\": 1}", "weights", "unknown field"},
        {"{\"clusters\": [], \"by\": \"random\"}", "clusters", "must be an object of weights"},
        {"{\"by\": \"random\"}", "clusters", "is missing"},
        {"{\"clusters\": {\"a\": 1}, \"by\": \"user\"}", "by", "is \"user\""},
        {"{\"clusters\": {\"a\": 1}, \"by\": \"extra:\"}", "by", "extra:<key>"},
        {"{\"clusters\": {\"a\": 1}, \"by\": 5}", "by", "is 5"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refused(DISC_TRAFFIC, &bad[i]);
    }
}

static void test_traffic_limits(void **state)
{
    (void)state;
    char text[4096] = "{";
    for (int i = 0; i < LB_SPLIT_ENTRIES_MAX; i++) {
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof text - len, "%s\"c%d\":1", i > 0 ? "," : "", i);
    }
    strcat(text, "}");
    struct disc_rule *rule = parse(DISC_TRAFFIC, text);
    assert_int_equal(rule->traffic.n, LB_SPLIT_ENTRIES_MAX);
    rule = disc_rule_unref(rule);
    text[strlen(text) - 1] = '\0';
    strcat(text, ",\"more\":1}");
    refused(DISC_TRAFFIC, &(struct bad){text, "", "at most 64 clusters, names 65"});

    char key[DISC_NAME_MAX_BYTES + 2];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    for (int over = 0; over < 2; over++) {
        (void)snprintf(text, sizeof text, "{\"clusters\":{\"a\":1},\"by\":\"extra:%s\"}",
                       key + 1 - over);
        if (over) {
            refused(DISC_TRAFFIC, &(struct bad){text, "by", "1..256 bytes"});
        } else {
            rule = disc_rule_unref(parse(DISC_TRAFFIC, text));
        }
        (void)snprintf(text, sizeof text, "{\"%s\":1}", key + 1 - over);
        if (over) {
            struct disc_error error;
            assert_null(
                disc_rule_parse(DISC_TRAFFIC, "k", text, strlen(text), 0, templates, &error));
        } else {
            rule = disc_rule_unref(parse(DISC_TRAFFIC, text));
        }
    }
}

static void test_percent(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t percent_e2;
    } good[] = {
        {"0", 0},
        {"30", 3000},
        {"100", 10000},
        {"0.01", 1},
        {"0.07", 7},
        {"99.99", 9999},
        {"33.3", 3330},
        {"1e1", 1000},
        {"100.0", 10000},
        {"0.29", 29},
        {"{\"percent\": 30}", 3000},
        {"{\"percent\": 0.57}", 57},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct disc_rule *rule = parse(DISC_DEGRADE, good[i].text);
        assert_int_equal(rule->degrade.percent_e2, good[i].percent_e2);
        assert_int_equal(rule->degrade.reply, DISC_REPLY_DEFAULT);
        assert_int_equal(rule->degrade.by.kind, DISC_BY_RANDOM);
        assert_null(rule->degrade.body);
        rule = disc_rule_unref(rule);
    }
    for (uint32_t e2 = 0; e2 <= 10000; e2++) { /* every step is one */
        char text[16];
        (void)snprintf(text, sizeof text, "%u.%02u", e2 / 100, e2 % 100);
        struct disc_rule *rule = parse(DISC_DEGRADE, text);
        assert_int_equal(rule->degrade.percent_e2, e2);
        rule = disc_rule_unref(rule);
    }
    static const struct bad bad[] = {
        {"-1", "percent", "must be a number 0..100, is -1"},
        {"100.01", "percent", "must be a number 0..100, is 100.01"},
        {"101", "percent", "must be a number 0..100"},
        {"0.001", "percent", "in steps of 0.01, is 0.001"},
        {"1e-9", "percent", "in steps of 0.01"},
        {"33.333", "percent", "in steps of 0.01"},
        {"true", "", "must be a number 0..100 or an object, is true"},
        {"\"30\"", "", "must be a number 0..100 or an object"},
        {"[]", "", "must be a number 0..100 or an object"},
        {"{}", "percent", "is missing"},
        {"{\"percent\": true}", "percent", "is true"},
        {"{\"percent\": 5, \"reply\": null}", "reply", "must be an object"},
        {"{\"percent\": 5, \"bye\": 1}", "bye", "did you mean \"by\"?"},
        {"{\"percnt\": 5}", "percnt", "did you mean \"percent\"?"},
        {"{\"percent\": 5, \"by\": \"x\"}", "by", "is \"x\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refused(DISC_DEGRADE, &bad[i]);
    }
}

static void body_has(const struct disc_rule *rule, const char *text)
{
    assert_non_null(memmem(rule->degrade.body, rule->degrade.body_len, text, strlen(text)));
}

static void test_replies(void **state)
{
    (void)state;
    struct disc_rule *rule = parse(
        DISC_DEGRADE, "{\"percent\":5,\"by\":\"log_id\",\"reply\":{\"exception\":\"later\"}}");
    assert_int_equal(rule->degrade.reply, DISC_REPLY_EXCEPTION);
    assert_int_equal(rule->degrade.by.kind, DISC_BY_LOG_ID);
    body_has(rule, "[tside degraded] later");
    assert_int_equal(rule->degrade.body[rule->degrade.body_len - 1], 0); /* a struct's STOP */
    rule = disc_rule_unref(rule);

    rule = parse(DISC_DEGRADE,
                 "{\"percent\":5,\"reply\":{\"base_resp\":{\"code\":-1003,\"message\":\"off\"}}}");
    assert_int_equal(rule->degrade.reply, DISC_REPLY_BASE_RESP);
    body_has(rule, "off");
    body_has(rule, "\xff\xff\xfc\x15");
    rule = disc_rule_unref(rule);
    rule = parse(DISC_DEGRADE, "{\"percent\":5,\"reply\":{\"base_resp\":{\"code\":1}}}");
    rule = disc_rule_unref(rule);

    rule = parse(DISC_DEGRADE, "{\"percent\":5,\"reply\":{\"void\":true}}");
    assert_int_equal(rule->degrade.reply, DISC_REPLY_VOID);
    assert_int_equal(rule->degrade.body_len, 1);
    rule = disc_rule_unref(rule);

    /* {0: i32 7}: 08 0000 00000007 00 */
    rule = parse(DISC_DEGRADE, "{\"percent\":5,\"reply\":{\"result\":\"CAAAAAAABwA=\"}}");
    assert_int_equal(rule->degrade.reply, DISC_REPLY_RESULT);
    assert_int_equal(rule->degrade.body_len, 8);
    assert_memory_equal(rule->degrade.body, "\x08\0\0\0\0\0\x07\0", 8);
    rule = disc_rule_unref(rule);
    rule = disc_rule_unref(parse(DISC_DEGRADE, "{\"percent\":5,\"reply\":{\"result\":\"AA==\"}}"));
}

static void test_bad_replies(void **state)
{
    (void)state;
    static const struct bad bad[] = {
        {"{}", "reply", "must be one of"},
        {"{\"void\":true,\"exception\":\"x\"}", "reply", "must be one of"},
        {"5", "reply", "must be an object"},
        {"{\"viod\":true}", "reply", "did you mean \"void\"?"},
        {"{\"void\":false}", "reply.void", "must be true, is false"},
        {"{\"void\":1}", "reply.void", "must be true, is 1"},
        {"{\"exception\":5}", "reply.exception", "must be a string, is 5"},
        {"{\"base_resp\":5}", "reply.base_resp", "must be an object"},
        {"{\"base_resp\":{}}", "reply.base_resp.code", "is missing"},
        {"{\"base_resp\":{\"code\":true}}", "reply.base_resp.code", "is true"},
        {"{\"base_resp\":{\"code\":2147483648}}", "reply.base_resp.code",
         "-2147483648..2147483647"},
        {"{\"base_resp\":{\"code\":1,\"message\":5}}", "reply.base_resp.message", "a string"},
        {"{\"base_resp\":{\"code\":1,\"mesage\":\"\"}}", "reply.base_resp", "\"message\""},
        {"{\"result\":5}", "reply.result", "base64"},
        {"{\"result\":\"\"}", "reply.result", "not one well-formed struct"},
        {"{\"result\":\"AA=\"}", "reply.result", "base64"},
        {"{\"result\":\"AB==\"}", "reply.result", "base64"}, /* spare bits */
        {"{\"result\":\"A===\"}", "reply.result", "base64"},
        {"{\"result\":\"AA==AA==\"}", "reply.result", "base64"},
        {"{\"result\":\"AA= \"}", "reply.result", "base64"},
        {"{\"result\":\"A-_=\"}", "reply.result", "base64"},
        {"{\"result\":\"CAAA\"}", "reply.result", "not one well-formed struct"}, /* cut */
        {"{\"result\":\"AAA=\"}", "reply.result", "not one well-formed struct"}, /* trailing */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "{\"percent\":5,\"reply\":%s}", bad[i].text);
        refused(DISC_DEGRADE, &(struct bad){text, bad[i].field, bad[i].reason});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_fields),    cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_traffic),        cmocka_unit_test(test_traffic_values),
        cmocka_unit_test(test_traffic_limits), cmocka_unit_test(test_percent),
        cmocka_unit_test(test_replies),        cmocka_unit_test(test_bad_replies),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
