/*
 * store_fixture.c: see store_fixture.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/store_fixture.h"

#include "discovery/rules/key.h"

#include "tests/discovery/cmocka_first.h"

#include <stdlib.h>

static void on_publish(void *owner, struct disc_snapshot *snapshot)
{
    struct fixture *fixture = owner;
    struct disc_snapshot *before = fixture->snapshot;
    fixture->snapshot = snapshot;
    fixture->published++;
    (void)disc_snapshot_free(before); /* NULL */
}

static void *on_attach(void *owner, const char *key, const struct disc_endpoint *endpoint)
{
    struct fixture *fixture = owner;
    assert_string_equal(key, endpoint->key);
    if (fixture->attach_fails) {
        return NULL;
    }
    fixture->attached++;
    return malloc(1); /* a state of its own: asan tells whether each is detached once */
}

static void on_detach(void *owner, void *state)
{
    struct fixture *fixture = owner;
    fixture->detached++;
    free(state);
}

static void on_rejected(void *owner, const struct disc_rejection *rejection)
{
    struct fixture *fixture = owner;
    assert_non_null(rejection->key);
    assert_true(strlen(rejection->reason) > 0);
    fixture->rejected++;
}

static void on_loopback(void *owner, const char *key)
{
    struct fixture *fixture = owner;
    assert_non_null(strstr(key, "/tside/services/"));
    fixture->loopback++;
}

void fixture_begin(struct fixture *fixture, const char *rules_prefix)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->templates = codec_templates_new();
    assert_non_null(fixture->templates);
    const struct disc_store_options options = {
        .prefix = {rules_prefix, "/tside/services"},
        .templates = fixture->templates,
        .endpoint_attach = on_attach,
        .endpoint_detach = on_detach,
        .publish = on_publish,
        .rejected = on_rejected,
        .loopback = on_loopback,
        .owner = fixture,
        .hash_seed = 42,
    };
    fixture->store = disc_store_new(&options);
}

void fixture_end(struct fixture *fixture)
{
    fixture->snapshot = disc_snapshot_free(fixture->snapshot);
    fixture->store = disc_store_free(fixture->store);
    fixture->templates = codec_templates_free(fixture->templates);
    assert_int_equal(fixture->attached, fixture->detached);
}

void fixture_put(struct fixture *fixture, enum disc_layer layer, enum disc_space space,
                 const char *key, const char *text, int64_t revision)
{
    disc_store_put(fixture->store, layer, space, key, strlen(key), text, strlen(text), revision, 0,
                   NOW_MS);
}

void fixture_delete(struct fixture *fixture, enum disc_layer layer, enum disc_space space,
                    const char *key)
{
    disc_store_delete(fixture->store, layer, space, key, strlen(key));
}

void fixture_commit(struct fixture *fixture, enum disc_layer layer, int64_t revision)
{
    disc_store_commit(fixture->store, layer, revision,
                      layer == DISC_LAYER_ETCD ? DISC_ORIGIN_ETCD : DISC_ORIGIN_NONE, NOW_MS);
    while (!disc_store_build(fixture->store, 1000)) {
    }
}

static void change(struct fixture *fixture, enum disc_layer layer, enum disc_space space,
                   const char *key, const char *text, int64_t revision)
{
    disc_store_begin(fixture->store, layer, false);
    if (text != NULL) {
        fixture_put(fixture, layer, space, key, text, revision);
    } else {
        fixture_delete(fixture, layer, space, key);
    }
    fixture_commit(fixture, layer, revision);
}

void fixture_etcd(struct fixture *fixture, enum disc_space space, const char *key, const char *text,
                  int64_t revision)
{
    change(fixture, DISC_LAYER_ETCD, space, key, text, revision);
}

void fixture_file(struct fixture *fixture, enum disc_space space, const char *key, const char *text)
{
    change(fixture, DISC_LAYER_FILE, space, key, text, 0);
}

struct disc_tuple fixture_tuple(const char *text, char *buf)
{
    struct disc_tuple tuple;
    struct disc_error error;
    if (!disc_tuple_parse(text, strlen(text), buf, &tuple, NULL, &error)) {
        fail_msg("%s: %s", text, error.reason);
    }
    return tuple;
}

void fixture_resolve(const struct fixture *fixture, const char *text, struct disc_resolution *ret)
{
    char buf[FIXTURE_TUPLE_BUF];
    struct disc_tuple tuple = fixture_tuple(text, buf);
    assert_non_null(fixture->snapshot);
    disc_resolve(disc_snapshot_view(fixture->snapshot, tuple.name[DISC_TO]),
                 disc_snapshot_star(fixture->snapshot), &tuple, ret);
}

int64_t fixture_timeout(const struct fixture *fixture, const char *tuple)
{
    struct disc_resolution resolution;
    fixture_resolve(fixture, tuple, &resolution);
    return resolution.value[DISC_FIELD_TIMEOUT_MS].i;
}

const struct disc_cluster *fixture_cluster(const struct fixture *fixture, const char *service,
                                           const char *cluster)
{
    const struct disc_view *view =
        disc_snapshot_view(fixture->snapshot, disc_str_of(service, strlen(service)));
    return disc_view_cluster(view, disc_str_of(cluster, strlen(cluster)));
}
