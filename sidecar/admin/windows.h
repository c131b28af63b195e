/*
 * sidecar/admin/windows.h: calls per second of each tuple over the last 1, 5 and 15 minutes.
 *
 * Two small rings of cumulated counts per tuple: one of seconds for the minute, one of ten seconds
 * for the longer two (1.2 KiB a tuple; the tuple table bounds their number). Sampled once a second
 * by the control thread; windows are exact to their ring's step. A tuple younger than a window is
 * averaged over its age.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_ADMIN_WINDOWS_H
#define TSIDE_SIDECAR_ADMIN_WINDOWS_H

#include "sidecar/shared/tuple_state.h"

struct windows;

struct window_rates {
    double m1, m5, m15; /* per second */
    double avg;         /* since the tuple was first seen */
};

struct windows *windows_new(void) __attribute__((warn_unused_result));
struct windows *windows_free(struct windows *windows);

/* Takes a sample of every tuple of the table and forgets those that have left it. */
void windows_sample(struct windows *windows, const struct tuple_table *table, uint64_t now_ms);

/* Rates as of now, given the tuple's count as of now; zeros where it was never sampled. */
struct window_rates windows_rates(const struct windows *windows, const struct disc_tuple *tuple,
                                  uint64_t calls, uint64_t now_ms);

#endif
