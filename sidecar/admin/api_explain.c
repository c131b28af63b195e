/*
 * sidecar/admin/api_explain.c: /api/v1/explain?tuple=...&log_id=...
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/key.h"
#include "sidecar/admin/api.h"
#include "sidecar/admin/explain.h"

void api_explain(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    char names[DISC_NAMES * DISC_NAME_MAX_BYTES];
    struct disc_error error;
    size_t len = 0, log_id_len = 0;
    const char *text = http_query(request, "tuple", &len);
    const char *log_id = http_query(request, "log_id", &log_id_len);
    struct explain_input input = {
        .snapshot = api_snapshot(admin),
        .log_id = disc_str_of(log_id, log_id_len),
        .now_ms = api_now_ms(admin),
        .tuples = admin->context.tuples,
    };
    if (!text) {
        api_error(reply, 400, "bad_request", "the argument tuple is missing",
                  "?tuple=From/FromCluster/To/ToCluster/Method");
    } else if (!disc_tuple_parse(text, len, names, &input.tuple, NULL, &error)) {
        api_error(reply, 400, "bad_request", error.reason,
                  "?tuple=From/FromCluster/To/ToCluster/Method, names percent-encoded as in keys");
    } else if (!input.snapshot) {
        api_error(reply, 503, "no_snapshot", "no rules or endpoints yet", "");
    } else {
        api_json(reply, 200, explain_json(&input));
    }
}
