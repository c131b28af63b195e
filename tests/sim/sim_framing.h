/*
 * tests/sim/sim_framing.h: how the simulated peers put messages on the wire, and find them there.
 *
 *     framed            length, message
 *     unframed          message
 *     ttheader          length, header, message
 *     ttheader_framed   length, header, length, message
 *
 * By its own few lines, like sim_wire: not by the codec that is under test.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_FRAMING_H
#define TSIDE_TESTS_SIM_FRAMING_H

#include "tests/codec/bytes.h"
#include "tests/sim/sim_pipe.h"

enum sim_framing { SIM_FRAMED = 0, SIM_UNFRAMED, SIM_TTHEADER, SIM_TTHEADER_FRAMED, SIM_FRAMINGS };

/* As pool.framing has it. */
const char *sim_framing_str(enum sim_framing framing);
bool sim_framing_has_header(enum sim_framing framing);

/* What a header says. */
struct sim_header {
    int32_t sequence;
    const char *transit; /* the key under which `number` goes along */
    uint32_t number;
    const char *to_service; /* NULL: nothing; likewise */
    uint32_t budget_ms;     /* 0 */
    bool is_marked;         /* as another hop's retry */
    bool is_reset;          /* this connection will be closed */
};

#define SIM_HEADER_REQUEST "RPC_TRANSIT_id"
#define SIM_HEADER_REPLY   "biz-id"

/* The frame that begins at from becomes a message of this framing. header is for those that have one. */
void sim_framing_wrap(struct bytes *frame, size_t from, enum sim_framing framing,
                      const struct sim_header *header);

struct sim_framed {
    const uint8_t *body;
    uint32_t len;
    uint32_t whole;      /* with all that stands in front of it */
    const uint8_t *info; /* of the header; NULL: it has none */
    uint32_t info_len;
    int32_t sequence;
};

/* The first message of the pipe; false: it is not whole yet. Good until the next put. */
bool sim_framing_next(const struct sim_pipe *pipe, enum sim_framing framing,
                      struct sim_framed *ret);
/* How much stands in front of the message that begins with these bytes; more than n: it is not known yet. */
size_t sim_framing_head(enum sim_framing framing, const uint8_t *p, size_t n);

/* The number under this key of the header; -1: the key is not there. */
int64_t sim_header_number(const uint8_t *info, uint32_t info_len, const char *key);

#endif
