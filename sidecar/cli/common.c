/*
 * sidecar/cli/common.c: see sidecar/cli/common.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/common.h"

#include "sidecar/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    struct cli_common *common = state->input;
    switch (key) {
    case 'c':
        common->config = arg;
        return 0;
    case 'a':
        common->admin = arg;
        return 0;
    case 'o':
        if (strcmp(arg, "json") != 0 && strcmp(arg, "table") != 0) {
            argp_error(state, "-o takes table or json, not \"%s\"", arg);
        }
        common->json = strcmp(arg, "json") == 0;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option config_options[] = {
    {"config", 'c', "FILE", 0, "the bootstrap file (default " CLI_CONFIG_DEFAULT ")", 0},
    {0},
};
static const struct argp_option admin_options[] = {
    {"admin", 'a', "HOST:PORT|unix:PATH", 0, "where to ask, instead of what the file says", 0},
    {0},
};
static const struct argp_option output_options[] = {
    {"output", 'o', "table|json", 0, "how to print (default table)", 0},
    {0},
};

const struct argp cli_config_argp = {.options = config_options, .parser = parse_common};
const struct argp cli_admin_argp = {.options = admin_options, .parser = parse_common};
const struct argp cli_output_argp = {.options = output_options, .parser = parse_common};

void cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    argp_err_exit_status = CLI_USAGE;
    error_t error = argp_parse(argp, argc, argv, ARGP_IN_ORDER, NULL, input);
    if (error != 0) { /* usage errors have ended the process: out of memory is left */
        fprintf(stderr, "%s: %s\n", argv[0], strerror(error));
        exit(CLI_INTERNAL);
    }
}

static void print_finding(void *arg, const char *finding)
{
    (void)arg;
    fprintf(stderr, "%s\n", finding);
}

struct bootstrap *cli_bootstrap(const struct cli_common *common)
{
    return bootstrap_load(common->config ? common->config : CLI_CONFIG_DEFAULT, print_finding,
                          NULL);
}

static bool from_bootstrap(const struct bootstrap *bootstrap, bool tcp, struct admin_address *ret)
{
    char text[512];
    if (tcp && bootstrap->admin.listen && bootstrap->admin.port != 0) {
        return admin_address_parse(bootstrap->admin.listen, ret);
    }
    if (!bootstrap->admin.socket) {
        return false;
    }
    (void)snprintf(text, sizeof text, "unix:%s", bootstrap->admin.socket);
    return admin_address_parse(text, ret);
}

int cli_admin_address(const struct cli_common *common, bool tcp, struct admin_address *ret)
{
    if (common->admin) {
        if (!admin_address_parse(common->admin, ret)) {
            fprintf(stderr, "tside: --admin takes HOST:PORT or unix:PATH, not \"%s\"\n",
                    common->admin);
            return CLI_USAGE;
        }
        return CLI_OK;
    }
    struct bootstrap *bootstrap = cli_bootstrap(common);
    if (!bootstrap) {
        return CLI_DATA;
    }
    bool found = from_bootstrap(bootstrap, tcp, ret);
    if (!found) {
        fprintf(stderr, "tside: %s switches admin.%s off: say where to ask with --admin\n",
                bootstrap->path, tcp ? "listen and admin.socket" : "socket");
    }
    bootstrap_free(bootstrap);
    return found ? CLI_OK : CLI_UNAVAILABLE;
}

int cli_admin_failed(const struct admin_address *address, int error)
{
    fprintf(stderr, "tside: %s%s%s%s: %s\n", address->is_unix ? "unix:" : "", address->host,
            address->is_unix ? "" : ":", address->port,
            error == -EPROTO ? "this is not tside's admin" : strerror(-error));
    return error == -EACCES || error == -EPERM ? CLI_PERMISSION : CLI_UNAVAILABLE;
}

void cli_add_encoded(char **out, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (strchr(plain, c) != NULL) {
            *(*out)++ = (char)c;
        } else {
            *(*out)++ = '%';
            *(*out)++ = hex[c >> 4];
            *(*out)++ = hex[c & 15];
        }
    }
    **out = '\0';
}
