/*
 * sidecar/base/bootstrap_table.c: see sidecar/base/bootstrap_table.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/bootstrap_table.h"

#include "discovery/base/address.h"
#include "discovery/base/closest.h"
#include "sidecar/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define WORDS_MAX         8
#define WORDS_TEXT_MAX    64
#define SOCKET_PATH_BYTES (sizeof((struct sockaddr_un *)NULL)->sun_path - 1)
#define SHOWN_MAX_BYTES   80
#define NO_MEMORY         "out of memory"

const struct option bootstrap_options[] = {
#define ROW(path, type, of_listener, live, min, max, words, def, offset, meaning)                  \
    {path, OPTION_##type, of_listener, live, min, max, words, def, offset, meaning},
#define OPTION(path, type, min, max, words, def, member, meaning)                                  \
    ROW(path, type, false, false, min, max, words, def, offsetof(struct bootstrap, member), meaning)
#define LIVE(path, type, min, max, words, def, member, meaning)                                    \
    ROW(path, type, false, true, min, max, words, def, offsetof(struct bootstrap, member), meaning)
#define LISTENER(path, type, min, max, words, def, member, meaning)                                \
    ROW(path, type, true, false, min, max, words, def,                                             \
        offsetof(struct bootstrap_listener, member), meaning)
#define LATER(path, meaning) ROW(path, LATER, false, false, 0, 0, "", NULL, 0, meaning)
#include "sidecar/base/options.def"
};
const size_t bootstrap_options_len = sizeof bootstrap_options / sizeof bootstrap_options[0];

/* ---- saying why --------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool refuse(struct option_value *value,
                                                         const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(value->why, sizeof value->why, format, args); /* for people: may be cut */
    va_end(args);
    return false;
}

/* "must be <what>, is <value>" */
static bool wrong(struct option_value *value, const char *what)
{
    size_t len = strlen(value->text);
    const char *quote = value->quoted || len == 0 ? "\"" : "";
    return refuse(value, "must be %s, is %s%.*s%s%s", what, quote, SHOWN_MAX_BYTES, value->text,
                  len > SHOWN_MAX_BYTES ? "..." : "", quote);
}

static bool wrong_range(struct option_value *value)
{
    char what[64];
    (void)snprintf(what, sizeof what, "an integer %" PRId64 "..%" PRId64, value->option->min,
                   value->option->max);
    return wrong(value, what);
}

/* ---- storing ------------------------------------------------------------------------------ */

static void *member(struct option_value *value)
{
    return (char *)value->base + value->option->offset;
}

static bool set_string(struct option_value *value, char **slot, const char *text)
{
    char *copy = strdup(text);
    if (!copy) {
        return refuse(value, NO_MEMORY);
    }
    free(*slot);
    *slot = copy;
    return true;
}

static bool append_string(struct option_value *value, char **items, size_t *len)
{
    if (*len >= (size_t)value->option->max) {
        return refuse(value, "at most %" PRId64 " of them", value->option->max);
    }
    for (size_t i = 0; i < *len; i++) {
        if (strcmp(items[i], value->text) == 0) {
            return refuse(value, "stands twice: %.*s", SHOWN_MAX_BYTES, value->text);
        }
    }
    items[*len] = NULL;
    if (!set_string(value, &items[*len], value->text)) {
        return false;
    }
    ++*len;
    return true;
}

/* Relative ones start from the bootstrap file's folder. NULL when out of memory. */
static char *absolute(const struct option_value *value, const char *path)
{
    char *joined;
    if (path[0] == '/') {
        return strdup(path);
    }
    return asprintf(&joined, "%s/%s", value->folder, path) < 0 ? NULL : joined;
}

/* ---- numbers and words -------------------------------------------------------------------- */

static bool parse_uint(struct option_value *value, uint64_t *ret)
{
    const char *text = value->text;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (value->quoted || text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
        n < (uint64_t)value->option->min || n > (uint64_t)value->option->max) {
        return wrong_range(value);
    }
    *ret = n;
    return true;
}

static bool set_uint(struct option_value *value)
{
    return parse_uint(value, member(value));
}

static bool set_count(struct option_value *value)
{
    uint64_t n = 0;
    if (!parse_uint(value, &n)) {
        return false;
    }
    *(uint32_t *)member(value) = (uint32_t)n;
    return true;
}

static bool set_mode(struct option_value *value)
{
    char *end;
    unsigned long mode = strtoul(value->text, &end, 8);
    if (strspn(value->text, "01234567") != strlen(value->text) || value->text[0] == '\0' ||
        mode == 0 || mode > (unsigned long)value->option->max) {
        return wrong(value, "octal, \"0001\"..\"0777\"");
    }
    *(uint32_t *)member(value) = (uint32_t)mode;
    return true;
}

static bool set_bool(struct option_value *value)
{
    bool is_true = strcmp(value->text, "true") == 0;
    if (value->quoted || (!is_true && strcmp(value->text, "false") != 0)) {
        return wrong(value, "true or false");
    }
    *(bool *)member(value) = is_true;
    return true;
}

/* "a|!b" as words without their marks. */
struct words {
    size_t n;
    const char *word[WORDS_MAX];
    bool later[WORDS_MAX];
    char text[WORDS_TEXT_MAX];
};

static void split_words(const char *from, struct words *words)
{
    char *save;
    words->n = 0;
    (void)snprintf(words->text, sizeof words->text, "%s", from);
    for (char *word = strtok_r(words->text, "|", &save); word && words->n < WORDS_MAX;
         word = strtok_r(NULL, "|", &save)) {
        words->later[words->n] = word[0] == '!';
        words->word[words->n++] = word + (word[0] == '!');
    }
}

static bool find_word(struct option_value *value, size_t *ret)
{
    struct words words;
    char what[2 * WORDS_TEXT_MAX] = "";
    size_t len = 0;
    split_words(value->option->words, &words);
    for (size_t i = 0; i < words.n; i++) {
        if (strcmp(words.word[i], value->text) == 0) {
            *ret = i;
            value->later = words.later[i];
            return !words.later[i] || refuse(value, "%s", value->text);
        }
        len += (size_t)snprintf(what + len, sizeof what - len, "%s%s",
                                i == 0             ? ""
                                : i + 1 == words.n ? " or "
                                                   : ", ",
                                words.word[i]);
    }
    (void)wrong(value, what);
    const char *closest = disc_closest(value->text, words.word, words.n);
    len = strlen(value->why);
    if (closest) {
        (void)snprintf(value->why + len, sizeof value->why - len, ", did you mean %s?", closest);
    }
    return false;
}

static bool set_word(struct option_value *value)
{
    size_t index;
    return find_word(value, &index);
}

static bool add_word(struct option_value *value)
{
    size_t index;
    if (!find_word(value, &index)) {
        return false;
    }
    *(uint32_t *)member(value) |= UINT32_C(1) << index;
    return true;
}

static bool set_switch(struct option_value *value)
{
    size_t index;
    if (!find_word(value, &index)) {
        return false;
    }
    *(bool *)member(value) = index == 1;
    return true;
}

static bool set_level(struct option_value *value)
{
    size_t index;
    if (!find_word(value, &index)) {
        return false;
    }
    *(int *)member(value) = (int)index; /* the words stand in the order of enum log_level */
    return true;
}

static bool set_extra_id(struct option_value *value)
{
    size_t index;
    if (!find_word(value, &index)) {
        return false;
    }
    *(int *)member(value) = index == 0 ? 0 : atoi(value->text);
    return true;
}

/* ---- text --------------------------------------------------------------------------------- */

static bool check_text(struct option_value *value)
{
    int64_t len = (int64_t)strlen(value->text);
    for (const char *p = value->text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            return refuse(value, "has a control byte");
        }
    }
    if (len < value->option->min || len > value->option->max) {
        return value->option->min > 0 && len == 0
                   ? refuse(value, "must not be empty")
                   : refuse(value, "must be %" PRId64 "..%" PRId64 " bytes long, is %" PRId64,
                            value->option->min, value->option->max, len);
    }
    return true;
}

static bool set_text(struct option_value *value)
{
    return check_text(value) && set_string(value, member(value), value->text);
}

static bool set_name(struct option_value *value)
{
    return check_text(value) &&
           set_string(value, member(value), strcmp(value->text, "-") == 0 ? "" : value->text);
}

static bool set_prefix(struct option_value *value)
{
    size_t len = strlen(value->text);
    if (len > 0 && (value->text[0] != '/' || value->text[len - 1] == '/')) {
        return wrong(value, "a prefix that begins with / and does not end with it");
    }
    return set_text(value);
}

static bool set_file(struct option_value *value)
{
    if (!check_text(value)) {
        return false;
    }
    char *path = absolute(value, value->text);
    if (!path) {
        return refuse(value, NO_MEMORY);
    }
    char **slot = member(value);
    free(*slot);
    *slot = path;
    return true;
}

static bool check_socket_path(struct option_value *value, const char *path)
{
    return strlen(path) <= SOCKET_PATH_BYTES ||
           refuse(value, "the socket's path has %zu bytes, the kernel takes %zu: %s", strlen(path),
                  SOCKET_PATH_BYTES, path);
}

static bool set_socket(struct option_value *value)
{
    char **slot = member(value);
    if (value->text[0] == '\0') {
        free(*slot);
        *slot = NULL;
        return true;
    }
    return set_file(value) && check_socket_path(value, *slot);
}

static bool add_claim(struct option_value *value)
{
    if (strcmp(value->text, "-") == 0) {
        return wrong(value, "a name");
    }
    if (!check_text(value)) {
        return false;
    }
    switch (claims_add(member(value), value->uid, value->text)) {
    case 0:
        return true;
    case -EEXIST:
        return refuse(value, "stands twice: %.*s", SHOWN_MAX_BYTES, value->text);
    case -E2BIG:
        return refuse(value, "at most %d of them", CLAIMS_MAX);
    default:
        return refuse(value, NO_MEMORY);
    }
}

/* ---- addresses ---------------------------------------------------------------------------- */

/* "127.0.0.1:80" or "[::1]:80" into *host (the caller's) and *port. */
static bool parse_tcp(struct option_value *value, char **host, uint16_t *port)
{
    static const char what[] = "an IP address and a port, 127.0.0.1:9090 or [::1]:9090";
    const char *text = value->text;
    struct address address;
    enum address_fault fault = address_parse(text, strlen(text), &address);
    const char *port_text = strrchr(text, ':');
    if (fault == ADDRESS_BAD_HOST && port_text == text + (text[0] == '*')) {
        return refuse(value, "must name an IP address: 0.0.0.0%s or [::]%s is every one", port_text,
                      port_text);
    }
    if (fault != ADDRESS_GOOD || address.kind == ADDRESS_NAME) {
        return wrong(value, what);
    }
    *port = address.port;
    *host = strdup(address.host);
    return *host != NULL || refuse(value, NO_MEMORY);
}

static bool set_listen(struct option_value *value)
{
    struct bootstrap_listener *listener = value->base;
    bool is_unix = strncmp(value->text, "unix:", 5) == 0;
    char *host = NULL;
    uint16_t port = 0;
    if (!is_unix) {
        if (!parse_tcp(value, &host, &port)) {
            return false;
        }
    } else {
        if (value->text[5] == '\0') {
            return wrong(value, "unix: and a path");
        }
        host = absolute(value, value->text + 5);
        if (!host || !check_socket_path(value, host)) {
            free(host);
            return !host ? refuse(value, NO_MEMORY) : false;
        }
    }
    free(listener->host);
    listener->host = host;
    listener->port = port;
    listener->is_unix = is_unix;
    return set_string(value, &listener->listen, value->text);
}

static bool set_admin_listen(struct option_value *value)
{
    struct bootstrap *bootstrap = value->base;
    char *host = NULL;
    uint16_t port = 0;
    if (value->text[0] != '\0' && !parse_tcp(value, &host, &port)) {
        return false;
    }
    free(bootstrap->admin.host);
    bootstrap->admin.host = host;
    bootstrap->admin.port = port;
    if (!host) {
        free(bootstrap->admin.listen);
        bootstrap->admin.listen = NULL;
        return true;
    }
    return set_string(value, &bootstrap->admin.listen, value->text);
}

static bool add_host(struct option_value *value)
{
    struct bootstrap *bootstrap = value->base;
    struct address host;
    if (address_parse_host(value->text, strlen(value->text), &host) != ADDRESS_GOOD ||
        host.kind == ADDRESS_V6) {
        return wrong(value, "a host's name without a port");
    }
    return append_string(value, bootstrap->admin.hosts, &bootstrap->admin.hosts_len);
}

static bool add_url(struct option_value *value)
{
    struct bootstrap *bootstrap = value->base;
    static const char what[] = "an address like http://127.0.0.1:2379";
    if (strncmp(value->text, "https://", 8) == 0) {
        value->later = true;
        return refuse(value, "%.*s", SHOWN_MAX_BYTES, value->text);
    }
    const char *at = value->text + strlen("http://");
    struct address address;
    if (strncmp(value->text, "http://", 7) != 0 ||
        address_parse(at, strlen(at), &address) != ADDRESS_GOOD || address.port == 0) {
        return wrong(value, what);
    }
    return append_string(value, bootstrap->etcd.endpoints, &bootstrap->etcd.endpoints_len);
}

/* ---- by type ------------------------------------------------------------------------------ */

void option_clear(const struct option *option, void *base)
{
    if (option->type == OPTION_WORDS) {
        *(uint32_t *)(void *)((char *)base + option->offset) = 0;
    }
}

bool option_set(struct option_value *value)
{
    static bool (*const set[OPTION_TYPE_MAX])(struct option_value *) = {
        [OPTION_UINT] = set_uint,
        [OPTION_COUNT] = set_count,
        [OPTION_TEXT] = set_text,
        [OPTION_NAME] = set_name,
        [OPTION_PREFIX] = set_prefix,
        [OPTION_FILE] = set_file,
        [OPTION_SOCKET] = set_socket,
        [OPTION_LISTEN] = set_listen,
        [OPTION_ADMIN_LISTEN] = set_admin_listen,
        [OPTION_MODE] = set_mode,
        [OPTION_EXTRA_ID] = set_extra_id,
        [OPTION_BOOL] = set_bool,
        [OPTION_SWITCH] = set_switch,
        [OPTION_LEVEL] = set_level,
        [OPTION_WORD] = set_word,
        [OPTION_CLAIMS] = add_claim,
        [OPTION_WORDS] = add_word,
        [OPTION_URLS] = add_url,
        [OPTION_HOSTS] = add_host,
    };
    return set[value->option->type](value);
}

/* ---- the manual --------------------------------------------------------------------------- */

/* Of those without words and numbers. */
static const char *const shown_types[OPTION_TYPE_MAX] = {
    [OPTION_TEXT] = "text",
    [OPTION_NAME] = "name",
    [OPTION_PREFIX] = "`/prefix`",
    [OPTION_FILE] = "path",
    [OPTION_SOCKET] = "path",
    [OPTION_LISTEN] = "address",
    [OPTION_ADMIN_LISTEN] = "address",
    [OPTION_MODE] = "octal",
    [OPTION_CLAIMS] = "uids and their lists of names",
    [OPTION_URLS] = "list of URLs",
    [OPTION_HOSTS] = "list of names",
    [OPTION_LATER] = "not yet",
};

static void print_values(FILE *out, const struct option *option)
{
    struct words words;
    split_words(option->words, &words);
    for (size_t i = 0; i < words.n; i++) {
        fprintf(out, "%s%s%s", i > 0 ? ", " : "", words.word[i],
                words.later[i] ? " (not yet)" : "");
    }
    if (option->type == OPTION_UINT || option->type == OPTION_COUNT) {
        fprintf(out, "%" PRId64 "..%" PRId64, option->min, option->max);
    } else if (shown_types[option->type]) {
        fputs(shown_types[option->type], out);
    }
}

void bootstrap_print_reference(FILE *out)
{
    fputs("| key | values | default | meaning |\n| --- | --- | --- | --- |\n", out);
    for (size_t i = 0; i < bootstrap_options_len; i++) {
        const struct option *option = &bootstrap_options[i];
        const char *def = !option->def ? "" : option->def[0] == '\0' ? "\"\"" : option->def;
        fprintf(out, "| `%s` | ", option->path);
        print_values(out, option);
        fprintf(out, " | %s%s%s | %s%s |\n", def[0] != '\0' ? "`" : "", def,
                def[0] != '\0' ? "`" : "", option->meaning, option->live ? " (SIGHUP)" : "");
    }
}
