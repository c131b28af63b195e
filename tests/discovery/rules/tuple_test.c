/*
 * tuple_test.c: names as keys spell them and as people are shown them.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/tuple.h"

#include "tests/discovery/cmocka_first.h"

#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof text - 1                                                                      \
    }

static const struct {
    struct disc_str name;
    const char *shown;
} displays[] = {
    {BYTES(""), ""},
    {BYTES("app.feed"), "app.feed"},
    {BYTES("a/b%*-"), "a/b%*-"},
    {BYTES("s\nv\0c\x7f\x1b"), "s\\x0Av\\x00c\\x7F\\x1B"},
    {BYTES("\xc3\xa4\xe4\xbd\xa0\xf0\x9f\x8d\xb5"), "\xc3\xa4\xe4\xbd\xa0\xf0\x9f\x8d\xb5"},
    /* Outside UTF-8: alone, too long, a surrogate, above U+10FFFF, cut. */
    {BYTES("\xffx\x80"), "\\xFFx\\x80"},
    {BYTES("\xc0\xaf"), "\\xC0\\xAF"},
    {BYTES("\xe0\x80\xaf"), "\\xE0\\x80\\xAF"},
    {BYTES("\xed\xa0\x80"), "\\xED\\xA0\\x80"},
    {BYTES("\xf4\x90\x80\x80"), "\\xF4\\x90\\x80\\x80"},
    {BYTES("\xe4\xbd"), "\\xE4\\xBD"},
    /* C1 controls drive terminals, and U+2028 and U+2029 end lines for some readers; their
     * neighbours are characters like any other. */
    {BYTES("a\xc2\x80\xc2\x85\xc2\x9fz"), "a\\xC2\\x80\\xC2\\x85\\xC2\\x9Fz"},
    {BYTES("\xc2\xa0"), "\xc2\xa0"},
    {BYTES("a\xe2\x80\xa8\xe2\x80\xa9z"), "a\\xE2\\x80\\xA8\\xE2\\x80\\xA9z"},
    {BYTES("\xe2\x80\xa7\xe2\x80\xaa\xe2\x81\xa8"), "\xe2\x80\xa7\xe2\x80\xaa\xe2\x81\xa8"},
    /* What looks like a byte that was spelled out is spelled out itself. */
    {BYTES("\\xFF"), "\\x5CxFF"},
    {BYTES("\\xC2\\x85"), "\\x5CxC2\\x5Cx85"},
    {BYTES("\\\\xff\\"), "\\\\xff\\"},
};

static void test_display(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof displays / sizeof displays[0]; i++) {
        char shown[4 * DISC_NAME_MAX_BYTES + 1];
        size_t len = disc_name_display(displays[i].name, shown, sizeof shown);
        assert_string_equal(shown, displays[i].shown);
        assert_int_equal(len, strlen(displays[i].shown));
    }
}

/* Cut at every length: what stands there is a beginning of the whole, and no character is halved.
 * */
static void test_display_is_cut(void **state)
{
    (void)state;
    const struct disc_str name = BYTES("a\xc3\xa4\xff\xe4\xbd\xa0\xc2\x85z");
    static const char whole[] = "a\xc3\xa4\\xFF\xe4\xbd\xa0\\xC2\\x85z";
    static const size_t ends[] = {0, 1, 3, 7, 10, 14, 18, 19};
    for (size_t cap = 1; cap <= sizeof whole; cap++) {
        char shown[sizeof whole + 1];
        size_t expected = 0;
        for (size_t i = 0; i < sizeof ends / sizeof ends[0] && ends[i] < cap; i++) {
            expected = ends[i];
        }
        memset(shown, '#', sizeof shown);
        assert_int_equal(disc_name_display(name, shown, cap), expected);
        assert_memory_equal(shown, whole, expected);
        assert_int_equal(shown[expected], '\0');
        assert_int_equal(shown[cap], '#');
    }
    char untouched = '#';
    assert_int_equal(disc_name_display(name, &untouched, 0), 0);
    assert_int_equal(untouched, '#');
}

static const struct {
    struct disc_str name;
    const char *encoded;
} encodings[] = {
    {BYTES(""), "-"},
    {BYTES("app.feed"), "app.feed"},
    {BYTES("a/b%c*d"), "a%2Fb%25c%2Ad"},
    {BYTES("\0\n\x1f \x7f"), "%00%0A%1F %7F"},
    /* Of bytes above 0x7f none is a control byte: keys hold them as they are. */
    {BYTES("\xff\xc2\x85\xe2\x80\xa8\\"), "\xff\xc2\x85\xe2\x80\xa8\\"},
};

static void test_encode(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        char encoded[DISC_NAME_ENCODED_MAX_BYTES];
        size_t need = strlen(encodings[i].encoded);
        for (size_t cap = 0; cap <= need + 1; cap++) {
            memset(encoded, '#', sizeof encoded);
            assert_int_equal(disc_name_encode(encodings[i].name, encoded, cap), need);
            assert_memory_equal(encoded, encodings[i].encoded, cap < need ? cap : need);
            assert_int_equal(encoded[cap < need ? cap : need], '#');
        }
    }
}

static void test_encode_tuple(void **state)
{
    (void)state;
    const struct disc_tuple tuple = {
        {BYTES("a/b"), BYTES("default"), BYTES("svc"), BYTES(""), BYTES("Visit")}};
    static const char whole[] = "a%2Fb/default/svc/-/Visit";
    for (size_t cap = 1; cap <= sizeof whole; cap++) {
        char encoded[sizeof whole];
        assert_int_equal(disc_tuple_encode(&tuple, encoded, cap), cap - 1);
        assert_memory_equal(encoded, whole, cap - 1);
        assert_int_equal(encoded[cap - 1], '\0');
    }
}

static void test_names_hash(void **state)
{
    (void)state;
    const struct disc_str abc[] = {BYTES("ab"), BYTES("c")};
    const struct disc_str a_bc[] = {BYTES("a"), BYTES("bc")};
    const struct disc_str none_first[] = {{NULL, 0}, BYTES("abc")};
    const struct disc_str none_last[] = {BYTES("abc"), {NULL, 0}};
    uint64_t hash = disc_names_hash(7, abc, 2);
    assert_true(hash == disc_names_hash(7, abc, 2));
    assert_true(hash != disc_names_hash(8, abc, 2));
    assert_true(hash != disc_names_hash(7, a_bc, 2));
    assert_true(disc_names_hash(7, none_first, 2) != disc_names_hash(7, none_last, 2));
}

static void test_names_copy(void **state)
{
    (void)state;
    char bytes[] = "######";
    struct disc_str copy[3];
    const struct disc_str names[3] = {BYTES("ab"), {NULL, 0}, BYTES("c")};
    assert_int_equal(disc_names_bytes(names, 3), 3);
    disc_names_copy(names, 3, bytes, copy);
    assert_string_equal(bytes, "abc###");
    for (int i = 0; i < 3; i++) {
        assert_true(disc_str_eq(names[i], copy[i]));
        assert_true(copy[i].p >= bytes && copy[i].p <= bytes + 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_display),    cmocka_unit_test(test_display_is_cut),
        cmocka_unit_test(test_encode),     cmocka_unit_test(test_encode_tuple),
        cmocka_unit_test(test_names_hash), cmocka_unit_test(test_names_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
