/*
 * discovery/file/rules_file.h: the embedded source: a YAML file with the keys that etcd would hold.
 *
 *     rules:
 *       "a/default/b/default/Visit/traffic": {default: 90, canary: 10}
 *     services:
 *       "b/default/127.0.0.1:9101": {weight: 10}
 *
 * One read of one file into the store's file layer. No loop, no clock: `tside check` and `explain
 * --rules` use it as it is, file_source.h adds the watching.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_FILE_RULES_FILE_H
#define TSIDE_DISCOVERY_FILE_RULES_FILE_H

#include "discovery/store/store.h"

/* One finding: "file:line:col: message". */
typedef void (*rules_file_finding_fn)(void *arg, const char *finding);

struct rules_file_report {
    rules_file_finding_fn fn; /* may be NULL */
    void *arg;
    /* Only what spoils the whole file: bad keys and values are listed by the store. */
    bool whole_only;
    size_t findings; /* out: how many there were */
};

/*
 * Puts the file's keys as a full list and commits it; the caller builds. 0, also where single keys
 * are bad: the store rejects those alone. A file that cannot be read or is no such file as a whole
 * (syntax, a key that stands twice, nothing in it) leaves the store as it was: a negative errno,
 * -EINVAL for its contents. An empty file is refused, too: editors and copies pass through that
 * state. No rules at all are written `rules: {}`.
 */
int rules_file_load(const char *path, struct disc_store *store, uint64_t now_unix_ms,
                    uint64_t store_clock_ms, struct rules_file_report *report);

#endif
