/*
 * sidecar/cli/drain.c: tside drain, the admin's way to SIGTERM.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS     5000
#define BODY_MAX_BYTES 65536
#define POLL_MS        100
#define WAIT_MAX_S     86400

struct args {
    struct cli_common common;
    long wait_s; /* -1: do not wait */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *args = state->input;
    char *end;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &args->common;
        state->child_inputs[1] = &args->common;
        return 0;
    case 'w':
        args->wait_s = strtol(arg, &end, 10);
        if (*arg == '\0' || *end != '\0' || args->wait_s < 0 || args->wait_s > WAIT_MAX_S) {
            argp_error(state, "--wait takes 0..%d seconds, not \"%s\"", WAIT_MAX_S, arg);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A handle on the process; -1 where it cannot be had. What tside holds for its pid is no help: it
 * may be that of another pid namespace, a container's. */
static int open_process(const struct admin_address *address)
{
    pid_t pid = admin_peer(address, TIMEOUT_MS);
    return pid > 0 ? pidfd_open(pid, 0) : -1;
}

/* Waits POLL_MS at most. Without a process handle: whether the socket is gone. */
static bool is_gone(const struct admin_address *address, int process)
{
    struct pollfd poll_fd = {.fd = process, .events = POLLIN}; /* poll passes over -1 */
    if (poll(&poll_fd, 1, POLL_MS) > 0) {
        return true;
    }
    if (process >= 0) {
        return false;
    }
    struct admin_response response;
    int r = admin_request(address, "GET", "/livez", NULL, TIMEOUT_MS, BODY_MAX_BYTES, &response);
    if (r == 0) {
        free(response.body);
    }
    return r == -ENOENT || r == -ECONNREFUSED;
}

static int wait_until_gone(const struct admin_address *address, int process, long wait_s)
{
    struct timespec now, end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end); /* cannot fail with this clock */
    end.tv_sec += wait_s;
    do {
        if (is_gone(address, process)) {
            return CLI_OK;
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
    fprintf(stderr, "tside: still running after %ld s\n", wait_s);
    return CLI_FAILED;
}

static int drain(const struct admin_address *address)
{
    struct admin_response response;
    int r = admin_request(address, "POST", "/api/v1/drain", NULL, TIMEOUT_MS, BODY_MAX_BYTES,
                          &response);
    if (r < 0) {
        return cli_admin_failed(address, r);
    }
    bool ok = response.status >= 200 && response.status < 300;
    if (!ok) {
        fprintf(stderr, "tside: refused with status %d: %s\n", response.status, response.body);
    }
    free(response.body);
    return ok ? CLI_OK : CLI_UNAVAILABLE;
}

int cli_drain(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"wait", 'w', "S", 0, "waits until the process is gone, at most S seconds", 0}, {0}};
    static const struct argp_child children[] = {
        {.argp = &cli_config_argp}, {.argp = &cli_admin_argp}, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Lets a running tside finish its calls and end.\v"
               "With --wait the exit code is 1 where it still runs after S seconds.",
        .children = children,
    };
    struct args args = {.wait_s = -1};
    cli_parse(&argp, argc, argv, &args);
    struct admin_address address;
    int code = cli_admin_address(&args.common, false, &address);
    if (code != CLI_OK) {
        return code;
    }
    if (!address.is_unix) {
        fprintf(stderr, "tside: only the unix socket takes commands: --admin unix:PATH\n");
        return CLI_USAGE;
    }
    int process = args.wait_s >= 0 ? open_process(&address) : -1;
    code = drain(&address);
    if (code == CLI_OK && args.wait_s >= 0) {
        code = wait_until_gone(&address, process, args.wait_s);
    }
    if (process >= 0) {
        close(process);
    }
    return code;
}
