/*
 * discovery/etcd/etcd_lines.h: cuts a stream of bytes into lines.
 *
 * A watch is one JSON object a line; a line arrives in any number of pieces, and the last one (an
 * error object) has no newline at all, so the end of the stream must be passed on, too. A line that
 * lies whole in one piece is handed over in place, without a copy.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_LINES_H
#define TSIDE_DISCOVERY_ETCD_ETCD_LINES_H

#include <stdbool.h>
#include <stddef.h>

#define ETCD_LINE_MAX_BYTES (16u << 20)

struct etcd_lines {
    char *buf; /* an unfinished line */
    size_t len;
    size_t cap;
    size_t max;
};

/* The line is borrowed for the call. False stops the cutting (the stream is being given up). */
typedef bool (*etcd_line_fn)(void *arg, const char *line, size_t len);

enum etcd_lines_result {
    ETCD_LINES_OK = 0,
    ETCD_LINES_STOPPED, /* by the callback */
    ETCD_LINES_TOO_LONG
};

void etcd_lines_init(struct etcd_lines *lines, size_t max);
void etcd_lines_done(struct etcd_lines *lines);  /* not from inside the callback */
void etcd_lines_reset(struct etcd_lines *lines); /* a new stream; keeps nothing */

/* Blank lines are skipped. After a result other than OK only reset and done make sense. */
enum etcd_lines_result etcd_lines_feed(struct etcd_lines *lines, const char *p, size_t len,
                                       etcd_line_fn fn, void *arg);
/* The stream has ended: what is left is the last line. */
enum etcd_lines_result etcd_lines_end(struct etcd_lines *lines, etcd_line_fn fn, void *arg);

#endif
