/*
 * discovery/base/json_value.h: strict reading of JSON values, with errors that name field and
 * value.
 *
 * Shared by the parsers of rules and of services. jansson's types stay within discovery.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_JSON_VALUE_H
#define TSIDE_DISCOVERY_BASE_JSON_VALUE_H

#include "discovery/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Any JSON value; duplicate names are refused. NULL with *error filled ("line 1, column 5: ...").
 * */
json_t *json_value_load(const char *text, size_t len, struct disc_error *error);

__attribute__((format(printf, 3, 4))) void
json_value_refuse(struct disc_error *error, const char *field, const char *fmt, ...);

/* "must be <what>, is <value>"; the value is shown as JSON, cut where it is long. */
void json_value_wrong(struct disc_error *error, const char *field, const char *what,
                      const json_t *value);

/* An integer within min..max; booleans and 1.0 are none. */
bool json_value_int(const json_t *value, const char *field, int64_t min, int64_t max, int64_t *ret,
                    struct disc_error *error);

/* The index of name among n names; -1: none of them. */
int json_value_index(const char *name, const char *const known[], size_t n);

/* "unknown field", with the closest of the n known names where a typing error explains it. */
void json_value_unknown(struct disc_error *error, const char *field, const char *name,
                        const char *const known[], size_t n);

#endif
