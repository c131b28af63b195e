/*
 * discovery/file/yaml_reader.c: see discovery/file/yaml_reader.h.
 *
 * Built from libyaml's events: its documents would resolve aliases, which may be cycles or a bomb.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/file/yaml_reader.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    const char *text; /* borrowed */
    size_t len;
    disc_yaml_report_fn report;
    void *arg;
    size_t findings;
};

__attribute__((format(printf, 3, 4))) static bool refuse(struct reader *reader, yaml_mark_t mark,
                                                         const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args); /* for people: may be cut */
    va_end(args);
    reader->findings++;
    reader->report(reader->arg, mark.line + 1, mark.column + 1, message);
    return false;
}

/* Of bytes that are no text libyaml gives the offset alone. Columns count characters. */
static yaml_mark_t mark_at(const struct reader *reader, size_t offset)
{
    yaml_mark_t mark = {.index = offset};
    for (size_t i = 0; i < offset && i < reader->len; i++) {
        unsigned char c = (unsigned char)reader->text[i];
        mark.line += c == '\n';
        mark.column = c == '\n' ? 0 : mark.column + ((c & 0xc0) != 0x80);
    }
    return mark;
}

static bool refuse_syntax(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_MEMORY_ERROR) {
        return refuse(reader, mark, "out of memory");
    }
    if (parser->error == YAML_READER_ERROR) {
        mark = mark_at(reader, parser->problem_offset);
        return refuse(reader, mark, "%s (byte %zu of the file)", parser->problem,
                      parser->problem_offset + 1);
    }
    return refuse(reader, mark, "%s%s%s", parser->context != NULL ? parser->context : "",
                  parser->context != NULL ? ": " : "", parser->problem);
}

static bool next_event(struct reader *reader, yaml_event_t *event)
{
    return yaml_parser_parse(&reader->parser, event) != 0 || refuse_syntax(reader);
}

static void node_clear(struct disc_yaml_node *node)
{
    for (size_t i = 0; i < node->n; i++) {
        node_clear(&node->values[i]);
        if (node->keys != NULL) {
            node_clear(&node->keys[i]);
        }
    }
    free(node->keys);
    free(node->values);
    if (node->kind == DISC_YAML_SCALAR) {
        free((void *)(uintptr_t)node->text);
    }
}

struct disc_yaml_node *disc_yaml_free(struct disc_yaml_node *root)
{
    if (root != NULL) {
        node_clear(root);
        free(root);
    }
    return NULL;
}

/* Room for one more pair or item, zeroed. */
static bool grow(struct disc_yaml_node *node)
{
    if ((node->n & (node->n - 1)) == 0) { /* 0 and the powers of two */
        size_t cap = node->n > 0 ? 2 * node->n : 1;
        struct disc_yaml_node *values = realloc(node->values, cap * sizeof *values);
        if (values == NULL) {
            return false;
        }
        node->values = values;
        if (node->kind == DISC_YAML_MAP) {
            struct disc_yaml_node *keys = realloc(node->keys, cap * sizeof *keys);
            if (keys == NULL) {
                return false;
            }
            node->keys = keys;
        }
    }
    node->values[node->n] = (struct disc_yaml_node){.text = NULL};
    if (node->kind == DISC_YAML_MAP) {
        node->keys[node->n] = (struct disc_yaml_node){.text = NULL};
    }
    node->n++;
    return true;
}

static bool read_scalar(struct reader *reader, const yaml_event_t *event,
                        struct disc_yaml_node *node)
{
    size_t len = event->data.scalar.length;
    char *text = malloc(len + 1);
    if (text == NULL) {
        return refuse(reader, event->start_mark, "out of memory");
    }
    memcpy(text, event->data.scalar.value, len);
    text[len] = '\0';
    node->text = text;
    node->len = len;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return true;
}

static bool read_node(struct reader *reader, yaml_event_t *event, struct disc_yaml_node *node,
                      int depth);

static int compare_keys(const void *left, const void *right)
{
    const struct disc_yaml_node *a = *(const struct disc_yaml_node *const *)left;
    const struct disc_yaml_node *b = *(const struct disc_yaml_node *const *)right;
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    if (order != 0 || a->len != b->len) {
        return order != 0 ? order : a->len < b->len ? -1 : 1;
    }
    if (a->line != b->line) {
        return a->line < b->line ? -1 : 1;
    }
    return a->column < b->column ? -1 : a->column > b->column;
}

static bool check_twice(struct reader *reader, const struct disc_yaml_node *map)
{
    if (map->n < 2) {
        return true;
    }
    const struct disc_yaml_node **sorted = malloc(map->n * sizeof *sorted);
    if (sorted == NULL) {
        return refuse(reader, (yaml_mark_t){0}, "out of memory");
    }
    for (size_t i = 0; i < map->n; i++) {
        sorted[i] = &map->keys[i];
    }
    qsort(sorted, map->n, sizeof *sorted, compare_keys);
    for (size_t i = 1; i < map->n; i++) {
        const struct disc_yaml_node *a = sorted[i - 1];
        const struct disc_yaml_node *b = sorted[i];
        if (a->len == b->len && memcmp(a->text, b->text, a->len) == 0) {
            yaml_mark_t mark = {.line = b->line - 1, .column = b->column - 1};
            (void)refuse(reader, mark, "%.80s stands twice, before in line %zu", b->text, a->line);
        }
    }
    free(sorted);
    return true;
}

static bool read_children(struct reader *reader, struct disc_yaml_node *node, int depth)
{
    yaml_event_t event;
    bool is_map = node->kind == DISC_YAML_MAP;
    for (;;) {
        if (!next_event(reader, &event)) {
            return false;
        }
        if (event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return !is_map || check_twice(reader, node);
        }
        bool ok = grow(node) || refuse(reader, event.start_mark, "out of memory");
        if (!ok) {
            yaml_event_delete(&event);
            return false;
        }
        size_t at = node->n - 1;
        assert(node->values != NULL && (!is_map || node->keys != NULL));
        if (is_map) {
            if (event.type != YAML_SCALAR_EVENT && event.type != YAML_ALIAS_EVENT) {
                ok = refuse(reader, event.start_mark, "a key must be a single value");
            }
            ok = ok && read_node(reader, &event, &node->keys[at], depth);
            yaml_event_delete(&event);
            if (!ok || !next_event(reader, &event)) {
                return false;
            }
        }
        ok = read_node(reader, &event, &node->values[at], depth);
        yaml_event_delete(&event);
        if (!ok) {
            return false;
        }
    }
}

/* The node that starts with this event, which stays the caller's. */
static bool read_node(struct reader *reader, yaml_event_t *event, struct disc_yaml_node *node,
                      int depth)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    node->line = event->start_mark.line + 1;
    node->column = event->start_mark.column + 1;
    node->text = NULL;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        node->kind = DISC_YAML_MAP;
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        node->kind = DISC_YAML_LIST;
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    default:
        return refuse(reader, event->start_mark, "aliases are not supported");
    }
    if (anchor != NULL || tag != NULL) {
        return refuse(reader, event->start_mark, "%s are not supported",
                      anchor != NULL ? "anchors" : "tags");
    }
    if (depth >= DISC_YAML_DEPTH_MAX) {
        return refuse(reader, event->start_mark, "nested deeper than %d", DISC_YAML_DEPTH_MAX);
    }
    if (node->kind == DISC_YAML_SCALAR) {
        return read_scalar(reader, event, node);
    }
    node->text = "";
    return read_children(reader, node, depth + 1);
}

/* After the stream's and the document's start: the root, then nothing. */
static bool read_document(struct reader *reader, struct disc_yaml_node *root)
{
    yaml_event_t event;
    bool begun = false;
    bool done = false;
    while (!done) {
        bool ok = true;
        if (!next_event(reader, &event)) {
            return false;
        }
        switch (event.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_STREAM_END_EVENT:
            done = true;
            break;
        case YAML_DOCUMENT_START_EVENT:
            ok = !begun || refuse(reader, event.start_mark, "a second document");
            begun = true;
            break;
        default:
            ok = read_node(reader, &event, root, 0);
            break;
        }
        yaml_event_delete(&event);
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* An empty file: a scalar of nothing. */
static bool fill_empty(struct reader *reader, struct disc_yaml_node *root)
{
    if (root->text == NULL) {
        root->line = root->column = 1;
        root->plain = true;
        root->text = strdup("");
    }
    return root->text != NULL || refuse(reader, (yaml_mark_t){0}, "out of memory");
}

struct disc_yaml_node *disc_yaml_read(const char *text, size_t len, disc_yaml_report_fn report,
                                      void *arg, size_t *ret_findings)
{
    struct reader reader = {.text = text, .len = len, .report = report, .arg = arg};
    struct disc_yaml_node *root = calloc(1, sizeof *root);
    if (root == NULL || yaml_parser_initialize(&reader.parser) == 0) {
        (void)refuse(&reader, (yaml_mark_t){0}, "out of memory");
        *ret_findings = reader.findings;
        free(root);
        return NULL;
    }
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
    if (!read_document(&reader, root) || !fill_empty(&reader, root)) {
        root = disc_yaml_free(root);
    }
    yaml_parser_delete(&reader.parser);
    *ret_findings = reader.findings;
    return root;
}
