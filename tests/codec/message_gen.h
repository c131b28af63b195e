/*
 * tests/codec/message_gen.h: random messages, well-formed ones and ones damaged on purpose.
 *
 * All from one seed. A message comes with its sites: where a length, a count or a type stands,
 * so that damage hits what the grammar is about and not only the bytes of strings.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_CODEC_MESSAGE_GEN_H
#define TSIDE_TESTS_CODEC_MESSAGE_GEN_H

#include "tests/codec/bytes.h"
#include "tests/codec/random.h"

enum site_kind {
    SITE_FIELD_TYPE = 0,
    SITE_STOP,
    SITE_STRING_LENGTH,
    SITE_COUNT,
    SITE_ELEMENT_TYPE, /* of a container that has elements */
    SITE_EMPTY_TYPE,   /* of one that has none */
    SITE_MAX
};

#define SITES_MAX 512 /* of each kind; further ones are not noted */

struct generated {
    bool is_request;
    struct bytes body;
    size_t args_off;
    size_t argument_off; /* behind the first argument's field header, 0 where it is no struct */
    size_t base_off;     /* the first field of some Base or BaseResp, 0 where there is none */
    size_t sites_len[SITE_MAX];
    uint32_t sites[SITE_MAX][SITES_MAX];
};

void message_generate(struct generated *message, struct random *random, bool is_request);
void generated_done(struct generated *message);

enum fate {
    NEVER = 0,
    MAY,
    MUST /* be seen a thousand times, of requests and of replies */
};

/* X(name, fate of accepting, fate of rejecting) */
#define MUTATIONS(X)                                                                               \
    X(NONE, MUST, NEVER)                                                                           \
    X(CUT, NEVER, MUST)                                                                            \
    X(CUT_HEADER, NEVER, MUST)                                                                     \
    X(TRAILING, NEVER, MUST)                                                                       \
    X(SECOND_MESSAGE, NEVER, MUST)                                                                 \
    X(FLIP_BYTE, MUST, MUST)                                                                       \
    X(VERSION, NEVER, MUST)                                                                        \
    X(MESSAGE_TYPE, NEVER, MUST)                                                                   \
    X(UNUSED_BYTE, MUST, NEVER)                                                                    \
    X(SEQID, MUST, NEVER)                                                                          \
    X(NAME_LENGTH_BEYOND, NEVER, MUST)                                                             \
    X(NAME_LENGTH_OFF, MAY, MUST)                                                                  \
    X(LENGTH_NEGATIVE, NEVER, MUST)                                                                \
    X(LENGTH_HUGE, NEVER, MUST)                                                                    \
    X(LENGTH_OFF, MAY, MUST)                                                                       \
    X(COUNT_NEGATIVE, NEVER, MUST)                                                                 \
    X(COUNT_HUGE, NEVER, MUST)                                                                     \
    X(COUNT_WRAPS, NEVER, MUST)                                                                    \
    X(COUNT_OFF, MAY, MUST)                                                                        \
    X(ELEMENT_TYPE_BAD, NEVER, MUST)                                                               \
    X(ELEMENT_TYPE_OTHER, MAY, MUST)                                                               \
    X(EMPTY_TYPE_ANY, MUST, NEVER)                                                                 \
    X(FIELD_TYPE_BAD, NEVER, MUST)                                                                 \
    X(FIELD_TYPE_OTHER, MAY, MUST)                                                                 \
    X(FIELD_IS_STOP, MAY, MUST)                                                                    \
    X(STOP_DROPPED, MAY, MUST)                                                                     \
    X(DEPTH_UP_TO_64, MUST, NEVER)                                                                 \
    X(DEPTH_OVER_64, NEVER, MUST)                                                                  \
    X(BASE_TWICE, MUST, NEVER)                                                                     \
    X(BASE_FIELD_TWICE, MUST, NEVER)                                                               \
    X(ARGUMENT_TWICE, MUST, NEVER)

enum mutation {
#define X(name, accepts, rejects) MUTATION_##name,
    MUTATIONS(X)
#undef X
        MUTATION_MAX
};

const char *mutation_str(enum mutation mutation);

/* Puts the damaged message into ret (which it clears). False where this message has no place for
 * such damage. */
bool message_mutate(const struct generated *message, enum mutation mutation, struct random *random,
                    struct bytes *ret);

#endif
