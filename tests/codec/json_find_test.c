/*
 * tests/codec/json_find_test.c: JSON texts from callers, good and bad; jansson as the oracle.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "codec/json_find.h"
#include "tests/codec/bytes.h"
#include "tests/codec/random.h"
#include "tests/support/guard.h"

#define ORACLE_TEXTS 60000

static struct guard guard;

/* Member "a" of the text; NULL where it is not found. */
static const struct {
    const char *text;
    bool ok;
    const char *a;
} rows[] = {
    {"{}", true, NULL},
    {" \t\r\n{ } \n", true, NULL},
    {"{\"a\":\"x\"}", true, "x"},
    {"{ \"a\" : \"x\" , \"b\" : 1 }", true, "x"},
    {"{\"a\":\"\"}", true, ""},
    {"{\"a\":1}", true, NULL},
    {"{\"a\":null,\"a\":\"y\"}", true, "y"},
    {"{\"a\":\"y\",\"a\":null}", true, NULL},
    {"{\"a\":\"y\",\"a\":\"z\"}", true, "z"},
    {"{\"b\":{\"a\":\"x\"}}", true, NULL},
    {"{\"b\":[\"a\",\"x\"]}", true, NULL},
    {"{\"a\":{\"a\":\"x\"}}", true, NULL},
    {"{\"a\":[\"x\"],\"b\":\"a\"}", true, NULL},
    {"{\"\\u0061\":\"\\u0078\"}", true, "x"},
    {"{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", true, "\"\\/\b\f\n\r\t"},
    {"{\"a\":\"\\u00e9\\u20AC\\ud83d\\ude00\"}", true, "\u00e9\u20ac\U0001f600"},
    {"{\"a\":\"\u00e9\u20ac\U0001f600\"}", true, "\u00e9\u20ac\U0001f600"},
    {"{\"n\":[0,-0,1,-1.5,10e3,1E+2,1.25e-3],\"t\":[true,false,null]}", true, NULL},
    {"{\"a\":\"x\x7f\"}", true, "x\x7f"},
    {"", false, NULL},
    {" ", false, NULL},
    {"[]", false, NULL},
    {"\"a\"", false, NULL},
    {"1", false, NULL},
    {"null", false, NULL},
    {"{", false, NULL},
    {"}", false, NULL},
    {"{]", false, NULL},
    {"{\"a\":\"x\"", false, NULL},
    {"{\"a\":\"x\"]", false, NULL},
    {"{\"a\":\"x\"}}", false, NULL},
    {"{\"a\":\"x\"} {}", false, NULL},
    {"{\"a\":\"x\"},", false, NULL},
    {"{\"a\":\"x\"}x", false, NULL},
    {"{\"a\":\"x\",}", false, NULL},
    {"{,\"a\":\"x\"}", false, NULL},
    {"{\"a\" \"x\"}", false, NULL},
    {"{\"a\":}", false, NULL},
    {"{\"a\"}", false, NULL},
    {"{\"a\":\"x\" \"b\":1}", false, NULL},
    {"{a:\"x\"}", false, NULL},
    {"{'a':'x'}", false, NULL},
    {"{1:2}", false, NULL},
    {"{\"a\":\"x}", false, NULL},
    {"{\"a\":\"x\ny\"}", false, NULL},
    {"{\"a\":\"\\x\"}", false, NULL},
    {"{\"a\":\"\\", false, NULL},
    {"{\"a\":\"\\u", false, NULL},
    {"{\"a\":\"\\u12\"}", false, NULL},
    {"{\"a\":\"\\u12g4\"}", false, NULL},
    {"{\"a\":\"\\ud83d\"}", false, NULL},
    {"{\"a\":\"\\ud83dx\"}", false, NULL},
    {"{\"a\":\"\\ud83d\\u0041\"}", false, NULL},
    {"{\"a\":\"\\ude00\"}", false, NULL},
    {"{\"a\":\"\xff\"}", false, NULL},
    {"{\"a\":\"\x80\"}", false, NULL},
    {"{\"a\":\"\xc3\"}", false, NULL},
    {"{\"a\":\"\xc0\x80\"}", false, NULL},
    {"{\"a\":\"\xe0\x80\x80\"}", false, NULL},
    {"{\"a\":\"\xed\xa0\x80\"}", false, NULL},
    {"{\"a\":\"\xf0\x80\x80\x80\"}", false, NULL},
    {"{\"a\":\"\xf4\x90\x80\x80\"}", false, NULL},
    {"\xef\xbb\xbf{}", false, NULL},
    {"{\"a\":01}", false, NULL},
    {"{\"a\":+1}", false, NULL},
    {"{\"a\":.5}", false, NULL},
    {"{\"a\":1.}", false, NULL},
    {"{\"a\":1e}", false, NULL},
    {"{\"a\":-}", false, NULL},
    {"{\"a\":0x1}", false, NULL},
    {"{\"a\":nul}", false, NULL},
    {"{\"a\":truE}", false, NULL},
    {"{\"a\":NaN}", false, NULL},
    {"{\"a\":[1,]}", false, NULL},
    {"{\"a\":[1 2]}", false, NULL},
    {"{\"a\":[}", false, NULL},
    {"{\"a\":/**/1}", false, NULL},
};

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json_wanted a = {.name = "a", .name_len = 1, .found = true};
        size_t len = strlen(rows[i].text);
        bool ok = json_find(guard_copy(&guard, rows[i].text, len), len, 1, &a);
        if (ok != rows[i].ok || a.found != (rows[i].a != NULL) ||
            (rows[i].a && (a.too_long || a.len != strlen(rows[i].a) ||
                           memcmp(a.value, rows[i].a, a.len) != 0))) {
            fail_msg("%s: ok %d, found %d, %.*s", rows[i].text, ok, a.found, (int)a.len, a.value);
        }
    }
}

static void test_several_members(void **state)
{
    static const char text[] =
        "{\"dest_method\":\"M\",\"dest_service\":\"s\",\"dest_cluster\":\"c\",\"x\":[1,{\"y\":2}]}";
    struct json_wanted wanted[] = {{.name = "dest_service", .name_len = 12},
                                   {.name = "dest_cluster", .name_len = 12},
                                   {.name = "missing", .name_len = 7}};

    assert_true(json_find(guard_copy(&guard, text, sizeof text - 1), sizeof text - 1, 3, wanted));
    assert_true(wanted[0].found && wanted[0].len == 1 && wanted[0].value[0] == 's');
    assert_true(wanted[1].found && wanted[1].len == 1 && wanted[1].value[0] == 'c');
    assert_false(wanted[2].found);
}

static void test_nothing_is_found_in_a_broken_text(void **state)
{
    static const char text[] = "{\"a\":\"x\",\"b\":tru}";
    struct json_wanted a = {.name = "a", .name_len = 1};

    assert_false(json_find(guard_copy(&guard, text, sizeof text - 1), sizeof text - 1, 1, &a));
    assert_false(a.found);
}

static void test_length_of_values(void **state)
{
    for (size_t len = WIRE_NAME_MAX_BYTES - 2; len <= WIRE_NAME_MAX_BYTES + 2; len++) {
        struct bytes b = {0};
        struct json_wanted a = {.name = "a", .name_len = 1};
        bytes_put(&b, "{\"a\":\"", 6);
        for (size_t i = 0; i < len; i++) {
            bytes_put8(&b, 'v');
        }
        bytes_put(&b, "\"}", 2);
        assert_true(json_find(guard_copy(&guard, b.p, b.len), b.len, 1, &a));
        assert_true(a.found);
        assert_int_equal(a.len, len);
        assert_int_equal(a.too_long, len > WIRE_NAME_MAX_BYTES);
        bytes_done(&b);
    }
}

static void test_embedded_nul(void **state)
{
    static const char text[] = "{\"a\\u0000\":1,\"a\":\"x\\u0000y\"}";
    struct json_wanted a = {.name = "a", .name_len = 1};

    assert_true(json_find(guard_copy(&guard, text, sizeof text - 1), sizeof text - 1, 1, &a));
    assert_int_equal(a.len, 3);
    assert_memory_equal(a.value, "x\0y", 3);
}

static void test_depth(void **state)
{
    static const size_t depths[] = {1, 2, 63, 64, 65, 1000};

    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        struct bytes b = {0};
        bytes_put(&b, "{\"a\":", 5);
        for (size_t level = 1; level < depths[i]; level++) {
            bytes_put8(&b, '[');
        }
        bytes_put8(&b, '1');
        for (size_t level = 1; level < depths[i]; level++) {
            bytes_put8(&b, ']');
        }
        bytes_put8(&b, '}');
        assert_int_equal(json_find(guard_copy(&guard, b.p, b.len), b.len, 0, NULL),
                         depths[i] <= 64);
        bytes_done(&b);
    }
}

/* --- generated texts --- */

static void put_chars(struct bytes *b, const char *text)
{
    bytes_put(b, text, strlen(text));
}

static void put_blanks(struct bytes *b, struct random *random)
{
    while (random_one_in(random, 5)) {
        bytes_put8(b, (uint8_t) " \t\n\r"[random_below(random, 4)]);
    }
}

static void put_json_string(struct bytes *b, struct random *random)
{
    static const char *const pieces[] = {
        "a",   "b",      "dest",   "\\n",        "\\\"", "\\u0061", "\\u00e9", "\\ud83d\\ude00",
        "\\/", "\u00e9", "\u20ac", "\U0001f600", "\x7f", "\\\\",    "0",       "\\u20AC"};

    bytes_put8(b, '"');
    for (uint32_t n = random_below(random, 4); n > 0; n--) {
        put_chars(b, pieces[random_below(random, sizeof pieces / sizeof pieces[0])]);
    }
    bytes_put8(b, '"');
}

static void put_json(struct bytes *b, struct random *random, int depth);

static void put_members(struct bytes *b, struct random *random, int depth, bool is_object)
{
    uint32_t n = random_below(random, 4);

    bytes_put8(b, is_object ? '{' : '[');
    put_blanks(b, random);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) {
            bytes_put8(b, ',');
            put_blanks(b, random);
        }
        if (is_object) {
            put_json_string(b, random);
            put_blanks(b, random);
            bytes_put8(b, ':');
        }
        put_json(b, random, depth + 1);
    }
    bytes_put8(b, is_object ? '}' : ']');
}

static void put_json(struct bytes *b, struct random *random, int depth)
{
    static const char *const words[] = {"true", "false", "null", "0",    "-0",
                                        "12",   "-3.25", "1e5",  "2E-3", "0.5e+2"};

    put_blanks(b, random);
    switch (depth > 5 ? 2 : random_below(random, 5)) {
    case 0:
        put_members(b, random, depth, true);
        break;
    case 1:
        put_members(b, random, depth, false);
        break;
    case 2:
        put_chars(b, words[random_below(random, sizeof words / sizeof words[0])]);
        break;
    default:
        put_json_string(b, random);
        break;
    }
    put_blanks(b, random);
}

/* Something that the grammar is about, in a place where it may or may not be right. */
static void mutate(struct bytes *b, struct random *random)
{
    static const char bytes[] = "{}[]\",:\\u0123456789abcdefE+-. \n\x01\x80\xc3\xed\xf4tn";
    size_t at = random_below(random, (uint32_t)b->len + 1);
    uint8_t byte = (uint8_t)bytes[random_below(random, sizeof bytes - 1)];

    switch (random_below(random, 4)) {
    case 0: /* a byte more */
        bytes_splice(b, at, 0, &byte, 1);
        break;
    case 1: /* another byte */
        bytes_splice(b, at, at < b->len, &byte, 1);
        break;
    case 2: /* some bytes fewer */
        bytes_splice(b, at, random_below(random, (uint32_t)(b->len - at) + 1) % 4, NULL, 0);
        break;
    default: /* cut */
        b->len = at;
        break;
    }
}

/* jansson refuses NUL in names and numbers that overflow; such texts are not generated. */
static bool agrees_with_jansson(const struct bytes *b)
{
    struct json_wanted wanted[] = {{.name = "a", .name_len = 1},
                                   {.name = "destb", .name_len = 5},
                                   {.name = "", .name_len = 0},
                                   {.name = "\u00e9", .name_len = 2}};
    const uint8_t *text = guard_copy(&guard, b->p, b->len);
    bool ok = json_find(text, b->len, 4, wanted);
    json_t *root =
        json_loadb((const char *)b->p, b->len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    bool same = ok == json_is_object(root);

    for (size_t i = 0; same && i < 4; i++) {
        const json_t *value = json_object_get(root, wanted[i].name);
        same = wanted[i].found == json_is_string(value) &&
               (!wanted[i].found ||
                (wanted[i].len == json_string_length(value) &&
                 memcmp(wanted[i].value, json_string_value(value), wanted[i].len) == 0));
    }
    json_decref(root);
    return same;
}

static bool is_beyond_jansson(const struct bytes *b)
{
    return memmem(b->p, b->len, "\\u0000", 6) || memmem(b->p, b->len, "e5", 2);
}

static void test_agrees_with_jansson(void **state)
{
    struct random random = {20241027};
    unsigned accepted = 0;
    unsigned refused = 0;

    for (unsigned i = 0; i < ORACLE_TEXTS; i++) {
        struct bytes b = {0};
        put_members(&b, &random, 0, !random_one_in(&random, 20));
        if (i % 2 == 1) {
            mutate(&b, &random);
        }
        /* 1e5 with digits put behind it is no number for jansson. */
        if (!(i % 2 == 1 && is_beyond_jansson(&b)) && !agrees_with_jansson(&b)) {
            fail_msg("text %u: %.*s", i, (int)b.len, b.p);
        }
        json_find(b.p, b.len, 0, NULL) ? accepted++ : refused++;
        bytes_done(&b);
    }
    print_message("json_find: %u texts accepted, %u refused, as by jansson\n", accepted, refused);
    assert_true(accepted > 10000 && refused > 10000);
}

/* --- members by a prefix --- */

/* What it means, in memory that ends where it does. */
static size_t unquoted(const uint8_t *text, struct wire_span raw, char out[256])
{
    const uint8_t *p = guard_copy(&guard, text + raw.off, raw.len);
    size_t len = json_unquote(p, raw.len, out, 256);

    assert_true(len < 256 && len <= raw.len - 2);
    out[len] = '\0';
    return len;
}

static void test_list(void **state)
{
    static const struct {
        const char *text;
        const char *members; /* name=value, as meant; NULL: no object */
    } lists[] = {
        {"{}", ""},
        {"{\"p_a\":\"1\"}", "p_a=1;"},
        {"{\"p_a\":\"1\",\"x\":\"2\",\"p_b\":\"3\"}", "p_a=1;p_b=3;"},
        {"{\"p_\":\"\",\"p\":\"2\",\"xp_\":\"3\",\"P_\":\"4\"}", "p_=;"},
        {"{\"p_a\":\"1\",\"p_a\":\"2\"}", "p_a=1;p_a=2;"},
        {"{\"p_a\":1,\"p_b\":null,\"p_c\":[\"x\"],\"p_d\":{\"p_e\":\"y\"},\"p_f\":\"z\"}",
         "p_f=z;"},
        {"{\"x\":{\"p_a\":\"1\"},\"y\":[{\"p_b\":\"2\"}]}", ""},
        {"{\"\\u0070_a\":\"\\u0031\\n\"}", "p_a=1\n;"},
        {"{\"p_a\":\"1\"", NULL},
        {"[\"p_a\"]", NULL},
    };

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct json_members members = {.prefix = "p_", .prefix_len = 2, .len = 7};
        char seen[512] = "";
        size_t len = strlen(lists[i].text);
        bool ok = json_list(guard_copy(&guard, lists[i].text, len), len, &members);
        const uint8_t *text = (const uint8_t *)lists[i].text;
        assert_int_equal(ok, lists[i].members != NULL);
        assert_false(members.left_out);
        for (size_t k = 0; k < members.len; k++) {
            char name[256];
            char value[256];
            (void)unquoted(text, members.at[k].name, name);
            (void)unquoted(text, members.at[k].value, value);
            strcat(strcat(strcat(strcat(seen, name), "="), value), ";");
        }
        assert_string_equal(seen, lists[i].members ? lists[i].members : "");
    }
}

static void test_a_list_that_is_full(void **state)
{
    for (size_t n = JSON_MEMBERS_MAX; n <= JSON_MEMBERS_MAX + 1; n++) {
        struct json_members members = {.prefix = "", .prefix_len = 0};
        struct bytes b = {0};
        put_chars(&b, "{\"0\":\"v\"");
        for (size_t i = 1; i < n; i++) {
            put_chars(&b, ",\"k\":\"v\"");
        }
        put_chars(&b, "}");
        assert_true(json_list(guard_copy(&guard, b.p, b.len), b.len, &members));
        assert_int_equal(members.len, JSON_MEMBERS_MAX);
        assert_int_equal(members.left_out, n > JSON_MEMBERS_MAX);
        bytes_done(&b);
    }
}

/* Each string of jansson's object that has the prefix is in the list, and the list has nothing else but what
 * stands twice. */
static void check_list(const struct bytes *b)
{
    struct json_members members = {.prefix = "a", .prefix_len = 1};
    json_t *root = json_loadb((const char *)b->p, b->len, JSON_DECODE_INT_AS_REAL, NULL);
    const char *key;
    json_t *member;

    assert_true(json_list(guard_copy(&guard, b->p, b->len), b->len, &members));
    json_object_foreach(root, key, member)
    {
        bool found = false;
        for (size_t i = 0; i < members.len; i++) {
            char name[256];
            char value[256];
            (void)unquoted(b->p, members.at[i].name, name);
            (void)unquoted(b->p, members.at[i].value, value);
            assert_int_equal(name[0], 'a');
            assert_non_null(json_object_get(root, name));
            found |= strcmp(name, key) == 0 && json_is_string(member) &&
                     strcmp(value, json_string_value(member)) == 0;
        }
        assert_int_equal(found, json_is_string(member) && key[0] == 'a');
    }
    json_decref(root);
}

static void test_lists_agree_with_jansson(void **state)
{
    struct random random = {20261128};

    for (unsigned i = 0; i < 20000; i++) {
        struct bytes b = {0};
        put_members(&b, &random, 0, true);
        check_list(&b);
        bytes_done(&b);
    }
}

static void test_unquote_into_too_little(void **state)
{
    static const char raw[] = "\"ab\\u20acc\"";

    for (size_t cap = 0; cap <= 8; cap++) {
        char out[8];
        memset(out, '?', sizeof out);
        assert_int_equal(json_unquote((const uint8_t *)raw, sizeof raw - 1, out, cap), 6);
        assert_memory_equal(out, "ab\u20acc", cap < 6 ? cap : 6);
        assert_true(cap >= 8 || out[cap] == '?');
    }
}

/* --- writing --- */

static void test_quote(void **state)
{
    static const struct {
        const char *text;
        const char *quoted; /* NULL: no UTF-8 */
        size_t len;
    } quotes[] = {
        {"", "\"\"", 0},
        {"250", "\"250\"", 3},
        {"a\"b\\c/d", "\"a\\\"b\\\\c/d\"", 7},
        {"\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"", 5},
        {"\0\x01\x1f\x7f", "\"\\u0000\\u0001\\u001f\x7f\"", 4},
        {"\u00e9\u20ac\U0001f600", "\"\u00e9\u20ac\U0001f600\"", 9},
        {"\xff", NULL, 1},
        {"a\xc3", NULL, 2},
        {"\xed\xa0\x80", NULL, 3},
        {"\xc0\x80", NULL, 2},
    };

    for (size_t i = 0; i < sizeof quotes / sizeof quotes[0]; i++) {
        size_t wanted = quotes[i].quoted ? strlen(quotes[i].quoted) : 0;
        const char *text = (const char *)guard_copy(&guard, quotes[i].text, quotes[i].len);
        char out[64];
        memset(out, '?', sizeof out);
        assert_int_equal(json_quote(text, quotes[i].len, out, 0), wanted);
        if (wanted > 0) {
            assert_int_equal(json_quote(text, quotes[i].len, out, wanted - 1), wanted);
        }
        assert_int_equal(out[0], '?'); /* nothing is written in part */
        assert_int_equal(json_quote(text, quotes[i].len, out, wanted), wanted);
        assert_memory_equal(out, quotes[i].quoted ? quotes[i].quoted : "?", wanted);
        assert_int_equal(out[wanted], '?');
    }
}

static const char new_value[] = "new \"value\" \\ \n\x01 \u20ac";

/* The value of the member "a" replaced where it stands: for jansson nothing else changes. */
static bool replaces_like_jansson(const struct bytes *b, const struct json_wanted *a)
{
    char quoted[64];
    struct bytes edited = {0};
    size_t quoted_len = json_quote(new_value, sizeof new_value - 1, quoted, sizeof quoted);
    json_t *root = json_loadb((const char *)b->p, b->len, JSON_DECODE_INT_AS_REAL, NULL);

    bytes_put(&edited, b->p, b->len);
    bytes_splice(&edited, a->raw.off, a->raw.len, quoted, quoted_len);
    json_t *again = json_loadb((const char *)edited.p, edited.len, JSON_DECODE_INT_AS_REAL, NULL);
    bool same =
        json_object_set_new(root, "a", json_string(new_value)) == 0 && json_equal(root, again);
    json_decref(root);
    json_decref(again);
    bytes_done(&edited);
    return same;
}

static void test_values_can_be_replaced(void **state)
{
    struct random random = {20261127};
    unsigned replaced = 0;

    for (unsigned i = 0; replaced < 2000; i++) {
        struct bytes b = {0};
        struct json_wanted a = {.name = "a", .name_len = 1};
        put_members(&b, &random, 0, true);
        bool ok = json_find(guard_copy(&guard, b.p, b.len), b.len, 1, &a);
        if (ok && a.found) {
            replaced++;
            assert_true(replaces_like_jansson(&b, &a));
        }
        bytes_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_several_members),
        cmocka_unit_test(test_nothing_is_found_in_a_broken_text),
        cmocka_unit_test(test_length_of_values),
        cmocka_unit_test(test_embedded_nul),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_agrees_with_jansson),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_a_list_that_is_full),
        cmocka_unit_test(test_lists_agree_with_jansson),
        cmocka_unit_test(test_unquote_into_too_little),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_values_can_be_replaced),
    };

    guard_init(&guard, 65536);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
