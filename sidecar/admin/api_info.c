/*
 * sidecar/admin/api_info.c: /api/v1/info and POST /api/v1/drain.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/unix_clock.h"
#include "sidecar/admin/api.h"

#include <unistd.h>

static json_t *listeners_json(const struct admin_context *context)
{
    json_t *list = json_array();
    for (size_t i = 0; i < context->listeners_len; i++) {
        const struct admin_listener_info *info = &context->listeners[i];
        (void)json_array_append_new(
            list, json_pack("{s:s,s:s}", "listen", info->configured, "address", info->address));
    }
    return list;
}

static json_t *limits_json(const struct bootstrap *bootstrap)
{
    json_t *limits = json_object();
    api_set(limits, "frame_bytes", api_number(bootstrap->limits.frame_bytes));
    api_set(limits, "connections", api_number(bootstrap->limits.connections));
    api_set(limits, "calls", api_number(bootstrap->limits.calls));
    api_set(limits, "buffered_bytes", api_number(bootstrap->limits.buffered_bytes));
    api_set(limits, "pipelined_calls", api_number(bootstrap->limits.pipelined_calls));
    api_set(limits, "metric_routes", api_number(bootstrap->limits.metric_routes));
    api_set(limits, "tuples", api_number(bootstrap->limits.tuples));
    return limits;
}

void api_info(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    const struct admin_context *context = &admin->context;
    const struct bootstrap *bootstrap = context->bootstrap;
    json_t *info = json_object();
    uint64_t now_ms = unix_ms(), started_ms = context->started_unix_ms;
    api_set(info, "version", json_string(TSIDE_VERSION));
    api_set(info, "pid", json_integer(getpid()));
    api_set(info, "node", json_string(bootstrap->node_name));
    api_set(info, "zone", json_string(bootstrap->node_zone ? bootstrap->node_zone : ""));
    api_set(info, "state", json_string(context->draining(context->owner) ? "draining" : "live"));
    api_set(info, "started", api_number(started_ms));
    api_set(info, "uptime_s",
            json_real(now_ms > started_ms ? (double)(now_ms - started_ms) / 1000 : 0));
    api_set(info, "workers", json_integer(context->workers));
    api_set(info, "listeners", listeners_json(context));
    api_set(info, "admin",
            json_pack("{s:s,s:s}", "listen", admin_address(admin), "socket",
                      bootstrap->admin.socket ? bootstrap->admin.socket : ""));
    api_set(info, "snapshot", api_snapshot_json(admin));
    api_set(info, "limits", limits_json(bootstrap));
    api_json(reply, 200, info);
}

static void drain_now(uv_timer_t *timer)
{
    struct admin *admin = timer->data;
    admin->context.drain(admin->context.owner);
}

/* In the loop's next turn: draining may end in admin_close(), which must not run inside a
 * handler. */
void api_drain(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    uv_timer_start(&admin->drain, drain_now, 0, 0);
    api_json(reply, 202, json_pack("{s:s}", "state", "draining"));
}
