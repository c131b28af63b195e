/*
 * discovery/base/address.h: "host:port" taken apart: the one parser of it.
 *
 * For endpoints, listeners, URLs of etcd and the admin's address. Nothing is looked up; names stay
 * names. What a kind of address is good for is the caller's to say.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_ADDRESS_H
#define TSIDE_DISCOVERY_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_HOST_MAX_BYTES 253 /* a DNS name */

enum address_kind {
    ADDRESS_NAME = 0, /* letters, digits, '.', '-' and '_', one letter at least */
    ADDRESS_V4,
    ADDRESS_V6
};

struct address {
    enum address_kind kind;
    uint16_t port;
    char host[ADDRESS_HOST_MAX_BYTES + 1]; /* without brackets */
};

enum address_fault {
    ADDRESS_GOOD = 0,
    ADDRESS_BAD_PORT, /* no ':', or what follows the last one is no number 0..65535 */
    ADDRESS_LONG_HOST,
    ADDRESS_BAD_BRACKETS, /* no IPv6 address between them */
    ADDRESS_BAD_HOST      /* neither address nor name; an IPv6 address without brackets */
};

/* text needs no NUL behind and may hold any byte. A port is written without zeros in front; port 0
 * is good here. *ret is written where the answer is GOOD. */
enum address_fault address_parse(const char *text, size_t len, struct address *ret);

/* The host alone; an IPv6 address in brackets. ret->port is 0. */
enum address_fault address_parse_host(const char *text, size_t len, struct address *ret);

/* Where packets to an address go. A name: ONE_HOST. An IPv4 address that IPv6 maps (::ffff:0.0.0.0)
 * goes where the IPv4 one goes. */
enum address_reach {
    ADDRESS_ONE_HOST = 0,
    ADDRESS_LOOPBACK,
    ADDRESS_UNSPECIFIED, /* 0.0.0.0 and ::, which connect() takes for this host */
    ADDRESS_MULTICAST,
    ADDRESS_BROADCAST
};
enum address_reach address_reach(const struct address *address);

#endif
