/*
 * lb/subset.h: a part of a very large cluster, for one host: always the same one, another for each host.
 *
 * Rendezvous hashing (Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998): each
 * endpoint has a score, made from the host's name and its own; the host takes those with the highest. So no host
 * has to know of the others, and where one endpoint leaves or comes at most one place of each subset changes.
 * Hosts choose independently: over many of them an endpoint has as many hosts as a fair draw gives it (of 1,000
 * hosts that take 20 of 100 each, 200 and some 13 more or fewer), which is less even than subsets that are dealt
 * out in turns, and needs no numbering of the hosts.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_SUBSET_H
#define TSIDE_LB_SUBSET_H

#include <stdint.h>

/* The score of an endpoint for a host; both by the hash of their names. */
uint64_t lb_subset_score(uint64_t host, uint64_t endpoint);

/* The least score that is in, of n; sorts them. size is at least 1; where there are no more than that, all are in. */
uint64_t lb_subset_least(uint64_t scores[], uint32_t n, uint32_t size);

#endif
