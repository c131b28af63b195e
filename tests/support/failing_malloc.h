/*
 * tests/support/failing_malloc.h: every allocation fails in turn.
 *
 *     for (unsigned n = 0; failing_malloc_arm(n); n++) { the work }
 *
 * The n-th allocation from the arming on fails, and it alone. A test that links this wraps malloc(),
 * calloc(), realloc(), reallocarray() and strdup() of all its objects, jansson's too; what libc and
 * other libraries allocate inside goes on. One thread.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SUPPORT_FAILING_MALLOC_H
#define TSIDE_TESTS_SUPPORT_FAILING_MALLOC_H

#include <stdbool.h>

/* False, and nothing fails any more, when the work before had no n-th allocation that could. */
bool failing_malloc_arm(unsigned n);
/* Nothing fails from here on: what follows is no part of the work. */
void failing_malloc_disarm(void);

#endif
