/*
 * discovery/store/view.h: everything known of one callee: its rules and its endpoints.
 *
 * There is one view per named callee and one for `To = *`. A view is immutable, counted, and
 * replaced as a whole when a key below it changes: one changed key costs one view. A worker's
 * cached route is valid while its two views are the snapshot's.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STORE_VIEW_H
#define TSIDE_DISCOVERY_STORE_VIEW_H

#include "discovery/rules/key.h"

/* ---- endpoints ---------------------------------------------------------------------------- */

enum disc_layer {
    DISC_LAYER_FILE = 0, /* the embedded source */
    DISC_LAYER_ETCD,
    DISC_LAYERS
};

const char *disc_layer_str(enum disc_layer layer); /* "file", "etcd" */

struct disc_endpoint {
    struct refcount refs;
    char *key;     /* as etcd holds it */
    char *address; /* "10.0.0.1:8888", "[::1]:8888": IP literals */
    char *host;    /* without brackets */
    uint16_t port;
    uint32_t weight; /* 0 drains */
    char *zone;      /* "" where none */
    enum disc_layer layer;
    int64_t mod_revision;
    int64_t lease; /* 0: none */
    /* What the process attached (struct endpoint_state): the same for all versions of the same
     * service, cluster and address, for as long as any of them lives. */
    void *state;
};

struct disc_cluster {
    uint64_t id; /* of this set of endpoint versions: unique, never reused; a view that changed
                    elsewhere only keeps it */
    struct disc_str name;
    uint32_t n;
    struct disc_endpoint *const *endpoints; /* sorted by address */
};

/* ---- lookup ------------------------------------------------------------------------------- */

/* What is known of one key; `rule` is in force, `rejected_*` describes a newer value that is not.
 * */
struct disc_slot {
    struct disc_rule *rule;      /* NULL: none */
    char *key;                   /* NULL: no such key */
    const char *rejected_reason; /* NULL: not rejected */
    const char *rejected_field;
    int64_t rejected_revision;
};

struct disc_entry {
    struct disc_slot slot[DISC_KINDS];
};

struct disc_view;

/* Any thread. The last one to let go only marks the view; the control thread frees it, and what it
 * holds, in its next disc_store_build(), disc_store_reap() or disc_snapshot_free(). */
struct disc_view *disc_view_ref(struct disc_view *view);   /* NULL is passed through */
struct disc_view *disc_view_unref(struct disc_view *view); /* NULL */

/* The keys with exactly this pattern; names under "*" bits are not looked at. NULL: none. */
const struct disc_entry *disc_view_find(const struct disc_view *view,
                                        const struct disc_tuple *tuple, uint32_t pattern);

/* NULL where the callee has no such cluster. The cluster lives as long as the view. */
const struct disc_cluster *disc_view_cluster(const struct disc_view *view, struct disc_str name);

/* ---- which rule wins (docs/specification.md, section 2) ------------------------------------ */

struct disc_candidate {
    uint32_t pattern;
    const struct disc_entry *entry;
};

struct disc_resolution {
    const struct disc_rule *traffic; /* the winner, NULL: none */
    const struct disc_rule *degrade;
    const struct disc_rule *config; /* the first, in the caller's order, that supplies a field */
    union disc_value value[DISC_FIELD_MAX];
    const struct disc_rule *from[DISC_FIELD_MAX]; /* NULL: the built-in default */
    uint32_t candidates_len;
    struct disc_candidate candidates[DISC_PATTERNS]; /* in the caller's order of precedence */
};

/*
 * At most 32 exact probes, 16 in each view; either view may be NULL. What *ret points to is
 * borrowed from the views.
 */
void disc_resolve(const struct disc_view *callee, const struct disc_view *star,
                  const struct disc_tuple *tuple, struct disc_resolution *ret);

/* Whether the rule, one of a candidate, decides anything: it won, or a field comes from it. */
bool disc_resolution_uses(const struct disc_resolution *resolution, const struct disc_rule *rule);

#endif
