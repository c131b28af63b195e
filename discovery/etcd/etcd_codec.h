/*
 * discovery/etcd/etcd_codec.h: etcd's JSON gateway: bodies of requests, replies, messages of a
 * watch.
 *
 * Pure. Understands grpc-gateway v1 (etcd 3.4, 3.5) and v2 (3.6): 64-bit integers as strings or
 * numbers, absent fields as zero, both forms of errors, fields that it does not know ignored. A
 * reply without a header is bad, whatever else it holds: `{}` from something in between must not
 * pass for an empty cluster.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_CODEC_H
#define TSIDE_DISCOVERY_ETCD_ETCD_CODEC_H

#include "discovery/etcd/etcd_ranges.h"

/* gRPC's numbers, as far as decisions hang on them. */
enum etcd_code {
    ETCD_CODE_NONE = 0,
    ETCD_CODE_UNKNOWN = 2,
    ETCD_CODE_INVALID_ARGUMENT = 3,
    ETCD_CODE_PERMISSION_DENIED = 7,
    ETCD_CODE_OUT_OF_RANGE = 11,
    ETCD_CODE_UNAVAILABLE = 14,
    ETCD_CODE_UNAUTHENTICATED = 16
};

struct etcd_error {
    int code; /* 0 where there was none (a text from something in between) */
    char text[200];
};

struct etcd_header {
    uint64_t cluster_id;
    int64_t revision; /* 0 where absent: messages that cancel a watch */
};

struct etcd_kv {
    struct etcd_bytes key; /* NUL-terminated behind len, may hold NULs */
    struct etcd_bytes value;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t lease;
    bool deleted; /* watches only: then only key and mod_revision hold */
};

struct etcd_kvs {
    size_t n;
    struct etcd_kv *kv; /* owned, with the bytes they point to: etcd_kvs_done() */
    char *bytes;
};
void etcd_kvs_done(struct etcd_kvs *kvs);

/* ---- range -------------------------------------------------------------------------------- */

struct etcd_range_query {
    struct etcd_bytes key;
    struct etcd_bytes end; /* length 0: this one key */
    int64_t revision;      /* 0: the newest */
    uint32_t limit;        /* 0: none */
    bool keys_only;
    bool newest_first; /* by mod_revision */
};

/* Allocated, NUL-terminated; the caller's. */
char *etcd_range_body(const struct etcd_range_query *query);

struct etcd_range_reply {
    struct etcd_header header;
    struct etcd_kvs kvs;
    bool more;
    int64_t count; /* keys in the whole range */
};

enum etcd_parsed {
    ETCD_PARSED_OK = 0,
    ETCD_PARSED_ERROR, /* *ret_error holds what etcd said */
    ETCD_PARSED_BAD    /* no such document; *ret_error.text says why */
};

/* *ret is the caller's to etcd_kvs_done() after OK, untouched otherwise. */
enum etcd_parsed etcd_range_parse(const char *text, size_t len, struct etcd_range_reply *ret,
                                  struct etcd_error *ret_error);

/* ---- watch -------------------------------------------------------------------------------- */

/* One body that opens n watches, with watch_id 1..n, from these revisions on. */
char *etcd_watch_body(const struct etcd_range range[], const int64_t start_revision[], uint32_t n);

struct etcd_watch_message {
    struct etcd_header header;
    int64_t watch_id;
    bool created;
    bool canceled;
    bool fragment; /* more of the same revision follows */
    int64_t compact_revision;
    char cancel_reason[200];
    struct etcd_kvs events; /* in etcd's order */
};

/* One line of the stream; ownership as with etcd_range_parse(). */
enum etcd_parsed etcd_watch_parse(const char *text, size_t len, struct etcd_watch_message *ret,
                                  struct etcd_error *ret_error);

#endif
