/*
 * header_test.c: TTHeaders that go out: made, passed on, or left where they lie.
 *
 * What is in them is read by the plain reader of tests/codec. How each framing meets each other one over real
 * sockets is tests/e2e/test_ttheader.py's.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/ttheader.h"
#include "tests/codec/naive_ttheader.h"
#include "tests/sidecar/data/plane_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define TTHEADER        "{\"pool\": {\"framing\": \"ttheader\"}}"
#define TTHEADER_FRAMED "{\"pool\": {\"framing\": \"ttheader_framed\"}}"

#define FLAGS 0x0100 /* of no meaning here: they go along */

/* ---- peers that speak TTHeader --------------------------------------------------------------- */

struct said {
    const char *info; /* hex, from the protocol id on */
    int32_t sequence;
    bool is_inner_framed;
    struct rig_request message;
};

/* One message of this peer. Returns where it begins in peer->in. */
static size_t say(struct memory_peer *peer, const struct said *said)
{
    struct bytes info = {0}, message = {0};
    struct bytes *out = &peer->in;
    size_t from = out->len;
    scarce_hold();
    bytes_put_hex(&info, said->info);
    while (info.len % 4 != 0) { /* its size is told in words */
        bytes_put8(&info, 0);
    }
    rig_put(&message, &said->message);
    size_t skip = said->is_inner_framed ? 0 : WIRE_FRAME_LEN_BYTES;
    bytes_put32(out, (uint32_t)(10 + info.len + message.len - skip));
    bytes_put16(out, 0x1000);
    bytes_put16(out, FLAGS);
    bytes_put32(out, (uint32_t)said->sequence);
    bytes_put16(out, (uint16_t)(info.len / 4));
    bytes_put(out, info.p, info.len);
    bytes_put(out, message.p + skip, message.len - skip);
    bytes_done(&info);
    bytes_done(&message);
    scarce_release();
    return from;
}

/* The only message that the peer was sent; good until more is read. */
static const struct naive_ttheader *heard(struct memory_peer *peer)
{
    static struct naive_ttheader header;
    const uint8_t *p = peer->out.p + peer->out_seen;
    size_t len = peer->out.len - peer->out_seen;
    naive_ttheader_read(&header, p, len, 1 << 20);
    assert_true(header.ok);
    peer->out_seen = peer->out.len;
    return &header;
}

static void expect_int(const struct naive_ttheader *header, unsigned id, const char *value)
{
    const struct naive_text *text = naive_ttheader_int(header, id);
    assert_int_equal(text != NULL, value != NULL);
    if (text && value) {
        assert_int_equal(text->len, strlen(value));
        assert_memory_equal(text->p, value, text->len);
    }
}

static bool has_reset(const struct naive_ttheader *header)
{
    return naive_ttheader_text(header, CODEC_TTHEADER_TEXT_RESET,
                               sizeof CODEC_TTHEADER_TEXT_RESET - 1) != NULL;
}

static struct rig *rig_of(const char *json)
{
    struct rig *rig = rig_new(1);
    rig->bootstrap.listeners[0].accept = LISTENER_ACCEPT_FRAMED | LISTENER_ACCEPT_TTHEADER;
    rig_begin(rig, json);
    return rig;
}

/* No info, and an unknown number and an unknown key in two blocks. */
#define NOTHING "00 00"
#define UNKNOWN "00 00 10 0001 0401 0003 616263 01 0001 0001 6b 0002 7676"
#define RESET   "00 00 01 0001 0005 6372727374 0001 31"

/* Its call has come to the callee. */
static void call(struct rig *rig, struct memory_peer *caller, bool is_inner_framed)
{
    say(caller, &(struct said){.info = NOTHING,
                               .sequence = 77,
                               .is_inner_framed = is_inner_framed,
                               .message = {.method = "M", .seqid = 1}});
    rig_rest(rig);
}

static struct memory_peer *calling(struct rig *rig, bool is_inner_framed)
{
    struct memory_peer *caller = rig_caller(rig, 0);
    call(rig, caller, is_inner_framed);
    return caller;
}

static struct said reply_to(struct rig *rig, const char *info)
{
    const struct naive_ttheader *asked = heard(rig_callee(rig, 0));
    return (struct said){
        .info = info,
        .sequence = asked->sequence,
        .message = {.type = WIRE_REPLY, .method = "M", .seqid = asked->sequence, .payload = 100}};
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Every byte is the callee's but for the sequences; no memory is needed for it. */
static void test_a_header_passes_where_it_lies(void **state)
{
    (void)state;
    struct rig *rig = rig_of(TTHEADER);
    struct memory_peer *caller = calling(rig, false);
    struct memory_peer *callee = rig_callee(rig, 0);
    struct said said = reply_to(rig, UNKNOWN);
    rig_scarce(rig, 0, true);
    size_t from = say(callee, &said);
    rig_rest(rig);
    assert_int_equal(scarce_end(), 0);
    struct bytes expected = {0};
    bytes_put(&expected, callee->in.p + from, callee->in.len - from);
    wire_put32(expected.p + 8, 77);
    size_t message = 4 + 10 + 4 * (size_t)wire_get16(expected.p + 12);
    wire_put32(expected.p + message + 4 + 4 + 1, 1);
    assert_int_equal(caller->out.len, expected.len);
    assert_memory_equal(caller->out.p, expected.p, expected.len);
    bytes_done(&expected);
    rig_free(rig);
}

/* What the callee says of its own connection is not the caller's business; everything else is. */
static void test_the_end_of_the_callees_connection(void **state)
{
    (void)state;
    struct rig *rig = rig_of(TTHEADER);
    struct memory_peer *caller = calling(rig, false);
    struct memory_peer *callee = rig_callee(rig, 0);
    struct said said = reply_to(rig, RESET "10 0001 0401 0003 616263");
    say(callee, &said);
    rig_rest(rig);
    const struct naive_ttheader *header = heard(caller);
    assert_false(has_reset(header));
    expect_int(header, 0x401, "abc");
    assert_int_equal(header->sequence, 77);
    assert_true(memory_is_closed(callee));
    assert_false(memory_is_closed(caller));
    rig_free(rig);
}

/* A worker that drains says so, in the callee's header and in one of its own. */
static void test_the_end_of_the_callers_connection(void **state)
{
    (void)state;
    static const char *const config[] = {TTHEADER, "{}"};
    for (int i = 0; i < 2; i++) {
        struct rig *rig = rig_of(config[i]);
        struct memory_peer *caller = calling(rig, false);
        rig_phase(rig, WORKER_DRAINING);
        if (i == 0) {
            struct said said = reply_to(rig, UNKNOWN);
            say(rig_callee(rig, 0), &said);
        } else {
            rig_answer(rig_callee(rig, 0), "M");
        }
        rig_rest(rig);
        const struct naive_ttheader *header = heard(caller);
        assert_true(has_reset(header));
        expect_int(header, 0x401, i == 0 ? "abc" : NULL);
        rig_free(rig);
    }
}

/* Each side has the inner frame that it asked for. */
static void test_inner_frames(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bool caller_has = i & 1, callee_has = i & 2;
        struct rig *rig = rig_of(callee_has ? TTHEADER_FRAMED : TTHEADER);
        struct memory_peer *caller = calling(rig, caller_has);
        struct said said = reply_to(rig, UNKNOWN);
        said.is_inner_framed = callee_has;
        say(rig_callee(rig, 0), &said);
        rig_rest(rig);
        const struct naive_ttheader *header = heard(caller);
        assert_int_equal(header->is_inner_framed, caller_has);
        expect_int(header, 0x401, "abc");
        rig_free(rig);
    }
}

/* tside's own answers, and those of callees without headers, have the type of the message in theirs. */
static void test_headers_of_other_answers(void **state)
{
    (void)state;
    struct rig *rig = rig_of("{}");
    struct memory_peer *caller = calling(rig, true);
    rig_answer(rig_callee(rig, 0), "M");
    rig_rest(rig);
    const struct naive_ttheader *header = heard(caller);
    assert_true(header->is_inner_framed);
    assert_int_equal(header->sequence, 77);
    expect_int(header, CODEC_TTHEADER_KEY_MESSAGE_TYPE, "2");
    rig_unserve(rig, RIG_PORT);
    rig_commit(rig);
    say(caller,
        &(struct said){.info = NOTHING, .sequence = 78, .message = {.method = "M", .seqid = 2}});
    rig_rest(rig);
    header = heard(caller);
    assert_int_equal(header->sequence, 78);
    expect_int(header, CODEC_TTHEADER_KEY_MESSAGE_TYPE, "3");
    rig_free(rig);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* The names are those of the route. */
static void test_a_header_is_made(void **state)
{
    (void)state;
    static const uint8_t types[] = {WIRE_CALL, WIRE_ONEWAY};
    for (int i = 0; i < 2; i++) {
        struct rig *rig = rig_of("{\"timeout_ms\": 500, \"pool\": {\"framing\": \"ttheader\"}}");
        struct memory_peer *caller = rig_caller(rig, 0);
        rig_send(caller, &(struct rig_request){.type = types[i], .method = "M", .seqid = 1});
        rig_rest(rig);
        const struct naive_ttheader *header = heard(rig_callee(rig, 0));
        expect_int(header, CODEC_TTHEADER_KEY_FROM_SERVICE, "app");
        expect_int(header, CODEC_TTHEADER_KEY_TO_SERVICE, "svc");
        expect_int(header, CODEC_TTHEADER_KEY_TO_CLUSTER, "default");
        expect_int(header, CODEC_TTHEADER_KEY_TO_METHOD, "M");
        expect_int(header, CODEC_TTHEADER_KEY_RPC_TIMEOUT, "500");
        expect_int(header, CODEC_TTHEADER_KEY_MESSAGE_TYPE, i == 0 ? "1" : "4");
        rig_free(rig);
    }
}

/* The caller's header keeps its order and what nobody knows. */
static void test_a_header_is_passed_on(void **state)
{
    (void)state;
    struct rig *rig = rig_of(TTHEADER_FRAMED);
    struct memory_peer *caller = rig_caller(rig, 0);
    say(caller, &(struct said){.info = UNKNOWN "10 0001 000c 0003 323030",
                               .sequence = 77,
                               .message = {.method = "M", .seqid = 1}});
    rig_rest(rig);
    const struct naive_ttheader *header = heard(rig_callee(rig, 0));
    assert_true(header->is_inner_framed);
    assert_int_equal(header->flags, FLAGS);
    expect_int(header, 0x401, "abc");
    expect_int(header, CODEC_TTHEADER_KEY_RPC_TIMEOUT, "200");
    assert_int_equal(naive_ttheader_text(header, "k", 1)->len, 2);
    expect_int(header, CODEC_TTHEADER_KEY_TO_METHOD, "M");
    rig_free(rig);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* One call, whose answer's header passes or, for a caller with inner frames, is changed. */
static void serve(struct rig *rig, struct memory_peer *caller, bool is_inner_framed)
{
    call(rig, caller, is_inner_framed);
    struct memory_peer *callee = memory_callee(&rig->net[0], RIG_PORT, 0);
    if (callee && callee->out.len > callee->out_seen) {
        struct said said = reply_to(rig, UNKNOWN);
        say(callee, &said);
        rig_rest(rig);
    }
    if (!memory_is_closed(caller)) {
        assert_int_equal(heard(caller)->sequence, 77);
    }
}

/* A caller is answered, or its connection ends; what was held is given back, which rig_free() proves. */
static void test_any_allocation_fails(void **state)
{
    (void)state;
    for (int framed = 0; framed < 2; framed++) {
        unsigned failed = 1;
        for (unsigned n = 0; failed > 0; n++) {
            struct rig *rig = rig_of(TTHEADER);
            struct memory_peer *caller = rig_caller(rig, 0);
            rig_scarce(rig, n, false);
            serve(rig, caller, framed);
            failed = scarce_end();
            assert_true(n < 100);
            rig_free(rig);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_header_passes_where_it_lies),
        cmocka_unit_test(test_the_end_of_the_callees_connection),
        cmocka_unit_test(test_the_end_of_the_callers_connection),
        cmocka_unit_test(test_inner_frames),
        cmocka_unit_test(test_headers_of_other_answers),
        cmocka_unit_test(test_a_header_is_made),
        cmocka_unit_test(test_a_header_is_passed_on),
        cmocka_unit_test(test_any_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
