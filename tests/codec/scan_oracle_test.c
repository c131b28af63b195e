/*
 * tests/codec/scan_oracle_test.c: the scanner against two other readers of the same bytes.
 *
 * Generated messages, each as it is, cut, and damaged in two more ways. A naive parser must agree
 * on accepting and rejecting, on header against body, and on where Base is; what is accepted must
 * say the same to libthrift_c_glib. And however the bytes come in, the outcome is one.
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

#include "codec/base.h"
#include "tests/codec/feed.h"
#include "tests/codec/glib_reader.h"
#include "tests/codec/message_gen.h"
#include "tests/codec/naive_parser.h"

#define MESSAGES         100000
#define SEED             20241027
#define WANTED           1000
#define SMALL_BYTES      400 /* byte by byte up to this size */
#define EVERY_CUT_ONE_IN 24

static struct guard guard;
static struct glib_reader *reader;
static struct random feeding = {SEED + 1};

/* counts[mutation][requests: 1, replies: 0][accepted: 1, rejected: 0] */
static unsigned counts[MUTATION_MAX][2][2];
static unsigned read_by_glib;
static unsigned not_for_glib;
static unsigned with_base;
static unsigned every_cut;

/* The message under test, for the report of a failure. */
static struct {
    unsigned number;
    enum mutation mutation;
    const struct bytes *body;
} now;

static void complain(const char *what)
{
    fprintf(stderr, "message %u, %s:", now.number, mutation_str(now.mutation));
    for (size_t i = 0; i < now.body->len && i < 2000; i++) {
        fprintf(stderr, "%s%02x", i % 4 == 0 ? " " : "", now.body->p[i]);
    }
    fail_msg("\n%s", what);
}

static void expect(bool ok, const char *what)
{
    if (!ok) {
        complain(what);
    }
}

/* --- one outcome, however fed --- */

static void check_cuts(enum codec_scan_kind kind, const struct feed_outcome *whole)
{
    const struct bytes *b = now.body;
    bool is_every = random_one_in(&feeding, EVERY_CUT_ONE_IN) && b->len <= 4 * SMALL_BYTES;
    size_t cuts = is_every ? b->len + 1 : 2;

    every_cut += is_every;
    for (size_t i = 0; i < cuts; i++) {
        size_t cut = is_every ? i : random_below(&feeding, (uint32_t)b->len + 1);
        struct feed_outcome other = feed_cut(&guard, kind, b->p, b->len, cut);
        expect(feed_same(whole, &other), "in two pieces it is judged differently");
    }
}

static void check_feeding(enum codec_scan_kind kind, const struct feed_outcome *whole)
{
    const struct bytes *b = now.body;
    size_t step = b->len <= SMALL_BYTES ? 1 : 1 + b->len / 40;
    struct feed_outcome other = feed_steps(&guard, kind, b->p, b->len, step, SIZE_MAX);

    expect(feed_same(whole, &other), "in steps it is judged differently");
    other = feed_steps(&guard, kind, b->p, b->len, b->len, 1 + random_below(&feeding, 40));
    expect(feed_same(whole, &other), "with a small budget it is judged differently");
    other = feed_steps(&guard, kind, b->p, b->len, 1 + random_below(&feeding, 60),
                       1 + random_below(&feeding, 20));
    expect(feed_same(whole, &other), "in steps with a small budget it is judged differently");
    check_cuts(kind, whole);
}

/* --- the naive parser --- */

static bool same_span(struct wire_span a, struct wire_span b)
{
    return a.off == b.off && a.len == b.len;
}

static void check_naive(const struct feed_outcome *o, const struct naive_result *naive)
{
    const struct codec_message *m = &o->message;

    expect(o->done == (naive->verdict == NAIVE_MESSAGE), "only one of two parsers accepts");
    expect(codec_error_is_header(o->error) == (naive->verdict == NAIVE_BAD_HEADER),
           "header or body: the parsers differ");
    expect(o->header_done == (naive->verdict != NAIVE_BAD_HEADER), "header done or not");
    if (o->header_done) {
        expect(m->type == naive->type && m->seqid == naive->seqid, "type or seqid differ");
        expect(same_span(m->name, naive->name), "the name differs");
    }
    if (o->done) {
        expect(m->has_base == naive->has_base, "only one of two parsers finds Base");
        expect(!m->has_base ||
                   (m->base_field_id == naive->base_field_id && same_span(m->base, naive->base)),
               "Base is elsewhere");
        expect(m->has_field == naive->has_field &&
                   (!m->has_field ||
                    (m->field_id == naive->field_id && m->field_type == naive->field_type &&
                     same_span(m->field, naive->field))),
               "the last field differs");
    }
}

/* --- libthrift_c_glib --- */

static void check_text(bool has, struct wire_span span, const struct glib_text *text,
                       const char *what)
{
    expect(has == text->found, what);
    expect(!has || glib_text_is(text, now.body->p + span.off, span.len), what);
}

/* Each entry, by the value of the last one with its key. */
static void check_entries(const uint8_t *body, const struct codec_extra *extra,
                          const struct glib_base *glib)
{
    struct codec_extra_walk walk;
    struct wire_span key;
    struct wire_span value;

    expect(extra->count == glib->entries_len, "Extra has another size");
    codec_extra_walk_begin(&walk, body, extra);
    for (uint32_t i = 0; i < glib->entries_len; i++) {
        expect(codec_extra_walk_next(&walk, &key, &value), "Extra ends early");
        check_text(true, key, &glib->keys[i], "a key of Extra differs");
        check_text(true, value, &glib->values[i], "a value of Extra differs");
    }
    expect(!codec_extra_walk_next(&walk, &key, &value), "Extra does not end");
    for (uint32_t i = 0; i < glib->entries_len; i++) {
        value = (struct wire_span){0};
        uint32_t last = i;
        for (uint32_t k = i; k < glib->entries_len; k++) {
            if (glib_text_is(&glib->keys[k], glib->keys[i].p, glib->keys[i].len)) {
                last = k;
            }
        }
        bool found = codec_extra_find(body, extra, glib->keys[i].p, glib->keys[i].len, &value);
        check_text(found, value, &glib->values[last], "an entry of Extra differs");
    }
}

static void check_base(const uint8_t *body, struct wire_span span, const struct glib_base *glib)
{
    struct codec_base base;

    codec_base_read(body, span, &base);
    check_text(base.has_log_id, base.log_id, &glib->log_id, "LogID differs");
    check_text(base.has_caller, base.caller, &glib->caller, "Caller differs");
    expect((base.extra.present ? base.extra.field_id : 0) == glib->extra_id,
           "Extra is another field");
    expect(body[base.stop_off] == WIRE_STOP && base.stop_off == span.off + span.len - 1,
           "Base ends elsewhere");
    if (base.extra.present) {
        check_entries(body, &base.extra, glib);
    }
}

static void check_glib(const struct feed_outcome *o, bool is_request)
{
    const struct codec_message *m = &o->message;
    const struct bytes *b = now.body;
    const uint8_t *body = guard_copy(&guard, b->p, b->len);
    struct glib_view view;

    expect(glib_read_message(reader, body, b->len, &view), "libthrift_c_glib refuses it");
    expect(view.type == m->type && view.seqid == m->seqid, "libthrift_c_glib: type or seqid");
    /* The library's names end at a NUL. */
    size_t name_len = strlen(view.name);
    expect(name_len == strnlen((const char *)body + m->name.off, m->name.len) &&
               memcmp(view.name, body + m->name.off, name_len) == 0,
           "libthrift_c_glib: name");
    expect(view.has_base == m->has_base && (!m->has_base || same_span(view.base_span, m->base)),
           "libthrift_c_glib: Base is elsewhere");
    if (m->has_base && is_request) {
        check_base(body, m->base, &view.base);
    }
    with_base += m->has_base;
    glib_view_done(&view);
}

/* --- all of it --- */

static void check_message(bool is_request)
{
    enum codec_scan_kind kind = is_request ? CODEC_SCAN_REQUEST : CODEC_SCAN_REPLY;
    const struct bytes *b = now.body;
    struct feed_outcome o = feed_whole(&guard, kind, b->p, b->len);
    struct naive_result naive = naive_parse(b->p, b->len, is_request);

    check_naive(&o, &naive);
    check_feeding(kind, &o);
    counts[now.mutation][is_request][o.done]++;
    if (o.done && naive.beyond_glib) {
        not_for_glib++;
    } else if (o.done) {
        read_by_glib++;
        check_glib(&o, is_request);
    }
}

static unsigned seen(enum mutation mutation, bool is_request)
{
    return counts[mutation][is_request][0] + counts[mutation][is_request][1];
}

/* The mutation seen least so far of those that this message has a place for. */
static enum mutation mutate_scarcest(const struct generated *message, struct random *random,
                                     struct bytes *damaged)
{
    enum mutation best = MUTATION_CUT;

    for (int i = MUTATION_CUT + 1; i < MUTATION_MAX; i++) {
        enum mutation mutation = (enum mutation)i;
        bool is_scarcer = best == MUTATION_CUT ||
                          seen(mutation, message->is_request) < seen(best, message->is_request);
        if (is_scarcer && message_mutate(message, mutation, random, damaged)) {
            best = mutation;
        }
    }
    (void)message_mutate(message, best, random, damaged); /* had a place for it */
    return best;
}

static void check_one(struct generated *message, struct random *random, unsigned number)
{
    static struct bytes damaged;

    message_generate(message, random, number % 2 == 0);
    now.number = number;
    now.body = &damaged;
    for (int i = 0; i < 4; i++) {
        if (i < 2) {
            now.mutation = i == 0 ? MUTATION_NONE : MUTATION_CUT;
            (void)message_mutate(message, now.mutation, random, &damaged); /* always possible */
        } else {
            now.mutation = mutate_scarcest(message, random, &damaged);
        }
        check_message(message->is_request);
    }
}

static void test_agreement(void **state)
{
    static struct generated message;
    struct random random = {SEED};

    for (unsigned i = 0; i < MESSAGES; i++) {
        check_one(&message, &random, i);
    }
    generated_done(&message);
    print_message("%u accepted ones read by libthrift_c_glib (%u with Base), %u beyond it, "
                  "%u cut everywhere\n",
                  read_by_glib, with_base, not_for_glib, every_cut);
    assert_true(read_by_glib > MESSAGES && with_base > MESSAGES / 2);
}

static void check_count(enum mutation mutation, enum fate fate, bool is_accept)
{
    for (int is_request = 0; is_request < 2; is_request++) {
        unsigned n = counts[mutation][is_request][is_accept];
        if ((fate == NEVER && n > 0) || (fate == MUST && n < WANTED)) {
            fail_msg("%s: %s %u %s", mutation_str(mutation), is_accept ? "accepted" : "rejected", n,
                     is_request ? "requests" : "replies");
        }
    }
}

/* That the messages above were what this file says. */
static void test_counts(void **state)
{
    static const enum fate fates[MUTATION_MAX][2] = {
#define X(name, accepts, rejects) [MUTATION_##name] = {rejects, accepts},
        MUTATIONS(X)
#undef X
    };

    print_message("%-20s %17s %17s\n", "", "requests", "replies");
    print_message("%-20s %8s %8s %8s %8s\n", "mutation", "accepted", "rejected", "accepted",
                  "rejected");
    for (int i = 0; i < MUTATION_MAX; i++) {
        print_message("%-20s %8u %8u %8u %8u\n", mutation_str((enum mutation)i), counts[i][1][1],
                      counts[i][1][0], counts[i][0][1], counts[i][0][0]);
    }
    for (int i = 0; i < MUTATION_MAX; i++) {
        check_count((enum mutation)i, fates[i][0], false);
        check_count((enum mutation)i, fates[i][1], true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_counts),
    };

    guard_init(&guard, 1 << 20);
    reader = glib_reader_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    reader = glib_reader_free(reader);
    guard_done(&guard);
    return failed;
}
