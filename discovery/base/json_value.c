/*
 * discovery/base/json_value.c: see discovery/base/json_value.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/json_value.h"

#include "discovery/base/closest.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX_BYTES 80

/* What was cut at a byte ends with the last character that is whole: JSON takes no other. */
static void drop_half_character(char *text)
{
    size_t len = strlen(text);
    size_t lead = len;
    while (lead > 0 && len - lead < 3 && ((unsigned char)text[lead - 1] & 0xc0) == 0x80) {
        lead--;
    }
    unsigned char first = lead > 0 ? (unsigned char)text[lead - 1] : 0;
    size_t wants = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    if (len - lead + 1 < wants) {
        text[lead - 1] = '\0';
    }
}

void json_value_refuse(struct disc_error *error, const char *field, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    /* Both may be cut: they are for people. */
    (void)snprintf(error->field, sizeof error->field, "%s", field);
    (void)vsnprintf(error->reason, sizeof error->reason, fmt, args);
    va_end(args);
    drop_half_character(error->field);
    drop_half_character(error->reason);
}

json_t *json_value_load(const char *text, size_t len, struct disc_error *error)
{
    json_error_t syntax;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &syntax);
    if (root == NULL) {
        json_value_refuse(error, "", "line %d, column %d: %s", syntax.line > 0 ? syntax.line : 1,
                          syntax.column > 0 ? syntax.column : 1, syntax.text);
    }
    return root;
}

/* Cuts text where it is too long to show, between two characters. */
static void shorten(char *text)
{
    if (strlen(text) <= SHOWN_MAX_BYTES) {
        return;
    }
    size_t end = SHOWN_MAX_BYTES - 3;
    while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80) {
        end--;
    }
    memcpy(text + end, "...", 4);
}

void json_value_wrong(struct disc_error *error, const char *field, const char *what,
                      const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (text != NULL) {
        shorten(text);
    }
    json_value_refuse(error, field, "must be %s, is %s", what, text != NULL ? text : "?");
    free(text);
}

bool json_value_int(const json_t *value, const char *field, int64_t min, int64_t max, int64_t *ret,
                    struct disc_error *error)
{
    char what[64];
    if (json_is_integer(value) && json_integer_value(value) >= min &&
        json_integer_value(value) <= max) {
        *ret = json_integer_value(value);
        return true;
    }
    (void)snprintf(what, sizeof what, "an integer %" PRId64 "..%" PRId64, min, max);
    json_value_wrong(error, field, what, value);
    return false;
}

int json_value_index(const char *name, const char *const known[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, known[i]) == 0) {
            return (int)i;
        }
    }
    return -1;
}

void json_value_unknown(struct disc_error *error, const char *field, const char *name,
                        const char *const known[], size_t n)
{
    const char *closest = disc_closest(name, known, n);
    if (closest != NULL) {
        json_value_refuse(error, field, "unknown field, did you mean \"%s\"?", closest);
    } else {
        json_value_refuse(error, field, "unknown field");
    }
}
