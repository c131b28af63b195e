/*
 * rule_config_test.c: every row of rule.def: its bounds, its types, and what is not built yet.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/rule_table.h"

#include "tests/discovery/cmocka_first.h"

#include <inttypes.h>

/* The value stands where the path says: "pool.max_idle" -> {"pool":{"max_idle":<value>}}. */
static void nest(const char *path, const char *value, char *out, size_t cap)
{
    const char *dot = strchr(path, '.');
    if (dot == NULL) {
        (void)snprintf(out, cap, "{\"%s\":%s}", path, value);
    } else {
        (void)snprintf(out, cap, "{\"%.*s\":{\"%s\":%s}}", (int)(dot - path), path, dot + 1, value);
    }
}

static struct disc_rule *try(const char *text, struct disc_error *error)
{
    memset(error, 0, sizeof *error);
    return disc_rule_parse(DISC_CONFIG, "k", text, strlen(text), 1, NULL, error);
}

/* The value is accepted and printed as want. */
static void good(enum disc_field field, const char *value, const char *want)
{
    char text[512];
    char shown[512];
    struct disc_error error;
    nest(disc_field_path(field), value, text, sizeof text);
    struct disc_rule *rule = try(text, &error);
    if (rule == NULL) {
        fail_msg("%s: %s", text, error.reason);
    }
    assert_int_equal(rule->config.n, 1);
    assert_int_equal(rule->config.items[0].field, field);
    (void)disc_value_print(field, &rule->config.items[0].value, shown, sizeof shown);
    assert_string_equal(shown, want);
    rule = disc_rule_unref(rule);
}

static void bad(enum disc_field field, const char *value, const char *reason)
{
    char text[4096];
    struct disc_error error;
    nest(disc_field_path(field), value, text, sizeof text);
    if (try(text, &error) != NULL) {
        fail_msg("%s: accepted", text);
    }
    if (strcmp(error.field, disc_field_path(field)) != 0 || strstr(error.reason, reason) == NULL) {
        fail_msg("%s: got \"%s\": %s", text, error.field, error.reason);
    }
}

static void good_int(enum disc_field field, int64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    good(field, text, text);
}

static void bad_int(enum disc_field field, int64_t value)
{
    char text[32];
    char reason[96];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    (void)snprintf(reason, sizeof reason, "must be an integer %" PRId64 "..%" PRId64 ", is %s",
                   rule_fields[field].min, rule_fields[field].max, text);
    bad(field, text, reason);
}

/* Values of every type; those of the field's own type are left out by the caller. */
static void bad_types(enum disc_field field, const char *except)
{
    static const char *const values[] = {"true", "5", "0.5", "\"x@y\"", "null", "[5]", "{}"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (strstr(except, values[i]) == NULL) {
            bad(field, values[i], "must be ");
        }
    }
}

static void check_field(enum disc_field field)
{
    const struct rule_field_row *row = &rule_fields[field];
    switch (row->type) {
    case RULE_TYPE_INT:
        bad_int(field, row->min - 1);
        good_int(field, row->min);
        good_int(field, row->max);
        bad_int(field, row->max + 1);
        bad(field, "1.0", "must be an integer");
        bad_types(field, "5");
        break;
    case RULE_TYPE_SHARE:
        good(field, "0", "0");
        good(field, "0.25", "0.25");
        good(field, "1", "1");
        bad(field, "-0.001", "must be a number 0..1");
        bad(field, "1.001", "must be a number 0..1");
        bad_types(field, "0.5");
        break;
    case RULE_TYPE_BOOL:
        good(field, "true", "true");
        good(field, "false", "false");
        bad(field, "1", "must be true or false, is 1");
        bad_types(field, "true");
        break;
    case RULE_TYPE_CLUSTER:
        good(field, "\"canary\"", "\"canary\"");
        good(field, "\"\"", "\"\"");
        bad(field, "\"-\"", "must be a cluster's name");
        bad_types(field, "-");
        break;
    case RULE_TYPE_BY:
        good(field, "\"log_id\"", "\"log_id\"");
        good(field, "\"caller\"", "\"caller\"");
        good(field, "\"extra:user\"", "\"extra:user\"");
        bad(field, "\"random\"", "must be \"log_id\", \"caller\" or \"extra:<key>\"");
        bad(field, "\"extra:\"", "with a key of 1..256 bytes");
        bad_types(field, "-");
        break;
    case RULE_TYPE_SET_RETRY_ON:
        good(field, "[]", "[]");
        good(field, "[\"reset\", \"connect\", \"reset\"]", "[\"connect\",\"reset\"]");
        good(field, "[\"exception\",\"timeout\"]", "[\"timeout\",\"exception\"]");
        bad(field, "[\"reset\", 1]", "must be a list of \"connect\" or \"reset\" or");
        bad(field, "[\"p2c\"]", "must be a list of");
        bad_types(field, "[]");
        break;
    case RULE_TYPE_DELAY:
        good(field, "0", "0");
        good(field, "250", "250");
        good(field, "\"p95\"", "\"p95\"");
        good(field, "\"p99\"", "\"p99\"");
        bad_int(field, row->min - 1);
        bad_int(field, row->max + 1);
        bad(field, "\"p90\"", "must be a number of milliseconds, \"p95\" or \"p99\"");
        bad(field, "1.5", "must be an integer");
        bad_types(field, "5");
        break;
    case RULE_TYPE_RANGES:
        good(field, "[]", "[]");
        good(field, "[[1,1],[-5, 7]]", "[[1,1],[-5,7]]");
        good(field, "[[-2147483648,2147483647]]", "[[-2147483648,2147483647]]");
        bad(field, "[[2,1]]", "pairs [low, high]");
        bad(field, "[[1]]", "pairs [low, high]");
        bad(field, "[[1,2,3]]", "pairs [low, high]");
        bad(field, "[[1,2147483648]]", "pairs [low, high]");
        bad(field, "[[true,5]]", "pairs [low, high]");
        bad_types(field, "[]");
        break;
    default:
        bad(field, "\"nonsense\"", "must be \"");
        bad_types(field, "-");
        break;
    }
}

static void test_every_row(void **state)
{
    (void)state;
    int built = 0;
    for (int i = 0; i < DISC_FIELD_MAX; i++) {
        enum disc_field field = (enum disc_field)i;
        if (disc_field_is_built(field)) {
            check_field(field);
            built++;
            continue;
        }
        static const char *const values[] = {"1", "true", "\"x\"", "null", "{}", "[]"};
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            char text[128];
            char reason[96];
            struct disc_error error;
            nest(disc_field_path(field), values[k], text, sizeof text);
            assert_null(try(text, &error));
            (void)snprintf(reason, sizeof reason, "not yet: %s", error.field);
            assert_string_equal(error.reason, reason);
            assert_memory_equal(disc_field_path(field), error.field, strlen(error.field));
        }
    }
    assert_true(built >= 15);
}

static void test_enum_values(void **state)
{
    (void)state;
    for (int i = 0; i < DISC_ENUM_MAX; i++) {
        for (int f = 0; f < DISC_FIELD_MAX; f++) {
            char value[64];
            if (rule_fields[f].type != rule_enums[i].type) {
                continue;
            }
            (void)snprintf(value, sizeof value, "\"%s\"", rule_enums[i].text);
            if (rule_enums[i].built) {
                good((enum disc_field)f, value, value);
            } else {
                char reason[96];
                (void)snprintf(reason, sizeof reason, "not yet: %s", value);
                bad((enum disc_field)f, value, reason);
            }
        }
    }
}

static void test_ranges_limit(void **state)
{
    (void)state;
    char text[1024] = "[[0,0]";
    for (int i = 1; i < DISC_RANGES_MAX; i++) {
        strcat(text, ",[1,2]");
    }
    char more[1100];
    (void)snprintf(more, sizeof more, "%s,[1,2]]", text);
    strcat(text, "]");
    good(DISC_FIELD_FAILURES_BASE_RESP, text, text);
    bad(DISC_FIELD_FAILURES_BASE_RESP, more, "at most 32 pairs, has 33");
}

static void test_defaults(void **state)
{
    (void)state;
    static const struct {
        enum disc_field field;
        const char *text;
    } defaults[] = {
        {DISC_FIELD_TIMEOUT_MS, "1000"},          {DISC_FIELD_CONNECT_TIMEOUT_MS, "50"},
        {DISC_FIELD_RECEIVE_TIMEOUT_MS, "0"},     {DISC_FIELD_LB, "\"p2c\""},
        {DISC_FIELD_POOL_MODE, "\"pool\""},       {DISC_FIELD_POOL_MAX_IDLE, "128"},
        {DISC_FIELD_FAILURES_EXCEPTIONS, "true"}, {DISC_FIELD_FAILURES_BASE_RESP, "[[500,599]]"},
        {DISC_FIELD_ACCESS, "\"allow\""},         {DISC_FIELD_ONEWAY, "false"},
        {DISC_FIELD_FALLBACK_CLUSTER, "\"\""},    {DISC_FIELD_ACCESS_LOG, "0.001"},
        {DISC_FIELD_HASH_BY, "\"log_id\""},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        char text[64];
        union disc_value value = disc_field_default(defaults[i].field);
        (void)disc_value_print(defaults[i].field, &value, text, sizeof text);
        assert_string_equal(text, defaults[i].text);
    }
    /* What is cut stays a string. */
    char small[5];
    union disc_value value = disc_field_default(DISC_FIELD_FAILURES_BASE_RESP);
    assert_int_equal(disc_value_print(DISC_FIELD_FAILURES_BASE_RESP, &value, small, 5), 4);
    assert_string_equal(small, "[[50");
}

static void test_whole_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *field;
        const char *reason;
    } cases[] = {
        {"[]", "", "must be an object, is []"},
        {"5", "", "must be an object, is 5"},
        {"{\"timeot_ms\":5}", "timeot_ms", "did you mean \"timeout_ms\"?"},
        {"{\"pool\":{\"max_idel\":5}}", "pool.max_idel", "did you mean \"max_idle\"?"},
        {"{\"pol\":{}}", "pol", "did you mean \"pool\"?"},
        {"{\"max_idle\":5}", "max_idle", "did you mean {\"pool\": {\"max_idle\": ...}}?"},
        {"{\"pool.max_idle\":5}", "pool.max_idle", "did you mean {\"pool\": {\"max_idle\": ...}}?"},
        {"{\"nothing_like_it\":5}", "nothing_like_it", "unknown field"},
        {"{\"pool\":5}", "pool", "must be an object, is 5"},
        {"{\"breaker\":false}", "breaker", "must be an object, is false"},
        {"{\"breaker\":{\"enable\":1}}", "breaker.enable", "must be true or false, is 1"},
        {"{\"breaker\":{\"error_rate\":1.5}}", "breaker.error_rate", "must be a number 0..1"},
        {"{\"breaker\":{\"min_calls\":0}}", "breaker.min_calls",
         "must be an integer 1..1000000, is 0"},
        {"{\"breaker\":{\"successes\":101}}", "breaker.successes",
         "must be an integer 1..100, is 101"},
        {"{\"breaker\":{\"rate\":0.5}}", "breaker.rate", "unknown field"},
        {"{\"timeout_ms\":5,\"trace\":0}", "trace", "not yet: trace"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct disc_error error;
        assert_null(try(cases[i].text, &error));
        if (strcmp(error.field, cases[i].field) != 0 ||
            strstr(error.reason, cases[i].reason) == NULL) {
            fail_msg("%s: got \"%s\": %s", cases[i].text, error.field, error.reason);
        }
    }
    struct disc_error error;
    static const char several[] = "{\"oneway\":true,\"pool\":{\"max_idle\":1,\"idle_ms\":2},"
                                  "\"timeout_ms\":3}";
    struct disc_rule *rule = try(several, &error);
    assert_int_equal(rule->config.n, 4);
    for (uint32_t i = 1; i < rule->config.n; i++) {
        assert_true(rule->config.items[i - 1].field < rule->config.items[i].field);
    }
    rule = disc_rule_unref(rule);
    rule = try("{\"pool\":{}}", &error);
    assert_int_equal(rule->config.n, 0);
    rule = disc_rule_unref(rule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),    cmocka_unit_test(test_enum_values),
        cmocka_unit_test(test_ranges_limit), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_whole_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
