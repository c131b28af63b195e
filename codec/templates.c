/*
 * codec/templates.c: prototypes of our own replies, encoded by libthrift_c_glib at start.
 *
 * Each prototype is written once into a memory buffer and proved with codec/scan.h like a peer's
 * bytes. The places to fill in are found by walking it, so that nothing is assumed about the order
 * in which the encoder writes fields. Called once, by main; what comes out is read
 * by all workers.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/templates.h"

#include "codec/proved.h"
#include "codec/scan.h"
#include "tside_base_types.h"

#include <stdlib.h>
#include <string.h>
#include <thrift/c_glib/protocol/thrift_binary_protocol.h>
#include <thrift/c_glib/thrift_application_exception.h>
#include <thrift/c_glib/transport/thrift_memory_buffer.h>

/* A byte buffer that libthrift_c_glib writes to. */
struct encoder {
    GByteArray *buffer;
    ThriftTransport *transport;
    ThriftProtocol *protocol;
};

typedef bool write_fn(ThriftProtocol *protocol);

static void encoder_init(struct encoder *encoder)
{
    encoder->buffer = g_byte_array_new();
    encoder->transport =
        g_object_new(THRIFT_TYPE_MEMORY_BUFFER, "buf", encoder->buffer, "owner", FALSE, NULL);
    encoder->protocol =
        g_object_new(THRIFT_TYPE_BINARY_PROTOCOL, "transport", encoder->transport, NULL);
}

static void encoder_done(struct encoder *encoder)
{
    g_object_unref(encoder->protocol);
    g_object_unref(encoder->transport);
    g_byte_array_unref(encoder->buffer);
}

/* The library reports by a negative number and an error object; the latter stays here. */
static bool written(gint32 result, GError **error)
{
    g_clear_error(error);
    return result >= 0;
}

static bool write_struct(ThriftProtocol *protocol, ThriftStruct *object)
{
    GError *error = NULL;

    return written(thrift_struct_write(object, protocol, &error), &error);
}

static bool write_exception(ThriftProtocol *protocol)
{
    GObject *exception =
        g_object_new(THRIFT_TYPE_APPLICATION_EXCEPTION, "type", 0, "message", "", NULL);
    bool ok = write_struct(protocol, THRIFT_STRUCT(exception));

    g_object_unref(exception);
    return ok;
}

static bool begin_field(ThriftProtocol *protocol, ThriftType type, gint16 id)
{
    GError *error = NULL;

    return written(thrift_protocol_write_field_begin(protocol, "", type, id, &error), &error);
}

static bool write_stop(ThriftProtocol *protocol)
{
    GError *error = NULL;

    return written(thrift_protocol_write_field_stop(protocol, &error), &error);
}

static bool write_base_resp(ThriftProtocol *protocol)
{
    GObject *resp = g_object_new(TSIDE_TYPE_BASE_RESP, "StatusMessage", "", "StatusCode", 0, NULL);
    bool ok = begin_field(protocol, T_STRUCT, 0) &&
              begin_field(protocol, T_STRUCT, WIRE_BASE_RESP_FIELD_ID) &&
              write_struct(protocol, THRIFT_STRUCT(resp)) && write_stop(protocol) &&
              write_stop(protocol);

    g_object_unref(resp);
    return ok;
}

/* The place of the field with this id and type in the struct; 0 where it is not there. */
static size_t find_field(const uint8_t *bytes, struct wire_span fields, int16_t id, uint8_t type)
{
    struct proved_walk walk = {bytes, fields.off, fields.off + fields.len};
    struct proved_field field;

    while (proved_walk_next(&walk, &field)) {
        if (field.id == id && field.type == type) {
            return field.value.off;
        }
    }
    return 0;
}

/* Finds text (field 1) and code (field 2) in Base, or in the struct itself where it has none. */
static bool find_places(struct codec_template *template, bool has_base_resp)
{
    struct codec_scan scan;

    codec_scan_begin(&scan, CODEC_SCAN_STRUCT, (uint32_t) template->len);
    if (codec_scan_run(&scan, template->bytes, template->len, template->len) != CODEC_SCAN_DONE ||
        scan.message.has_base != has_base_resp) {
        return false;
    }
    struct wire_span fields =
        has_base_resp ? scan.message.base : (struct wire_span){0, (uint32_t) template->len};
    template->text_off = find_field(template->bytes, fields, 1, WIRE_STRING);
    template->code_off = find_field(template->bytes, fields, 2, WIRE_I32);
    return true;
}

static bool encode(struct codec_template *template, write_fn *write, bool has_base_resp)
{
    struct encoder encoder;

    encoder_init(&encoder);
    bool ok = write(encoder.protocol) && encoder.buffer->len > 0;
    if (ok) {
        template->len = encoder.buffer->len;
        template->bytes = malloc(template->len);
        ok = template->bytes != NULL;
    }
    if (ok) {
        memcpy(template->bytes, encoder.buffer->data, template->len);
        ok = find_places(template, has_base_resp);
    }
    encoder_done(&encoder);
    return ok;
}

static bool is_fillable(const struct codec_template *template)
{
    return template->text_off > 0 && template->code_off > 0 &&
           wire_get32(template->bytes + template->text_off) == 0;
}

struct codec_templates *codec_templates_new(void)
{
    struct codec_templates *templates = calloc(1, sizeof *templates);

    if (templates && encode(&templates->exception, write_exception, false) &&
        is_fillable(&templates->exception) &&
        encode(&templates->base_resp, write_base_resp, true) &&
        is_fillable(&templates->base_resp) && encode(&templates->empty, write_stop, false)) {
        return templates;
    }
    return codec_templates_free(templates);
}

struct codec_templates *codec_templates_free(struct codec_templates *templates)
{
    if (templates) {
        free(templates->exception.bytes);
        free(templates->base_resp.bytes);
        free(templates->empty.bytes);
        free(templates);
    }
    return NULL;
}
