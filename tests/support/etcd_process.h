/*
 * tests/support/etcd_process.h: a real etcd of one member, for tests, and blocking calls to it.
 *
 * Everything that goes wrong ends the test with a message: a missing etcd is a failure, no reason
 * to skip. The process dies with the test.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SUPPORT_ETCD_PROCESS_H
#define TSIDE_TESTS_SUPPORT_ETCD_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct etcd_process {
    pid_t pid; /* 0: not running */
    uint16_t port;
    uint16_t peer_port;
    char url[64];
    char dir[64]; /* of its data */
};

void etcd_process_init(struct etcd_process *etcd); /* ports and an empty directory */
void etcd_process_start(struct etcd_process *etcd);
void etcd_process_wait_ready(const struct etcd_process *etcd);
void etcd_process_signal(struct etcd_process *etcd, int signal);
void etcd_process_kill(struct etcd_process *etcd); /* -9, and reaped */
void etcd_process_wipe(struct etcd_process *etcd); /* the data; while it is not running */
void etcd_process_done(struct etcd_process *etcd);

/* A port on which nothing listens, below the ephemeral range. */
uint16_t free_port(void);

/* POSTs and returns the body, which lives until the next call; NULL where the answer is not 200. */
const char *etcd_call(const struct etcd_process *etcd, const char *path, const char *body);

int64_t etcd_put(const struct etcd_process *etcd, const char *key, const char *value,
                 int64_t lease); /* the revision */
int64_t etcd_delete(const struct etcd_process *etcd, const char *key);
int64_t etcd_delete_prefix(const struct etcd_process *etcd, const char *prefix);
/* Puts <prefix><i> for i in [from, from + n), one transaction of up to 100 at a time. */
int64_t etcd_put_many(const struct etcd_process *etcd, const char *prefix, int from, int n,
                      const char *value);
void etcd_compact(const struct etcd_process *etcd, int64_t revision);
int64_t etcd_lease(const struct etcd_process *etcd, int ttl_s);

#endif
