/*
 * identify_test.c: the five names of a call, row by row of the first table of docs/specification.md, section 1.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/call.h"
#include "tests/codec/bytes.h"
#include "tests/sidecar/data/account.h"
#include "tests/sidecar/data/virtual_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define ENTRY "RPC_PERSIST_DDL_REMAIN_TIME"
#define STAMP "RPC_PERSIST_INGRESS_START_TIME"

/* ---- asking -------------------------------------------------------------------------------- */

struct pair {
    const char *key;
    const char *value;
};

/* A Base in the canonical numbering; NULL: the field is not there. */
struct base {
    const char *log_id;
    const char *caller;
    struct pair extra[8]; /* up to the first key that is NULL */
};

/* A call as the session makes it, and what became of it. */
struct asked {
    char none[1];
    struct bootstrap_listener listener;
    struct account account;
    struct virtual_loop loop;
    struct worker *worker;
    struct bytes frame;
    struct call *call;
    struct identity identity;
    const char *error;
    bool ok;
};

static void put_extra(struct bytes *b, int16_t id, const struct pair *pairs)
{
    uint32_t n = 0;
    while (pairs[n].key) {
        n++;
    }
    bytes_put_field(b, WIRE_MAP, id);
    bytes_put_map(b, WIRE_STRING, WIRE_STRING, n);
    for (uint32_t i = 0; i < n; i++) {
        bytes_put_text(b, pairs[i].key);
        bytes_put_text(b, pairs[i].value);
    }
}

static void put_base_fields(struct bytes *b, const struct base *base)
{
    if (base->log_id) {
        bytes_put_string_field(b, 1, base->log_id);
    }
    if (base->caller) {
        bytes_put_string_field(b, 2, base->caller);
    }
    if (base->extra[0].key) {
        put_extra(b, 6, base->extra);
    }
    bytes_put8(b, WIRE_STOP);
}

static void asked_init(struct asked *a)
{
    memset(a, 0, sizeof *a);
    a->listener = (struct bootstrap_listener){.caller_service = a->none,
                                              .caller_cluster = a->none,
                                              .callee_service = a->none,
                                              .callee_cluster = a->none,
                                              .fill_log_id = true,
                                              .deadline_entry = ENTRY,
                                              .deadline_entry_len = sizeof ENTRY - 1};
    a->worker = aligned_alloc(_Alignof(struct worker), sizeof *a->worker);
    a->call = calloc(1, sizeof *a->call);
    assert_true(a->worker && a->call);
    memset(a->worker, 0, sizeof *a->worker);
    account_open(&a->account, 1 << 20);
    a->worker->buffers = a->account.buffers;
    virtual_loop_open(&a->loop, a->worker);
    lb_random_init(&a->worker->random, 5);
}

static void forget(struct asked *a)
{
    buffers_free(&a->worker->buffers, a->call->request.prefix_block);
    memset(a->call, 0, sizeof *a->call);
    assert_int_equal(account_charged(&a->account), 0);
}

static void asked_done(struct asked *a)
{
    forget(a);
    bytes_done(&a->frame);
    free(a->worker);
    free(a->call);
}

static bool identify_again(struct asked *a)
{
    a->error = NULL;
    memset(&a->identity, 0xa5, sizeof a->identity);
    a->ok = identify(a->call, &a->identity, &a->error);
    assert_true(a->ok == !a->error);
    return a->ok;
}

/* A frame whose body is there: proves it as the session does and identifies it. */
static bool ask_body(struct asked *a)
{
    struct codec_scan scan;
    struct call *call = a->call;
    uint32_t len = (uint32_t)a->frame.len - WIRE_FRAME_LEN_BYTES;
    wire_put32(a->frame.p, len);
    codec_scan_begin(&scan, CODEC_SCAN_REQUEST, len);
    assert_int_equal(codec_scan_run(&scan, a->frame.p + WIRE_FRAME_LEN_BYTES, len, len),
                     CODEC_SCAN_DONE);
    forget(a);
    call->worker = a->worker;
    call->request.listener = &a->listener;
    call->request.wire.message = (struct message){
        .body = a->frame.p + WIRE_FRAME_LEN_BYTES, .len = len, .head_room = WIRE_FRAME_LEN_BYTES};
    call->request.message = scan.message;
    call->budget.came_ms = -1;
    if (call->request.message.has_base) {
        codec_base_read(call->request.wire.message.body, call->request.message.base,
                        &call->request.base);
    }
    return identify_again(a);
}

static void begin_body(struct asked *a, const char *name)
{
    a->frame.len = 0;
    bytes_put32(&a->frame, 0);
    bytes_put_header(&a->frame, WIRE_CALL, name, 7);
}

/* base NULL: the arguments are empty. */
static bool ask(struct asked *a, const char *name, const struct base *base)
{
    begin_body(a, name);
    if (base) {
        bytes_put_field(&a->frame, WIRE_STRUCT, 255);
        put_base_fields(&a->frame, base);
    }
    bytes_put8(&a->frame, WIRE_STOP);
    return ask_body(a);
}

static void assert_str(struct disc_str got, const char *expected)
{
    size_t len = strlen(expected);
    if (got.len != len || (len > 0 && memcmp(got.p, expected, len) != 0)) {
        fail_msg("'%.*s' instead of '%s'", (int)got.len, got.len ? got.p : "", expected);
    }
}

static void assert_name(const struct asked *a, enum disc_name name, const char *expected)
{
    assert_true(a->ok);
    assert_str(a->identity.tuple.name[name], expected);
}

static void assert_tuple(const struct asked *a, const char *from, const char *from_cluster,
                         const char *to, const char *to_cluster, const char *method)
{
    assert_name(a, DISC_FROM, from);
    assert_name(a, DISC_FROM_CLUSTER, from_cluster);
    assert_name(a, DISC_TO, to);
    assert_name(a, DISC_TO_CLUSTER, to_cluster);
    assert_name(a, DISC_METHOD, method);
}

/* n times the same letter. */
static char *repeat(char letter, size_t n)
{
    char *text = malloc(n + 1);
    assert_non_null(text);
    memset(text, letter, n);
    text[n] = 0;
    return text;
}

/* ---- where each name comes from ------------------------------------------------------------ */

static void test_nothing_is_given(void **state)
{
    struct asked a;
    (void)state;
    asked_init(&a);
    ask(&a, "echo", NULL);
    assert_tuple(&a, "none", "default", "", "default", "echo");
    ask(&a, "echo", &(struct base){0});
    assert_tuple(&a, "none", "default", "", "default", "echo");
    asked_done(&a);
}

static void test_the_listener_stands_in(void **state)
{
    char names[4][8] = {"me", "mine", "you", "yours"};
    struct asked a;
    (void)state;
    asked_init(&a);
    a.listener.caller_service = names[0];
    a.listener.caller_cluster = names[1];
    a.listener.callee_service = names[2];
    a.listener.callee_cluster = names[3];
    ask(&a, "echo", NULL);
    assert_tuple(&a, "me", "mine", "you", "yours", "echo");

    const struct base all = {
        .caller = "app",
        .extra = {
            {"cluster", "c1"}, {"dest_service", "svc"}, {"dest_cluster", "c2"}, {"other", "x"}}};
    ask(&a, "echo", &all);
    assert_tuple(&a, "app", "c1", "svc", "c2", "echo");
    strcpy(names[0], "-"); /* absent in a listener, too */
    strcpy(names[1], "-");
    strcpy(names[2], "-");
    strcpy(names[3], "-");
    ask(&a, "echo", NULL);
    assert_tuple(&a, "none", "default", "", "default", "echo");
    asked_done(&a);
}

static void test_from(void **state)
{
    static const struct {
        const char *caller, *listener, *expected;
    } cases[] = {{"app", "me", "app"}, {"", "me", "me"},       {"-", "me", "me"},
                 {NULL, "me", "me"},   {"--", "me", "--"},     {"-", "", "none"},
                 {NULL, "-", "none"},  {"none", "me", "none"}, {"a/b*%", "me", "a/b*%"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct asked a;
        asked_init(&a);
        char listener[8];
        strcpy(listener, cases[i].listener);
        a.listener.caller_service = listener;
        ask(&a, "m", &(struct base){.caller = cases[i].caller});
        assert_name(&a, DISC_FROM, cases[i].expected);
        asked_done(&a);
    }
}

/* Each source of a name can be there, "", "-" or missing; the first that is there counts. */
static void test_to_in_order(void **state)
{
    static const char *const wheres[] = {"there", "", "-", NULL};
    char listener[16];
    (void)state;
    for (int i = 0; i < 4 * 4 * 4 * 4; i++) {
        const char *extra = wheres[i % 4] && *wheres[i % 4] == 't' ? "extra" : wheres[i % 4];
        const char *user = wheres[i / 4 % 4];
        const char *prefix = wheres[i / 16 % 4];
        bool listens = wheres[i / 64] && *wheres[i / 64] == 't';
        struct base base = {0};
        size_t n = 0;
        char text[64], name[16];
        struct asked a;

        asked_init(&a);
        if (extra) {
            base.extra[n++] = (struct pair){"dest_service", extra};
        }
        bool is_user = user && *user == 't';
        if (user) {
            snprintf(text, sizeof text, "{\"dest_service\":\"%s\"}", is_user ? "user" : user);
            base.extra[n++] = (struct pair){"user_extra", text};
        }
        bool is_prefix = prefix && *prefix == 't';
        snprintf(name, sizeof name, "%s%sm",
                 is_prefix ? "Prefix"
                 : prefix  ? prefix
                           : "",
                 prefix ? ":" : "");
        strcpy(listener, listens ? "listener" : wheres[i / 64] ? wheres[i / 64] : "");
        a.listener.callee_service = listener;

        ask(&a, name, &base);
        const char *expected = extra && *extra == 'e' ? "extra"
                               : is_user              ? "user"
                               : is_prefix            ? "Prefix"
                               : listens              ? "listener"
                                                      : "";
        assert_name(&a, DISC_TO, expected);
        assert_name(&a, DISC_METHOD, "m");
        asked_done(&a);
    }
}

static void test_clusters_in_order(void **state)
{
    static const char *const wheres[] = {"x", "", "-", NULL};
    (void)state;
    for (int i = 0; i < 4 * 4 * 4; i++) {
        const char *extra = wheres[i % 4], *user = wheres[i / 4 % 4], *listens = wheres[i / 16];
        struct base base = {0};
        size_t n = 0;
        char text[64], listener[16] = "";
        struct asked a;

        asked_init(&a);
        if (extra) {
            base.extra[n++] = (struct pair){"dest_cluster", *extra == 'x' ? "extra" : extra};
            base.extra[n++] = (struct pair){"cluster", *extra == 'x' ? "own" : extra};
        }
        if (user) {
            snprintf(text, sizeof text, "{\"dest_cluster\":\"%s\",\"cluster\":\"no\"}",
                     *user == 'x' ? "user" : user);
            base.extra[n++] = (struct pair){"user_extra", text};
        }
        if (listens) {
            strcpy(listener, *listens == 'x' ? "listener" : listens);
        }
        a.listener.callee_cluster = listener;
        a.listener.caller_cluster = listener;

        ask(&a, "Canary:m", &base); /* a prefix names no cluster */
        bool is_extra = extra && *extra == 'x', is_listener = listens && *listens == 'x';
        const char *last = is_listener ? "listener" : "default";
        assert_name(&a, DISC_TO_CLUSTER, is_extra ? "extra" : user && *user == 'x' ? "user" : last);
        assert_name(&a, DISC_FROM_CLUSTER, is_extra ? "own" : last);
        asked_done(&a);
    }
}

static void test_the_name_and_its_prefix(void **state)
{
    static const struct {
        const char *name, *prefix, *method; /* method NULL: bad_request */
    } cases[] = {
        {"echo", NULL, "echo"}, {"S:m", "S", "m"}, {"A:b:c", "A", "b:c"}, {":m", "", "m"},
        {"S:", "S", NULL},      {":", "", NULL},   {"", NULL, NULL},      {"-", NULL, NULL},
        {"S:-", "S", NULL},     {"-:m", "-", "m"}, {"S::m", "S", ":m"},   {"--", NULL, "--"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct asked a;
        asked_init(&a);
        ask(&a, cases[i].name, NULL);
        if (!cases[i].method) {
            assert_false(a.ok);
            assert_string_equal(a.error, "the message has no method name");
        } else {
            assert_name(&a, DISC_METHOD, cases[i].method);
            assert_true(!a.call->request.wire.prefix.p == !cases[i].prefix);
            assert_str(a.call->request.wire.prefix, cases[i].prefix ? cases[i].prefix : "");
        }
        asked_done(&a);
    }
}

/* ---- lengths ------------------------------------------------------------------------------- */

static void test_names_of_256_and_257_bytes(void **state)
{
    static const char *const errors[DISC_NAMES] = {"From is", "FromCluster is", "To is",
                                                   "ToCluster is", "the method's name is"};
    (void)state;
    for (size_t len = 256; len <= 257; len++) {
        for (int name = 0; name < DISC_NAMES; name++) {
            char *text = repeat('n', len);
            struct base base = {0};
            struct asked a;
            asked_init(&a);
            if (name == DISC_FROM) {
                base.caller = text;
            } else if (name != DISC_METHOD) {
                base.extra[0] = (struct pair){name == DISC_FROM_CLUSTER ? "cluster"
                                              : name == DISC_TO         ? "dest_service"
                                                                        : "dest_cluster",
                                              text};
            }
            ask(&a, name == DISC_METHOD ? text : "m", &base);
            if (len == 256) {
                assert_name(&a, (enum disc_name)name, text);
            } else {
                assert_false(a.ok);
                assert_memory_equal(a.error, errors[name], strlen(errors[name]));
            }
            asked_done(&a);
            free(text);
        }
    }
}

static void test_prefix_and_method_of_256_and_257_bytes(void **state)
{
    char name[1024];
    (void)state;
    for (size_t service = 256; service <= 257; service++) {
        for (size_t method = 256; method <= 257; method++) {
            char *s = repeat('s', service), *m = repeat('m', method);
            struct asked a;
            asked_init(&a);
            snprintf(name, sizeof name, "%s:%s", s, m);
            ask(&a, name, NULL);
            if (service == 256 && method == 256) {
                assert_tuple(&a, "none", "default", s, "default", m);
                assert_str(a.call->request.wire.prefix, s);
                assert_int_equal(account_charged(&a.account), service);
            } else {
                assert_false(a.ok);
            }
            asked_done(&a);
            free(s);
            free(m);
        }
    }
}

static void test_user_extra_of_256_and_257_bytes(void **state)
{
    static const char *const keys[] = {"dest_service", "dest_cluster"};
    char json[1024];
    (void)state;
    for (size_t len = 256; len <= 257; len++) {
        for (int i = 0; i < 2; i++) {
            char *text = repeat('u', len);
            struct asked a;
            asked_init(&a);
            snprintf(json, sizeof json, "{\"%s\": \"%s\"}", keys[i], text);
            ask(&a, "m", &(struct base){.extra = {{"user_extra", json}}});
            if (len == 256) {
                assert_name(&a, i == 0 ? DISC_TO : DISC_TO_CLUSTER, text);
            } else {
                assert_false(a.ok);
            }
            asked_done(&a);
            free(text);
        }
    }
}

/* ---- user_extra ---------------------------------------------------------------------------- */

static void test_user_extra_is_json(void **state)
{
    static const struct {
        const char *json, *to, *cluster;
    } cases[] = {
        {"{\"dest_service\":\"svc\",\"dest_cluster\":\"c\"}", "svc", "c"},
        {" {\n\"x\":[1,{}],\"dest_service\" : \"svc\" , \"y\":null}\t", "svc", "default"},
        {"{\"dest_service\":\"\\u0061\\/\\\"\\\\\\b\\f\\n\\r\\t\"}", "a/\"\\\b\f\n\r\t", "default"},
        {"{\"dest_service\":\"\\u00e9\\ud83d\\ude00\"}", "\xc3\xa9\xf0\x9f\x98\x80", "default"},
        {"{\"dest\\u005fservice\":\"svc\"}", "svc", "default"},
        {"{\"dest_service\":\"a\",\"dest_service\":\"b\"}", "b", "default"},
        {"{\"dest_service\":\"\",\"dest_cluster\":\"-\"}", "fallback", "default"},
        {"{\"x\":{\"dest_service\":\"inner\"}}", "fallback", "default"},
        {"{\"dest_service\":7,\"dest_cluster\":\"c\"}", "fallback", "c"},
        {"{\"dest_service\":null}", "fallback", "default"},
        {"{\"Dest_Service\":\"svc\"}", "fallback", "default"},
        {"{}", "fallback", "default"},
        /* No JSON, or no object: as if it were not there. */
        {"", "fallback", "default"},
        {"-", "fallback", "default"},
        {"[\"dest_service\"]", "fallback", "default"},
        {"\"dest_service\"", "fallback", "default"},
        {"{\"dest_service\":\"svc\"", "fallback", "default"},
        {"{\"dest_service\":\"svc\"}x", "fallback", "default"},
        {"{\"dest_service\":\"svc\",}", "fallback", "default"},
        {"{\"dest_service\":\"\\ud83d\"}", "fallback", "default"},
        {"{\"dest_service\":\"a\x01\"}", "fallback", "default"},
        {"{\"dest_service\":\"\xff\"}", "fallback", "default"},
        {"{dest_service:\"svc\"}", "fallback", "default"},
    };
    char fallback[] = "fallback";
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct asked a;
        asked_init(&a);
        a.listener.callee_service = fallback;
        ask(&a, "m", &(struct base){.extra = {{"user_extra", cases[i].json}}});
        assert_name(&a, DISC_TO, cases[i].to);
        assert_name(&a, DISC_TO_CLUSTER, cases[i].cluster);
        asked_done(&a);
    }
}

/* ---- what a Base may look like ------------------------------------------------------------- */

static void test_the_last_duplicate_counts(void **state)
{
    struct asked a;
    (void)state;
    asked_init(&a);
    ask(&a, "m",
        &(struct base){.extra = {{"dest_service", "first"},
                                 {"cluster", "c1"},
                                 {"dest_service", "second"},
                                 {"cluster", ""},
                                 {"user_extra", "{\"dest_cluster\":\"u1\"}"},
                                 {"user_extra", "{\"dest_cluster\":\"u2\"}"}}});
    assert_tuple(&a, "none", "default", "second", "u2", "m");

    begin_body(&a, "m"); /* Base twice, and Caller twice in it */
    bytes_put_field(&a.frame, WIRE_STRUCT, 255);
    put_base_fields(&a.frame, &(struct base){.caller = "first"});
    bytes_put_field(&a.frame, WIRE_STRUCT, 255);
    bytes_put_string_field(&a.frame, 2, "second");
    bytes_put_string_field(&a.frame, 2, "third");
    bytes_put8(&a.frame, WIRE_STOP);
    bytes_put8(&a.frame, WIRE_STOP);
    ask_body(&a);
    assert_name(&a, DISC_FROM, "third");
    asked_done(&a);
}

static void test_base_inside_the_argument(void **state)
{
    struct asked a;
    (void)state;
    asked_init(&a);
    begin_body(&a, "m");
    bytes_put_field(&a.frame, WIRE_STRUCT, 2); /* not the lowest id */
    bytes_put_field(&a.frame, WIRE_STRUCT, 255);
    put_base_fields(&a.frame, &(struct base){.caller = "second"});
    bytes_put8(&a.frame, WIRE_STOP);
    bytes_put_field(&a.frame, WIRE_STRUCT, 1);
    bytes_put_field(&a.frame, WIRE_STRUCT, 255);
    put_base_fields(&a.frame, &(struct base){.caller = "first"});
    bytes_put8(&a.frame, WIRE_STOP);
    bytes_put8(&a.frame, WIRE_STOP);
    ask_body(&a);
    assert_name(&a, DISC_FROM, "first");
    asked_done(&a);
}

/* The talk's numbering: Extra may stand in field 1, where LogID is in the canonical one. */
static void test_extra_by_its_type(void **state)
{
    static const int16_t ids[] = {1, 3, 5, 6};
    static const struct pair pairs[4][2] = {{{"dest_service", "in1"}},
                                            {{"dest_service", "in3"}},
                                            {{"dest_service", "in5"}},
                                            {{"dest_service", "in6"}}};
    static const char *const names[] = {"in1", "in3", "in5", "in6"};
    (void)state;
    for (unsigned mask = 1; mask < 16; mask++) {
        struct asked a;
        asked_init(&a);
        begin_body(&a, "m");
        bytes_put_field(&a.frame, WIRE_STRUCT, 255);
        for (int i = 3; i >= 0; i--) { /* their order does not matter */
            if (mask >> i & 1) {
                put_extra(&a.frame, ids[i], pairs[i]);
            }
        }
        bytes_put_string_field(&a.frame, 2, "app");
        bytes_put8(&a.frame, WIRE_STOP);
        bytes_put8(&a.frame, WIRE_STOP);
        ask_body(&a);
        assert_name(&a, DISC_TO, names[__builtin_ctz(mask)]);
        assert_name(&a, DISC_FROM, "app");
        assert_true(a.call->request.log_id_fresh == !(mask & 1)); /* field 1 is taken */
        asked_done(&a);
    }
}

static void test_other_types_count_as_absent(void **state)
{
    struct asked a;
    (void)state;
    asked_init(&a);
    begin_body(&a, "m");
    bytes_put_field(&a.frame, WIRE_STRUCT, 255);
    bytes_put_field(&a.frame, WIRE_I32, 2); /* a Caller that is none */
    bytes_put32(&a.frame, 9);
    bytes_put_field(&a.frame, WIRE_MAP, 6); /* map<string,i32> */
    bytes_put_map(&a.frame, WIRE_STRING, WIRE_I32, 1);
    bytes_put_text(&a.frame, "dest_service");
    bytes_put32(&a.frame, 9);
    bytes_put8(&a.frame, WIRE_STOP);
    bytes_put8(&a.frame, WIRE_STOP);
    ask_body(&a);
    assert_tuple(&a, "none", "default", "", "default", "m");

    begin_body(&a, "m"); /* field 255 that is no struct */
    bytes_put_string_field(&a.frame, 255, "app");
    bytes_put8(&a.frame, WIRE_STOP);
    ask_body(&a);
    assert_tuple(&a, "none", "default", "", "default", "m");
    assert_int_equal(a.call->request.log_id_len, 0);
    asked_done(&a);
}

/* ---- LogID --------------------------------------------------------------------------------- */

static void assert_log_id_fresh(const struct asked *a)
{
    assert_true(a->call->request.log_id_fresh);
    assert_int_equal(a->call->request.log_id_len, CALL_FRESH_LOG_ID_LEN);
    for (int i = 0; i < CALL_FRESH_LOG_ID_LEN; i++) {
        assert_non_null(memchr("0123456789abcdef", a->call->request.log_id[i], 16));
    }
}

static void test_log_id(void **state)
{
    struct asked a;
    char before[CALL_FRESH_LOG_ID_LEN];
    char *text = repeat('l', CALL_LOG_ID_MAX_BYTES + 1);
    (void)state;
    asked_init(&a);

    ask(&a, "m", &(struct base){.log_id = "20260101"});
    assert_str(disc_str_of(a.call->request.log_id, a.call->request.log_id_len), "20260101");
    assert_false(a.call->request.log_id_fresh);
    ask(&a, "m", &(struct base){.log_id = text}); /* kept for the log as far as there is room */
    assert_int_equal(a.call->request.log_id_len, CALL_LOG_ID_MAX_BYTES);
    assert_memory_equal(a.call->request.log_id, text, CALL_LOG_ID_MAX_BYTES);
    ask(&a, "m", &(struct base){.log_id = "-"});
    assert_str(disc_str_of(a.call->request.log_id, a.call->request.log_id_len),
               "-"); /* not empty */

    ask(&a, "m", &(struct base){.log_id = ""});
    assert_log_id_fresh(&a);
    memcpy(before, a.call->request.log_id, sizeof before);
    identify_again(&a); /* after a wait for rules: the same */
    assert_log_id_fresh(&a);
    assert_memory_equal(a.call->request.log_id, before, sizeof before);
    ask(&a, "m", &(struct base){.caller = "app"}); /* absent; another one for another call */
    assert_log_id_fresh(&a);
    assert_memory_not_equal(a.call->request.log_id, before, sizeof before);
    assert_memory_equal(a.call->request.log_id, before, 4); /* the time begins it */

    ask(&a, "m", NULL); /* no Base to put one into */
    assert_int_equal(a.call->request.log_id_len, 0);
    assert_false(a.call->request.log_id_fresh);
    a.listener.fill_log_id = false;
    ask(&a, "m", &(struct base){.log_id = ""});
    assert_int_equal(a.call->request.log_id_len, 0);
    assert_false(a.call->request.log_id_fresh);
    asked_done(&a);
    free(text);
}

/* ---- the budget ---------------------------------------------------------------------------- */

static void test_the_budget_entry(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"0", 0},
        {"1", 1},
        {"250", 250},
        {"000250", 250},
        {"00", 0},
        {"999999999999999", INT64_C(999999999999999)},
        {"", -1},
        {"-", -1},
        {"-1", -1},
        {"+1", -1},
        {"1.5", -1},
        {" 1", -1},
        {"1 ", -1},
        {"1e3", -1},
        {"0x10", -1},
        {"ms", -1},
        {"12a", -1},
        {"99999999999999999999x", -1},
        {"\xd9\xa3", -1},
        {"1\n", -1},
        {"0000000000000000", 0},
        {"00000000000000000000250", 250},
        {"1000000000000000", INT64_C(999999999999999)}, /* more is more than any timeout, too */
        {"99999999999999999999", INT64_C(999999999999999)},
        {"18446744073709551617", INT64_C(999999999999999)},
    };
    struct asked a;
    (void)state;
    asked_init(&a);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(&a, "m", &(struct base){.extra = {{ENTRY, cases[i].text}}});
        assert_int_equal(a.call->budget.came_ms, cases[i].ms);
        assert_int_equal(a.call->budget.stamp_age_ms, 0);
    }
    ask(&a, "m", &(struct base){.extra = {{"other", "5"}}});
    assert_int_equal(a.call->budget.came_ms, -1);
    ask(&a, "m", NULL);
    assert_int_equal(a.call->budget.came_ms, -1);
    ask(&a, "m", &(struct base){.extra = {{ENTRY, "5"}, {ENTRY, "6"}}});
    assert_int_equal(a.call->budget.came_ms, 6);

    char entry[] = "x-left";
    a.listener.deadline_entry = entry;
    a.listener.deadline_entry_len = (uint32_t)strlen(entry);
    ask(&a, "m", &(struct base){.extra = {{ENTRY, "5"}, {"x-left", "7"}}});
    assert_int_equal(a.call->budget.came_ms, 7);
    asked_done(&a);
}

/* In the JSON text of user_extra, behind what Extra itself says. */
static void test_metainfo_in_user_extra(void **state)
{
    static const struct {
        const char *top, *json;
        int64_t ms;
        unsigned in_text;
        bool is_repeated;
    } cases[] = {
        {NULL, "{\"" ENTRY "\":\"250\"}", 250, 1U << USER_EXTRA_DEADLINE, false},
        {"100", "{\"" ENTRY "\":\"250\"}", 100, 1U << USER_EXTRA_DEADLINE, false},
        {"300", "{\"" ENTRY "\":\"250\"}", 300, 1U << USER_EXTRA_DEADLINE, false},
        {"x", "{\"" ENTRY "\":\"250\"}", 250, 1U << USER_EXTRA_DEADLINE, false},
        {"0", "{\"" ENTRY "\":\"250\"}", 0, 1U << USER_EXTRA_DEADLINE, false},
        {NULL, "{\"" ENTRY "\":\"ms\"}", -1, 1U << USER_EXTRA_DEADLINE, false},
        {NULL, "{\"" ENTRY "\":250}", -1, 0, false},
        {NULL, "{\"" STAMP "\":\"1\"}", -1, 1U << USER_EXTRA_STAMP, false},
        {NULL, "{\"RPC_PERSIST_RetryReq\":\"\"}", -1, 0, true},
        {NULL, "{\"" ENTRY "\":\"250\"", -1, 0, false},
        {"9", "[]", 9, 0, false},
    };
    struct asked a;
    (void)state;
    asked_init(&a);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct base base = {.extra = {{"user_extra", cases[i].json}}};
        if (cases[i].top) {
            base.extra[1] = (struct pair){ENTRY, cases[i].top};
        }
        ask(&a, "m", &base);
        assert_int_equal(a.call->budget.came_ms, cases[i].ms);
        assert_int_equal(a.call->request.in_user_extra, cases[i].in_text);
        assert_int_equal(a.call->request.is_repeated, cases[i].is_repeated);
    }
    asked_done(&a);
}

static void test_the_stamp(void **state)
{
    static const struct {
        int64_t ago_ms, age_ms;
    } cases[] = {{300, 300}, {0, 0}, {-100000, 0}};
    struct asked a;
    char text[32];
    (void)state;
    asked_init(&a);
    for (int shared = 0; shared < 2; shared++) {
        a.listener.deadline_shared_clock = shared;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            snprintf(text, sizeof text, "%lld", (long long)(VIRTUAL_UNIX_MS - cases[i].ago_ms));
            ask(&a, "m", &(struct base){.extra = {{ENTRY, "500"}, {STAMP, text}}});
            assert_int_equal(a.call->budget.came_ms, 500);
            assert_int_equal(a.call->budget.stamp_age_ms, shared ? cases[i].age_ms : 0);
        }
        ask(&a, "m", &(struct base){.extra = {{ENTRY, "500"}, {STAMP, "yesterday"}}});
        assert_int_equal(a.call->budget.stamp_age_ms, 0);
        ask(&a, "m", &(struct base){.extra = {{ENTRY, "500"}, {STAMP, "0"}}});
        assert_int_equal(a.call->budget.stamp_age_ms, 0);
        ask(&a, "m", &(struct base){.extra = {{STAMP, "1"}}}); /* nothing to take it off */
        assert_int_equal(a.call->budget.came_ms, -1);
        assert_int_equal(a.call->budget.stamp_age_ms, 0);
    }
    asked_done(&a);
}

/* What passed while a call waited for rules is counted from its arrival, not by a second
 * reading. */
static void test_the_budget_is_read_once(void **state)
{
    struct asked a;
    (void)state;
    asked_init(&a);
    a.listener.deadline_shared_clock = true;
    ask(&a, "m", &(struct base){.extra = {{ENTRY, "500"}, {STAMP, "1"}}});
    int64_t age = a.call->budget.stamp_age_ms;
    assert_true(age > 0);
    a.call->budget.came_ms = 321;
    a.call->budget.stamp_age_ms = 12;
    identify_again(&a);
    assert_int_equal(a.call->budget.came_ms, 321);
    assert_int_equal(a.call->budget.stamp_age_ms, 12);
    asked_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_given),
        cmocka_unit_test(test_the_listener_stands_in),
        cmocka_unit_test(test_from),
        cmocka_unit_test(test_to_in_order),
        cmocka_unit_test(test_clusters_in_order),
        cmocka_unit_test(test_the_name_and_its_prefix),
        cmocka_unit_test(test_names_of_256_and_257_bytes),
        cmocka_unit_test(test_prefix_and_method_of_256_and_257_bytes),
        cmocka_unit_test(test_user_extra_of_256_and_257_bytes),
        cmocka_unit_test(test_user_extra_is_json),
        cmocka_unit_test(test_the_last_duplicate_counts),
        cmocka_unit_test(test_base_inside_the_argument),
        cmocka_unit_test(test_extra_by_its_type),
        cmocka_unit_test(test_other_types_count_as_absent),
        cmocka_unit_test(test_log_id),
        cmocka_unit_test(test_the_budget_entry),
        cmocka_unit_test(test_metainfo_in_user_extra),
        cmocka_unit_test(test_the_stamp),
        cmocka_unit_test(test_the_budget_is_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
