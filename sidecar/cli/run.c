/*
 * sidecar/cli/run.c: tside run.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"
#include "sidecar/server/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static error_t parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key != ARGP_KEY_INIT) {
        return ARGP_ERR_UNKNOWN;
    }
    state->child_inputs[0] = state->input;
    return 0;
}

/* Raises RLIMIT_NOFILE to its hard limit; how many descriptors we may have then. */
static uint64_t raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return UINT64_MAX;
    }
    struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (limit.rlim_cur != limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) < 0) {
        fprintf(stderr, "tside: RLIMIT_NOFILE stays at %llu: %s\n",
                (unsigned long long)limit.rlim_cur, strerror(errno));
        return limit.rlim_cur;
    }
    return limit.rlim_max;
}

static void print_finding(void *arg, const char *finding)
{
    (void)arg;
    fprintf(stderr, "%s\n", finding);
}

int cli_run(int argc, char **argv)
{
    static const struct argp_child children[] = {{.argp = &cli_config_argp}, {0}};
    static const struct argp argp = {.parser = parse,
                                     .doc = "Runs in the foreground; logs on standard error.\v"
                                            "SIGTERM drains, a second one ends at once.",
                                     .children = children};
    struct cli_common common = {0};
    cli_parse(&argp, argc, argv, &common);
    struct bootstrap *bootstrap = cli_bootstrap(&common);
    if (!bootstrap) {
        return CLI_DATA;
    }
    int code = CLI_DATA;
    if (bootstrap_fit(bootstrap, raise_files(), print_finding, NULL)) {
        const struct server_options options = {.bootstrap = bootstrap,
                                               .tick_ms = SERVER_TICK_MS,
                                               .tuple_idle_ms = SERVER_TUPLE_IDLE_MS};
        code = server_run(&options);
    }
    bootstrap_free(bootstrap);
    return code;
}
