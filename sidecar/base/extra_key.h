/*
 * sidecar/base/extra_key.h: the entries of Base.Extra that have a meaning here (docs/specification.md, sections 1 and
 * 5). The one that carries the budget has its name from the listener, and none of these.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_EXTRA_KEY_H
#define TSIDE_SIDECAR_BASE_EXTRA_KEY_H

#define EXTRA_KEY_CLUSTER      "cluster"
#define EXTRA_KEY_DEST_SERVICE "dest_service"
#define EXTRA_KEY_DEST_CLUSTER "dest_cluster"
#define EXTRA_KEY_USER_EXTRA   "user_extra"
/* When the call came into the chain, in unix ms (deadline.clock: shared). */
#define EXTRA_KEY_STAMP "RPC_PERSIST_INGRESS_START_TIME"
/* This call is a retry, or comes from one. Kitex's own name for it. */
#define EXTRA_KEY_RETRY "RPC_PERSIST_RetryReq"

/* A literal's text and its length, for struct codec_key and disc_str_of(). */
#define EXTRA_KEY_AND_LEN(key) (key), (sizeof(key) - 1)

#endif
