/*
 * sidecar/base/fsm.c: the end of an impossible pair.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/fsm.h"

#include <stdio.h>
#include <stdlib.h>

void fsm_die(const char *machine, const char *state, const char *event)
{
    fprintf(stderr, "tside: %s: event %s in state %s: impossible\n", machine, event, state);
    abort();
}
