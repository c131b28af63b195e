/*
 * tests/support/guard.c: see guard.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/support/guard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void guard_init(struct guard *guard, size_t cap)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t usable = (cap / page + 1) * page;

    guard->map_len = usable + page;
    guard->map =
        mmap(NULL, guard->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guard->map == MAP_FAILED || mprotect(guard->map + usable, page, PROT_NONE) != 0) {
        abort();
    }
    guard->end = guard->map + usable;
}

void guard_done(struct guard *guard)
{
    munmap(guard->map, guard->map_len);
    *guard = (struct guard){0};
}

uint8_t *guard_room(struct guard *guard, size_t len)
{
    if (len > (size_t)(guard->end - guard->map)) {
        abort();
    }
    return guard->end - len;
}

uint8_t *guard_copy(struct guard *guard, const void *bytes, size_t len)
{
    uint8_t *room = guard_room(guard, len);

    if (len > 0) {
        memcpy(room, bytes, len);
    }
    return room;
}
