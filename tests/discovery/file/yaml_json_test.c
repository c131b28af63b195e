/*
 * yaml_json_test.c: what YAML becomes as JSON, and what is refused on the way.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/file/yaml_json.h"

#include "tests/discovery/cmocka_first.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct findings {
    char text[1024];
};

static void add_finding(void *arg, size_t line, size_t column, const char *message)
{
    struct findings *findings = arg;
    size_t len = strlen(findings->text);
    (void)snprintf(findings->text + len, sizeof findings->text - len, "%zu:%zu: %s\n", line, column,
                   message);
}

static struct disc_yaml_node *read_yaml(const char *text, size_t len, struct findings *findings)
{
    size_t n = 0;
    memset(findings, 0, sizeof *findings);
    struct disc_yaml_node *root = disc_yaml_read(text, len, add_finding, findings, &n);
    assert_int_equal(n == 0, findings->text[0] == '\0');
    return root;
}

static void test_conversions(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        const char *json; /* begins with '!': part of the reason */
    } cases[] = {
        {"", "null"},
        {"~", "null"},
        {"null", "null"},
        {"Null", "null"},
        {"'null'", "\"null\""},
        {"true", "true"},
        {"False", "false"},
        {"yes", "\"yes\""},
        {"on", "\"on\""},
        {"tRUE", "\"tRUE\""},
        {"0", "0"},
        {"-0", "0"},
        {"12", "12"},
        {"+12", "12"},
        {"-12", "-12"},
        {"\"12\"", "\"12\""},
        {"9223372036854775807", "9223372036854775807"},
        {"99999999999999999999", "!out of range"},
        {"0.5", "0.5"},
        {".5", "0.5"},
        {"5.", "5.0"},
        {"1e3", "1000.0"},
        {"-1.5E-1", "-0.15"},
        {"1e999", "!out of range"},
        {"007", "!begins with 0"},
        {"-01", "!begins with 0"},
        {"0x1f", "!no such number"},
        {"0o17", "!no such number"},
        {".inf", "!no such number"},
        {"-.INF", "!no such number"},
        {".nan", "!no such number"},
        {"1_000", "\"1_000\""},
        {"1.2.3", "\"1.2.3\""},
        {"1e", "\"1e\""},
        {".", "\".\""},
        {"-", NULL}, /* an empty list item: "[null]" */
        {"+", "\"+\""},
        {"2024-01-01", "\"2024-01-01\""},
        {"a b", "\"a b\""},
        {"|\n a\n b\n", "\"a\\nb\\n\""},
        {"\"\\u00fc\\t\\\"\"", "\"\xc3\xbc\\t\\\"\""},
        {"[1, [], {}, a]", "[1,[],{},\"a\"]"},
        {"{a: 1, 'b': {c: [~]}, 5: x, true: y}",
         "{\"a\":1,\"b\":{\"c\":[null]},\"5\":\"x\",\"true\":\"y\"}"},
        {"a: {default: 90, canary: 10}", "{\"a\":{\"default\":90,\"canary\":10}}"},
        {"{a: {b: 0x10}}", "!line 1, column 9: "},
        {"\"a\\0b\"", "!NUL"},
        {"{\"a\\0b\": 1}", "!NUL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct findings findings;
        struct disc_error error;
        struct disc_yaml_node *root = read_yaml(cases[i].yaml, strlen(cases[i].yaml), &findings);
        if (root == NULL) {
            fail_msg("%s: %s", cases[i].yaml, findings.text);
        }
        char *json = disc_yaml_to_json(root, &error);
        const char *want = cases[i].json != NULL ? cases[i].json : "[null]";
        if (want[0] == '!') {
            if (json != NULL || strstr(error.reason, want + 1) == NULL) {
                fail_msg("%s: got %s, %s", cases[i].yaml, json, error.reason);
            }
        } else if (json == NULL || strcmp(json, want) != 0) {
            fail_msg("%s: got %s (%s), want %s", cases[i].yaml, json, error.reason, want);
        }
        free(json);
        root = disc_yaml_free(root);
    }
}

static void test_refused_documents(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        const char *finding;
        bool tree; /* all the same */
    } cases[] = {
        {"a: 1\nb: [", "3:1: while parsing a flow node", false},
        {"a: 1\n  b: 2", "2:4: ", false},
        {"a: &x 1\nb: 2", "1:4: anchors are not supported", false},
        {"b: *x", "1:4: aliases are not supported", false},
        {"a: !!str 1", "1:4: tags are not supported", false},
        {"? [a]\n: 1", "a key must be a single value", false},
        {"a: 1\n---\nb: 2", "a second document", false},
        {"a: 1\nb: 2\na: 3", "3:1: a stands twice, before in line 1", true},
        {"x:\n  a: 1\n  'a': 2", "3:3: a stands twice, before in line 2", true},
        {"a: \xff", "1:4: invalid leading UTF-8 octet (byte 4 of the file)", false},
        {"a: 1\nb:\n  \xc3\xa9: \x01\nc: 2\n", "3:6: control characters are not allowed", false},
        {"a: \"\\x\"", "1:", false},
        {"\ta: 1", "1:", false},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1", "nested deeper than 32", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct findings findings;
        struct disc_yaml_node *root = read_yaml(cases[i].yaml, strlen(cases[i].yaml), &findings);
        if (strstr(findings.text, cases[i].finding) == NULL || (root != NULL) != cases[i].tree) {
            fail_msg("%s: got %s", cases[i].yaml, findings.text);
        }
        root = disc_yaml_free(root);
    }
}

static void test_marks_and_lookup(void **state)
{
    (void)state;
    struct findings findings;
    static const char text[] = "# comment\nrules:\n  'k': {a: 1,\n       b: \"2\"}\n";
    struct disc_yaml_node *root = read_yaml(text, sizeof text - 1, &findings);
    const struct disc_yaml_node *rules = disc_yaml_get(root, "rules");
    assert_int_equal(rules->keys[0].line, 3);
    assert_int_equal(rules->keys[0].column, 3);
    assert_false(rules->keys[0].plain);
    const struct disc_yaml_node *b = disc_yaml_get(disc_yaml_get(rules, "k"), "b");
    assert_string_equal(b->text, "2");
    assert_int_equal(b->line, 4);
    assert_int_equal(b->column, 11);
    assert_false(b->plain);
    assert_true(disc_yaml_get(disc_yaml_get(rules, "k"), "a")->plain);
    assert_null(disc_yaml_get(rules, "x"));
    assert_null(disc_yaml_get(b, "x"));
    assert_null(disc_yaml_get(NULL, "x"));
    root = disc_yaml_free(root);
}

static void test_slurp(void **state)
{
    (void)state;
    char path[] = "/tmp/tside-yaml-XXXXXX";
    char *text = NULL;
    size_t len = 0;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "a\0b", 3), 3);
    assert_int_equal(disc_yaml_slurp(path, &text, &len), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "a\0b", 4);
    free(text);
    assert_int_equal(ftruncate(fd, (off_t)DISC_YAML_MAX_BYTES + 1), 0);
    assert_int_equal(disc_yaml_slurp(path, &text, &len), -EFBIG);
    close(fd);
    unlink(path);
    assert_int_equal(disc_yaml_slurp(path, &text, &len), -ENOENT);
    assert_int_equal(disc_yaml_slurp("/tmp", &text, &len), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_refused_documents),
        cmocka_unit_test(test_marks_and_lookup),
        cmocka_unit_test(test_slurp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
