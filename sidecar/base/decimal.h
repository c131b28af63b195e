/*
 * sidecar/base/decimal.h: a number as text, where printf's cost would show: once a call.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_DECIMAL_H
#define TSIDE_SIDECAR_BASE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DECIMAL_MAX_BYTES 20 /* of INT64_MIN, its sign included */

/* Below 10,000, as most of what is written is: milliseconds. */
static inline size_t decimal_write_small(uint32_t n, char *text)
{
    char *at = text;
    uint32_t high = n / 100, low = n % 100;
    if (n > 999) {
        *at++ = (char)('0' + high / 10);
    }
    if (n > 99) {
        *at++ = (char)('0' + high % 10);
    }
    if (n > 9) {
        *at++ = (char)('0' + low / 10);
    }
    *at++ = (char)('0' + low % 10);
    return (size_t)(at - text);
}

/* Returns the length; text is not terminated. */
static inline size_t decimal_write(int64_t value, char text[DECIMAL_MAX_BYTES])
{
    if (value >= 0 && value < 10000) {
        return decimal_write_small((uint32_t)value, text);
    }
    char digits[DECIMAL_MAX_BYTES];
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        digits[--at] = '-';
    }
    memcpy(text, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

#endif
