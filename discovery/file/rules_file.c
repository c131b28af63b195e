/*
 * discovery/file/rules_file.c: see discovery/file/rules_file.h.
 *
 * Findings of single keys are made by parsing each value once more than the store does: the store
 * has no lines and columns.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/file/rules_file.h"

#include "discovery/base/closest.h"
#include "discovery/file/yaml_json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const space_names[DISC_SPACES] = {"rules", "services"};

struct reading {
    const char *path;
    struct disc_store *store;
    struct rules_file_report *report;
    uint64_t now_unix_ms;
};

__attribute__((format(printf, 4, 5))) static void find(const struct reading *reading, size_t line,
                                                       size_t column, const char *fmt, ...)
{
    char message[1024];
    char finding[2048];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(message, sizeof message, fmt, args); /* for people: may be cut */
    va_end(args);
    (void)snprintf(finding, sizeof finding, "%s:%zu:%zu: %s", reading->path, line, column, message);
    reading->report->findings++;
    if (reading->report->fn != NULL) {
        reading->report->fn(reading->report->arg, finding);
    }
}

static void find_in_yaml(void *arg, size_t line, size_t column, const char *message)
{
    find(arg, line, column, "%s", message);
}

/* ---- findings of one key --------------------------------------------------------------------- */

/* Follows "pool.max_idle" down the value: the key at fault, or the value where that is not known.
 * */
static const struct disc_yaml_node *locate(const struct disc_yaml_node *value, const char *field)
{
    const struct disc_yaml_node *at = value;
    while (value->kind == DISC_YAML_MAP && *field != '\0') {
        size_t i = 0;
        size_t len = 0;
        for (; i < value->n; i++) {
            const struct disc_yaml_node *key = &value->keys[i];
            len = key->len;
            if (strncmp(field, key->text, len) == 0 && (field[len] == '\0' || field[len] == '.')) {
                break;
            }
        }
        if (i == value->n) {
            break;
        }
        at = &value->keys[i];
        value = &value->values[i];
        field += len + (field[len] == '.');
    }
    return at;
}

/* text NULL: the value was refused already. */
static void check_key(const struct reading *reading, enum disc_space space,
                      const struct disc_yaml_node *key, const struct disc_yaml_node *value,
                      const char *text)
{
    struct disc_error error = {"", ""};
    enum disc_check check =
        disc_store_check(reading->store, space, key->text, key->len, text, &error);
    if (check == DISC_CHECK_GOOD) {
        return;
    }
    const struct disc_yaml_node *at =
        check == DISC_CHECK_BAD_KEY ? key : locate(value, error.field);
    find(reading, at->line, at->column, "%.200s: %s%s%s", key->text, error.field,
         error.field[0] != '\0' ? ": " : "", error.reason);
}

/* ---- putting --------------------------------------------------------------------------------- */

static bool is_nothing(const struct disc_yaml_node *node)
{
    return node->kind == DISC_YAML_SCALAR && node->plain && node->len == 0;
}

/* An empty value, as etcd would hold it, whether it is written as nothing or as "". */
static bool is_empty(const struct disc_yaml_node *node)
{
    return node->kind == DISC_YAML_SCALAR && node->len == 0;
}

/* text NULL: refused, error says why. */
static void put_key(const struct reading *reading, enum disc_space space,
                    const struct disc_yaml_node *key, const char *text,
                    const struct disc_error *error)
{
    if (text != NULL) {
        disc_store_put(reading->store, DISC_LAYER_FILE, space, key->text, key->len, text,
                       strlen(text), 0, 0, reading->now_unix_ms);
    } else {
        disc_store_reject(reading->store, DISC_LAYER_FILE, space, key->text, key->len, 0, error,
                          reading->now_unix_ms);
    }
}

/* Puts and checks one key, as far as each is wanted. */
static void take_key(const struct reading *reading, enum disc_space space,
                     const struct disc_yaml_node *key, const struct disc_yaml_node *value, bool put)
{
    struct disc_error error = {"", "out of memory"};
    char *text = is_empty(value) ? strdup("") : disc_yaml_to_json(value, &error);
    if (put) {
        put_key(reading, space, key, text, &error);
    }
    if (!reading->report->whole_only) {
        if (text == NULL) {
            find(reading, value->line, value->column, "%.200s: %s", key->text, error.reason);
        }
        check_key(reading, space, key, value, text);
    }
    free(text);
}

static void take_keys(const struct reading *reading, const struct disc_yaml_node *root, bool put)
{
    for (int space = 0; space < DISC_SPACES; space++) {
        const struct disc_yaml_node *keys = disc_yaml_get(root, space_names[space]);
        for (size_t i = 0; keys != NULL && keys->kind == DISC_YAML_MAP && i < keys->n; i++) {
            take_key(reading, (enum disc_space)space, &keys->keys[i], &keys->values[i], put);
        }
    }
}

/* Whether the tree has the shape of a rules file. */
static bool check_shape(const struct reading *reading, const struct disc_yaml_node *root)
{
    size_t before = reading->report->findings;
    if (is_nothing(root)) {
        find(reading, 1, 1, "is empty; to have no rules, write `rules: {}`");
    } else if (root->kind != DISC_YAML_MAP) {
        find(reading, root->line, root->column, "must be a mapping of `rules` and `services`");
    }
    for (size_t i = 0; root->kind == DISC_YAML_MAP && i < root->n; i++) {
        const struct disc_yaml_node *key = &root->keys[i];
        const struct disc_yaml_node *value = &root->values[i];
        if (strcmp(key->text, space_names[0]) != 0 && strcmp(key->text, space_names[1]) != 0) {
            const char *closest = disc_closest(key->text, space_names, DISC_SPACES);
            find(reading, key->line, key->column, "unknown key %.80s%s%s%s", key->text,
                 closest != NULL ? ", did you mean " : "", closest != NULL ? closest : "",
                 closest != NULL ? "?" : "");
        } else if (value->kind != DISC_YAML_MAP && !is_nothing(value)) {
            find(reading, value->line, value->column, "%s must be a mapping of keys", key->text);
        }
    }
    return reading->report->findings == before;
}

/* good: nothing was found in the text itself. */
static int take_tree(const struct reading *reading, const struct disc_yaml_node *root, bool good,
                     uint64_t store_clock_ms)
{
    good = check_shape(reading, root) && good;
    if (!good) {
        if (!reading->report->whole_only) {
            take_keys(reading, root, false); /* `check` prints every finding at once */
        }
        return -EINVAL;
    }
    disc_store_begin(reading->store, DISC_LAYER_FILE, true);
    take_keys(reading, root, true);
    disc_store_commit(reading->store, DISC_LAYER_FILE, 0, DISC_ORIGIN_NONE, store_clock_ms);
    return 0;
}

int rules_file_load(const char *path, struct disc_store *store, uint64_t now_unix_ms,
                    uint64_t store_clock_ms, struct rules_file_report *report)
{
    struct reading reading = {path, store, report, now_unix_ms};
    char *text = NULL;
    size_t len = 0;
    size_t bad = 0;
    report->findings = 0;
    int error = disc_yaml_slurp(path, &text, &len);
    if (error != 0) {
        find(&reading, 1, 1, "cannot be read: %s",
             error == -EINVAL ? "is not a regular file" : strerror(-error));
        return error;
    }
    struct disc_yaml_node *root = disc_yaml_read(text, len, find_in_yaml, &reading, &bad);
    free(text);
    error = root == NULL ? -EINVAL : take_tree(&reading, root, bad == 0, store_clock_ms);
    (void)disc_yaml_free(root); /* NULL */
    return error;
}
