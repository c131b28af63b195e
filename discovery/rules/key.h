/*
 * discovery/rules/key.h: keys behind their prefix: rules and services, parsed and written.
 *
 *     rules     <From>/<FromCluster>/<To>/<ToCluster>/<Method>/{traffic|degrade|config}
 *     services  <Service>/<Cluster>/<host:port>
 *
 * One name has one spelling: '/', '%', '*' and control bytes, and only these, as %HH in upper case.
 * Any other spelling is refused and listed, so that a key is its tuple and two keys never mean the
 * same. A key that has not this shape is not ours: counted, left alone.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_RULES_KEY_H
#define TSIDE_DISCOVERY_RULES_KEY_H

#include "discovery/rules/rule.h"

/* Bit i of a pattern: name i (enum disc_name) is "*". */
#define DISC_PATTERN_BIT(name) (1u << (DISC_METHOD - (name)))
#define DISC_PATTERNS          32 /* 0: all five named ... 31: all "*", in order of precedence */

enum disc_key_verdict {
    DISC_KEY_OURS = 0,
    DISC_KEY_FOREIGN, /* another number of parts or another last part, or a NUL byte */
    DISC_KEY_REFUSED, /* our shape, but a part of it is not acceptable: *ret_error says why */
    DISC_KEY_VERDICT_MAX
};

struct disc_rule_key {
    enum disc_kind kind;
    uint32_t pattern;        /* DISC_PATTERN_BIT(name) is set where the name is "*" */
    struct disc_tuple tuple; /* decoded, in buf; length 0 under "*" */
    char buf[DISC_NAMES * DISC_NAME_MAX_BYTES];
};

struct disc_service_key {
    struct disc_str service; /* decoded, in buf */
    struct disc_str cluster;
    char address[64]; /* "10.0.0.1:8888", "[::1]:8888" */
    char host[48];    /* without brackets */
    uint16_t port;    /* 1..65535 */
    bool is_loopback; /* of use to callers on that host alone */
    char buf[2 * DISC_NAME_MAX_BYTES];
};

/* *ret is complete where the answer is OURS only; it holds pointers into itself: do not copy it. */
enum disc_key_verdict disc_rule_key_parse(const char *key, size_t len, struct disc_rule_key *ret,
                                          struct disc_error *ret_error);
enum disc_key_verdict disc_service_key_parse(const char *key, size_t len,
                                             struct disc_service_key *ret,
                                             struct disc_error *ret_error);

/*
 * A tuple as commands take it: "From/FromCluster/To/ToCluster/Method", or "From/To/Method" for
 * cluster `default`; names as in keys, "-" for one that is unknown, "*" where wild is not NULL
 * (then the pattern's bits are set). False with *ret_error filled where it does not parse. The
 * names are in buf (DISC_NAMES * DISC_NAME_MAX_BYTES bytes).
 */
bool disc_tuple_parse(const char *text, size_t len, char *buf, struct disc_tuple *ret,
                      uint32_t *wild, struct disc_error *ret_error);

/* Writes the key behind the prefix, NUL-terminated within cap (cut where it does not fit;
 * DISC_TUPLE_ENCODED_MAX_BYTES + 16 always fits). Returns the length written. */
size_t disc_rule_key_encode(const struct disc_tuple *tuple, uint32_t pattern, enum disc_kind kind,
                            char *out, size_t cap);

#endif
