/*
 * discovery/base/base64.h: strict base64 (RFC 4648, section 4).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_BASE64_H
#define TSIDE_DISCOVERY_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room that base64_decode() needs for len characters. */
#define BASE64_DECODED_MAX(len) ((len) / 4 * 3)
/* Characters that base64_encode() writes for len bytes. */
#define BASE64_ENCODED(len) (((len) + 2) / 3 * 4)

/* Padding is needed, spare bits must be 0, no byte outside the alphabet. */
bool base64_decode(const char *text, size_t len, uint8_t *out, size_t *ret_len);

/* No NUL behind; returns BASE64_ENCODED(len). */
size_t base64_encode(const void *in, size_t len, char *out);

#endif
