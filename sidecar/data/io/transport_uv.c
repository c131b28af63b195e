/*
 * sidecar/data/io/transport_uv.c: see transport_uv.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/transport_uv.h"

#include "sidecar/data/loop/uv_driver.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

_Static_assert(TRANSPORT_EOF == UV_EOF, "one name for the end");
_Static_assert(sizeof(uv_buf_t) == sizeof(struct iovec) &&
                   offsetof(uv_buf_t, base) == offsetof(struct iovec, iov_base) &&
                   offsetof(uv_buf_t, len) == offsetof(struct iovec, iov_len),
               "libuv promises this on Unix: vectors are cast, not copied");

struct uv_transport {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    union {
        uv_connect_t connect; /* before the first write */
        uv_write_t write;
    } request;
};

_Static_assert(sizeof(struct uv_transport) <= TRANSPORT_ROOM_BYTES, "the handles fit");

const char *transport_strerror(int status)
{
    return uv_strerror(status);
}

static struct uv_transport *uv_of(struct transport *transport)
{
    return (struct uv_transport *)(void *)transport->room;
}

static struct transport *begin(uv_handle_t *handle)
{
    struct transport *transport = handle->data;
    uv_driver_enter(transport->worker, handle->loop);
    return transport;
}

static void end(struct transport *transport)
{
    worker_leave(transport->worker);
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct transport *transport = begin(handle);
    struct worker *worker = transport->worker;
    transport->events->closed(transport); /* frees it */
    worker_leave(worker);
}

static void close_transport(struct transport *transport, bool reset)
{
    struct uv_transport *uv = uv_of(transport);
    if (!reset || uv_tcp_close_reset(&uv->uv.tcp, on_closed)) {
        uv_close(&uv->uv.handle, on_closed);
    }
}

static void init_tcp(struct transport *transport)
{
    struct uv_transport *uv = uv_of(transport);
    int r = uv_tcp_init(uv_driver_loop(transport->worker), &uv->uv.tcp);
    assert(r == 0); /* it makes no socket */
    (void)r;
    uv->uv.handle.data = transport;
}

/* r: what libuv said to the descriptor. */
static int taken(struct transport *transport, int fd, int r)
{
    if (r) {
        close(fd);
        close_transport(transport, false);
    }
    return r;
}

static int tcp_open(struct transport *transport, void *source)
{
    uv_tcp_t *tcp = &uv_of(transport)->uv.tcp;
    int fd = *(int *)source;
    init_tcp(transport);
    int r = taken(transport, fd, uv_tcp_open(tcp, fd));
    if (r == 0) {
        (void)uv_tcp_nodelay(tcp, 1); /* slower without, not wrong */
    }
    return r;
}

static void init_pipe(struct transport *transport)
{
    struct uv_transport *uv = uv_of(transport);
    int r = uv_pipe_init(uv_driver_loop(transport->worker), &uv->uv.pipe, 0);
    assert(r == 0); /* it makes no socket */
    (void)r;
    uv->uv.handle.data = transport;
}

static int unix_open(struct transport *transport, void *source)
{
    int fd = *(int *)source;
    init_pipe(transport);
    return taken(transport, fd, uv_pipe_open(&uv_of(transport)->uv.pipe, fd));
}

static void on_connected(uv_connect_t *request, int status)
{
    struct transport *transport = begin((uv_handle_t *)request->handle);
    if (status == 0) {
        (void)uv_tcp_nodelay(&uv_of(transport)->uv.tcp, 1); /* slower without, not wrong */
    }
    if (status != UV_ECANCELED) { /* closed by us */
        transport->events->connected(transport, status);
    }
    end(transport);
}

static int tcp_connect(struct transport *transport, const struct sockaddr *address)
{
    struct uv_transport *uv = uv_of(transport);
    init_tcp(transport);
    int r = uv_tcp_connect(&uv->request.connect, &uv->uv.tcp, address, on_connected);
    if (r) {
        close_transport(transport, false);
    }
    return r;
}

static int unix_connect(struct transport *transport, const struct sockaddr *address)
{
    (void)address;
    init_pipe(transport);
    close_transport(transport, false);
    return UV_ENOTSUP;
}

static bool is_self(struct transport *transport)
{
    uv_tcp_t *tcp = &uv_of(transport)->uv.tcp;
    struct sockaddr_storage here, there;
    int here_len = sizeof here, there_len = sizeof there;
    memset(&here, 0, sizeof here);
    memset(&there, 0, sizeof there);
    return uv_tcp_getsockname(tcp, (struct sockaddr *)&here, &here_len) == 0 &&
           uv_tcp_getpeername(tcp, (struct sockaddr *)&there, &there_len) == 0 &&
           here_len == there_len && memcmp(&here, &there, (size_t)here_len) == 0;
}

static bool is_never_self(struct transport *transport)
{
    (void)transport;
    return false;
}

/* As of connect(): a descriptor that was passed on, or a setuid() since, changes nothing. */
static int64_t unix_peer_uid(struct transport *transport)
{
    uv_os_fd_t fd;
    struct ucred peer;
    socklen_t len = sizeof peer;
    return uv_fileno(&uv_of(transport)->uv.handle, &fd) == 0 &&
                   getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0
               ? (int64_t)peer.uid
               : -1;
}

static int64_t no_peer_uid(struct transport *transport)
{
    (void)transport;
    return -1;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct transport *transport = begin(handle);
    struct iovec room = transport->events->room(transport);
    (void)suggested;
    *buf = uv_buf_init(room.iov_base, (unsigned)room.iov_len);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct transport *transport = begin((uv_handle_t *)handle);
    const struct iovec room = {buf->base, buf->len};
    transport->events->read(transport, room, n == UV_ENOBUFS ? 0 : n);
    end(transport);
}

static int read_start(struct transport *transport)
{
    return uv_read_start(&uv_of(transport)->uv.stream, on_alloc, on_read);
}

static void read_stop(struct transport *transport)
{
    (void)uv_read_stop(&uv_of(transport)->uv.stream); /* always 0 */
}

static bool bytes_wait(struct transport *transport)
{
    uv_os_fd_t fd;
    char byte;
    return uv_fileno(&uv_of(transport)->uv.handle, &fd) == 0 &&
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static const uv_buf_t *bufs_of(const struct iovec iov[])
{
    return (const uv_buf_t *)(const void *)iov;
}

/* What uv_try_write() does where nothing is queued, as here, for half of its instructions. The system call itself:
 * the C library's function makes each call a point where the thread may be cancelled, and none ever is. */
static ssize_t try_write(struct transport *transport, const struct iovec iov[], size_t n)
{
    uv_os_fd_t fd;
    int r = uv_fileno(&uv_of(transport)->uv.handle, &fd);
    if (r) {
        return r;
    }
    long written;
    do {
        written = syscall(SYS_writev, fd, iov, n);
    } while (written < 0 && errno == EINTR);
    if (written < 0) {
        return errno == EAGAIN || errno == ENOBUFS ? 0 : -errno;
    }
    return written;
}

static void on_written(uv_write_t *request, int status)
{
    struct transport *transport = begin((uv_handle_t *)request->handle);
    if (status != UV_ECANCELED) { /* closed by us */
        transport->events->written(transport, status);
    }
    end(transport);
}

static int write_rest(struct transport *transport, const struct iovec iov[], size_t n)
{
    struct uv_transport *uv = uv_of(transport);
    return uv_write(&uv->request.write, &uv->uv.stream, bufs_of(iov), (unsigned)n, on_written);
}

static size_t unwritten(const struct transport *transport)
{
    const struct uv_transport *uv = (const struct uv_transport *)(const void *)transport->room;
    return uv_stream_get_write_queue_size(&uv->uv.stream);
}

const struct transport_ops transport_tcp = {
    .name = "tcp",
    .open = tcp_open,
    .connect = tcp_connect,
    .is_self = is_self,
    .peer_uid = no_peer_uid,
    .read_start = read_start,
    .read_stop = read_stop,
    .bytes_wait = bytes_wait,
    .try_write = try_write,
    .write = write_rest,
    .unwritten = unwritten,
    .close = close_transport,
};

const struct transport_ops transport_unix = {
    .name = "unix",
    .open = unix_open,
    .connect = unix_connect,
    .is_self = is_never_self,
    .peer_uid = unix_peer_uid,
    .read_start = read_start,
    .read_stop = read_stop,
    .bytes_wait = bytes_wait,
    .try_write = try_write,
    .write = write_rest,
    .unwritten = unwritten,
    .close = close_transport,
};
