/*
 * timeout_lateness_test.c: how long after its deadline a call is told that there is no answer: 20,000 calls a second
 * on one worker, in virtual time with the real call path; figures printed.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/random.h"
#include "tests/sidecar/data/plane_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define CALLS_PER_S 20000
#define STEP_US     (1000000 / CALLS_PER_S)
#define CALLS       20000
#define CALLERS     200 /* each with one call at a time */
#define SILENT_IN   10  /* so many calls, one is not answered */

/* A caller and the call that it waits for. */
struct waiting {
    struct memory_peer *caller;
    uint64_t deadline_us; /* 0: none */
};

struct load {
    struct rig *rig;
    struct random random;
    struct waiting waiting[CALLERS];
    uint64_t late_us[CALLS];
    uint32_t timeouts, answers;
};

/* The callee answers what it got, but for every tenth. */
static void play_callee(struct load *load)
{
    struct list *peers = &load->rig->net[0].peers;
    struct rig_message message;
    for (struct list *p = peers->next; p != peers; p = p->next) {
        struct memory_peer *callee = container_of(p, struct memory_peer, node);
        while (callee->port && !memory_is_closed(callee) && rig_next(callee, &message)) {
            if (!random_one_in(&load->random, SILENT_IN)) {
                rig_reply(callee, "M", message.seqid, 0);
            }
        }
    }
}

static void take_answers(struct load *load)
{
    uint64_t now_us = load->rig->loop[0].now_us;
    struct rig_message message;
    for (int i = 0; i < CALLERS; i++) {
        struct waiting *waiting = &load->waiting[i];
        if (waiting->deadline_us == 0 || !rig_next(waiting->caller, &message)) {
            continue;
        }
        if (message.type == WIRE_REPLY) {
            load->answers++;
        } else {
            assert_true(now_us >= waiting->deadline_us); /* never early */
            load->late_us[load->timeouts++] = now_us - waiting->deadline_us;
        }
        waiting->deadline_us = 0;
    }
}

static void begin_call(struct load *load)
{
    uint32_t budget_ms = 5 + random_below(&load->random, 60);
    char budget[16];
    snprintf(budget, sizeof budget, "%u", budget_ms);
    for (int i = 0; i < CALLERS; i++) {
        struct waiting *waiting = &load->waiting[i];
        if (waiting->deadline_us == 0) {
            const struct rig_request request = {.method = "M", .seqid = i, .budget = budget};
            rig_send(waiting->caller, &request);
            waiting->deadline_us = load->rig->loop[0].now_us + budget_ms * UINT64_C(1000);
            return;
        }
    }
    fail_msg("all callers wait");
}

static void step(struct load *load, bool calls)
{
    load->rig->loop[0].now_us += STEP_US;
    if (calls) {
        begin_call(load);
    }
    rig_rest(load->rig);
    play_callee(load);
    rig_rest(load->rig);
    take_answers(load);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_timeouts_are_on_time(void **state)
{
    struct load *load = calloc(1, sizeof *load);
    (void)state;
    assert_non_null(load);
    load->random = (struct random){3};
    load->rig = rig_new(1);
    rig_begin(load->rig, "{\"timeout_ms\": 5000, \"pool\": {\"mode\": \"mux\"},"
                         " \"breaker\": {\"enable\": false}, \"eject\": {\"enable\": false}}");
    load->rig->loop[0].check = NULL; /* which looks at every connection after every callback */
    for (int i = 0; i < CALLERS; i++) {
        load->waiting[i].caller = rig_caller(load->rig, 0);
    }
    for (int i = 0; i < CALLS; i++) {
        step(load, true);
    }
    for (int i = 0; i < 100000 / STEP_US; i++) {
        step(load, false);
    }
    assert_int_equal(load->answers + load->timeouts, CALLS);
    assert_in_range(load->timeouts, CALLS / SILENT_IN * 8 / 10, CALLS / SILENT_IN * 12 / 10);
    qsort(load->late_us, load->timeouts, sizeof load->late_us[0], compare);
    uint64_t p50 = load->late_us[load->timeouts / 2],
             p99 = load->late_us[load->timeouts * 99 / 100];
    print_message(
        "%u timeouts of %u calls, %u a second: p50 %llu us, p99 %llu us, the last %llu us late\n",
        load->timeouts, CALLS, CALLS_PER_S, (unsigned long long)p50, (unsigned long long)p99,
        (unsigned long long)load->late_us[load->timeouts - 1]);
    assert_true(p99 <= 2000);
    rig_free(load->rig);
    free(load);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeouts_are_on_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
