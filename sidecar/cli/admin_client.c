/*
 * sidecar/cli/admin_client.c: see sidecar/cli/admin_client.h.
 *
 * HTTP/1.1 with "Connection: close". The answer is read by a pull parser: it reads lines and
 * blocks, and fills its buffer from the socket as needed.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/admin_client.h"

#include "discovery/base/address.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HEADERS_MAX 100
#define LINE_MAX    8192

struct exchange {
    int fd;
    uint64_t deadline_ms;
    size_t start, end; /* what is read and not taken yet */
    char buf[LINE_MAX];
};

struct body {
    size_t len;
    size_t cap;
    size_t max;
    char *p;
};

/* ---- address ------------------------------------------------------------------------------ */

static bool parse_unix(const char *path, struct admin_address *ret)
{
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof((struct sockaddr_un *)NULL)->sun_path) {
        return false;
    }
    *ret = (struct admin_address){.is_unix = true};
    memcpy(ret->host, path, len + 1);
    return true;
}

bool admin_address_parse(const char *text, struct admin_address *ret)
{
    struct address address;
    if (text[0] == '/' || strncmp(text, "unix:", 5) == 0) {
        return parse_unix(text[0] == '/' ? text : text + 5, ret);
    }
    if (address_parse(text, strlen(text), &address) != ADDRESS_GOOD) {
        return false;
    }
    *ret = (struct admin_address){0};
    memcpy(ret->host, address.host, sizeof address.host);
    (void)snprintf(ret->port, sizeof ret->port, "%u", address.port);
    return true;
}

/* ---- socket ------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int wait_for(const struct exchange *x, short events)
{
    for (;;) {
        uint64_t now = now_ms();
        if (now >= x->deadline_ms) {
            return -ETIMEDOUT;
        }
        struct pollfd poll_fd = {.fd = x->fd, .events = events};
        int n = poll(&poll_fd, 1, (int)(x->deadline_ms - now));
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

static int connect_to(struct exchange *x, const struct sockaddr *addr, socklen_t len)
{
    x->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (x->fd < 0) {
        return -errno;
    }
    int error = connect(x->fd, addr, len) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        socklen_t size = sizeof error;
        int r = wait_for(x, POLLOUT);
        if (r < 0) {
            error = -r;
        } else if (getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
            error = errno;
        }
    }
    /* A unix listener whose queue is full refuses at once. */
    if (error == EAGAIN) {
        error = ETIMEDOUT;
    }
    if (error != 0) {
        close(x->fd);
        x->fd = -1;
    }
    return -error;
}

static int connect_unix(struct exchange *x, const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, path, strlen(path) + 1); /* admin_address_parse() has measured it */
    return connect_to(x, (const struct sockaddr *)&addr, sizeof addr);
}

static int connect_tcp(struct exchange *x, const struct admin_address *address)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if (getaddrinfo(address->host, address->port, &hints, &found) != 0) {
        return -EHOSTUNREACH;
    }
    int r = -EHOSTUNREACH;
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        r = connect_to(x, a->ai_addr, a->ai_addrlen);
        if (r == 0 || r == -ETIMEDOUT) {
            break;
        }
    }
    freeaddrinfo(found);
    return r;
}

static int send_all(struct exchange *x, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(x->fd, p, len, MSG_NOSIGNAL);
        if (n >= 0) {
            p += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            int r = wait_for(x, POLLOUT);
            if (r < 0) {
                return r;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* More bytes into the buffer, which has room: 1; 0: the peer has closed; negative errno. */
static int fill(struct exchange *x)
{
    if (x->start > 0) {
        memmove(x->buf, x->buf + x->start, x->end - x->start);
        x->end -= x->start;
        x->start = 0;
    }
    for (;;) {
        ssize_t n = recv(x->fd, x->buf + x->end, sizeof x->buf - x->end, 0);
        if (n >= 0) {
            x->end += (size_t)n;
            return n > 0;
        }
        if (errno == EAGAIN) {
            int r = wait_for(x, POLLIN);
            if (r < 0) {
                return r;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

/* ---- reading ------------------------------------------------------------------------------ */

/* One line without its end, NUL-terminated in the buffer, valid until the next call. */
static int read_line(struct exchange *x, char **ret)
{
    for (;;) {
        char *start = x->buf + x->start;
        char *end = memchr(start, '\n', x->end - x->start);
        if (end) {
            x->start = (size_t)(end + 1 - x->buf);
            if (end > start && end[-1] == '\r') {
                end--;
            }
            *end = '\0';
            *ret = start;
            return 0;
        }
        if (x->end - x->start == sizeof x->buf) {
            return -EPROTO;
        }
        int r = fill(x);
        if (r <= 0) {
            return r < 0 ? r : -EPROTO;
        }
    }
}

static int body_append(struct body *body, const char *p, size_t len)
{
    if (len > body->max - body->len) {
        return -EMSGSIZE;
    }
    if (body->len + len + 1 > body->cap) {
        size_t cap = 2 * (body->len + len) + 1;
        char *grown = realloc(body->p, cap);
        if (!grown) {
            return -ENOMEM;
        }
        body->p = grown;
        body->cap = cap;
    }
    memcpy(body->p + body->len, p, len);
    body->len += len;
    body->p[body->len] = '\0';
    return 0;
}

/* n bytes more of the body; to_end: as many as come until the peer closes. */
static int read_bytes(struct exchange *x, struct body *body, size_t n, bool to_end)
{
    while (n > 0) {
        size_t have = x->end - x->start;
        if (have == 0) {
            int r = fill(x);
            if (r <= 0) {
                return r < 0 ? r : to_end ? 0 : -EPROTO;
            }
            continue;
        }
        have = have < n ? have : n;
        int r = body_append(body, x->buf + x->start, have);
        if (r < 0) {
            return r;
        }
        x->start += have;
        n -= to_end ? 0 : have;
    }
    return 0;
}

/* A whole number of base 10 or 16; what may follow is `end` or nothing. */
static bool parse_size(const char *text, int base, char end, size_t *ret)
{
    char *rest;
    errno = 0;
    unsigned long long n = strtoull(text, &rest, base);
    if (!isxdigit((unsigned char)text[0]) || errno != 0 || n > SIZE_MAX / 2) {
        return false;
    }
    rest += strspn(rest, " \t");
    *ret = (size_t)n;
    return *rest == '\0' || *rest == end;
}

static int read_chunks(struct exchange *x, struct body *body)
{
    for (;;) {
        char *line;
        size_t n;
        int r = read_line(x, &line);
        if (r < 0) {
            return r;
        }
        if (!parse_size(line, 16, ';', &n)) {
            return -EPROTO;
        }
        if (n == 0) {
            return 0; /* trailers are not read */
        }
        r = read_bytes(x, body, n, false);
        if (r < 0) {
            return r;
        }
        r = read_line(x, &line);
        if (r < 0 || line[0] != '\0') {
            return r < 0 ? r : -EPROTO;
        }
    }
}

struct head {
    int status;
    bool chunked;
    bool has_length;
    size_t length;
};

static bool parse_header(const char *line, struct head *head)
{
    const char *value = strchr(line, ':');
    if (!value) {
        return false;
    }
    size_t name = (size_t)(value - line);
    value += 1 + strspn(value + 1, " \t");
    if (name == 14 && strncasecmp(line, "content-length", name) == 0) {
        head->has_length = true;
        return parse_size(value, 10, '\0', &head->length);
    }
    if (name == 17 && strncasecmp(line, "transfer-encoding", name) == 0) {
        head->chunked = strcasecmp(value, "chunked") == 0;
        return head->chunked;
    }
    return true;
}

static int read_head(struct exchange *x, struct head *head)
{
    char *line;
    int r = read_line(x, &line);
    if (r < 0) {
        return r;
    }
    *head = (struct head){0};
    if (sscanf(line, "HTTP/1.%*1[01] %3d", &head->status) != 1 || head->status < 100) {
        return -EPROTO;
    }
    for (int i = 0; i < HEADERS_MAX; i++) {
        r = read_line(x, &line);
        if (r < 0) {
            return r;
        }
        if (line[0] == '\0') {
            return 0;
        }
        if (!parse_header(line, head)) {
            return -EPROTO;
        }
    }
    return -EPROTO;
}

static int read_response(struct exchange *x, struct head *head, struct body *body)
{
    int r;
    do { /* 100 Continue and the like come before the answer */
        r = read_head(x, head);
        if (r < 0) {
            return r;
        }
    } while (head->status < 200);
    r = body_append(body, "", 0); /* a body of nothing is "" */
    if (r < 0 || head->status == 204 || head->status == 304) {
        return r;
    }
    if (head->chunked) {
        return read_chunks(x, body);
    }
    return read_bytes(x, body, head->has_length ? head->length : 1, !head->has_length);
}

/* ---- the exchange ------------------------------------------------------------------------- */

static int send_request(struct exchange *x, const struct admin_address *address, const char *method,
                        const char *target, const char *body)
{
    bool v6 = !address->is_unix && strchr(address->host, ':');
    char *head;
    int len =
        asprintf(&head,
                 "%s %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\nConnection: close\r\n"
                 "Accept: */*\r\nUser-Agent: tside/" TSIDE_VERSION "\r\n",
                 method, target, v6 ? "[" : "", address->is_unix ? "localhost" : address->host,
                 v6 ? "]" : "", address->is_unix ? "" : ":", address->port);
    if (len < 0) {
        return -ENOMEM;
    }
    int r = send_all(x, head, (size_t)len);
    free(head);
    if (r == 0 && body) {
        char length[80];
        int n = snprintf(length, sizeof length,
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
        r = send_all(x, length, (size_t)n);
    } else if (r == 0 && strcmp(method, "POST") == 0) {
        r = send_all(x, "Content-Length: 0\r\n", 19);
    }
    if (r == 0) {
        r = send_all(x, "\r\n", 2);
    }
    if (r == 0 && body) {
        r = send_all(x, body, strlen(body));
    }
    return r;
}

pid_t admin_peer(const struct admin_address *address, uint32_t timeout_ms)
{
    struct exchange x = {.fd = -1, .deadline_ms = now_ms() + timeout_ms};
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    if (!address->is_unix || connect_unix(&x, address->host) < 0) {
        return 0;
    }
    bool known = getsockopt(x.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    close(x.fd);
    return known ? peer.pid : 0;
}

int admin_request(const struct admin_address *address, const char *method, const char *target,
                  const char *body, uint32_t timeout_ms, size_t body_max,
                  struct admin_response *ret)
{
    struct exchange x = {.fd = -1, .deadline_ms = now_ms() + timeout_ms};
    int r = address->is_unix ? connect_unix(&x, address->host) : connect_tcp(&x, address);
    if (r < 0) {
        return r;
    }
    struct head head = {0};
    struct body got = {.max = body_max};
    int sent = send_request(&x, address, method, target, body);
    /* A server that refuses may answer and close before it has read all: look for the answer. */
    r = sent == 0 || sent == -EPIPE || sent == -ECONNRESET ? read_response(&x, &head, &got) : sent;
    close(x.fd);
    if (r < 0) {
        free(got.p);
        return sent < 0 ? sent : r;
    }
    *ret = (struct admin_response){.status = head.status, .len = got.len, .body = got.p};
    return 0;
}
