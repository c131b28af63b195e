/*
 * discovery/file/yaml_json.c: see discovery/file/yaml_json.h. Knows no libyaml: it works on our own
 * tree.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/file/yaml_json.h"

#include "discovery/base/json_value.h"
#include "discovery/base/slurp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int disc_yaml_slurp(const char *path, char **ret_text, size_t *ret_len)
{
    return disc_slurp(path, DISC_YAML_MAX_BYTES, ret_text, ret_len);
}

const struct disc_yaml_node *disc_yaml_get(const struct disc_yaml_node *node, const char *key)
{
    size_t len = strlen(key);
    for (size_t i = 0; node != NULL && node->kind == DISC_YAML_MAP && i < node->n; i++) {
        if (node->keys[i].len == len && memcmp(node->keys[i].text, key, len) == 0) {
            return &node->values[i];
        }
    }
    return NULL;
}

/* ---- plain scalars --------------------------------------------------------------------------- */

static bool one_of(const char *text, const char *const words[])
{
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static size_t digits(const char *p)
{
    return strspn(p, "0123456789");
}

/* [-+]? (digits [. digits?] | . digits) ([eE] [-+]? digits)? */
static bool is_number(const char *text, const char **ret_digits)
{
    const char *p = text + (*text == '-' || *text == '+');
    size_t whole = digits(p);
    size_t fraction = 0;
    *ret_digits = p;
    p += whole;
    if (*p == '.') {
        fraction = digits(p + 1);
        p += 1 + fraction;
    }
    if (whole + fraction == 0) {
        return false;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        if (digits(p) == 0) {
            return false;
        }
        p += digits(p);
    }
    return *p == '\0';
}

static bool is_foreign_number(const char *text)
{
    static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", NULL};
    const char *p = text + (*text == '-' || *text == '+');
    return one_of(p, words) || (p[0] == '0' && (p[1] == 'x' || p[1] == 'o') && p[2] != '\0' &&
                                p[2 + strspn(p + 2, "0123456789abcdefABCDEF")] == '\0');
}

/* JSON wants digits on both sides of the point and no "+". */
static json_t *number_to_json(const char *text)
{
    if (text[strcspn(text, ".eE")] == '\0') {
        return json_loads(*text == '+' ? text + 1 : text, JSON_DECODE_ANY, NULL);
    }
    char *end = NULL;
    double d = strtod(text, &end); /* the process keeps the C locale */
    return json_real(d);           /* NULL: infinite */
}

static json_t *plain_to_json(const char *text, const char **ret_why)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    const char *first = NULL;
    if (one_of(text, nulls)) {
        return json_null();
    }
    if (one_of(text, trues) || one_of(text, falses)) {
        return json_boolean(one_of(text, trues));
    }
    if (is_foreign_number(text)) {
        *ret_why = "JSON has no such number: write it in decimals, or quote it";
        return NULL;
    }
    if (!is_number(text, &first)) {
        return json_string(text);
    }
    if (first[0] == '0' && first[1] >= '0' && first[1] <= '9') {
        *ret_why = "a number that begins with 0: write it without, or quote it";
        return NULL;
    }
    *ret_why = "a number out of range";
    return number_to_json(text);
}

static json_t *to_json(const struct disc_yaml_node *node, struct disc_error *error);

static json_t *refused(const struct disc_yaml_node *node, const char *why, struct disc_error *error)
{
    json_value_refuse(error, "", "line %zu, column %zu: %s", node->line, node->column, why);
    return NULL;
}

static json_t *scalar_to_json(const struct disc_yaml_node *node, struct disc_error *error)
{
    const char *why = "out of memory";
    json_t *json = NULL;
    if (strlen(node->text) != node->len) {
        why = "a NUL byte";
    } else if (node->plain) {
        json = plain_to_json(node->text, &why);
    } else {
        json = json_stringn(node->text, node->len);
    }
    return json != NULL ? json : refused(node, why, error);
}

static json_t *list_to_json(const struct disc_yaml_node *node, struct disc_error *error)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < node->n; i++) {
        json_t *item = to_json(&node->values[i], error);
        if (item == NULL || json_array_append_new(list, item) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *map_to_json(const struct disc_yaml_node *node, struct disc_error *error)
{
    json_t *map = json_object();
    for (size_t i = 0; map != NULL && i < node->n; i++) {
        const struct disc_yaml_node *key = &node->keys[i];
        json_t *value = NULL;
        if (strlen(key->text) != key->len) {
            value = refused(key, "a NUL byte", error);
        } else {
            value = to_json(&node->values[i], error);
        }
        if (value == NULL || json_object_set_new(map, key->text, value) != 0) {
            json_decref(map);
            return NULL;
        }
    }
    return map;
}

static json_t *to_json(const struct disc_yaml_node *node, struct disc_error *error)
{
    switch (node->kind) {
    case DISC_YAML_SCALAR:
        return scalar_to_json(node, error);
    case DISC_YAML_LIST:
        return list_to_json(node, error);
    default:
        return map_to_json(node, error);
    }
}

char *disc_yaml_to_json(const struct disc_yaml_node *node, struct disc_error *ret_error)
{
    json_value_refuse(ret_error, "", "out of memory"); /* until another reason is known */
    json_t *json = to_json(node, ret_error);
    /* 15 digits: what people write comes out as they wrote it, and is the same number again. */
    const size_t flags = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15);
    char *text = json != NULL ? json_dumps(json, flags) : NULL;
    json_decref(json);
    return text;
}
