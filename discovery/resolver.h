/*
 * discovery/resolver.h: every address of a name, looked up off the loop.
 *
 * A thread a lookup, never joined: with dead DNS the C library takes ten seconds and more, and
 * neither the loop nor the end of the process may wait for it. Callbacks come on the loop's thread.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_RESOLVER_H
#define TSIDE_DISCOVERY_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define RESOLVER_ADDRESSES_MAX 16 /* of a name; further ones are left out */
#define RESOLVER_LOOKUPS_MAX   16 /* at once; further ones are refused */
#define RESOLVER_TEXT_BYTES    48 /* an IPv6 address in brackets, and a NUL */

struct resolver_answer {
    size_t n; /* 0: the name has no address, or nobody could be asked */
    char address[RESOLVER_ADDRESSES_MAX][RESOLVER_TEXT_BYTES]; /* IPv6 in brackets; each once */
};

/* Blocks, on any thread. */
typedef void (*resolver_lookup_fn)(const char *host, struct resolver_answer *ret);

struct resolver;

/* lookup NULL: the C library's. NULL where the loop has no handle left. */
struct resolver *resolver_new(uv_loop_t *loop, resolver_lookup_fn lookup);

/* done comes once, from the loop, never from within; the answer is borrowed for the call. False:
 * too many lookups at once, or no thread. */
typedef void (*resolver_done_fn)(void *arg, const struct resolver_answer *answer);
bool resolver_ask(struct resolver *resolver, const char *host, resolver_done_fn done, void *arg);

/* No done comes any more; closed comes from the loop. */
void resolver_close(struct resolver *resolver, void (*closed)(void *arg), void *arg);

#endif
