/*
 * store_endpoint_test.c: endpoints: versions, the state they share, where and by which thread they
 * are freed.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/store_fixture.h"

#include "tests/discovery/cmocka_first.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVICES DISC_SPACE_SERVICES
#define ETCD     DISC_LAYER_ETCD
#define KEY      "s/default/10.0.0.1:80"

static struct fixture f;

static int begin(void **state)
{
    (void)state;
    fixture_begin(&f, "/tside/rules");
    return 0;
}

static int end(void **state)
{
    (void)state;
    fixture_end(&f); /* every state that was attached is detached, too */
    return 0;
}

static const struct disc_endpoint *only(void)
{
    const struct disc_cluster *cluster = fixture_cluster(&f, "s", "default");
    assert_non_null(cluster);
    assert_int_equal(cluster->n, 1);
    return cluster->endpoints[0];
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int weight; /* -1: refused */
        const char *zone_or_reason;
    } cases[] = {
        {"", 10, ""},
        {"{}", 10, ""},
        {"{\"weight\":0}", 0, ""},
        {"{\"weight\":1000000,\"zone\":\"lf\"}", 1000000, "lf"},
        {"{\"zone\":\"\",\"tags\":{}}", 10, ""},
        {"{\"tags\":{\"a\":\"b\",\"c\":\"\"}}", 10, ""},
        {" ", -1, "line 1"},
        {"[]", -1, "must be an object"},
        {"null", -1, "must be an object"},
        {"{\"weight\":-1}", -1, "must be an integer 0..1000000, is -1"},
        {"{\"weight\":1000001}", -1, "must be an integer 0..1000000"},
        {"{\"weight\":1.5}", -1, "must be an integer"},
        {"{\"weight\":true}", -1, "must be an integer"},
        {"{\"zone\":5}", -1, "must be a string"},
        {"{\"tags\":[]}", -1, "must be an object of strings"},
        {"{\"tags\":{\"a\":1}}", -1, "must be an object of strings"},
        {"{\"wieght\":1}", -1, "did you mean \"weight\"?"},
        {"{\"network\":\"tcp\"}", -1, "unknown field"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct disc_store_stats stats;
        fixture_etcd(&f, SERVICES, KEY, cases[i].text, (int64_t)i + 1);
        disc_store_stats(f.store, &stats);
        assert_int_equal(stats.rejected, cases[i].weight < 0);
        if (cases[i].weight >= 0) {
            assert_int_equal(only()->weight, cases[i].weight);
            assert_string_equal(only()->zone, cases[i].zone_or_reason);
        }
    }
    assert_int_equal(f.attached, 1); /* one endpoint all along */
    assert_int_equal(f.detached, 0);
}

static void test_what_an_endpoint_knows(void **state)
{
    (void)state;
    disc_store_begin(f.store, ETCD, false);
    disc_store_put(f.store, ETCD, SERVICES, "s/default/[::1]:65535", 21, "{}", 2, 5, 99, NOW_MS);
    fixture_commit(&f, ETCD, 5);
    const struct disc_endpoint *e = only();
    assert_string_equal(e->key, "/tside/services/s/default/[::1]:65535");
    assert_string_equal(e->address, "[::1]:65535");
    assert_string_equal(e->host, "::1");
    assert_int_equal(e->port, 65535);
    assert_int_equal(e->layer, ETCD);
    assert_int_equal(e->mod_revision, 5);
    assert_int_equal(e->lease, 99);
    assert_non_null(e->state);
}

static void test_clusters_are_sorted(void **state)
{
    (void)state;
    static const char *const keys[] = {"s/b/10.0.0.2:80",   "s/b/10.0.0.1:80",
                                       "s/b-c/10.0.0.3:80", "s/a%2F/10.0.0.4:80",
                                       "s2/b/10.0.0.5:80",  "s/b/9.0.0.1:80"};
    disc_store_begin(f.store, ETCD, true);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        fixture_put(&f, ETCD, SERVICES, keys[i], "", 1);
    }
    fixture_commit(&f, ETCD, 1);
    const struct disc_view *view = disc_snapshot_view(f.snapshot, disc_str_of("s", 1));
    assert_int_equal(disc_view_cluster(view, disc_str_of("a/", 2))->n, 1);
    assert_int_equal(disc_view_cluster(view, disc_str_of("b-c", 3))->n, 1);
    const struct disc_cluster *b = fixture_cluster(&f, "s", "b");
    assert_int_equal(b->n, 3);
    assert_string_equal(b->endpoints[0]->address, "10.0.0.1:80");
    assert_string_equal(b->endpoints[1]->address, "10.0.0.2:80");
    assert_string_equal(b->endpoints[2]->address, "9.0.0.1:80");
    assert_null(fixture_cluster(&f, "s", "c"));
    assert_null(fixture_cluster(&f, "none", "b"));
}

/* An endpoint without its state would be followed by the first call that picks it. */
static void test_an_endpoint_without_state_is_the_end(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO); /* what abort() says is no news here */
        f.attach_fails = true;
        fixture_etcd(&f, SERVICES, KEY, "", 1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_state_is_shared_by_versions(void **state)
{
    (void)state;
    fixture_etcd(&f, SERVICES, KEY, "{\"weight\":1}", 1);
    void *first = only()->state;
    struct disc_view *old = disc_view_ref(disc_snapshot_view(f.snapshot, disc_str_of("s", 1)));
    fixture_etcd(&f, SERVICES, KEY, "{\"weight\":2}", 2);
    assert_ptr_equal(only()->state, first);

    /* Deleted, but an old view has it; put again meanwhile, it is the same one. */
    fixture_etcd(&f, SERVICES, KEY, NULL, 3);
    assert_null(disc_snapshot_view(f.snapshot, disc_str_of("s", 1)));
    assert_int_equal(f.detached, 0);
    fixture_etcd(&f, SERVICES, KEY, "", 4);
    assert_ptr_equal(only()->state, first);
    assert_int_equal(f.attached, 1);

    fixture_etcd(&f, SERVICES, KEY, NULL, 5);
    assert_int_equal(f.detached, 0);
    old = disc_view_unref(old);
    assert_int_equal(f.detached, 0); /* the last to let go was perhaps a worker */
    disc_store_reap(f.store);
    assert_int_equal(f.detached, 1);
}

static void test_both_layers_share_it(void **state)
{
    (void)state;
    fixture_file(&f, SERVICES, KEY, "{\"weight\":1}");
    fixture_etcd(&f, SERVICES, KEY, "{\"weight\":2}", 1);
    assert_int_equal(only()->weight, 2);
    assert_int_equal(f.attached, 1);
    fixture_etcd(&f, SERVICES, KEY, NULL, 2);
    assert_int_equal(only()->weight, 1);
    assert_int_equal(only()->layer, DISC_LAYER_FILE);
    fixture_file(&f, SERVICES, KEY, NULL);
    assert_int_equal(f.detached, 1);
}

static void test_a_rejected_value_keeps_the_endpoint(void **state)
{
    (void)state;
    fixture_etcd(&f, SERVICES, KEY, "{\"weight\":5}", 1);
    fixture_etcd(&f, SERVICES, KEY, "{\"weight\":\"x\"}", 2);
    assert_int_equal(only()->weight, 5);
    assert_int_equal(only()->mod_revision, 1);
}

/* Put, change and delete in every order of letting go: snapshot, old view, store. */
static void test_detached_once_in_every_order(void **state)
{
    (void)state;
    for (int order = 0; order < 6; order++) {
        f.attached = f.detached = 0;
        fixture_etcd(&f, SERVICES, KEY, "{\"weight\":1}", 1);
        struct disc_view *view = disc_view_ref(disc_snapshot_view(f.snapshot, disc_str_of("s", 1)));
        fixture_etcd(&f, SERVICES, KEY, "{\"weight\":2}", 2);
        for (int step = 0; step < 3; step++) {
            switch ((order + (order < 3 ? step : 3 - step)) % 3) {
            case 0:
                view = disc_view_unref(view);
                break;
            case 1:
                fixture_etcd(&f, SERVICES, KEY, NULL, 3);
                break;
            default:
                f.snapshot = disc_snapshot_free(f.snapshot);
                break;
            }
        }
        disc_store_reap(f.store);
        assert_int_equal(f.attached, 1);
        if (f.snapshot == NULL) { /* freed last: deleting had published another one */
            assert_int_equal(f.detached, 1);
        }
        f.snapshot = disc_snapshot_free(f.snapshot);
        assert_int_equal(f.detached, 1);
    }
}

static void test_a_cluster_keeps_its_id(void **state)
{
    (void)state;
    disc_store_begin(f.store, ETCD, true);
    fixture_put(&f, ETCD, SERVICES, "s/a/10.0.0.1:80", "", 1);
    fixture_put(&f, ETCD, SERVICES, "s/b/10.0.0.1:80", "", 1);
    fixture_commit(&f, ETCD, 1);
    uint64_t a = fixture_cluster(&f, "s", "a")->id;
    uint64_t b = fixture_cluster(&f, "s", "b")->id;
    assert_true(a != b && a != 0 && b != 0);
    fixture_etcd(&f, DISC_SPACE_RULES, "x/y/s/a/m/config", "{}", 2);
    assert_int_equal(fixture_cluster(&f, "s", "a")->id, a); /* another view, the same cluster */
    fixture_etcd(&f, SERVICES, "s/b/10.0.0.1:80", "{\"weight\":1}", 3);
    assert_int_equal(fixture_cluster(&f, "s", "a")->id, a);
    uint64_t b2 = fixture_cluster(&f, "s", "b")->id;
    assert_true(b2 > b && b2 > a);
    fixture_etcd(&f, SERVICES, "s/b/10.0.0.1:80", NULL, 4);
    fixture_etcd(&f, SERVICES, "s/b/10.0.0.1:80", "{\"weight\":1}", 5);
    assert_true(fixture_cluster(&f, "s", "b")->id > b2); /* never again */
}

/* Workers take views and let them go while the control thread replaces them (tsan's test). */
struct worker {
    pthread_mutex_t lock; /* stands for the hand-over of a snapshot */
    struct disc_view *view;
    bool stop;
    uint64_t weights;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    for (;;) {
        pthread_mutex_lock(&worker->lock);
        bool stop = worker->stop;
        struct disc_view *view = disc_view_ref(worker->view);
        pthread_mutex_unlock(&worker->lock);
        const struct disc_cluster *cluster = disc_view_cluster(view, disc_str_of("default", 7));
        worker->weights += cluster != NULL ? cluster->endpoints[0]->weight : 0;
        view = disc_view_unref(view);
        if (stop) {
            return NULL;
        }
    }
}

static void test_views_let_go_by_other_threads(void **state)
{
    (void)state;
    struct worker worker = {.view = NULL};
    pthread_t thread[2];
    pthread_mutex_init(&worker.lock, NULL);
    struct worker second = {.view = NULL};
    pthread_mutex_init(&second.lock, NULL);
    pthread_create(&thread[0], NULL, work, &worker);
    pthread_create(&thread[1], NULL, work, &second);
    for (int i = 0; i < 300; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "{\"weight\":%d}", i);
        fixture_etcd(&f, SERVICES, KEY, text, i + 1);
        struct worker *workers[] = {&worker, &second};
        for (int w = 0; w < 2; w++) {
            pthread_mutex_lock(&workers[w]->lock);
            workers[w]->view = disc_view_unref(workers[w]->view);
            workers[w]->view = disc_view_ref(disc_snapshot_view(f.snapshot, disc_str_of("s", 1)));
            pthread_mutex_unlock(&workers[w]->lock);
        }
    }
    struct worker *workers[] = {&worker, &second};
    for (int w = 0; w < 2; w++) {
        pthread_mutex_lock(&workers[w]->lock);
        workers[w]->stop = true;
        pthread_mutex_unlock(&workers[w]->lock);
        pthread_join(thread[w], NULL);
        workers[w]->view = disc_view_unref(workers[w]->view);
        pthread_mutex_destroy(&workers[w]->lock);
    }
    assert_int_equal(f.attached, 1);
    assert_int_equal(f.detached, 0);
}

static void test_loopback_in_etcd(void **state)
{
    (void)state;
    struct disc_store_stats stats;
    fixture_etcd(&f, DISC_SPACE_SERVICES, "s/c/127.0.0.1:1", "", 1);
    fixture_etcd(&f, DISC_SPACE_SERVICES, "s/c/127.0.0.1:1", "{\"weight\": 1}", 2);
    fixture_etcd(&f, DISC_SPACE_SERVICES, "s/c/[::1]:1", "", 3);
    fixture_etcd(&f, DISC_SPACE_SERVICES, "s/c/10.0.0.1:1", "", 4);
    fixture_file(&f, DISC_SPACE_SERVICES, "s/c/127.0.0.1:2", "");
    assert_int_equal(f.loopback, 2);
    assert_int_equal(fixture_cluster(&f, "s", "c")->n, 4);
    fixture_etcd(&f, DISC_SPACE_SERVICES, "s/c/[::1]:1", NULL, 5);
    disc_store_stats(f.store, &stats);
    assert_int_equal(stats.loopback, 1);
}

static void test_no_hosts_address(void **state)
{
    (void)state;
    struct disc_store_stats stats;
    static const char *const keys[] = {"s/c/0.0.0.0:1", "s/c/[::]:1", "s/c/10.0.0.1:0",
                                       "s/c/224.0.0.1:1", "s/c/255.255.255.255:1"};
    fixture_etcd(&f, DISC_SPACE_SERVICES, "s/c/10.0.0.1:1", "", 1);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        fixture_etcd(&f, DISC_SPACE_SERVICES, keys[i], "", 2 + (int64_t)i);
    }
    disc_store_stats(f.store, &stats);
    assert_int_equal(stats.rejected, 5);
    assert_int_equal(f.rejected, 5);
    assert_int_equal(fixture_cluster(&f, "s", "c")->n, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values),
        TEST(test_what_an_endpoint_knows),
        TEST(test_clusters_are_sorted),
        TEST(test_an_endpoint_without_state_is_the_end),
        TEST(test_state_is_shared_by_versions),
        TEST(test_both_layers_share_it),
        TEST(test_a_rejected_value_keeps_the_endpoint),
        TEST(test_detached_once_in_every_order),
        TEST(test_a_cluster_keeps_its_id),
        TEST(test_views_let_go_by_other_threads),
        TEST(test_loopback_in_etcd),
        TEST(test_no_hosts_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
