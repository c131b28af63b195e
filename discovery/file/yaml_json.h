/*
 * discovery/file/yaml_json.h: trees of discovery/file/yaml_reader.h as JSON text; the bytes they
 * come from.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_FILE_YAML_JSON_H
#define TSIDE_DISCOVERY_FILE_YAML_JSON_H

#include "discovery/base/error.h"
#include "discovery/file/yaml_reader.h"

#define DISC_YAML_MAX_BYTES (UINT64_C(64) << 20)

/* The bytes of a regular file, with a NUL behind: 0 and *ret_text (free() it), or a negative errno
 * (-EFBIG: more than DISC_YAML_MAX_BYTES, -EINVAL: no regular file). */
int disc_yaml_slurp(const char *path, char **ret_text, size_t *ret_len);

/* The value of a key of a mapping; NULL: not there, or node is no mapping. */
const struct disc_yaml_node *disc_yaml_get(const struct disc_yaml_node *node, const char *key);

/*
 * A node as JSON text (free() it). Quoted scalars are strings; plain ones are what YAML 1.2 says:
 * null, ~ or nothing; true and false; decimal integers and fractions; strings otherwise (yes, no
 * and on, too). Numbers that JSON has not are refused rather than guessed: 0x1f, 0o17, 017, .inf,
 * .nan. Keys are strings. NULL with *ret_error ("line 3, column 7: ...") on refusal.
 */
char *disc_yaml_to_json(const struct disc_yaml_node *node, struct disc_error *ret_error);

#endif
