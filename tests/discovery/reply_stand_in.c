/*
 * reply_stand_in.c: until codec has its reply builder: bodies that only show what went in.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/reply_build.h"

#include <stdio.h>
#include <string.h>

static size_t give(const char *text, size_t len, uint8_t *out, size_t cap)
{
    if (cap >= len) {
        memcpy(out, text, len);
    }
    return len;
}

size_t codec_body_exception(const struct codec_templates *templates, int32_t type, const char *text,
                            size_t text_len, uint8_t *out, size_t cap)
{
    (void)templates;
    (void)type;
    return give(text, text_len, out, cap);
}

size_t codec_body_base_resp(const struct codec_templates *templates, int32_t code, const char *text,
                            size_t text_len, uint8_t *out, size_t cap)
{
    (void)templates;
    (void)code;
    return give(text, text_len, out, cap);
}

size_t codec_body_void(const struct codec_templates *templates, uint8_t *out, size_t cap)
{
    (void)templates;
    return give("", 1, out, cap);
}

struct codec_templates *codec_templates_new(void)
{
    static struct codec_templates none;
    return &none;
}

struct codec_templates *codec_templates_free(struct codec_templates *templates)
{
    (void)templates;
    return NULL;
}
