/*
 * discovery/etcd/etcd_names.c: see discovery/etcd/etcd_names.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_names.h"

#include "discovery/base/memory.h"
#include "discovery/base/unix_clock.h"

_Static_assert(RESOLVER_TEXT_BYTES == ETCD_ADDRESS_MAX_BYTES, "an answer is taken as it is");

struct name {
    struct etcd_names *names;
    bool is_asked; /* a lookup is under way */
    bool is_answered;
    uint64_t asked_ms;
};

struct etcd_names {
    struct etcd_names_options options;
    struct etcd_endpoints endpoints;
    struct resolver *resolver;
    struct name name[ETCD_ENDPOINTS_MAX]; /* of each source */
    uint64_t lookups;
    uint64_t failures;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct etcd_names *etcd_names_new(const struct etcd_names_options *options)
{
    struct resolver *resolver = resolver_new(options->loop, options->lookup);
    if (resolver == NULL) {
        return NULL;
    }
    struct etcd_names *names = memory_zalloc(sizeof *names);
    names->options = *options;
    names->options.urls = NULL;
    names->resolver = resolver;
    etcd_endpoints_init(&names->endpoints, options->urls, options->urls_n);
    for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        names->name[i].names = names;
    }
    return names;
}

struct etcd_endpoints *etcd_names_endpoints(struct etcd_names *names)
{
    return &names->endpoints;
}

static void on_answer(void *arg, const struct resolver_answer *answer)
{
    struct name *name = arg;
    struct etcd_names *names = name->names;
    name->is_asked = false;
    name->is_answered = true;
    names->failures += answer->n == 0;
    etcd_endpoints_resolved(&names->endpoints, (uint32_t)(name - names->name), answer->address,
                            answer->n);
    names->options.answered(names->options.arg);
}

static void ask(struct etcd_names *names, uint32_t source)
{
    struct name *name = &names->name[source];
    if (names->endpoints.name[source] == NULL || name->is_asked) {
        return;
    }
    name->asked_ms = uv_now(names->options.loop);
    names->lookups++;
    name->is_asked = resolver_ask(names->resolver, names->endpoints.name[source], on_answer, name);
    if (!name->is_asked) {
        name->is_answered = true; /* as badly as can be: the next failure asks again */
        names->failures++;
    }
}

void etcd_names_start(struct etcd_names *names)
{
    for (uint32_t i = 0; i < names->endpoints.sources; i++) {
        ask(names, i);
    }
}

bool etcd_names_is_pending(const struct etcd_names *names)
{
    for (uint32_t i = 0; i < names->endpoints.sources; i++) {
        if (names->endpoints.name[i] != NULL && !names->name[i].is_answered) {
            return true;
        }
    }
    return false;
}

static void note(const struct etcd_names *names, const struct etcd_endpoint *endpoint, bool is_bad,
                 const char *text)
{
    char line[512];
    if (names->options.note == NULL) {
        return;
    }
    bool has_address = endpoint->address[0] != '\0';
    (void)snprintf(line, sizeof line, "etcd %s%s%s: %s", endpoint->url, has_address ? " at " : "",
                   endpoint->address, text);
    names->options.note(names->options.owner, is_bad, line);
}

void etcd_names_ok(struct etcd_names *names, uint32_t number)
{
    struct etcd_endpoint *endpoint = &names->endpoints.endpoint[number];
    if (endpoint->tried && !endpoint->ok) {
        note(names, endpoint, false, "answers again");
    }
    endpoint->tried = true;
    endpoint->ok = true;
}

void etcd_names_failed(struct etcd_names *names, uint32_t number, const char *text)
{
    struct etcd_endpoint *endpoint = &names->endpoints.endpoint[number];
    if (!endpoint->tried || endpoint->ok || strcmp(endpoint->last_error, text) != 0) {
        note(names, endpoint, true, text); /* once per outage, not once per try */
    }
    endpoint->tried = true;
    endpoint->ok = false;
    endpoint->failures++;
    (void)snprintf(endpoint->last_error, sizeof endpoint->last_error, "%s", text);
    endpoint->last_error_unix_ms = unix_ms();
    if (uv_now(names->options.loop) - names->name[endpoint->source].asked_ms >=
        ETCD_LOOKUP_PAUSE_MS) {
        ask(names, endpoint->source);
    }
}

uint64_t etcd_names_lookups(const struct etcd_names *names)
{
    return names->lookups;
}

uint64_t etcd_names_failures(const struct etcd_names *names)
{
    return names->failures;
}

static void on_closed(void *arg)
{
    struct etcd_names *names = arg;
    void (*closed)(void *) = names->closed;
    void *closed_arg = names->closed_arg;
    etcd_endpoints_done(&names->endpoints);
    free(names);
    closed(closed_arg);
}

void etcd_names_close(struct etcd_names *names, void (*closed)(void *arg), void *arg)
{
    names->closed = closed;
    names->closed_arg = arg;
    resolver_close(names->resolver, on_closed, names);
}
