/* cmocka.h wants these before it. SPDX-License-Identifier: Apache-2.0 */
#ifndef TSIDE_TESTS_CMOCKA_FIRST_H
#define TSIDE_TESTS_CMOCKA_FIRST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

#endif
