/*
 * sidecar/base/log.h: JSON lines on standard error, from the control thread alone.
 *
 * One write per line, lines of at most LOG_LINE_MAX bytes (PIPE_BUF), never blocking: where the
 * pipe is full the line is dropped and counted, and the next line that fits carries the count.
 * Workers write records into their rings (shared/record.h) instead.
 *
 *     struct log_line line;
 *     if (log_begin(log, &line, LOG_INFO, "server", "listening", "listening")) {
 *         log_str(&line, "address", addr);
 *         log_end(log, &line);
 *     }
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_LOG_H
#define TSIDE_SIDECAR_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 4096

enum log_level { LOG_DEBUG = 0, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_MAX };

const char *log_level_str(enum log_level level);

struct log;

struct log_line {
    size_t len;
    bool text;
    bool overflow; /* something was cut: the line ends with "cut": true */
    char buf[LOG_LINE_MAX];
};

/* node is copied; fd is borrowed; NULL when out of memory. text: "level component: message
 * key=value" for people instead of JSON. */
struct log *log_new(int fd, enum log_level level, bool text, const char *node)
    __attribute__((warn_unused_result));
struct log *log_free(struct log *log);
void log_set_level(struct log *log, enum log_level level);
void log_set_text(struct log *log, bool text); /* between two lines */
uint64_t log_dropped(const struct log *log);

/* False where the level is switched off. event is a stable id, message a sentence. */
bool log_begin(struct log *log, struct log_line *line, enum log_level level, const char *component,
               const char *event, const char *message) __attribute__((warn_unused_result));
/* A line whose "event" is "call": no level, component or message (the access log). */
void log_begin_call(struct log *log, struct log_line *line, uint64_t ts_unix_us);
void log_str(struct log_line *line, const char *key, const char *value);
/* Any bytes; those outside UTF-8 and control bytes are shown as \xHH. */
void log_bytes(struct log_line *line, const char *key, const char *p, size_t len);
void log_int(struct log_line *line, const char *key, int64_t value);
/* A list of names that need no escaping: ["a","b"]. */
void log_names(struct log_line *line, const char *key, const char *const names[], size_t n);
/* One write of the whole line, or none. */
void log_end(struct log *log, struct log_line *line);

/* All in one, for lines without fields. */
void log_printf(struct log *log, enum log_level level, const char *component, const char *event,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
