/*
 * malloc_count.c: an LD_PRELOAD library that counts allocations by thread, and refuses some.
 *
 * The counts stand in the file that TSIDE_MALLOC_COUNT names, mapped and shared: the test reads
 * them while the process runs. Slot i holds {thread id, number of allocations} as two 64-bit words
 * of the machine; the last slot holds {smallest, largest} size that malloc() refuses (0, 0: none),
 * set by the test. free() is not counted: what is never allocated is never freed.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOTS 256

struct slot {
    _Atomic uint64_t tid;
    _Atomic uint64_t count;
};

/* glibc's own, under the names that it exports for this purpose. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t size);
void *memalign(size_t alignment, size_t size);
void *aligned_alloc(size_t alignment, size_t size);
int posix_memalign(void **ret, size_t alignment, size_t size);

static struct slot *slots;
static __thread struct slot *mine __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void map_slots(void)
{
    const char *path = getenv("TSIDE_MALLOC_COUNT");
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0) {
        return;
    }
    if (ftruncate(fd, SLOTS * sizeof(struct slot)) == 0) {
        void *mapped =
            mmap(NULL, SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        slots = mapped == MAP_FAILED ? NULL : mapped;
    }
    close(fd);
}

static void count(void)
{
    if (slots == NULL) {
        return;
    }
    if (mine == NULL) {
        uint64_t tid = (uint64_t)syscall(SYS_gettid);
        for (int i = 0; i < SLOTS - 1 && mine == NULL; i++) {
            uint64_t free_slot = 0;
            if (atomic_compare_exchange_strong(&slots[i].tid, &free_slot, tid)) {
                mine = &slots[i];
            }
        }
        if (mine == NULL) {
            abort(); /* more threads than slots: a wrong count would be worse */
        }
    }
    atomic_fetch_add_explicit(&mine->count, 1, memory_order_relaxed);
}

static int refused(size_t size)
{
    return slots != NULL && size >= slots[SLOTS - 1].tid && size <= slots[SLOTS - 1].count &&
           size > 0;
}

void *malloc(size_t size)
{
    count();
    if (refused(size)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count();
    if (refused(n * size)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    count();
    return __libc_realloc(p, size);
}

void *memalign(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    count();
    void *p = __libc_memalign(alignment, size);
    if (p == NULL) {
        return ENOMEM;
    }
    *ret = p;
    return 0;
}
