/*
 * tests/support/fake_etcd.c: see tests/support/fake_etcd.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/support/fake_etcd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_conn {
    struct fake_etcd *fake;
    uv_tcp_t tcp;
    uv_idle_t drip;
    uint32_t handles;
    struct fake_conn *next;
    size_t got;
    size_t sent;
    bool asked;
    bool closing;
    char in[8192];
};

static void on_closed(uv_handle_t *handle)
{
    struct fake_conn *conn = handle->data;
    if (--conn->handles == 0) {
        free(conn);
    }
}

static void conn_close(struct fake_conn *conn)
{
    struct fake_conn **at = &conn->fake->conns;
    if (conn->closing) {
        return;
    }
    while (*at != conn) {
        at = &(*at)->next;
    }
    *at = conn->next;
    conn->closing = true;
    conn->fake->open--;
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    uv_close((uv_handle_t *)&conn->drip, on_closed);
}

static void send_now(struct fake_conn *conn, const char *p, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)p, (unsigned)len);
    for (size_t done = 0; done < len;) {
        int n = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
        if (n == UV_EAGAIN) {
            continue; /* small replies only: the peer is in this loop, but the kernel takes it */
        }
        if (n < 0) {
            return;
        }
        done += (size_t)n;
        buf.base += n;
        buf.len -= (size_t)n;
    }
}

static void send_chunk(struct fake_conn *conn, const char *p, size_t len)
{
    char head[32];
    int n = snprintf(head, sizeof head, "%zx\r\n", len);
    send_now(conn, head, (size_t)n);
    send_now(conn, p, len);
    send_now(conn, "\r\n", 2);
}

static void on_drip(uv_idle_t *idle)
{
    struct fake_conn *conn = idle->data;
    const char *reply = conn->fake->reply;
    if (reply[conn->sent] == '\0') {
        uv_idle_stop(idle);
        return;
    }
    send_now(conn, reply + conn->sent++, 1);
}

static void answer(struct fake_conn *conn)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    struct fake_etcd *fake = conn->fake;
    size_t len = fake->reply != NULL ? strlen(fake->reply) : 0;
    switch (fake->mode) {
    case FAKE_WHOLE:
        send_now(conn, fake->reply, len);
        break;
    case FAKE_DRIP:
        conn->sent = 0;
        uv_idle_start(&conn->drip, on_drip);
        break;
    case FAKE_CUT:
        send_now(conn, fake->reply, len / 2);
        conn_close(conn);
        break;
    case FAKE_RESET: {
        struct fake_conn **at = &fake->conns;
        while (*at != conn) {
            at = &(*at)->next;
        }
        *at = conn->next;
        conn->closing = true;
        fake->open--;
        uv_tcp_close_reset(&conn->tcp, on_closed);
        uv_close((uv_handle_t *)&conn->drip, on_closed);
        break;
    }
    case FAKE_SILENT:
        break;
    case FAKE_OPEN:
        send_now(conn, head, strlen(head));
        if (len > 0) {
            send_chunk(conn, fake->reply, len);
        }
        break;
    }
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct fake_conn *conn = handle->data;
    *buf = uv_buf_init(conn->in + conn->got, (unsigned)(sizeof conn->in - 1 - conn->got));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct fake_conn *conn = stream->data;
    if (n < 0) {
        conn_close(conn);
        return;
    }
    conn->got += (size_t)n;
    conn->in[conn->got] = '\0';
    const char *body = strstr(conn->in, "\r\n\r\n");
    const char *length = strstr(conn->in, "Content-Length: ");
    if (body == NULL || length == NULL ||
        strlen(body + 4) < (size_t)atoi(length + strlen("Content-Length: "))) {
        return;
    }
    memcpy(conn->fake->request, conn->in, conn->got + 1);
    conn->fake->requests++;
    conn->asked = true;
    conn->got = 0;
    answer(conn);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct fake_etcd *fake = server->data;
    struct fake_conn *conn = calloc(1, sizeof *conn);
    conn->fake = fake;
    conn->handles = 2;
    uv_tcp_init(fake->loop, &conn->tcp);
    uv_idle_init(fake->loop, &conn->drip);
    conn->tcp.data = conn->drip.data = conn;
    conn->next = fake->conns;
    fake->conns = conn;
    fake->connections++;
    fake->open++;
    uv_accept(server, (uv_stream_t *)&conn->tcp);
    uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
}

void fake_etcd_start(struct fake_etcd *fake, uv_loop_t *loop)
{
    struct sockaddr_in addr;
    int len = sizeof addr;
    *fake = (struct fake_etcd){.loop = loop};
    uv_tcp_init(loop, &fake->server);
    fake->server.data = fake;
    uv_ip4_addr("127.0.0.1", 0, &addr);
    uv_tcp_bind(&fake->server, (struct sockaddr *)&addr, 0);
    uv_listen((uv_stream_t *)&fake->server, 16, on_connection);
    uv_tcp_getsockname(&fake->server, (struct sockaddr *)&addr, &len);
    snprintf(fake->url, sizeof fake->url, "http://127.0.0.1:%u", ntohs(addr.sin_port));
}

void fake_etcd_send(struct fake_etcd *fake, const char *bytes, size_t len)
{
    for (struct fake_conn *conn = fake->conns; conn != NULL; conn = conn->next) {
        if (conn->asked) {
            send_chunk(conn, bytes, len);
        }
    }
}

void fake_etcd_end(struct fake_etcd *fake)
{
    fake_etcd_send(fake, "", 0);
}

void fake_etcd_stop(struct fake_etcd *fake)
{
    while (fake->conns != NULL) {
        conn_close(fake->conns);
    }
    uv_close((uv_handle_t *)&fake->server, NULL);
}
