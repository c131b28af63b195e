/*
 * tests/codec/glib_reader.c: see glib_reader.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/glib_reader.h"

#include <stdlib.h>
#include <string.h>
#include <thrift/c_glib/protocol/thrift_binary_protocol.h>
#include <thrift/c_glib/transport/thrift_transport.h>

/* --- a transport over borrowed memory --- */

typedef struct {
    ThriftTransport parent;
    const guint8 *p;
    const guint8 *end;
} SpanTransport;

typedef struct {
    ThriftTransportClass parent;
} SpanTransportClass;

static GType span_transport_get_type(void);
G_DEFINE_TYPE(SpanTransport, span_transport, THRIFT_TYPE_TRANSPORT)

static gboolean always(ThriftTransport *transport)
{
    return TRUE;
}

static gboolean always_ok(ThriftTransport *transport, GError **error)
{
    return TRUE;
}

static gint32 span_read(ThriftTransport *transport, gpointer buf, guint32 len, GError **error)
{
    SpanTransport *span = (SpanTransport *)transport;

    if ((size_t)(span->end - span->p) < len) {
        g_set_error_literal(error, g_quark_from_static_string("span"), 1, "out of bytes");
        return -1;
    }
    if (len > 0) {
        memcpy(buf, span->p, len);
    }
    span->p += len;
    return (gint32)len;
}

static gboolean span_write(ThriftTransport *transport, const gpointer buf, const guint32 len,
                           GError **error)
{
    return FALSE;
}

static gboolean span_has(ThriftTransport *transport, glong bytes, GError **error)
{
    const SpanTransport *span = (const SpanTransport *)transport;

    if (bytes < 0 || bytes > span->end - span->p) {
        g_set_error_literal(error, g_quark_from_static_string("span"), 2, "more than there is");
        return FALSE;
    }
    return TRUE;
}

static void span_transport_class_init(SpanTransportClass *class)
{
    ThriftTransportClass *base = THRIFT_TRANSPORT_CLASS(class);

    /* All of them: the inherited defaults call themselves. */
    base->is_open = always;
    base->peek = base->open = base->close = base->read_end = always_ok;
    base->write_end = base->flush = always_ok;
    base->read = base->read_all = span_read;
    base->write = span_write;
    base->checkReadBytesAvailable = span_has;
}

static void span_transport_init(SpanTransport *span)
{
    span->p = span->end = NULL;
}

/* --- the reader --- */

struct glib_reader {
    SpanTransport *span;
    ThriftProtocol *protocol;
    const uint8_t *begin;
};

struct glib_reader *glib_reader_new(void)
{
    struct glib_reader *reader = calloc(1, sizeof *reader);

    if (reader == NULL) {
        abort();
    }
    reader->span = g_object_new(span_transport_get_type(), NULL);
    reader->protocol = g_object_new(THRIFT_TYPE_BINARY_PROTOCOL, "transport", reader->span, NULL);
    return reader;
}

struct glib_reader *glib_reader_free(struct glib_reader *reader)
{
    g_object_unref(reader->protocol);
    g_object_unref(reader->span);
    free(reader);
    return NULL;
}

ThriftProtocol *glib_reader_at(struct glib_reader *reader, const uint8_t *p, size_t len)
{
    reader->begin = p;
    reader->span->p = p;
    reader->span->end = p + len;
    return reader->protocol;
}

size_t glib_reader_left(const struct glib_reader *reader)
{
    return (size_t)(reader->span->end - reader->span->p);
}

static uint32_t reader_off(const struct glib_reader *reader)
{
    return (uint32_t)(reader->span->p - reader->begin);
}

/* The library sometimes sets an error and still says success: both must be good. */
static bool good(gint32 result, GError **error)
{
    bool ok = result >= 0 && *error == NULL;

    g_clear_error(error);
    return ok;
}

static bool read_field(struct glib_reader *reader, ThriftType *type, gint16 *id)
{
    GError *error = NULL;
    gchar *name = NULL;
    bool ok =
        good(thrift_protocol_read_field_begin(reader->protocol, &name, type, id, &error), &error);

    g_free(name);
    return ok;
}

static bool skip_value(struct glib_reader *reader, ThriftType type)
{
    GError *error = NULL;

    return good(thrift_protocol_skip(reader->protocol, type, &error), &error);
}

static void text_done(struct glib_text *text)
{
    g_free(text->p);
    *text = (struct glib_text){0};
}

static bool read_text(struct glib_reader *reader, struct glib_text *ret)
{
    GError *error = NULL;
    gpointer p = NULL;
    guint32 len = 0;
    bool ok = good(thrift_protocol_read_binary(reader->protocol, &p, &len, &error), &error);

    text_done(ret);
    *ret = (struct glib_text){ok, p, len};
    return ok;
}

bool glib_text_is(const struct glib_text *text, const void *p, size_t len)
{
    return text->found && text->len == len && (len == 0 || memcmp(text->p, p, len) == 0);
}

/* --- Base --- */

static void entries_done(struct glib_base *base)
{
    for (uint32_t i = 0; i < base->entries_len; i++) {
        text_done(&base->keys[i]);
        text_done(&base->values[i]);
    }
    free(base->keys);
    free(base->values);
    base->keys = base->values = NULL;
    base->entries_len = 0;
    base->extra_id = 0;
}

static bool read_entries(struct glib_reader *reader, uint32_t n, struct glib_base *base)
{
    base->keys = calloc(n + 1u, sizeof *base->keys);
    base->values = calloc(n + 1u, sizeof *base->values);
    if (!base->keys || !base->values) {
        abort();
    }
    base->entries_len = n;
    for (uint32_t i = 0; i < n; i++) {
        if (!read_text(reader, &base->keys[i]) || !read_text(reader, &base->values[i])) {
            return false;
        }
    }
    return true;
}

/* A map that Extra may be; any other is skipped and leaves extra_id 0. */
static bool read_extra(struct glib_reader *reader, gint16 id, struct glib_base *base)
{
    GError *error = NULL;
    ThriftType key;
    ThriftType value;
    guint32 n = 0;
    const guint8 *begin = reader->span->p;

    if (!good(thrift_protocol_read_map_begin(reader->protocol, &key, &value, &n, &error), &error)) {
        return false;
    }
    if ((key == T_STRING && value == T_STRING) || (n == 0 && key == T_STOP && value == T_STOP)) {
        base->extra_id = id;
        return read_entries(reader, n, base);
    }
    reader->span->p = begin;
    return skip_value(reader, T_MAP);
}

/* One map per id is held until it is known which of them is Extra. */
struct extras {
    struct glib_base at[7];
};

static bool read_base_field(struct glib_reader *reader, ThriftType type, gint16 id,
                            struct extras *extras, struct glib_base *ret)
{
    bool may_be_extra = id == 1 || id == 3 || id == 5 || id == 6;

    if (may_be_extra) {
        entries_done(&extras->at[id]);
    }
    if (id == 1 || id == 2) {
        struct glib_text *text = id == 1 ? &ret->log_id : &ret->caller;
        text_done(text);
        if (type == T_STRING) {
            return read_text(reader, text);
        }
    }
    return type == T_MAP && may_be_extra ? read_extra(reader, id, &extras->at[id])
                                         : skip_value(reader, type);
}

static bool read_base(struct glib_reader *reader, struct glib_base *ret)
{
    static const int by_id[] = {6, 5, 3, 1};
    struct extras extras = {0};
    ThriftType type;
    gint16 id;
    bool ok;

    while ((ok = read_field(reader, &type, &id)) && type != T_STOP) {
        ok = read_base_field(reader, type, id, &extras, ret);
        if (!ok) {
            break;
        }
    }
    for (size_t i = 0; i < 4; i++) {
        struct glib_base *extra = &extras.at[by_id[i]];
        if (extra->extra_id != 0) {
            entries_done(ret);
            ret->extra_id = extra->extra_id;
            ret->entries_len = extra->entries_len;
            ret->keys = extra->keys;
            ret->values = extra->values;
        } else {
            entries_done(extra);
        }
    }
    return ok;
}

/* --- messages --- */

/* Walks a struct; *ret is the last field 255 if that is a struct, else its len is 0. */
static bool find_255(struct glib_reader *reader, struct wire_span *ret)
{
    ThriftType type;
    gint16 id;

    *ret = (struct wire_span){0};
    while (read_field(reader, &type, &id)) {
        uint32_t off = reader_off(reader);
        if (type == T_STOP) {
            return true;
        }
        if (!skip_value(reader, type)) {
            return false;
        }
        if (id == 255) {
            *ret = type == T_STRUCT ? (struct wire_span){off, reader_off(reader) - off}
                                    : (struct wire_span){0};
        }
    }
    return false;
}

/* Walks the arguments: their own field 255, else that of the lowest id that was ever a struct. */
static bool find_base(struct glib_reader *reader, bool is_request, struct wire_span *ret)
{
    struct wire_span own = {0};
    struct wire_span held = {0};
    int32_t lowest = INT32_MAX;
    ThriftType type;
    gint16 id;

    while (read_field(reader, &type, &id)) {
        uint32_t off = reader_off(reader);
        struct wire_span inner = {0};
        if (type == T_STOP) {
            *ret = own.len > 0 && is_request ? own : held;
            return true;
        }
        if (type == T_STRUCT ? !find_255(reader, &inner) : !skip_value(reader, type)) {
            return false;
        }
        if (id == 255) {
            own = type == T_STRUCT ? (struct wire_span){off, reader_off(reader) - off} : inner;
        }
        if (is_request ? type == T_STRUCT && id < lowest : id == 0) {
            lowest = id;
        }
        if (id == lowest) {
            held = inner;
        }
    }
    return false;
}

static bool read_all(struct glib_reader *reader, struct glib_view *ret)
{
    GError *error = NULL;
    ThriftMessageType type;

    if (!good(thrift_protocol_read_message_begin(reader->protocol, &ret->name, &type, &ret->seqid,
                                                 &error),
              &error)) {
        return false;
    }
    ret->type = (uint8_t)type;
    bool is_request = type == T_CALL || type == T_ONEWAY;
    if (!find_base(reader, is_request, &ret->base_span) || glib_reader_left(reader) != 0) {
        return false;
    }
    ret->has_base = ret->base_span.len > 0;
    if (!ret->has_base || !is_request) {
        return true;
    }
    reader->span->p = reader->begin + ret->base_span.off;
    return read_base(reader, &ret->base);
}

bool glib_read_message(struct glib_reader *reader, const uint8_t *body, size_t len,
                       struct glib_view *ret)
{
    *ret = (struct glib_view){0};
    (void)glib_reader_at(reader, body, len);
    if (!read_all(reader, ret)) {
        glib_view_done(ret);
        return false;
    }
    return true;
}

void glib_view_done(struct glib_view *view)
{
    g_free(view->name);
    text_done(&view->base.log_id);
    text_done(&view->base.caller);
    entries_done(&view->base);
    *view = (struct glib_view){0};
}
