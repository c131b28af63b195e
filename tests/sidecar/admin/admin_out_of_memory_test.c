/*
 * tests/sidecar/admin/admin_out_of_memory_test.c: each page, with every allocation failing in turn.
 *
 * A page that cannot be made is a 500 or, of a member of it, a null; the process goes on.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/admin/admin_world.h"
#include "tests/support/failing_malloc.h"

#include "sidecar/admin/api.h"
#include "sidecar/admin/explain.h"

#include <stdio.h>

struct fixture {
    struct admin_world w;
    struct admin *admin;
};

static void *json_malloc(size_t size)
{
    return malloc(size); /* here it is the wrapped one */
}

static void json_free(void *p)
{
    free(p);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char error[128];
    json_set_alloc_funcs(json_malloc, json_free);
    admin_world_init(&f->w);
    world_rule(&f->w.world, "*/*/b/*/*/degrade", "101");
    world_commit(&f->w.world);
    struct tuple_state *called = admin_world_tuple(&f->w, "a", "b", "M");
    tuple_counts_add(tuple_state_counts(called, 0), REASON_OK, 5000, 1);
    tuple_state_unref(called);
    assert_int_equal(admin_new(&f->w.context, &f->admin, error, sizeof error), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    admin_close(f->admin, NULL, NULL);
    uv_run(&f->w.loop, UV_RUN_DEFAULT);
    admin_world_done(&f->w);
    free(f);
    return 0;
}

static unsigned ask(struct fixture *f, const char *path)
{
    struct admin_door door = {.admin = f->admin, .local = true};
    const struct http_request request = {
        .method = HTTP_GET, .path = path, .host = "localhost", .body = ""};
    struct http_reply reply = {0};
    api_dispatch(&door, &request, &reply);
    unsigned status = reply.body ? reply.status : 500; /* as http.c answers it */
    free(reply.body);
    return status;
}

static void test_every_page(void **state)
{
    static const char *const paths[] = {"/",
                                        "/livez",
                                        "/readyz",
                                        "/metrics",
                                        "/api/v1/info",
                                        "/api/v1/routes",
                                        "/api/v1/config",
                                        "/api/v1/config/errors",
                                        "/api/v1/etcd",
                                        "/api/v1/stats"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        unsigned status = 0;
        for (unsigned n = 0; failing_malloc_arm(n); n++) {
            status = ask(*state, paths[i]);
            if (status != 200 && status != 500) {
                fail_msg("%s: %u where allocation %u failed", paths[i], status, n);
            }
        }
        assert_int_equal(status, 200); /* the last time, nothing failed */
    }
}

static void test_explain(void **state)
{
    struct fixture *f = *state;
    const struct explain_input input = {.snapshot = f->w.world.snapshot,
                                        .tuple = world_tuple("a", "default", "b", "default", "M"),
                                        .now_ms = WORLD_NOW_MS};
    for (unsigned n = 0; failing_malloc_arm(n); n++) {
        json_decref(explain_json(&input));
    }
}

static void test_samples(void **state)
{
    struct fixture *f = *state;
    uint64_t now_ms = 1000;
    for (unsigned n = 0; failing_malloc_arm(n); n++) {
        windows_sample(f->admin->windows, f->w.tuples, now_ms += 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_page, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_explain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_samples, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
