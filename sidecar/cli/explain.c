/*
 * sidecar/cli/explain.c: `tside explain TUPLE`: which rules decide, and what comes of it.
 *
 * With --rules it answers from a rules file, without a running tside; else it asks the running one.
 * Either way the same JSON (admin/explain.h) is printed as it is, or as a table for people.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/explain.h"
#include "discovery/file/rules_file.h"
#include "discovery/rules/key.h"
#include "discovery/store/store.h"
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS     10000
#define BODY_MAX_BYTES ((size_t)16 << 20)
#define LOG_ID_MAX     4096

struct options {
    struct cli_common common;
    const char *tuple;
    const char *rules; /* NULL: ask the running tside */
    const char *log_id;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        for (int i = 0; i < 3; i++) {
            state->child_inputs[i] = &options->common;
        }
        return 0;
    case 'r':
        options->rules = arg;
        return 0;
    case 'l':
        if (strlen(arg) > LOG_ID_MAX) {
            argp_error(state, "the LogID is too long");
        }
        options->log_id = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (options->tuple) {
            argp_error(state, "one tuple is enough");
        }
        options->tuple = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which tuple?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void parse_options(int argc, char **argv, struct options *ret)
{
    static const struct argp_option options[] = {
        {"rules", 'r', "FILE", 0, "answer from this rules file, without a running tside", 0},
        {"log-id", 'l', "ID", 0, "for rules that go by log_id", 0},
        {0}};
    static const struct argp_child children[] = {
        {.argp = &cli_config_argp}, {.argp = &cli_admin_argp}, {.argp = &cli_output_argp}, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "FROM/FROMCLUSTER/TO/TOCLUSTER/METHOD",
        .doc = "Tells which rules decide a tuple's calls, and what comes of them. FROM/TO/METHOD "
               "means the clusters \"default\"; names are percent-encoded as in keys.",
        .children = children,
    };
    cli_parse(&argp, argc, argv, ret);
}

/* ---- the table for people -------------------------------------------------------------------- */

static const char *str(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "-";
}

/* ASCII only: values come from others and go to a terminal. */
static void print_value(const json_t *value)
{
    char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);
    fputs(dump ? dump : "?", stdout);
    free(dump);
}

static void print_step(const char *kind, const json_t *step)
{
    const json_t *candidates = json_object_get(step, "candidates"), *candidate;
    size_t i;
    if (json_array_size(candidates) == 0) {
        printf("%-8s no rule\n", kind);
    }
    json_array_foreach(candidates, i, candidate)
    {
        const json_t *rejected = json_object_get(candidate, "rejected");
        printf("%-8s %-8s  %s  ", i == 0 ? kind : "", str(candidate, "status"),
               str(candidate, "key"));
        print_value(json_object_get(candidate, "value"));
        printf("  rev %lld\n",
               (long long)json_integer_value(json_object_get(candidate, "mod_revision")));
        if (rejected) {
            printf("%-8s           rev %lld is rejected: %s %s\n", "",
                   (long long)json_integer_value(json_object_get(rejected, "mod_revision")),
                   str(rejected, "field"), str(rejected, "reason"));
        }
    }
}

static void print_effective(json_t *effective)
{
    const char *field;
    json_t *row;
    printf("%-8s %-24s %-12s %-6s %s\n", "fields", "field", "value", "order", "from");
    json_object_foreach(effective, field, row)
    {
        if (strcmp(str(row, "from"), "not yet") == 0) {
            continue;
        }
        char *dump = json_dumps(json_object_get(row, "value"),
                                JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);
        const char *note = json_string_value(json_object_get(row, "note"));
        printf("%-8s %-24s %-12s %-6s %s%s%s\n", "", field, dump ? dump : "?", str(row, "order"),
               str(row, "from"), note ? "; " : "", note ? note : "");
        free(dump);
    }
}

static void print_targets(const json_t *targets)
{
    const json_t *target, *address;
    size_t i, k;
    json_array_foreach(targets, i, target)
    {
        const char *zone = json_string_value(json_object_get(target, "zone"));
        const json_t *weight = json_object_get(target, "weight");
        printf("%-8s %s%s%s", i == 0 ? "targets" : "", str(target, "cluster"), zone ? "@" : "",
               zone ? zone : "");
        if (weight) {
            printf(" weight %lld", (long long)json_integer_value(weight));
        }
        if (json_is_true(json_object_get(target, "fallback"))) {
            fputs(" (fallback)", stdout);
        }
        printf(": %lld of %lld usable",
               (long long)json_integer_value(json_object_get(target, "usable")),
               (long long)json_integer_value(json_object_get(target, "endpoints")));
        json_array_foreach(json_object_get(target, "addresses"), k, address)
        {
            printf("%s%s", k == 0 ? "  " : ", ", json_string_value(address));
        }
        putchar('\n');
    }
}

static void print_outcome(const json_t *outcome)
{
    const json_t *all = json_object_get(outcome, "all"), *row;
    size_t i;
    if (!all) {
        printf("%-8s %s: %s, cluster %s\n", "outcome", str(outcome, "action"),
               str(outcome, "reason"), str(outcome, "cluster"));
    }
    json_array_foreach(all, i, row)
    {
        printf("%-8s %s: %s, cluster %s: %lld of %lld simulated calls\n", i == 0 ? "outcome" : "",
               str(row, "action"), str(row, "reason"), str(row, "cluster"),
               (long long)json_integer_value(json_object_get(row, "calls")),
               (long long)json_integer_value(json_object_get(outcome, "simulated")));
    }
}

static void print_table(const json_t *json)
{
    const json_t *snapshot = json_object_get(json, "snapshot");
    const json_t *steps = json_object_get(json, "steps");
    printf("%-8s %s\n", "tuple", str(json, "tuple"));
    printf("%-8s revision %lld (%s, %.1f s old)\n", "snapshot",
           (long long)json_integer_value(json_object_get(snapshot, "revision")),
           str(snapshot, "source"), json_number_value(json_object_get(snapshot, "age_s")));
    for (int kind = 0; kind < DISC_KINDS; kind++) {
        const char *name = disc_kind_str((enum disc_kind)kind);
        print_step(name, json_object_get(steps, name));
    }
    print_effective(json_object_get(json, "effective"));
    print_targets(json_object_get(json, "targets"));
    print_outcome(json_object_get(json, "outcome"));
}

/* Takes json. */
static int print(const struct options *options, json_t *json)
{
    if (!json) {
        fprintf(stderr, "tside explain: out of memory\n");
        return CLI_INTERNAL;
    }
    if (options->common.json) {
        json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
        putchar('\n');
    } else {
        print_table(json);
    }
    json_decref(json);
    return fflush(stdout) ? CLI_INTERNAL : 0;
}

/* ---- from a rules file ----------------------------------------------------------------------- */

static void take_snapshot(void *owner, struct disc_snapshot *snapshot)
{
    struct disc_snapshot **newest = owner;
    disc_snapshot_free(*newest);
    *newest = snapshot;
}

static void tell(void *arg, const char *finding)
{
    fprintf(stderr, "%s\n", finding);
}

static int explain_store(const struct options *options, const struct disc_tuple *tuple,
                         struct disc_store *store, struct disc_snapshot **snapshot)
{
    /* Bad keys show as rejected where they matter; here only what spoils the whole file is
     * printed. */
    struct rules_file_report report = {.fn = tell, .whole_only = true};
    int err = rules_file_load(options->rules, store, 0, 0, &report);
    if (err) {
        if (report.findings == 0) {
            fprintf(stderr, "tside explain: %s: %s\n", options->rules, strerror(-err));
        }
        return CLI_DATA;
    }
    while (!disc_store_build(store, UINT64_MAX)) {
    }
    const char *log_id = options->log_id ? options->log_id : "";
    struct explain_input input = {
        .snapshot = *snapshot,
        .tuple = *tuple,
        .log_id = disc_str_of(log_id, strlen(log_id)),
    };
    return print(options, explain_json(&input));
}

/* Keys are shown with the prefixes of bootstrap (NULL: the default ones). */
static int explain_file(const struct options *options, const struct disc_tuple *tuple,
                        const struct bootstrap *bootstrap)
{
    struct disc_snapshot *snapshot = NULL;
    struct codec_templates *templates = codec_templates_new();
    struct disc_store *store = NULL;
    int code = CLI_INTERNAL;
    if (templates) {
        store = disc_store_new(&(struct disc_store_options){
            .prefix = {bootstrap ? bootstrap->etcd.rules_prefix : "/tside/rules",
                       bootstrap ? bootstrap->etcd.services_prefix : "/tside/services"},
            .templates = templates,
            .publish = take_snapshot,
            .owner = &snapshot,
        });
    }
    if (store) {
        code = explain_store(options, tuple, store, &snapshot);
    } else {
        fprintf(stderr, "tside explain: out of memory\n");
    }
    disc_snapshot_free(snapshot);
    disc_store_free(store);
    codec_templates_free(templates);
    return code;
}

static int explain_offline(const struct options *options, const struct disc_tuple *tuple)
{
    struct bootstrap *bootstrap = NULL;
    if (options->common.config) { /* only where it was asked for: none is needed */
        bootstrap = cli_bootstrap(&options->common);
        if (!bootstrap) {
            return CLI_DATA;
        }
    }
    int code = explain_file(options, tuple, bootstrap);
    bootstrap_free(bootstrap);
    return code;
}

/* ---- from the running tside ------------------------------------------------------------------ */

static char *target_of(const struct options *options)
{
    static const char path[] = "/api/v1/explain?tuple=", log_id[] = "&log_id=";
    size_t values = strlen(options->tuple) + (options->log_id ? strlen(options->log_id) : 0);
    char *target = malloc(sizeof path + sizeof log_id + 3 * values);
    if (target) {
        char *end = stpcpy(target, path);
        cli_add_encoded(&end, options->tuple);
        if (options->log_id) {
            end = stpcpy(end, log_id);
            cli_add_encoded(&end, options->log_id);
        }
    }
    return target;
}

static int answer_of(const struct options *options, const struct admin_response *response)
{
    json_t *json = json_loadb(response->body, response->len, 0, NULL);
    if (response->status == 200 && json) {
        return print(options, json);
    }
    const json_t *error = json_object_get(json, "error");
    fprintf(stderr, "tside explain: tside answers %d: %s %s\n", response->status,
            str(error, "message"), str(error, "hint"));
    json_decref(json);
    return response->status == 400 ? CLI_USAGE : CLI_UNAVAILABLE;
}

static int explain_online(const struct options *options)
{
    struct admin_address address;
    struct admin_response response = {0};
    int code = cli_admin_address(&options->common, true, &address);
    if (code != CLI_OK) {
        return code;
    }
    char *target = target_of(options);
    int err =
        target ? admin_request(&address, "GET", target, NULL, TIMEOUT_MS, BODY_MAX_BYTES, &response)
               : -ENOMEM;
    free(target);
    if (err) {
        return cli_admin_failed(&address, err);
    }
    code = answer_of(options, &response);
    free(response.body);
    return code;
}

int cli_explain(int argc, char **argv)
{
    struct options options = {0};
    char names[DISC_NAMES * DISC_NAME_MAX_BYTES];
    struct disc_tuple tuple;
    struct disc_error error;
    parse_options(argc, argv, &options);
    if (!disc_tuple_parse(options.tuple, strlen(options.tuple), names, &tuple, NULL, &error)) {
        fprintf(stderr, "tside explain: %s: %s\n", options.tuple, error.reason);
        return CLI_USAGE;
    }
    return options.rules ? explain_offline(&options, &tuple) : explain_online(&options);
}
