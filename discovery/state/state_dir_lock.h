/*
 * discovery/state/state_dir_lock.h: one process at a time on a state directory.
 *
 * A lock on the open file, not on the process: it goes with the last descriptor, also after a
 * crash, and a successor that is handed the descriptor has the lock without a gap.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STATE_STATE_DIR_LOCK_H
#define TSIDE_DISCOVERY_STATE_STATE_DIR_LOCK_H

#include <stdint.h>

/*
 * Opens and locks dir/lock (made with mode 0600, closed on exec) and writes our pid into it, for
 * people. 0 and the descriptor; -EWOULDBLOCK where another process has it, with its pid as the
 * file has it (0: unknown), other negative errno where the file cannot be opened or locked.
 */
int state_dir_lock(const char *dir, int *ret_fd, int64_t *ret_pid);

/* Closes the descriptor. The file stays: removing it would let two processes lock two files. */
void state_dir_unlock(int fd);

#endif
