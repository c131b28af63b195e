/*
 * discovery/etcd/etcd_transport.c: see discovery/etcd/etcd_transport.h.
 *
 * A stream is an object of its own: while its bytes are being cut into lines the machine may well
 * have left it and opened the next one. It is freed when the cutting has returned.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_transport.h"

#include <assert.h>

#include "discovery/base/memory.h"
#include "discovery/etcd/etcd_lines.h"

struct range_call {
    struct http_call *http; /* NULL: none */
    uint32_t endpoint;
    char *body;
    size_t len;
    size_t cap;
};

struct stream {
    struct etcd_transport *transport; /* NULL: left */
    struct http_call *http;
    uint32_t endpoint;
    struct etcd_lines lines;
    bool busy; /* its bytes are being cut */
};

struct etcd_transport {
    struct etcd_transport_options options;
    struct range_call range;
    struct stream *stream;
};

struct etcd_transport *etcd_transport_new(const struct etcd_transport_options *options)
{
    struct etcd_transport *transport = memory_zalloc(sizeof *transport);
    transport->options = *options;
    return transport;
}

struct etcd_transport *etcd_transport_free(struct etcd_transport *transport)
{
    if (transport != NULL) {
        etcd_transport_cancel_range(transport);
        etcd_transport_cancel_watch(transport);
        free(transport->range.body);
        free(transport);
    }
    return NULL;
}

static struct http_call *post(struct etcd_transport *transport, uint32_t endpoint, const char *path,
                              struct http_request *request, const struct http_callbacks *callbacks)
{
    const struct etcd_endpoint *to = &transport->options.endpoints->endpoint[endpoint];
    const char *base = to->url;
    assert(base != NULL); /* the machine has only numbers that are in use */
    size_t len = strlen(base) + strlen(path) + 1;
    char *url = memory_alloc(len);
    snprintf(url, len, "%s%s", base, path);
    request->url = url;
    request->connect_to = to->address[0] != '\0' ? to->address : NULL;
    request->body_len = strlen(request->body);
    struct http_call *call = http_client_post(transport->options.http, request, callbacks);
    free(url);
    return call;
}

static void set_error(struct etcd_error *error, const char *what, const char *text)
{
    error->code = ETCD_CODE_NONE;
    snprintf(error->text, sizeof error->text, "%s: %s", what, text);
}

/* ---- range -------------------------------------------------------------------------------- */

static void range_event(struct etcd_transport *transport, enum etcd_event event,
                        const struct etcd_error *error)
{
    const struct etcd_input input = {.event = event, .error = error};
    transport->options.event(transport->options.arg, transport->range.endpoint, &input);
}

static void on_range_bytes(void *arg, const char *p, size_t len)
{
    struct etcd_transport *transport = arg;
    struct range_call *range = &transport->range;
    if (len > ETCD_REPLY_MAX_BYTES - range->len) {
        struct etcd_error error;
        http_call_cancel(range->http);
        range->http = NULL;
        set_error(&error, "range", "the reply is too large");
        range_event(transport, ETCD_EVENT_RANGE_TOO_LARGE, &error);
        return;
    }
    if (range->len + len > range->cap) {
        range->cap = range->len + len > 2 * range->cap ? range->len + len : 2 * range->cap;
        range->body = memory_resize(range->body, range->cap, 1);
    }
    memcpy(range->body + range->len, p, len);
    range->len += len;
}

static void range_parse(struct etcd_transport *transport, const struct http_result *result)
{
    struct range_call *range = &transport->range;
    struct etcd_range_reply reply;
    struct etcd_error error;
    enum etcd_parsed parsed = etcd_range_parse(range->body, range->len, &reply, &error);
    if (parsed == ETCD_PARSED_OK) {
        const struct etcd_input input = {
            .event = ETCD_EVENT_RANGE_OK, .range = &reply, .range_bytes = range->len};
        transport->options.event(transport->options.arg, range->endpoint, &input);
        etcd_kvs_done(&reply.kvs);
        return;
    }
    if (parsed == ETCD_PARSED_BAD && result->status != 200) {
        /* Something without a gateway, or in between: 404 means that it is switched off. */
        char what[32];
        snprintf(what, sizeof what, "HTTP status %d", result->status);
        set_error(&error, what, result->status == 404 ? "no JSON gateway here" : "not from etcd");
    }
    range_event(transport, ETCD_EVENT_RANGE_FAILED, &error);
}

static void on_range_done(void *arg, const struct http_result *result)
{
    struct etcd_transport *transport = arg;
    transport->range.http = NULL;
    if (result->error == HTTP_OK) {
        range_parse(transport, result);
        return;
    }
    struct etcd_error error;
    set_error(&error, http_error_str(result->error), result->text);
    range_event(transport, ETCD_EVENT_RANGE_FAILED, &error);
}

void etcd_transport_range(struct etcd_transport *transport, uint32_t endpoint,
                          const struct etcd_range_query *query, uint32_t deadline_ms)
{
    struct range_call *range = &transport->range;
    assert(range->http == NULL);
    char *body = etcd_range_body(query);
    struct http_request request = {.body = body, .timeout_ms = deadline_ms};
    const struct http_callbacks callbacks = {on_range_bytes, on_range_done, transport};
    range->endpoint = endpoint;
    range->len = 0;
    range->http = post(transport, endpoint, "/v3/kv/range", &request, &callbacks);
    free(body);
}

void etcd_transport_cancel_range(struct etcd_transport *transport)
{
    if (transport->range.http != NULL) {
        http_call_cancel(transport->range.http);
        transport->range.http = NULL;
    }
}

/* ---- watch -------------------------------------------------------------------------------- */

static void stream_free(struct stream *stream)
{
    etcd_lines_done(&stream->lines);
    free(stream);
}

/* No event of it reaches the machine any more. */
static void stream_leave(struct stream *stream)
{
    stream->transport->stream = NULL;
    stream->transport = NULL;
    if (stream->http != NULL) {
        http_call_cancel(stream->http);
        stream->http = NULL;
    }
    if (!stream->busy) {
        stream_free(stream);
    }
}

static void stream_event(const struct stream *stream, const struct etcd_input *input)
{
    const struct etcd_transport_options *options = &stream->transport->options;
    options->event(options->arg, stream->endpoint, input);
}

/* It is over by itself: an event, and it is left. */
static void stream_over(struct stream *stream, enum etcd_event event,
                        const struct etcd_error *error)
{
    struct etcd_transport *transport = stream->transport;
    uint32_t endpoint = stream->endpoint;
    const struct etcd_input input = {.event = event, .error = error};
    assert(stream->busy); /* callers look at the stream afterwards */
    if (event == ETCD_EVENT_ENDED) {
        stream_leave(stream);
    }
    /* Of a bad message the machine makes a cancel itself. */
    transport->options.event(transport->options.arg, endpoint, &input);
}

static bool on_line(void *arg, const char *line, size_t len)
{
    struct stream *stream = arg;
    struct etcd_watch_message message;
    struct etcd_error error;
    switch (etcd_watch_parse(line, len, &message, &error)) {
    case ETCD_PARSED_OK: {
        const struct etcd_input input = {.event = etcd_watch_event(&message), .watch = &message};
        stream_event(stream, &input);
        etcd_kvs_done(&message.events);
        break;
    }
    case ETCD_PARSED_ERROR:
        stream_over(stream, ETCD_EVENT_ENDED, &error);
        break;
    case ETCD_PARSED_BAD:
        stream_over(stream, ETCD_EVENT_BAD_MESSAGE, &error);
        break;
    }
    return stream->transport != NULL;
}

static void on_stream_bytes(void *arg, const char *p, size_t len)
{
    struct stream *stream = arg;
    const struct etcd_input bytes = {.event = ETCD_EVENT_BYTES};
    stream->busy = true;
    stream_event(stream, &bytes);
    if (stream->transport != NULL &&
        etcd_lines_feed(&stream->lines, p, len, on_line, stream) == ETCD_LINES_TOO_LONG) {
        struct etcd_error error;
        set_error(&error, "watch", "a message is too long");
        stream_over(stream, ETCD_EVENT_BAD_MESSAGE, &error);
    }
    stream->busy = false;
    if (stream->transport == NULL) {
        stream_free(stream);
    }
}

static void on_stream_done(void *arg, const struct http_result *result)
{
    struct stream *stream = arg;
    struct etcd_error error;
    stream->http = NULL;
    stream->busy = true;
    /* The last line (an error) has no newline. */
    (void)etcd_lines_end(&stream->lines, on_line, stream); /* the line was an event already */
    if (stream->transport != NULL) {
        /* Also a healthy end is an end: etcd closes streams so when it is stopped. */
        set_error(&error, result->error == HTTP_OK ? "closed" : http_error_str(result->error),
                  result->text);
        stream_over(stream, ETCD_EVENT_ENDED, &error);
    }
    stream->busy = false;
    stream_free(stream);
}

void etcd_transport_watch(struct etcd_transport *transport, uint32_t endpoint,
                          const struct etcd_range range[], const int64_t start_revision[],
                          uint32_t n)
{
    /* A member without a leader ends such a stream after 3 election timeouts; without this header
     * it goes on telling of progress while the cluster moves on elsewhere. */
    static const char *const headers[] = {"Grpc-Metadata-hasleader: true", NULL};
    assert(transport->stream == NULL);
    struct stream *stream = memory_zalloc(sizeof *stream);
    char *body = etcd_watch_body(range, start_revision, n);
    struct http_request request = {.body = body, .headers = headers, .own_connection = true};
    const struct http_callbacks callbacks = {on_stream_bytes, on_stream_done, stream};
    stream->transport = transport;
    stream->endpoint = endpoint;
    etcd_lines_init(&stream->lines, ETCD_LINE_MAX_BYTES);
    stream->http = post(transport, endpoint, "/v3/watch", &request, &callbacks);
    transport->stream = stream;
    free(body);
}

void etcd_transport_cancel_watch(struct etcd_transport *transport)
{
    if (transport->stream != NULL) {
        stream_leave(transport->stream);
    }
}
