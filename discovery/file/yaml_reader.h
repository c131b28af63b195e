/*
 * discovery/file/yaml_reader.h: a YAML file as a tree whose nodes know their line and column.
 *
 * For the rules file and the bootstrap file. One document; mappings, lists and scalars, no more:
 * anchors, aliases and tags are refused, so that a file is what it looks like. Keys are scalars; a
 * key that stands twice is reported. libyaml's types stay behind this header.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_FILE_YAML_READER_H
#define TSIDE_DISCOVERY_FILE_YAML_READER_H

#include <stdbool.h>
#include <stddef.h>

#define DISC_YAML_DEPTH_MAX 32

enum disc_yaml_kind { DISC_YAML_SCALAR = 0, DISC_YAML_MAP, DISC_YAML_LIST };

struct disc_yaml_node {
    enum disc_yaml_kind kind;
    size_t line, column; /* from 1 */
    bool plain;          /* a scalar without quotes */
    size_t len;          /* of text */
    const char *text;    /* of a scalar, NUL-terminated (NULs may stand within len); else "" */
    size_t n;            /* pairs or items */
    struct disc_yaml_node *keys;   /* [n] of a mapping */
    struct disc_yaml_node *values; /* [n] */
};

typedef void (*disc_yaml_report_fn)(void *arg, size_t line, size_t column, const char *message);

/* The root; an empty file gives an empty plain scalar. NULL where the text could not be read to its
 * end, which was reported; *ret_findings counts what was reported, duplicate keys of a whole tree
 * too. text is borrowed for the call. */
struct disc_yaml_node *disc_yaml_read(const char *text, size_t len, disc_yaml_report_fn report,
                                      void *arg, size_t *ret_findings);
struct disc_yaml_node *disc_yaml_free(struct disc_yaml_node *root); /* NULL */

#endif
