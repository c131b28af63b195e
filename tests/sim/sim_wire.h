/*
 * tests/sim/sim_wire.h: the messages of the simulated peers, and how the oracle reads tside's.
 *
 * Written byte by byte and read again by its own few lines: not by the codec that is under test.
 *
 *     request   Method(1: "t<id>.<filling>", 255: Base{LogID, Caller, Extra})
 *     reply     {0: {1: "r<id>.<filling>", 255: BaseResp{2: code}}}
 *     exception {1: "x<id>.", 2: type}
 *
 * <id> is the call's number in 8 hexadecimal digits, the filling follows from it: so whoever gets a
 * message can tell whose it is, and whether it is whole.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_WIRE_H
#define TSIDE_TESTS_SIM_WIRE_H

#include "codec/wire.h"
#include "tests/codec/bytes.h"

#define SIM_NO_ID UINT32_MAX

struct sim_request {
    uint32_t id;
    enum wire_message_type type;
    const char *name; /* as sent, with or without "Service:" */
    int32_t seqid;
    uint32_t filling; /* bytes */
    const char *caller;
    const char *service; /* NULL: not named in Extra */
    uint32_t budget_ms;  /* 0: none */
    bool marked;         /* as another hop's retry */
    bool in_text;        /* both in the JSON text of user_extra */
};

/* Writes a frame. */
void sim_wire_request(struct bytes *out, const struct sim_request *request);

struct sim_reply {
    uint32_t id;
    enum wire_message_type type;
    const char *name;
    size_t name_len;
    int32_t seqid;
    uint32_t filling;
    int32_t code; /* of BaseResp */
};

void sim_wire_reply(struct bytes *out, const struct sim_reply *reply);
void sim_wire_exception(struct bytes *out, const struct sim_reply *reply);

enum sim_damage {
    SIM_DAMAGE_LENGTH = 0, /* a string longer than the frame */
    SIM_DAMAGE_TYPE,       /* a field of no type */
    SIM_DAMAGE_UNFRAMED,   /* those behind are none without a frame */
    SIM_DAMAGE_TRAILING = SIM_DAMAGE_UNFRAMED,
    SIM_DAMAGE_SECOND, /* another message in the same frame */
    SIM_DAMAGE_MAX
};

/* Damages the frame that begins at from; its header stays good. */
void sim_wire_damage(struct bytes *frame, size_t from, enum sim_damage damage);

/* ---- reading --------------------------------------------------------------------------------- */

struct sim_message {
    uint8_t type;
    const char *name;
    uint32_t name_len;
    int32_t seqid;
    const uint8_t *args;
    uint32_t args_len;
    const uint8_t *info; /* of the TTHeader in front of it: sim_framing.h; NULL: there is none */
    uint32_t info_len;
};

/* How long the message is that begins at p, by its own grammar; 0: it is not whole within n bytes. */
size_t sim_message_len(const uint8_t *p, size_t n);
/* False: not a strict message. Whoever knows of a header adds it. */
bool sim_message_read(const uint8_t *body, uint32_t len, struct sim_message *ret);

/* The text of the first field, of a request or an exception, or of the struct in field 0, of a
 * reply. False: there is none. */
bool sim_message_text(const struct sim_message *message, const char **ret_text, uint32_t *ret_len);

/* The number in a text that begins with this letter; SIM_NO_ID: none, or its filling is not whole.
 * *ret_filling is its length. */
uint32_t sim_text_id(const char *text, uint32_t len, char letter, uint32_t *ret_filling);

/* The same of a request of which the beginning is there. */
uint32_t sim_message_id_begun(const struct sim_message *message);

/* The remaining time that a request carries, in its header where it has one; -1: none. */
int64_t sim_message_budget(const struct sim_message *message);
/* Whether it is marked as a retry. */
bool sim_message_is_marked(const struct sim_message *message);

bool sim_name_is(const struct sim_message *message, const char *name);

#endif
