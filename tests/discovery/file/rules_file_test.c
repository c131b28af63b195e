/*
 * rules_file_test.c: what a rules file puts into the store, and every finding with its place.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/store_fixture.h"

#include "discovery/file/rules_file.h"

#include "tests/discovery/cmocka_first.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture f;
static char path[64];
static char findings[4096];

static int begin(void **state)
{
    (void)state;
    fixture_begin(&f, "/tside/rules");
    strcpy(path, "/tmp/tside-rules-XXXXXX");
    int fd = mkstemp(path);
    return fd >= 0 ? close(fd) : -1;
}

static int end(void **state)
{
    (void)state;
    unlink(path);
    fixture_end(&f);
    return 0;
}

static void add_finding(void *arg, const char *finding)
{
    (void)arg;
    assert_memory_equal(finding, path, strlen(path));
    size_t len = strlen(findings);
    (void)snprintf(findings + len, sizeof findings - len, "%s\n", finding + strlen(path) + 1);
}

static int load(const char *text, bool whole_only)
{
    struct rules_file_report report = {.fn = add_finding, .whole_only = whole_only};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    findings[0] = '\0';
    int error = rules_file_load(path, f.store, NOW_MS, NOW_MS, &report);
    size_t lines = 0;
    for (const char *p = findings; *p != '\0'; p++) {
        lines += *p == '\n';
    }
    assert_int_equal(report.findings, lines);
    while (!disc_store_build(f.store, 1000)) {
    }
    return error;
}

static const char good[] = "rules:\n"
                           "  \"*/*/s/*/*/config\": {timeout_ms: 300, pool: {max_idle: 1}}\n"
                           "  \"a/default/s/default/Visit/traffic\": {default: 90, canary: 10}\n"
                           "  \"a/default/s/default/Visit/degrade\": 0.5\n"
                           "services:\n"
                           "  \"s/default/127.0.0.1:9101\": {weight: 7}\n"
                           "  \"s/default/127.0.0.1:9102\":\n"
                           "  \"s/default/127.0.0.1:9104\": \"\"\n"
                           "  \"s/default/127.0.0.1:9105\": ''\n"
                           "  \"s/canary/[::1]:9103\": {}\n";

static void test_the_example_of_the_manual(void **state)
{
    (void)state;
    struct disc_resolution resolution;
    assert_int_equal(load(good, false), 0);
    assert_string_equal(findings, "");
    fixture_resolve(&f, "a/s/Visit", &resolution);
    assert_int_equal(resolution.value[DISC_FIELD_TIMEOUT_MS].i, 300);
    assert_int_equal(resolution.degrade->degrade.percent_e2, 50);
    assert_int_equal(resolution.traffic->traffic.n, 2);
    assert_string_equal(resolution.config->key, "/tside/rules/*/*/s/*/*/config");
    assert_int_equal(resolution.config->mod_revision, 0);
    assert_int_equal(fixture_cluster(&f, "s", "default")->n, 4);
    assert_int_equal(fixture_cluster(&f, "s", "default")->endpoints[0]->weight, 7);
    for (int i = 1; i < 4; i++) { /* nothing, and an empty text: the defaults, as in etcd */
        assert_int_equal(fixture_cluster(&f, "s", "default")->endpoints[i]->weight, 10);
    }
    assert_int_equal(fixture_cluster(&f, "s", "canary")->n, 1);
}

static void test_findings_have_their_place(void **state)
{
    (void)state;
    static const char text[] = "rules:\n"
                               "  \"a/*/s/*/*/config\":\n"
                               "    timeout_ms: 5\n"
                               "    pool:\n"
                               "      max_idel: 1\n"
                               "  \"b/*/s/*/*/config\": {timeout_ms: -1}\n"
                               "  \"c/*/s/*/config\": {}\n"
                               "  \"d%2f/*/s/*/*/config\": {}\n"
                               "  \"e/*/s/*/*/degrade\": 0x10\n"
                               "  \"f/*/s/*/*/config\": {trace: 1}\n"
                               "  \"g/*/s/*/*/config\": {timeout_ms: 9}\n"
                               "services:\n"
                               "  \"s/default/localhost:80\": {}\n"
                               "  \"s/default/127.0.0.1:80\": {wieght: 1}\n"
                               "  \"s/default/0.0.0.0:80\": {}\n"
                               "  \"s/default/[::]:80\": {}\n"
                               "  \"s/default/10.0.0.1:0\": {}\n";
    assert_int_equal(load(text, false), 0);
    assert_string_equal(
        findings,
        "5:7: a/*/s/*/*/config: pool.max_idel: unknown field, did you mean \"max_idle\"?\n"
        "6:24: b/*/s/*/*/config: timeout_ms: must be an integer 1..3600000, is -1\n"
        "7:3: c/*/s/*/config: must be From/FromCluster/To/ToCluster/Method/"
        "{traffic|degrade|config}\n"
        "8:3: d%2f/*/s/*/*/config: From: \"%\" must be followed by two upper-case hex digits\n"
        "9:24: e/*/s/*/*/degrade: line 9, column 24: JSON has no such number: write it in "
        "decimals, or quote it\n"
        "10:24: f/*/s/*/*/config: trace: not yet: trace\n"
        "13:3: s/default/localhost:80: host names: not yet, give an IP address\n"
        "14:30: s/default/127.0.0.1:80: wieght: unknown field, did you mean \"weight\"?\n"
        "15:3: s/default/0.0.0.0:80: 0.0.0.0 is no host's address: calls would go to the caller's "
        "own host\n"
        "16:3: s/default/[::]:80: :: is no host's address: calls would go to the caller's own "
        "host\n"
        "17:3: s/default/10.0.0.1:0: address must be host:port with a port from 1 to 65535\n");
    /* Only these keys are out. */
    struct disc_store_stats stats;
    disc_store_stats(f.store, &stats);
    assert_int_equal(stats.rejected, 10);
    assert_int_equal(stats.foreign, 1);
    assert_int_equal(fixture_timeout(&f, "g/s/m"), 9);

    assert_int_equal(load(text, true), 0);
    assert_string_equal(findings, "");
}

static void test_bad_files_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *finding;
    } cases[] = {
        {"", "1:1: is empty; to have no rules, write `rules: {}`"},
        {"# nothing but a comment\n", "1:1: is empty"},
        {"---\n", "1:1: is empty"},
        {"rules:\n  a: [", "3:1: while parsing a flow node"},
        {"rule: {}\n", "1:1: unknown key rule, did you mean rules?"},
        {"- a\n", "1:1: must be a mapping"},
        {"rules: [a]\n", "1:8: rules must be a mapping of keys"},
        {"services: 5\n", "1:11: services must be a mapping of keys"},
        {"rules:\n  a/b/c/d/e/config: {}\n  a/b/c/d/e/config: {}\n",
         "3:3: a/b/c/d/e/config stands twice"},
        {"rules: &a {}\n", "1:8: anchors are not supported"},
    };
    assert_int_equal(load(good, false), 0);
    int published = f.published;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(load(cases[i].text, true), -EINVAL);
        if (strncmp(findings, cases[i].finding, strlen(cases[i].finding)) != 0) {
            fail_msg("%s: got %s", cases[i].text, findings);
        }
    }
    unlink(path);
    struct rules_file_report report = {.fn = add_finding};
    findings[0] = '\0';
    assert_int_equal(rules_file_load(path, f.store, NOW_MS, NOW_MS, &report), -ENOENT);
    assert_string_equal(findings, "1:1: cannot be read: No such file or directory\n");
    assert_int_equal(f.published, published);
    assert_int_equal(fixture_timeout(&f, "a/s/Visit"), 300);
    assert_int_equal(mkdir(path, 0700), 0);
    findings[0] = '\0';
    assert_true(rules_file_load(path, f.store, NOW_MS, NOW_MS, &report) < 0);
    assert_string_equal(findings, "1:1: cannot be read: is not a regular file\n");
    assert_int_equal(rmdir(path), 0);
}

/* A file that is refused as a whole is read to its end all the same: `check` prints every finding.
 * */
static void test_a_bad_file_hides_no_finding(void **state)
{
    (void)state;
    static const char text[] = "rulez: {}\n"
                               "rules:\n"
                               "  \"a/*/s/*/*/config\": {timeuot_ms: 1}\n"
                               "  \"b/*/s/*/*/config\": {timeout_ms: 9}\n"
                               "  \"b/*/s/*/*/config\": {lb: fast}\n"
                               "services:\n"
                               "  \"s/default/localhost:80\": {}\n";
    assert_int_equal(load(good, false), 0);
    int published = f.published;
    assert_int_equal(load(text, false), -EINVAL);
    assert_string_equal(
        findings,
        "5:3: b/*/s/*/*/config stands twice, before in line 4\n"
        "1:1: unknown key rulez, did you mean rules?\n"
        "3:24: a/*/s/*/*/config: timeuot_ms: unknown field, did you mean \"timeout_ms\"?\n"
        "5:24: b/*/s/*/*/config: lb: must be \"p2c\" or \"round_robin\" or \"least_request\" or "
        "\"random\" or \"hash\", is \"fast\"\n"
        "7:3: s/default/localhost:80: host names: not yet, give an IP address\n");
    assert_int_equal(f.published, published);
    assert_int_equal(fixture_timeout(&f, "b/s/Visit"), 300);

    assert_int_equal(load(text, true), -EINVAL);
    assert_string_equal(findings, "5:3: b/*/s/*/*/config stands twice, before in line 4\n"
                                  "1:1: unknown key rulez, did you mean rules?\n");
}

static void test_what_is_gone_is_deleted(void **state)
{
    (void)state;
    assert_int_equal(load(good, false), 0);
    assert_int_equal(load("rules:\n  \"*/*/s/*/*/config\": {timeout_ms: 5}\nservices:\n", false),
                     0);
    assert_int_equal(fixture_timeout(&f, "a/s/Visit"), 5);
    assert_null(fixture_cluster(&f, "s", "default"));
    assert_int_equal(load("rules: {}\n", false), 0);
    assert_int_equal(fixture_timeout(&f, "a/s/Visit"), 1000);
    assert_int_equal(disc_snapshot_callee_count(f.snapshot), 0);
}

static void test_the_same_file_rebuilds_nothing(void **state)
{
    (void)state;
    struct disc_store_stats before;
    struct disc_store_stats after;
    assert_int_equal(load(good, false), 0);
    disc_store_stats(f.store, &before);
    assert_int_equal(load(good, false), 0);
    disc_store_stats(f.store, &after);
    assert_int_equal(after.views_built_total, before.views_built_total);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_example_of_the_manual), TEST(test_findings_have_their_place),
        TEST(test_bad_files_change_nothing),  TEST(test_a_bad_file_hides_no_finding),
        TEST(test_what_is_gone_is_deleted),   TEST(test_the_same_file_rebuilds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
