/*
 * bench_echo.c: the callee of the benchmarks: answers each call with the text that it brought.
 *
 *     bench_echo [framed | unframed | ttheader]
 *
 * One epoll thread. A call is method(1: Request {1: text, ...}): the reply is {0: text} under the
 * same method and seqid. What else stands in the message is not looked at; something that is no
 * such call ends the program with 1, so that a proxy that spoils a frame is noticed. Prints its
 * address; serves until it is killed or its standard input ends.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bench_framing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_MAX (4u << 20)
#define READ_SIZE 65536

struct connection {
    int fd;
    bool want_write;
    uint8_t *in; /* a frame that is not complete yet */
    size_t in_len, in_size;
    uint8_t *out; /* replies not yet taken by the kernel */
    size_t out_len, out_off, out_size;
};

static int epoll_fd;
static enum bench_framing framing;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void reserve(uint8_t **p, size_t *size, size_t wanted)
{
    if (wanted <= *size) {
        return;
    }
    *size = wanted * 2;
    *p = realloc(*p, *size);
    if (*p == NULL) {
        die("bench_echo: memory");
    }
}

static void watch(struct connection *c, int op, bool want_write)
{
    struct epoll_event event = {.events = EPOLLIN | (want_write ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll_fd, op, c->fd, &event) != 0) {
        die("bench_echo: epoll_ctl");
    }
    c->want_write = want_write;
}

/* Appends the reply to one request's body; a ONEWAY gets none. */
static void answer(struct connection *c, const uint8_t *body, size_t len)
{
    static const struct bench_names nobody = {0};
    uint32_t name_len = len >= 12 ? bench_get32(body + 4) : UINT32_MAX;
    const size_t head = 12 + (size_t)name_len;
    if (name_len > 4096 || len < head + 10 || (bench_get32(body) & 0xffff0000u) != 0x80010000u ||
        memcmp(body + head, "\x0c\0\x01\x0b\0\x01", 6) != 0) {
        fprintf(stderr, "bench_echo: not a call of the benchmark (%zu bytes)\n", len);
        exit(1);
    }
    const uint8_t *text = body + head + 10;
    uint32_t text_len = bench_get32(body + head + 6);
    if (head + 10 + (size_t)text_len > len) {
        fprintf(stderr, "bench_echo: a cut call\n");
        exit(1);
    }
    if (body[3] == 4) {
        return;
    }
    size_t reply_len = head + 7 + text_len + 1;
    reserve(&c->out, &c->out_size, c->out_len + BENCH_HEAD_MAX + reply_len);
    c->out_len += bench_head_write(framing, &nobody, reply_len, c->out + c->out_len);
    uint8_t *p = c->out + c->out_len;
    bench_put32(p, 0x80010002u);
    memcpy(p + 4, body + 4, head - 4); /* name and seqid */
    memcpy(p + head, "\x0b\0\0", 3);
    bench_put32(p + head + 3, text_len);
    memcpy(p + head + 7, text, text_len);
    p[head + 7 + text_len] = 0;
    c->out_len += reply_len;
}

/* False where the connection is gone. */
static bool flush_out(struct connection *c)
{
    while (c->out_off < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!c->want_write) {
                watch(c, EPOLL_CTL_MOD, true);
            }
            return true;
        }
        if (n <= 0) {
            return false;
        }
        c->out_off += (size_t)n;
    }
    c->out_off = c->out_len = 0;
    if (c->want_write) {
        watch(c, EPOLL_CTL_MOD, false);
    }
    return true;
}

static bool serve(struct connection *c)
{
    reserve(&c->in, &c->in_size, c->in_len + READ_SIZE);
    ssize_t n = recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, 0);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    c->in_len += (size_t)n;
    size_t pos = 0;
    struct bench_message message;
    while (bench_message_find(framing, c->in + pos, c->in_len - pos, &message)) {
        answer(c, c->in + pos + message.off, message.len);
        pos += message.whole;
    }
    if (c->in_len - pos > FRAME_MAX) {
        fprintf(stderr, "bench_echo: a message above %u bytes\n", FRAME_MAX);
        exit(1);
    }
    memmove(c->in, c->in + pos, c->in_len - pos);
    c->in_len -= pos;
    return flush_out(c);
}

static void connection_close(struct connection *c)
{
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* slower at worst */
        struct connection *c = calloc(1, sizeof(*c));
        if (c == NULL) {
            die("bench_echo: memory");
        }
        c->fd = fd;
        watch(c, EPOLL_CTL_ADD, false);
    }
}

int main(int argc, char **argv)
{
    if (argc > 2 || (argc == 2 && !bench_framing_parse(argv[1], &framing))) {
        fprintf(stderr, "usage: bench_echo [framed | unframed | ttheader]\n");
        return 64;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || epoll_fd < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &address_len) != 0) {
        die("bench_echo");
    }
    printf("127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);

    struct epoll_event listen_event = {.events = EPOLLIN, .data.ptr = &listen_event};
    struct epoll_event stdin_event = {.events = EPOLLIN, .data.ptr = &stdin_event};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &listen_event) != 0) {
        die("bench_echo: epoll_ctl");
    }
    /* A standard input that cannot be watched (a file, /dev/null) never ends the program. */
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &stdin_event);

    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].data.ptr == &listen_event) {
                accept_all(listener);
            } else if (events[i].data.ptr == &stdin_event) {
                return 0;
            } else if (((events[i].events & EPOLLOUT) && !flush_out(c)) ||
                       ((events[i].events & ~(uint32_t)EPOLLOUT) && !serve(c))) {
                connection_close(c);
            }
        }
    }
}
