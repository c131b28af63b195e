/*
 * discovery/base/unix_clock.h: the time of day, for what people read. Nothing is timed by it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_UNIX_CLOCK_H
#define TSIDE_DISCOVERY_BASE_UNIX_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t unix_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail on Linux */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif
