/*
 * sidecar/data/loop/poison.h: tells the address sanitizer which bytes nobody may touch, or UNPOISON, may.
 *
 * Without it, a build that is not optimised overwrites them; one that is does nothing.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_POISON_H
#define TSIDE_SIDECAR_DATA_LOOP_POISON_H

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(ptr, len)   ASAN_POISON_MEMORY_REGION(ptr, len)
#define UNPOISON(ptr, len) ASAN_UNPOISON_MEMORY_REGION(ptr, len)
#elif !defined(__OPTIMIZE__)
#include <string.h>
#define POISON(ptr, len)   memset(ptr, 0xdd, len)
#define UNPOISON(ptr, len) ((void)(ptr), (void)(len))
#else
#define POISON(ptr, len)   ((void)(ptr), (void)(len))
#define UNPOISON(ptr, len) ((void)(ptr), (void)(len))
#endif

#endif
