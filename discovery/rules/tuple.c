/*
 * discovery/rules/tuple.c: see discovery/rules/tuple.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/tuple.h"

#include <string.h>
#include <xxhash.h>

const char *disc_name_str(enum disc_name name)
{
    static const char *const names[DISC_NAMES] = {"From", "FromCluster", "To", "ToCluster",
                                                  "Method"};
    return (unsigned)name < DISC_NAMES ? names[name] : "?";
}

bool disc_str_eq(struct disc_str a, struct disc_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool disc_tuple_eq(const struct disc_tuple *a, const struct disc_tuple *b)
{
    for (int i = 0; i < DISC_NAMES; i++) {
        if (!disc_str_eq(a->name[i], b->name[i])) {
            return false;
        }
    }
    return true;
}

int disc_str_compare(struct disc_str a, struct disc_str b)
{
    uint32_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.p, b.p, common) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

uint64_t disc_names_hash(uint64_t seed, const struct disc_str names[], size_t n)
{
    /* Each name's hash seeds the next one's. */
    uint64_t hash = seed;
    for (size_t i = 0; i < n; i++) {
        hash = XXH3_64bits_withSeed(names[i].p, names[i].len, hash + 1);
    }
    return hash;
}

size_t disc_names_bytes(const struct disc_str names[], size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += names[i].len;
    }
    return bytes;
}

void disc_names_copy(const struct disc_str names[], size_t n, char *to, struct disc_str ret[])
{
    for (size_t i = 0; i < n; i++) {
        if (names[i].len > 0) { /* an absent name may point nowhere */
            memcpy(to, names[i].p, names[i].len);
        }
        ret[i] = disc_str_of(to, names[i].len);
        to += names[i].len;
    }
}

static const char hex_digits[] = "0123456789ABCDEF";

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

size_t disc_name_encode(struct disc_str name, char *out, size_t cap)
{
    size_t n = 0;
    if (name.len == 0) {
        if (cap > 0) {
            out[0] = '-';
        }
        return 1;
    }
    for (uint32_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c == '/' || c == '%' || c == '*' || is_control(c)) {
            const char esc[3] = {'%', hex_digits[c >> 4], hex_digits[c & 15]};
            for (int k = 0; k < 3; k++, n++) {
                if (n < cap) {
                    out[n] = esc[k];
                }
            }
        } else {
            if (n < cap) {
                out[n] = (char)c;
            }
            n++;
        }
    }
    return n;
}

size_t disc_tuple_encode(const struct disc_tuple *tuple, char *out, size_t cap)
{
    size_t n = 0;
    if (cap == 0) {
        return 0;
    }
    for (int i = 0; i < DISC_NAMES; i++) {
        if (i > 0 && n < cap - 1) {
            out[n++] = '/';
        }
        size_t room = cap - 1 - n;
        size_t need = disc_name_encode(tuple->name[i], out + n, room);
        n += need < room ? need : room;
    }
    out[n] = '\0';
    return n;
}

/* Length of the well-formed UTF-8 sequence at p (Unicode 15, table 3-7), 0 where there is none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
    static const struct {
        unsigned char lo, hi, second_lo, second_hi, len;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    if (p[0] < 0x80) {
        return 1;
    }
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        if (p[0] < forms[f].lo || p[0] > forms[f].hi) {
            continue;
        }
        if (left < forms[f].len || p[1] < forms[f].second_lo || p[1] > forms[f].second_hi) {
            return 0;
        }
        for (size_t k = 2; k < forms[f].len; k++) {
            if (p[k] < 0x80 || p[k] > 0xbf) {
                return 0;
            }
        }
        return forms[f].len;
    }
    return 0;
}

/* A well-formed sequence that terminals act on or that ends a line for some readers: C1 controls,
 * U+2028 and U+2029. */
static bool is_control_sequence(const unsigned char *p, size_t len)
{
    return (len == 2 && p[0] == 0xc2 && p[1] < 0xa0) ||
           (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9));
}

static bool is_hex_digit(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

/* What is shown of some other byte, spelled out in the name itself. */
static bool is_like_shown(const unsigned char *p, size_t left)
{
    return left >= 4 && p[0] == '\\' && p[1] == 'x' && is_hex_digit(p[2]) && is_hex_digit(p[3]);
}

size_t disc_name_display(struct disc_str name, char *out, size_t cap)
{
    size_t n = 0;
    if (cap == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < name.len;) {
        const unsigned char *p = (const unsigned char *)name.p + i;
        size_t len = utf8_len(p, name.len - i);
        if (len == 0 || is_control(p[0]) || is_control_sequence(p, len) ||
            is_like_shown(p, name.len - i)) {
            /* One byte: what follows it in a sequence is none by itself, and comes next. */
            if (n + 4 >= cap) {
                break;
            }
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex_digits[p[0] >> 4];
            out[n++] = hex_digits[p[0] & 15];
            i++;
            continue;
        }
        if (n + len >= cap) {
            break;
        }
        memcpy(out + n, p, len);
        n += len;
        i += (uint32_t)len;
    }
    out[n] = '\0';
    return n;
}
