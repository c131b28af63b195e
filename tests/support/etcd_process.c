/*
 * tests/support/etcd_process.c: see tests/support/etcd_process.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/support/etcd_process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "discovery/base/base64.h"

#define ETCD        "/usr/bin/etcd"
#define READY_MS    10000
#define REPLY_BYTES (1 << 20)
#define TXN_KEYS    100

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint16_t free_port(void)
{
    static uint32_t next;
    for (int tries = 0; tries < 2000; tries++) {
        if (next == 0) {
            next = (uint32_t)getpid() * 7919u;
        }
        uint16_t port = (uint16_t)(20000 + next++ % 12000);
        struct sockaddr_in addr = {.sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int error = bind(fd, (struct sockaddr *)&addr, sizeof addr);
        close(fd);
        if (error == 0) {
            return port;
        }
    }
    die("no free port");
}

void etcd_process_init(struct etcd_process *etcd)
{
    *etcd = (struct etcd_process){.port = free_port(), .peer_port = free_port()};
    snprintf(etcd->url, sizeof etcd->url, "http://127.0.0.1:%u", etcd->port);
    snprintf(etcd->dir, sizeof etcd->dir, "/tmp/tside-etcd-XXXXXX");
    if (mkdtemp(etcd->dir) == NULL) {
        die("mkdtemp %s: %s", etcd->dir, strerror(errno));
    }
}

static void run_etcd(const struct etcd_process *etcd)
{
    char peer[64];
    char cluster[96];
    snprintf(peer, sizeof peer, "http://127.0.0.1:%u", etcd->peer_port);
    snprintf(cluster, sizeof cluster, "t=%s", peer);
    char *const argv[] = {
        (char[]){"etcd"}, (char[]){"--name"}, (char[]){"t"}, (char[]){"--data-dir"},
        (char *)(uintptr_t)etcd->dir, (char[]){"--listen-client-urls"},
        (char *)(uintptr_t)etcd->url, (char[]){"--advertise-client-urls"},
        (char *)(uintptr_t)etcd->url, (char[]){"--listen-peer-urls"}, peer,
        (char[]){"--initial-advertise-peer-urls"}, peer, (char[]){"--initial-cluster"}, cluster,
        (char[]){"--heartbeat-interval"}, (char[]){"20"}, (char[]){"--election-timeout"},
        (char[]){"200"}, (char[]){"--log-level"}, (char[]){"error"},
        /* A new cluster in a wiped directory is to be another cluster. */
        (char[]){"--initial-cluster-token"}, (char *)(uintptr_t)(etcd->dir + strlen(etcd->dir) - 6),
        NULL};
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(ETCD, argv);
    _exit(127);
}

void etcd_process_start(struct etcd_process *etcd)
{
    if (access(ETCD, X_OK) != 0) {
        die("%s: %s (Debian: etcd-server)", ETCD, strerror(errno));
    }
    etcd->pid = fork();
    if (etcd->pid < 0) {
        die("fork: %s", strerror(errno));
    }
    if (etcd->pid == 0) {
        run_etcd(etcd);
    }
}

void etcd_process_wait_ready(const struct etcd_process *etcd)
{
    uint64_t end = now_ms() + READY_MS;
    while (etcd_call(etcd, "/v3/kv/range", "{\"key\":\"AA==\"}") == NULL) {
        if (waitpid(etcd->pid, NULL, WNOHANG) != 0 || now_ms() > end) {
            die("etcd at %s did not get ready", etcd->url);
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL); /* between two connects */
    }
}

void etcd_process_signal(struct etcd_process *etcd, int signal)
{
    if (kill(etcd->pid, signal) != 0) {
        die("kill: %s", strerror(errno));
    }
}

void etcd_process_kill(struct etcd_process *etcd)
{
    if (etcd->pid > 0) {
        kill(etcd->pid, SIGKILL);
        waitpid(etcd->pid, NULL, 0);
        etcd->pid = 0;
    }
}

void etcd_process_wipe(struct etcd_process *etcd)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", etcd->dir);
    if (etcd->pid != 0 || system(command) != 0) {
        die("%s failed", command);
    }
    snprintf(etcd->dir, sizeof etcd->dir, "/tmp/tside-etcd-XXXXXX");
    if (mkdtemp(etcd->dir) == NULL) {
        die("mkdtemp: %s", strerror(errno));
    }
}

void etcd_process_done(struct etcd_process *etcd)
{
    etcd_process_kill(etcd);
    etcd_process_wipe(etcd);
    rmdir(etcd->dir);
}

/* ---- calls -------------------------------------------------------------------------------- */

static int dial(const struct etcd_process *etcd)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(etcd->port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval timeout = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool send_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

const char *etcd_call(const struct etcd_process *etcd, const char *path, const char *body)
{
    static char reply[REPLY_BYTES];
    char head[256];
    size_t len = 0;
    ssize_t n = 0;
    int fd = dial(etcd);
    if (fd < 0) {
        return NULL;
    }
    int head_len =
        snprintf(head, sizeof head, "POST %s HTTP/1.0\r\nHost: etcd\r\nContent-Length: %zu\r\n\r\n",
                 path, strlen(body));
    bool sent = send_all(fd, head, (size_t)head_len) && send_all(fd, body, strlen(body));
    while (sent && len < sizeof reply - 1 &&
           (n = recv(fd, reply + len, sizeof reply - 1 - len, 0)) > 0) {
        len += (size_t)n;
    }
    close(fd);
    reply[len] = '\0';
    const char *text = strstr(reply, "\r\n\r\n");
    bool ok = text != NULL && strncmp(reply + strlen("HTTP/1.0"), " 200", 4) == 0;
    return ok ? text + 4 : NULL;
}

static int64_t field(const char *reply, const char *name)
{
    const char *at = reply != NULL ? strstr(reply, name) : NULL;
    if (at == NULL) {
        die("no %s in: %s", name, reply != NULL ? reply : "(no reply)");
    }
    return strtoll(at + strlen(name), NULL, 10);
}

static char *b64(char *out, const char *text)
{
    out += base64_encode(text, strlen(text), out);
    *out = '\0';
    return out;
}

static char *put_request(char *out, const char *key, const char *value, int64_t lease)
{
    out = b64(stpcpy(out, "{\"key\":\""), key);
    out = b64(stpcpy(out, "\",\"value\":\""), value);
    return out + sprintf(out, "\",\"lease\":\"%" PRId64 "\"}", lease);
}

int64_t etcd_put(const struct etcd_process *etcd, const char *key, const char *value, int64_t lease)
{
    char *body = malloc(4 * (strlen(key) + strlen(value)) + 200);
    put_request(body, key, value, lease);
    int64_t revision = field(etcd_call(etcd, "/v3/kv/put", body), "\"revision\":\"");
    free(body);
    return revision;
}

int64_t etcd_put_many(const struct etcd_process *etcd, const char *prefix, int from, int n,
                      const char *value)
{
    size_t room = TXN_KEYS * (4 * (strlen(prefix) + strlen(value)) + 300);
    char *body = malloc(room);
    int64_t revision = 0;
    for (int i = from; i < from + n;) {
        char *p = stpcpy(body, "{\"success\":[");
        for (int k = 0; k < TXN_KEYS && i < from + n; k++, i++) {
            char key[1024];
            snprintf(key, sizeof key, "%s%d", prefix, i);
            p = stpcpy(p, k > 0 ? ",{\"request_put\":" : "{\"request_put\":");
            p = stpcpy(put_request(p, key, value, 0), "}");
        }
        stpcpy(p, "]}");
        revision = field(etcd_call(etcd, "/v3/kv/txn", body), "\"revision\":\"");
    }
    free(body);
    return revision;
}

int64_t etcd_delete(const struct etcd_process *etcd, const char *key)
{
    char body[2048];
    stpcpy(b64(stpcpy(body, "{\"key\":\""), key), "\"}");
    return field(etcd_call(etcd, "/v3/kv/deleterange", body), "\"revision\":\"");
}

int64_t etcd_delete_prefix(const struct etcd_process *etcd, const char *prefix)
{
    char body[2048];
    char end[256];
    snprintf(end, sizeof end, "%s", prefix);
    end[strlen(end) - 1]++;
    char *p = b64(stpcpy(body, "{\"key\":\""), prefix);
    stpcpy(b64(stpcpy(p, "\",\"range_end\":\""), end), "\"}");
    return field(etcd_call(etcd, "/v3/kv/deleterange", body), "\"revision\":\"");
}

void etcd_compact(const struct etcd_process *etcd, int64_t revision)
{
    char body[64];
    snprintf(body, sizeof body, "{\"revision\":\"%" PRId64 "\"}", revision);
    if (etcd_call(etcd, "/v3/kv/compaction", body) == NULL) {
        die("compaction of %" PRId64 " failed", revision);
    }
}

int64_t etcd_lease(const struct etcd_process *etcd, int ttl_s)
{
    char body[64];
    snprintf(body, sizeof body, "{\"TTL\":%d}", ttl_s);
    return field(etcd_call(etcd, "/v3/lease/grant", body), "\"ID\":\"");
}
