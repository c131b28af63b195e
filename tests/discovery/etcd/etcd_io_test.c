/*
 * tests/discovery/etcd/etcd_io_test.c: the whole source against a real etcd.
 *
 * One loop, one store, one etcd process that is killed, stopped, compacted and replaced. Waiting is
 * for what must come about, with a deadline, never for time to pass.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "discovery/etcd/etcd_io.h"
#include "tests/support/etcd_process.h"

#define WAIT_MS 8000

/* Everything that is a matter of seconds or minutes in production. */
static const struct etcd_timing quick = {
    .open_ms = 1500,
    .page_ms = 3000,
    .quiet_ms = 400,
    .probe_ms = 500,
    .found_ms = 4000,
    .doubt_ms = 100,
    .audit_ms = 1500,
    .list_ms = 3600000,
    .stranger_ms = 500,
    .healthy_ms = 300,
    .backoff_min_ms = 20,
    .backoff_max_ms = 200,
};

struct host {
    uv_loop_t loop;
    uv_timer_t alarm;
    struct disc_store *store;
    struct disc_snapshot *snapshot;
    struct etcd_io *io;
    const char *rules_prefix;
    const char *state_dir;
    resolver_lookup_fn lookup;
    bool alarmed;
    bool closed;
    uint64_t commits;
    uint64_t snapshots;
};

static struct etcd_process etcd;
static char state_dir[64];

/* ---- a host ------------------------------------------------------------------------------- */

static void on_publish(void *owner, struct disc_snapshot *snapshot)
{
    struct host *host = owner;
    disc_snapshot_free(host->snapshot);
    host->snapshot = snapshot;
    host->snapshots++;
}

static void on_commit(void *owner)
{
    struct host *host = owner;
    host->commits++;
    (void)disc_store_build(host->store, UINT64_MAX);
}

static void on_note(void *owner, bool is_bad, const char *text)
{
    (void)owner;
    if (getenv("TSIDE_TEST_VERBOSE") != NULL) {
        fprintf(stderr, "%s %s\n", is_bad ? "!" : " ", text);
    }
}

static void host_start_at(struct host *host, const char *const *urls, uint32_t n)
{
    const char *rules = host->rules_prefix != NULL ? host->rules_prefix : "/tside/rules";
    const struct disc_store_options store_options = {
        .prefix = {rules, "/tside/services"}, .publish = on_publish, .owner = host};
    assert_int_equal(uv_loop_init(&host->loop), 0);
    uv_timer_init(&host->loop, &host->alarm);
    host->alarm.data = host;
    host->store = disc_store_new(&store_options);
    const struct etcd_io_options options = {
        .loop = &host->loop,
        .store = host->store,
        .endpoints = urls,
        .endpoints_n = n,
        .prefix = {rules, "/tside/services"},
        .state_dir = host->state_dir,
        .seed = 7,
        .timing = &quick,
        .state_period_ms = 100,
        .held_release_ms = 300,
        .lookup = host->lookup,
        .on_commit = on_commit,
        .note = on_note,
        .owner = host,
    };
    host->io = etcd_io_new(&options);
    assert_non_null(host->io);
    etcd_io_start(host->io);
}

static void host_start(struct host *host)
{
    const char *const urls[] = {etcd.url};
    host_start_at(host, urls, 1);
}

static void on_closed(void *arg)
{
    ((struct host *)arg)->closed = true;
}

static void host_stop(struct host *host)
{
    etcd_io_close(host->io, on_closed, host);
    uv_close((uv_handle_t *)&host->alarm, NULL);
    assert_int_equal(uv_run(&host->loop, UV_RUN_DEFAULT), 0);
    assert_true(host->closed);
    assert_int_equal(uv_loop_close(&host->loop), 0);
    host->snapshot = disc_snapshot_free(host->snapshot);
    host->store = disc_store_free(host->store);
    host->closed = false;
}

static void on_alarm(uv_timer_t *timer)
{
    ((struct host *)timer->data)->alarmed = true;
}

typedef bool (*host_test)(const struct host *host, int64_t wanted);

static void dump(const struct host *host)
{
    struct etcd_io_stats s;
    struct disc_store_stats k;
    etcd_io_stats(host->io, &s);
    disc_store_stats(host->store, &k);
    fprintf(stderr, "state %s revision %" PRId64 " streams %" PRIu64 " lists %" PRIu64 " relists",
            etcd_state_str(s.state), s.revision, s.machine.streams, s.machine.lists);
    for (int i = 0; i < ETCD_RELIST_MAX; i++) {
        fprintf(stderr, " %s=%" PRIu64, etcd_relist_str((enum etcd_relist)i), s.machine.relists[i]);
    }
    fprintf(stderr,
            " keys %" PRIu64 "+%" PRIu64 " rejected %" PRIu64 " foreign %" PRIu64
            " snapshot %" PRId64 " error %s\n",
            k.keys[DISC_LAYER_ETCD][0], k.keys[DISC_LAYER_ETCD][1], k.rejected, k.foreign,
            host->snapshot != NULL ? disc_snapshot_revision(host->snapshot) : -1,
            s.endpoints[0].last_error);
}

static void wait_for(struct host *host, const char *what, host_test test, int64_t wanted)
{
    host->alarmed = false;
    uv_update_time(&host->loop);
    uv_timer_start(&host->alarm, on_alarm, WAIT_MS, 0);
    while (!test(host, wanted)) {
        if (host->alarmed) {
            dump(host);
            fail_msg("in vain: %s (%" PRId64 ")", what, wanted);
        }
        uv_run(&host->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&host->alarm);
}

#define WAIT_FOR(host, test, wanted) wait_for(host, #test, test, wanted)

static struct etcd_io_stats stats_of(const struct host *host)
{
    struct etcd_io_stats stats;
    etcd_io_stats(host->io, &stats);
    return stats;
}

static bool has_revision(const struct host *host, int64_t wanted)
{
    return host->snapshot != NULL && disc_snapshot_revision(host->snapshot) >= wanted;
}

static bool is_watching(const struct host *host, int64_t wanted)
{
    return stats_of(host).watching == (bool)wanted;
}

static bool has_saved(const struct host *host, int64_t wanted)
{
    return stats_of(host).state_writes >= (uint64_t)wanted;
}

static bool has_streams(const struct host *host, int64_t wanted)
{
    return stats_of(host).machine.streams >= (uint64_t)wanted && stats_of(host).watching;
}

static bool has_failures(const struct host *host, int64_t wanted)
{
    uint64_t failures = 0;
    for (int i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        failures += stats_of(host).endpoints[i].failures;
    }
    return failures >= (uint64_t)wanted;
}

static uint64_t keys(const struct host *host, enum disc_space space)
{
    struct disc_store_stats stats;
    disc_store_stats(host->store, &stats);
    return stats.keys[DISC_LAYER_ETCD][space];
}

/* Endpoints of example.service/default in force; -1: no such callee. */
static int endpoints(const struct host *host, const char *service)
{
    struct disc_view *view =
        disc_snapshot_view(host->snapshot, disc_str_of(service, strlen(service)));
    const struct disc_cluster *cluster =
        view != NULL ? disc_view_cluster(view, disc_str_of("default", 7)) : NULL;
    return cluster != NULL ? (int)cluster->n : -1;
}

static bool has_rule(const struct host *host)
{
    struct disc_view *view = disc_snapshot_view(host->snapshot, disc_str_of("b", 1));
    const struct disc_tuple tuple = {
        {{"a", 1}, {"default", 7}, {"b", 1}, {"default", 7}, {"M", 1}}};
    const struct disc_entry *entry = disc_view_find(view, &tuple, 0);
    return entry != NULL && entry->slot[DISC_CONFIG].rule != NULL;
}

#define RULE "/tside/rules/a/default/b/default/M/config"
#define SVC  "/tside/services/example.service/default/10.0.0.1:"

static int group_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    snprintf(state_dir, sizeof state_dir, "/tmp/tside-state-XXXXXX");
    assert_non_null(mkdtemp(state_dir));
    etcd_process_init(&etcd);
    etcd_process_start(&etcd);
    etcd_process_wait_ready(&etcd);
    return 0;
}

static int group_teardown(void **state)
{
    char command[128];
    (void)state;
    etcd_process_done(&etcd);
    snprintf(command, sizeof command, "rm -rf '%s'", state_dir);
    return system(command);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void test_list_and_watch(void **state)
{
    struct host host = {0};
    (void)state;
    etcd_put_many(&etcd, SVC, 10000, 5000, "{\"weight\":10}");
    etcd_put(&etcd, "/tside/audit/1-x", "{}", 0);
    int64_t revision = etcd_put(&etcd, RULE, "{\"timeout_ms\":300}", 0);
    host_start(&host);
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(endpoints(&host, "example.service"), 5000);
    assert_true(has_rule(&host));
    assert_int_equal(stats_of(&host).machine.pages, 1 + 5);
    assert_int_equal(stats_of(&host).machine.relists[ETCD_RELIST_START], 1);
    assert_int_equal(disc_snapshot_origin(host.snapshot), DISC_ORIGIN_ETCD);
    WAIT_FOR(&host, is_watching, true);

    int64_t lease = etcd_lease(&etcd, 600);
    revision = etcd_put(&etcd, SVC "9999", "", lease);
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(endpoints(&host, "example.service"), 5001);
    assert_int_equal(disc_store_lease(host.store, DISC_SPACE_SERVICES,
                                      "example.service/default/10.0.0.1:9999", 37),
                     lease);
    /* The last good value stays, the delete restores the default. */
    revision = etcd_put(&etcd, RULE, "{\"timeout_ms\":-1}", 0);
    WAIT_FOR(&host, has_revision, revision);
    assert_true(has_rule(&host));
    revision = etcd_delete(&etcd, RULE);
    WAIT_FOR(&host, has_revision, revision);
    assert_false(has_rule(&host));
    /* 5,001 deletes of one revision: none of them or all. */
    uint64_t snapshots = host.snapshots;
    revision = etcd_delete_prefix(&etcd, SVC);
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(endpoints(&host, "example.service"), -1);
    assert_int_equal(host.snapshots, snapshots + 1);
    assert_int_equal(stats_of(&host).machine.lists, 1);
    host_stop(&host);
}

/* Deletes of 2.9 MB of keys come in several messages: applied together all the same. */
static void test_fragments(void **state)
{
    struct host host = {0};
    char name[] = "____________________________________________________________________________"
                  "____________________________________________________________________________"
                  "____________________________________________________________________________"
                  "___________________";
    char prefix[600];
    (void)state;
    snprintf(prefix, sizeof prefix, "/tside/services/%s/%s/10.0.0.1:", name, name);
    int64_t revision = etcd_put_many(&etcd, prefix, 10000, 5500, "");
    host_start(&host);
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(keys(&host, DISC_SPACE_SERVICES), 5500);
    WAIT_FOR(&host, is_watching, true);
    uint64_t snapshots = host.snapshots;
    uint64_t messages = stats_of(&host).machine.messages;
    revision = etcd_delete_prefix(&etcd, prefix);
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(keys(&host, DISC_SPACE_SERVICES), 0);
    assert_true(stats_of(&host).machine.messages - messages >= 2);
    /* Up to the revision before, then all of it. */
    assert_in_range(host.snapshots - snapshots, 1, stats_of(&host).machine.messages - messages);
    host_stop(&host);
}

static void test_kill_and_resume(void **state)
{
    struct host host = {.state_dir = state_dir};
    (void)state;
    int64_t revision = etcd_put_many(&etcd, SVC, 1000, 50, "{}");
    host_start(&host);
    WAIT_FOR(&host, has_revision, revision);
    WAIT_FOR(&host, is_watching, true);
    etcd_process_kill(&etcd);
    WAIT_FOR(&host, is_watching, false);
    WAIT_FOR(&host, has_failures, 4);
    assert_int_equal(endpoints(&host, "example.service"), 50);
    assert_true(host.snapshot != NULL && has_revision(&host, revision));

    etcd_process_start(&etcd);
    etcd_process_wait_ready(&etcd);
    revision = etcd_put(&etcd, SVC "2000", "{}", 0);
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(endpoints(&host, "example.service"), 51);
    assert_int_equal(stats_of(&host).machine.lists, 1); /* resumed */
    WAIT_FOR(&host, has_streams, 2);
    host_stop(&host);
}

/* The state of the last test is on disk. */
static void test_start_without_etcd(void **state)
{
    struct host host = {.state_dir = state_dir};
    (void)state;
    etcd_process_kill(&etcd);
    host_start(&host);
    /* Before the loop has run at all. */
    assert_int_equal(endpoints(&host, "example.service"), 51);
    assert_int_equal(disc_snapshot_origin(host.snapshot), DISC_ORIGIN_DISK);
    WAIT_FOR(&host, has_failures, 2);
    assert_int_equal(endpoints(&host, "example.service"), 51);

    etcd_process_start(&etcd);
    etcd_process_wait_ready(&etcd);
    int64_t revision = etcd_delete(&etcd, SVC "2000");
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(endpoints(&host, "example.service"), 50);
    assert_int_equal(stats_of(&host).machine.lists, 0); /* resumed from disk */
    host_stop(&host);
}

static void test_compacted_while_away(void **state)
{
    struct host host = {.state_dir = state_dir};
    (void)state;
    etcd_delete(&etcd, SVC "1000");
    etcd_delete(&etcd, SVC "1001");
    int64_t revision = etcd_put(&etcd, RULE, "{}", 0);
    etcd_compact(&etcd, revision);
    host_start(&host);
    assert_int_equal(endpoints(&host, "example.service"), 50); /* from disk */
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(endpoints(&host, "example.service"), 48);
    assert_true(has_rule(&host));
    assert_int_equal(stats_of(&host).machine.relists[ETCD_RELIST_COMPACTED], 1);
    assert_int_equal(stats_of(&host).machine.lists, 1);
    host_stop(&host);
}

static int black_hole(char url[32])
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(free_port()),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(fd, 16), 0); /* connections succeed, nobody answers */
    snprintf(url, 32, "http://127.0.0.1:%u", ntohs(addr.sin_port));
    return fd;
}

/* ---- names -------------------------------------------------------------------------------- */

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *names_addresses; /* what a lookup answers: "127.0.0.2 127.0.0.1" */

static void names_are(const char *addresses)
{
    pthread_mutex_lock(&names_lock);
    names_addresses = addresses;
    pthread_mutex_unlock(&names_lock);
}

static void look_up(const char *host, struct resolver_answer *ret)
{
    char copy[128];
    char *rest = copy;
    pthread_mutex_lock(&names_lock);
    snprintf(copy, sizeof copy, "%s", names_addresses);
    pthread_mutex_unlock(&names_lock);
    ret->n = 0;
    for (const char *one; strcmp(host, "etcd.test") == 0 && (one = strtok_r(rest, " ", &rest));) {
        snprintf(ret->address[ret->n++], sizeof ret->address[0], "%s", one);
    }
}

/* Accepts at this address and etcd's port, and never answers. */
static int silent_at(const char *address)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(etcd.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    assert_int_equal(inet_pton(AF_INET, address, &addr.sin_addr), 1);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static void start_by_name(struct host *host)
{
    static char url[64];
    const char *const urls[] = {url};
    snprintf(url, sizeof url, "http://etcd.test:%u", etcd.port);
    host->lookup = look_up;
    host_start_at(host, urls, 1);
}

/* One name, three addresses, of which two accept and say nothing: each is tried by itself. */
static void test_a_name_whose_first_address_hangs(void **state)
{
    struct host host = {0};
    (void)state;
    int fd[] = {silent_at("127.0.0.2"), silent_at("127.0.0.3")};
    int64_t revision = etcd_put(&etcd, SVC "3005", "{}", 0);
    names_are("127.0.0.2 127.0.0.3 127.0.0.1");
    start_by_name(&host);
    WAIT_FOR(&host, has_revision, revision);
    WAIT_FOR(&host, is_watching, true);
    assert_string_equal(stats_of(&host).endpoints[stats_of(&host).endpoint].address, "127.0.0.1");
    host_stop(&host);
    close(fd[0]);
    close(fd[1]);
    etcd_delete(&etcd, SVC "3005");
}

/* The name moves, and what is at the old address hangs: the watch is at the new one soon. */
static void test_a_name_that_moves(void **state)
{
    struct host host = {0};
    (void)state;
    int fd = silent_at("127.0.0.2");
    names_are("127.0.0.2");
    start_by_name(&host);
    WAIT_FOR(&host, has_failures, 1);
    names_are(""); /* no answer: it goes on with what it knows */
    WAIT_FOR(&host, has_failures, 2);
    names_are("127.0.0.1");
    WAIT_FOR(&host, is_watching, true);
    assert_true(stats_of(&host).lookups >= 2);
    uint32_t n = 0;
    for (int i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        n += stats_of(&host).endpoints[i].url != NULL;
    }
    assert_int_equal(n, 1); /* the old address is gone */

    /* While it answers, an address stays, whatever the name says. */
    names_are("127.0.0.2");
    etcd_process_signal(&etcd, SIGSTOP);
    WAIT_FOR(&host, is_watching, false);
    etcd_process_signal(&etcd, SIGCONT);
    names_are("127.0.0.1");
    WAIT_FOR(&host, is_watching, true);
    host_stop(&host);
    close(fd);
}

/* Dead DNS: it starts from disk at once, and ends without waiting for an answer. */
static void hang(const char *host, struct resolver_answer *ret)
{
    (void)host;
    pthread_mutex_lock(&names_lock);
    pthread_mutex_unlock(&names_lock);
    ret->n = 0;
}

static void test_dead_dns(void **state)
{
    struct host host = {.state_dir = state_dir, .lookup = hang};
    const char *const urls[] = {"http://etcd.invalid:1"};
    (void)state;
    pthread_mutex_lock(&names_lock);
    host_start_at(&host, urls, 1);
    assert_true(endpoints(&host, "example.service") > 0);
    host_stop(&host);
    pthread_mutex_unlock(&names_lock);
}

static void test_dead_addresses(void **state)
{
    struct host host = {0};
    char dead[32];
    char silent[32];
    (void)state;
    int64_t revision = etcd_put(&etcd, SVC "3000", "{}", 0);
    int fd = black_hole(silent);
    snprintf(dead, sizeof dead, "http://127.0.0.1:%u", free_port());
    const char *const urls[] = {dead, silent, etcd.url};
    host_start_at(&host, urls, 3);
    WAIT_FOR(&host, has_revision, revision);
    WAIT_FOR(&host, is_watching, true);
    assert_int_equal(endpoints(&host, "example.service"), 49);
    assert_int_equal(stats_of(&host).machine.backoffs, 0); /* each was tried once, at once */
    host_stop(&host);
    close(fd);
}

/* A stopped process accepts connections and never answers: the probe finds it. */
static void test_stopped(void **state)
{
    struct host host = {0};
    (void)state;
    host_start(&host);
    WAIT_FOR(&host, is_watching, true);
    etcd_process_signal(&etcd, SIGSTOP);
    WAIT_FOR(&host, is_watching, false);
    assert_int_equal(endpoints(&host, "example.service"), 49);
    assert_int_equal(stats_of(&host).machine.probe_failures, 1);
    etcd_process_signal(&etcd, SIGCONT);
    int64_t revision = etcd_put(&etcd, SVC "3001", "{}", 0);
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(endpoints(&host, "example.service"), 50);
    assert_int_equal(stats_of(&host).machine.lists, 1);
    host_stop(&host);
}

/* Strangers' writes move the cluster's revision, and compaction with it: the audit keeps up. */
static void test_quiet_prefix(void **state)
{
    struct host host = {0};
    (void)state;
    host_start(&host);
    WAIT_FOR(&host, is_watching, true);
    int64_t revision = etcd_put_many(&etcd, "/strangers/", 0, 300, "x");
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(stats_of(&host).machine.events, 0);
    etcd_compact(&etcd, revision);
    etcd_process_kill(&etcd);
    WAIT_FOR(&host, is_watching, false);
    etcd_process_start(&etcd);
    etcd_process_wait_ready(&etcd);
    revision = etcd_put(&etcd, SVC "3002", "{}", 0);
    WAIT_FOR(&host, has_revision, revision);
    assert_int_equal(stats_of(&host).machine.lists, 1);
    assert_int_equal(endpoints(&host, "example.service"), 51);
    host_stop(&host);
}

/* The rules at the root of the tree: one list and one watch for all of it. */
static void test_empty_rules_prefix(void **state)
{
    struct host host = {.rules_prefix = ""};
    (void)state;
    int64_t revision = etcd_put(&etcd, "/a/default/b/default/M/config", "{}", 0);
    host_start(&host);
    WAIT_FOR(&host, has_revision, revision);
    assert_true(has_rule(&host));
    assert_int_equal(keys(&host, DISC_SPACE_RULES), 1);
    assert_int_equal(endpoints(&host, "example.service"), 51);
    WAIT_FOR(&host, is_watching, true);
    revision = etcd_delete(&etcd, "/a/default/b/default/M/config");
    WAIT_FOR(&host, has_revision, revision);
    assert_false(has_rule(&host));
    host_stop(&host);
}

static bool has_empty_lists(const struct host *host, int64_t wanted)
{
    return stats_of(host).machine.empty_lists >= (uint64_t)wanted;
}

static bool has_endpoints(const struct host *host, int64_t wanted)
{
    return host->snapshot != NULL && endpoints(host, "example.service") == wanted;
}

static bool has_held(const struct host *host, int64_t wanted)
{
    return stats_of(host).held[DISC_SPACE_SERVICES] == (uint64_t)wanted;
}

static uint64_t held_rules(const struct host *host)
{
    return stats_of(host).held[DISC_SPACE_RULES];
}

/* Another cluster at the same address, empty, and filled again key by key: what is known stays
 * until it is put, deleted or released, or until half of its cluster is back. */
static void test_replaced_by_empty(void **state)
{
    struct host host = {.state_dir = state_dir};
    (void)state;
    host_start(&host);
    WAIT_FOR(&host, is_watching, true);
    WAIT_FOR(&host, has_saved, 1);
    etcd_process_kill(&etcd);
    etcd_process_wipe(&etcd);
    etcd_process_start(&etcd);
    etcd_process_wait_ready(&etcd);
    WAIT_FOR(&host, has_empty_lists, 1);
    WAIT_FOR(&host, has_streams, 2);
    assert_int_equal(endpoints(&host, "example.service"), 51);
    assert_true(has_rule(&host));
    assert_int_equal(stats_of(&host).machine.cluster_changes, 1);
    WAIT_FOR(&host, has_held, 51);
    assert_int_equal(held_rules(&host), 1);
    etcd_put(&etcd, SVC "4000", "{}", 0);
    WAIT_FOR(&host, has_endpoints, 52);
    host_stop(&host);

    /* The next process knows, too. */
    struct host next = {.state_dir = state_dir};
    etcd_put(&etcd, "/tside/rules/x/default/b/default/M/config", "{}", 0);
    host_start(&next);
    assert_true(has_held(&next, 51) && held_rules(&next) == 1 && has_rule(&next));
    int64_t revision = etcd_put(&etcd, SVC "3002", "{}", 0); /* one of them */
    WAIT_FOR(&next, has_revision, revision);
    assert_true(has_held(&next, 50) && has_rule(&next));
    assert_int_equal(endpoints(&next, "example.service"), 52);
    assert_false(etcd_io_release(next.io, SVC "3002"));
    assert_true(etcd_io_release(next.io, RULE));
    assert_true(held_rules(&next) == 0 && !has_rule(&next));
    etcd_put_many(&etcd, SVC, 5000, 49, "{}");
    WAIT_FOR(&next, has_endpoints, 51); /* 50 held ones went */
    assert_true(has_held(&next, 0));
    assert_int_equal(stats_of(&next).machine.lists, 0);
    host_stop(&next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_and_watch),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_kill_and_resume),
        cmocka_unit_test(test_start_without_etcd),
        cmocka_unit_test(test_compacted_while_away),
        cmocka_unit_test(test_a_name_whose_first_address_hangs),
        cmocka_unit_test(test_a_name_that_moves),
        cmocka_unit_test(test_dead_dns),
        cmocka_unit_test(test_dead_addresses),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_quiet_prefix),
        cmocka_unit_test(test_empty_rules_prefix),
        cmocka_unit_test(test_replaced_by_empty),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
