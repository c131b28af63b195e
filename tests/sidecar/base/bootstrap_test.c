/*
 * tests/sidecar/base/bootstrap_test.c: what the bootstrap file may say, and what is said about it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/bootstrap.h"

#include "sidecar/base/bootstrap_table.h"
#include "sidecar/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LISTENERS "listeners: [{listen: \"127.0.0.1:0\"}]\n"
#define RULES     "rules_file: r.yaml\n"
#define LEAST     LISTENERS RULES

static char folder[64];
static char path[80];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/tside-bootstrap-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/t.yaml", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    rmdir(folder);
    return 0;
}

struct findings {
    size_t n;
    char text[16384]; /* a line each, without "<path>:" */
};

static void collect(void *arg, const char *finding)
{
    struct findings *findings = arg;
    size_t len = strlen(findings->text);
    size_t skip = strncmp(finding, path, strlen(path)) == 0 ? strlen(path) + 1 : 0;
    snprintf(findings->text + len, sizeof findings->text - len, "%s\n", finding + skip);
    findings->n++;
}

static struct bootstrap *load(const char *text, struct findings *findings)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    *findings = (struct findings){0};
    return bootstrap_load(path, collect, findings);
}

static struct bootstrap *load_good(const char *text)
{
    struct findings findings;
    struct bootstrap *bootstrap = load(text, &findings);
    assert_string_equal(findings.text, "");
    assert_non_null(bootstrap);
    return bootstrap;
}

static void test_defaults(void **state)
{
    (void)state;
    char expected[128];
    struct bootstrap *b = load_good(LEAST);
    assert_string_equal(b->path, path);
    assert_true(b->node_name[0] != '\0');
    assert_string_equal(b->node_zone, "");
    assert_in_range(b->workers, 1, BOOTSTRAP_WORKERS_MAX);
    assert_int_equal(b->listeners_len, 1);
    const struct bootstrap_listener *l = &b->listeners[0];
    assert_string_equal(l->listen, "127.0.0.1:0");
    assert_string_equal(l->host, "127.0.0.1");
    assert_int_equal(l->port, 0);
    assert_false(l->is_unix);
    assert_int_equal(l->mode, 0);
    assert_string_equal(l->caller_service, "");
    assert_string_equal(l->caller_cluster, "");
    assert_string_equal(l->callee_service, "");
    assert_string_equal(l->callee_cluster, "");
    assert_false(l->any_order);
    assert_int_equal(l->accept, LISTENER_ACCEPT_FRAMED);
    assert_int_equal(l->extra_id, 0);
    assert_true(l->fill_log_id);
    assert_false(l->strip_service);
    assert_string_equal(l->deadline_entry, "RPC_PERSIST_DDL_REMAIN_TIME");
    assert_true(l->deadline_rewrite);
    assert_false(l->deadline_shared_clock);
    assert_true(l->deadline_chain_stop);
    snprintf(expected, sizeof expected, "%s/r.yaml", folder);
    assert_string_equal(b->rules_file, expected);
    assert_int_equal(b->etcd.endpoints_len, 0);
    assert_string_equal(b->etcd.rules_prefix, "/tside/rules");
    assert_string_equal(b->etcd.services_prefix, "/tside/services");
    assert_string_equal(b->etcd.fleet_prefix, "/tside/fleet");
    assert_string_equal(b->state_dir, "/var/lib/tside");
    assert_string_equal(b->admin.listen, "127.0.0.1:9901");
    assert_string_equal(b->admin.host, "127.0.0.1");
    assert_int_equal(b->admin.port, 9901);
    assert_string_equal(b->admin.socket, "/run/tside/admin.sock");
    assert_int_equal(b->admin.hosts_len, 0);
    assert_int_equal(b->limits.frame_bytes, 16384000);
    assert_int_equal(b->limits.connections, 20000);
    assert_false(b->limits.connections_set);
    assert_int_equal(b->limits.calls, 100000);
    assert_int_equal(b->limits.buffered_bytes, 268435456);
    assert_int_equal(b->limits.pipelined_calls, 1024);
    assert_int_equal(b->limits.metric_routes, 1000);
    assert_int_equal(b->limits.tuples, 65536);
    assert_int_equal(b->timeouts.frame_timeout_ms, 10000);
    assert_int_equal(b->timeouts.idle_ms, 0);
    assert_int_equal(b->timeouts.write_stall_ms, 10000);
    assert_int_equal(b->timeouts.drain_timeout_ms, 25000);
    assert_int_equal(b->log_level, LOG_INFO);
    assert_false(b->log_text);
    assert_null(bootstrap_free(b));
}

static void test_every_key(void **state)
{
    (void)state;
    char expected[128];
    struct bootstrap *b = load_good(
        "node: {name: host-17, zone: lf}\n"
        "workers: 2\n"
        "listeners:\n"
        "  - listen: '[::1]:9090'\n"
        "    caller: {service: app.feed, cluster: canary}\n"
        "    callee: {service: example.service, cluster: \"-\"}\n"
        "    replies: any_order\n"
        "    accept: [framed]\n"
        "    base: {extra_id: 6, fill_log_id: false, strip_service: true}\n"
        "    deadline: {entry: LEFT, rewrite: false, clock: shared, chain_stop: false}\n"
        "  - {listen: unix:sub/thrift.sock, mode: \"0660\"}\n"
        "  - {listen: unix:/run/other.sock, mode: 0600}\n"
        "rules_file: /etc/tside/rules.yaml\n"
        "etcd:\n"
        "  endpoints: [http://127.0.0.1:2379, 'http://[::1]:2379', http://etcd-0.etcd:2379]\n"
        "  rules_prefix: \"\"\n"
        "  services_prefix: /s\n"
        "  watch: all\n"
        "state_dir: state\n"
        "admin: {listen: 0.0.0.0:1, socket: a.sock, hosts: [host-17, tside.example]}\n"
        "limits: {frame_bytes: 1000, connections: 2, calls: 3, buffered_bytes: 70000,\n"
        "         pipelined_calls: 4, metric_routes: 5, tuples: 6}\n"
        "timeouts: {frame_timeout_ms: 1, idle_ms: 2, write_stall_ms: 3, drain_timeout_ms: 0}\n"
        "log: {level: debug, format: text}\n");
    assert_string_equal(b->node_name, "host-17");
    assert_string_equal(b->node_zone, "lf");
    assert_int_equal(b->workers, 2);
    assert_int_equal(b->listeners_len, 3);
    assert_string_equal(b->listeners[0].host, "::1");
    assert_int_equal(b->listeners[0].port, 9090);
    assert_string_equal(b->listeners[0].caller_service, "app.feed");
    assert_string_equal(b->listeners[0].caller_cluster, "canary");
    assert_string_equal(b->listeners[0].callee_service, "example.service");
    assert_string_equal(b->listeners[0].callee_cluster, "");
    assert_true(b->listeners[0].any_order);
    assert_int_equal(b->listeners[0].extra_id, 6);
    assert_false(b->listeners[0].fill_log_id);
    assert_true(b->listeners[0].strip_service);
    assert_string_equal(b->listeners[0].deadline_entry, "LEFT");
    assert_false(b->listeners[0].deadline_rewrite);
    assert_true(b->listeners[0].deadline_shared_clock);
    assert_false(b->listeners[0].deadline_chain_stop);
    snprintf(expected, sizeof expected, "%s/sub/thrift.sock", folder);
    assert_true(b->listeners[1].is_unix);
    assert_string_equal(b->listeners[1].host, expected);
    assert_string_equal(b->listeners[1].listen, "unix:sub/thrift.sock");
    assert_int_equal(b->listeners[1].mode, 0660);
    assert_int_equal(b->listeners[2].mode, 0600);
    assert_string_equal(b->rules_file, "/etc/tside/rules.yaml");
    assert_int_equal(b->etcd.endpoints_len, 3);
    assert_string_equal(b->etcd.endpoints[1], "http://[::1]:2379");
    assert_string_equal(b->etcd.rules_prefix, "");
    snprintf(expected, sizeof expected, "%s/state", folder);
    assert_string_equal(b->state_dir, expected);
    snprintf(expected, sizeof expected, "%s/a.sock", folder);
    assert_string_equal(b->admin.socket, expected);
    assert_string_equal(b->admin.host, "0.0.0.0");
    assert_int_equal(b->admin.hosts_len, 2);
    assert_true(b->limits.connections_set);
    assert_int_equal(b->limits.tuples, 6);
    assert_int_equal(b->timeouts.drain_timeout_ms, 0);
    assert_int_equal(b->log_level, LOG_DEBUG);
    assert_true(b->log_text);
    bootstrap_free(b);
}

static void test_admin_switched_off(void **state)
{
    (void)state;
    struct bootstrap *b = load_good(LEAST "admin: {listen: \"\", socket: \"\"}\n");
    assert_null(b->admin.listen);
    assert_null(b->admin.host);
    assert_null(b->admin.socket);
    bootstrap_free(b);
}

static void test_buffers_smaller_than_a_frame(void **state)
{
    (void)state;
    bootstrap_free(load_good(LEAST "limits: {frame_bytes: 1000000, buffered_bytes: 70000}\n"));
}

static void test_relative_to_the_file(void **state)
{
    (void)state;
    struct findings findings = {0};
    char cwd[4096], expected[8192];
    assert_int_equal(chdir(folder), 0);
    bootstrap_free(load_good(LEAST));
    assert_int_equal(chdir("/tmp"), 0);
    struct bootstrap *b = bootstrap_load(path + strlen("/tmp/"), collect, &findings);
    assert_non_null(b);
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(expected, sizeof expected, "%s/%s/r.yaml", cwd, folder + strlen("/tmp/"));
    assert_string_equal(b->rules_file, expected);
    bootstrap_free(b);
    assert_int_equal(chdir(folder), 0);
    b = bootstrap_load("t.yaml", collect, &findings);
    assert_non_null(b);
    snprintf(expected, sizeof expected, "%s/r.yaml", folder);
    assert_string_equal(b->rules_file, expected);
    bootstrap_free(b);
    assert_int_equal(chdir("/"), 0);
}

static const struct {
    const char *text;
    const char *findings;
} bad[] = {
    {"", "1:1: the file must be a mapping, is empty\n"},
    {"[]", "1:1: the file must be a mapping\n"},
    {"# nothing\n---\n", "3:1: the file must be a mapping, is empty\n"},
    {RULES, "1:1: listeners is missing: nobody could call\n"},
    {"listeners: []\n" RULES, "1:1: listeners is missing: nobody could call\n"},
    {LISTENERS, "1:1: rules_file or etcd is missing: nothing says where calls go\n"},
    {LISTENERS "etcd: {}\n", "2:1: etcd.endpoints is missing\n"},
    {LISTENERS "etcd:\n", "2:6: etcd must be a mapping, is empty\n"},
    {LISTENERS "etcd: {endpoints: []}\n", "2:19: etcd.endpoints must not be empty\n"},
    {LISTENERS "etcd: {endpoints: http://a:1}\n", "2:19: etcd.endpoints must be a list\n"},
    /* unknown, twice, wrong kind */
    {LEAST "limit: {}\n", "3:1: unknown key limit, did you mean limits?\n"},
    {LEAST "limits: {conections: 1}\n",
     "3:10: unknown key limits.conections, did you mean connections?\n"},
    {LEAST "zzzzzzz: 1\n", "3:1: unknown key zzzzzzz\n"},
    {LEAST "limits.calls: 1\n", "3:1: unknown key limits.calls\n"},
    {LEAST "\"listeners[]\": 1\n", "3:1: unknown key listeners[], did you mean listeners?\n"},
    {LEAST "state_dir: a\nstate_dir: b\n", "4:1: state_dir stands twice, before in line 3\n"},
    {LEAST "node: x\n", "3:7: node must be a mapping\n"},
    {LEAST "state_dir: [a]\n", "3:12: state_dir must be a single value, is a list\n"},
    {LEAST "state_dir: {a: b}\n", "3:12: state_dir must be a single value, is a mapping\n"},
    {LEAST "state_dir: \"\"\n", "3:12: state_dir must not be empty\n"},
    {LEAST "state_dir: \"a\\0b\"\n", "3:12: state_dir has a control byte\n"},
    {LEAST "node: {name: \"a\\nb\"}\n", "3:14: node.name has a control byte\n"},
    {"listeners: {}\n" RULES, "1:12: listeners must be a list\n"},
    {"listeners: [127.0.0.1:1]\n" RULES, "1:13: listeners[] must be a mapping\n"},
    {"listeners: [{}]\n" RULES, "1:13: listeners[].listen is missing\n"},
    {"listeners: [{listen: \"127.0.0.1:0\", deadline: {entry: RPC_PERSIST_RetryReq}}]\n" RULES,
     "1:13: listeners[].deadline.entry: RPC_PERSIST_RetryReq has another meaning in Extra\n"},
    {"listeners: [{listen: \"127.0.0.1:0\", deadline: {entry: user_extra}}]\n" RULES,
     "1:13: listeners[].deadline.entry: user_extra has another meaning in Extra\n"},
    /* numbers and words */
    {LEAST "workers: 0\n", "3:10: workers must be an integer 1..64, is 0\n"},
    {LEAST "workers: 65\n", "3:10: workers must be an integer 1..64, is 65\n"},
    {LEAST "workers: -1\n", "3:10: workers must be an integer 1..64, is -1\n"},
    {LEAST "workers: 1.5\n", "3:10: workers must be an integer 1..64, is 1.5\n"},
    {LEAST "workers: \"2\"\n", "3:10: workers must be an integer 1..64, is \"2\"\n"},
    {LEAST "workers:\n", "3:9: workers must be an integer 1..64, is \"\"\n"},
    {LEAST "workers: 0x2\n", "3:10: workers must be an integer 1..64, is 0x2\n"},
    {LEAST "workers: 99999999999999999999\n",
     "3:10: workers must be an integer 1..64, is 99999999999999999999\n"},
    {LEAST "log: {level: warning}\n",
     "3:14: log.level must be debug, info, warn or error, is warning\n"},
    {LEAST "log: {level: inf}\n",
     "3:14: log.level must be debug, info, warn or error, is inf, did you mean info?\n"},
    {LEAST "log: {component: x}\n", "3:7: unknown key log.component\n"},
    /* addresses */
    {"listeners: [{listen: \"localhost:1\"}]\n" RULES,
     "1:22: listeners[].listen must be an IP address and a port, 127.0.0.1:9090 or [::1]:9090, is "
     "\"localhost:1\"\n"},
    {"listeners: [{listen: \":1\"}]\n" RULES,
     "1:22: listeners[].listen must name an IP address: 0.0.0.0:1 or [::]:1 is every one\n"},
    {"listeners: [{listen: \"127.0.0.1\"}]\n" RULES,
     "1:22: listeners[].listen must be an IP address and a port, 127.0.0.1:9090 or [::1]:9090, is "
     "\"127.0.0.1\"\n"},
    {"listeners: [{listen: \"127.0.0.1:65536\"}]\n" RULES,
     "1:22: listeners[].listen must be an IP address and a port, 127.0.0.1:9090 or [::1]:9090, is "
     "\"127.0.0.1:65536\"\n"},
    {"listeners: [{listen: \"::1:80\"}]\n" RULES,
     "1:22: listeners[].listen must be an IP address and a port, 127.0.0.1:9090 or [::1]:9090, is "
     "\"::1:80\"\n"},
    {"listeners: [{listen: \"[127.0.0.1]:80\"}]\n" RULES,
     "1:22: listeners[].listen must be an IP address and a port, 127.0.0.1:9090 or [::1]:9090, is "
     "\"[127.0.0.1]:80\"\n"},
    {"listeners: [{listen: \"unix:\"}]\n" RULES,
     "1:22: listeners[].listen must be unix: and a path, is \"unix:\"\n"},
    {"listeners: [{listen: \"127.0.0.1:1\", mode: \"0660\"}]\n" RULES,
     "1:13: listeners[].mode is for unix listeners, this is 127.0.0.1:1\n"},
    {"listeners: [{listen: \"unix:/a\", mode: \"0888\"}]\n" RULES,
     "1:39: listeners[].mode must be octal, \"0001\"..\"0777\", is \"0888\"\n"},
    {"listeners:\n- listen: 127.0.0.1:1\n- listen: 127.0.0.1:1\n" RULES,
     "3:3: 127.0.0.1:1 stands twice, before in line 2\n"},
    {"listeners:\n- listen: '[::1]:1'\n- listen: '[0:0:0:0:0:0:0:1]:1'\n- listen: '[::1]:2'\n"
     "- listen: 127.0.0.1:1\n- listen: unix:/a\n- listen: unix:/a\n" RULES,
     "3:3: [0:0:0:0:0:0:0:1]:1 stands twice, before in line 2\n"
     "7:3: unix:/a stands twice, before in line 6\n"},
    {"listeners: [{listen: \"[0::2]:9\"}]\nadmin: {listen: \"[::0:2]:9\"}\n" RULES,
     "1:13: [0::2]:9 is admin.listen\n"},
    {"listeners: [{listen: \"127.0.0.1:9901\"}]\n" RULES, "1:13: 127.0.0.1:9901 is admin.listen\n"},
    {"listeners: [{listen: \"unix:/run/tside/admin.sock\"}]\n" RULES,
     "1:13: unix:/run/tside/admin.sock is admin.socket\n"},
    {LISTENERS "etcd: {endpoints: [\"127.0.0.1:2379\", http://a:1, http://a:1, http://a:0]}\n",
     "2:20: etcd.endpoints must be an address like http://127.0.0.1:2379, is \"127.0.0.1:2379\"\n"
     "2:50: etcd.endpoints stands twice: http://a:1\n"
     "2:62: etcd.endpoints must be an address like http://127.0.0.1:2379, is http://a:0\n"},
    {LEAST "admin: {hosts: [\"a:1\"]}\n",
     "3:17: admin.hosts must be a host's name without a port, is \"a:1\"\n"},
    {LISTENERS "etcd: {endpoints: [http://a:1], rules_prefix: a, services_prefix: /b/}\n",
     "2:47: etcd.rules_prefix must be a prefix that begins with / and does not end with it, is a\n"
     "2:67: etcd.services_prefix must be a prefix that begins with / and does not end with it, is "
     "/b/\n"},
    /* specified, not built */
    {LEAST "services: []\nconsul:\ntrace: {otlp: x}\n",
     "3:1: not yet: services (what this host registers)\n"
     "4:1: not yet: consul (endpoints from consul)\n"
     "5:1: not yet: trace (traces over OTLP)\n"},
    {LISTENERS "etcd:\n  endpoints: [https://a:1]\n  watch: used\n  ca_file: a\n  cert_file: a\n"
               "  key_file: a\n  username: a\n  password_file: a\n  kitex_registry_prefix: a\n"
               "  kitex_config_prefix: a\n  audit_prefix: /tside/audit\n",
     "3:15: not yet: etcd.endpoints: https://a:1\n"
     "4:10: not yet: etcd.watch: used\n"
     "5:3: not yet: etcd.ca_file (etcd over https)\n"
     "6:3: not yet: etcd.cert_file (etcd over https)\n"
     "7:3: not yet: etcd.key_file (etcd over https)\n"
     "8:3: not yet: etcd.username (etcd with authentication)\n"
     "9:3: not yet: etcd.password_file (etcd with authentication)\n"
     "10:3: not yet: etcd.kitex_registry_prefix (reading the registry of Kitex)\n"
     "11:3: not yet: etcd.kitex_config_prefix (reading the configuration of Kitex)\n"
     "12:3: not yet: etcd.audit_prefix (where audit records are written)\n"},
    {"listeners:\n- listen: 127.0.0.1:1\n  accept: [framed, unframed, ttheader, raw]\n"
     "  uids: {}\n" RULES,
     "2:3: listeners[].uids is for unix listeners, this is 127.0.0.1:1\n"
     "3:40: listeners[].accept must be framed, unframed or ttheader, is raw\n"},
    {"listeners:\n- listen: unix:a\n  uids: [1001]\n" RULES,
     "3:9: listeners[].uids must be a mapping of uids to lists of names\n"},
    {"listeners:\n- listen: unix:a\n  uids: {root: [a], \"-1\": [a], 4294967295: [a], 1x: "
     "[a]}\n" RULES,
     "3:10: listeners[].uids must name uids as numbers, is root\n"
     "3:21: listeners[].uids must name uids as numbers, is -1\n"
     "3:32: listeners[].uids must name uids as numbers, is 4294967295\n"
     "3:49: listeners[].uids must name uids as numbers, is 1x\n"},
    {"listeners:\n- listen: unix:a\n  uids: {1: a, 2: [a, b, a], 3: [\"\", \"-\", [a]], 02: "
     "[b]}\n" RULES,
     "3:13: listeners[].uids must have a list of names for each uid\n"
     "3:26: listeners[].uids stands twice: a\n"
     "3:34: listeners[].uids must not be empty\n"
     "3:38: listeners[].uids must be a name, is \"-\"\n"
     "3:43: listeners[].uids must be a single value, is a list\n"
     "3:54: listeners[].uids stands twice: b\n"},
    /* several at once, from the beginning to the end */
    {"workers: 0\nlistners: []\nlimits: {calls: x}\n",
     "1:10: workers must be an integer 1..64, is 0\n"
     "2:1: unknown key listners, did you mean listeners?\n"
     "3:17: limits.calls must be an integer 1..10000000, is x\n"},
};

static void test_bad_files(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct findings findings;
        assert_null(load(bad[i].text, &findings));
        if (strcmp(findings.text, bad[i].findings) != 0) {
            print_message("%s--- got\n%s--- expected\n%s", bad[i].text, findings.text,
                          bad[i].findings);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void test_syntax_names_its_place(void **state)
{
    (void)state;
    static const char *const texts[] = {"a: [1\n",          "a: b: c\n",    "\tx: 1\n",
                                        "a: &x 1\nb: *x\n", "a: !!int 1\n", "--- {}\n--- {}\n",
                                        "a: \"\\xzz\"\n",   "\xff\xfe\x01"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct findings findings;
        size_t line, column;
        assert_null(load(texts[i], &findings));
        assert_true(findings.n >= 1);
        assert_int_equal(sscanf(findings.text, "%zu:%zu: ", &line, &column), 2);
    }
}

static void test_no_such_file(void **state)
{
    (void)state;
    struct findings findings = {0};
    assert_null(bootstrap_load("/nonexistent/t.yaml", collect, &findings));
    assert_string_equal(findings.text,
                        "/nonexistent/t.yaml:1:1: cannot be read: No such file or directory\n");
}

static void test_read_in_spite_of_findings(void **state)
{
    (void)state;
    struct findings findings = {0};
    char expected[128];
    bool good = true;
    assert_null(load("workers: 0\n" LEAST, &findings));
    struct bootstrap *b = bootstrap_read(path, collect, &findings, &good);
    assert_false(good);
    assert_int_equal(findings.n, 2); /* one each time */
    snprintf(expected, sizeof expected, "%s/r.yaml", folder);
    assert_string_equal(b->rules_file, expected);
    bootstrap_free(b);
    b = bootstrap_read("/nonexistent/t.yaml", collect, &findings, &good);
    assert_false(good);
    assert_null(b->rules_file);
    bootstrap_free(b);
}

static void test_too_many(void **state)
{
    (void)state;
    char text[8192] = RULES "listeners:\n";
    struct findings findings;
    for (int i = 0; i < BOOTSTRAP_LISTENERS_MAX + 1; i++) {
        strcat(text, "- listen: 127.0.0.1:0\n");
    }
    assert_null(load(text, &findings));
    assert_string_equal(findings.text, "67:3: at most 64 listeners\n");
    strcpy(text, LEAST "etcd:\n  endpoints:\n");
    for (int i = 0; i < BOOTSTRAP_ETCD_MAX + 1; i++) {
        char line[64];
        snprintf(line, sizeof line, "  - http://a:%d\n", i + 1);
        strcat(text, line);
    }
    assert_null(load(text, &findings));
    assert_string_equal(findings.text, "21:5: etcd.endpoints at most 16 of them\n");
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    snprintf(text, sizeof text, LEAST "admin: {socket: %s}\nnode: {name: %s}\n", longest, longest);
    assert_null(load(text, &findings));
    assert_int_equal(findings.n, 2);
}

/* ---- differences -------------------------------------------------------------------------- */

#define OTHER_LISTENER "listeners: [{listen: \"127.0.0.1:0\", "

/* Every key that is kept, as different from LEAST as it takes. */
static const struct {
    const char *text;
    const char *keys;
} differing[] = {
    {LEAST, ""},
    {LEAST "workers: 2\n", ""}, /* as the file it is compared with */
    {LEAST "node: {name: other}\n", "node.name "},
    {LEAST "node: {zone: other}\n", "node.zone "},
    {LEAST "workers: 3\n", "workers "},
    {"listeners: [{listen: \"127.0.0.2:0\"}]\n" RULES, "listeners[0].listen "},
    {"listeners: [{listen: \"127.0.0.1:1\"}]\n" RULES, "listeners[0].listen "},
    {"listeners: [{listen: \"unix:a\", mode: 0600}]\n" RULES,
     "listeners[0].listen listeners[0].mode "},
    {"listeners: [{listen: \"unix:a\", uids: {1: [a]}}]\n" RULES,
     "listeners[0].listen listeners[0].uids "},
    {OTHER_LISTENER "caller: {service: a, cluster: b}}]\n" RULES,
     "listeners[0].caller.service listeners[0].caller.cluster "},
    {OTHER_LISTENER "callee: {service: a, cluster: b}}]\n" RULES,
     "listeners[0].callee.service listeners[0].callee.cluster "},
    {OTHER_LISTENER "replies: any_order, accept: [framed]}]\n" RULES, "listeners[0].replies "},
    {OTHER_LISTENER "accept: [unframed]}]\n" RULES, "listeners[0].accept "},
    {OTHER_LISTENER "accept: [unframed, framed]}]\n" RULES, "listeners[0].accept "},
    {OTHER_LISTENER "accept: [framed, ttheader]}]\n" RULES, "listeners[0].accept "},
    {OTHER_LISTENER "base: {extra_id: 1, fill_log_id: false, strip_service: true}}]\n" RULES,
     "listeners[0].base.extra_id listeners[0].base.fill_log_id listeners[0].base.strip_service "},
    {OTHER_LISTENER
     "deadline: {entry: a, rewrite: false, clock: shared, chain_stop: false}}]\n" RULES,
     "listeners[0].deadline.entry listeners[0].deadline.rewrite listeners[0].deadline.clock "
     "listeners[0].deadline.chain_stop "},
    {"listeners: [{listen: \"127.0.0.1:0\"}, {listen: \"127.0.0.1:0\"}]\n" RULES, "listeners "},
    {LISTENERS "rules_file: other.yaml\n", "rules_file "},
    {LEAST "etcd: {endpoints: [\"http://a:1\"], watch: all}\n", "etcd.endpoints "},
    {LEAST "etcd: {endpoints: [\"http://a:1\"], rules_prefix: /r, services_prefix: /s, "
           "fleet_prefix: /f}\n",
     "etcd.endpoints etcd.rules_prefix etcd.services_prefix etcd.fleet_prefix "},
    {LEAST "state_dir: other\n", "state_dir "},
    {LEAST "admin: {listen: \"\", socket: \"\", hosts: [a]}\n",
     "admin.listen admin.socket admin.hosts! "},
    {LEAST "limits: {frame_bytes: 1000, connections: 2, calls: 3, buffered_bytes: 70000,\n"
           "         pipelined_calls: 4, metric_routes: 5, tuples: 6}\n",
     "limits.frame_bytes limits.connections limits.calls limits.buffered_bytes "
     "limits.pipelined_calls limits.metric_routes limits.tuples "},
    {LEAST "timeouts: {frame_timeout_ms: 1, idle_ms: 2, write_stall_ms: 3, drain_timeout_ms: 0}\n",
     "timeouts.frame_timeout_ms timeouts.idle_ms timeouts.write_stall_ms "
     "timeouts.drain_timeout_ms! "},
    {LEAST "log: {level: debug, format: text}\n", "log.level! log.format! "},
};

static void collect_key(void *arg, const char *key, bool live)
{
    char *keys = arg;
    size_t len = strlen(keys);
    snprintf(keys + len, 1024 - len, "%s%s ", key, live ? "!" : "");
}

static void test_differences(void **state)
{
    (void)state;
    char seen[4096] = "";
    for (size_t i = 0; i < sizeof differing / sizeof differing[0]; i++) {
        struct bootstrap *a = load_good(LEAST);
        struct bootstrap *b = load_good(differing[i].text);
        char keys[1024] = "", back[1024] = "";
        a->workers = 2; /* what the host has is no matter of this test */
        b->workers = strstr(differing[i].text, "workers") != NULL ? b->workers : 2;
        bootstrap_diff(a, b, collect_key, keys);
        bootstrap_diff(b, a, collect_key, back);
        assert_string_equal(keys, differing[i].keys);
        assert_string_equal(back, differing[i].keys);
        strncat(seen, keys, sizeof seen - strlen(seen) - 1);
        bootstrap_free(a);
        bootstrap_free(b);
    }
    for (size_t i = 0; i < bootstrap_options_len; i++) {
        const struct option *option = &bootstrap_options[i];
        const char *name = strstr(option->path, "].");
        if (option->type != OPTION_LATER && option->type != OPTION_WORD &&
            !strstr(seen, name != NULL ? name : option->path)) {
            fail_msg("no difference is tried of %s", option->path);
        }
    }
}

static void test_fit(void **state)
{
    (void)state;
    struct findings findings = {0};
    struct bootstrap *b = load_good(LEAST "workers: 1\n");
    assert_true(bootstrap_fit(b, 1000000, collect, &findings));
    assert_int_equal(b->limits.connections, 20000);
    assert_in_range(b->limits.upstream_connections, 979000, 980000);
    assert_true(bootstrap_fit(b, 1024, collect, &findings));
    assert_in_range(b->limits.connections, 300, 500);
    assert_in_range(b->limits.upstream_connections, b->limits.connections,
                    b->limits.connections + 1);
    assert_int_equal(findings.n, 0);
    assert_false(bootstrap_fit(b, 100, collect, &findings));
    assert_int_equal(findings.n, 1);
    bootstrap_free(b);

    b = load_good(LEAST "workers: 1\nlimits: {connections: 20000}\n");
    assert_true(bootstrap_fit(b, 50000, collect, &findings));
    assert_int_equal(findings.n, 1);
    assert_false(bootstrap_fit(b, 20000, collect, &findings));
    assert_int_equal(b->limits.connections, 20000);
    assert_non_null(strstr(findings.text, "RLIMIT_NOFILE allows 20000"));
    bootstrap_free(b);
}

static void test_reference(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    bootstrap_print_reference(out);
    fclose(out);
    assert_non_null(strstr(text, "| `limits.frame_bytes` | 64..1073741824 | `16384000` | "));
    assert_non_null(strstr(text, "| `listeners[].accept` | framed, unframed, ttheader "));
    assert_non_null(strstr(text, "| `consul` | not yet |  | "));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_admin_switched_off),
        cmocka_unit_test(test_buffers_smaller_than_a_frame),
        cmocka_unit_test(test_relative_to_the_file),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_syntax_names_its_place),
        cmocka_unit_test(test_no_such_file),
        cmocka_unit_test(test_read_in_spite_of_findings),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
