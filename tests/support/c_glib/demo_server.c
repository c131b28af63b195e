/*
 * demo_server.c: a callee as C applications write them, on libthrift_c_glib.
 *
 *     demo_server NAME
 *
 * Prints the address that it listens on and serves until its standard input ends. The library's own
 * ThriftSimpleServer takes one connection at a time, and a caller through tside may come on
 * several: so a thread a connection.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "demo_demo.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <thrift/c_glib/processor/thrift_dispatch_processor.h>
#include <thrift/c_glib/protocol/thrift_binary_protocol.h>
#include <thrift/c_glib/transport/thrift_buffered_transport.h>
#include <thrift/c_glib/transport/thrift_framed_transport.h>
#include <thrift/c_glib/transport/thrift_server_socket.h>
#include <thrift/c_glib/transport/thrift_server_transport.h>

static const char *server_name;
static gboolean is_buffered;

/* ---- the service ----------------------------------------------------------------------------- */

typedef struct {
    DemoDemoHandler parent;
} VisitHandler;

typedef struct {
    DemoDemoHandlerClass parent;
} VisitHandlerClass;

GType visit_handler_get_type(void);
G_DEFINE_TYPE(VisitHandler, visit_handler, DEMO_TYPE_DEMO_HANDLER)

static gboolean visit(DemoDemoIf *iface, DemoResponse **response, const DemoRequest *request,
                      GError **error)
{
    g_object_set(*response, "server", server_name, "text", request->text, NULL);
    return TRUE;
}

static gboolean nap(DemoDemoIf *iface, DemoResponse **response, const DemoRequest *request,
                    GError **error)
{
    g_usleep((gulong)request->number * 1000);
    return visit(iface, response, request, error);
}

static gboolean fail(DemoDemoIf *iface, DemoResponse **response, const DemoRequest *request,
                     DemoSorry **sorry, GError **error)
{
    /* Without a GError: that one stands for what is not declared. */
    *sorry = g_object_new(DEMO_TYPE_SORRY, "why", request->text, NULL);
    return FALSE;
}

static gboolean code(DemoDemoIf *iface, DemoResponse **response, const DemoRequest *request,
                     GError **error)
{
    DemoBaseResp *base_resp = g_object_new(DEMO_TYPE_BASE_RESP, "StatusMessage", request->text,
                                           "StatusCode", request->number, NULL);
    g_object_set(*response, "server", server_name, "baseResp", base_resp, NULL);
    g_object_unref(base_resp);
    return TRUE;
}

static gboolean touch(DemoDemoIf *iface, const DemoRequest *request, GError **error)
{
    return TRUE;
}

static void visit_handler_class_init(VisitHandlerClass *klass)
{
    DemoDemoHandlerClass *methods = DEMO_DEMO_HANDLER_CLASS(klass);
    methods->visit = visit;
    methods->sleep = nap;
    methods->fail = fail;
    methods->code = code;
    methods->touch = touch;
    methods->tell = touch;
}

static void visit_handler_init(VisitHandler *self)
{
}

/* ---- a connection a thread ------------------------------------------------------------------- */

static gpointer serve(gpointer data)
{
    ThriftTransport *accepted = data;
    GType type = is_buffered ? THRIFT_TYPE_BUFFERED_TRANSPORT : THRIFT_TYPE_FRAMED_TRANSPORT;
    ThriftTransport *transport = g_object_new(type, "transport", accepted, NULL);
    ThriftProtocol *protocol =
        g_object_new(THRIFT_TYPE_BINARY_PROTOCOL, "transport", transport, NULL);
    VisitHandler *handler = g_object_new(visit_handler_get_type(), NULL);
    ThriftProcessor *processor = g_object_new(DEMO_TYPE_DEMO_PROCESSOR, "handler", handler, NULL);

    GError *error = NULL;
    while (thrift_processor_process(processor, protocol, protocol, &error)) {
        g_clear_error(&error);
    }
    g_clear_error(&error);

    thrift_transport_close(transport, NULL);
    g_object_unref(processor);
    g_object_unref(handler);
    g_object_unref(protocol);
    g_object_unref(transport);
    g_object_unref(accepted);
    return NULL;
}

static gpointer wait_for_end(gpointer data)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 2 && (argc != 3 || strcmp(argv[2], "buffered") != 0)) {
        fprintf(stderr, "usage: demo_server NAME [buffered]\n");
        return 64;
    }
    server_name = argv[1];
    is_buffered = argc == 3;

    GError *error = NULL;
    ThriftServerTransport *listener = g_object_new(THRIFT_TYPE_SERVER_SOCKET, "port", 0, NULL);
    if (!thrift_server_transport_listen(listener, &error)) {
        fprintf(stderr, "demo_server: %s\n", error->message);
        return 69;
    }
    struct sockaddr_in bound;
    socklen_t len = sizeof(bound);
    if (getsockname(THRIFT_SERVER_SOCKET(listener)->sd, (struct sockaddr *)&bound, &len) != 0) {
        perror("demo_server: getsockname");
        return 69;
    }
    printf("127.0.0.1:%u\n", ntohs(bound.sin_port));
    fflush(stdout);

    g_thread_unref(g_thread_new("stdin", wait_for_end, NULL));
    for (;;) {
        ThriftTransport *accepted = thrift_server_transport_accept(listener, &error);
        if (accepted == NULL) {
            fprintf(stderr, "demo_server: %s\n", error->message);
            return 69;
        }
        g_thread_unref(g_thread_new("call", serve, accepted));
    }
}
