/*
 * sidecar/admin/text.h: a growing text. Where memory runs out it becomes, and stays, broken.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_ADMIN_TEXT_H
#define TSIDE_SIDECAR_ADMIN_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
    char *p; /* NUL-terminated; NULL while empty */
    size_t len;
    size_t cap;
    bool broken;
};

void text_add(struct text *text, const char *p, size_t len);
void text_str(struct text *text, const char *s);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The text, to be freed by the caller; NULL where broken. Empties *text. */
char *text_take(struct text *text, size_t *ret_len) __attribute__((warn_unused_result));

#endif
