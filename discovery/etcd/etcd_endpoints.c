/*
 * discovery/etcd/etcd_endpoints.c: see discovery/etcd/etcd_endpoints.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_endpoints.h"

#include <assert.h>

#include "discovery/base/address.h"
#include "discovery/base/memory.h"
#include "discovery/etcd/etcd_ranges.h"

/* The host of "scheme://host:port" where it is a name, owned; else NULL. */
static char *name_of(const char *url)
{
    struct address address;
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    if (address_parse(host, strlen(host), &address) != ADDRESS_GOOD ||
        address.kind != ADDRESS_NAME) {
        return NULL;
    }
    return memory_text(address.host, strlen(address.host));
}

static struct etcd_endpoint *add(struct etcd_endpoints *endpoints, uint32_t source,
                                 const char *address)
{
    for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        struct etcd_endpoint *endpoint = &endpoints->endpoint[endpoints->next];
        endpoints->next = (endpoints->next + 1) % ETCD_ENDPOINTS_MAX;
        if (endpoint->url == NULL) {
            *endpoint = (struct etcd_endpoint){
                .url = endpoints->url[source], .source = source, .is_listed = true};
            (void)snprintf(endpoint->address, sizeof endpoint->address, "%s", address);
            return endpoint;
        }
    }
    endpoints->left_out++;
    return NULL;
}

void etcd_endpoints_init(struct etcd_endpoints *endpoints, const char *const urls[], uint32_t n)
{
    assert(n > 0 && n <= ETCD_ENDPOINTS_MAX);
    *endpoints = (struct etcd_endpoints){.sources = n};
    for (uint32_t i = 0; i < n; i++) {
        endpoints->url[i] = memory_text(urls[i], etcd_prefix_len(urls[i]));
        endpoints->name[i] = name_of(endpoints->url[i]);
        (void)add(endpoints, i, ""); /* there is room for every URL */
    }
}

void etcd_endpoints_done(struct etcd_endpoints *endpoints)
{
    for (uint32_t i = 0; i < endpoints->sources; i++) {
        free(endpoints->url[i]);
        free(endpoints->name[i]);
    }
    *endpoints = (struct etcd_endpoints){0};
}

static struct etcd_endpoint *find(struct etcd_endpoints *endpoints, uint32_t source,
                                  const char *address)
{
    for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        struct etcd_endpoint *endpoint = &endpoints->endpoint[i];
        if (endpoint->url != NULL && endpoint->source == source &&
            strcmp(endpoint->address, address) == 0) {
            return endpoint;
        }
    }
    return NULL;
}

void etcd_endpoints_resolved(struct etcd_endpoints *endpoints, uint32_t source,
                             const char (*address)[ETCD_ADDRESS_MAX_BYTES], size_t n)
{
    if (n == 0) {
        return;
    }
    for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        if (endpoints->endpoint[i].source == source) {
            endpoints->endpoint[i].is_listed = false;
        }
    }
    /* What is gone makes room first. */
    for (size_t i = 0; i < n; i++) {
        struct etcd_endpoint *known = find(endpoints, source, address[i]);
        if (known != NULL) {
            known->is_listed = true;
        }
    }
    etcd_endpoints_prune(endpoints);
    for (size_t i = 0; i < n; i++) {
        if (find(endpoints, source, address[i]) == NULL) {
            (void)add(endpoints, source, address[i]); /* else counted */
        }
    }
}

void etcd_endpoints_prune(struct etcd_endpoints *endpoints)
{
    for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        struct etcd_endpoint *endpoint = &endpoints->endpoint[i];
        if (endpoint->url != NULL && !endpoint->is_listed && !endpoint->ok) {
            *endpoint = (struct etcd_endpoint){0};
        }
    }
}

uint32_t etcd_endpoints_numbers(const struct etcd_endpoints *endpoints,
                                uint32_t ret[ETCD_ENDPOINTS_MAX])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        if (endpoints->endpoint[i].url != NULL) {
            ret[n++] = i;
        }
    }
    return n;
}
