/*
 * sidecar/base/bootstrap_table.h: options.def as a table, and how each type is read. Private to
 * bootstrap*.c.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_BOOTSTRAP_TABLE_H
#define TSIDE_SIDECAR_BASE_BOOTSTRAP_TABLE_H

#include "sidecar/base/bootstrap.h"

enum option_type {
    OPTION_UINT = 0,     /* uint64_t within min..max */
    OPTION_COUNT,        /* uint32_t likewise */
    OPTION_TEXT,         /* char *, min..max bytes */
    OPTION_NAME,         /* char *: one of the five names; "" and "-" are none */
    OPTION_PREFIX,       /* char *: of keys */
    OPTION_FILE,         /* char *: made absolute from the file's folder */
    OPTION_SOCKET,       /* likewise, "" gives NULL */
    OPTION_LISTEN,       /* listen, is_unix, host and port of a listener */
    OPTION_ADMIN_LISTEN, /* listen, host and port of admin; "" gives NULL */
    OPTION_MODE,         /* uint32_t, octal */
    OPTION_EXTRA_ID,     /* int, 0 for auto */
    OPTION_BOOL,         /* bool */
    OPTION_SWITCH,       /* bool: the second of two words */
    OPTION_LEVEL,        /* int: index of the word */
    OPTION_WORD,         /* checked only */
    OPTION_CLAIMS,       /* struct claims: a mapping of uids to lists of names, one name a value */
    OPTION_LISTS,        /* those behind are lists of scalars */
    OPTION_WORDS = OPTION_LISTS, /* uint32_t: a bit for each word */
    OPTION_URLS,
    OPTION_HOSTS,
    OPTION_LATER, /* refused whatever its value */
    OPTION_TYPE_MAX
};

struct option {
    const char *path;
    enum option_type type;
    bool of_listener;
    bool live; /* SIGHUP changes it */
    int64_t min, max;
    const char *words;
    const char *def; /* NULL: none */
    size_t offset;   /* of the member */
    const char *meaning;
};

extern const struct option bootstrap_options[];
extern const size_t bootstrap_options_len;

/* One scalar on its way into a member. */
struct option_value {
    const struct option *option;
    const char *folder; /* absolute, that relative paths start from */
    const char *text;   /* NUL-terminated */
    bool quoted;
    uint32_t uid; /* CLAIMS: whose name it is */
    void *base;   /* struct bootstrap or struct bootstrap_listener */
    char why[256];
    bool later; /* refused because it is not built yet; why is the value */
};

/* False with `why` filled: "must be 1..64, is 65". Lists: appends one item. What the member held
 * before is freed. Not for OPTION_LATER. */
bool option_set(struct option_value *value) __attribute__((warn_unused_result));
/* A list begins: its default goes, where it has one. */
void option_clear(const struct option *option, void *base);

#endif
