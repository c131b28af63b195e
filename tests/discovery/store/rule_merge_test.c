/*
 * rule_merge_test.c: which rule wins: the cases of precedence.yaml beside it, and all pairs.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/store_fixture.h"

#include "discovery/file/yaml_json.h"

#include "tests/discovery/cmocka_first.h"

#include <stdlib.h>

static const char *case_name;

static void no_finding(void *arg, size_t line, size_t column, const char *message)
{
    (void)arg;
    fail_msg("%s:%zu:%zu: %s", PRECEDENCE_YAML, line, column, message);
}

static char *to_json(const struct disc_yaml_node *node)
{
    struct disc_error error;
    char *text = disc_yaml_to_json(node, &error);
    if (text == NULL) {
        fail_msg("%s: %s", case_name, error.reason);
    }
    return text;
}

/* want: a key behind the prefix; NULL or a plain null: no rule. */
static void expect_key(const struct disc_rule *rule, const struct disc_yaml_node *want,
                       const char *what)
{
    bool none = want == NULL || strcmp(want->text, "null") == 0;
    const char *key = rule != NULL ? rule->key + strlen("/r/") : "null";
    if (strcmp(key, none ? "null" : want->text) != 0) {
        fail_msg("%s: %s: got %s, want %s", case_name, what, key, none ? "null" : want->text);
    }
}

static void expect_field(const struct disc_resolution *resolution, enum disc_field field,
                         const struct disc_yaml_node *want)
{
    const struct disc_rule *from = resolution->from[field];
    const char *key = from != NULL ? from->key + strlen("/r/") : "default";
    if (want == NULL) {
        if (from != NULL) {
            fail_msg("%s: %s comes from %s", case_name, disc_field_path(field), key);
        }
        return;
    }
    assert_int_equal(want->n, 2);
    char shown[256];
    char *value = to_json(&want->values[0]);
    (void)disc_value_print(field, &resolution->value[field], shown, sizeof shown);
    if (strcmp(shown, value) != 0 || strcmp(key, want->values[1].text) != 0) {
        fail_msg("%s: %s: got %s from %s", case_name, disc_field_path(field), shown, key);
    }
    free(value);
}

/* The access log's rule_config: it always supplies a field; want NULL: the case does not care which. */
static void expect_log(const struct disc_resolution *resolution, const struct disc_yaml_node *want)
{
    if (want != NULL) {
        expect_key(resolution->config, want, "logged");
    }
    if (resolution->config != NULL) {
        assert_true(disc_resolution_uses(resolution, resolution->config));
    }
}

static void run_case(const struct disc_yaml_node *node)
{
    struct fixture f;
    struct disc_resolution resolution;
    case_name = disc_yaml_get(node, "name")->text;
    fixture_begin(&f, "/r");
    const struct disc_yaml_node *rules = disc_yaml_get(node, "rules");
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    for (size_t i = 0; i < rules->n; i++) {
        char *value = to_json(&rules->values[i]);
        fixture_put(&f, DISC_LAYER_ETCD, DISC_SPACE_RULES, rules->keys[i].text, value, 1);
        free(value);
    }
    fixture_commit(&f, DISC_LAYER_ETCD, 1);
    fixture_resolve(&f, disc_yaml_get(node, "tuple")->text, &resolution);

    const struct disc_yaml_node *expect = disc_yaml_get(node, "expect");
    const struct disc_yaml_node *config = disc_yaml_get(expect, "config");
    expect_key(resolution.traffic, disc_yaml_get(expect, "traffic"), "traffic");
    expect_key(resolution.degrade, disc_yaml_get(expect, "degrade"), "degrade");
    size_t named = 0;
    for (int i = 0; i < DISC_FIELD_MAX; i++) {
        const struct disc_yaml_node *want =
            disc_yaml_get(config, disc_field_path((enum disc_field)i));
        expect_field(&resolution, (enum disc_field)i, want);
        named += want != NULL;
    }
    assert_int_equal(named, config != NULL ? config->n : 0);
    expect_log(&resolution, disc_yaml_get(expect, "logged"));
    for (uint32_t i = 1; i < resolution.candidates_len; i++) {
        assert_true(resolution.candidates[i - 1].pattern < resolution.candidates[i].pattern);
    }
    fixture_end(&f);
}

static void test_cases(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    size_t findings = 0;
    assert_int_equal(disc_yaml_slurp(PRECEDENCE_YAML, &text, &len), 0);
    struct disc_yaml_node *root = disc_yaml_read(text, len, no_finding, NULL, &findings);
    assert_non_null(root);
    assert_true(root->n >= 70);
    for (size_t i = 0; i < root->n; i++) {
        run_case(&root->values[i]);
    }
    root = disc_yaml_free(root);
    free(text);
}

/* The sentences of docs/specification.md, section 2, word by word. */
static bool wins(uint32_t a, uint32_t b, enum disc_order order)
{
    static const enum disc_name names[DISC_ORDER_MAX][DISC_NAMES] = {
        {DISC_FROM, DISC_FROM_CLUSTER, DISC_TO, DISC_TO_CLUSTER, DISC_METHOD},
        {DISC_TO, DISC_TO_CLUSTER, DISC_METHOD, DISC_FROM, DISC_FROM_CLUSTER},
    };
    for (int i = 0; i < DISC_NAMES; i++) {
        bool a_named = (a & DISC_PATTERN_BIT(names[order][i])) == 0;
        bool b_named = (b & DISC_PATTERN_BIT(names[order][i])) == 0;
        if (a_named != b_named) {
            return a_named;
        }
    }
    return false;
}

static uint32_t winner_of(uint32_t a, uint32_t b, enum disc_order order)
{
    return a == b || wins(a, b, order) ? a : b;
}

static void put_pattern(struct fixture *f, uint32_t pattern)
{
    static const char *const names = "abcde";
    char key[32] = "";
    for (int i = 0; i < DISC_NAMES; i++) {
        size_t len = strlen(key);
        key[len] = (pattern & DISC_PATTERN_BIT(i)) != 0 ? '*' : names[i];
        key[len + 1] = '/';
        key[len + 2] = '\0';
    }
    char *kind = key + strlen(key);
    strcpy(kind, "traffic");
    fixture_put(f, DISC_LAYER_ETCD, DISC_SPACE_RULES, key, "{\"x\":1}", (int64_t)pattern + 1);
    strcpy(kind, "config");
    fixture_put(f, DISC_LAYER_ETCD, DISC_SPACE_RULES, key, "{\"timeout_ms\":1,\"access\":\"deny\"}",
                (int64_t)pattern + 1);
}

static void test_every_pair_of_patterns(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f, "/r");
    for (uint32_t a = 0; a < DISC_PATTERNS; a++) {
        for (uint32_t b = 0; b < DISC_PATTERNS; b++) {
            struct disc_resolution resolution;
            disc_store_begin(f.store, DISC_LAYER_ETCD, true);
            put_pattern(&f, a);
            put_pattern(&f, b);
            fixture_commit(&f, DISC_LAYER_ETCD, 1);
            fixture_resolve(&f, "a/b/c/d/e", &resolution);
            uint32_t caller = winner_of(a, b, DISC_ORDER_CALLER);
            uint32_t callee = winner_of(a, b, DISC_ORDER_CALLEE);
            assert_int_equal(resolution.traffic->mod_revision, caller + 1);
            assert_int_equal(resolution.from[DISC_FIELD_TIMEOUT_MS]->mod_revision, caller + 1);
            assert_int_equal(resolution.from[DISC_FIELD_ACCESS]->mod_revision, callee + 1);
            assert_int_equal(resolution.config->mod_revision, caller + 1);
            assert_int_equal(resolution.candidates_len, a == b ? 1 : 2);
        }
    }
    fixture_end(&f);
}

static void test_all_candidates_in_order(void **state)
{
    (void)state;
    struct fixture f;
    struct disc_resolution resolution;
    char buf[FIXTURE_TUPLE_BUF];
    fixture_begin(&f, "/r");
    disc_store_begin(f.store, DISC_LAYER_ETCD, true);
    for (uint32_t pattern = 0; pattern < DISC_PATTERNS; pattern++) {
        put_pattern(&f, pattern);
    }
    fixture_commit(&f, DISC_LAYER_ETCD, 1);
    fixture_resolve(&f, "a/b/c/d/e", &resolution);
    assert_int_equal(resolution.candidates_len, DISC_PATTERNS);
    struct disc_tuple tuple = fixture_tuple("a/b/c/d/e", buf);
    for (uint32_t i = 0; i < DISC_PATTERNS; i++) {
        const struct disc_view *view = (i & DISC_PATTERN_BIT(DISC_TO)) != 0
                                           ? disc_snapshot_star(f.snapshot)
                                           : disc_snapshot_view(f.snapshot, tuple.name[DISC_TO]);
        assert_int_equal(resolution.candidates[i].pattern, i);
        assert_ptr_equal(resolution.candidates[i].entry, disc_view_find(view, &tuple, i));
    }
    assert_null(disc_view_find(NULL, &tuple, 0));
    assert_null(disc_view_find(disc_snapshot_star(f.snapshot), &tuple, DISC_PATTERNS));
    fixture_resolve(&f, "x/x/x/x/x", &resolution);
    assert_int_equal(resolution.candidates_len, 1);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_every_pair_of_patterns),
        cmocka_unit_test(test_all_candidates_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
