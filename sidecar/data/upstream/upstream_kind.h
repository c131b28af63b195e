/*
 * sidecar/data/upstream/upstream_kind.h: kinds of connections to callees.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_KIND_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_KIND_H

/* Whom it may serve. */
enum upstream_kind {
    UPSTREAM_KIND_ONE = 0, /* one lease at a time */
    UPSTREAM_KIND_ONEWAY,  /* ONEWAY messages */
    UPSTREAM_KIND_MUX,     /* calls, answered in any order */
    UPSTREAM_KIND_PIPELINE /* calls, answered in the order in which they were sent */
};

#endif
