/*
 * sidecar/cli/version.c: tside version.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <stdio.h>

static error_t parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key != ARGP_KEY_INIT) {
        return ARGP_ERR_UNKNOWN;
    }
    state->child_inputs[0] = state->input;
    return 0;
}

int cli_version(int argc, char **argv)
{
    static const struct argp_child children[] = {{.argp = &cli_output_argp}, {0}};
    static const struct argp argp = {
        .parser = parse, .doc = "Prints the version.", .children = children};
    struct cli_common common = {0};
    cli_parse(&argp, argc, argv, &common);
    puts(common.json ? "{\"version\": \"" TSIDE_VERSION "\"}" : "tside " TSIDE_VERSION);
    return CLI_OK;
}
