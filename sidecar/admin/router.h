/*
 * sidecar/admin/router.h: which requests the TCP door answers.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_ADMIN_ROUTER_H
#define TSIDE_SIDECAR_ADMIN_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether a Host header is an IP address, "localhost" or one of hosts, each with or without a port.
 * Anything else may be a page that a browser was lured to by a name of the attacker's (DNS
 * rebinding). NULL, no header, is refused too.
 */
bool router_host_allowed(const char *host, char *const hosts[], size_t hosts_len)
    __attribute__((warn_unused_result));

#endif
