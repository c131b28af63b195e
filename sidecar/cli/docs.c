/*
 * sidecar/cli/docs.c: tside docs, the tables of the manual; not shown by --help.
 *
 * Printed from the tables that the program itself reads, so that the manual cannot say otherwise.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/bootstrap.h"
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Types of rule.def as the manual calls them. */
static const struct {
    const char *type;
    const char *shown;
} field_types[] = {
    {"INT", "integer"},  {"SHARE", "number"},         {"BOOL", "true, false"},
    {"CLUSTER", "name"}, {"RANGES", "[[low, high]]"}, {"STRINGS", "list of words"},
    {"STRING", "word"},  {"OBJECT", "object"},        {"BY", "log_id, caller, extra:key"},
};

struct field_row {
    const char *path;
    const char *type;
    double min, max;
    const char *def;
    const char *state;
    const char *meaning;
};

static const struct field_row fields[] = {
#define FIELD(id, path, type, min, max, def, state, test, meaning)                                 \
    {path, #type, min, max, #def, #state, meaning},
#include "discovery/rule.def"
};

static const struct {
    const char *table;
    const char *id;
    const char *text;
    const char *state;
} enums[] = {
#define ENUM(table, id, text, state) {"ENUM_" #table, #id, text, #state},
#include "discovery/rule.def"
};

#define LEN(array) (sizeof array / sizeof array[0])

static bool is_later(const char *state)
{
    return strcmp(state, "NOT_YET") == 0;
}

static bool has_range(const struct field_row *field)
{
    return (strcmp(field->type, "INT") == 0 || strcmp(field->type, "SHARE") == 0) &&
           field->max > field->min;
}

static void print_type(const struct field_row *field)
{
    size_t n = 0;
    for (size_t i = 0; i < LEN(enums); i++) {
        if (strcmp(enums[i].table, field->type) == 0) {
            printf("%s%s%s", n++ > 0 ? ", " : "", enums[i].text,
                   is_later(enums[i].state) ? " (not yet)" : "");
        }
    }
    for (size_t i = 0; i < LEN(field_types); i++) {
        if (strcmp(field_types[i].type, field->type) == 0) {
            fputs(field_types[i].shown, stdout);
        }
    }
    if (has_range(field)) {
        printf(" %.0f..%.0f", field->min, field->max);
    }
}

static void print_default(const struct field_row *field)
{
    for (size_t i = 0; i < LEN(enums); i++) {
        if (strcmp(enums[i].table, field->type) == 0 && strcmp(enums[i].id, field->def) == 0) {
            printf("`%s`", enums[i].text);
        }
    }
    if (strcmp(field->type, "INT") == 0 || strcmp(field->type, "SHARE") == 0) {
        printf("`%s`", field->def);
    } else if (strcmp(field->type, "BOOL") == 0) {
        printf("`%s`", strcmp(field->def, "0") == 0 ? "false" : "true");
    }
}

static void print_keys(void)
{
    puts("| field | values | default | meaning |\n| --- | --- | --- | --- |");
    for (size_t i = 0; i < LEN(fields); i++) {
        printf("| `%s` | ", fields[i].path);
        print_type(&fields[i]);
        fputs(" | ", stdout);
        print_default(&fields[i]);
        printf(" | %s%s |\n", fields[i].meaning, is_later(fields[i].state) ? " (not yet)" : "");
    }
}

static void print_bootstrap(void)
{
    bootstrap_print_reference(stdout);
}

static void print_reasons(void)
{
    puts("| reason | answered by | meaning |\n| --- | --- | --- |");
#define REASON(id, text, own, test, meaning)                                                       \
    printf("| `%s` | %s | %s |\n", text, own ? "tside" : "the callee", meaning);
#include "sidecar/reason.def"
}

/* Rows of one name stand together; the first has the help. */
static void print_metrics(void)
{
    puts("| metric | kind | labels | meaning |\n| --- | --- | --- | --- |");
#define METRIC(id, kind, name, labels, help)                                                       \
    printf("| `%s` | %s | %s%s%s | %s |\n", name,                                                  \
           strcmp(#kind, "GAUGE") == 0 ? "gauge" : "counter", labels[0] != '\0' ? "`" : "",        \
           labels, labels[0] != '\0' ? "`" : "", help);
#include "sidecar/metric.def"
}

static const struct {
    const char *name;
    void (*print)(void);
} tables[] = {
    {"keys", print_keys},
    {"bootstrap", print_bootstrap},
    {"reasons", print_reasons},
    {"metrics", print_metrics},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    const char **table = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (*table != NULL) {
            argp_usage(state);
        }
        *table = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_docs(int argc, char **argv)
{
    static const struct argp argp = {.parser = parse,
                                     .args_doc = "keys|bootstrap|reasons|metrics",
                                     .doc = "Prints a table of the manual as Markdown."};
    const char *name = NULL;
    cli_parse(&argp, argc, argv, &name);
    for (size_t i = 0; i < LEN(tables); i++) {
        if (strcmp(tables[i].name, name) == 0) {
            tables[i].print();
            return CLI_OK;
        }
    }
    fprintf(stderr, "tside: there is no table \"%s\"\n", name);
    return CLI_USAGE;
}
