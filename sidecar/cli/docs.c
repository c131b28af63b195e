/*
 * sidecar/cli/docs.c: tside docs, the reference pages of the manual; not shown by --help.
 *
 * Printed from the tables that the program itself reads, so that manual and program agree. What
 * stands here in words is checked by tests/e2e/test_docs.py.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/rule.h"
#include "sidecar/base/bootstrap.h"
#include "sidecar/cli/cli.h"
#include "sidecar/cli/common.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Types of rule.def, as they stand in the manual. */
static const struct {
    const char *type;
    const char *shown;
} field_types[] = {
    {"INT", "integer"},          {"SHARE", "number"},
    {"BOOL", "true, false"},     {"CLUSTER", "name"},
    {"RANGES", "[[low, high]]"}, {"DELAY", "ms, p95 or p99"},
    {"OBJECT", "object"},        {"BY", "log_id, caller, extra:key"},
};

struct field_row {
    const char *path;
    const char *type;
    double min, max;
    const char *def;
    const char *order; /* CALLER or CALLEE */
    const char *state;
    const char *meaning;
};

static const struct field_row fields[] = {
#define FIELD(id, path, type, min, max, def, order, state, test, meaning)                          \
    {path, #type, min, max, #def, #order, #state, meaning},
#include "discovery/rules/rule.def"
};

static const struct {
    const char *table;
    const char *id;
    const char *text;
    const char *state;
} enums[] = {
#define ENUM(table, id, text, state) {"ENUM_" #table, #id, text, #state},
#include "discovery/rules/rule.def"
};

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static bool is_later(const char *state)
{
    return strcmp(state, "NOT_YET") == 0;
}

static bool has_range(const struct field_row *field)
{
    return (strcmp(field->type, "INT") == 0 || strcmp(field->type, "SHARE") == 0) &&
           field->max > field->min;
}

static bool is_set(const struct field_row *field)
{
    return strncmp(field->type, "SET_", sizeof "SET_" - 1) == 0;
}

/* Whether the field's values are of this table: ENUM_LB, or SET_RETRY_ON of ENUM_RETRY_ON. */
static bool is_of_table(const struct field_row *field, const char *table)
{
    const char *type = field->type;
    return strcmp(type, table) == 0 ||
           (is_set(field) && strcmp(type + sizeof "SET_" - 1, table + sizeof "ENUM_" - 1) == 0);
}

static void print_type(const struct field_row *field)
{
    size_t n = 0;
    fputs(is_set(field) ? "a list of " : "", stdout);
    for (size_t i = 0; i < LEN(enums); i++) {
        if (is_of_table(field, enums[i].table)) {
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

/* In front of each page; its table follows. */
static const char keys_head[] =
    "# Rules and endpoints\n\n"
    "A rule is a key with a JSON value, in etcd below `etcd.rules_prefix` or in the rules file "
    "without\n"
    "prefix:\n\n"
    "```text\n"
    "From/FromCluster/To/ToCluster/Method/traffic\n"
    "From/FromCluster/To/ToCluster/Method/degrade\n"
    "From/FromCluster/To/ToCluster/Method/config\n"
    "```\n\n"
    "Each of the five names may be `*`; [call.md](call.md) says which rule wins. Within a name "
    "`/`, `%`, "
    "`*`\n"
    "and control bytes are percent-encoded, and nothing else is. A value with an unknown field, a "
    "wrong\n"
    "type or a number out of range is refused as a whole: its last good value stays in force, and\n"
    "`/api/v1/config/errors` lists it. What is marked `not yet` is refused, too.\n\n"
    "## traffic\n\n"
    "Weights per cluster, integers from 0 to 1000000, not all 0:\n\n"
    "```json\n"
    "{\"default\": 90, \"canary\": 10}\n"
    "{\"clusters\": {\"default@lf\": 70, \"default\": 30}, \"by\": \"log_id\"}\n"
    "```\n\n"
    "`cluster@zone` takes the endpoints of one zone. `by` is what the draw hangs on: `random` "
    "(default),\n"
    "`log_id`, `caller`, or `extra:<key>` for an entry of `Base.Extra`.\n\n"
    "## degrade\n\n"
    "The percentage of calls that tside answers itself, in steps of 0.01:\n\n"
    "```json\n"
    "30\n"
    "{\"percent\": 30, \"by\": \"random\", \"reply\": {\"exception\": \"closed for today\"}}\n"
    "```\n\n"
    "`reply` is one of `{\"exception\": \"text\"}`, `{\"base_resp\": {\"code\": 1003, \"message\": "
    "\"text\"}}`,\n"
    "`{\"void\": true}` and `{\"result\": \"<base64 of the result struct>\"}`.\n\n"
    "## config\n\n"
    "Every field is optional; `pool.max_idle` is written `{\"pool\": {\"max_idle\": 128}}`. "
    "`order` "
    "says which\n"
    "names are compared first where several keys set a field: the caller's or the callee's.\n\n";

static const char keys_tail[] =
    "\n## Endpoints\n\n"
    "An endpoint is a key `Service/Cluster/IP:port`, in etcd below "
    "`etcd.services_prefix` or under\n"
    "`services` in the rules file. Its value may be empty:\n\n"
    "```json\n"
    "{\"weight\": 10, \"zone\": \"lf\", \"tags\": {}}\n"
    "```\n\n"
    "Weight 0 drains: no new call. (Kitex's own resolver reads a weight of 0 "
    "as 10.) Addresses that\n"
    "are no host's (`0.0.0.0`, `[::]`, multicast, broadcast, port 0) are "
    "refused and listed; a\n"
    "loopback address in etcd is warned about.\n";

static const char bootstrap_head[] = "# The bootstrap file\n\n"
                                     "YAML, read at start. The least that says something:\n\n"
                                     "```yaml\n"
                                     "listeners:\n"
                                     "  - listen: 127.0.0.1:9090\n"
                                     "etcd: {endpoints: [\"http://127.0.0.1:2379\"]}\n"
                                     "```\n\n"
                                     "`limits.calls` is written `limits: {calls: 1000}`; "
                                     "`listeners[]` is a list. Relative paths start from\n"
                                     "the file's folder. `tside check -c FILE` tells every finding "
                                     "at once; what is marked `not yet` is\n"
                                     "refused. SIGHUP reads the file again: keys marked so apply "
                                     "at once, the others at the next start, and\n"
                                     "the log names those that differ.\n\n";

static const char reasons_head[] = "# Reasons\n\n"
                                   "What can become of a call, the same word in the message of an "
                                   "exception, in the label `reason` of\n"
                                   "`tside_calls_total`, in the access log and in `tside explain`. "
                                   "What tside answers itself is a\n"
                                   "TApplicationException whose message begins with `[tside "
                                   "REASON]`; a degrade rule may say another "
                                   "reply.\n\n";

static const char metrics_head[] = "# Metrics\n\n"
                                   "At `/metrics` of the admin port, in Prometheus' text format; "
                                   "sums over all workers. A label with its\n"
                                   "values behind it has no others.\n\n";

/* ["connect","reset"] */
static void print_set(enum disc_field field)
{
    char text[128];
    union disc_value value = disc_field_default(field);
    (void)disc_value_print(field, &value, text, sizeof text);
    printf("`%s`", text);
}

static void print_default(const struct field_row *field)
{
    for (size_t i = 0; i < LEN(enums); i++) {
        if (strcmp(enums[i].table, field->type) == 0 && strcmp(enums[i].id, field->def) == 0) {
            printf("`%s`", enums[i].text);
        }
    }
    if (strcmp(field->type, "INT") == 0 || strcmp(field->type, "SHARE") == 0 ||
        strcmp(field->type, "DELAY") == 0) {
        printf("`%s`", field->def);
    } else if (is_set(field)) {
        print_set((enum disc_field)(field - fields));
    } else if (strcmp(field->type, "BOOL") == 0) {
        printf("`%s`", strcmp(field->def, "0") == 0 ? "false" : "true");
    }
}

static void print_keys(void)
{
    fputs(keys_head, stdout);
    puts("| field | values | default | order | meaning |\n| --- | --- | --- | --- | --- |");
    for (size_t i = 0; i < LEN(fields); i++) {
        printf("| `%s` | ", fields[i].path);
        print_type(&fields[i]);
        fputs(" | ", stdout);
        print_default(&fields[i]);
        printf(" | %s | %s%s |\n", strcmp(fields[i].order, "CALLEE") == 0 ? "callee" : "caller",
               fields[i].meaning, is_later(fields[i].state) ? " (not yet)" : "");
    }
    fputs(keys_tail, stdout);
}

static void print_bootstrap(void)
{
    fputs(bootstrap_head, stdout);
    bootstrap_print_reference(stdout);
}

static const char *answered_by(const char *id, bool own)
{
    return own ? "tside" : strcmp(id, "DOWNSTREAM_GONE") == 0 ? "nobody" : "the callee";
}

static void print_reasons(void)
{
    fputs(reasons_head, stdout);
    puts("| reason | answered by | meaning |\n| --- | --- | --- |");
#define REASON(id, text, own, test, meaning)                                                       \
    printf("| `%s` | %s | %s |\n", text, answered_by(#id, own), meaning);
#include "sidecar/base/reason.def"
}

struct metric_line {
    const char *name;
    const char *kind;
    const char *labels;
    const char *help;
};

/* Rows of one name stand together and differ in the value of one label; the first has the help. */
static const struct metric_line metrics[] = {
#define METRIC(id, kind, name, labels, help) {name, #kind, labels, help},
#include "sidecar/base/metric.def"
};

static const struct metric_line families[] = {
#define FAMILY(id, kind, name, labels, help) {name, kind, labels, help},
#include "sidecar/base/metric_family.def"
};

static void print_metric(const struct metric_line *metric)
{
    printf("| `%s` | %s | %s | %s |\n", metric->name, metric->kind, metric->labels, metric->help);
}

/* The rows of one name as one line: `cause`: empty, too_large. Returns how many there were. */
static size_t print_metric_rows(const struct metric_line *first, size_t len)
{
    size_t n = 0;
    const char *help = first->help ? first->help : "";
    printf("| `%s` | %s | ", first->name, strcmp(first->kind, "GAUGE") == 0 ? "gauge" : "counter");
    for (; n < len && strcmp(first[n].name, first->name) == 0; n++) {
        const char *labels = first[n].labels; /* label="value" */
        size_t label = strcspn(labels, "=");
        if (labels[0] != '\0') {
            if (n == 0) {
                printf("`%.*s`: ", (int)label, labels);
            }
            printf("%s%.*s", n > 0 ? ", " : "", (int)strcspn(labels + label + 2, "\""),
                   labels + label + 2);
        }
    }
    printf(" | %s |\n", help);
    return n;
}

static void print_metrics(void)
{
    fputs(metrics_head, stdout);
    puts("| metric | kind | labels | meaning |\n| --- | --- | --- | --- |");
    for (size_t i = 0; i < LEN(families); i++) {
        print_metric(&families[i]);
    }
    for (size_t i = 0; i < LEN(metrics);) {
        i += print_metric_rows(&metrics[i], LEN(metrics) - i);
    }
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
        if (*table) {
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
                                     .doc = "Prints a reference page of the manual as Markdown."};
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
