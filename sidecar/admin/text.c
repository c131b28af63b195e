/*
 * sidecar/admin/text.c: see sidecar/admin/text.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_FIRST_BYTES 1024

/* Room for len more bytes and the NUL. */
static bool text_reserve(struct text *text, size_t len)
{
    if (text->broken) {
        return false;
    }
    if (text->cap - text->len > len) {
        return true;
    }
    size_t cap = text->cap ? text->cap : TEXT_FIRST_BYTES;
    while (cap - text->len <= len) {
        cap *= 2;
    }
    char *p = realloc(text->p, cap);
    if (!p) {
        text->broken = true;
        return false;
    }
    text->p = p;
    text->cap = cap;
    return true;
}

void text_add(struct text *text, const char *p, size_t len)
{
    if (text_reserve(text, len)) {
        if (len > 0) {
            memcpy(text->p + text->len, p, len);
        }
        text->len += len;
        text->p[text->len] = '\0';
    }
}

void text_str(struct text *text, const char *s)
{
    text_add(text, s, strlen(s));
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || !text_reserve(text, (size_t)len)) {
        text->broken = true;
        return;
    }
    va_start(args, format);
    vsnprintf(text->p + text->len, (size_t)len + 1, format, args);
    va_end(args);
    text->len += (size_t)len;
}

char *text_take(struct text *text, size_t *ret_len)
{
    char *p = NULL;
    text_add(text, "", 0);
    if (!text->broken) {
        p = text->p;
        *ret_len = text->len;
        text->p = NULL;
    }
    free(text->p);
    memset(text, 0, sizeof *text);
    return p;
}
