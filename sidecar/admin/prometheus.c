/*
 * sidecar/admin/prometheus.c: /metrics in the text format 0.0.4.
 *
 * Bounded: per tuple only tside_calls_total, without the reasons that never occurred; durations per
 * (to, to_cluster), and so calls in shadow. Nothing is kept between two scrapes.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_io.h"
#include "sidecar/admin/api.h"
#include "sidecar/shared/fleet_stats.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* One tuple, or what is left of those that have gone: then only to and to_cluster hold. */
struct row {
    struct disc_tuple names;
    struct tuple_sums sums;
    bool residue;
};

struct rows {
    size_t len, cap;
    struct row *row;
    bool broken;
};

static void rows_add(struct rows *rows, const struct row *row)
{
    if (rows->len == rows->cap && !rows->broken) {
        size_t cap = rows->cap ? rows->cap * 2 : 64;
        struct row *more = realloc(rows->row, cap * sizeof *more);
        rows->broken = !more;
        if (more) {
            rows->row = more;
            rows->cap = cap;
        }
    }
    if (!rows->broken) {
        rows->row[rows->len++] = *row;
    }
}

static bool add_tuple(void *arg, const struct tuple_state *state)
{
    struct row row = {.names = *tuple_state_names(state)};
    tuple_state_sum(state, &row.sums);
    rows_add(arg, &row);
    return true;
}

static void add_residue(void *arg, struct disc_str to, struct disc_str to_cluster,
                        const struct tuple_sums *sums)
{
    struct row row = {.sums = *sums, .residue = true};
    row.names.name[DISC_TO] = to;
    row.names.name[DISC_TO_CLUSTER] = to_cluster;
    rows_add(arg, &row);
}

/* ---- writing --------------------------------------------------------------------------------- */

enum family {
#define FAMILY(id, kind, name, labels, help) FAMILY_##id,
#include "sidecar/base/metric_family.def"
};

static const struct {
    const char *kind, *name, *help;
} families[] = {
#define FAMILY(id, kind, name, labels, help) {kind, name, help},
#include "sidecar/base/metric_family.def"
};

static void head(struct text *out, const char *name, const char *kind, const char *help)
{
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

/* Returns the family's name. */
static const char *family(struct text *out, enum family id)
{
    head(out, families[id].name, families[id].kind, families[id].help);
    return families[id].name;
}

static void single(struct text *out, enum family id, double value)
{
    text_printf(out, "%s %.17g\n", family(out, id), value);
}

/* name="value", as shown to people and then escaped for the format. */
static void label(struct text *out, const char *name, struct disc_str value)
{
    char shown[4 * DISC_NAME_MAX_BYTES + 1];
    text_printf(out, "%s=\"", name);
    if (value.len == 0) {
        value = disc_str_of("-", 1); /* an empty label would mean none; "-" is no name */
    }
    size_t len = disc_name_display(value, shown, sizeof shown);
    for (size_t i = 0; i < len; i++) {
        if (shown[i] == '\\' || shown[i] == '"') {
            text_add(out, "\\", 1);
        }
        text_add(out, &shown[i], 1);
    }
    text_add(out, "\"", 1);
}

static int compare_str(struct disc_str a, struct disc_str b)
{
    uint32_t n = a.len < b.len ? a.len : b.len;
    int c = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* By (to, to_cluster). */
static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int c = compare_str(x->names.name[DISC_TO], y->names.name[DISC_TO]);
    return c ? c : compare_str(x->names.name[DISC_TO_CLUSTER], y->names.name[DISC_TO_CLUSTER]);
}

static void write_calls(struct text *out, const struct rows *rows)
{
    static const char *const names[DISC_NAMES] = {"from", "from_cluster", "to", "to_cluster",
                                                  "method"};
    const char *name = family(out, FAMILY_CALLS);
    for (size_t i = 0; i < rows->len; i++) {
        const struct row *row = &rows->row[i];
        for (int reason = 0; reason < REASON_MAX && !row->residue; reason++) {
            if (row->sums.reason[reason] == 0) {
                continue;
            }
            text_printf(out, "%s{", name);
            for (int n = 0; n < DISC_NAMES; n++) {
                label(out, names[n], row->names.name[n]);
                text_add(out, ",", 1);
            }
            text_printf(out, "reason=\"%s\"} %" PRIu64 "\n", reason_str((enum reason)reason),
                        row->sums.reason[reason]);
        }
    }
}

static void write_histogram(struct text *out, const char *name, const struct row *names,
                            const struct tuple_sums *sums)
{
    uint64_t count = 0;
    for (int b = 0; b < TUPLE_BUCKETS; b++) {
        count += sums->bucket[b];
        text_printf(out, "%s_bucket{", name);
        label(out, "to", names->names.name[DISC_TO]);
        text_add(out, ",", 1);
        label(out, "to_cluster", names->names.name[DISC_TO_CLUSTER]);
        if (b < TUPLE_BUCKETS - 1) {
            text_printf(out, ",le=\"%.9g\"} %" PRIu64 "\n", (double)tuple_bucket_us[b] / 1e6,
                        count);
        } else {
            text_printf(out, ",le=\"+Inf\"} %" PRIu64 "\n", count);
        }
    }
    for (int k = 0; k < 2; k++) {
        text_printf(out, "%s_%s{", name, k ? "count" : "sum");
        label(out, "to", names->names.name[DISC_TO]);
        text_add(out, ",", 1);
        label(out, "to_cluster", names->names.name[DISC_TO_CLUSTER]);
        text_printf(out, "} %.17g\n", k ? (double)count : (double)sums->sum_us / 1e6);
    }
}

/* Of the rows from first on, sorted, that have its (to, to_cluster); returns how many they are. */
static size_t sum_pair(const struct rows *rows, size_t first, struct tuple_sums *ret)
{
    size_t i = first;
    memset(ret, 0, sizeof *ret);
    for (; i < rows->len && compare_rows(&rows->row[first], &rows->row[i]) == 0; i++) {
        const struct tuple_sums *sums = &rows->row[i].sums;
        for (int b = 0; b < TUPLE_BUCKETS; b++) {
            ret->bucket[b] += sums->bucket[b];
        }
        for (int s = 0; s < SHADOW_MAX; s++) {
            ret->shadowed[s] += sums->shadowed[s];
        }
        ret->sum_us += sums->sum_us;
    }
    return i - first;
}

static void write_durations(struct text *out, const struct rows *rows)
{
    const char *name = family(out, FAMILY_CALL_DURATION_SECONDS);
    struct tuple_sums sum;
    for (size_t i = 0, n; i < rows->len; i += n) {
        n = sum_pair(rows, i, &sum);
        write_histogram(out, name, &rows->row[i], &sum);
    }
}

static void write_shadow(struct text *out, const struct rows *rows)
{
    const char *name = family(out, FAMILY_SHADOW);
    struct tuple_sums sum;
    for (size_t i = 0, n; i < rows->len; i += n) {
        n = sum_pair(rows, i, &sum);
        for (int s = 0; s < SHADOW_MAX; s++) {
            if (sum.shadowed[s] > 0) {
                text_printf(out, "%s{", name);
                label(out, "to", rows->row[i].names.name[DISC_TO]);
                text_add(out, ",", 1);
                label(out, "to_cluster", rows->row[i].names.name[DISC_TO_CLUSTER]);
                text_printf(out, ",stage=\"%s\"} %" PRIu64 "\n", shadow_str((enum shadow)s),
                            sum.shadowed[s]);
            }
        }
    }
}

static void write_counters(struct text *out, const struct admin *admin)
{
    const char *before = "";
    for (int m = 0; m < METRIC_MAX; m++) {
        const struct metric_row *row = api_metric_row((enum metric)m);
        if (strcmp(before, row->name) != 0) {
            head(out, row->name, row->kind, row->help);
        }
        before = row->name;
        const char *open = row->labels[0] ? "{" : "", *close = row->labels[0] ? "}" : "";
        text_printf(out, "%s%s%s%s %" PRIu64 "\n", row->name, open, row->labels, close,
                    api_metric(admin, (enum metric)m));
    }
}

static const char *kind_str(int space)
{
    return space == DISC_SPACE_RULES ? "rules" : "services";
}

static void write_rules(struct text *out, const struct admin *admin)
{
    struct disc_store_stats stats;
    disc_store_stats(admin->context.store, &stats);
    const char *name = family(out, FAMILY_KEYS);
    for (int layer = 0; layer < DISC_LAYERS; layer++) {
        for (int space = 0; space < DISC_SPACES; space++) {
            text_printf(out, "%s{source=\"%s\",kind=\"%s\"} %" PRIu64 "\n", name,
                        disc_layer_str((enum disc_layer)layer), kind_str(space),
                        stats.keys[layer][space]);
        }
    }
    single(out, FAMILY_RULES_REJECTED, (double)stats.rejected);
    single(out, FAMILY_RULES_REJECTIONS, (double)stats.rejections_total);
    single(out, FAMILY_KEYS_FOREIGN, (double)stats.foreign);
    single(out, FAMILY_VIEWS_BUILT, (double)stats.views_built_total);
    single(out, FAMILY_SNAPSHOTS, (double)stats.snapshots_total);
    const struct disc_snapshot *snapshot = api_snapshot(admin);
    single(out, FAMILY_CONFIG_REVISION, snapshot ? (double)disc_snapshot_revision(snapshot) : 0);
    name = family(out, FAMILY_CONFIG_SOURCE);
    for (int o = 0; o <= DISC_ORIGIN_ETCD; o++) {
        text_printf(out, "%s{source=\"%s\"} %d\n", name, api_origin_str((enum disc_origin)o),
                    snapshot && (int)disc_snapshot_origin(snapshot) == o);
    }
}

static void write_fleet(struct text *out, const struct admin *admin)
{
    const struct fleet_stats *fleet = admin->context.fleet;
    if (fleet) {
        single(out, FAMILY_FLEET_TUPLES, (double)fleet->tuples);
        single(out, FAMILY_FLEET_EXCHANGES, (double)fleet->exchanges);
        single(out, FAMILY_FLEET_FAILURES, (double)fleet->failures);
        single(out, FAMILY_FLEET_TOLD, (double)fleet->told);
        single(out, FAMILY_FLEET_CROWDED, (double)fleet->crowded);
        single(out, FAMILY_FLEET_OVERFLOW, (double)fleet->overflow);
    }
}

static void write_etcd(struct text *out, const struct admin *admin)
{
    if (!admin->context.etcd) {
        return;
    }
    struct etcd_io_stats stats;
    struct disc_store_stats keys;
    etcd_io_stats(admin->context.etcd, &stats);
    disc_store_stats(admin->context.store, &keys);
    single(out, FAMILY_ETCD_WATCHING, stats.watching);
    single(out, FAMILY_ETCD_REVISION, (double)stats.revision);
    if (stats.sync_age_ms >= 0) {
        single(out, FAMILY_ETCD_SYNC_AGE_SECONDS, (double)stats.sync_age_ms / 1000);
    }
    single(out, FAMILY_ETCD_RECONNECTS, (double)stats.reconnects);
    single(out, FAMILY_ETCD_EVENTS, (double)stats.machine.events);
    single(out, FAMILY_ETCD_LISTS, (double)stats.machine.lists);
    single(out, FAMILY_ETCD_EMPTY_LISTS, (double)stats.machine.empty_lists);
    single(out, FAMILY_ETCD_STRANGERS, (double)stats.machine.strangers);
    single(out, FAMILY_ETCD_CLUSTER_CHANGES, (double)stats.machine.cluster_changes);
    single(out, FAMILY_ETCD_LOOKUP_FAILURES, (double)stats.lookup_failures);
    single(out, FAMILY_ETCD_LOOPBACK_ENDPOINTS, (double)keys.loopback);
    const char *name = family(out, FAMILY_ETCD_HELD_KEYS);
    for (int space = 0; space < DISC_SPACES; space++) {
        text_printf(out, "%s{kind=\"%s\"} %" PRIu64 "\n", name, kind_str(space), stats.held[space]);
    }
    single(out, FAMILY_STATE_WRITES, (double)stats.state_writes);
    single(out, FAMILY_STATE_WRITE_FAILURES, (double)stats.state_failures);
    name = family(out, FAMILY_ETCD_ENDPOINT_UP);
    for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        const struct etcd_endpoint *endpoint = &stats.endpoints[i];
        if (endpoint->url) {
            text_printf(out, "%s{", name);
            label(out, "endpoint", disc_str_of_z(endpoint->url));
            if (endpoint->address[0]) {
                text_printf(out, ",");
                label(out, "address", disc_str_of_z(endpoint->address));
            }
            text_printf(out, "} %d\n", endpoint->ok);
        }
    }
}

/* ---- the process ----------------------------------------------------------------------------- */

static unsigned open_fds(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) {
        n++;
    }
    if (dir) {
        closedir(dir);
    }
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

static void write_memory(struct text *out)
{
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%llu %llu", &size, &resident) != 2) {
            size = resident = 0;
        }
        fclose(file);
    }
    double page = (double)sysconf(_SC_PAGESIZE);
    single(out, FAMILY_PROCESS_VIRTUAL_MEMORY_BYTES, (double)size * page);
    single(out, FAMILY_PROCESS_RESIDENT_MEMORY_BYTES, (double)resident * page);
}

static double seconds(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static void write_process(struct text *out, const struct admin *admin)
{
    struct rusage usage = {0};
    struct rlimit limit = {0};
    (void)getrusage(RUSAGE_SELF, &usage);   /* it cannot fail: zeros else */
    (void)getrlimit(RLIMIT_NOFILE, &limit); /* likewise */
    text_printf(out, "%s{version=\"%s\"} 1\n", family(out, FAMILY_BUILD_INFO), TSIDE_VERSION);
    single(out, FAMILY_WORKERS, (double)admin->context.workers);
    single(out, FAMILY_DRAINING, admin->context.draining(admin->context.owner) ? 1 : 0);
    single(out, FAMILY_LOG_LINES_DROPPED, (double)log_dropped(admin->context.log));
    single(out, FAMILY_PROCESS_START_TIME_SECONDS, (double)admin->context.started_unix_ms / 1000);
    single(out, FAMILY_PROCESS_CPU_SECONDS, seconds(usage.ru_utime) + seconds(usage.ru_stime));
    write_memory(out);
    single(out, FAMILY_PROCESS_OPEN_FDS, (double)open_fds());
    single(out, FAMILY_PROCESS_MAX_FDS, (double)limit.rlim_cur);
}

void api_metrics(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    struct text out = {0};
    struct rows rows = {0};
    tuple_table_each(admin->context.tuples, add_tuple, &rows);
    tuple_table_each_residue(admin->context.tuples, add_residue, &rows);
    write_process(&out, admin);
    write_counters(&out, admin);
    write_rules(&out, admin);
    write_etcd(&out, admin);
    write_fleet(&out, admin);
    single(&out, FAMILY_TUPLES, (double)tuple_table_count(admin->context.tuples));
    single(&out, FAMILY_TUPLES_OVERFLOW, (double)tuple_table_overflow_total(admin->context.tuples));
    write_calls(&out, &rows);
    if (rows.len > 0) {
        qsort(rows.row, rows.len, sizeof *rows.row, compare_rows);
    }
    write_durations(&out, &rows);
    write_shadow(&out, &rows);
    out.broken = out.broken || rows.broken;
    free(rows.row);
    api_text(reply, 200, &out);
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
}
