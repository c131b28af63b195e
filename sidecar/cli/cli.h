/*
 * sidecar/cli/cli.h: the verbs of the command line, one file each.
 *
 * Every verb takes its own arguments (argv[0] is the verb) and returns the exit code: 0; 1 an
 * expectation failed; 64 usage; 65 bad data; 69 unreachable; 75 conflict; 77 permission.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_CLI_CLI_H
#define TSIDE_SIDECAR_CLI_CLI_H

#define CLI_CONFIG_DEFAULT "/etc/tside/tside.yaml"

int cli_run(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_explain(int argc, char **argv);
int cli_healthcheck(int argc, char **argv);
int cli_drain(int argc, char **argv);
int cli_held(int argc, char **argv);
int cli_roles(int argc, char **argv);
int cli_version(int argc, char **argv);
int cli_docs(int argc, char **argv); /* tables of the manual; not shown by --help */

/* The program: argv[0] is its name. Picks the verb, suggests one where it is misspelt. */
int cli_main(int argc, char **argv);

#endif
