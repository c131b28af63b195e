/*
 * hedge_tail_test.c: what hedging at a percentile does to the tail, and what retries do to callees that all
 * fail: the real call path in virtual time, figures printed.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/hedge.h"
#include "tests/codec/random.h"
#include "tests/sidecar/data/plane_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define CALLS     12000
#define WARM_UP   200
#define ENDPOINTS 3

/* A callee's reply that is on its way. */
struct due {
    struct memory_peer *callee;
    int32_t seqid;
    uint64_t at_ms;
};

/* 97 of 100 calls take 2 to 11 ms, the others 50 to 250: a pause, a lock, a lost packet. */
static uint64_t latency_ms(struct random *random)
{
    return random_below(random, 100) < 97 ? 2 + random_below(random, 10)
                                          : 50 + random_below(random, 200);
}

/* Takes up what callees were sent; answers what is due. */
static void play_callees(struct rig *rig, struct random *random, struct due dues[], unsigned *n)
{
    struct list *peers = &rig->net[0].peers;
    struct rig_message message;
    for (struct list *p = peers->prev; p != peers; p = p->prev) {
        struct memory_peer *peer = container_of(p, struct memory_peer, node);
        if (peer->port && !memory_is_closed(peer) && rig_next(peer, &message)) {
            assert_true(*n < 4);
            dues[(*n)++] = (struct due){peer, message.seqid, rig_now_ms(rig) + latency_ms(random)};
        }
    }
    for (unsigned i = 0; i < *n; i++) {
        if (rig_now_ms(rig) >= dues[i].at_ms && !memory_is_closed(dues[i].callee)) {
            rig_reply(dues[i].callee, "M", dues[i].seqid, 0);
            dues[i--] = dues[--*n];
        }
    }
}

/* How long one call takes. */
static uint64_t one_call_ms(struct rig *rig, struct memory_peer *caller, struct random *random)
{
    struct rig_message message;
    struct due dues[4];
    unsigned n = 0;
    uint64_t begin_ms = rig_now_ms(rig);
    rig_call(caller, "M", 1);
    rig_rest(rig);
    while (!rig_next(caller, &message)) {
        play_callees(rig, random, dues, &n);
        rig_pass(rig, 1);
    }
    assert_int_equal(message.type, WIRE_REPLY);
    return rig_now_ms(rig) - begin_ms;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct tail {
    uint64_t p50_ms, p99_ms, p999_ms;
    double attempts; /* per call */
};

static struct tail tail_under(const char *json)
{
    static uint64_t ms[CALLS];
    struct random random = {7};
    struct rig *rig = rig_new(1);
    for (uint16_t i = 1; i < ENDPOINTS; i++) {
        rig_serve(rig, RIG_PORT + i);
    }
    rig_begin(rig, json);
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < WARM_UP; i++) {
        (void)one_call_ms(rig, caller, &random);
    }
    uint64_t before = rig_metric(rig, METRIC_HEDGES);
    for (int i = 0; i < CALLS; i++) {
        ms[i] = one_call_ms(rig, caller, &random);
    }
    double hedges = (double)(rig_metric(rig, METRIC_HEDGES) - before);
    qsort(ms, CALLS, sizeof ms[0], compare);
    rig_free(rig);
    return (struct tail){ms[CALLS / 2], ms[CALLS * 99 / 100], ms[CALLS * 999 / 1000],
                         1 + hedges / CALLS};
}

static struct tail print(const char *what, struct tail tail)
{
    print_message("%-12s p50 %3llu ms, p99 %3llu ms, p99.9 %3llu ms, %.3f attempts a call\n", what,
                  (unsigned long long)tail.p50_ms, (unsigned long long)tail.p99_ms,
                  (unsigned long long)tail.p999_ms, tail.attempts);
    return tail;
}

static void test_the_tail(void **state)
{
    (void)state;
    struct tail bare = print("no hedge", tail_under("{\"timeout_ms\": 5000, \"retry\": "
                                                    "{\"idempotent\": true}}"));
    struct tail hedged =
        print("p95", tail_under("{\"timeout_ms\": 5000, \"hedge_after_ms\": \"p95\", "
                                "\"retry\": {\"idempotent\": true}}"));
    assert_true(bare.attempts == 1);
    assert_true(hedged.p999_ms * 2 <= bare.p999_ms);
    assert_true(hedged.p99_ms * 2 <= bare.p99_ms);
    assert_true(hedged.attempts > 1.01 && hedged.attempts <= 1.06);
}

/* 500 calls a second for ten seconds, and every endpoint refuses. */
static void test_a_storm(void **state)
{
    struct rig *rig = rig_new(1);
    unsigned calls = 0;
    (void)state;
    for (uint16_t i = 0; i < ENDPOINTS; i++) {
        rig_serve(rig, RIG_PORT + i);
        memory_policy(&rig->net[0], RIG_PORT + i, MEMORY_REFUSE, -ECONNREFUSED);
    }
    rig_begin(rig, "{\"breaker\": {\"enable\": false}, \"retry\": {\"attempts\": 5}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (; calls < 5000; calls++) {
        rig_call(caller, "M", 1);
        rig_pass(rig, 2);
        rig_expect_failure(caller, 1, "[tside connect_failed]");
    }
    unsigned attempts = rig->net[0].connects;
    print_message("a storm: %u calls, %u attempts\n", calls, attempts);
    assert_true(attempts <= calls * 12 / 10 + 10 * 10);
    assert_true(attempts <= calls + 10 * (10 + 1)); /* nothing succeeds: the floor alone */
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_tail),
        cmocka_unit_test(test_a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
