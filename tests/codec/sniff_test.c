/*
 * tests/codec/sniff_test.c: the first bytes of connections, ours and others'.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/sniff.h"
#include "codec/wire.h"
#include "tests/codec/bytes.h"
#include "tests/support/guard.h"

#define MAX WIRE_FRAME_BYTES_DEFAULT

static struct guard guard;

static const struct {
    const char *text; /* the bytes, as text or as hex */
    const char *hex;
    enum codec_protocol protocol;
} foreign[] = {
    {"", NULL, CODEC_PROTOCOL_FRAMED},
    {NULL, "00", CODEC_PROTOCOL_FRAMED},
    {NULL, "000000", CODEC_PROTOCOL_FRAMED},
    {NULL, "00000020", CODEC_PROTOCOL_FRAMED},
    {NULL, "0000002080", CODEC_PROTOCOL_FRAMED},
    {NULL, "000000208001", CODEC_PROTOCOL_FRAMED},
    {NULL, "0000002080010001", CODEC_PROTOCOL_FRAMED},
    /* The strict magic is there: too large and empty are for the frame to say. */
    {NULL, "00fa000180010001", CODEC_PROTOCOL_FRAMED},
    {NULL, "00000000", CODEC_PROTOCOL_FRAMED},
    {NULL, "0000000000000000", CODEC_PROTOCOL_FRAMED},
    {NULL, "0000000180", CODEC_PROTOCOL_FRAMED},
    {NULL, "000000018099", CODEC_PROTOCOL_FRAMED},
    {NULL, "8001", CODEC_PROTOCOL_UNFRAMED},
    {NULL, "80010001", CODEC_PROTOCOL_UNFRAMED},
    {NULL, "8001000100000003", CODEC_PROTOCOL_UNFRAMED},
    {NULL, "8221", CODEC_PROTOCOL_COMPACT},
    {NULL, "82210004", CODEC_PROTOCOL_COMPACT},
    {NULL, "000000208221", CODEC_PROTOCOL_COMPACT},
    {NULL, "0000002082210104", CODEC_PROTOCOL_COMPACT},
    {NULL, "0000002082220104", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "000000200fff0000", CODEC_PROTOCOL_THEADER},
    {NULL, "0000002010000000", CODEC_PROTOCOL_TTHEADER},
    {NULL, "1603", CODEC_PROTOCOL_TLS},
    {NULL, "16030100f5010000", CODEC_PROTOCOL_TLS},
    {"G", NULL, CODEC_PROTOCOL_HTTP},
    {"GET / HTTP/1.1", NULL, CODEC_PROTOCOL_HTTP},
    {"POST /", NULL, CODEC_PROTOCOL_HTTP},
    {"PRI * HT", NULL, CODEC_PROTOCOL_HTTP},
    {"OPTIONS ", NULL, CODEC_PROTOCOL_HTTP},
    {"HTTP/1.1", NULL, CODEC_PROTOCOL_HTTP},
    {"SSH-2.0-", NULL, CODEC_PROTOCOL_UNKNOWN},
    {"SSH", NULL, CODEC_PROTOCOL_FRAMED}, /* unknown needs four bytes */
    {"GETX", NULL, CODEC_PROTOCOL_UNKNOWN},
    {NULL, "ffffffff", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "00fa0001", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "00000020ffffffff", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "0000002090010001", CODEC_PROTOCOL_FRAMED_PROTOBUF},
    {NULL, "000000209001", CODEC_PROTOCOL_FRAMED_PROTOBUF},
    {NULL, "0000002090", CODEC_PROTOCOL_FRAMED},
    {NULL, "0000002090020001", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "ffaf0020", CODEC_PROTOCOL_MESHHEADER},
    {NULL, "ffaf", CODEC_PROTOCOL_MESHHEADER},
    {NULL, "ff", CODEC_PROTOCOL_FRAMED}, /* as with any of them, a cut magic may become another */
    /* A non-strict message begins with its name's length, which leaves room for type, seqid and
     * the arguments' STOP. */
    {NULL, "0000002000000003", CODEC_PROTOCOL_FRAMED_UNVERSIONED},
    {NULL, "00000020000000", CODEC_PROTOCOL_FRAMED},
    {NULL, "0000002000", CODEC_PROTOCOL_FRAMED},
    {NULL, "0000002000000016", CODEC_PROTOCOL_FRAMED_UNVERSIONED},
    {NULL, "0000002000000017", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "00000020000001", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "0000002000000000", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "0000200000000201", CODEC_PROTOCOL_FRAMED_UNVERSIONED},
    {NULL, "0000200000000202", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "0000000100", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "0000000a00000001", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "0000000b00000001", CODEC_PROTOCOL_FRAMED_UNVERSIONED},
    {NULL, "0000002080020001", CODEC_PROTOCOL_UNKNOWN},
    {NULL, "0000002099", CODEC_PROTOCOL_UNKNOWN},
};

static void test_sniff(void **state)
{
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        struct bytes b = {0};
        if (foreign[i].hex) {
            bytes_put_hex(&b, foreign[i].hex);
        } else {
            bytes_put(&b, foreign[i].text, strlen(foreign[i].text));
        }
        enum codec_protocol protocol =
            codec_protocol_sniff(guard_copy(&guard, b.p, b.len), b.len, MAX);
        if (protocol != foreign[i].protocol) {
            fail_msg("%s: %s instead of %s", foreign[i].hex ? foreign[i].hex : foreign[i].text,
                     codec_protocol_str(protocol), codec_protocol_str(foreign[i].protocol));
        }
        bytes_done(&b);
    }
}

static void test_http_below_a_huge_limit(void **state)
{
    const uint8_t *p = guard_copy(&guard, "GET / HT", 8);

    assert_int_equal(codec_protocol_sniff(p, 8, INT32_MAX), CODEC_PROTOCOL_HTTP);
}

static void test_every_protocol_has_a_name(void **state)
{
    for (int i = 0; i < CODEC_PROTOCOL_MAX; i++) {
        assert_non_null(codec_protocol_str((enum codec_protocol)i));
    }
    assert_string_equal(codec_protocol_str(CODEC_PROTOCOL_TTHEADER), "ttheader");
    assert_string_equal(codec_protocol_str(CODEC_PROTOCOL_FRAMED_UNVERSIONED),
                        "framed_unversioned");
    assert_string_equal(codec_protocol_str(CODEC_PROTOCOL_MAX), "unknown");
}

/* --- what a listener accepts --- */

#define F 1u /* framed */
#define U 2u /* unframed */
#define T 4u /* ttheader */

#define MORE (-1)

/* Under each set of F, U and T: MORE, or the protocol; foreign ones are those that the set lacks. */
static const struct {
    const char *hex;
    int with_all; /* what any set says of it that accepts it */
    int without;  /* and one that does not */
    unsigned accepted_by;
} knocks[] = {
    {"", MORE, MORE, F},
    {"00000020", MORE, MORE, F},
    {"000000208001", MORE, MORE, F},
    {"00000020800100", MORE, MORE, F},
    {"0000002080010001", CODEC_PROTOCOL_FRAMED, CODEC_PROTOCOL_FRAMED, F},
    {"0000002080010001ffffffff", CODEC_PROTOCOL_FRAMED, CODEC_PROTOCOL_FRAMED, F},
    {"0000000000000000", CODEC_PROTOCOL_FRAMED, CODEC_PROTOCOL_FRAMED, F},
    {"00fa000180010001", CODEC_PROTOCOL_FRAMED, CODEC_PROTOCOL_FRAMED, F},
    {"80", MORE, CODEC_PROTOCOL_UNFRAMED, U},
    {"8001", MORE, CODEC_PROTOCOL_UNFRAMED, U},
    {"80010001000000", MORE, CODEC_PROTOCOL_UNFRAMED, U},
    {"8001000100000001", CODEC_PROTOCOL_UNFRAMED, CODEC_PROTOCOL_UNFRAMED, U},
    {"80010001800100ff", CODEC_PROTOCOL_UNFRAMED, CODEC_PROTOCOL_UNFRAMED, U},
    {"0000002010", MORE, MORE, T},
    {"000000201000", MORE, CODEC_PROTOCOL_TTHEADER, T},
    {"0000002010000000", CODEC_PROTOCOL_TTHEADER, CODEC_PROTOCOL_TTHEADER, T},
    {"000000201000ffff", CODEC_PROTOCOL_TTHEADER, CODEC_PROTOCOL_TTHEADER, T},
    {"00000020100100ff", CODEC_PROTOCOL_UNKNOWN, CODEC_PROTOCOL_UNKNOWN, 0},
    {"16030100f5010000", CODEC_PROTOCOL_TLS, CODEC_PROTOCOL_TLS, 0},
    {"474554202f204854", CODEC_PROTOCOL_HTTP, CODEC_PROTOCOL_HTTP, 0},
    {"47", CODEC_PROTOCOL_HTTP, CODEC_PROTOCOL_HTTP, 0},
    {"8221", CODEC_PROTOCOL_COMPACT, CODEC_PROTOCOL_COMPACT, 0},
    {"000000200fff0000", CODEC_PROTOCOL_THEADER, CODEC_PROTOCOL_THEADER, 0},
    {"ffaf0020", CODEC_PROTOCOL_MESHHEADER, CODEC_PROTOCOL_MESHHEADER, 0},
    {"80020001", CODEC_PROTOCOL_UNKNOWN, CODEC_PROTOCOL_UNKNOWN, 0},
};

static struct codec_sniff listener(unsigned set)
{
    return (struct codec_sniff){.accepts_framed = set & F,
                                .accepts_unframed = set & U,
                                .accepts_ttheader = set & T,
                                .max_bytes = MAX};
}

/* MORE, or the protocol; is_foreign says which of the two others it was. */
static int knock(unsigned set, const char *hex, bool *ret_is_foreign)
{
    const struct codec_sniff sniff = listener(set);
    enum codec_protocol protocol = CODEC_PROTOCOL_MAX;
    struct bytes b = {0};

    bytes_put_hex(&b, hex);
    enum codec_sniff_status status =
        codec_sniff(&sniff, guard_copy(&guard, b.p, b.len), b.len, &protocol);
    bytes_done(&b);
    assert_int_equal(status == CODEC_SNIFF_MORE, protocol == CODEC_PROTOCOL_MAX);
    *ret_is_foreign = status == CODEC_SNIFF_FOREIGN;
    return status == CODEC_SNIFF_MORE ? MORE : (int)protocol;
}

static void test_listeners(void **state)
{
    for (size_t i = 0; i < sizeof knocks / sizeof knocks[0]; i++) {
        for (unsigned set = 1; set <= (F | U | T); set++) {
            bool is_foreign;
            bool is_accepted = knocks[i].accepted_by & set;
            int wanted = is_accepted ? knocks[i].with_all : knocks[i].without;
            int got = knock(set, knocks[i].hex, &is_foreign);
            if (got != wanted || is_foreign != (wanted != MORE && !is_accepted)) {
                fail_msg("%s under %u: %d instead of %d, foreign: %d", knocks[i].hex, set, got,
                         wanted, is_foreign);
            }
        }
    }
}

/* Of a message at the limit behind the longest header, the length is more than the limit. */
static void test_a_long_ttheader(void **state)
{
    char hex[32];
    bool is_foreign;
    const uint32_t longest = MAX + 262154;

    snprintf(hex, sizeof hex, "%08x10000000", longest);
    assert_int_equal(knock(T, hex, &is_foreign), CODEC_PROTOCOL_TTHEADER);
    assert_false(is_foreign);
    assert_int_equal(knock(F, hex, &is_foreign), CODEC_PROTOCOL_UNKNOWN);
    snprintf(hex, sizeof hex, "%08x10000000", longest + 1);
    assert_int_equal(knock(T, hex, &is_foreign), CODEC_PROTOCOL_UNKNOWN);
    assert_true(is_foreign);

    const struct codec_sniff unlimited = {.accepts_ttheader = true, .max_bytes = UINT32_MAX};
    enum codec_protocol protocol;
    const uint8_t *p = guard_copy(&guard, "\x3f\xff\xff\xff\x10\0\0\0", 8);
    assert_int_equal(codec_sniff(&unlimited, p, 8, &protocol), CODEC_SNIFF_ACCEPTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sniff),
        cmocka_unit_test(test_http_below_a_huge_limit),
        cmocka_unit_test(test_every_protocol_has_a_name),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_a_long_ttheader),
    };

    guard_init(&guard, 4096);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
