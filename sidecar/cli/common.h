/*
 * sidecar/cli/common.h: what verbs have in common: -c, --admin, -o, and errors.
 *
 * A verb adds the argp children it wants and hands over their input:
 *
 *     static const struct argp_child children[] = {{.argp = &cli_config_argp}, {0}};
 *     ... case ARGP_KEY_INIT: state->child_inputs[0] = &args->common;
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_CLI_COMMON_H
#define TSIDE_SIDECAR_CLI_COMMON_H

#include "sidecar/base/bootstrap.h"
#include "sidecar/cli/admin_client.h"

#include <argp.h>
#include <stdbool.h>

#define CLI_OK          0
#define CLI_FAILED      1
#define CLI_USAGE       64
#define CLI_DATA        65
#define CLI_UNAVAILABLE 69
#define CLI_INTERNAL    70
#define CLI_CONFLICT    75
#define CLI_PERMISSION  77

#define CLI_CURSOR_MAX_BYTES 16384 /* of an admin list: a key in hex */

struct cli_common {
    const char *config; /* -c; NULL: CLI_CONFIG_DEFAULT */
    const char *admin;  /* --admin; NULL: as the config has it */
    bool json;          /* -o json */
};

extern const struct argp cli_config_argp; /* -c; input: struct cli_common */
extern const struct argp cli_admin_argp;  /* --admin */
extern const struct argp cli_output_argp; /* -o */

/* argp_parse() that exits with CLI_USAGE on what it cannot parse. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* The bootstrap file, findings on standard error. NULL: there were some. */
struct bootstrap *cli_bootstrap(const struct cli_common *common)
    __attribute__((warn_unused_result));

/* The address of a running tside: --admin, else the config's admin.socket or (with tcp, where it is
 * known) admin.listen. CLI_OK, or the exit code; reported on standard error. */
int cli_admin_address(const struct cli_common *common, bool tcp, struct admin_address *ret)
    __attribute__((warn_unused_result));

/* Appends s, percent-encoded but for unreserved characters, and a NUL; *out moves behind it. Room for
 * three bytes a character is the caller's to see to. */
void cli_add_encoded(char **out, const char *s);

/* The exit code for a failed admin_request(); told on standard error. */
int cli_admin_failed(const struct admin_address *address, int error);

#endif
