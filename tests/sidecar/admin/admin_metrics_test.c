/*
 * tests/sidecar/admin/admin_metrics_test.c: /metrics keeps to the format, and to what was counted.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/admin/admin_world.h"

#include "discovery/etcd/etcd_io.h"
#include "sidecar/admin/api.h"

#include <ctype.h>

#define FAMILIES_MAX 200

struct fixture {
    struct admin_world w;
    struct admin admin;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    admin_world_init(&f->w);
    f->admin.context = f->w.context;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    admin_world_done(&f->w);
    free(f);
    return 0;
}

static char *scrape(struct fixture *f)
{
    struct http_request request = {0};
    struct http_reply reply = {0};
    api_metrics(&f->admin, &request, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(strlen(reply.body), reply.body_len);
    return reply.body;
}

static void assert_line(const char *metrics, const char *line)
{
    char wanted[1024];
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    if (!strstr(metrics, wanted)) {
        fail_msg("missing: %s\n%s", line, metrics);
    }
}

/* ---- the format ------------------------------------------------------------------------------ */

/* The end of the labels that begin at p ('{' or not); checks names, quotes and escapes. */
static const char *skip_labels(const char *p)
{
    if (*p != '{') {
        return p;
    }
    p++;
    while (*p != '}') {
        assert_true(isalpha((unsigned char)*p) || *p == '_');
        while (isalnum((unsigned char)*p) || *p == '_') {
            p++;
        }
        assert_int_equal(*p++, '=');
        assert_int_equal(*p++, '"');
        for (; *p != '"'; p++) {
            assert_true(*p != '\0' && *p != '\n');
            if (*p == '\\') {
                p++;
                assert_non_null(strchr("\\\"n", *p));
            }
        }
        p++;
        if (*p == ',') {
            p++;
        }
    }
    return p + 1;
}

struct lint {
    size_t len;
    char families[FAMILIES_MAX][96];
    char kind[16];
};

static void lint_comment(struct lint *lint, const char *line)
{
    char name[96], rest[512];
    assert_int_equal(sscanf(line, "# HELP %95s %511[^\n]", name, rest), 2);
    for (size_t i = 0; i < lint->len; i++) {
        assert_string_not_equal(lint->families[i], name); /* a family stands once */
    }
    assert_true(lint->len < FAMILIES_MAX);
    strcpy(lint->families[lint->len++], name);
}

static void lint_type(struct lint *lint, const char *line)
{
    char name[96];
    assert_int_equal(sscanf(line, "# TYPE %95s %15s", name, lint->kind), 2);
    assert_string_equal(name, lint->families[lint->len - 1]);
    bool total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
    assert_int_equal(total, strcmp(lint->kind, "counter") == 0); /* promtool's convention */
}

static void lint_sample(const struct lint *lint, const char *line)
{
    const char *family = lint->families[lint->len - 1];
    size_t name_len = strcspn(line, "{ ");
    assert_memory_equal(line, family, strlen(family));
    if (strcmp(lint->kind, "histogram") != 0) {
        assert_int_equal(name_len, strlen(family));
    }
    const char *p = skip_labels(line + name_len);
    assert_int_equal(*p++, ' ');
    char *end = NULL;
    (void)strtod(p, &end);
    assert_true(end != p && *end == '\n');
}

static void lint(const char *metrics)
{
    struct lint lint = {0};
    for (const char *p = metrics; *p; p = strchr(p, '\n') + 1) {
        assert_non_null(strchr(p, '\n'));
        if (strncmp(p, "# HELP ", 7) == 0) {
            lint_comment(&lint, p);
        } else if (strncmp(p, "# TYPE ", 7) == 0) {
            lint_type(&lint, p);
        } else {
            lint_sample(&lint, p);
        }
    }
    assert_true(lint.len > 40);
}

static void test_format(void **state)
{
    struct fixture *f = *state;
    char *metrics = scrape(f);
    lint(metrics);
    free(metrics);
    struct tuple_state *odd = admin_world_tuple(&f->w, "a\"\\\n\xff", "b", "M");
    tuple_counts_add(tuple_state_counts(odd, 0), REASON_OK, 10, 1);
    metrics = scrape(f);
    lint(metrics);
    assert_line(metrics,
                "tside_calls_total{from=\"a\\\"\\\\\\\\x0A\\\\xFF\",from_cluster=\"default\","
                "to=\"b\",to_cluster=\"default\",method=\"M\",reason=\"ok\"} 1");
    /* For promtool, by hand: TSIDE_METRICS_OUT=file. */
    const char *out = getenv("TSIDE_METRICS_OUT");
    FILE *file = out ? fopen(out, "we") : NULL;
    if (file) {
        fputs(metrics, file);
        fclose(file);
    }
    free(metrics);
    tuple_state_unref(odd);
}

/* ---- the numbers ----------------------------------------------------------------------------- */

static void test_calls_and_durations(void **state)
{
    struct fixture *f = *state;
    struct tuple_state *one = admin_world_tuple(&f->w, "a", "b", "M");
    struct tuple_state *two = admin_world_tuple(&f->w, "a2", "b", "N");
    for (int i = 0; i < 10; i++) {
        tuple_counts_add(tuple_state_counts(one, (uint32_t)i % ADMIN_WORKERS), REASON_OK,
                         tuple_bucket_us[0], 1);
    }
    tuple_counts_add(tuple_state_counts(two, 0), REASON_TIMEOUT, 1000000000, 1);
    tuple_counts_add_shadowed(tuple_state_counts(one, 0), shadow_bit(SHADOW_ACCESS));
    tuple_counts_add_shadowed(tuple_state_counts(two, 1), shadow_bit(SHADOW_ACCESS));
    char *metrics = scrape(f);
    assert_line(metrics, "tside_calls_total{from=\"a\",from_cluster=\"default\",to=\"b\","
                         "to_cluster=\"default\",method=\"M\",reason=\"ok\"} 10");
    assert_line(metrics, "tside_calls_total{from=\"a2\",from_cluster=\"default\",to=\"b\","
                         "to_cluster=\"default\",method=\"N\",reason=\"timeout\"} 1");
    assert_null(strstr(metrics, "method=\"N\",reason=\"ok\""));
    /* Both tuples are one histogram: it is per callee. */
    char line[256];
    snprintf(line, sizeof line,
             "tside_call_duration_seconds_bucket{to=\"b\",to_cluster=\"default\",le=\"%.9g\"} 10",
             (double)tuple_bucket_us[0] / 1e6);
    assert_line(metrics, line);
    assert_line(
        metrics,
        "tside_call_duration_seconds_bucket{to=\"b\",to_cluster=\"default\",le=\"+Inf\"} 11");
    assert_line(metrics, "tside_call_duration_seconds_count{to=\"b\",to_cluster=\"default\"} 11");
    assert_line(metrics, "tside_shadow_total{to=\"b\",to_cluster=\"default\",stage=\"access\"} 2");
    assert_line(metrics, "tside_tuples 2");
    free(metrics);
    tuple_state_unref(one);
    tuple_state_unref(two);
}

/* Tuples that leave take their calls along, never their callee's durations. */
static void test_durations_outlive_tuples(void **state)
{
    struct fixture *f = *state;
    struct tuple_state *one = admin_world_tuple(&f->w, "a", "b", "M");
    tuple_counts_add(tuple_state_counts(one, 0), REASON_OK, 5000, 1);
    tuple_counts_add_shadowed(tuple_state_counts(one, 0), shadow_bit(SHADOW_ACCESS));
    tuple_state_unref(one);
    struct epoch epoch = {.workers = 0};
    tuple_table_tidy(f->w.tuples, &epoch, 10000000, 3600000);
    char *metrics = scrape(f);
    assert_null(strstr(metrics, "method=\"M\""));
    assert_line(metrics, "tside_call_duration_seconds_count{to=\"b\",to_cluster=\"default\"} 1");
    assert_line(metrics, "tside_shadow_total{to=\"b\",to_cluster=\"default\",stage=\"access\"} 1");
    free(metrics);
}

static void test_sums_of_workers_and_store(void **state)
{
    struct fixture *f = *state;
    counter_add(&f->w.counters[0], METRIC_FOREIGN_HTTP, 2);
    counter_add(&f->w.counters[1], METRIC_FOREIGN_HTTP, 3);
    world_rule(&f->w.world, "*/*/b/*/*/degrade", "101");
    world_commit(&f->w.world);
    char *metrics = scrape(f);
    assert_line(metrics, "tside_foreign_connections_total{protocol=\"http\"} 5");
    assert_line(metrics, "tside_rules_rejected 1");
    assert_line(metrics, "tside_keys{source=\"etcd\",kind=\"services\"} 2");
    assert_line(metrics, "tside_config_source{source=\"etcd\"} 1");
    assert_line(metrics, "tside_build_info{version=\"" TSIDE_VERSION "\"} 1");
    assert_non_null(strstr(metrics, "\nprocess_open_fds "));
    free(metrics);
}

static void no_commit(void *owner)
{
}

/* A source that was not started yet has numbers, too. */
static void test_etcd_source(void **state)
{
    static const char *const endpoints[] = {"http://127.0.0.1:1"};
    struct fixture *f = *state;
    struct http_request request = {0};
    struct http_reply reply = {0};
    f->admin.context.etcd = etcd_io_new(&(struct etcd_io_options){
        .loop = &f->w.loop,
        .store = f->w.world.store,
        .endpoints = endpoints,
        .endpoints_n = 1,
        .prefix = {"/tside/rules", "/tside/services"},
        .seed = 1,
        .on_commit = no_commit,
    });
    assert_non_null(f->admin.context.etcd);
    char *metrics = scrape(f);
    lint(metrics);
    assert_line(metrics, "tside_etcd_watching 0");
    assert_line(metrics, "tside_etcd_endpoint_up{endpoint=\"http://127.0.0.1:1\"} 0");
    free(metrics);
    api_etcd(&f->admin, &request, &reply);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\"configured\":true"));
    assert_non_null(
        strstr(reply.body, "\"url\":\"http://127.0.0.1:1\",\"current\":true,\"ok\":null"));
    free(reply.body);
    etcd_io_close(f->admin.context.etcd, NULL, NULL);
    uv_run(&f->w.loop, UV_RUN_DEFAULT);
}

static void test_without_snapshot(void **state)
{
    struct fixture *f = *state;
    f->w.no_snapshot = true;
    char *metrics = scrape(f);
    lint(metrics);
    assert_line(metrics, "tside_config_revision 0");
    free(metrics);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_format),
        TEST(test_calls_and_durations),
        TEST(test_durations_outlive_tuples),
        TEST(test_sums_of_workers_and_store),
        TEST(test_etcd_source),
        TEST(test_without_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
