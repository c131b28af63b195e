/*
 * discovery/resolver.c: see discovery/resolver.h.
 *
 *     loop: lookup ------ list of the resolver ------ done: answered, unlinked
 *                \
 *     thread:     lookup_fn(host) -> answer -> uv_async_send, unless abandoned
 *
 * The block of a lookup is shared by the loop and its thread; the last one frees it. The mutex in
 * it keeps the thread from waking a resolver that is being closed.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>

#include "discovery/base/memory.h"
#include "discovery/base/refcount.h"

#define STACK_BYTES ((size_t)256 * 1024)

struct lookup {
    struct refcount refs; /* the loop's and the thread's */
    pthread_mutex_t lock; /* of the next three */
    uv_async_t *wake;     /* NULL: abandoned */
    bool is_done;
    struct resolver_answer answer; /* the loop's once is_done */
    resolver_lookup_fn fn;
    resolver_done_fn done; /* these are the loop's */
    void *arg;
    struct lookup *next;
    char host[];
};

struct resolver {
    uv_async_t wake;
    resolver_lookup_fn fn;
    struct lookup *lookups;
    unsigned lookups_n;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- the thread ---------------------------------------------------------------------------- */

static bool has(const struct resolver_answer *answer, const char *text)
{
    for (size_t i = 0; i < answer->n; i++) {
        if (strcmp(answer->address[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static void add(struct resolver_answer *answer, const struct sockaddr *any)
{
    char host[INET6_ADDRSTRLEN] = "";
    char text[RESOLVER_TEXT_BYTES];
    bool is_v6 = any->sa_family == AF_INET6;
    const void *binary = is_v6 ? (const void *)&((const struct sockaddr_in6 *)any)->sin6_addr
                               : (const void *)&((const struct sockaddr_in *)any)->sin_addr;
    if (inet_ntop(any->sa_family, binary, host, sizeof host) == NULL) {
        return;
    }
    snprintf(text, sizeof text, is_v6 ? "[%s]" : "%s", host);
    if (answer->n < RESOLVER_ADDRESSES_MAX && !has(answer, text)) {
        memcpy(answer->address[answer->n++], text, sizeof text);
    }
}

static void ask_libc(const char *host, struct resolver_answer *ret)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    ret->n = 0;
    if (getaddrinfo(host, NULL, &hints, &found) != 0) {
        return; /* why does not matter: what was known stays */
    }
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        if (at->ai_family == AF_INET || at->ai_family == AF_INET6) {
            add(ret, at->ai_addr);
        }
    }
    freeaddrinfo(found);
}

static void lookup_free(struct lookup *lookup)
{
    (void)pthread_mutex_destroy(&lookup->lock); /* it is not locked any more */
    free(lookup);
}

static void lookup_unref(struct lookup *lookup)
{
    if (refcount_unref(&lookup->refs)) {
        lookup_free(lookup);
    }
}

static void *run(void *arg)
{
    struct lookup *lookup = arg;
    lookup->fn(lookup->host, &lookup->answer);
    (void)pthread_mutex_lock(&lookup->lock); /* cannot fail: neither can the unlock */
    lookup->is_done = true;
    if (lookup->wake != NULL) {
        (void)uv_async_send(lookup->wake); /* always 0 */
    }
    (void)pthread_mutex_unlock(&lookup->lock);
    lookup_unref(lookup);
    return NULL;
}

/* ---- the loop ------------------------------------------------------------------------------ */

static bool is_done(struct lookup *lookup)
{
    (void)pthread_mutex_lock(&lookup->lock);
    bool done = lookup->is_done;
    (void)pthread_mutex_unlock(&lookup->lock);
    return done;
}

/* The first lookup that is done, unlinked; NULL: none. */
static struct lookup *take_done(struct resolver *resolver)
{
    for (struct lookup **at = &resolver->lookups; *at != NULL; at = &(*at)->next) {
        struct lookup *lookup = *at;
        if (is_done(lookup)) {
            *at = lookup->next;
            resolver->lookups_n--;
            return lookup;
        }
    }
    return NULL;
}

static void on_wake(uv_async_t *wake)
{
    struct resolver *resolver = wake->data;
    struct lookup *lookup;
    /* A done may ask anew, or close: the list is looked at from its start each time. */
    while ((lookup = take_done(resolver)) != NULL) {
        lookup->done(lookup->arg, &lookup->answer);
        lookup_unref(lookup);
    }
}

struct resolver *resolver_new(uv_loop_t *loop, resolver_lookup_fn lookup)
{
    struct resolver *resolver = memory_zalloc(sizeof *resolver);
    if (uv_async_init(loop, &resolver->wake, on_wake) != 0) {
        free(resolver);
        return NULL;
    }
    resolver->wake.data = resolver;
    resolver->fn = lookup != NULL ? lookup : ask_libc;
    return resolver;
}

static bool start(struct lookup *lookup)
{
    pthread_t thread;
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes); /* these fail for arguments that are not valid */
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&thread, &attributes, run, lookup);
    (void)pthread_attr_destroy(&attributes);
    return error == 0;
}

bool resolver_ask(struct resolver *resolver, const char *host, resolver_done_fn done, void *arg)
{
    size_t len = strlen(host);
    if (resolver->lookups_n >= RESOLVER_LOOKUPS_MAX) {
        return false;
    }
    struct lookup *lookup = memory_zalloc(sizeof *lookup + len + 1);
    memcpy(lookup->host, host, len);
    refcount_init(&lookup->refs);
    refcount_ref(&lookup->refs);
    (void)pthread_mutex_init(&lookup->lock, NULL); /* always 0 on Linux */
    lookup->wake = &resolver->wake;
    lookup->fn = resolver->fn;
    lookup->done = done;
    lookup->arg = arg;
    if (!start(lookup)) {
        lookup_free(lookup); /* there is no thread: both references are held here */
        return false;
    }
    lookup->next = resolver->lookups;
    resolver->lookups = lookup;
    resolver->lookups_n++;
    return true;
}

static void on_closed(uv_handle_t *handle)
{
    struct resolver *resolver = handle->data;
    void (*closed)(void *) = resolver->closed;
    void *arg = resolver->closed_arg;
    free(resolver);
    if (closed != NULL) {
        closed(arg);
    }
}

void resolver_close(struct resolver *resolver, void (*closed)(void *arg), void *arg)
{
    while (resolver->lookups != NULL) {
        struct lookup *lookup = resolver->lookups;
        resolver->lookups = lookup->next;
        (void)pthread_mutex_lock(&lookup->lock);
        lookup->wake = NULL;
        (void)pthread_mutex_unlock(&lookup->lock);
        lookup_unref(lookup);
    }
    resolver->closed = closed;
    resolver->closed_arg = arg;
    uv_close((uv_handle_t *)&resolver->wake, on_closed);
}
