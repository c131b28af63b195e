/*
 * sidecar/admin/explain.h: what becomes of a tuple's calls, and why.
 *
 * Runs the code of the call path: disc_resolve(), a route, the stages. Used by the admin page on
 * the control thread and by the command line without a sidecar.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_ADMIN_EXPLAIN_H
#define TSIDE_SIDECAR_ADMIN_EXPLAIN_H

#include "discovery/store/snapshot.h"
#include "sidecar/shared/tuple_state.h"

#include <jansson.h>

struct explain_input {
    const struct disc_snapshot *snapshot;
    struct disc_tuple tuple;    /* absent names get their defaults */
    struct disc_str log_id;     /* len 0: none */
    uint64_t now_ms;            /* on the store's clock */
    struct tuple_table *tuples; /* what is under way; NULL: nothing is (offline) */
};

/*
 * {"tuple", "snapshot", "steps", "effective", "targets", "outcome"}; NULL when out of memory. Where
 * chance decides, `outcome` is what most of many simulated calls came to, with `certain` false and
 * `outcome.all` telling how many of `outcome.simulated` calls came to what.
 */
json_t *explain_json(const struct explain_input *input) __attribute__((warn_unused_result));

#endif
