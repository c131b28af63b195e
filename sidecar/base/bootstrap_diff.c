/*
 * sidecar/base/bootstrap_diff.c: which keys of two bootstrap files differ.
 *
 * Compares what the keys mean, not how they are written: "80" and "080" are one port. Keys whose
 * value is only checked (accept, etcd.watch) have one value that is built, and never differ.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/bootstrap_table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define LISTENERS     "listeners[]"
#define KEY_MAX_BYTES 160

/* NULL is a value, too. */
static bool same_text(const char *a, const char *b)
{
    return !a || !b ? a == b : strcmp(a, b) == 0;
}

static bool same_list(char *const a[], size_t a_len, char *const b[], size_t b_len)
{
    bool same = a_len == b_len;
    for (size_t i = 0; same && i < a_len; i++) {
        same = strcmp(a[i], b[i]) == 0;
    }
    return same;
}

static bool same_listen(const struct bootstrap_listener *a, const struct bootstrap_listener *b)
{
    return a->is_unix == b->is_unix && a->port == b->port && same_text(a->host, b->host);
}

static bool same_admin_listen(const struct bootstrap *a, const struct bootstrap *b)
{
    return a->admin.port == b->admin.port && same_text(a->admin.host, b->admin.host);
}

static bool same_hosts(const struct bootstrap *a, const struct bootstrap *b)
{
    return same_list(a->admin.hosts, a->admin.hosts_len, b->admin.hosts, b->admin.hosts_len);
}

static bool same_urls(const struct bootstrap *a, const struct bootstrap *b)
{
    return same_list(a->etcd.endpoints, a->etcd.endpoints_len, b->etcd.endpoints,
                     b->etcd.endpoints_len);
}

/* a and b are struct bootstrap or struct bootstrap_listener, as the option is of. */
static bool same(const struct option *option, const void *a, const void *b)
{
    const void *in_a = (const char *)a + option->offset;
    const void *in_b = (const char *)b + option->offset;
    switch (option->type) {
    case OPTION_UINT:
        return *(const uint64_t *)in_a == *(const uint64_t *)in_b;
    case OPTION_COUNT:
    case OPTION_MODE:
    case OPTION_WORDS:
        return *(const uint32_t *)in_a == *(const uint32_t *)in_b;
    case OPTION_EXTRA_ID:
    case OPTION_LEVEL:
        return *(const int *)in_a == *(const int *)in_b;
    case OPTION_BOOL:
    case OPTION_SWITCH:
        return *(const bool *)in_a == *(const bool *)in_b;
    case OPTION_TEXT:
    case OPTION_NAME:
    case OPTION_PREFIX:
    case OPTION_FILE:
    case OPTION_SOCKET:
        return same_text(*(char *const *)in_a, *(char *const *)in_b);
    case OPTION_LISTEN:
        return same_listen(a, b);
    case OPTION_ADMIN_LISTEN:
        return same_admin_listen(a, b);
    case OPTION_URLS:
        return same_urls(a, b);
    case OPTION_HOSTS:
        return same_hosts(a, b);
    case OPTION_CLAIMS:
        return claims_equal(in_a, in_b);
    case OPTION_WORD:
    case OPTION_LATER:
        return true;
    case OPTION_TYPE_MAX:
        break;
    }
    assert(!"an option of no type");
    return true;
}

static void diff_listener(const struct bootstrap *a, const struct bootstrap *b, size_t n,
                          bootstrap_diff_fn fn, void *arg)
{
    char key[KEY_MAX_BYTES];
    for (size_t i = 0; i < bootstrap_options_len; i++) {
        const struct option *option = &bootstrap_options[i];
        if (option->of_listener && !same(option, &a->listeners[n], &b->listeners[n])) {
            (void)snprintf(key, sizeof key, "listeners[%zu]%s", n,
                           option->path + strlen(LISTENERS));
            fn(arg, key, option->live);
        }
    }
}

static void diff_listeners(const struct bootstrap *a, const struct bootstrap *b,
                           bootstrap_diff_fn fn, void *arg)
{
    if (a->listeners_len != b->listeners_len) {
        fn(arg, "listeners", false);
        return;
    }
    for (size_t n = 0; n < a->listeners_len; n++) {
        diff_listener(a, b, n, fn, arg);
    }
}

void bootstrap_diff(const struct bootstrap *a, const struct bootstrap *b, bootstrap_diff_fn fn,
                    void *arg)
{
    bool listeners_done = false;
    for (size_t i = 0; i < bootstrap_options_len; i++) {
        const struct option *option = &bootstrap_options[i];
        if (!option->of_listener) {
            if (!same(option, a, b)) {
                fn(arg, option->path, option->live);
            }
        } else if (!listeners_done) {
            listeners_done = true;
            diff_listeners(a, b, fn, arg);
        }
    }
}
