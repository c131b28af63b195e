/*
 * tests/support/guard.h: memory whose end is the end of a page with a forbidden page behind it.
 *
 * One byte read or written too far is a crash, also without a sanitizer.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SUPPORT_GUARD_H
#define TSIDE_TESTS_SUPPORT_GUARD_H

#include <stddef.h>
#include <stdint.h>

struct guard {
    uint8_t *map;
    size_t map_len; /* the forbidden page included */
    uint8_t *end;   /* first forbidden byte */
};

/* Dies where the kernel refuses. Holds up to cap bytes. */
void guard_init(struct guard *guard, size_t cap);
void guard_done(struct guard *guard);

/* len writable bytes that end at the forbidden page; they replace what was there. */
uint8_t *guard_room(struct guard *guard, size_t len);

/* The same, with a copy of these bytes in it. */
uint8_t *guard_copy(struct guard *guard, const void *bytes, size_t len);

#endif
