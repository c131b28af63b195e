/*
 * sidecar/admin/access_log.c: one JSON line per finished call (docs/specification.md, section 7).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/admin.h"
#include "sidecar/base/reason.h"
#include "sidecar/base/shadow.h"
#include "sidecar/shared/record.h"

/* Strings that do not fit into a line are cut to so many bytes each: with every byte escaped the
 * line still fits. */
#define SHORT_BYTES 48

static void write_strings(struct log_line *line, const struct record_call *record, int first,
                          int last, uint32_t max)
{
    static const char *const keys[RECORD_STRINGS] = {
        "log_id", "from",     "from_cluster", "to",           "to_cluster",
        "method", "upstream", "cluster",      "rule_traffic", "rule_config",
    };
    const char *p = record->strings;
    for (int i = 0; i < RECORD_STRINGS; i++) {
        uint32_t len = record->len[i];
        bool is_name = i >= RECORD_FROM && i <= RECORD_METHOD;
        if (is_name && len == 0 && i >= first && i <= last) {
            log_str(line, keys[i], "-"); /* unknown */
        } else if (i >= first && i <= last) {
            log_bytes(line, keys[i], p, len < max ? len : max);
        }
        p += len;
    }
}

static void write_shadow(struct log_line *line, uint32_t shadowed)
{
    const char *names[SHADOW_MAX];
    size_t n = 0;
    for (int i = 0; i < SHADOW_MAX; i++) {
        if ((shadowed & shadow_bit((enum shadow)i)) != 0) {
            names[n++] = shadow_str((enum shadow)i);
        }
    }
    log_names(line, "shadow", names, n);
}

static bool write_line(struct log *log, struct log_line *line, const struct record_call *record,
                       uint32_t max)
{
    log_begin_call(log, line, record->ts_unix_us);
    write_strings(line, record, RECORD_LOG_ID, RECORD_METHOD, max);
    log_str(line, "reason", reason_str((enum reason)record->reason));
    write_strings(line, record, RECORD_UPSTREAM, RECORD_CLUSTER, max);
    log_int(line, "attempts", record->attempts);
    log_int(line, "total_us", (int64_t)record->total_us);
    log_int(line, "upstream_us", (int64_t)record->upstream_us);
    log_int(line, "deadline_ms", record->deadline_ms);
    log_int(line, "left_ms", record->left_ms);
    log_int(line, "bytes_in", (int64_t)record->bytes_in);
    log_int(line, "bytes_out", (int64_t)record->bytes_out);
    write_strings(line, record, RECORD_RULE_TRAFFIC, RECORD_RULE_CONFIG, max);
    write_shadow(line, record->shadowed);
    return !line->overflow;
}

void access_log_write(struct log *log, const struct record_call *record)
{
    struct log_line line;
    if (!write_line(log, &line, record, RECORD_STRING_MAX)) {
        (void)write_line(log, &line, record, SHORT_BYTES); /* what still overflows, log_end drops */
    }
    log_end(log, &line);
}
