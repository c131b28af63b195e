/*
 * sidecar/admin/api_health.c: /livez and /readyz.
 *
 * Live means that the workers' loops turn; it never depends on etcd. Ready means listening, with a
 * snapshot (fresh or last good), and not draining. `?verbose` lists the checks.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/api.h"

#include <stdio.h>

#define HEARTBEAT_MAX_MS 5000

struct check {
    const char *name;
    bool ok;
    char problem[96];
};

static void answer(const struct http_request *request, struct http_reply *reply,
                   const char *what_not, const struct check checks[], size_t n)
{
    struct text text = {0};
    bool verbose = http_query(request, "verbose", NULL) != NULL;
    const struct check *failed = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!checks[i].ok && !failed) {
            failed = &checks[i];
        }
        if (verbose) {
            text_printf(&text, "[%c] %s%s%s\n", checks[i].ok ? '+' : '-', checks[i].name,
                        checks[i].ok ? "" : ": ", checks[i].ok ? "" : checks[i].problem);
        }
    }
    if (failed) {
        text_printf(&text, "%s: %s\n", what_not, failed->problem);
    } else {
        text_str(&text, "ok\n");
    }
    api_text(reply, failed ? 503 : 200, &text);
}

void api_livez(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    const struct admin_context *context = &admin->context;
    struct check check = {.name = "workers", .ok = true};
    uint64_t now_ms = api_now_ms(admin);
    for (uint32_t i = 0; i < context->workers && check.ok; i++) {
        uint64_t beat_ms = *context->worker_heartbeat_ms[i];
        uint64_t age_ms = now_ms > beat_ms ? now_ms - beat_ms : 0;
        if (age_ms >= HEARTBEAT_MAX_MS) {
            check.ok = false;
            snprintf(check.problem, sizeof check.problem, "worker %u has not moved for %llu ms", i,
                     (unsigned long long)age_ms);
        }
    }
    answer(request, reply, "not live", &check, 1);
}

void api_readyz(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    const struct admin_context *context = &admin->context;
    const struct check checks[] = {
        {"listening", context->listening(context->owner), "not listening yet"},
        {"snapshot", api_snapshot(admin) != NULL,
         "no rules or endpoints yet, and no last good state"},
        {"not draining", !context->draining(context->owner), "draining"},
    };
    answer(request, reply, "not ready", checks, sizeof checks / sizeof checks[0]);
}
