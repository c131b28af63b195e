/*
 * sidecar/cli/main.c: the table of verbs.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/closest.h"
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* run NULL: specified, not built yet. meaning NULL: not shown. */
static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *meaning;
} verbs[] = {
    {"run", cli_run, "the process, in the foreground"},
    {"check", cli_check, "every finding of the bootstrap file and of a rules file"},
    {"explain", cli_explain, "what decides a tuple's calls, and why"},
    {"healthcheck", cli_healthcheck, "asks a running tside whether it lives, or is ready"},
    {"drain", cli_drain, "lets a running tside finish its calls and end"},
    {"held", cli_held, "what is in force though etcd lost it, and its release"},
    {"roles", cli_roles, "what to grant a team in etcd, as commands of etcdctl"},
    {"version", cli_version, "prints the version"},
    {"docs", cli_docs, NULL},
    {"test", NULL, "expectations of explain, for CI"},
    {"get", NULL, "shows a rule in etcd"},
    {"set", NULL, "writes a rule to etcd"},
    {"unset", NULL, "deletes a rule from etcd"},
    {"history", NULL, "who changed a rule, when and how"},
    {"rollback", NULL, "undoes a change of a rule"},
    {"list", NULL, "the rules in etcd"},
    {"export", NULL, "the rules in etcd as a rules file"},
    {"import", NULL, "writes a rules file to etcd"},
    {"services", NULL, "the endpoints in etcd"},
    {"register", NULL, "adds an endpoint to etcd"},
    {"deregister", NULL, "takes an endpoint out of etcd"},
    {"status", NULL, "state of a running tside"},
    {"stats", NULL, "counters of a running tside"},
    {"top", NULL, "live view of a running tside"},
    {"log", NULL, "sets the log level of a running tside"},
    {"override", NULL, "an endpoint's weight or state on this host alone"},
};
#define VERBS_LEN (sizeof verbs / sizeof verbs[0])

struct main_args {
    int verb; /* index into argv; 0: none */
    bool version;
};

static void print_verbs(FILE *out)
{
    fputs("Commands:\n", out);
    for (size_t i = 0; i < VERBS_LEN; i++) {
        if (verbs[i].run && verbs[i].meaning) {
            fprintf(out, "  %-12s %s\n", verbs[i].name, verbs[i].meaning);
        }
    }
    fputs("Not built yet:\n", out);
    for (size_t i = 0; i < VERBS_LEN; i++) {
        if (!verbs[i].run) {
            fprintf(out, "  %-12s %s\n", verbs[i].name, verbs[i].meaning);
        }
    }
    fputs("\n\"tside COMMAND --help\" shows what a command takes.\n", out);
}

static char *help_filter(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_EXTRA) {
        return strdup(text ? text : "");
    }
    char *listed = NULL;
    size_t len;
    FILE *out = open_memstream(&listed, &len);
    if (out) {
        print_verbs(out);
        (void)fclose(out); /* in memory: what failed shows in the text */
    }
    return listed;
}

static error_t parse_main(int key, char *arg, struct argp_state *state)
{
    struct main_args *args = state->input;
    (void)arg;
    switch (key) {
    case 'V':
        args->version = true;
        return 0;
    case ARGP_KEY_ARG:
        args->verb = state->next - 1;
        state->next = state->argc; /* the rest is the verb's */
        return 0;
    case ARGP_KEY_END:
        if (args->verb == 0 && !args->version) {
            argp_usage(state);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option main_options[] = {
    {"version", 'V', NULL, 0, "prints the version", -1},
    {0},
};
static const struct argp main_argp = {
    .options = main_options,
    .parser = parse_main,
    .args_doc = "COMMAND [ARGUMENT...]",
    .doc = "A Thrift sidecar: calls go to a local port, rules say where from there.",
    .help_filter = help_filter,
};

static int unknown_verb(const char *name)
{
    const char *names[VERBS_LEN];
    for (size_t i = 0; i < VERBS_LEN; i++) {
        names[i] = verbs[i].name;
    }
    const char *closest = disc_closest(name, names, VERBS_LEN);
    if (closest) {
        fprintf(stderr, "tside: there is no command \"%s\", did you mean \"%s\"?\n", name, closest);
    } else {
        fprintf(stderr, "tside: there is no command \"%s\", see tside --help\n", name);
    }
    return CLI_USAGE;
}

static int run_verb(int argc, char **argv)
{
    char called[64];
    char *name = argv[0];
    for (size_t i = 0; i < VERBS_LEN; i++) {
        if (strcmp(name, verbs[i].name) != 0) {
            continue;
        }
        if (!verbs[i].run) {
            fprintf(stderr, "tside: \"%s\": not yet, see docs/not-yet.md\n", name);
            return CLI_USAGE;
        }
        (void)snprintf(called, sizeof called, "tside %s", name);
        argv[0] = called; /* for argp's messages */
        int code = verbs[i].run(argc, argv);
        argv[0] = name;
        return code;
    }
    return unknown_verb(name);
}

int cli_main(int argc, char **argv)
{
    struct main_args args = {0};
    cli_parse(&main_argp, argc, argv, &args);
    if (args.version) {
        char name[] = "tside version";
        char *version_argv[] = {name, NULL};
        return cli_version(1, version_argv);
    }
    if (strcmp(argv[args.verb], "help") == 0) {
        char name[] = "tside";
        argp_help(&main_argp, stdout, ARGP_HELP_STD_HELP & ~(unsigned)ARGP_HELP_EXIT_OK, name);
        return CLI_OK;
    }
    return run_verb(argc - args.verb, argv + args.verb);
}
