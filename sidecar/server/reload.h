/*
 * sidecar/server/reload.h: SIGHUP: the bootstrap file is read again.
 *
 * Control thread. What the process was started with is never written to: workers read it at any
 * time. The rows of options.def that are LIVE are taken from the newest good file; what else
 * differs from the start is named in the log as wanting a restart. A file with a finding changes
 * nothing.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SERVER_RELOAD_H
#define TSIDE_SIDECAR_SERVER_RELOAD_H

#include "sidecar/base/bootstrap.h"

struct admin;       /* sidecar/admin/admin.h */
struct file_source; /* discovery/file/file_source.h */
struct log;         /* sidecar/base/log.h */

struct reload {
    const struct bootstrap *started;
    struct bootstrap *newest; /* NULL: none was read since the start */
    struct log *log;
};

/* started and log are borrowed until reload_done(). */
void reload_init(struct reload *reload, const struct bootstrap *started, struct log *log);
/* After admin has closed: it borrows the hosts. */
void reload_done(struct reload *reload);

/* Reads the bootstrap file and, where it is good, the rules file that the process was started with
 * (rules is NULL where there was none). What comes of it stands in the log. */
void reload_now(struct reload *reload, struct admin *admin, struct file_source *rules);

/* The file whose LIVE options are in force. Valid until the next reload_now(). */
const struct bootstrap *reload_newest(const struct reload *reload);

#endif
