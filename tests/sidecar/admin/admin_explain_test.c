/*
 * tests/sidecar/admin/admin_explain_test.c: explain shows which keys decide, and how it ends.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/world.h"

#include "sidecar/admin/explain.h"

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world_init(world);
    world_endpoint(world, "b/default/127.0.0.1:9101", "{\"zone\": \"lf\"}");
    world_endpoint(world, "b/default/127.0.0.1:9102", "{\"weight\": 0}");
    world_endpoint(world, "b/canary/127.0.0.1:9103", "");
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    world_done(*state);
    free(*state);
    return 0;
}

static json_t *explain(struct world *world, const char *log_id)
{
    world_commit(world);
    struct explain_input input = {
        .snapshot = world->snapshot,
        .tuple = world_tuple("a", "default", "b", "default", "Visit"),
        .log_id = world_str(log_id),
        .now_ms = WORLD_NOW_MS + 1500,
    };
    json_t *json = explain_json(&input);
    assert_non_null(json);
    return json;
}

/* The member at a path like "steps/traffic/candidates/0/key"; NULL where there is none. */
static const json_t *at(const json_t *json, const char *path)
{
    char copy[256], *save = NULL;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *part = strtok_r(copy, "/", &save); part && json; part = strtok_r(NULL, "/", &save)) {
        json = json_is_array(json) ? json_array_get(json, strtoul(part, NULL, 10))
                                   : json_object_get(json, part);
    }
    return json;
}

static const char *text(const json_t *json, const char *path)
{
    const char *s = json_string_value(at(json, path));
    return s ? s : "(none)";
}

static json_int_t number(const json_t *json, const char *path)
{
    return json_integer_value(at(json, path));
}

static void test_no_rules(void **state)
{
    json_t *json = explain(*state, "");
    assert_string_equal(text(json, "tuple"), "a/default/b/default/Visit");
    assert_string_equal(text(json, "snapshot/source"), "etcd");
    assert_int_equal(number(json, "snapshot/revision"), 103);
    assert_true(json_number_value(at(json, "snapshot/age_s")) == 1.5);
    assert_int_equal(json_array_size(at(json, "steps/traffic/candidates")), 0);
    assert_int_equal(number(json, "effective/timeout_ms/value"), 1000);
    assert_string_equal(text(json, "effective/timeout_ms/from"), "default");
    assert_string_equal(text(json, "effective/lb/value"), "p2c");
    assert_string_equal(text(json, "effective/trace/from"), "not yet");
    assert_string_equal(text(json, "targets/0/cluster"), "default");
    assert_int_equal(number(json, "targets/0/endpoints"), 2);
    assert_int_equal(number(json, "targets/0/usable"), 1);
    assert_string_equal(text(json, "targets/0/addresses/0"), "127.0.0.1:9101");
    assert_string_equal(text(json, "outcome/action"), "forward");
    assert_string_equal(text(json, "outcome/reason"), "ok");
    assert_true(json_is_true(at(json, "outcome/certain")));
    json_decref(json);
}

static void test_matched_and_shadowed(void **state)
{
    struct world *world = *state;
    world_rule(world, "a/*/b/*/*/traffic", "{\"default@lf\": 90, \"canary\": 10}");
    world_rule(world, "*/*/b/*/*/traffic", "{\"default\": 1}");
    world_rule(world, "a/*/b/*/*/config", "{\"timeout_ms\": 300}");
    world_rule(world, "*/*/b/*/*/config", "{\"timeout_ms\": 500, \"pool\": {\"max_idle\": 3}}");
    world_rule(world, "*/*/*/*/*/config", "{\"timeout_ms\": 700}");
    json_t *json = explain(world, "");
    const char *first = "steps/traffic/candidates/0", *second = "steps/traffic/candidates/1";
    assert_string_equal(text(at(json, first), "key"), "/tside/rules/a/*/b/*/*/traffic");
    assert_string_equal(text(at(json, first), "status"), "matched");
    assert_int_equal(number(at(json, first), "value/canary"), 10);
    assert_string_equal(text(at(json, second), "status"), "shadowed");
    assert_string_equal(text(json, "steps/config/candidates/0/status"), "matched");
    assert_string_equal(text(json, "steps/config/candidates/1/status"), "matched");
    assert_string_equal(text(json, "steps/config/candidates/2/status"), "shadowed");
    assert_int_equal(number(json, "effective/timeout_ms/value"), 300);
    assert_string_equal(text(json, "effective/timeout_ms/from"), "/tside/rules/a/*/b/*/*/config");
    assert_string_equal(text(json, "effective/pool.max_idle/from"),
                        "/tside/rules/*/*/b/*/*/config");
    assert_string_equal(text(json, "targets/1/cluster"), "default");
    assert_string_equal(text(json, "targets/1/zone"), "lf");
    assert_int_equal(number(json, "targets/1/weight"), 90);
    assert_int_equal(number(json, "targets/1/endpoints"), 1);
    /* Chance decides: most calls go to default, and both are listed. */
    assert_true(json_is_false(at(json, "outcome/certain")));
    assert_string_equal(text(json, "outcome/cluster"), "default");
    assert_int_equal(json_array_size(at(json, "outcome/all")), 2);
    json_decref(json);
}

static void test_rejected_keys(void **state)
{
    struct world *world = *state;
    world_rule(world, "a/*/b/*/*/config", "{\"timeout_ms\": 300}");
    world_commit(world);
    world_rule(world, "a/*/b/*/*/config", "{\"timeout_ms\": -1}");
    world_rule(world, "a/*/b/*/*/degrade", "\"many\"");
    json_t *json = explain(world, "");
    assert_string_equal(text(json, "steps/config/candidates/0/status"), "matched");
    assert_int_equal(number(json, "steps/config/candidates/0/value/timeout_ms"), 300);
    assert_int_equal(number(json, "steps/config/candidates/0/rejected/mod_revision"),
                     number(json, "steps/config/candidates/0/mod_revision") + 1);
    assert_true(strlen(text(json, "steps/config/candidates/0/rejected/reason")) > 3);
    assert_string_equal(text(json, "steps/degrade/candidates/0/status"), "rejected");
    assert_true(json_is_null(at(json, "steps/degrade/candidates/0/value")));
    assert_string_equal(text(json, "outcome/action"), "forward");
    json_decref(json);
}

/* Names may have any bytes: they are shown, never null. */
static void test_bytes_outside_utf8(void **state)
{
    struct world *world = *state;
    world_rule(world, "\xff\xfe/*/b/*/*/config", "{\"timeout_ms\": 123}");
    world_rule(world, "\xff\xfe/*/b/*/*/degrade", "{\"no\": 1}");
    world_commit(world);
    struct explain_input input = {
        .snapshot = world->snapshot,
        .tuple = world_tuple("\xff\xfe", "default", "b", "default", "Visit"),
        .now_ms = WORLD_NOW_MS,
    };
    json_t *json = explain_json(&input);
    assert_string_equal(text(json, "steps/config/candidates/0/key"),
                        "/tside/rules/\\xFF\\xFE/*/b/*/*/config");
    assert_string_equal(text(json, "effective/timeout_ms/from"),
                        "/tside/rules/\\xFF\\xFE/*/b/*/*/config");
    assert_string_equal(text(json, "steps/degrade/candidates/0/key"),
                        "/tside/rules/\\xFF\\xFE/*/b/*/*/degrade");
    assert_string_equal(text(json, "steps/degrade/candidates/0/status"), "rejected");
    assert_true(strlen(text(json, "steps/degrade/candidates/0/rejected/reason")) > 3);
    json_decref(json);
}

static void expect(struct world *world, const char *action, const char *reason)
{
    json_t *json = explain(world, "");
    assert_string_equal(text(json, "outcome/action"), action);
    assert_string_equal(text(json, "outcome/reason"), reason);
    json_decref(json);
}

static void test_outcomes(void **state)
{
    struct world *world = *state;
    world_rule(world, "a/*/b/*/*/degrade", "30");
    expect(world, "forward", "ok");
    world_rule(world, "a/*/b/*/*/degrade", "100");
    expect(world, "degrade", "degraded");
    world_rule(world, "a/*/b/*/*/config", "{\"access\": \"deny\"}");
    expect(world, "deny", "denied");
    world_rule(world, "a/*/b/*/*/config", "{}");
    world_rule(world, "a/*/b/*/*/degrade", "0");
    world_rule(world, "a/*/b/*/*/traffic", "{\"nowhere\": 1}");
    expect(world, "fail", "no_endpoint");
    world_rule(world, "a/*/b/*/*/config", "{\"fallback_cluster\": \"canary\"}");
    json_t *json = explain(world, "");
    assert_string_equal(text(json, "outcome/cluster"), "canary");
    assert_true(json_is_true(at(json, "targets/1/fallback")));
    json_decref(json);
}

static void test_log_id_decides(void **state)
{
    struct world *world = *state;
    world_rule(world, "a/*/b/*/*/traffic",
               "{\"clusters\": {\"default\": 50, \"canary\": 50}, \"by\": \"log_id\"}");
    int canary = 0;
    for (int i = 0; i < 20; i++) {
        char log_id[16];
        snprintf(log_id, sizeof log_id, "id-%d", i);
        json_t *json = explain(world, log_id);
        assert_true(json_is_true(at(json, "outcome/certain")));
        canary += strcmp(text(json, "outcome/cluster"), "canary") == 0;
        json_decref(json);
    }
    assert_in_range(canary, 3, 17);
}

static void test_absent_names(void **state)
{
    struct world *world = *state;
    world_commit(world);
    struct explain_input input = {.snapshot = world->snapshot,
                                  .tuple = world_tuple("", "", "b", "", "M")};
    json_t *json = explain_json(&input);
    assert_string_equal(text(json, "tuple"), "none/default/b/default/M");
    assert_string_equal(text(json, "outcome/action"), "forward");
    json_decref(json);
    input.tuple = world_tuple("a", "default", "", "default", "M");
    json = explain_json(&input);
    assert_string_equal(text(json, "tuple"), "a/default/-/default/M");
    assert_string_equal(text(json, "outcome/reason"), "no_route");
    json_decref(json);
    input.tuple = world_tuple("a", "default", "b", "default", "");
    json = explain_json(&input);
    assert_string_equal(text(json, "outcome/reason"), "bad_request");
    json_decref(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_rules),           TEST(test_matched_and_shadowed), TEST(test_rejected_keys),
        TEST(test_outcomes),           TEST(test_log_id_decides),       TEST(test_absent_names),
        TEST(test_bytes_outside_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
