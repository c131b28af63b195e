/*
 * sidecar/cli/held.c: tside held: what is in force though etcd lost it, and the word that lets it
 * go.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS     5000
#define BODY_MAX_BYTES ((size_t)16 << 20)
#define PAGE           1000 /* keys; as many as the admin gives at once */

struct args {
    struct cli_common common;
    const char *release; /* the key; NULL: list */
    bool has_verb;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct args *args = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        for (int i = 0; i < 3; i++) {
            state->child_inputs[i] = &args->common;
        }
        return 0;
    case ARGP_KEY_ARG:
        if (!args->has_verb && strcmp(arg, "release") == 0) {
            args->has_verb = true;
        } else if (args->has_verb && args->release == NULL) {
            args->release = arg;
        } else {
            argp_usage(state);
        }
        return 0;
    case ARGP_KEY_END:
        if (args->has_verb && args->release == NULL) {
            argp_usage(state);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int refused(const struct admin_response *response)
{
    json_t *json = json_loadb(response->body, response->len, 0, NULL);
    const char *message =
        json_string_value(json_object_get(json_object_get(json, "error"), "message"));
    fprintf(stderr, "tside: answers %d: %s\n", response->status, message != NULL ? message : "");
    json_decref(json);
    return response->status == 404 ? CLI_FAILED : CLI_UNAVAILABLE;
}

/* ---- list --------------------------------------------------------------------------------- */

/* One page behind *cursor, appended to items; *cursor becomes the next one, "" at the end. */
static int fetch(const struct admin_address *address, json_t *items, char *cursor, size_t cap)
{
    struct admin_response response = {0};
    char target[sizeof "/api/v1/held?limit=&cursor=" + 16 + CLI_CURSOR_MAX_BYTES];
    (void)snprintf(target, sizeof target, "/api/v1/held?limit=%d%s%s", PAGE,
                   cursor[0] != '\0' ? "&cursor=" : "", cursor);
    int r = admin_request(address, "GET", target, NULL, TIMEOUT_MS, BODY_MAX_BYTES, &response);
    if (r < 0) {
        return cli_admin_failed(address, r);
    }
    json_t *page = json_loadb(response.body, response.len, 0, NULL);
    if (response.status != 200 || page == NULL) {
        int code = refused(&response);
        json_decref(page);
        free(response.body);
        return code;
    }
    const char *next = json_string_value(json_object_get(page, "next"));
    (void)snprintf(cursor, cap, "%s", next != NULL ? next : "");
    (void)json_array_extend(items, json_object_get(page, "items"));
    json_decref(page);
    free(response.body);
    return CLI_OK;
}

static int list(const struct args *args, const struct admin_address *address)
{
    char cursor[CLI_CURSOR_MAX_BYTES] = "";
    json_t *items = json_array();
    int code = CLI_OK;
    do {
        code = fetch(address, items, cursor, sizeof cursor);
    } while (code == CLI_OK && cursor[0] != '\0');
    if (code == CLI_OK && args->common.json) {
        (void)json_dumpf(items, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (code == CLI_OK) {
        size_t i;
        json_t *item;
        json_array_foreach(items, i, item)
        {
            puts(json_string_value(json_object_get(item, "key")));
        }
    }
    json_decref(items);
    return code;
}

/* ---- release ------------------------------------------------------------------------------ */

static int release(const struct args *args, const struct admin_address *address)
{
    static const char path[] = "/api/v1/held/release?key=";
    struct admin_response response = {0};
    if (!address->is_unix) {
        fprintf(stderr, "tside: only the unix socket takes commands: --admin unix:PATH\n");
        return CLI_USAGE;
    }
    char *target = malloc(sizeof path + 3 * strlen(args->release));
    if (target == NULL) {
        return cli_admin_failed(address, -ENOMEM);
    }
    char *end = stpcpy(target, path);
    cli_add_encoded(&end, args->release);
    int r = admin_request(address, "POST", target, NULL, TIMEOUT_MS, BODY_MAX_BYTES, &response);
    free(target);
    if (r < 0) {
        return cli_admin_failed(address, r);
    }
    int code = response.status == 200 ? CLI_OK : refused(&response);
    free(response.body);
    return code;
}

int cli_held(int argc, char **argv)
{
    static const struct argp_child children[] = {
        {.argp = &cli_config_argp}, {.argp = &cli_admin_argp}, {.argp = &cli_output_argp}, {0}};
    static const struct argp argp = {
        .parser = parse,
        .args_doc = "[release KEY]",
        .doc = "Lists the keys that a running tside keeps in force though etcd lost them without a "
               "delete, or lets one of them go.\v"
               "The exit code is 1 where KEY is not held.",
        .children = children,
    };
    struct args args = {0};
    cli_parse(&argp, argc, argv, &args);
    struct admin_address address;
    int code = cli_admin_address(&args.common, args.release == NULL, &address);
    if (code != CLI_OK) {
        return code;
    }
    return args.release != NULL ? release(&args, &address) : list(&args, &address);
}
