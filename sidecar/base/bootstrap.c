/*
 * sidecar/base/bootstrap.c: see sidecar/base/bootstrap.h.
 *
 * Walks the file's tree along the table of options.def: what a key holds is read by its row
 * (bootstrap_table.c), what rows cannot express is checked at the end. No finding stops the walk.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/bootstrap.h"

#include "discovery/base/closest.h"
#include "discovery/file/yaml_json.h"
#include "sidecar/base/bootstrap_table.h"
#include "sidecar/base/extra_key.h"
#include "sidecar/base/listen_socket.h"

#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_MAX_BYTES     128 /* a key's, "listeners[].deadline.entry" */
#define SIBLINGS_MAX       64
#define FILES_RESERVE      256 /* etcd, admin, disk, resolvers, libraries */
#define FILES_PER_WORKER   16  /* loop, wake-up, signals; and each listener's */
#define FILES_A_CONNECTION 2   /* the caller's and its callee's */

struct place {
    size_t line;
    size_t column;
};

struct reader {
    const char *path;
    char *folder;
    struct bootstrap *bootstrap;
    bootstrap_finding_fn report;
    void *arg;
    size_t findings;
    struct finding *list; /* [findings] */
    bool short_of_memory;
    struct place etcd;
    struct place listeners[BOOTSTRAP_LISTENERS_MAX];
};

/* ---- findings ----------------------------------------------------------------------------- */

struct finding {
    struct place place;
    size_t order; /* of being found: equal places stay in it */
    char *text;
};

__attribute__((format(printf, 3, 4))) static void find(struct reader *reader, struct place place,
                                                       const char *format, ...)
{
    char message[1024];
    struct finding finding = {.place = place, .order = reader->findings};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args); /* for people: may be cut */
    va_end(args);
    struct finding *list = realloc(reader->list, (reader->findings + 1) * sizeof *list);
    if (!list || asprintf(&finding.text, "%s:%zu:%zu: %s", reader->path, place.line, place.column,
                          message) < 0) {
        reader->list = list ? list : reader->list;
        reader->short_of_memory = true;
        return;
    }
    reader->list = list;
    list[reader->findings++] = finding;
}

static int compare_findings(const void *left, const void *right)
{
    const struct finding *a = left;
    const struct finding *b = right;
    if (a->place.line != b->place.line) {
        return a->place.line < b->place.line ? -1 : 1;
    }
    if (a->place.column != b->place.column) {
        return a->place.column < b->place.column ? -1 : 1;
    }
    return a->order < b->order ? -1 : 1;
}

/* From the file's beginning to its end. */
static void report_findings(struct reader *reader)
{
    if (reader->findings > 0) {
        qsort(reader->list, reader->findings, sizeof *reader->list, compare_findings);
    }
    for (size_t i = 0; i < reader->findings; i++) {
        reader->report(reader->arg, reader->list[i].text);
        free(reader->list[i].text);
    }
    free(reader->list);
    if (reader->short_of_memory) {
        reader->report(reader->arg, "out of memory");
    }
}

static struct place place_of(const struct disc_yaml_node *node)
{
    return (struct place){node->line, node->column};
}

/* ---- walking ------------------------------------------------------------------------------ */

/* Where the walk stands: keys below `prefix` are read into `base`. */
struct level {
    char prefix[PATH_MAX_BYTES]; /* "", "limits.", "listeners[].deadline." */
    void *base;
};

static const struct option *find_option(const char *path)
{
    for (size_t i = 0; i < bootstrap_options_len; i++) {
        if (strcmp(bootstrap_options[i].path, path) == 0) {
            return &bootstrap_options[i];
        }
    }
    return NULL;
}

/* What stands below a path. */
enum section { SECTION_NONE = 0, SECTION_MAPPING, SECTION_LIST };

static enum section section_kind(const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < bootstrap_options_len; i++) {
        const char *option = bootstrap_options[i].path;
        if (strncmp(option, path, len) == 0 && (option[len] == '.' || option[len] == '[')) {
            return option[len] == '[' ? SECTION_LIST : SECTION_MAPPING;
        }
    }
    return SECTION_NONE;
}

static void find_unknown(struct reader *reader, const struct level *level,
                         const struct disc_yaml_node *key)
{
    char names[SIBLINGS_MAX][PATH_MAX_BYTES];
    const char *known[SIBLINGS_MAX];
    size_t n = 0;
    size_t len = strlen(level->prefix);
    for (size_t i = 0; i < bootstrap_options_len && n < SIBLINGS_MAX; i++) {
        const char *path = bootstrap_options[i].path;
        if (strncmp(path, level->prefix, len) == 0) {
            (void)snprintf(names[n], sizeof names[n], "%.*s", (int)strcspn(path + len, ".["),
                           path + len);
            known[n] = names[n];
            n++;
        }
    }
    const char *closest = disc_closest(key->text, known, n);
    find(reader, place_of(key), "unknown key %s%.80s%s%s%s", level->prefix, key->text,
         closest ? ", did you mean " : "", closest ? closest : "", closest ? "?" : "");
}

/* value says the option and its base. */
static void apply(struct reader *reader, struct option_value value,
                  const struct disc_yaml_node *node)
{
    const struct option *option = value.option;
    value.folder = reader->folder;
    value.text = node->text;
    value.quoted = !node->plain;
    if (node->kind != DISC_YAML_SCALAR) {
        find(reader, place_of(node), "%s must be a single value, is a %s", option->path,
             node->kind == DISC_YAML_LIST ? "list" : "mapping");
    } else if (strlen(node->text) != node->len) {
        find(reader, place_of(node), "%s has a control byte", option->path);
    } else if (!option_set(&value) && value.later) {
        find(reader, place_of(node), "not yet: %s: %s", option->path, value.why);
    } else if (value.why[0] != '\0') {
        find(reader, place_of(node), "%s %s", option->path, value.why);
    }
}

static void apply_list(struct reader *reader, const struct option *option, void *base,
                       const struct disc_yaml_node *node)
{
    if (node->kind != DISC_YAML_LIST) {
        find(reader, place_of(node), "%s must be a list", option->path);
        return;
    }
    if (node->n == 0 && option->min > 0) {
        find(reader, place_of(node), "%s must not be empty", option->path);
    }
    option_clear(option, base);
    for (size_t i = 0; i < node->n; i++) {
        apply(reader, (struct option_value){.option = option, .base = base}, &node->values[i]);
    }
}

static void apply_claims(struct reader *reader, const struct option *option, void *base,
                         const struct disc_yaml_node *node)
{
    struct option_value value = {.option = option, .base = base};
    if (node->kind != DISC_YAML_MAP) {
        find(reader, place_of(node), "%s must be a mapping of uids to lists of names",
             option->path);
        return;
    }
    ((struct bootstrap_listener *)base)->uids.set = true;
    for (size_t i = 0; i < node->n; i++) {
        const struct disc_yaml_node *names = &node->values[i];
        if (!claims_parse_uid(node->keys[i].text, &value.uid)) {
            find(reader, place_of(&node->keys[i]), "%s must name uids as numbers, is %.80s",
                 option->path, node->keys[i].text);
        } else if (names->kind != DISC_YAML_LIST) {
            find(reader, place_of(names), "%s must have a list of names for each uid",
                 option->path);
        } else {
            for (size_t j = 0; j < names->n; j++) {
                apply(reader, value, &names->values[j]);
            }
        }
    }
}

static void apply_defaults(struct reader *reader, bool of_listener, void *base)
{
    for (size_t i = 0; i < bootstrap_options_len; i++) {
        const struct option *option = &bootstrap_options[i];
        if (option->of_listener != of_listener || !option->def) {
            continue;
        }
        struct option_value value = {
            .option = option, .folder = reader->folder, .text = option->def, .base = base};
        if (!option_set(&value)) { /* out of memory, or the table is wrong: tests would see */
            find(reader, (struct place){1, 1}, "%s %s", option->path, value.why);
        }
    }
}

/* Whether an entry of that name would be taken for something else. */
static bool has_a_meaning(const char *entry)
{
    static const char *const keys[] = {EXTRA_KEY_CLUSTER,      EXTRA_KEY_DEST_SERVICE,
                                       EXTRA_KEY_DEST_CLUSTER, EXTRA_KEY_USER_EXTRA,
                                       EXTRA_KEY_STAMP,        EXTRA_KEY_RETRY};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(entry, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void check_deadline_entry(struct reader *reader, struct bootstrap_listener *listener,
                                 struct place place)
{
    listener->deadline_entry_len =
        listener->deadline_entry ? (uint32_t)strlen(listener->deadline_entry) : 0;
    if (listener->deadline_entry && has_a_meaning(listener->deadline_entry)) {
        find(reader, place, "listeners[].deadline.entry: %s has another meaning in Extra",
             listener->deadline_entry);
    }
}

/* Keeps the places of keys that are checked later, and which keys the file has. */
static void note(struct reader *reader, const char *path, struct place place)
{
    struct bootstrap *bootstrap = reader->bootstrap;
    if (strcmp(path, "etcd") == 0) {
        reader->etcd = place;
    } else if (strcmp(path, "limits.connections") == 0) {
        bootstrap->limits.connections_set = true;
    }
}

static void walk(struct reader *reader, const struct level *level,
                 const struct disc_yaml_node *node);

static void walk_listener(struct reader *reader, const struct disc_yaml_node *node)
{
    struct bootstrap *bootstrap = reader->bootstrap;
    if (bootstrap->listeners_len == BOOTSTRAP_LISTENERS_MAX) {
        find(reader, place_of(node), "at most %d listeners", BOOTSTRAP_LISTENERS_MAX);
        return;
    }
    size_t findings = reader->findings;
    reader->listeners[bootstrap->listeners_len] = place_of(node);
    struct bootstrap_listener *listener = &bootstrap->listeners[bootstrap->listeners_len++];
    apply_defaults(reader, true, listener);
    walk(reader, &(struct level){.prefix = "listeners[].", .base = listener}, node);
    check_deadline_entry(reader, listener, place_of(node));
    if (!listener->listen) {
        if (findings == reader->findings) { /* else it may stand there, misspelt */
            find(reader, place_of(node), "listeners[].listen is missing");
        }
    } else if (!listener->is_unix && (listener->mode != 0 || listener->uids.set)) {
        find(reader, place_of(node), "listeners[].%s is for unix listeners, this is %s",
             listener->mode != 0 ? "mode" : "uids", listener->listen);
    }
}

static void walk_listeners(struct reader *reader, const char *path,
                           const struct disc_yaml_node *node)
{
    if (node->kind != DISC_YAML_LIST) {
        find(reader, place_of(node), "%s must be a list", path);
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        walk_listener(reader, &node->values[i]);
    }
}

/* One key: an option, a section, or a mistake. */
static void walk_key(struct reader *reader, const struct level *level,
                     const struct disc_yaml_node *key, const struct disc_yaml_node *value)
{
    char path[PATH_MAX_BYTES];
    int len = snprintf(path, sizeof path, "%s%s", level->prefix, key->text);
    bool known =
        key->len == strlen(key->text) && (size_t)len < sizeof path && !strpbrk(key->text, ".[]");
    const struct option *option = known ? find_option(path) : NULL;
    enum section section = known ? section_kind(path) : SECTION_NONE;
    if (!option && section == SECTION_NONE) {
        find_unknown(reader, level, key);
        return;
    }
    note(reader, path, place_of(option ? value : key));
    if (option && option->type == OPTION_LATER) {
        find(reader, place_of(key), "not yet: %s (%s)", option->path, option->meaning);
    } else if (option && option->type >= OPTION_LISTS) {
        apply_list(reader, option, level->base, value);
    } else if (option && option->type == OPTION_CLAIMS) {
        apply_claims(reader, option, level->base, value);
    } else if (option) {
        apply(reader, (struct option_value){.option = option, .base = level->base}, value);
    } else if (section == SECTION_LIST) {
        walk_listeners(reader, path, value);
    } else {
        struct level below = {.base = level->base};
        (void)snprintf(below.prefix, sizeof below.prefix, "%.*s.", (int)sizeof below.prefix - 2,
                       path);
        walk(reader, &below, value);
    }
}

static void walk(struct reader *reader, const struct level *level,
                 const struct disc_yaml_node *node)
{
    if (node->kind != DISC_YAML_MAP) {
        size_t len = strlen(level->prefix);
        find(reader, place_of(node), "%.*s must be a mapping%s", len > 0 ? (int)len - 1 : 8,
             len > 0 ? level->prefix : "the file",
             node->kind == DISC_YAML_SCALAR && node->len == 0 ? ", is empty" : "");
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        walk_key(reader, level, &node->keys[i], &node->values[i]);
    }
}

/* ---- what rows cannot express ------------------------------------------------------------- */

/* By what the kernel would bind: an IPv6 address has many spellings. */
static bool same_listen(const struct bootstrap_listener *a, const struct bootstrap_listener *b)
{
    union socket_address at_a, at_b;
    return socket_address_of(a->host, a->port, a->is_unix, &at_a) != 0 &&
           socket_address_of(b->host, b->port, b->is_unix, &at_b) != 0 &&
           socket_address_equal(&at_a, &at_b);
}

static void check_listeners(struct reader *reader)
{
    const struct bootstrap *bootstrap = reader->bootstrap;
    const struct bootstrap_listener admin = {.host = bootstrap->admin.host,
                                             .port = bootstrap->admin.port};
    for (size_t i = 0; i < bootstrap->listeners_len; i++) {
        const struct bootstrap_listener *a = &bootstrap->listeners[i];
        if (!a->listen || (!a->is_unix && a->port == 0)) {
            continue;
        }
        for (size_t j = 0; j < i; j++) {
            const struct bootstrap_listener *b = &bootstrap->listeners[j];
            if (b->listen && same_listen(a, b)) {
                find(reader, reader->listeners[i], "%s stands twice, before in line %zu", a->listen,
                     reader->listeners[j].line);
            }
        }
        if (admin.host && same_listen(a, &admin)) {
            find(reader, reader->listeners[i], "%s is admin.listen", a->listen);
        }
        if (bootstrap->admin.socket && strcmp(a->host, bootstrap->admin.socket) == 0) {
            find(reader, reader->listeners[i], "%s is admin.socket", a->listen);
        }
    }
}

static void check_whole(struct reader *reader, const struct disc_yaml_node *root)
{
    const struct bootstrap *bootstrap = reader->bootstrap;
    struct place top = place_of(root);
    bool no_findings = reader->findings == 0;
    check_listeners(reader);
    if (reader->etcd.line != 0 && bootstrap->etcd.endpoints_len == 0 && no_findings) {
        find(reader, reader->etcd, "etcd.endpoints is missing");
    }
    /* A misspelt key has been reported: that it is missing is no second finding. */
    if (bootstrap->listeners_len == 0 && no_findings) {
        find(reader, top, "listeners is missing: nobody could call");
    }
    if (!bootstrap->rules_file && reader->etcd.line == 0 && no_findings) {
        find(reader, top, "rules_file or etcd is missing: nothing says where calls go");
    }
}

/* ---- what depends on the host ------------------------------------------------------------- */

/* The share of cgroup v2, rounded up; UINT32_MAX where there is none. */
static uint32_t cgroup_cpus(void)
{
    uint64_t quota, period;
    uint32_t cpus = UINT32_MAX;
    FILE *in = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (in) {
        if (fscanf(in, "%" SCNu64 " %" SCNu64, &quota, &period) == 2 && period > 0) {
            uint64_t n = (quota + period - 1) / period;
            cpus = n < 1 ? 1 : n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
        }
        (void)fclose(in); /* only read */
    }
    return cpus;
}

static uint32_t usable_cpus(void)
{
    cpu_set_t set;
    uint32_t cpus = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        cpus = (uint32_t)CPU_COUNT(&set);
    }
    uint32_t share = cgroup_cpus();
    cpus = cpus < share ? cpus : share;
    cpus = cpus < BOOTSTRAP_WORKERS_MAX ? cpus : BOOTSTRAP_WORKERS_MAX;
    return cpus > 0 ? cpus : 1;
}

static void fill_from_host(struct reader *reader)
{
    struct bootstrap *bootstrap = reader->bootstrap;
    char name[256] = "";
    if (bootstrap->workers == 0) {
        bootstrap->workers = usable_cpus();
    }
    if (!bootstrap->node_name) {
        (void)gethostname(name, sizeof name - 1); /* without one: localhost */
        bootstrap->node_name = strdup(name[0] != '\0' ? name : "localhost");
        reader->short_of_memory |= !bootstrap->node_name;
    }
}

/* ---- loading ------------------------------------------------------------------------------ */

/* The folder of path, absolute. Links are not followed: a mounted ConfigMap swaps them. */
static char *folder_of(const char *path)
{
    char *folder = NULL;
    const char *slash = strrchr(path, '/');
    int len = !slash ? 0 : slash == path ? 1 : (int)(slash - path);
    if (path[0] == '/') {
        return strndup(path, (size_t)len);
    }
    char *cwd = getcwd(NULL, 0);
    if (cwd && asprintf(&folder, "%s%s%.*s", cwd, len > 0 ? "/" : "", len, path) < 0) {
        folder = NULL;
    }
    free(cwd);
    return folder;
}

static void report_yaml(void *arg, size_t line, size_t column, const char *message)
{
    find(arg, (struct place){line, column}, "%s", message);
}

static void read_all(struct reader *reader)
{
    size_t len, findings;
    char *text;
    int error = disc_yaml_slurp(reader->path, &text, &len);
    if (error != 0) {
        find(reader, (struct place){1, 1}, "cannot be read: %s", strerror(-error));
        return;
    }
    struct disc_yaml_node *root = disc_yaml_read(text, len, report_yaml, reader, &findings);
    free(text);
    if (!root) {
        return;
    }
    apply_defaults(reader, false, reader->bootstrap);
    walk(reader, &(struct level){.base = reader->bootstrap}, root);
    fill_from_host(reader);
    check_whole(reader, root);
    disc_yaml_free(root);
}

struct bootstrap *bootstrap_read(const char *path, bootstrap_finding_fn report, void *arg,
                                 bool *ret_good)
{
    struct reader reader = {.path = path, .report = report, .arg = arg};
    reader.bootstrap = calloc(1, sizeof *reader.bootstrap);
    reader.folder = folder_of(path);
    if (reader.bootstrap) {
        reader.bootstrap->path = strdup(path);
    }
    if (!reader.bootstrap || !reader.folder || !reader.bootstrap->path) {
        reader.short_of_memory = true;
    } else {
        read_all(&reader);
    }
    report_findings(&reader);
    free(reader.folder);
    *ret_good = reader.findings == 0 && !reader.short_of_memory;
    return reader.bootstrap;
}

struct bootstrap *bootstrap_load(const char *path, bootstrap_finding_fn report, void *arg)
{
    bool good;
    struct bootstrap *bootstrap = bootstrap_read(path, report, arg, &good);
    return good ? bootstrap : bootstrap_free(bootstrap);
}

static void listener_clear(struct bootstrap_listener *listener)
{
    free(listener->listen);
    free(listener->host);
    free(listener->caller_service);
    free(listener->caller_cluster);
    free(listener->callee_service);
    free(listener->callee_cluster);
    free(listener->deadline_entry);
    claims_done(&listener->uids);
}

struct bootstrap *bootstrap_free(struct bootstrap *bootstrap)
{
    if (!bootstrap) {
        return NULL;
    }
    for (size_t i = 0; i < bootstrap->listeners_len; i++) {
        listener_clear(&bootstrap->listeners[i]);
    }
    for (size_t i = 0; i < bootstrap->etcd.endpoints_len; i++) {
        free(bootstrap->etcd.endpoints[i]);
    }
    for (size_t i = 0; i < bootstrap->admin.hosts_len; i++) {
        free(bootstrap->admin.hosts[i]);
    }
    free(bootstrap->path);
    free(bootstrap->node_name);
    free(bootstrap->node_zone);
    free(bootstrap->rules_file);
    free(bootstrap->etcd.rules_prefix);
    free(bootstrap->etcd.services_prefix);
    free(bootstrap->etcd.fleet_prefix);
    free(bootstrap->state_dir);
    free(bootstrap->admin.listen);
    free(bootstrap->admin.host);
    free(bootstrap->admin.socket);
    free(bootstrap);
    return NULL;
}

static uint64_t files_reserved(const struct bootstrap *bootstrap)
{
    return FILES_RESERVE +
           (uint64_t)bootstrap->workers * (FILES_PER_WORKER + bootstrap->listeners_len);
}

static void print_unfit(const struct bootstrap *bootstrap, uint64_t files, uint64_t fits, char *out,
                        size_t cap)
{
    int n = snprintf(out, cap,
                     "%s: limits.connections of %" PRIu64 " needs %" PRIu64
                     " file descriptors, RLIMIT_NOFILE allows %" PRIu64 ": raise it (LimitNOFILE=)",
                     bootstrap->path, bootstrap->limits.connections,
                     bootstrap->limits.connections * FILES_A_CONNECTION + files_reserved(bootstrap),
                     files);
    if (fits > 0 && n > 0 && (size_t)n < cap) {
        (void)snprintf(out + n, cap - (size_t)n, " or set limits.connections to at most %" PRIu64,
                       fits);
    }
}

bool bootstrap_fit(struct bootstrap *bootstrap, uint64_t files, bootstrap_finding_fn report,
                   void *arg)
{
    uint64_t reserved = files_reserved(bootstrap);
    uint64_t left = files > reserved ? files - reserved : 0;
    uint64_t fits = left / FILES_A_CONNECTION;
    bool fitting = bootstrap->limits.connections <= fits;
    if (!fitting && (bootstrap->limits.connections_set || fits == 0)) {
        char finding[512];
        print_unfit(bootstrap, files, fits, finding, sizeof finding);
        report(arg, finding);
        return false;
    }
    if (!fitting) {
        bootstrap->limits.connections = fits;
        bootstrap->limits.connections_lowered = true;
    }
    bootstrap->limits.upstream_connections = left - bootstrap->limits.connections;
    return true;
}
