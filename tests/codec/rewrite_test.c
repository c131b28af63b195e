/*
 * tests/codec/rewrite_test.c: edits show, and nothing but the edits.
 *
 * Base before and after stand side by side, in hex or as a model that is edited naively; the
 * bytes around it must not move otherwise. libthrift_c_glib reads the result as well.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/rewrite.h"
#include "tests/codec/bytes.h"
#include "tests/codec/glib_reader.h"
#include "tests/codec/random.h"
#include "tests/support/guard.h"

#define SEQID_BEFORE 7
#define SEQID_AFTER  (-559038737)
#define RANDOM_EDITS 20000

static struct guard guard;
static struct glib_reader *reader;

enum edit_kind { EDIT_NONE = 0, EDIT_EXTRA, EDIT_LOG_ID };

struct edit {
    enum edit_kind kind;
    int extra_id;
    const char *key;
    const char *value;
};

#define EXTRA(key, value)                                                                          \
    {                                                                                              \
        EDIT_EXTRA, CODEC_EXTRA_ID_AUTO, key, value                                                \
    }
#define EXTRA_IN(id, key, value)                                                                   \
    {                                                                                              \
        EDIT_EXTRA, id, key, value                                                                 \
    }
#define LOG_ID(value)                                                                              \
    {                                                                                              \
        EDIT_LOG_ID, 0, NULL, value                                                                \
    }

/* A frame under test: its message, where things are, and the edits made to it. */
struct subject {
    struct bytes came; /* header and body as they came */
    uint8_t *frame;    /* the copy that is edited; ends at the forbidden page */
    struct codec_scan scan;
    struct codec_base base;
    struct codec_rewrite rewrite;
    struct bytes out; /* what the vectors hold */
};

/* A request with these bytes as Base, between other fields. */
static void put_frame(struct bytes *b, const struct bytes *base, int32_t seqid)
{
    bytes_put32(b, 0);
    bytes_put_header(b, WIRE_CALL, "Service:Visit", seqid);
    bytes_put_field(b, WIRE_STRUCT, 1);
    bytes_put_string_field(b, 1, "payload in front");
    bytes_put_field(b, WIRE_STRUCT, WIRE_BASE_FIELD_ID);
    bytes_put(b, base->p, base->len);
    bytes_put8(b, WIRE_STOP);
    bytes_put_string_field(b, 256, "payload behind");
    bytes_put8(b, WIRE_STOP);
    bytes_put8(b, WIRE_STOP);
    wire_put32(b->p, (uint32_t)b->len - WIRE_FRAME_LEN_BYTES);
}

static void subject_init(struct subject *s, const struct bytes *base)
{
    memset(s, 0, sizeof *s);
    put_frame(&s->came, base, SEQID_BEFORE);
    s->frame = guard_copy(&guard, s->came.p, s->came.len);
    size_t len = s->came.len - WIRE_FRAME_LEN_BYTES;
    codec_scan_begin(&s->scan, CODEC_SCAN_REQUEST, (uint32_t)len);
    assert_int_equal(codec_scan_run(&s->scan, s->frame + WIRE_FRAME_LEN_BYTES, len, len),
                     CODEC_SCAN_DONE);
    assert_true(s->scan.message.has_base);
    codec_base_read(s->frame + WIRE_FRAME_LEN_BYTES, s->scan.message.base, &s->base);
    memset(&s->rewrite, 0xa5, sizeof s->rewrite);
    codec_rewrite_begin(&s->rewrite);
}

static void subject_done(struct subject *s)
{
    bytes_done(&s->came);
    bytes_done(&s->out);
}

static void subject_edit(struct subject *s, const struct edit *edit)
{
    if (edit->kind == EDIT_EXTRA) {
        struct codec_entry entry = {
            edit->key, strlen(edit->key), edit->value, strlen(edit->value), {0, 0}};
        if (!codec_extra_find(s->frame + WIRE_FRAME_LEN_BYTES, &s->base.extra, entry.key,
                              entry.key_len, &entry.old)) {
            assert_int_equal(entry.old.off, 0); /* an entry that is new */
        }
        codec_rewrite_extra_set(&s->rewrite, &s->base, edit->extra_id, &entry);
    } else if (edit->kind == EDIT_LOG_ID) {
        codec_rewrite_log_id_set(&s->rewrite, &s->base, edit->value, strlen(edit->value));
    }
}

static void subject_edits(struct subject *s, const struct edit *edits, size_t n)
{
    codec_rewrite_begin(&s->rewrite);
    for (size_t i = 0; i < n; i++) {
        subject_edit(s, &edits[i]);
    }
}

/* Lays out, puts the frame's length in front and gathers; says how many vectors that took. The bytes that
 * came are another attempt's, too: nothing is written there. */
static size_t subject_finish(struct subject *s, uint32_t max_frame_bytes)
{
    struct iovec iov[CODEC_REWRITE_IOVS_MAX];
    const struct codec_rewrite_to to = {SEQID_AFTER, max_frame_bytes, 0, WIRE_FRAME_LEN_BYTES};
    uint32_t len = 0;
    size_t n = codec_rewrite_finish(&s->rewrite, s->frame + WIRE_FRAME_LEN_BYTES,
                                    (uint32_t)s->came.len - WIRE_FRAME_LEN_BYTES, &s->scan.message,
                                    &to, iov, &len);

    assert_in_range(n, 1, CODEC_REWRITE_IOVS_MAX);
    wire_put32(iov[0].iov_base, len);
    s->out.len = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0);
        bytes_put(&s->out, iov[i].iov_base, iov[i].iov_len);
    }
    assert_int_equal(s->out.len, WIRE_FRAME_LEN_BYTES + len);
    assert_memory_equal(s->frame, s->came.p, s->came.len);
    return n;
}

/* What went out is the same frame around this Base. */
static void check_out(const char *what, const struct subject *s, const struct bytes *base)
{
    struct bytes wanted = {0};

    put_frame(&wanted, base, SEQID_AFTER);
    if (s->out.len != wanted.len || memcmp(s->out.p, wanted.p, wanted.len) != 0) {
        for (size_t i = 0; i < s->out.len; i++) {
            fprintf(stderr, "%02x", s->out.p[i]);
        }
        fprintf(stderr, " instead of\n");
        for (size_t i = 0; i < wanted.len; i++) {
            fprintf(stderr, "%02x", wanted.p[i]);
        }
        fail_msg("\n%s", what);
    }
    bytes_done(&wanted);
}

/* The last entry with this key, as libthrift_c_glib sees it. */
static const struct glib_text *glib_entry(const struct glib_base *base, const char *key)
{
    for (uint32_t i = base->entries_len; i > 0; i--) {
        if (glib_text_is(&base->keys[i - 1], key, strlen(key))) {
            return &base->values[i - 1];
        }
    }
    return NULL;
}

/* Edits that were possible must be visible to the callee. */
static void check_callee_sees(const struct subject *s, const struct edit *edit, bool possible)
{
    struct glib_view view;

    assert_true(glib_read_message(reader, s->out.p + WIRE_FRAME_LEN_BYTES,
                                  s->out.len - WIRE_FRAME_LEN_BYTES, &view));
    assert_int_equal(view.seqid, SEQID_AFTER);
    assert_true(view.has_base);
    if (edit->kind == EDIT_EXTRA && possible) {
        const struct glib_text *value = glib_entry(&view.base, edit->key);
        assert_non_null(value);
        assert_true(glib_text_is(value, edit->value, strlen(edit->value)));
    }
    glib_view_done(&view);
}

/* --- rows --- */

#define LOG    "0b0001 00000002 4c31 " /* "L1" */
#define CALLER "0b0002 00000002 4331 " /* "C1" */
#define NO_LOG "0b0001 00000000 "
#define K1     "00000001 6b 00000001 31 "   /* k = 1 */
#define K2     "00000001 6b 00000001 32 "   /* k = 2 */
#define K22    "00000001 6b 00000002 3232 " /* k = 22 */
#define J5     "00000001 6a 00000001 35 "   /* j = 5 */

static const struct row {
    const char *what;
    const char *before;
    const char *after;
    struct edit edits[4];
    size_t iovs;
} rows[] = {
    {"no edit", LOG CALLER, LOG CALLER, {{0}}, 2},
    {"a value of the same width",
     LOG "0d0006 0b0b 00000001" K1,
     LOG "0d0006 0b0b 00000001" K2,
     {EXTRA("k", "2")},
     4},
    {"a longer value",
     LOG "0d0006 0b0b 00000002" K1 J5,
     LOG "0d0006 0b0b 00000002" K22 J5,
     {EXTRA("k", "22")},
     4},
    {"a shorter value",
     LOG "0d0006 0b0b 00000002" K22 J5,
     LOG "0d0006 0b0b 00000002" K2 J5,
     {EXTRA("k", "2")},
     4},
    {"an empty value",
     "0d0006 0b0b 00000001" K1,
     "0d0006 0b0b 00000001 00000001 6b 00000000",
     {EXTRA("k", "")},
     4},
    {"the last duplicate",
     "0d0006 0b0b 00000003" K1 K1 J5,
     "0d0006 0b0b 00000003" K1 K22 J5,
     {EXTRA("k", "22")},
     4},
    {"a new entry",
     LOG "0d0003 0b0b 00000001" K1 CALLER,
     LOG "0d0003 0b0b 00000002" J5 K1 CALLER,
     {EXTRA("j", "5")},
     4},
    {"two new entries share a count and a vector",
     "0d0003 0b0b 00000001" K1,
     "0d0003 0b0b 00000003" J5 "00000001 6d 00000001 36" K1,
     {EXTRA("j", "5"), EXTRA("m", "6")},
     4},
    {"an entry into 11/11",
     "0d0003 0b0b 00000000",
     "0d0003 0b0b 00000001" J5,
     {EXTRA("j", "5")},
     4},
    {"an entry into 0/0",
     "0d0003 0000 00000000" CALLER,
     "0d0003 0b0b 00000001" J5 CALLER,
     {EXTRA("j", "5")},
     4},
    {"0/0 stays where nothing is added",
     NO_LOG "0d0003 0000 00000000",
     LOG "0d0003 0000 00000000",
     {LOG_ID("L1")},
     4},
    {"a new Extra: the talk's",
     LOG CALLER,
     LOG CALLER "0d0003 0b0b 00000001" J5,
     {EXTRA("j", "5")},
     4},
    {"a new Extra: the canonical, by field 4",
     LOG "0b0004 00000000",
     LOG "0b0004 00000000 0d0006 0b0b 00000001" J5,
     {EXTRA("j", "5")},
     4},
    {"a new Extra: the canonical, by a string in 3",
     LOG "0b0003 00000000",
     LOG "0b0003 00000000 0d0006 0b0b 00000001" J5,
     {EXTRA("j", "5")},
     4},
    {"two entries of a new Extra",
     "",
     "0d0003 0b0b 00000002" K1 J5,
     {EXTRA("k", "1"), EXTRA("j", "5")},
     4},
    {"under a given id", LOG, LOG "0d0005 0b0b 00000001" J5, {EXTRA_IN(5, "j", "5")}, 4},
    {"the given id is taken", "080006 00000000", "080006 00000000", {EXTRA_IN(6, "j", "5")}, 2},
    {"the automatic id is taken", "080003 00000000", "080003 00000000", {EXTRA("j", "5")}, 2},
    {"6 is taken",
     "0b0004 00000000 0b0006 00000000",
     "0b0004 00000000 0b0006 00000000",
     {EXTRA("j", "5")},
     2},
    {"no id of Extra", LOG, LOG, {EXTRA_IN(7, "j", "5"), EXTRA_IN(2, "j", "5")}, 2},
    {"a present Extra wins over a given id",
     "0d0003 0b0b 00000001" K1,
     "0d0003 0b0b 00000002" J5 K1,
     {EXTRA_IN(6, "j", "5")},
     4},
    {"an empty LogID", NO_LOG CALLER, LOG CALLER, {LOG_ID("L1")}, 4},
    {"an absent LogID", CALLER, CALLER LOG, {LOG_ID("L1")}, 4},
    {"a LogID is kept", LOG, LOG, {LOG_ID("other")}, 2},
    {"field 1 is taken", "080001 00000000", "080001 00000000", {LOG_ID("L1")}, 2},
    {"a new LogID goes behind Extra, whatever comes first",
     CALLER,
     CALLER "0d0003 0b0b 00000002" K1 J5 LOG,
     {EXTRA("k", "1"), LOG_ID("L1"), EXTRA("j", "5")},
     6},
    {"a new LogID goes behind the entries of the last field",
     "0d0003 0b0b 00000001" K1,
     "0d0003 0b0b 00000002" J5 K1 LOG,
     {LOG_ID("L1"), EXTRA("j", "5")},
     6},
    {"only one of Extra and LogID can be field 1",
     "",
     "0d0001 0b0b 00000001" J5,
     {EXTRA_IN(1, "j", "5"), LOG_ID("L1")},
     4},
    {"... the first", "", LOG, {LOG_ID("L1"), EXTRA_IN(1, "j", "5")}, 4},
    {"one entry replaced twice",
     "0d0003 0b0b 00000001" K1,
     "0d0003 0b0b 00000001" K22,
     {EXTRA("k", "333"), EXTRA("k", "22")},
     4},
    {"a value replaced and an entry added",
     NO_LOG "0d0003 0b0b 00000001" K1,
     LOG "0d0003 0b0b 00000002" J5 K22,
     {EXTRA("j", "5"), EXTRA("k", "22"), LOG_ID("L1")},
     8},
};

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes before = {0};
        struct bytes after = {0};
        struct subject s;
        bytes_put_hex(&before, rows[i].before);
        bytes_put_hex(&after, rows[i].after);
        subject_init(&s, &before);
        subject_edits(&s, rows[i].edits, 4);
        assert_memory_equal(s.frame, s.came.p, s.came.len); /* nothing is written before finish */
        size_t iovs = subject_finish(&s, WIRE_FRAME_BYTES_DEFAULT);
        assert_false(s.rewrite.dropped);
        check_out(rows[i].what, &s, &after);
        if (iovs != rows[i].iovs) {
            fail_msg("%s: %zu vectors instead of %zu", rows[i].what, iovs, rows[i].iovs);
        }
        /* The same edits once more, as for a second attempt. */
        subject_edits(&s, rows[i].edits, 4);
        (void)subject_finish(&s, WIRE_FRAME_BYTES_DEFAULT);
        check_out(rows[i].what, &s, &after);
        subject_done(&s);
        bytes_done(&before);
        bytes_done(&after);
    }
}

/* --- limits --- */

/* Base with Extra of n entries "a" = "1", "b" = "1", ... */
static void put_alphabet(struct bytes *b, const char *value, size_t n)
{
    bytes_put_field(b, WIRE_MAP, 6);
    bytes_put_map(b, WIRE_STRING, WIRE_STRING, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        bytes_put_string(b, &(const char){(char)('a' + i)}, 1);
        bytes_put_text(b, value);
    }
}

static void test_scratch_is_full(void **state)
{
    struct bytes base = {0};
    struct bytes after = {0};
    struct subject s;
    char value[CODEC_REWRITE_EDITS_BYTES + 2];

    memset(value, 'v', sizeof value);
    put_alphabet(&base, "1", 2);
    bytes_put_hex(&after,
                  "0d0006 0b0b 00000003 00000004 66697473 00000002 696e"); /* "fits", "in" */
    bytes_put_hex(&after, "00000001 61 00000001 31 00000001 62 00000001 31");
    for (size_t len = CODEC_REWRITE_EDITS_BYTES - 3; len < sizeof value; len++) {
        char text[sizeof value];
        memcpy(text, value, sizeof text);
        text[len] = '\0';
        subject_init(&s, &base);
        subject_edit(&s, &(struct edit)EXTRA("a", text));
        subject_edit(&s, &(struct edit)EXTRA(text, "v"));
        subject_edit(&s, &(struct edit)EXTRA("fits", "in"));
        (void)subject_finish(&s, WIRE_FRAME_BYTES_DEFAULT);
        assert_true(s.rewrite.dropped);
        check_out("what fits is edited", &s, &after);
        subject_done(&s);
    }
    bytes_done(&base);
    bytes_done(&after);
}

static void test_splices_are_used_up(void **state)
{
    struct bytes base = {0};
    struct bytes after = {0};
    struct subject s;

    put_alphabet(&base, "1", CODEC_REWRITE_SPLICES_MAX + 1);
    put_alphabet(&after, "22", CODEC_REWRITE_SPLICES_MAX);
    wire_put32(after.p + 5, CODEC_REWRITE_SPLICES_MAX + 1);
    bytes_put_text(&after, "i"); /* the ninth */
    bytes_put_text(&after, "1");
    subject_init(&s, &base);
    /* Backwards, so that each splice goes in front of the others; "i" comes last. */
    for (const char *key = "hgfedcba"; *key; key++) {
        subject_edit(&s, &(struct edit)EXTRA(((const char[]){*key, '\0'}), "22"));
    }
    subject_edit(&s, &(struct edit)EXTRA("i", "22"));
    subject_edit(&s, &(struct edit)LOG_ID("L"));
    size_t n = subject_finish(&s, WIRE_FRAME_BYTES_DEFAULT);
    assert_int_equal(n, 2 * CODEC_REWRITE_SPLICES_MAX + 2); /* header, and what is between them */
    assert_true(s.rewrite.dropped);
    check_out("eight of nine", &s, &after);
    subject_done(&s);
    bytes_done(&base);
    bytes_done(&after);
}

static void test_frame_limit_drops_all_edits(void **state)
{
    struct bytes base = {0};
    struct bytes after = {0};
    struct subject s;

    bytes_put_hex(&base, NO_LOG "0d0006 0b0b 00000002" K1 J5);
    bytes_put_hex(&after, NO_LOG "0d0006 0b0b 00000002" K22 "00000001 6a 00000001 36");
    for (uint32_t spare = 0; spare < 2; spare++) {
        subject_init(&s, &base);
        subject_edit(&s, &(struct edit)EXTRA("k", "22"));
        subject_edit(&s, &(struct edit)EXTRA("j", "6"));
        uint32_t len = (uint32_t)s.came.len - WIRE_FRAME_LEN_BYTES;
        (void)subject_finish(&s, len + spare);
        assert_int_equal(s.rewrite.dropped, spare == 0);
        check_out("all or nothing", &s, spare == 0 ? &base : &after);
        subject_done(&s);
    }
    bytes_done(&base);
    bytes_done(&after);
}

/* There was room for the first attempt's edits and is none for the second's. */
static void test_a_second_attempt_without_room(void **state)
{
    struct bytes base = {0};
    struct bytes after = {0};
    struct subject s;

    bytes_put_hex(&base, NO_LOG "0d0006 0b0b 00000001" K1);
    bytes_put_hex(&after, NO_LOG "0d0006 0b0b 00000002" J5 K2);
    subject_init(&s, &base);
    subject_edit(&s, &(struct edit)EXTRA("k", "2"));
    subject_edit(&s, &(struct edit)EXTRA("j", "5"));
    (void)subject_finish(&s, (uint32_t)s.came.len + 10);
    check_out("the first", &s, &after);
    codec_rewrite_begin(&s.rewrite);
    subject_edit(&s, &(struct edit)EXTRA("k", "3"));
    subject_edit(&s, &(struct edit)EXTRA("j", "much longer"));
    (void)subject_finish(&s, (uint32_t)s.came.len + 10);
    assert_true(s.rewrite.dropped);
    check_out("the second", &s, &base); /* as it came: the first attempt has left no trace */
    subject_done(&s);
    bytes_done(&base);
    bytes_done(&after);
}

static void test_without_base(void **state)
{
    struct bytes b = {0};
    struct codec_scan scan;
    struct codec_rewrite rewrite;
    struct iovec iov[CODEC_REWRITE_IOVS_MAX];
    const struct codec_rewrite_to to = {99, 14, 0, 6};
    uint32_t len;

    bytes_put_header(&b, WIRE_CALL, "f", 1);
    bytes_put8(&b, WIRE_STOP);
    codec_scan_begin(&scan, CODEC_SCAN_REQUEST, 14);
    assert_int_equal(codec_scan_run(&scan, b.p, 14, 14), CODEC_SCAN_DONE);
    codec_rewrite_begin(&rewrite);
    assert_int_equal(codec_rewrite_finish(&rewrite, b.p, 14, &scan.message, &to, iov, &len), 2);
    assert_int_equal(len, 14);
    assert_int_equal(iov[0].iov_len, 6 + 13); /* head, header and seqid */
    uint8_t *header = (uint8_t *)iov[0].iov_base + 6;
    assert_memory_equal(header, b.p, 9);
    assert_int_equal(wire_get32(header + 9), 99);
    assert_ptr_equal(iov[1].iov_base, b.p + 13);
    bytes_done(&b);
}

/* A header that is too long for the scratch goes out from where it lies. */
static void test_a_long_name(void **state)
{
    char name[512];
    struct bytes b = {0};
    struct codec_scan scan;
    struct codec_rewrite rewrite;
    struct iovec iov[CODEC_REWRITE_IOVS_MAX];
    const struct codec_rewrite_to to = {99, 1000, 0, CODEC_REWRITE_HEAD_MAX};
    uint32_t len;

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    bytes_put_header(&b, WIRE_CALL, name, 1);
    bytes_put8(&b, WIRE_STOP);
    codec_scan_begin(&scan, CODEC_SCAN_REQUEST, (uint32_t)b.len);
    assert_int_equal(codec_scan_run(&scan, b.p, b.len, b.len), CODEC_SCAN_DONE);
    codec_rewrite_begin(&rewrite);
    size_t n = codec_rewrite_finish(&rewrite, b.p, (uint32_t)b.len, &scan.message, &to, iov, &len);
    assert_int_equal(n, 4);
    assert_int_equal(len, b.len);
    assert_int_equal(iov[0].iov_len, CODEC_REWRITE_HEAD_MAX + 8);
    assert_ptr_equal(iov[1].iov_base, b.p + 8);
    assert_int_equal(iov[1].iov_len, sizeof name - 1);
    assert_int_equal(wire_get32(iov[2].iov_base), 99);
    assert_int_equal(iov[3].iov_len, 1);
    bytes_done(&b);
}

/* --- a model of Base, edited naively --- */

#define MODEL_FIELDS_MAX  10
#define MODEL_ENTRIES_MAX 8

struct model_field {
    uint8_t type;
    uint8_t id;
    char text[16];
    uint8_t key_type; /* value types are the same */
    uint32_t entries_len;
    uint32_t added; /* of them, by edits */
    char entries[MODEL_ENTRIES_MAX][2][16];
};

struct model {
    size_t len;
    struct model_field fields[MODEL_FIELDS_MAX];
};

static const char *const model_keys[] = {"cluster", "env", "k", "DDL", ""};
static const char *const model_values[] = {"", "1", "250", "1000", "a value"};

static void model_fill_map(struct model_field *field, struct random *random)
{
    field->key_type = WIRE_STRING;
    field->entries_len = random_below(random, 4);
    for (uint32_t i = 0; i < field->entries_len; i++) {
        strcpy(field->entries[i][0], model_keys[random_below(random, 5)]);
        strcpy(field->entries[i][1], model_values[random_below(random, 5)]);
    }
    if (field->entries_len == 0 && random_one_in(random, 2)) {
        field->key_type = random_one_in(random, 3) ? WIRE_I32 : 0;
    }
}

static void model_fill(struct model *model, struct random *random)
{
    static const uint8_t types[] = {WIRE_STRING, WIRE_STRING, WIRE_MAP, WIRE_MAP, WIRE_BOOL};

    memset(model, 0, sizeof *model);
    model->len = random_below(random, 7);
    for (size_t i = 0; i < model->len; i++) {
        struct model_field *field = &model->fields[i];
        field->type = types[random_below(random, 5)];
        field->id = (uint8_t)(1 + random_below(random, 7));
        if (field->type == WIRE_STRING && !random_one_in(random, 3)) {
            strcpy(field->text, model_values[random_below(random, 5)]);
        } else if (field->type == WIRE_MAP) {
            model_fill_map(field, random);
        }
    }
}

static void model_put(const struct model *model, struct bytes *b)
{
    for (size_t i = 0; i < model->len; i++) {
        const struct model_field *field = &model->fields[i];
        bytes_put_field(b, field->type, field->id);
        if (field->type == WIRE_STRING) {
            bytes_put_text(b, field->text);
        } else if (field->type == WIRE_BOOL) {
            bytes_put8(b, 1);
        } else {
            bytes_put_map(b, field->key_type, field->key_type, field->entries_len);
            for (uint32_t k = 0; k < field->entries_len; k++) {
                bytes_put_text(b, field->entries[k][0]);
                bytes_put_text(b, field->entries[k][1]);
            }
        }
    }
}

static struct model_field *model_last(struct model *model, int id)
{
    for (size_t i = model->len; i > 0; i--) {
        if (model->fields[i - 1].id == id) {
            return &model->fields[i - 1];
        }
    }
    return NULL;
}

static struct model_field *model_extra(struct model *model)
{
    for (int id = 1; id <= 6; id++) {
        struct model_field *field = id == 2 || id == 4 ? NULL : model_last(model, id);
        if (field && field->type == WIRE_MAP && field->key_type != WIRE_I32) {
            return field;
        }
    }
    return NULL;
}

/* New entries go in front of those that were there, in the order in which they are added. */
static void model_add_entry(struct model_field *field, const struct edit *edit)
{
    uint32_t at = field->added++;

    field->key_type = WIRE_STRING;
    memmove(field->entries[at + 1], field->entries[at],
            (field->entries_len - at) * sizeof field->entries[0]);
    strcpy(field->entries[at][0], edit->key);
    strcpy(field->entries[at][1], edit->value);
    field->entries_len++;
}

/* False where the edit is not possible. */
static bool model_set_extra(struct model *model, const struct edit *edit)
{
    struct model_field *extra = model_extra(model);
    const struct model_field *third = model_last(model, 3);
    bool canonical = model_last(model, 4) || (third && third->type == WIRE_STRING);

    if (extra == NULL) {
        int id = edit->extra_id ? edit->extra_id : canonical ? 6 : 3;
        if (model_last(model, id)) {
            return false;
        }
        extra = &model->fields[model->len++];
        *extra = (struct model_field){.type = WIRE_MAP, .id = (uint8_t)id};
    }
    for (uint32_t i = extra->entries_len; i > 0; i--) {
        if (strcmp(extra->entries[i - 1][0], edit->key) == 0) {
            strcpy(extra->entries[i - 1][1], edit->value);
            return true;
        }
    }
    model_add_entry(extra, edit);
    return true;
}

static void model_set_log_id(struct model *model, const struct edit *edit)
{
    struct model_field *field = model_last(model, 1);

    if (field == NULL) {
        field = &model->fields[model->len++];
        *field = (struct model_field){.type = WIRE_STRING, .id = 1};
    }
    if (field->type == WIRE_STRING && field->text[0] == '\0') {
        strcpy(field->text, edit->value);
    }
}

/* One attempt with random values; some of n edits may not be possible. */
static void attempt_random(struct subject *s, struct model model, size_t n, int extra_id,
                           struct random *random)
{
    struct edit edits[] = {
        EXTRA_IN(extra_id, "DDL", model_values[random_below(random, 5)]),
        EXTRA_IN(extra_id, "START", model_values[random_below(random, 5)]),
        EXTRA_IN(extra_id, "k", model_values[random_below(random, 5)]),
        LOG_ID("L-fresh"),
    };
    bool possible[4] = {0};
    struct bytes after = {0};

    for (size_t k = 0; k < n; k++) {
        if (edits[k].kind == EDIT_EXTRA) {
            possible[k] = model_set_extra(&model, &edits[k]);
        } else {
            model_set_log_id(&model, &edits[k]);
        }
    }
    model_put(&model, &after);
    subject_edits(s, edits, n);
    (void)subject_finish(s, WIRE_FRAME_BYTES_DEFAULT);
    assert_false(s->rewrite.dropped);
    check_out("random edits", s, &after);
    for (size_t k = 0; k < n; k++) {
        check_callee_sees(s, &edits[k], possible[k]);
    }
    bytes_done(&after);
}

static void test_random_edits(void **state)
{
    struct random random = {99};

    for (unsigned i = 0; i < RANDOM_EDITS; i++) {
        struct model model;
        struct bytes before = {0};
        struct subject s;
        size_t n = 1 + random_below(&random, 4); /* the first ones; LogID last, as it goes out */
        int extra_id = random_one_in(&random, 2) ? CODEC_EXTRA_ID_AUTO : (int[]){3, 5, 6}[i % 3];
        model_fill(&model, &random);
        model_put(&model, &before);
        subject_init(&s, &before);
        /* The second attempt's bytes are those of an only one. */
        attempt_random(&s, model, n, extra_id, &random);
        attempt_random(&s, model, n, extra_id, &random);
        subject_done(&s);
        bytes_done(&before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_scratch_is_full),
        cmocka_unit_test(test_splices_are_used_up),
        cmocka_unit_test(test_frame_limit_drops_all_edits),
        cmocka_unit_test(test_a_second_attempt_without_room),
        cmocka_unit_test(test_without_base),
        cmocka_unit_test(test_a_long_name),
        cmocka_unit_test(test_random_edits),
    };

    guard_init(&guard, 65536);
    reader = glib_reader_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    reader = glib_reader_free(reader);
    guard_done(&guard);
    return failed;
}
