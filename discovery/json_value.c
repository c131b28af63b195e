/*
 * discovery/json_value.c: see discovery/json_value.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/json_value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX_BYTES 80
#define CLOSEST_MAX     2  /* typing errors */
#define WORD_MAX        64 /* longer words have no suggestion */

void json_value_refuse(struct disc_error *error, const char *field, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    /* Both may be cut: they are for people. */
    (void)snprintf(error->field, sizeof error->field, "%s", field);
    (void)vsnprintf(error->reason, sizeof error->reason, fmt, args);
    va_end(args);
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

/* Levenshtein's distance, by rows. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= b_len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[b_len];
}

const char *json_value_closest(const char *name, const char *const known[], size_t n)
{
    const char *closest = NULL;
    size_t closest_distance = CLOSEST_MAX + 1;
    size_t len = strlen(name);
    for (size_t i = 0; len <= WORD_MAX && i < n; i++) {
        size_t known_len = strlen(known[i]);
        if (known_len > WORD_MAX) {
            continue;
        }
        size_t d = distance(name, len, known[i], known_len);
        /* A word of two letters is two errors away from any other. */
        if (d < closest_distance && d < known_len && d < len) {
            closest = known[i];
            closest_distance = d;
        }
    }
    return closest;
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
    const char *closest = json_value_closest(name, known, n);
    if (closest != NULL) {
        json_value_refuse(error, field, "unknown field, did you mean \"%s\"?", closest);
    } else {
        json_value_refuse(error, field, "unknown field");
    }
}
