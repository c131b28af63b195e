/*
 * codec/templates.h: the bodies of tside's own replies, encoded by libthrift_c_glib.
 *
 * libthrift_c_glib is the authority on the encoding, and far too slow and too fragile for the hot
 * path (design, section 5): it encodes each prototype once, at start; replies are made from the
 * prototypes by codec/reply_build.h. The only file of the product that knows GLib.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_TEMPLATES_H
#define TSIDE_CODEC_TEMPLATES_H

#include <stddef.h>
#include <stdint.h>

/* A struct's encoding with places to fill in. Offsets count from its first byte. */
struct codec_template {
    uint8_t *bytes; /* owned by the templates */
    size_t len;
    size_t text_off; /* the 4-byte length of its (empty) string */
    size_t code_off; /* its i32 */
};

struct codec_templates {
    struct codec_template exception; /* TApplicationException {1: message "", 2: type} */
    struct codec_template
        base_resp;               /* result {0: {255: BaseResp {1: StatusMessage "", 2: code}}} */
    struct codec_template empty; /* a result without a field: void */
};

/* NULL where libthrift_c_glib refused or memory ran out. Thread-safe to read afterwards. */
struct codec_templates *codec_templates_new(void) __attribute__((warn_unused_result));
struct codec_templates *codec_templates_free(struct codec_templates *templates);

#endif
