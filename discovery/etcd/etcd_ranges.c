/*
 * discovery/etcd/etcd_ranges.c: see discovery/etcd/etcd_ranges.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_ranges.h"

#include "discovery/base/memory.h"

#include <assert.h>

/* The range of a prefix: up to the prefix with its last byte raised. Ours end in '/', never 0xff. */
static struct etcd_range range_of(const char *prefix, size_t len)
{
    assert(len > 0);
    struct etcd_range range = {memory_text(prefix, len), len, memory_text(prefix, len), len};
    range.end[len - 1]++;
    return range;
}

static bool begins_with(const char *text, size_t len, const char *prefix, size_t prefix_len)
{
    return len >= prefix_len && memcmp(text, prefix, prefix_len) == 0;
}

/* Length of what both have in common, up to and with a '/'. */
static size_t common_len(const struct etcd_ranges *ranges)
{
    const char *a = ranges->prefix[DISC_SPACE_RULES];
    const char *b = ranges->prefix[DISC_SPACE_SERVICES];
    size_t common = 0;
    for (size_t i = 0; a[i] != '\0' && a[i] == b[i]; i++) {
        if (a[i] == '/') {
            common = i + 1;
        }
    }
    return common;
}

size_t etcd_prefix_len(const char *prefix)
{
    size_t len = strlen(prefix);
    while (len > 0 && prefix[len - 1] == '/') {
        len--;
    }
    return len;
}

void etcd_ranges_init(struct etcd_ranges *ranges, const char *const prefix[DISC_SPACES])
{
    *ranges = (struct etcd_ranges){0};
    for (int s = 0; s < DISC_SPACES; s++) {
        size_t len = etcd_prefix_len(prefix[s]);
        ranges->prefix[s] = memory_text(prefix[s], len + 1);
        ranges->prefix[s][len] = '/';
        ranges->prefix_len[s] = len + 1;
    }
    size_t common = common_len(ranges);
    const char *shared = ranges->prefix[DISC_SPACE_RULES];
    bool nested = common == ranges->prefix_len[DISC_SPACE_RULES] ||
                  common == ranges->prefix_len[DISC_SPACE_SERVICES];
    if (nested) {
        ranges->list[ranges->lists++] = range_of(shared, common);
    } else {
        for (int s = 0; s < DISC_SPACES; s++) {
            ranges->list_of[s] = ranges->lists;
            ranges->list[ranges->lists++] = range_of(ranges->prefix[s], ranges->prefix_len[s]);
        }
    }
    if (nested || common > strlen("/")) {
        ranges->watch[ranges->watches++] = range_of(shared, common);
        return;
    }
    for (uint32_t i = 0; i < ranges->lists; i++) {
        ranges->watch_of[i] = ranges->watches;
        ranges->watch[ranges->watches++] = range_of(ranges->list[i].key, ranges->list[i].key_len);
    }
}

static void free_ranges(struct etcd_range *range, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        free(range[i].key);
        free(range[i].end);
    }
}

void etcd_ranges_done(struct etcd_ranges *ranges)
{
    for (int s = 0; s < DISC_SPACES; s++) {
        free(ranges->prefix[s]);
    }
    free_ranges(ranges->list, ranges->lists);
    free_ranges(ranges->watch, ranges->watches);
    *ranges = (struct etcd_ranges){0};
}

bool etcd_ranges_locate(const struct etcd_ranges *ranges, struct etcd_bytes key,
                        enum disc_space *ret_space, struct etcd_bytes *ret_rest)
{
    size_t best = 0;
    for (int s = 0; s < DISC_SPACES; s++) {
        size_t len = ranges->prefix_len[s];
        if (len > best && begins_with(key.p, key.len, ranges->prefix[s], len)) {
            best = len;
            *ret_space = (enum disc_space)s;
            *ret_rest = (struct etcd_bytes){key.p + len, key.len - len};
        }
    }
    return best > 0;
}
