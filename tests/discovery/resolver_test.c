/*
 * resolver_test.c: lookups that answer, that hang, and that are left behind.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/cmocka_first.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "discovery/resolver.h"

static uv_loop_t loop;
static struct resolver *resolver;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: lookups hang */
static char answers[256];
static int done_n;

static void look(const char *host, struct resolver_answer *ret)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    ret->n = strcmp(host, "none") == 0 ? 0 : 1;
    snprintf(ret->address[0], sizeof ret->address[0], "10.0.0.%zu", strlen(host));
}

static void on_done(void *arg, const struct resolver_answer *answer)
{
    const char *again = arg;
    done_n++;
    for (size_t i = 0; i < answer->n; i++) {
        strcat(strcat(answers, " "), answer->address[i]);
    }
    if (again != NULL) {
        assert_true(resolver_ask(resolver, again, on_done, NULL));
    }
}

static void begin(resolver_lookup_fn fn)
{
    assert_int_equal(uv_loop_init(&loop), 0);
    resolver = resolver_new(&loop, fn);
    assert_non_null(resolver);
    answers[0] = '\0';
    done_n = 0;
}

static void finish(void)
{
    resolver_close(resolver, NULL, NULL);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void until_done(int n)
{
    while (done_n < n) {
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void test_answers(void **state)
{
    (void)state;
    begin(look);
    static char again[] = "again";
    assert_true(resolver_ask(resolver, "a", on_done, again));
    until_done(2);
    assert_string_equal(answers, " 10.0.0.1 10.0.0.5");
    assert_true(resolver_ask(resolver, "none", on_done, NULL));
    until_done(3);
    assert_string_equal(answers, " 10.0.0.1 10.0.0.5");
    finish();
}

/* With dead DNS: so many at once and no more, and the end waits for none of them. */
static void test_hanging(void **state)
{
    (void)state;
    begin(look);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < RESOLVER_LOOKUPS_MAX; i++) {
        assert_true(resolver_ask(resolver, "a", on_done, NULL));
    }
    assert_false(resolver_ask(resolver, "a", on_done, NULL));
    finish();
    assert_int_equal(done_n, 0);
    pthread_mutex_unlock(&gate);

    /* Answered, but not taken in yet. */
    begin(look);
    for (int i = 0; i < RESOLVER_LOOKUPS_MAX; i++) {
        assert_true(resolver_ask(resolver, "a", on_done, NULL));
    }
    until_done(1);
    finish();
}

static void test_the_c_library(void **state)
{
    (void)state;
    begin(NULL);
    assert_true(resolver_ask(resolver, "127.0.0.3", on_done, NULL));
    until_done(1);
    assert_string_equal(answers, " 127.0.0.3");
    assert_true(resolver_ask(resolver, "::1", on_done, NULL));
    until_done(2);
    assert_string_equal(answers, " 127.0.0.3 [::1]");
    assert_true(resolver_ask(resolver, "no.such.name.invalid", on_done, NULL));
    until_done(3);
    assert_string_equal(answers, " 127.0.0.3 [::1]");
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_hanging),
        cmocka_unit_test(test_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
