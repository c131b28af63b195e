/*
 * sidecar/server/rules.c: see rules.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server/rules.h"

#include "sidecar/base/random_seed.h"
#include "sidecar/shared/endpoint_state.h"

/* ---- snapshots ----------------------------------------------------------------------------- */

static void offer(struct rules *rules)
{
    const struct disc_snapshot *newest = snapshots_newest(&rules->snapshots);
    if (newest && rules->ready) {
        rules->options.offer(rules->options.owner, newest);
    }
}

static void on_publish(void *owner, struct disc_snapshot *snapshot)
{
    struct rules *rules = owner;
    snapshots_add(&rules->snapshots, snapshot);
    offer(rules);
}

static void be_ready(struct rules *rules)
{
    if (!rules->ready) {
        rules->ready = true;
        (void)uv_timer_stop(&rules->wait); /* always 0 */
        offer(rules);
    }
}

const struct disc_snapshot *rules_in_force(const struct rules *rules, uint64_t seen)
{
    bool known = !rules->etcd || rules->etcd_came || rules->file;
    return known ? snapshots_in_force(&rules->snapshots, seen) : NULL;
}

void rules_reclaim(struct rules *rules, uint64_t seen)
{
    snapshots_reclaim(&rules->snapshots, seen);
    disc_store_reap(rules->store);
}

/* ---- building ------------------------------------------------------------------------------ */

static void on_build(uv_idle_t *handle);

/* One slice; the rest in the next turns, between other events. */
static void build(struct rules *rules)
{
    if (!disc_store_build(rules->store, RULES_BUILD_SLICE_US)) {
        (void)uv_idle_start(&rules->build, on_build); /* always 0 */
        return;
    }
    (void)uv_idle_stop(&rules->build); /* always 0 */
    if (!rules->etcd || rules->etcd_came) {
        be_ready(rules);
    }
}

static void on_build(uv_idle_t *handle)
{
    build(handle->data);
}

/* Where no source has anything: an empty snapshot, so that calls are answered and not left
 * waiting. */
static void build_at_least_nothing(struct rules *rules)
{
    if (!snapshots_newest(&rules->snapshots)) {
        disc_store_begin(rules->store, DISC_LAYER_FILE, false);
        disc_store_commit(rules->store, DISC_LAYER_FILE, 0, DISC_ORIGIN_NONE,
                          uv_now(rules->options.loop));
    }
    build(rules);
}

static void on_wait_over(uv_timer_t *handle)
{
    struct rules *rules = handle->data;
    build_at_least_nothing(rules);
    log_printf(rules->options.log, LOG_WARN, "server", "no_rules",
               "neither etcd nor the state directory gave rules: serving without");
    be_ready(rules);
}

/* ---- the store ----------------------------------------------------------------------------- */

static void *attach_endpoint(void *owner, const char *key, const struct disc_endpoint *endpoint)
{
    struct rules *rules = owner;
    (void)key;
    struct endpoint_state *state = endpoint_state_new(
        endpoint->address, endpoint->host, endpoint->port, rules->options.bootstrap->workers);
    if (state) {
        const struct disc_snapshot *before = snapshots_newest(&rules->snapshots);
        state->born_ms = uv_now(rules->options.loop);
        state->born_in = before ? disc_snapshot_generation(before) : 0;
    }
    return state;
}

static void detach_endpoint(void *owner, void *state)
{
    (void)owner;
    atomic_store(&((struct endpoint_state *)state)->gone, true);
    endpoint_state_unref(state);
}

static void on_rejected(void *owner, const struct disc_rejection *rejection)
{
    struct rules *rules = owner;
    struct log_line line;
    if (log_begin(rules->options.log, &line, LOG_WARN, "discovery", "key_rejected",
                  rejection->in_force ? "a value was refused, the last good one stays in force"
                                      : "a value was refused, the key counts as absent")) {
        log_str(&line, "key", rejection->key);
        log_str(&line, "field", rejection->field);
        log_str(&line, "reason", rejection->reason);
        log_int(&line, "mod_revision", rejection->mod_revision);
        log_end(rules->options.log, &line);
    }
}

static void on_loopback(void *owner, const char *key)
{
    struct rules *rules = owner;
    struct log_line line;
    if (rules->loopback_logged > RULES_LOOPBACK_LOGGED) {
        return;
    }
    bool is_last = rules->loopback_logged++ == RULES_LOOPBACK_LOGGED;
    if (log_begin(rules->options.log, &line, LOG_WARN, "discovery", "loopback_endpoint",
                  is_last
                      ? "more endpoints in etcd have loopback addresses: no further one is logged"
                      : "an endpoint in etcd has a loopback address: each host would call "
                        "itself")) {
        log_str(&line, "key", key);
        log_end(rules->options.log, &line);
    }
}

bool rules_init(struct rules *rules, const struct rules_options *options)
{
    const struct bootstrap *bootstrap = options->bootstrap;
    rules->options = *options;
    (void)uv_idle_init(options->loop, &rules->build); /* always 0, likewise below */
    (void)uv_timer_init(options->loop, &rules->wait);
    rules->build.data = rules;
    rules->wait.data = rules;
    const struct disc_store_options store = {
        .prefix = {bootstrap->etcd.rules_prefix, bootstrap->etcd.services_prefix},
        .templates = options->templates,
        .endpoint_attach = attach_endpoint,
        .endpoint_detach = detach_endpoint,
        .rejected = on_rejected,
        .loopback = on_loopback,
        .publish = on_publish,
        .owner = rules,
        .hash_seed = random_seed(),
    };
    rules->store = disc_store_new(&store);
    return rules->store != NULL;
}

/* ---- sources ------------------------------------------------------------------------------- */

static void on_file_commit(void *owner)
{
    build(owner);
}

static void on_file_error(void *owner, const char *message)
{
    struct rules *rules = owner;
    log_printf(rules->options.log, LOG_ERROR, "rules_file", "rules_file_rejected", "%s", message);
}

static uint64_t store_clock_ms(void *owner)
{
    return uv_now(((struct rules *)owner)->options.loop);
}

static bool start_file(struct rules *rules)
{
    const char *path = rules->options.bootstrap->rules_file;
    const struct file_source_options options = {.on_commit = on_file_commit,
                                                .on_error = on_file_error,
                                                .store_clock_ms = store_clock_ms,
                                                .owner = rules};
    if (!path) {
        return true;
    }
    rules->file = file_source_new(rules->options.loop, path, rules->store, &options);
    if (!rules->file) {
        return false;
    }
    /* A file that is bad now was reported; it is watched, and until it is good there is no rule. */
    (void)file_source_load_now(rules->file);
    return true;
}

static void on_etcd_commit(void *owner)
{
    struct rules *rules = owner;
    rules->etcd_came = true;
    build(rules);
}

static void on_etcd_note(void *owner, bool is_bad, const char *text)
{
    struct rules *rules = owner;
    log_printf(rules->options.log, is_bad ? LOG_WARN : LOG_INFO, "etcd",
               is_bad ? "etcd_trouble" : "etcd", "%s", text);
}

static bool make_etcd(struct rules *rules)
{
    const struct bootstrap *bootstrap = rules->options.bootstrap;
    if (bootstrap->etcd.endpoints_len == 0) {
        return true;
    }
    const struct etcd_io_options options = {
        .loop = rules->options.loop,
        .store = rules->store,
        .endpoints = (const char *const *)bootstrap->etcd.endpoints,
        .endpoints_n = (uint32_t)bootstrap->etcd.endpoints_len,
        .prefix = {bootstrap->etcd.rules_prefix, bootstrap->etcd.services_prefix},
        .state_dir = bootstrap->state_dir,
        .seed = random_seed(),
        .on_commit = on_etcd_commit,
        .note = on_etcd_note,
        .owner = rules,
    };
    rules->etcd = etcd_io_new(&options);
    return rules->etcd != NULL;
}

bool rules_start(struct rules *rules)
{
    /* etcd first: while it is configured, the file's rules alone are not the whole truth. */
    if (!make_etcd(rules) || !start_file(rules)) {
        return false;
    }
    if (!rules->etcd) {
        build_at_least_nothing(rules);
        return true;
    }
    (void)uv_timer_start(&rules->wait, on_wait_over, RULES_WAIT_MS, 0);
    etcd_io_start(rules->etcd);
    return true;
}

/* ---- the end ------------------------------------------------------------------------------- */

void rules_close(struct rules *rules)
{
    if (rules->file) {
        file_source_close(rules->file, NULL); /* the loop ends with the last handle */
    }
    if (rules->etcd) {
        etcd_io_close(rules->etcd, NULL, NULL);
    }
    uv_close((uv_handle_t *)&rules->build, NULL);
    uv_close((uv_handle_t *)&rules->wait, NULL);
}

void rules_free(struct rules *rules)
{
    snapshots_free_all(&rules->snapshots);
    disc_store_free(rules->store);
}
