/*
 * discovery/base/address.c: see discovery/base/address.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/address.h"

#include <arpa/inet.h>
#include <string.h>

static bool parse_port(const char *text, size_t len, uint16_t *ret)
{
    uint32_t port = 0;
    if (len == 0 || len > 5 || (len > 1 && text[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    *ret = (uint16_t)port;
    return port <= UINT16_MAX;
}

/* Without a letter it is a mistyped address, no name. */
static bool is_name(const char *host)
{
    bool has_letter = false;
    for (const char *p = host; *p != '\0'; p++) {
        bool is_digit = *p >= '0' && *p <= '9';
        bool is_letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
        if (!is_digit && !is_letter && strchr("-._", *p) == NULL) {
            return false;
        }
        has_letter = has_letter || is_letter;
    }
    return has_letter;
}

enum address_fault address_parse_host(const char *text, size_t len, struct address *ret)
{
    struct address address = {.kind = ADDRESS_NAME};
    unsigned char binary[sizeof(struct in6_addr)];
    bool has_brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    size_t host_len = has_brackets ? len - 2 : len;
    if (host_len > ADDRESS_HOST_MAX_BYTES) {
        return ADDRESS_LONG_HOST;
    }
    if (memchr(text, '\0', len) != NULL) {
        return ADDRESS_BAD_HOST;
    }
    memcpy(address.host, text + has_brackets, host_len);
    if (has_brackets) {
        if (inet_pton(AF_INET6, address.host, binary) != 1) {
            return ADDRESS_BAD_BRACKETS;
        }
        address.kind = ADDRESS_V6;
    } else if (inet_pton(AF_INET, address.host, binary) == 1) {
        address.kind = ADDRESS_V4;
    } else if (!is_name(address.host)) {
        return ADDRESS_BAD_HOST;
    }
    *ret = address;
    return ADDRESS_GOOD;
}

enum address_fault address_parse(const char *text, size_t len, struct address *ret)
{
    const char *colon = memrchr(text, ':', len);
    uint16_t port = 0;
    if (colon == NULL || !parse_port(colon + 1, len - (size_t)(colon + 1 - text), &port)) {
        return ADDRESS_BAD_PORT;
    }
    enum address_fault fault = address_parse_host(text, (size_t)(colon - text), ret);
    if (fault == ADDRESS_GOOD) {
        ret->port = port;
    }
    return fault;
}

static enum address_reach reach_v4(uint32_t host_order)
{
    if (host_order == INADDR_ANY) {
        return ADDRESS_UNSPECIFIED;
    }
    if (host_order == INADDR_BROADCAST) {
        return ADDRESS_BROADCAST;
    }
    if (IN_MULTICAST(host_order)) {
        return ADDRESS_MULTICAST;
    }
    return host_order >> 24 == IN_LOOPBACKNET ? ADDRESS_LOOPBACK : ADDRESS_ONE_HOST;
}

static enum address_reach reach_v6(const struct in6_addr *v6)
{
    if (IN6_IS_ADDR_V4MAPPED(v6)) {
        uint32_t v4;
        memcpy(&v4, &v6->s6_addr[12], sizeof v4);
        return reach_v4(ntohl(v4));
    }
    if (IN6_IS_ADDR_UNSPECIFIED(v6)) {
        return ADDRESS_UNSPECIFIED;
    }
    if (IN6_IS_ADDR_MULTICAST(v6)) {
        return ADDRESS_MULTICAST;
    }
    return IN6_IS_ADDR_LOOPBACK(v6) ? ADDRESS_LOOPBACK : ADDRESS_ONE_HOST;
}

enum address_reach address_reach(const struct address *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (address->kind == ADDRESS_V4 && inet_pton(AF_INET, address->host, &v4) == 1) {
        return reach_v4(ntohl(v4.s_addr));
    }
    if (address->kind == ADDRESS_V6 && inet_pton(AF_INET6, address->host, &v6) == 1) {
        return reach_v6(&v6);
    }
    return ADDRESS_ONE_HOST;
}
