/*
 * sidecar/base/log.c: see sidecar/base/log.h.
 *
 * A line is built in place. The last LINE_RESERVE bytes are kept for what closes it, so that a
 * field that finds no room is cut or left out and the line is valid JSON all the same.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/log.h"

#include "discovery/rules/tuple.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* `,"log_dropped":<20 digits>,"cut":true}` and the newline */
#define LINE_RESERVE 64
/* A message leaves at least half of the line to the fields. */
#define MESSAGE_MAX (LOG_LINE_MAX / 2)

struct log {
    int fd;
    enum log_level level;
    bool text;
    bool is_socket;
    bool torn; /* the last line was written in part: the next one starts on a line of its own */
    long pid;
    uint64_t dropped;
    uint64_t dropped_told;
    char node[];
};

static const char *const level_names[LOG_LEVEL_MAX] = {"debug", "info", "warn", "error"};

const char *log_level_str(enum log_level level)
{
    return (unsigned)level < LOG_LEVEL_MAX ? level_names[level] : "?";
}

struct log *log_new(int fd, enum log_level level, bool text, const char *node)
{
    size_t len = strlen(node);
    struct log *log = calloc(1, sizeof *log + len + 1);
    if (!log) {
        return NULL;
    }
    struct stat st;
    log->fd = fd;
    log->level = level;
    log->text = text;
    log->is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
    log->pid = (long)getpid();
    memcpy(log->node, node, len + 1);
    return log;
}

struct log *log_free(struct log *log)
{
    free(log);
    return NULL;
}

void log_set_level(struct log *log, enum log_level level)
{
    log->level = level;
}

void log_set_text(struct log *log, bool text)
{
    log->text = text;
}

uint64_t log_dropped(const struct log *log)
{
    return log->dropped;
}

/* ---- building ----------------------------------------------------------------------------- */

static size_t room(const struct log_line *line)
{
    return LOG_LINE_MAX - LINE_RESERVE - line->len;
}

static void append(struct log_line *line, const char *p, size_t len)
{
    memcpy(line->buf + line->len, p, len);
    line->len += len;
}

/* `,"key":` or ` key=`; false where not even an empty value would fit behind it. */
static bool begin_field(struct log_line *line, const char *key)
{
    size_t len = strlen(key);
    if (len + 6 > room(line)) {
        line->overflow = true;
        return false;
    }
    if (line->len > (line->text ? 0 : 1)) {
        append(line, line->text ? " " : ",", 1);
    }
    append(line, "\"", line->text ? 0 : 1);
    append(line, key, len);
    append(line, line->text ? "=" : "\":", line->text ? 1 : 2);
    return true;
}

/* UTF-8 without control bytes, quoted, at most max bytes and what fits. */
static void append_quoted(struct log_line *line, const char *p, size_t len, size_t max)
{
    size_t end = room(line) - 1; /* the closing quote's */
    end = line->len + (end < max ? end : max);
    append(line, "\"", 1);
    for (size_t i = 0; i < len;) {
        size_t n = 1;
        while (i + n < len && ((unsigned char)p[i + n] & 0xc0) == 0x80) {
            n++; /* a character is cut nowhere but at its end */
        }
        bool escape = p[i] == '"' || p[i] == '\\';
        if (line->len + n + (escape ? 1 : 0) > end) {
            line->overflow = true;
            break;
        }
        append(line, "\\", escape ? 1 : 0);
        append(line, p + i, n);
        i += n;
    }
    append(line, "\"", 1);
}

static bool needs_quotes(const char *p, size_t len)
{
    return len == 0 || strpbrk(p, " \"=\\");
}

static void append_value(struct log_line *line, const char *p, size_t len, size_t max)
{
    /* What does not fit behind the display is over the line's end anyway. */
    char shown[LOG_LINE_MAX];
    size_t n = disc_name_display(disc_str_of(p, len < sizeof shown ? len : sizeof shown), shown,
                                 sizeof shown);
    if (line->text && n <= room(line) && n <= max && !needs_quotes(shown, n)) {
        append(line, shown, n);
    } else {
        append_quoted(line, shown, n, max);
    }
}

void log_bytes(struct log_line *line, const char *key, const char *p, size_t len)
{
    if (begin_field(line, key)) {
        append_value(line, p, len, LOG_LINE_MAX);
    }
}

void log_str(struct log_line *line, const char *key, const char *value)
{
    log_bytes(line, key, value, strlen(value));
}

void log_int(struct log_line *line, const char *key, int64_t value)
{
    char digits[24];
    size_t len = (size_t)snprintf(digits, sizeof digits, "%" PRId64, value);
    if (len + strlen(key) + 4 > room(line)) {
        line->overflow = true;
        return;
    }
    if (begin_field(line, key)) {
        append(line, digits, len);
    }
}

void log_names(struct log_line *line, const char *key, const char *const names[], size_t n)
{
    size_t len = strlen(key) + 8;
    for (size_t i = 0; i < n; i++) {
        len += strlen(names[i]) + 3; /* quotes and comma */
    }
    if (len > room(line)) {
        line->overflow = true;
        return;
    }
    if (!begin_field(line, key)) {
        return;
    }
    append(line, "[", 1);
    for (size_t i = 0; i < n; i++) {
        append(line, ",", i > 0 ? 1 : 0);
        append(line, "\"", 1);
        append(line, names[i], strlen(names[i]));
        append(line, "\"", 1);
    }
    append(line, "]", 1);
}

/* RFC 3339, UTC, microseconds. */
static void log_ts(struct log_line *line, uint64_t unix_us)
{
    char text[64];
    struct tm tm;
    time_t seconds = (time_t)(unix_us / 1000000);
    if (!gmtime_r(&seconds, &tm)) {
        memset(&tm, 0, sizeof tm);
    }
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(text + n, sizeof text - n, ".%06uZ", (unsigned)(unix_us % 1000000));
    log_str(line, "ts", text);
}

static uint64_t now_unix_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail with this clock */
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void start(const struct log *log, struct log_line *line)
{
    line->len = 0;
    line->text = log->text;
    line->overflow = false;
    if (!log->text) {
        append(line, "{", 1);
    }
}

bool log_begin(struct log *log, struct log_line *line, enum log_level level, const char *component,
               const char *event, const char *message)
{
    if (level < log->level) {
        return false;
    }
    start(log, line);
    if (log->text) {
        /* "level component: message"; the journal and the terminal have the time. */
        append(line, log_level_str(level), strlen(log_level_str(level)));
        append(line, " ", 1);
        append(line, component, strnlen(component, 64));
        append(line, ": ", 2);
        char shown[MESSAGE_MAX];
        append(line, shown,
               disc_name_display(disc_str_of(message, strlen(message)), shown, sizeof shown));
        return true;
    }
    log_ts(line, now_unix_us());
    log_str(line, "level", log_level_str(level));
    log_str(line, "component", component);
    log_str(line, "event", event);
    if (begin_field(line, "msg")) {
        append_value(line, message, strlen(message), MESSAGE_MAX);
    }
    log_str(line, "node", log->node);
    log_int(line, "pid", log->pid);
    return true;
}

void log_begin_call(struct log *log, struct log_line *line, uint64_t ts_unix_us)
{
    start(log, line);
    log_ts(line, ts_unix_us);
    log_str(line, "event", "call");
    if (!log->text) {
        log_str(line, "node", log->node);
        log_int(line, "pid", log->pid);
    }
}

void log_printf(struct log *log, enum log_level level, const char *component, const char *event,
                const char *format, ...)
{
    if (level < log->level) {
        return;
    }
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args); /* a longer one is cut */
    va_end(args);
    struct log_line line;
    if (log_begin(log, &line, level, component, event, message)) {
        log_end(log, &line);
    }
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Whether a line fits now: a pipe is writable where PIPE_BUF bytes fit, and no line is longer. */
static bool is_writable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    int n;
    do {
        n = poll(&poll_fd, 1, 0);
    } while (n < 0 && errno == EINTR);
    return n == 1 && poll_fd.revents == POLLOUT;
}

static ssize_t write_once(const struct log *log, const char *p, size_t len)
{
    ssize_t n;
    do {
        n = log->is_socket ? send(log->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                           : write(log->fd, p, len);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* What follows is written into the reserve, where it always fits. */
static void close_line(const struct log *log, struct log_line *line, uint64_t untold)
{
    char tail[LINE_RESERVE + 1] = "";
    size_t n = 0;
    if (untold > 0) {
        n = (size_t)snprintf(tail, sizeof tail,
                             log->text ? " log_dropped=%" PRIu64 : ",\"log_dropped\":%" PRIu64,
                             untold);
    }
    n += (size_t)snprintf(tail + n, sizeof tail - n, "%s%s\n",
                          !line->overflow ? ""
                          : log->text     ? " cut=true"
                                          : ",\"cut\":true",
                          log->text ? "" : "}");
    assert(n <= LINE_RESERVE && line->len + n <= LOG_LINE_MAX);
    append(line, tail, n);
}

void log_end(struct log *log, struct log_line *line)
{
    if (!is_writable(log->fd)) {
        log->dropped++;
        return;
    }
    if (log->torn) {
        log->torn = write_once(log, "\n", 1) != 1;
    }
    uint64_t dropped = log->dropped;
    close_line(log, line, dropped - log->dropped_told);
    ssize_t n = log->torn ? -1 : write_once(log, line->buf, line->len);
    if (n == (ssize_t)line->len) {
        log->dropped_told = dropped;
        return;
    }
    log->dropped++;
    log->torn = log->torn || n > 0;
}
