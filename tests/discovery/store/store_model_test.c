/*
 * store_model_test.c: random changes, in the store and in a model that is too simple to be wrong.
 *
 * The model: per key and layer the last good value; the one in force is etcd's, else the file's. A
 * call's timeout is that of the first key in the caller's order of precedence that is in force, its
 * pool.max_idle that of the first in the callee's. Slices are as short as they can be, commits arrive
 * between them.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/store_fixture.h"

#include "discovery/rules/key.h"
#include "lb/random.h"

#include "tests/discovery/cmocka_first.h"

#define KEYS  96 /* 3 callees: two named, one "*"; 32 patterns over the other names twice */
#define STEPS 4000

struct model {
    char key[KEYS][96];
    int value[DISC_LAYERS][KEYS]; /* the good one, 0: none */
    bool has[DISC_LAYERS][KEYS];
    bool bad[DISC_LAYERS][KEYS];
};

static struct fixture f;
static struct model model;
static struct lb_random rng;

static uint32_t any(uint32_t n)
{
    return (uint32_t)(lb_random_next(&rng) % n);
}

static void make_keys(void)
{
    int n = 0;
    for (int to = 0; to < 3; to++) {
        for (uint32_t bits = 0; bits < 16; bits++) {
            for (int other = 0; other < 2; other++) {
                (void)snprintf(model.key[n++], sizeof model.key[0], "%s/%s/%s/%s/%s/config",
                               (bits & 8) ? "*"
                               : other    ? "f1"
                                          : "f0",
                               (bits & 4) ? "*" : "fc",
                               to == 2   ? "*"
                               : to == 1 ? "t1"
                                         : "t0",
                               (bits & 2) ? "*" : "tc",
                               (bits & 1) ? "*"
                               : other    ? "m1"
                                          : "m0");
            }
        }
    }
    assert_int_equal(n, KEYS);
}

/* Two indexes may be the same key (where no name tells them apart): use the first only. */
static int canonical(int i)
{
    for (int k = 0; k < i; k++) {
        if (strcmp(model.key[k], model.key[i]) == 0) {
            return k;
        }
    }
    return i;
}

static void put(enum disc_layer layer, int i, int64_t revision)
{
    char text[64];
    bool bad = any(4) == 0;
    int value = 1 + (int)any(100000);
    (void)snprintf(text, sizeof text, "{\"timeout_ms\":%d,\"pool\":{\"max_idle\":%d}}",
                   bad ? -value : value, value);
    disc_store_put(f.store, layer, DISC_SPACE_RULES, model.key[i], strlen(model.key[i]), text,
                   strlen(text), layer == DISC_LAYER_ETCD ? revision : 0, 0, NOW_MS);
    model.has[layer][i] = true;
    model.bad[layer][i] = bad;
    if (!bad) {
        model.value[layer][i] = value;
    }
}

static void drop(enum disc_layer layer, int i)
{
    model.has[layer][i] = model.bad[layer][i] = false;
    model.value[layer][i] = 0;
}

static void random_commit(int64_t revision)
{
    enum disc_layer layer = (enum disc_layer)any(DISC_LAYERS);
    bool full = any(8) == 0;
    bool listed[KEYS] = {false};
    disc_store_begin(f.store, layer, full);
    uint32_t changes = full ? 40 : any(4);
    for (uint32_t c = 0; c < changes; c++) {
        int i = canonical((int)any(KEYS));
        if (full || any(3) > 0) {
            put(layer, i, revision);
            listed[i] = true;
        } else {
            disc_store_delete(f.store, layer, DISC_SPACE_RULES, model.key[i], strlen(model.key[i]));
            drop(layer, i);
        }
    }
    for (int i = 0; full && i < KEYS; i++) {
        if (!listed[i]) {
            drop(layer, i);
        }
    }
    disc_store_commit(f.store, layer, revision, DISC_ORIGIN_ETCD, NOW_MS);
}

/* The value of this key that is in force, 0: none. */
static int in_force(const char *key)
{
    int i = 0;
    while (i < KEYS && strcmp(model.key[i], key) != 0) { /* the first one is canonical */
        i++;
    }
    if (i == KEYS) {
        return 0;
    }
    return model.value[DISC_LAYER_ETCD][i] != 0 ? model.value[DISC_LAYER_ETCD][i]
                                                : model.value[DISC_LAYER_FILE][i];
}

/* Of the first key that is in force; names: the most weighty first. 0: there is none. */
static int model_value(const struct disc_tuple *tuple, const enum disc_name names[DISC_NAMES])
{
    for (uint32_t n = 0; n < DISC_PATTERNS; n++) {
        char key[DISC_TUPLE_ENCODED_MAX_BYTES + 16];
        uint32_t pattern = 0;
        for (int i = 0; i < DISC_NAMES; i++) {
            pattern |= (n >> (DISC_NAMES - 1 - i) & 1) != 0 ? DISC_PATTERN_BIT(names[i]) : 0;
        }
        (void)disc_rule_key_encode(tuple, pattern, DISC_CONFIG, key, sizeof key);
        int value = in_force(key);
        if (value != 0) {
            return value;
        }
    }
    return 0;
}

static void compare_call(const char *text)
{
    static const enum disc_name caller_first[] = {DISC_FROM, DISC_FROM_CLUSTER, DISC_TO,
                                                  DISC_TO_CLUSTER, DISC_METHOD};
    static const enum disc_name callee_first[] = {DISC_TO, DISC_TO_CLUSTER, DISC_METHOD, DISC_FROM,
                                                  DISC_FROM_CLUSTER};
    char buf[FIXTURE_TUPLE_BUF];
    struct disc_tuple tuple = fixture_tuple(text, buf);
    struct disc_resolution resolution;
    fixture_resolve(&f, text, &resolution);
    int timeout_ms = model_value(&tuple, caller_first);
    int max_idle = model_value(&tuple, callee_first);
    assert_int_equal(resolution.value[DISC_FIELD_TIMEOUT_MS].i, timeout_ms ? timeout_ms : 1000);
    assert_int_equal(resolution.value[DISC_FIELD_POOL_MAX_IDLE].i, max_idle ? max_idle : 128);
}

static void compare(void)
{
    struct disc_store_stats stats;
    uint64_t rejected = 0;
    uint64_t keys[DISC_LAYERS] = {0, 0};
    for (int i = 0; i < KEYS; i++) {
        rejected += model.bad[DISC_LAYER_ETCD][i] || model.bad[DISC_LAYER_FILE][i];
        keys[DISC_LAYER_ETCD] += model.has[DISC_LAYER_ETCD][i];
        keys[DISC_LAYER_FILE] += model.has[DISC_LAYER_FILE][i];
    }
    disc_store_stats(f.store, &stats);
    assert_int_equal(stats.rejected, rejected);
    assert_int_equal(stats.keys[DISC_LAYER_ETCD][DISC_SPACE_RULES], keys[DISC_LAYER_ETCD]);
    assert_int_equal(stats.keys[DISC_LAYER_FILE][DISC_SPACE_RULES], keys[DISC_LAYER_FILE]);
    for (int n = 0; n < 24; n++) {
        char text[64];
        (void)snprintf(text, sizeof text, "f%u/fc/t%u/%s/m%u", n & 1u, (n >> 1) % 3u,
                       any(4) == 0 ? "other" : "tc", (n >> 3) & 1u);
        compare_call(text);
    }
}

static void test_store_and_model_agree(void **state)
{
    (void)state;
    int64_t revision = 1;
    fixture_begin(&f, "/r");
    lb_random_init(&rng, 20240501);
    make_keys();
    for (int step = 0; step < STEPS; step++) {
        for (uint32_t commits = any(3); commits > 0; commits--) {
            random_commit(revision++);
        }
        for (uint32_t slices = any(60); slices > 0; slices--) {
            (void)disc_store_build(f.store, 0); /* more follow */
        }
        if (step % 20 == 0) {
            while (!disc_store_build(f.store, 100)) {
            }
            if (f.snapshot != NULL) {
                compare();
            }
        }
    }
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_store_and_model_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
