/*
 * sidecar/cli/check.c: tside check, for people and for CI.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/file/rules_file.h"
#include "discovery/state/state_file.h"
#include "sidecar/cli/check_pool.h"
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARNINGS_MAX 100 /* printed one by one */

struct args {
    struct cli_common common;
    const char *rules;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *args = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &args->common;
        state->child_inputs[1] = &args->common;
        return 0;
    case 'r':
        args->rules = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct findings {
    size_t n;
    size_t warnings;
    json_t *items; /* NULL: printed as they come */
    json_t *warned;
};

/* "file:line:col: message" as an object; a finding without a place has file and message alone. */
static json_t *to_json(const char *finding)
{
    for (const char *p = strchr(finding, ':'); p; p = strchr(p + 1, ':')) {
        int line, column, end = 0;
        if (sscanf(p, ":%d:%d: %n", &line, &column, &end) == 2 && end > 0) {
            return json_pack("{s:s%, s:i, s:i, s:s}", "file", finding, (size_t)(p - finding),
                             "line", line, "column", column, "message", p + end);
        }
    }
    return json_pack("{s:s}", "message", finding);
}

static void report(void *arg, const char *finding)
{
    struct findings *findings = arg;
    findings->n++;
    if (!findings->items) {
        puts(finding);
        return;
    }
    json_t *item = to_json(finding);
    if (!item) { /* bytes outside UTF-8 in a file's name or a value */
        item = json_pack("{s:s}", "message", "a finding that is not UTF-8");
    }
    (void)json_array_append_new(findings->items, item); /* takes NULL as refusal: still counted */
}

/* Does not spoil the exit code: what it is about is in etcd, or may be meant. */
static void warn(void *arg, const char *key, const char *text)
{
    struct findings *findings = arg;
    if (++findings->warnings > WARNINGS_MAX) {
        return;
    }
    if (findings->items != NULL) {
        json_t *item = json_pack("{s:s, s:s}", "key", key, "message", text);
        (void)json_array_append_new(findings->warned, item); /* NULL, not UTF-8: still counted */
    } else {
        printf("warning: %s: %s\n", key, text);
    }
}

/* ---- the last state of etcd ------------------------------------------------------------------ */

struct state_check {
    struct findings *findings;
    struct disc_store *store;
};

static void put_state_key(struct disc_store *store, const struct disc_raw *raw)
{
    const char *text = raw->rejected ? raw->good_text : raw->text;
    size_t len = raw->rejected ? raw->good_text_len : raw->text_len;
    if (text) {
        disc_store_put(store, DISC_LAYER_ETCD, raw->space, raw->key, strlen(raw->key), text, len,
                       raw->mod_revision, 0, 0);
    }
}

static void check_state_key(void *arg, const struct disc_raw *raw)
{
    const struct state_check *check = arg;
    struct disc_service_key key;
    struct disc_error error;
    put_state_key(check->store, raw);
    if (raw->space != DISC_SPACE_SERVICES) {
        return;
    }
    switch (disc_service_key_parse(raw->key, strlen(raw->key), &key, &error)) {
    case DISC_KEY_REFUSED:
        warn(check->findings, raw->key, error.reason);
        break;
    case DISC_KEY_OURS:
        if (key.is_loopback) {
            warn(check->findings, raw->key,
                 "a loopback address in etcd: each host would call itself");
        }
        break;
    default:
        break;
    }
}

static void on_state_trouble(void *arg, const char *path, const char *text)
{
    const struct state_check *check = arg;
    warn(check->findings, path, text);
}

/* What etcd held when the running tside last wrote it down. */
static void check_state(const struct bootstrap *bootstrap, struct disc_store *store,
                        struct findings *findings)
{
    struct state_check check = {.findings = findings, .store = store};
    const char *const prefix[DISC_SPACES] = {bootstrap->etcd.rules_prefix,
                                             bootstrap->etcd.services_prefix};
    struct state_meta meta;
    if (bootstrap->state_dir == NULL || bootstrap->etcd.endpoints_len == 0) {
        return;
    }
    disc_store_begin(store, DISC_LAYER_ETCD, true);
    (void)state_file_load(bootstrap->state_dir, prefix, check_state_key, on_state_trouble, &check,
                          &meta); /* false: there is none */
    disc_store_commit(store, DISC_LAYER_ETCD, 1, DISC_ORIGIN_DISK, 0);
}

/* ---- the files ------------------------------------------------------------------------------- */

static void check_rules(const char *path, struct disc_store *store, struct findings *findings)
{
    struct rules_file_report rules = {.fn = report, .arg = findings};
    if (rules_file_load(path, store, 0, 0, &rules) != 0 && rules.findings == 0) {
        report(findings, "the rules file cannot be read");
    }
}

static void take_snapshot(void *owner, struct disc_snapshot *snapshot)
{
    struct disc_snapshot **newest = owner;
    disc_snapshot_free(*newest);
    *newest = snapshot;
}

/* What file and state say together, as tside would have it in force. rules, bootstrap NULL: none; a
 * bootstrap file that cannot be read has no prefixes. */
static void check_keys(const char *rules, const struct bootstrap *bootstrap,
                       struct findings *findings)
{
    struct disc_snapshot *snapshot = NULL;
    struct codec_templates *templates = codec_templates_new();
    bool has_prefixes =
        bootstrap && bootstrap->etcd.rules_prefix && bootstrap->etcd.services_prefix;
    const struct disc_store_options options = {
        .prefix = {has_prefixes ? bootstrap->etcd.rules_prefix : "/tside/rules",
                   has_prefixes ? bootstrap->etcd.services_prefix : "/tside/services"},
        .templates = templates,
        .publish = take_snapshot,
        .owner = &snapshot,
    };
    struct disc_store *store = templates ? disc_store_new(&options) : NULL;
    if (store) {
        if (rules) {
            check_rules(rules, store, findings);
        }
        if (bootstrap) {
            check_state(bootstrap, store, findings);
        }
        while (!disc_store_build(store, UINT64_MAX)) {
        }
        if (snapshot) {
            check_pool(store, snapshot, warn, findings);
        }
    } else {
        report(findings, "out of memory");
    }
    disc_snapshot_free(snapshot);
    disc_store_free(store);
    codec_templates_free(templates);
}

static void check_files(const struct args *args, struct findings *findings)
{
    struct bootstrap *bootstrap = NULL;
    const char *rules = args->rules;
    if (args->common.config || !rules) {
        const char *path = args->common.config ? args->common.config : CLI_CONFIG_DEFAULT;
        bool good; /* else counted among the findings */
        bootstrap = bootstrap_read(path, report, findings, &good);
    }
    if (!rules && bootstrap) {
        rules = bootstrap->rules_file;
    }
    check_keys(rules, bootstrap, findings);
    if (findings->warnings > WARNINGS_MAX && findings->items == NULL) {
        printf("warning: %zu more like these\n", findings->warnings - WARNINGS_MAX);
    }
    bootstrap_free(bootstrap);
}

static void print_json(struct findings *findings)
{
    json_t *root = json_pack("{s:b, s:o, s:o}", "ok", findings->n == 0, "findings", findings->items,
                             "warnings", findings->warned);
    (void)json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

int cli_check(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"rules", 'r', "FILE", 0, "this rules file instead; without -c it is checked alone", 0},
        {0}};
    static const struct argp_child children[] = {
        {.argp = &cli_config_argp}, {.argp = &cli_output_argp}, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc =
            "Prints every finding of the bootstrap file and of the rules file that it names, and "
            "warns about endpoints in the last state of etcd that lead nowhere, and about clusters "
            "whose calls disagree on `pool`.\v"
            "The exit code is 65 where there is a finding.",
        .children = children,
    };
    struct args args = {0};
    cli_parse(&argp, argc, argv, &args);
    struct findings findings = {.items = args.common.json ? json_array() : NULL,
                                .warned = args.common.json ? json_array() : NULL};
    check_files(&args, &findings);
    if (args.common.json) {
        print_json(&findings);
    } else if (findings.n == 0) {
        puts("ok");
    }
    return findings.n == 0 ? CLI_OK : CLI_DATA;
}
