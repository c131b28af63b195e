/*
 * tests/codec/naive_ttheader.c: see naive_ttheader.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/naive_ttheader.h"

#include <stdlib.h>
#include <string.h>

/* Bytes that are used up from the front; what is asked for beyond them makes everything bad. */
struct slice {
    const uint8_t *p;
    size_t len;
    bool bad;
};

static struct naive_text take(struct slice *in, size_t n)
{
    struct naive_text text = {in->p, n};

    if (in->bad || n > in->len) {
        in->bad = true;
        return (struct naive_text){in->p, 0};
    }
    in->p += n;
    in->len -= n;
    return text;
}

static uint32_t number(struct slice *in, size_t n)
{
    struct naive_text text = take(in, n);
    uint32_t value = 0;

    for (size_t i = 0; i < text.len; i++) {
        value = value * 256 + text.p[i];
    }
    return value;
}

static struct naive_text text16(struct slice *in)
{
    return take(in, number(in, 2));
}

static void add(struct naive_ttheader *header, struct naive_item item)
{
    if (header->items_len == NAIVE_ITEMS_MAX) {
        abort();
    }
    header->items[header->items_len++] = item;
}

/* What is limited to 4,096: all but padding. */
static void count(struct slice *in, struct naive_ttheader *ret, uint32_t n)
{
    ret->limited += n;
    in->bad |= ret->limited > 4096;
}

static void read_block(struct slice *in, bool is_text, struct naive_ttheader *ret)
{
    uint32_t n = number(in, 2);

    count(in, ret, 1 + n);
    add(ret, (struct naive_item){.kind = NAIVE_BLOCK, .is_text = is_text});
    while (n-- > 0 && !in->bad) {
        struct naive_item item = {.kind = NAIVE_ENTRY, .is_text = is_text};
        if (is_text) {
            item.key = text16(in);
        } else {
            item.id = number(in, 2);
        }
        item.value = text16(in);
        add(ret, item);
    }
}

static void read_blocks(struct slice *in, struct naive_ttheader *ret)
{
    while (in->len > 0 && !in->bad) {
        uint32_t info = number(in, 1);
        if (info == 1 || info == 16) {
            read_block(in, info == 1, ret);
        } else if (info == 17) {
            count(in, ret, 1);
            add(ret, (struct naive_item){.kind = NAIVE_TOKEN, .value = text16(in)});
        } else if (info == 0) {
            add(ret, (struct naive_item){.kind = NAIVE_PADDING});
        } else {
            in->bad = true;
        }
    }
    while (ret->items_len > 0 && ret->items[ret->items_len - 1].kind == NAIVE_PADDING) {
        ret->items_len--;
    }
}

static void read_payload(struct slice *in, size_t max_bytes, struct naive_ttheader *ret)
{
    ret->is_inner_framed = in->len > 0 && in->p[0] < 128;
    if (in->len < 12) {
        in->bad = true;
    } else if (ret->is_inner_framed && number(in, 4) != in->len) {
        in->bad = true;
    }
    in->bad |= in->len > max_bytes;
    ret->message = (struct naive_text){in->p, in->len};
}

void naive_ttheader_read(struct naive_ttheader *ret, const uint8_t *p, size_t len, size_t max_bytes)
{
    struct slice in = {p, len, false};

    ret->items_len = 0;
    ret->limited = 0;
    size_t length = number(&in, 4);
    in.bad |= length != in.len || length > 0x3fffffff;
    in.bad |= number(&in, 2) != 0x1000;
    ret->flags = number(&in, 2);
    in.bad |= (ret->flags & 2) != 0;
    ret->sequence = (int32_t)number(&in, 4);
    size_t size = number(&in, 2) * 4;
    struct naive_text info = take(&in, size);
    struct slice blocks = {info.p, info.len, in.bad};
    blocks.bad |= number(&blocks, 1) != 0; /* protocol id */
    blocks.bad |= number(&blocks, 1) != 0; /* transforms */
    read_blocks(&blocks, ret);
    read_payload(&in, max_bytes, ret);
    ret->header_len = 14 + size;
    ret->ok = !in.bad && !blocks.bad;
}

static bool same_text(struct naive_text a, struct naive_text b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static bool has_key(const struct naive_item *item, bool is_text, unsigned id, struct naive_text key)
{
    return item->kind == NAIVE_ENTRY && item->is_text == is_text &&
           (is_text ? same_text(item->key, key) : item->id == id);
}

static const struct naive_text *last(const struct naive_ttheader *header, bool is_text, unsigned id,
                                     struct naive_text key)
{
    for (size_t i = header->items_len; i > 0; i--) {
        if (has_key(&header->items[i - 1], is_text, id, key)) {
            return &header->items[i - 1].value;
        }
    }
    return NULL;
}

const struct naive_text *naive_ttheader_int(const struct naive_ttheader *header, unsigned id)
{
    return last(header, false, id, (struct naive_text){0});
}

const struct naive_text *naive_ttheader_text(const struct naive_ttheader *header, const char *key,
                                             size_t key_len)
{
    return last(header, true, 0, (struct naive_text){(const uint8_t *)key, key_len});
}

static void insert(struct naive_ttheader *header, size_t at, struct naive_item item)
{
    add(header, item);
    memmove(&header->items[at + 1], &header->items[at], (header->items_len - 1 - at) * sizeof item);
    header->items[at] = item;
}

static void erase(struct naive_ttheader *header, size_t at)
{
    header->items_len--;
    memmove(&header->items[at], &header->items[at + 1],
            (header->items_len - at) * sizeof header->items[0]);
}

/* Behind the last block of that kind and its entries, which is made where there is none. */
static size_t place_for(struct naive_ttheader *header, bool is_text)
{
    size_t at = header->items_len;

    for (; at > 0; at--) {
        const struct naive_item *item = &header->items[at - 1];
        if (item->kind == NAIVE_BLOCK && item->is_text == is_text) {
            break;
        }
    }
    if (at == 0) {
        add(header, (struct naive_item){.kind = NAIVE_BLOCK, .is_text = is_text});
        return header->items_len;
    }
    while (at < header->items_len && header->items[at].kind == NAIVE_ENTRY) {
        at++;
    }
    return at;
}

void naive_ttheader_edit(struct naive_ttheader *header, const struct codec_ttheader_edit *edit)
{
    bool is_text = edit->key != NULL;
    bool is_done = edit->value == NULL;
    struct naive_item wanted = {
        .kind = NAIVE_ENTRY,
        .is_text = is_text,
        .id = is_text ? 0 : edit->id,
        .key = {(const uint8_t *)edit->key, is_text ? edit->key_len : 0},
        .value = {(const uint8_t *)edit->value, edit->value_len},
    };

    for (size_t i = header->items_len; i > 0; i--) {
        if (has_key(&header->items[i - 1], is_text, wanted.id, wanted.key)) {
            if (is_done) {
                erase(header, i - 1);
            } else {
                header->items[i - 1] = wanted;
                is_done = true;
            }
        }
    }
    if (!is_done) {
        insert(header, place_for(header, is_text), wanted);
    }
}

bool naive_ttheader_same(const struct naive_ttheader *a, const struct naive_ttheader *b)
{
    if (a->items_len != b->items_len || a->flags != b->flags) {
        return false;
    }
    for (size_t i = 0; i < a->items_len; i++) {
        const struct naive_item *x = &a->items[i];
        const struct naive_item *y = &b->items[i];
        if (x->kind != y->kind || x->is_text != y->is_text || x->id != y->id ||
            !same_text(x->key, y->key) || !same_text(x->value, y->value)) {
            return false;
        }
    }
    return true;
}
