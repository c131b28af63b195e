/*
 * sidecar/cli/healthcheck.c: tside healthcheck, for container and service managers.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS     2000
#define BODY_MAX_BYTES 65536

struct args {
    struct cli_common common;
    bool ready;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *args = state->input;
    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &args->common;
        state->child_inputs[1] = &args->common;
        return 0;
    case 'r':
        args->ready = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_healthcheck(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"ready", 'r', NULL, 0, "asks /readyz instead of /livez", 0}, {0}};
    static const struct argp_child children[] = {
        {.argp = &cli_config_argp}, {.argp = &cli_admin_argp}, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Asks a running tside whether it lives: exit code 0, else 1.",
        .children = children,
    };
    struct args args = {0};
    cli_parse(&argp, argc, argv, &args);
    struct admin_address address;
    int code = cli_admin_address(&args.common, true, &address);
    if (code != CLI_OK) {
        return code;
    }
    struct admin_response response;
    int r = admin_request(&address, "GET", args.ready ? "/readyz" : "/livez", NULL, TIMEOUT_MS,
                          BODY_MAX_BYTES, &response);
    if (r < 0) {
        (void)cli_admin_failed(&address, r); /* a probe has but 0 and 1 */
        return CLI_FAILED;
    }
    bool ok = response.status == 200;
    if (response.len > 0) {
        bool newline = response.body[response.len - 1] == '\n';
        fprintf(ok ? stdout : stderr, "%s%s", response.body, newline ? "" : "\n");
    } else if (!ok) {
        fprintf(stderr, "tside: status %d\n", response.status);
    }
    free(response.body);
    return ok ? CLI_OK : CLI_FAILED;
}
