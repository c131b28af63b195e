/*
 * bench_load.c: a closed-loop load of Thrift calls that verifies every reply.
 *
 *     bench_load HOST:PORT [connections=64] [depth=1] [payload=1024] [ms=1000 | calls=N]
 *                [pid=PID] [base=1] [to=example.service] [caller=bench.caller] [method=Echo]
 *                [framing=framed | unframed | ttheader]
 *
 * One epoll thread. `depth` calls are in flight on each connection; each has a seqid of its own and
 * a text that begins with it: a reply must be a REPLY of that method with that seqid and must bring
 * back that text (bench_echo does), in order. The first wrong reply ends the run with exit code 1.
 * With pid=, that process's CPU time (all threads' schedstat) over exactly the measured window is
 * printed, too. Prints one JSON object.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bench_framing.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 1024

struct options {
    const char *method, *to, *caller, *framing;
    long connections, depth, payload, ms, calls, warm_ms, pid, base;
};

struct connection {
    int fd;
    int32_t next_seqid;   /* of the next call */
    int32_t expect_seqid; /* of the next reply */
    uint64_t *sent_ns;    /* ring of depth: when each call was begun */
    uint8_t *out;         /* requests not yet taken by the kernel */
    size_t out_len, out_off;
    uint8_t *in;
    size_t in_len;
    bool want_write;
};

struct load {
    struct options options;
    int epoll;
    struct connection *connections;
    enum bench_framing framing;
    uint8_t *request; /* template of one call */
    size_t request_len, seqid_off, text_off;
    size_t in_size, out_size;
    uint64_t replies;
    uint64_t *latency; /* histogram in microseconds, last bucket: more */
    bool measuring;
};

#define LATENCY_BUCKETS 100000

static void die(const char *what)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, errno != 0 ? strerror(errno) : "");
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* CPU time of all threads of a process so far. */
static uint64_t cpu_ns(long pid)
{
    char path[320];
    snprintf(path, sizeof(path), "/proc/%ld/task", pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        die(path);
    }
    uint64_t total = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof(path), "/proc/%ld/task/%s/schedstat", pid, entry->d_name);
        FILE *file = fopen(path, "r");
        uint64_t ns = 0;
        if (file != NULL) {
            if (fscanf(file, "%" SCNu64, &ns) == 1) {
                total += ns;
            }
            fclose(file);
        }
    }
    closedir(dir);
    return total;
}

/* ---- the message ---------------------------------------------------------------------------- */

struct writer {
    uint8_t *p;
    size_t len;
};

static void write_bytes(struct writer *w, const void *bytes, size_t n)
{
    memcpy(w->p + w->len, bytes, n);
    w->len += n;
}

static void write_u32(struct writer *w, uint32_t v)
{
    bench_put32(w->p + w->len, v);
    w->len += 4;
}

static void write_string(struct writer *w, const char *s)
{
    write_u32(w, (uint32_t)strlen(s));
    write_bytes(w, s, strlen(s));
}

static void write_field(struct writer *w, uint8_t type, int id)
{
    uint8_t head[3] = {type, (uint8_t)(id >> 8), (uint8_t)id};
    write_bytes(w, head, sizeof(head));
}

/* Base as Kitex writes it: LogID, Caller, Addr, Client, Extra {dest_service: to}. */
static void write_base(struct writer *w, const struct options *options)
{
    write_field(w, 12, 255);
    write_field(w, 11, 1);
    write_string(w, "20260101000000010203040506070809");
    write_field(w, 11, 2);
    write_string(w, options->caller);
    write_field(w, 11, 3);
    write_string(w, "");
    write_field(w, 11, 4);
    write_string(w, "");
    write_field(w, 13, 6);
    write_bytes(w, "\x0b\x0b", 2);
    write_u32(w, 1);
    write_string(w, "dest_service");
    write_string(w, options->to);
    write_bytes(w, "", 1);
}

/* With a frame `payload` bytes: method(1: Request {1: text, 255: Base}), the text taking what is
 * left. */
static void request_build(struct load *load)
{
    const struct options *options = &load->options;
    struct writer w = {calloc(1, (size_t)options->payload + 4096), 0};
    if (w.p == NULL) {
        die("memory");
    }
    write_u32(&w, 0x80010001u);
    write_string(&w, options->method);
    load->seqid_off = w.len;
    write_u32(&w, 0);
    write_field(&w, 12, 1);
    write_field(&w, 11, 1);
    struct writer tail = {calloc(1, 4096), 0};
    if (tail.p == NULL) {
        die("memory");
    }
    if (options->base) {
        write_base(&tail, options);
    }
    write_bytes(&tail, "\0", 2); /* the two structs end: the literal holds two zero bytes */
    long text = options->payload - 4 - (long)(w.len + tail.len);
    text = text < 16 ? 16 : text;
    write_u32(&w, (uint32_t)text);
    load->text_off = w.len;
    memset(w.p + w.len, 'x', (size_t)text);
    w.len += (size_t)text;
    write_bytes(&w, tail.p, tail.len);
    free(tail.p);
    const struct bench_names names = {options->caller, options->to, options->method};
    uint8_t head[BENCH_HEAD_MAX];
    size_t head_len = bench_head_write(load->framing, &names, w.len, head);
    memmove(w.p + head_len, w.p, w.len);
    memcpy(w.p, head, head_len);
    load->seqid_off += head_len;
    load->text_off += head_len;
    load->request = w.p;
    load->request_len = head_len + w.len;
}

/* The reply that bench_echo gives: header, {0: string text}. False where it is anything else. */
static bool reply_right(const struct load *load, const uint8_t *body, size_t len, int32_t seqid)
{
    size_t name_len = strlen(load->options.method);
    if (len < 12 + name_len + 8 || bench_get32(body) != 0x80010002u ||
        bench_get32(body + 4) != name_len ||
        memcmp(body + 8, load->options.method, name_len) != 0 ||
        (int32_t)bench_get32(body + 8 + name_len) != seqid) {
        return false;
    }
    const uint8_t *field = body + 12 + name_len;
    size_t left = len - 12 - name_len;
    uint32_t text_len = bench_get32(field + 3);
    if (field[0] != 11 || field[1] != 0 || field[2] != 0 || (size_t)text_len + 8 != left ||
        text_len < 8) {
        return false;
    }
    char expected[9];
    snprintf(expected, sizeof(expected), "%08x", (uint32_t)seqid);
    return memcmp(field + 7, expected, 8) == 0 && field[7 + text_len] == 0;
}

/* ---- connections ----------------------------------------------------------------------------- */

static void watch(struct load *load, struct connection *c, int op, bool want_write)
{
    struct epoll_event event = {.events = EPOLLIN | (want_write ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(load->epoll, op, c->fd, &event) != 0) {
        die("epoll_ctl");
    }
    c->want_write = want_write;
}

static void flush_out(struct load *load, struct connection *c)
{
    while (c->out_off < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!c->want_write) {
                watch(load, c, EPOLL_CTL_MOD, true);
            }
            return;
        }
        if (n <= 0) {
            die("send");
        }
        c->out_off += (size_t)n;
    }
    c->out_off = c->out_len = 0;
    if (c->want_write) {
        watch(load, c, EPOLL_CTL_MOD, false);
    }
}

static void call_begin(struct load *load, struct connection *c, uint64_t now)
{
    if (c->out_off > 0 && c->out_len + load->request_len > load->out_size) {
        memmove(c->out, c->out + c->out_off, c->out_len - c->out_off);
        c->out_len -= c->out_off;
        c->out_off = 0;
    }
    uint8_t *frame = c->out + c->out_len;
    int32_t seqid = c->next_seqid++;
    memcpy(frame, load->request, load->request_len);
    bench_put32(frame + load->seqid_off, (uint32_t)seqid);
    char mark[9];
    snprintf(mark, sizeof(mark), "%08x", (uint32_t)seqid);
    memcpy(frame + load->text_off, mark, 8);
    c->out_len += load->request_len;
    c->sent_ns[(uint32_t)seqid % (uint32_t)load->options.depth] = now;
}

static void reply_count(struct load *load, const struct connection *c, uint64_t now)
{
    if (!load->measuring) {
        return;
    }
    load->replies++;
    uint32_t at = (uint32_t)(c->expect_seqid - 1) % (uint32_t)load->options.depth;
    uint64_t us = (now - c->sent_ns[at]) / 1000;
    load->latency[us < LATENCY_BUCKETS ? us : LATENCY_BUCKETS - 1]++;
}

static void read_replies(struct load *load, struct connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, load->in_size - c->in_len, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        errno = n == 0 ? 0 : errno;
        die("connection ended");
    }
    c->in_len += (size_t)n;
    uint64_t now = now_ns();
    size_t pos = 0;
    struct bench_message message;
    while (bench_message_find(load->framing, c->in + pos, c->in_len - pos, &message)) {
        const uint8_t *body = c->in + pos + message.off;
        if (!reply_right(load, body, message.len, c->expect_seqid)) {
            fprintf(stderr, "bench_load: wrong reply to seqid %d: %.*s\n", c->expect_seqid,
                    (int)(message.len > 300 ? 300 : message.len), (const char *)body);
            exit(1);
        }
        c->expect_seqid++;
        reply_count(load, c, now);
        call_begin(load, c, now);
        pos += message.whole;
    }
    if (c->in_len - pos == load->in_size) {
        errno = 0;
        die("reply too large");
    }
    memmove(c->in, c->in + pos, c->in_len - pos);
    c->in_len -= pos;
    flush_out(load, c);
}

static void connections_open(struct load *load, const struct sockaddr_in *to)
{
    const struct options *options = &load->options;
    load->out_size = load->request_len * (size_t)(options->depth + 1);
    load->in_size = load->out_size + 65536;
    load->connections = calloc((size_t)options->connections, sizeof(*load->connections));
    if (load->connections == NULL) {
        die("memory");
    }
    for (long i = 0; i < options->connections; i++) {
        struct connection *c = &load->connections[i];
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) != 0 ||
            setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
            fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0) {
            die("connect");
        }
        c->in = malloc(load->in_size);
        c->out = malloc(load->out_size);
        c->sent_ns = calloc((size_t)options->depth, sizeof(*c->sent_ns));
        if (c->in == NULL || c->out == NULL || c->sent_ns == NULL) {
            die("memory");
        }
        watch(load, c, EPOLL_CTL_ADD, false);
        uint64_t now = now_ns();
        for (long d = 0; d < options->depth; d++) {
            call_begin(load, c, now);
        }
        flush_out(load, c);
    }
}

/* Turns until end_ns, or until calls are answered (0: no such end). */
static void run(struct load *load, uint64_t end_ns, uint64_t calls)
{
    struct epoll_event events[256];
    while (now_ns() < end_ns && (calls == 0 || load->replies < calls)) {
        int n = epoll_wait(load->epoll, events, 256, 100);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                flush_out(load, c);
            }
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                read_replies(load, c);
            }
        }
    }
}

static uint64_t percentile_us(const struct load *load, double share)
{
    uint64_t below = 0, wanted = (uint64_t)((double)load->replies * share);
    for (uint64_t us = 0; us < LATENCY_BUCKETS; us++) {
        below += load->latency[us];
        if (below > wanted) {
            return us;
        }
    }
    return LATENCY_BUCKETS;
}

static bool option_set(struct options *options, const char *arg)
{
    const struct {
        const char *name;
        const char **text;
        long *number;
    } known[] = {
        {"method=", &options->method, NULL},   {"to=", &options->to, NULL},
        {"caller=", &options->caller, NULL},   {"connections=", NULL, &options->connections},
        {"depth=", NULL, &options->depth},     {"payload=", NULL, &options->payload},
        {"ms=", NULL, &options->ms},           {"calls=", NULL, &options->calls},
        {"warm_ms=", NULL, &options->warm_ms}, {"pid=", NULL, &options->pid},
        {"base=", NULL, &options->base},       {"framing=", &options->framing, NULL},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t len = strlen(known[i].name);
        if (strncmp(arg, known[i].name, len) == 0) {
            if (known[i].text != NULL) {
                *known[i].text = arg + len;
            } else {
                *known[i].number = atol(arg + len);
            }
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    struct load load = {.options = {.method = "Echo",
                                    .to = "example.service",
                                    .caller = "bench.caller",
                                    .framing = "framed",
                                    .connections = 64,
                                    .depth = 1,
                                    .payload = 1024,
                                    .ms = 1000,
                                    .warm_ms = 100,
                                    .base = 1}};
    struct options *options = &load.options;
    struct sockaddr_in to = {.sin_family = AF_INET};
    char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;
    bool usage = colon == NULL;
    if (!usage) {
        *colon = '\0';
        usage = inet_pton(AF_INET, argv[1], &to.sin_addr) != 1;
        to.sin_port = htons((uint16_t)atoi(colon + 1));
    }
    for (int i = 2; i < argc; i++) {
        usage = usage || !option_set(options, argv[i]);
    }
    usage = usage || !bench_framing_parse(options->framing, &load.framing);
    if (usage || options->depth < 1 || options->depth > DEPTH_MAX || options->connections < 1) {
        fprintf(stderr, "usage: bench_load IP:PORT [connections=64] [depth=1] [payload=1024] "
                        "[ms=1000 | calls=N] [warm_ms=100] [pid=PID] [base=1] [to=] [caller=] "
                        "[method=] [framing=framed|unframed|ttheader]\n");
        return 64;
    }
    load.latency = calloc(LATENCY_BUCKETS, sizeof(*load.latency));
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.latency == NULL || load.epoll < 0) {
        die("epoll");
    }
    request_build(&load);
    connections_open(&load, &to);
    run(&load, now_ns() + (uint64_t)options->warm_ms * 1000000u, 0);

    load.measuring = true;
    uint64_t cpu_before = options->pid != 0 ? cpu_ns(options->pid) : 0;
    uint64_t begin = now_ns();
    uint64_t limit_ms = options->calls != 0 ? 600000u : (uint64_t)options->ms;
    run(&load, begin + limit_ms * 1000000u, (uint64_t)options->calls);
    uint64_t took = now_ns() - begin;
    uint64_t cpu = options->pid != 0 ? cpu_ns(options->pid) - cpu_before : 0;
    if (load.replies == 0) {
        errno = 0;
        die("no reply at all");
    }
    printf("{\"replies\": %" PRIu64 ", \"ns\": %" PRIu64 ", \"cpu_ns\": %" PRIu64
           ", \"rps\": %.0f, \"p50_us\": %" PRIu64 ", \"p99_us\": %" PRIu64
           ", \"frame_bytes\": %zu}\n",
           load.replies, took, cpu, (double)load.replies * 1e9 / (double)took,
           percentile_us(&load, 0.5), percentile_us(&load, 0.99), load.request_len);
    return 0;
}
