/*
 * discovery/store/store_check.c: judges a key and a value as store_apply.c does, and takes neither.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/store/store_internal.h"

#include <stdio.h>
#include <string.h>

static bool is_ours(enum disc_key_verdict verdict, const char *shape, struct disc_error *error)
{
    if (verdict == DISC_KEY_FOREIGN) {
        *error = (struct disc_error){"", ""};
        (void)snprintf(error->reason, sizeof error->reason, "must be %s", shape);
    }
    return verdict == DISC_KEY_OURS;
}

static enum disc_check check_rule(const struct disc_store *store, const char *key, size_t key_len,
                                  const char *text, struct disc_error *error)
{
    struct disc_rule_key parsed;
    if (!is_ours(disc_rule_key_parse(key, key_len, &parsed, error),
                 "From/FromCluster/To/ToCluster/Method/{traffic|degrade|config}", error)) {
        return DISC_CHECK_BAD_KEY;
    }
    if (text == NULL) {
        return DISC_CHECK_GOOD;
    }
    struct disc_rule *rule =
        disc_rule_parse(parsed.kind, key, text, strlen(text), 0, store->options.templates, error);
    enum disc_check check = rule != NULL ? DISC_CHECK_GOOD : DISC_CHECK_BAD_VALUE;
    (void)disc_rule_unref(rule); /* NULL */
    return check;
}

static enum disc_check check_service(const char *key, size_t key_len, const char *text,
                                     struct disc_error *error)
{
    struct disc_service_key parsed;
    struct service_value value;
    if (!is_ours(disc_service_key_parse(key, key_len, &parsed, error), "Service/Cluster/host:port",
                 error)) {
        return DISC_CHECK_BAD_KEY;
    }
    bool good = text == NULL || service_value_parse(text, strlen(text), &value, error);
    return good ? DISC_CHECK_GOOD : DISC_CHECK_BAD_VALUE;
}

enum disc_check disc_store_check(const struct disc_store *store, enum disc_space space,
                                 const char *key, size_t key_len, const char *text,
                                 struct disc_error *ret_error)
{
    return space == DISC_SPACE_RULES ? check_rule(store, key, key_len, text, ret_error)
                                     : check_service(key, key_len, text, ret_error);
}
