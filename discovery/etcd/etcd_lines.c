/*
 * discovery/etcd/etcd_lines.c: see discovery/etcd/etcd_lines.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_lines.h"

#include "discovery/base/memory.h"

#define KEEP_BYTES 65536 /* a buffer above this is given back after its line */

void etcd_lines_init(struct etcd_lines *lines, size_t max)
{
    *lines = (struct etcd_lines){.max = max};
}

void etcd_lines_done(struct etcd_lines *lines)
{
    free(lines->buf);
    lines->buf = NULL;
    lines->len = lines->cap = 0;
}

void etcd_lines_reset(struct etcd_lines *lines)
{
    if (lines->cap > KEEP_BYTES) {
        etcd_lines_done(lines);
    }
    lines->len = 0;
}

static bool keep(struct etcd_lines *lines, const char *p, size_t len)
{
    if (len > lines->max - lines->len) {
        return false;
    }
    if (lines->len + len > lines->cap) {
        size_t cap = lines->cap > 0 ? lines->cap : 4096;
        while (cap < lines->len + len) {
            cap *= 2;
        }
        lines->buf = memory_resize(lines->buf, cap, 1);
        lines->cap = cap;
    }
    memcpy(lines->buf + lines->len, p, len);
    lines->len += len;
    return true;
}

static bool is_blank(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r') {
            return false;
        }
    }
    return true;
}

static enum etcd_lines_result emit(const char *p, size_t len, etcd_line_fn fn, void *arg)
{
    if (is_blank(p, len)) {
        return ETCD_LINES_OK;
    }
    return fn(arg, p, len) ? ETCD_LINES_OK : ETCD_LINES_STOPPED;
}

static enum etcd_lines_result emit_kept(struct etcd_lines *lines, etcd_line_fn fn, void *arg)
{
    enum etcd_lines_result result = emit(lines->buf, lines->len, fn, arg);
    etcd_lines_reset(lines);
    return result;
}

enum etcd_lines_result etcd_lines_feed(struct etcd_lines *lines, const char *p, size_t len,
                                       etcd_line_fn fn, void *arg)
{
    while (len > 0) {
        const char *newline = memchr(p, '\n', len);
        size_t n = newline != NULL ? (size_t)(newline - p) : len;
        enum etcd_lines_result result = ETCD_LINES_OK;
        if (newline == NULL || lines->len > 0) {
            if (!keep(lines, p, n)) {
                return ETCD_LINES_TOO_LONG;
            }
            if (newline != NULL) {
                result = emit_kept(lines, fn, arg);
            }
        } else {
            result = n > lines->max ? ETCD_LINES_TOO_LONG : emit(p, n, fn, arg);
        }
        if (result != ETCD_LINES_OK) {
            return result;
        }
        n += newline != NULL;
        p += n;
        len -= n;
    }
    return ETCD_LINES_OK;
}

enum etcd_lines_result etcd_lines_end(struct etcd_lines *lines, etcd_line_fn fn, void *arg)
{
    return lines->len > 0 ? emit_kept(lines, fn, arg) : ETCD_LINES_OK;
}
