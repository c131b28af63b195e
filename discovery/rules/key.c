/*
 * discovery/rules/key.c: see discovery/rules/key.h.
 *
 * Pure functions of bytes that operators and services write; any byte may stand in a key.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/key.h"

#include "discovery/base/address.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RULE_PARTS    (DISC_NAMES + 1)
#define SERVICE_PARTS 3

__attribute__((format(printf, 2, 3))) static void refuse(struct disc_error *error, const char *fmt,
                                                         ...)
{
    va_list args;
    error->field[0] = '\0';
    va_start(args, fmt);
    (void)vsnprintf(error->reason, sizeof error->reason, fmt, args); /* cut: it is for people */
    va_end(args);
}

/* Cuts at '/'; returns the number of parts, of which at most max are stored. */
static size_t split(const char *key, size_t len, struct disc_str parts[], size_t max)
{
    size_t n = 0;
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && key[i] != '/') {
            continue;
        }
        if (n < max) {
            parts[n] = disc_str_of(key + start, i - start);
        }
        n++;
        start = i + 1;
    }
    return n;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool must_be_encoded(unsigned char c)
{
    return c == '/' || c == '%' || c == '*' || c < 0x20 || c == 0x7f;
}

/* Decodes one name into out (DISC_NAME_MAX_BYTES there). */
static bool decode_name(struct disc_str part, const char *what, char *out, struct disc_str *ret,
                        struct disc_error *error)
{
    size_t n = 0;
    if (part.len == 0 || (part.len == 1 && part.p[0] == '-')) {
        refuse(error, "%s is %s, which stands for an absent name", what,
               part.len == 0 ? "empty" : "\"-\"");
        return false;
    }
    for (uint32_t i = 0; i < part.len; i++) {
        unsigned char c = (unsigned char)part.p[i];
        if (n == DISC_NAME_MAX_BYTES) {
            refuse(error, "%s is longer than %d bytes", what, DISC_NAME_MAX_BYTES);
            return false;
        }
        if (c != '%') {
            if (must_be_encoded(c)) {
                refuse(error, "%s: byte 0x%02x must be written %%%02X", what, c, c);
                return false;
            }
            out[n++] = (char)c;
            continue;
        }
        int high = i + 1 < part.len ? hex_value(part.p[i + 1]) : -1;
        int low = i + 2 < part.len ? hex_value(part.p[i + 2]) : -1;
        if (high < 0 || low < 0) {
            refuse(error, "%s: \"%%\" must be followed by two upper-case hex digits", what);
            return false;
        }
        c = (unsigned char)(high << 4 | low);
        if (!must_be_encoded(c)) {
            refuse(error, "%s: %%%02X must be written as the byte itself", what, c);
            return false;
        }
        out[n++] = (char)c;
        i += 2;
    }
    *ret = disc_str_of(out, n);
    return true;
}

static bool is_star(struct disc_str part)
{
    return part.len == 1 && part.p[0] == '*';
}

/* Names of a rule or of a tuple: "*" sets a bit of *pattern. */
static bool decode_names(const struct disc_str parts[], char *buf, struct disc_tuple *tuple,
                         uint32_t *pattern, struct disc_error *error)
{
    *pattern = 0;
    for (int i = 0; i < DISC_NAMES; i++) {
        if (is_star(parts[i])) {
            *pattern |= DISC_PATTERN_BIT(i);
            tuple->name[i] = disc_str_of(buf, 0);
        } else if (!decode_name(parts[i], disc_name_str((enum disc_name)i), buf, &tuple->name[i],
                                error)) {
            return false;
        }
        buf += DISC_NAME_MAX_BYTES;
    }
    return true;
}

enum disc_key_verdict disc_rule_key_parse(const char *key, size_t len, struct disc_rule_key *ret,
                                          struct disc_error *ret_error)
{
    struct disc_str parts[RULE_PARTS];
    if (memchr(key, '\0', len) != NULL || split(key, len, parts, RULE_PARTS) != RULE_PARTS) {
        return DISC_KEY_FOREIGN;
    }
    const struct disc_str *last = &parts[DISC_NAMES];
    int kind = 0;
    while (kind < DISC_KINDS) {
        const char *name = disc_kind_str((enum disc_kind)kind);
        if (disc_str_eq(*last, disc_str_of(name, strlen(name)))) {
            break;
        }
        kind++;
    }
    if (kind == DISC_KINDS) {
        return DISC_KEY_FOREIGN;
    }
    ret->kind = (enum disc_kind)kind;
    if (!decode_names(parts, ret->buf, &ret->tuple, &ret->pattern, ret_error)) {
        return DISC_KEY_REFUSED;
    }
    return DISC_KEY_OURS;
}

/* A listening address that was registered as it stands leads each caller to its own host, to
 * whatever listens on that port there. */
static bool is_one_host(const struct address *address, struct disc_error *error)
{
    switch (address_reach(address)) {
    case ADDRESS_UNSPECIFIED:
        refuse(error, "%s is no host's address: calls would go to the caller's own host",
               address->host);
        return false;
    case ADDRESS_MULTICAST:
        refuse(error, "%s is a multicast address, no host's", address->host);
        return false;
    case ADDRESS_BROADCAST:
        refuse(error, "%s is the broadcast address, no host's", address->host);
        return false;
    default:
        return true;
    }
}

/* "host:port" with an IP literal; false with *error filled otherwise. */
static bool endpoint_address(struct disc_str text, struct address *ret, struct disc_error *error)
{
    switch (address_parse(text.p, text.len, ret)) {
    case ADDRESS_GOOD:
        break;
    case ADDRESS_BAD_PORT:
        refuse(error, "address must be host:port with a port from 1 to 65535");
        return false;
    case ADDRESS_LONG_HOST:
        refuse(error, "address is longer than any IP address");
        return false;
    case ADDRESS_BAD_BRACKETS:
        refuse(error, "address must hold an IPv6 address in its brackets");
        return false;
    default:
        refuse(error, "address must begin with an IPv4 address or an IPv6 address in brackets");
        return false;
    }
    if (ret->port == 0) {
        refuse(error, "address must be host:port with a port from 1 to 65535");
    } else if (ret->kind == ADDRESS_NAME) {
        refuse(error, "host names: not yet, give an IP address");
    } else {
        return is_one_host(ret, error);
    }
    return false;
}

enum disc_key_verdict disc_service_key_parse(const char *key, size_t len,
                                             struct disc_service_key *ret,
                                             struct disc_error *ret_error)
{
    struct disc_str parts[SERVICE_PARTS];
    struct address address;
    if (memchr(key, '\0', len) != NULL || split(key, len, parts, SERVICE_PARTS) != SERVICE_PARTS) {
        return DISC_KEY_FOREIGN;
    }
    if (is_star(parts[0]) || is_star(parts[1])) {
        refuse(ret_error, "\"*\" cannot stand in a service's key");
        return DISC_KEY_REFUSED;
    }
    if (!decode_name(parts[0], "Service", ret->buf, &ret->service, ret_error) ||
        !decode_name(parts[1], "Cluster", ret->buf + DISC_NAME_MAX_BYTES, &ret->cluster,
                     ret_error) ||
        !endpoint_address(parts[2], &address, ret_error)) {
        return DISC_KEY_REFUSED;
    }
    memcpy(ret->host, address.host, strlen(address.host) + 1); /* an IP literal: 45 bytes at most */
    ret->port = address.port;
    ret->is_loopback = address_reach(&address) == ADDRESS_LOOPBACK;
    memcpy(ret->address, parts[2].p, parts[2].len);
    ret->address[parts[2].len] = '\0';
    return DISC_KEY_OURS;
}

bool disc_tuple_parse(const char *text, size_t len, char *buf, struct disc_tuple *ret,
                      uint32_t *wild, struct disc_error *ret_error)
{
    struct disc_str parts[DISC_NAMES];
    struct disc_tuple tuple;
    uint32_t pattern = 0;
    size_t n = split(text, len, parts, DISC_NAMES);
    if (n == 3) {
        parts[DISC_METHOD] = parts[2];
        parts[DISC_TO] = parts[1];
        parts[DISC_FROM_CLUSTER] = parts[DISC_TO_CLUSTER] = disc_str_of("default", 7);
    } else if (n != DISC_NAMES) {
        refuse(ret_error, "must be From/FromCluster/To/ToCluster/Method or From/To/Method");
        return false;
    }
    for (int i = 0; i < DISC_NAMES; i++, buf += DISC_NAME_MAX_BYTES) {
        if (wild != NULL && is_star(parts[i])) {
            pattern |= DISC_PATTERN_BIT(i);
            tuple.name[i] = disc_str_of(buf, 0);
        } else if (parts[i].len == 1 && parts[i].p[0] == '-') {
            tuple.name[i] = disc_str_of(buf, 0);
        } else if (!decode_name(parts[i], disc_name_str((enum disc_name)i), buf, &tuple.name[i],
                                ret_error)) {
            return false;
        }
    }
    *ret = tuple;
    if (wild != NULL) {
        *wild = pattern;
    }
    return true;
}

size_t disc_rule_key_encode(const struct disc_tuple *tuple, uint32_t pattern, enum disc_kind kind,
                            char *out, size_t cap)
{
    char encoded[DISC_NAME_ENCODED_MAX_BYTES];
    size_t n = 0;
    if (cap == 0) {
        return 0;
    }
    for (int i = 0; i < DISC_NAMES; i++) {
        size_t len = 1;
        if ((pattern & DISC_PATTERN_BIT(i)) != 0) {
            encoded[0] = '*';
        } else {
            len = disc_name_encode(tuple->name[i], encoded, sizeof encoded);
        }
        len = len < sizeof encoded ? len : sizeof encoded;
        for (size_t k = 0; k < len && n + 1 < cap; k++) {
            out[n++] = encoded[k];
        }
        if (n + 1 < cap) {
            out[n++] = '/';
        }
    }
    for (const char *p = disc_kind_str(kind); *p != '\0' && n + 1 < cap; p++) {
        out[n++] = *p;
    }
    out[n] = '\0';
    return n;
}
