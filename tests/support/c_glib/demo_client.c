/*
 * demo_client.c: a caller as C applications write them, on libthrift_c_glib's generated client.
 *
 *     demo_client HOST:PORT [method=Visit] [caller=app.feed] [to=example.service] [text=hello]
 *                 [number=0] [count=1] [cluster=...]
 *
 * Makes `count` calls on one connection and prints a line for each:
 *     reply SERVER TEXT | sorry WHY | exception TYPE MESSAGE | void | code N
 * Exit code 0 where every call was answered, by a reply or by an exception.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "demo_demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <thrift/c_glib/protocol/thrift_binary_protocol.h>
#include <thrift/c_glib/thrift_application_exception.h>
#include <thrift/c_glib/transport/thrift_buffered_transport.h>
#include <thrift/c_glib/transport/thrift_framed_transport.h>
#include <thrift/c_glib/transport/thrift_socket.h>

struct options {
    const char *method, *caller, *to, *cluster, *text, *transport;
    int number, count;
};

static int option_read(struct options *options, const char *arg)
{
    const char *value = strchr(arg, '=');
    if (value == NULL) {
        return -1;
    }
    size_t len = (size_t)(value++ - arg);
    const struct {
        const char *name;
        const char **text;
        int *number;
    } known[] = {
        {"method", &options->method, NULL}, {"caller", &options->caller, NULL},
        {"to", &options->to, NULL},         {"cluster", &options->cluster, NULL},
        {"text", &options->text, NULL},     {"number", NULL, &options->number},
        {"count", NULL, &options->count},   {"transport", &options->transport, NULL},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strlen(known[i].name) != len || memcmp(known[i].name, arg, len) != 0) {
            continue;
        }
        if (known[i].text != NULL) {
            *known[i].text = value;
        } else {
            *known[i].number = atoi(value);
        }
        return 0;
    }
    return -1;
}

/* Base says who calls whom: the caller's own name, and in Extra the callee's. */
static DemoRequest *request_new(const struct options *options)
{
    GHashTable *extra = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_insert(extra, g_strdup("dest_service"), g_strdup(options->to));
    if (options->cluster != NULL) {
        g_hash_table_insert(extra, g_strdup("dest_cluster"), g_strdup(options->cluster));
    }
    DemoBase *base = g_object_new(DEMO_TYPE_BASE, "LogID", "log-c", "Caller", options->caller,
                                  "Extra", extra, NULL);
    g_hash_table_unref(extra);
    DemoRequest *request = g_object_new(DEMO_TYPE_REQUEST, "text", options->text, "number",
                                        options->number, "base", base, NULL);
    g_object_unref(base);
    return request;
}

/* One call. False where the connection is of no use any more. */
static gboolean call(DemoDemoIf *client, const struct options *options, const DemoRequest *request)
{
    const char *method = options->method;
    DemoResponse *response = g_object_new(DEMO_TYPE_RESPONSE, NULL);
    DemoSorry *sorry = NULL;
    GError *error = NULL;
    gboolean ok;

    if (strcmp(method, "Touch") == 0) {
        ok = demo_demo_if_touch(client, request, &error);
    } else if (strcmp(method, "Tell") == 0) {
        ok = demo_demo_if_tell(client, request, &error);
    } else if (strcmp(method, "Fail") == 0) {
        ok = demo_demo_if_fail(client, &response, request, &sorry, &error);
    } else if (strcmp(method, "Raise") == 0) {
        ok = demo_demo_if_raise(client, &response, request, &error);
    } else if (strcmp(method, "Code") == 0) {
        ok = demo_demo_if_code(client, &response, request, &error);
    } else if (strcmp(method, "Sleep") == 0) {
        ok = demo_demo_if_sleep(client, &response, request, &error);
    } else {
        ok = demo_demo_if_visit(client, &response, request, &error);
    }

    gboolean usable = TRUE;
    if (sorry != NULL) {
        printf("sorry %s\n", sorry->why);
        g_object_unref(sorry);
    } else if (!ok && error != NULL && error->domain == THRIFT_APPLICATION_EXCEPTION_ERROR) {
        printf("exception %d %s\n", error->code, error->message);
    } else if (!ok) {
        fprintf(stderr, "demo_client: %s\n", error != NULL ? error->message : "failed");
        usable = FALSE;
    } else if (response != NULL && response->baseResp != NULL && response->__isset_baseResp) {
        printf("code %d\n", response->baseResp->StatusCode);
    } else if (response != NULL && response->__isset_server) {
        printf("reply %s %s\n", response->server, response->text);
    } else {
        printf("void\n");
    }
    fflush(stdout);
    g_clear_error(&error);
    if (response != NULL) {
        g_object_unref(response);
    }
    return usable;
}

int main(int argc, char **argv)
{
    struct options options = {"Visit", "app.feed", "example.service", NULL, "hello", "framed",
                              0,       1};
    char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;
    for (int i = 2; i < argc; i++) {
        if (option_read(&options, argv[i]) != 0) {
            colon = NULL;
        }
    }
    if (colon == NULL) {
        fprintf(stderr, "usage: demo_client HOST:PORT [method=] [caller=] [to=] [cluster=] [text=] "
                        "[number=] [count=] [transport=framed|buffered]\n");
        return 64;
    }
    *colon = '\0';

    GError *error = NULL;
    ThriftSocket *socket =
        g_object_new(THRIFT_TYPE_SOCKET, "hostname", argv[1], "port", atoi(colon + 1), NULL);
    GType type = strcmp(options.transport, "buffered") == 0 ? THRIFT_TYPE_BUFFERED_TRANSPORT
                                                            : THRIFT_TYPE_FRAMED_TRANSPORT;
    ThriftTransport *transport = g_object_new(type, "transport", socket, NULL);
    ThriftProtocol *protocol =
        g_object_new(THRIFT_TYPE_BINARY_PROTOCOL, "transport", transport, NULL);
    if (!thrift_transport_open(transport, &error)) {
        fprintf(stderr, "demo_client: %s\n", error->message);
        return 69;
    }
    DemoDemoIf *client = g_object_new(DEMO_TYPE_DEMO_CLIENT, "input_protocol", protocol,
                                      "output_protocol", protocol, NULL);
    DemoRequest *request = request_new(&options);

    int status = 0;
    for (int i = 0; i < options.count && status == 0; i++) {
        status = call(client, &options, request) ? 0 : 1;
    }

    thrift_transport_close(transport, NULL);
    g_object_unref(request);
    g_object_unref(client);
    g_object_unref(protocol);
    g_object_unref(transport);
    g_object_unref(socket);
    return status;
}
