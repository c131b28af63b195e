/*
 * sidecar/admin/api_etcd.c: /api/v1/etcd: the source of the rules, as it stands.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_io.h"
#include "sidecar/admin/api.h"

#include <inttypes.h>

static json_t *age_json(int64_t age_ms)
{
    return age_ms < 0 ? json_null() : json_real((double)age_ms / 1000);
}

/* As etcdctl shows it: in hex. */
static json_t *cluster_json(uint64_t cluster_id)
{
    return cluster_id ? json_sprintf("%" PRIx64, cluster_id) : json_null();
}

static json_t *endpoint_json(const struct etcd_endpoint *stats, bool is_current)
{
    json_t *endpoint = json_object();
    api_set(endpoint, "url", json_string(stats->url));
    if (stats->address[0]) { /* one of several of the name in url */
        api_set(endpoint, "address", json_string(stats->address));
    }
    api_set(endpoint, "current", json_boolean(is_current));
    api_set(endpoint, "ok", stats->tried ? json_boolean(stats->ok) : json_null());
    api_set(endpoint, "cluster_id", cluster_json(stats->cluster_id));
    api_set(endpoint, "failures", api_number(stats->failures));
    api_set(endpoint, "last_error",
            stats->last_error[0] ? json_string(stats->last_error) : json_null());
    api_set(endpoint, "last_error_at",
            stats->last_error[0] ? api_number(stats->last_error_unix_ms) : json_null());
    return endpoint;
}

static json_t *watch_json(const struct etcd_io_stats *stats)
{
    json_t *watch = json_object();
    api_set(watch, "state", json_string(etcd_state_str(stats->state)));
    api_set(watch, "watching", json_boolean(stats->watching));
    api_set(watch, "cluster_id", cluster_json(stats->cluster_id));
    api_set(watch, "cluster_changes", api_number(stats->machine.cluster_changes));
    api_set(watch, "strangers", api_number(stats->machine.strangers));
    api_set(watch, "revision", json_integer(stats->revision));
    api_set(watch, "last_event_age_s", age_json(stats->event_age_ms));
    api_set(watch, "sync_age_s", age_json(stats->sync_age_ms));
    api_set(watch, "reconnects", api_number(stats->reconnects));
    api_set(watch, "lists", api_number(stats->machine.lists));
    api_set(watch, "audits", api_number(stats->machine.audits));
    api_set(watch, "lookups", api_number(stats->lookups));
    api_set(watch, "lookup_failures", api_number(stats->lookup_failures));
    return watch;
}

static json_t *disk_json(const struct etcd_io_stats *stats)
{
    json_t *disk = json_object();
    api_set(disk, "loaded", json_boolean(stats->loaded));
    api_set(disk, "loaded_keys", api_number(stats->loaded_keys));
    api_set(disk, "written_at",
            stats->written_unix_ms ? api_number(stats->written_unix_ms) : json_null());
    api_set(disk, "writes", api_number(stats->state_writes));
    api_set(disk, "write_failures", api_number(stats->state_failures));
    return disk;
}

/* How many keys are in force that etcd lost without a delete. */
static json_t *held_json(const struct etcd_io_stats *stats)
{
    json_t *held = json_object();
    api_set(held, "rules", api_number(stats->held[DISC_SPACE_RULES]));
    api_set(held, "services", api_number(stats->held[DISC_SPACE_SERVICES]));
    return held;
}

void api_etcd(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    json_t *etcd = json_object();
    json_t *endpoints = json_array();
    api_set(etcd, "configured", json_boolean(admin->context.etcd != NULL));
    if (admin->context.etcd) {
        struct etcd_io_stats stats;
        etcd_io_stats(admin->context.etcd, &stats);
        for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
            if (stats.endpoints[i].url) {
                (void)json_array_append_new(
                    endpoints, endpoint_json(&stats.endpoints[i], i == stats.endpoint));
            }
        }
        api_set(etcd, "watch", watch_json(&stats));
        api_set(etcd, "held", held_json(&stats));
        api_set(etcd, "disk", disk_json(&stats));
    }
    api_set(etcd, "endpoints", endpoints);
    api_set(etcd, "snapshot", api_snapshot_json(admin));
    api_json(reply, 200, etcd);
}
