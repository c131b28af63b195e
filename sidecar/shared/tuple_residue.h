/*
 * sidecar/shared/tuple_residue.h: what entries that left the tuple table had counted.
 *
 * Per (to, to_cluster), the labels of the duration histogram. The control thread's alone; part of
 * struct tuple_table.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_TUPLE_RESIDUE_H
#define TSIDE_SIDECAR_SHARED_TUPLE_RESIDUE_H

#include "sidecar/shared/tuple_state.h"

struct tuple_residue;

/* At most limit pairs, and one more named "_other" for all beyond. seed: of the names' hash, not to be
 * foreseen by callers. */
struct tuple_residue *tuple_residue_new(uint64_t limit, uint64_t seed);
struct tuple_residue *tuple_residue_free(struct tuple_residue *residue);

/* Names are copied. Where memory is short the sums go to "_other". */
void tuple_residue_add(struct tuple_residue *residue, struct disc_str to,
                       struct disc_str to_cluster, const struct tuple_sums *sums);
void tuple_residue_each(const struct tuple_residue *residue, tuple_residue_fn fn, void *arg);

#endif
