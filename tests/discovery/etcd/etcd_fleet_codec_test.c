/*
 * etcd_fleet_codec_test.c: what hosts tell each other, and what is no answer to it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_fleet_codec.h"

#include "discovery/base/base64.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define HOST "host-1"

static json_t *loaded(char *body)
{
    json_t *json = json_loads(body, 0, NULL);
    assert_non_null(json);
    free(body);
    return json;
}

static void assert_base64(const json_t *value, const char *text)
{
    char decoded[256];
    size_t len;
    assert_true(json_is_string(value) && json_string_length(value) < sizeof decoded);
    assert_true(base64_decode(json_string_value(value), json_string_length(value),
                              (uint8_t *)decoded, &len));
    assert_int_equal(len, strlen(text));
    assert_memory_equal(decoded, text, len);
}

static void test_bodies(void **state)
{
    static const struct etcd_fleet_item items[] = {
        {"a/b/c/d/e", true, 12.5}, {"a/b/c/d/f", false, 3}, {"a/b/c/d/g", true, 0}};
    (void)state;
    json_t *json = loaded(etcd_fleet_txn_body("/tside/fleet", HOST, INT64_MAX, items, 3));
    const json_t *list = json_object_get(json, "success");
    assert_int_equal(json_array_size(list), 5);
    const json_t *put = json_object_get(json_array_get(list, 0), "request_put");
    assert_base64(json_object_get(put, "key"), "/tside/fleet/a/b/c/d/e/" HOST);
    assert_base64(json_object_get(put, "value"), "12.50");
    assert_string_equal(json_string_value(json_object_get(put, "lease")), "9223372036854775807");
    for (size_t i = 1, item = 0; item < 3; i += item == 1 ? 2 : 1, item++) {
        char key[64];
        const json_t *range = json_object_get(json_array_get(list, i), "request_range");
        snprintf(key, sizeof key, "/tside/fleet/%s/", items[item].name);
        assert_base64(json_object_get(range, "key"), key);
        key[strlen(key) - 1] = '0'; /* behind '/' */
        assert_base64(json_object_get(range, "range_end"), key);
    }
    const json_t *gone = json_object_get(json_array_get(list, 3), "request_delete_range");
    assert_base64(json_object_get(gone, "key"), "/tside/fleet/a/b/c/d/g/" HOST);
    json_decref(json);
    json = loaded(etcd_fleet_grant_body(15));
    assert_string_equal(json_string_value(json_object_get(json, "TTL")), "15");
    json_decref(json);
    json = loaded(etcd_fleet_keepalive_body(7587870000000000001));
    assert_string_equal(json_string_value(json_object_get(json, "ID")), "7587870000000000001");
    json_decref(json);
}

static void test_leases(void **state)
{
    static const struct {
        const char *text;
        int64_t grant, keepalive;
    } cases[] = {
        {"{\"header\":{},\"ID\":\"7587870000000000001\",\"TTL\":\"15\"}", 7587870000000000001, -1},
        {"{\"ID\":12,\"TTL\":15}", 12, -1},
        {"{\"ID\":\"0\"}", -1, -1},
        {"{\"ID\":\"-5\"}", -1, -1},
        {"{\"result\":{\"header\":{},\"ID\":\"12\",\"TTL\":\"15\"}}\n", -1, 12},
        {"{\"result\":{\"header\":{},\"ID\":\"12\"}}\n", -1, 0}, /* is not known */
        {"{\"error\":\"x\",\"code\":14}", -1, -1},
        {"{\"result\":12}", -1, -1},
        {"[]", -1, -1},
        {"{", -1, -1},
        {"", -1, -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].text);
        assert_int_equal(etcd_fleet_grant_parse(cases[i].text, len), cases[i].grant);
        assert_int_equal(etcd_fleet_keepalive_parse(cases[i].text, len), cases[i].keepalive);
    }
}

/* A key of that name by host, with that value, as a reply has it. */
static void put_kv(char *out, size_t cap, const char *host, const char *value)
{
    char key[128], key64[256], value64[256];
    snprintf(key, sizeof key, "/tside/fleet/a/b/c/d/e/%s", host);
    key64[base64_encode(key, strlen(key), key64)] = '\0';
    value64[base64_encode(value, strlen(value), value64)] = '\0';
    size_t len = strlen(out);
    snprintf(out + len, cap - len, "%s{\"key\":\"%s\",\"value\":\"%s\"}",
             out[len - 1] == '[' ? "" : ",", key64, value64);
}

static struct etcd_fleet_others *others_of(const char *kvs, const char *count)
{
    static struct etcd_fleet_others others;
    static char text[1 << 16];
    const bool tells = true;
    snprintf(text, sizeof text,
             "{\"header\":{},\"succeeded\":true,\"responses\":[{\"response_put\":{}},"
             "{\"response_range\":{\"kvs\":%s]%s%s}}]}",
             kvs, count[0] ? ",\"count\":" : "", count);
    assert_int_equal(etcd_fleet_txn_parse(text, strlen(text), HOST, &tells, 1, &others),
                     ETCD_FLEET_OK);
    return &others;
}

static void test_what_others_told(void **state)
{
    char kvs[4096] = "[";
    (void)state;
    put_kv(kvs, sizeof kvs, HOST, "5.00");
    put_kv(kvs, sizeof kvs, "host-2", "7.25");
    put_kv(kvs, sizeof kvs, "host-3", "1000000");
    const struct etcd_fleet_others *others = others_of(kvs, "\"3\"");
    assert_int_equal(others->total, 2);
    assert_int_equal(others->n, 2);
    assert_true(others->demand[0] == 7.25 && others->demand[1] == 1e6);
    assert_int_equal(others_of("[", "")->total, 0);
    assert_int_equal(others_of(kvs, "7")->total, 6); /* more than were sent */
}

/* A host that told nonsense is one that asks for something: how much is not known. */
static void test_nonsense(void **state)
{
    static const char *const values[] = {"",    "x",   "-1",  "0",    "1e99",
                                         "nan", "inf", "1 2", "0x10", "{\"demand\":1}"};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char kvs[512] = "[";
        put_kv(kvs, sizeof kvs, "host-2", values[i]);
        const struct etcd_fleet_others *others = others_of(kvs, "\"1\"");
        assert_int_equal(others->total, 1);
        assert_int_equal(others->n, strcmp(values[i], "0x10") == 0);
    }
    assert_int_equal(others_of("[{\"key\":\"!\",\"value\":\"MQ==\"}", "\"1\"")->n, 0);
    assert_int_equal(others_of("[{\"key\":5}, 7, null, {}", "\"4\"")->n, 0);
    assert_int_equal(others_of("[", "\"-3\"")->total, 0);
}

static void test_what_is_no_answer(void **state)
{
    static const struct {
        const char *text;
        enum etcd_fleet_result result;
    } cases[] = {
        {"", ETCD_FLEET_FAILED},
        {"nonsense", ETCD_FLEET_FAILED},
        {"{}", ETCD_FLEET_FAILED},
        {"{\"succeeded\":true}", ETCD_FLEET_FAILED},
        {"{\"succeeded\":true,\"responses\":[]}", ETCD_FLEET_FAILED},
        {"{\"succeeded\":true,\"responses\":[{\"response_put\":{}}]}", ETCD_FLEET_FAILED},
        {"{\"succeeded\":true,\"responses\":[{\"response_range\":{}}]}", ETCD_FLEET_FAILED},
        {"{\"succeeded\":true,\"responses\":{}}", ETCD_FLEET_FAILED},
        {"{\"responses\":[{},{\"response_range\":{}}]}", ETCD_FLEET_FAILED},
        {"{\"error\":\"etcdserver: requested lease not found\",\"code\":5}", ETCD_FLEET_LOST},
        {"{\"error\":\"etcdserver: no leader\",\"code\":14}", ETCD_FLEET_FAILED},
        {"{\"succeeded\":true,\"responses\":[{\"response_put\":{}},{\"response_range\":{}}]}",
         ETCD_FLEET_OK},
    };
    static struct etcd_fleet_others others;
    const bool tells = true;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = cases[i].text;
        assert_int_equal(etcd_fleet_txn_parse(text, strlen(text), HOST, &tells, 1, &others),
                         cases[i].result);
    }
}

/* As many as fit; the others are counted. */
static void test_crowds(void **state)
{
    static char kvs[1 << 15];
    (void)state;
    strcpy(kvs, "[");
    for (int i = 0; i < ETCD_FLEET_HOSTS_MAX + 1; i++) {
        char host[16];
        snprintf(host, sizeof host, "h%d", i);
        put_kv(kvs, sizeof kvs, host, "1");
    }
    const struct etcd_fleet_others *others = others_of(kvs, "\"5000\"");
    assert_int_equal(others->n, ETCD_FLEET_HOSTS_MAX);
    assert_int_equal(others->total, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),   cmocka_unit_test(test_leases),
        cmocka_unit_test(test_nonsense), cmocka_unit_test(test_what_others_told),
        cmocka_unit_test(test_crowds),   cmocka_unit_test(test_what_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
