/*
 * discovery/rules/tuple.h: the five names of a call, and how they are written.
 *
 * Everything above discovery uses these types. Names are byte strings of 0..256 bytes, not
 * NUL-terminated; a name that is absent has length 0.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_RULES_TUPLE_H
#define TSIDE_DISCOVERY_RULES_TUPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum disc_name {
    DISC_FROM = 0,
    DISC_FROM_CLUSTER,
    DISC_TO,
    DISC_TO_CLUSTER,
    DISC_METHOD,
    DISC_NAMES
};

#define DISC_NAME_MAX_BYTES 256
/* Percent-encoding triples a name at most. */
#define DISC_NAME_ENCODED_MAX_BYTES  (3 * DISC_NAME_MAX_BYTES)
#define DISC_TUPLE_ENCODED_MAX_BYTES (DISC_NAMES * (DISC_NAME_ENCODED_MAX_BYTES + 1))

struct disc_str {
    const char *p;
    uint32_t len;
};

struct disc_tuple {
    struct disc_str name[DISC_NAMES];
};

/* "From", "FromCluster", ... */
const char *disc_name_str(enum disc_name name);

static inline struct disc_str disc_str_of(const char *p, size_t len)
{
    return (struct disc_str){p, (uint32_t)len};
}

/* NULL gives the empty string. */
static inline struct disc_str disc_str_of_z(const char *z)
{
    return disc_str_of(z ? z : "", z ? strlen(z) : 0);
}

bool disc_str_eq(struct disc_str a, struct disc_str b);
/* By bytes, a beginning before what it begins: below, at or above 0. */
int disc_str_compare(struct disc_str a, struct disc_str b);

/* Of n names in a row: ("ab", "c") hashes otherwise than ("a", "bc"). The seed must not be
 * known where the names are chosen. */
uint64_t disc_names_hash(uint64_t seed, const struct disc_str names[], size_t n);
/* Bytes that disc_names_copy() takes at `to`. */
size_t disc_names_bytes(const struct disc_str names[], size_t n);
/* Copies the bytes to `to`, one name behind the other, and makes ret[] point to them. */
void disc_names_copy(const struct disc_str names[], size_t n, char *to, struct disc_str ret[]);

bool disc_tuple_eq(const struct disc_tuple *a, const struct disc_tuple *b);

/*
 * Encodes one name as keys and commands spell it: '/', '%', '*' and control bytes as %HH
 * (upper-case), an absent name as "-". Writes at most cap bytes, no NUL; returns the length needed.
 */
size_t disc_name_encode(struct disc_str name, char *out, size_t cap);

/*
 * The tuple "From/FromCluster/To/ToCluster/Method", encoded, NUL-terminated within cap (cut where
 * it does not fit; DISC_TUPLE_ENCODED_MAX_BYTES always fits). Returns the length written.
 */
size_t disc_tuple_encode(const struct disc_tuple *tuple, char *out, size_t cap);

/*
 * A name as people are shown it: bytes outside UTF-8, control characters and the separators U+2028
 * and U+2029 as \xHH, byte by byte, and so the backslash of a name that has such a thing in it: no
 * two names are shown alike. NUL-terminated, cut at cap. Returns the length written.
 */
size_t disc_name_display(struct disc_str name, char *out, size_t cap);

#endif
