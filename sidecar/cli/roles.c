/*
 * sidecar/cli/roles.c: tside roles: what a team may read and write in etcd, as commands of etcdctl.
 *
 * etcd grants ranges of keys. Rules of what a service calls begin with its name, rules of who calls it have the name
 * in third place, which is a range only under "*" callers in any cluster.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/key.h"
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE    (DISC_NAME_ENCODED_MAX_BYTES + 1)
#define AUDIT_PREFIX "/tside/audit" /* the only one while etcd.audit_prefix is not yet */
#define ROLE         "tside-"

struct args {
    struct cli_common common;
    const char *service;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *args = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &args->common;
        state->child_inputs[1] = &args->common;
        return 0;
    case ARGP_KEY_ARG:
        if (args->service != NULL) {
            argp_usage(state);
        }
        args->service = arg;
        return 0;
    case ARGP_KEY_END:
        if (args->service == NULL) {
            argp_usage(state);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The name as keys have it. False: it is none, which is reported. */
static bool canonical(const char *service, char name[NAME_SIZE])
{
    char text[NAME_SIZE + sizeof "/x/x"], buf[DISC_NAMES * DISC_NAME_MAX_BYTES];
    struct disc_tuple tuple;
    struct disc_error error = {.reason = "it is too long"};
    int len = snprintf(text, sizeof text, "%s/x/x", service);
    if (strchr(service, '/') != NULL) {
        fprintf(stderr, "tside: \"%s\" is not a service's name: a \"/\" in it is written %%2F\n",
                service);
        return false;
    }
    if (strcmp(service, "-") == 0) {
        fputs("tside: \"-\" stands for an absent name: it has no keys of its own\n", stderr);
        return false;
    }
    if ((size_t)len >= sizeof text ||
        !disc_tuple_parse(text, (size_t)len, buf, &tuple, NULL, &error)) {
        fprintf(stderr, "tside: \"%s\" is not a service's name: %s\n", service, error.reason);
        return false;
    }
    name[disc_name_encode(tuple.name[DISC_FROM], name, NAME_SIZE - 1)] = '\0';
    return true;
}

/* ---- printing ----------------------------------------------------------------------------- */

/* As one word of a shell. */
static void print_quoted(const char *text)
{
    putchar('\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
        } else {
            putchar(*text);
        }
    }
    putchar('\'');
}

static void print_commands(const char *role, size_t n, char *const prefixes[])
{
    fputs("etcdctl role add ", stdout);
    print_quoted(role);
    putchar('\n');
    for (size_t i = 0; i < n; i++) {
        fputs("etcdctl role grant-permission --prefix=true ", stdout);
        print_quoted(role);
        fputs(" readwrite ", stdout);
        print_quoted(prefixes[i]);
        putchar('\n');
    }
    fputs("# to each of the team: etcdctl user grant-role USER ", stdout);
    print_quoted(role);
    putchar('\n');
}

static void print_json(const char *role, size_t n, char *const prefixes[])
{
    json_t *json =
        json_pack("{s: s, s: s, s: []}", "role", role, "permission", "readwrite", "prefixes");
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(json_object_get(json, "prefixes"), json_string(prefixes[i]));
    }
    (void)json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

/* ---- the verb ----------------------------------------------------------------------------- */

static char *joined(const char *prefix, const char *middle, const char *name)
{
    char *text = NULL;
    if (asprintf(&text, "%s%s%s/", prefix, middle, name) < 0) {
        fputs("tside: no memory\n", stderr);
        exit(CLI_INTERNAL);
    }
    return text;
}

static void print(const struct args *args, const struct bootstrap *bootstrap, const char *name)
{
    char *prefixes[] = {
        joined(bootstrap->etcd.rules_prefix, "/", name),
        joined(bootstrap->etcd.rules_prefix, "/*/*/", name),
        joined(bootstrap->etcd.services_prefix, "/", name),
        joined(AUDIT_PREFIX, "", ""),
    };
    const size_t n = sizeof prefixes / sizeof prefixes[0];
    char role[sizeof ROLE + NAME_SIZE];
    (void)snprintf(role, sizeof role, ROLE "%s", name);
    (args->common.json ? print_json : print_commands)(role, n, prefixes);
    for (size_t i = 0; i < n; i++) {
        free(prefixes[i]);
    }
}

int cli_roles(int argc, char **argv)
{
    static const struct argp_child children[] = {
        {.argp = &cli_config_argp}, {.argp = &cli_output_argp}, {0}};
    static const struct argp argp = {
        .parser = parse,
        .args_doc = "SERVICE",
        .doc = "Prints the commands of etcdctl that grant a team its service's keys: the rules of "
               "what it calls and "
               "of who calls it from anywhere, its endpoints, and the record of changes.\v"
               "Nothing is run. etcdctl takes addresses and a user from ETCDCTL_ENDPOINTS and "
               "ETCDCTL_USER. Keys that name caller and callee are the caller's.",
        .children = children,
    };
    struct args args = {0};
    char name[NAME_SIZE];
    cli_parse(&argp, argc, argv, &args);
    if (!canonical(args.service, name)) {
        return CLI_USAGE;
    }
    struct bootstrap *bootstrap = cli_bootstrap(&args.common);
    if (bootstrap == NULL) {
        return CLI_DATA;
    }
    print(&args, bootstrap, name);
    bootstrap_free(bootstrap);
    return CLI_OK;
}
