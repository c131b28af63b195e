/*
 * sidecar/shared/record.h: what workers hand to the control thread through their rings.
 *
 * Plain bytes: a fixed head, then the strings one behind the other in the order of their lengths.
 * Formatting is the control thread's work (admin/access_log.c, log.c).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_RECORD_H
#define TSIDE_SIDECAR_SHARED_RECORD_H

#include <stdint.h>

enum record_type {
    RECORD_CALL = 1, /* struct record_call */
    RECORD_LOG       /* struct record_log */
};

enum record_call_string {
    RECORD_LOG_ID = 0, /* cut at RECORD_STRING_MAX like all of them */
    RECORD_FROM,
    RECORD_FROM_CLUSTER,
    RECORD_TO,
    RECORD_TO_CLUSTER,
    RECORD_METHOD,
    RECORD_UPSTREAM,     /* address of the last attempt, "" where none */
    RECORD_CLUSTER,      /* the cluster chosen */
    RECORD_RULE_TRAFFIC, /* whole keys */
    RECORD_RULE_CONFIG,
    RECORD_STRINGS
};

#define RECORD_STRING_MAX 1024

/* One finished call (the access log's line). */
struct record_call {
    uint32_t type;
    uint32_t reason;
    uint64_t ts_unix_us;
    uint64_t total_us;
    uint64_t upstream_us; /* of the last attempt; 0 where none */
    int64_t deadline_ms;  /* the call's budget when it came */
    int64_t left_ms;      /* of it at the end; negative: passed */
    uint64_t bytes_in;    /* the request's frame */
    uint64_t bytes_out;   /* the reply's frame; 0 where none */
    uint32_t attempts;
    uint32_t shadowed; /* shadow_bit() of each stage that would have refused it */
    uint16_t len[RECORD_STRINGS];
    char strings[];
};

/* A worker's own log line. */
struct record_log {
    uint32_t type;
    uint32_t level; /* enum log_level */
    char event[48]; /* stable id, NUL-terminated */
    char component[16];
    uint32_t len;
    char message[];
};

#endif
