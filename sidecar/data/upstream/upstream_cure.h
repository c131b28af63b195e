/*
 * sidecar/data/upstream/upstream_cure.h: what a callee speaks that does not speak what its rule says. Pure.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_CURE_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_CURE_H

#include "sidecar/data/io/framing.h"

/* A sentence, static, that names the framing in which these bytes begin a reply and the field that has to say so;
 * NULL where they begin none, or one as it was to be. */
const char *upstream_cure(const struct framing *framing, const uint8_t *p, size_t n,
                          uint32_t max_bytes);

#endif
