/*
 * discovery/etcd/etcd_io.c: see discovery/etcd/etcd_io.h.
 *
 *     http_client -> etcd_transport --events--> etcd_fsm --actions--> etcd_transport
 *                                                        \---------> etcd_apply -> store
 *                                                                    state_saver -> disk
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_io.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>

#include "discovery/base/memory.h"
#include "discovery/base/unix_clock.h"
#include "discovery/etcd/etcd_apply.h"
#include "discovery/etcd/etcd_names.h"
#include "discovery/etcd/etcd_transport.h"
#include "discovery/state/state_saver.h"

#define HELD_LOOK_MS 1000
#define NAMES_WAIT_MS                                                                              \
    2000 /* for the first answers; then names are left to libcurl until they come */

struct etcd_io {
    struct etcd_io_options options;
    char *prefix[DISC_SPACES];
    char *state_dir;
    struct etcd_names *names;
    struct etcd_endpoints *endpoints;     /* of names */
    uint32_t numbers[ETCD_ENDPOINTS_MAX]; /* the endpoints that the machine has */
    uint32_t numbers_n;

    struct etcd_ranges ranges;
    struct etcd_fsm *fsm;
    struct http_client *http;
    struct etcd_transport *transport;
    struct etcd_apply apply;
    struct state_saver *saver; /* NULL: nothing on disk */
    uv_timer_t timer;
    uv_timer_t held_timer;      /* runs while something is held */
    uint64_t held[DISC_SPACES]; /* at its last look */
    uint64_t held_release_ms;

    bool started;
    bool begun; /* the machine has; before, names are looked up */
    bool closing;
    uint64_t event_ms; /* the last change; 0: none yet */
    bool loaded;
    struct state_meta loaded_meta;

    uint32_t closing_parts;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void note(const struct etcd_io *io, bool is_bad, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void note(const struct etcd_io *io, bool is_bad, const char *format, ...)
{
    char text[512];
    va_list args;
    if (io->options.note == NULL) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    io->options.note(io->options.owner, is_bad, text);
}

/* ---- endpoints ---------------------------------------------------------------------------- */

static uint64_t known_cluster(const struct etcd_io *io)
{
    struct state_resume resume;
    etcd_fsm_resume(io->fsm, &resume);
    return resume.cluster_id;
}

static void endpoint_answered(struct etcd_io *io, uint32_t endpoint,
                              const struct etcd_header *header)
{
    io->endpoints->endpoint[endpoint].cluster_id = header->cluster_id;
    if (!etcd_fsm_is_stranger(io->fsm, header->cluster_id)) {
        etcd_names_ok(io->names, endpoint);
        return;
    }
    char text[160];
    snprintf(text, sizeof text,
             "answers for cluster %" PRIx64 ", the known one is %" PRIx64 ": passed over",
             header->cluster_id, known_cluster(io));
    etcd_names_failed(io->names, endpoint, text);
}

static void judge_endpoint(struct etcd_io *io, uint32_t endpoint, const struct etcd_input *input)
{
    switch (input->event) {
    case ETCD_EVENT_RANGE_OK:
        endpoint_answered(io, endpoint, &input->range->header);
        break;
    case ETCD_EVENT_CREATED:
        endpoint_answered(io, endpoint, &input->watch->header);
        break;
    case ETCD_EVENT_RANGE_FAILED:
    case ETCD_EVENT_ENDED:
    case ETCD_EVENT_BAD_MESSAGE:
        etcd_names_failed(io->names, endpoint, input->error->text);
        break;
    case ETCD_EVENT_CANCELED:
        if (input->watch->compact_revision == 0) { /* else nothing is wrong with it */
            etcd_names_failed(io->names, endpoint,
                              input->watch->cancel_reason[0] != '\0' ? input->watch->cancel_reason
                                                                     : "watch canceled");
        }
        break;
    default: /* RANGE_TOO_LARGE: our limit, the next page is shorter */
        break;
    }
}

/* ---- what is held ------------------------------------------------------------------------- */

static void to_be_saved(struct etcd_io *io, bool only_revision)
{
    struct state_resume resume;
    if (io->saver != NULL) {
        etcd_fsm_resume(io->fsm, &resume);
        state_saver_changed(io->saver, &resume, only_revision);
    }
}

static void on_held_timer(uv_timer_t *timer);

/* From now on, until nothing is held. What is held shows when it is built, a moment later. */
static void watch_held(struct etcd_io *io)
{
    uv_timer_start(&io->held_timer, on_held_timer, HELD_LOOK_MS, HELD_LOOK_MS);
}

static void note_held(struct etcd_io *io, const uint64_t now[DISC_SPACES])
{
    uint64_t rules = now[DISC_SPACE_RULES];
    uint64_t services = now[DISC_SPACE_SERVICES];
    if (rules > io->held[DISC_SPACE_RULES] || services > io->held[DISC_SPACE_SERVICES]) {
        note(io, true,
             "etcd lost %" PRIu64 " rules and %" PRIu64
             " endpoints without a delete: they stay in force",
             rules, services);
    } else if (rules + services == 0 &&
               io->held[DISC_SPACE_RULES] + io->held[DISC_SPACE_SERVICES] > 0) {
        note(io, false, "etcd: nothing is held any more that it has not");
    }
    memcpy(io->held, now, sizeof io->held);
}

static void on_held_timer(uv_timer_t *timer)
{
    struct etcd_io *io = timer->data;
    struct disc_store_stats stats;
    /* While etcd is away it is unknown what has come back. */
    bool may_release = etcd_fsm_is_watching(io->fsm);
    if (may_release && disc_store_release_returned(io->options.store, uv_now(io->options.loop),
                                                   io->held_release_ms) > 0) {
        to_be_saved(io, false);
        io->options.on_commit(io->options.owner);
    }
    disc_store_stats(io->options.store, &stats);
    note_held(io, stats.held);
    if (stats.held[DISC_SPACE_RULES] + stats.held[DISC_SPACE_SERVICES] == 0 &&
        disc_store_is_built(io->options.store)) {
        uv_timer_stop(timer);
    }
}

bool etcd_io_release(struct etcd_io *io, const char *whole_key)
{
    if (io->closing || !disc_store_release(io->options.store, whole_key)) {
        return false;
    }
    to_be_saved(io, false);
    io->options.on_commit(io->options.owner);
    return true;
}

/* ---- the machine -------------------------------------------------------------------------- */

static void committed(struct etcd_io *io, bool only_revision)
{
    if (!only_revision) {
        io->event_ms = uv_now(io->options.loop);
    }
    to_be_saved(io, only_revision);
    io->options.on_commit(io->options.owner);
}

static void commit_list(struct etcd_io *io, const struct etcd_action *action)
{
    etcd_apply_list_commit(&io->apply, action->revision[0], action->hold, uv_now(io->options.loop));
    committed(io, false);
    watch_held(io);
}

static void apply_changes(struct etcd_io *io, const struct etcd_action *action,
                          const struct etcd_kvs *events)
{
    uint64_t now_ms = uv_now(io->options.loop);
    etcd_apply_changes(&io->apply, action->watch, events, action->revision[0], action->revision[1],
                       etcd_fsm_revision(io->fsm), now_ms, unix_ms());
    committed(io, false);
}

static void carry_out(struct etcd_io *io, const struct etcd_action *action,
                      const struct etcd_input *input)
{
    switch (action->what) {
    case ETCD_DO_RANGE:
        etcd_transport_range(io->transport, action->endpoint, &action->query, action->deadline_ms);
        break;
    case ETCD_DO_CANCEL_RANGE:
        etcd_transport_cancel_range(io->transport);
        break;
    case ETCD_DO_WATCH:
        etcd_transport_watch(io->transport, action->endpoint, io->ranges.watch, action->revision,
                             io->ranges.watches);
        break;
    case ETCD_DO_CANCEL_WATCH:
        etcd_transport_cancel_watch(io->transport);
        break;
    case ETCD_DO_LIST_RESET:
        etcd_apply_list_reset(&io->apply);
        break;
    case ETCD_DO_LIST_PAGE:
        etcd_apply_list_page(&io->apply, &input->range->kvs, unix_ms());
        break;
    case ETCD_DO_LIST_COMMIT:
        commit_list(io, action);
        break;
    case ETCD_DO_CHANGES:
        apply_changes(io, action, &input->watch->events);
        break;
    case ETCD_DO_CHANGES_DROP:
        etcd_apply_changes_drop(&io->apply);
        break;
    case ETCD_DO_REVISION:
        etcd_apply_revision(&io->apply, etcd_fsm_revision(io->fsm), uv_now(io->options.loop));
        committed(io, true);
        break;
    }
}

static void on_timer(uv_timer_t *timer);

static void arm(struct etcd_io *io)
{
    uint64_t due_ms = etcd_fsm_timer_ms(io->fsm);
    uint64_t now_ms = uv_now(io->options.loop);
    if (due_ms == UINT64_MAX) {
        uv_timer_stop(&io->timer);
    } else {
        uv_timer_start(&io->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    }
}

static void note_moves(const struct etcd_io *io, bool was_watching,
                       const struct etcd_fsm_stats *before)
{
    const struct etcd_fsm_stats *now = etcd_fsm_stats(io->fsm);
    if (now->cluster_changes != before->cluster_changes) {
        note(io, true,
             "etcd: no address had the known cluster any more: cluster %" PRIx64 " is followed now",
             known_cluster(io));
    }
    for (int i = 0; i < ETCD_RELIST_MAX; i++) {
        if (now->relists[i] != before->relists[i]) {
            note(io, i != ETCD_RELIST_START && i != ETCD_RELIST_HOURLY,
                 "etcd: lists everything, because: %s", etcd_relist_str((enum etcd_relist)i));
        }
    }
    if (!was_watching && etcd_fsm_is_watching(io->fsm)) {
        note(io, false, "etcd: watches at revision %" PRId64, etcd_fsm_revision(io->fsm));
    }
}

static void step(struct etcd_io *io, struct etcd_input *input)
{
    const struct etcd_action *actions;
    const struct etcd_fsm_stats before = *etcd_fsm_stats(io->fsm);
    bool was_watching = etcd_fsm_is_watching(io->fsm);
    enum etcd_state state = etcd_fsm_state(io->fsm);
    uint32_t endpoint = etcd_fsm_endpoint(io->fsm);
    input->now_ms = uv_now(io->options.loop);
    uint32_t n = etcd_fsm_step(io->fsm, input, &actions);
    if (input->event == ETCD_EVENT_TIMER && state == ETCD_STATE_OPEN && n > 0) {
        etcd_names_failed(io->names, endpoint, "timeout: the watch was not created in time");
    }
    note_moves(io, was_watching, &before);
    for (uint32_t i = 0; i < n; i++) {
        carry_out(io, &actions[i], input);
    }
    arm(io);
}

/* Endpoints come with lookups; those go that failed and that no name has any more. */
static void update_endpoints(struct etcd_io *io)
{
    uint32_t numbers[ETCD_ENDPOINTS_MAX];
    etcd_endpoints_prune(io->endpoints);
    uint32_t n = etcd_endpoints_numbers(io->endpoints, numbers);
    if (n == io->numbers_n && memcmp(numbers, io->numbers, n * sizeof numbers[0]) == 0) {
        return;
    }
    memcpy(io->numbers, numbers, sizeof numbers);
    io->numbers_n = n;
    struct etcd_input input = {
        .event = ETCD_EVENT_ENDPOINTS, .endpoints = io->numbers, .endpoints_n = n};
    step(io, &input);
}

static void on_timer(uv_timer_t *timer)
{
    struct etcd_input input = {.event = ETCD_EVENT_TIMER};
    step(timer->data, &input);
    update_endpoints(timer->data);
}

static void on_event(void *arg, uint32_t endpoint, const struct etcd_input *input)
{
    struct etcd_io *io = arg;
    struct etcd_input copy = *input;
    judge_endpoint(io, endpoint, input);
    step(io, &copy);
    update_endpoints(io);
}

static void begin(struct etcd_io *io)
{
    struct etcd_input input = {.event = ETCD_EVENT_START};
    io->begun = true;
    update_endpoints(io);
    step(io, &input);
}

static void on_names_late(uv_timer_t *timer)
{
    begin(timer->data);
}

static void on_names_answered(void *arg)
{
    struct etcd_io *io = arg;
    if (io->begun) {
        update_endpoints(io);
    } else if (!etcd_names_is_pending(io->names)) {
        begin(io);
    }
}

/* ---- state on disk ------------------------------------------------------------------------ */

static void on_loaded_key(void *arg, const struct disc_raw *raw)
{
    struct etcd_io *io = arg;
    etcd_apply_put_raw(&io->apply, raw, unix_ms());
}

static void on_load_trouble(void *arg, const char *path, const char *text)
{
    note(arg, true, "state %s: %s", path, text);
}

static void load_state(struct etcd_io *io)
{
    disc_store_begin(io->options.store, DISC_LAYER_ETCD, true);
    io->loaded = state_file_load(io->state_dir, io->options.prefix, on_loaded_key, on_load_trouble,
                                 io, &io->loaded_meta);
    if (!io->loaded) {
        return; /* what begins next forgets this begin */
    }
    const struct state_meta *meta = &io->loaded_meta;
    etcd_fsm_restore(io->fsm, &meta->resume);
    disc_store_commit(io->options.store, DISC_LAYER_ETCD, etcd_fsm_revision(io->fsm),
                      DISC_ORIGIN_DISK, uv_now(io->options.loop));
    note(io, false, "state: %" PRIu64 " keys of revision %" PRId64, meta->keys,
         etcd_fsm_revision(io->fsm));
    io->options.on_commit(io->options.owner);
    watch_held(io);
}

static void on_saved(void *owner, int status)
{
    const struct etcd_io *io = owner;
    if (status != 0) {
        note(io, true, "state %s: not saved: %s", io->state_dir, uv_strerror(status));
    }
}

/* ---- life --------------------------------------------------------------------------------- */

static void copy_strings(struct etcd_io *io, const struct etcd_io_options *options)
{
    for (int s = 0; s < DISC_SPACES; s++) {
        io->prefix[s] = memory_text(options->prefix[s], etcd_prefix_len(options->prefix[s]));
        io->options.prefix[s] = io->prefix[s];
    }
    if (options->state_dir != NULL) {
        io->state_dir = memory_text(options->state_dir, strlen(options->state_dir));
    }
    io->options.endpoints = NULL;
    io->options.timing = NULL;
    io->options.state_dir = NULL;
}

static void make_parts(struct etcd_io *io, const struct etcd_io_options *options)
{
    const struct etcd_fsm_options fsm_options = {
        .endpoints = options->endpoints_n,
        .seed = options->seed,
        .ranges = &io->ranges,
        .timing = options->timing != NULL ? *options->timing : etcd_timing_default,
        .page_limit = options->page_limit,
    };
    const struct etcd_transport_options transport_options = {
        .http = io->http,
        .endpoints = io->endpoints,
        .event = on_event,
        .arg = io,
    };
    io->numbers_n = etcd_endpoints_numbers(io->endpoints, io->numbers);
    etcd_ranges_init(&io->ranges, io->options.prefix);
    io->fsm = etcd_fsm_new(&fsm_options);
    io->transport = etcd_transport_new(&transport_options);
    etcd_apply_init(&io->apply, options->store, &io->ranges);
    if (io->state_dir != NULL) {
        const struct state_saver_options saver_options = {
            .loop = options->loop,
            .store = options->store,
            .dir = io->state_dir,
            .prefix = io->options.prefix,
            .period_ms =
                options->state_period_ms > 0 ? options->state_period_ms : ETCD_STATE_PERIOD_MS,
            .saved = on_saved,
            .owner = io,
        };
        io->saver = state_saver_new(&saver_options);
    }
}

struct etcd_io *etcd_io_new(const struct etcd_io_options *options)
{
    assert(options->endpoints_n > 0 && options->endpoints_n <= ETCD_ENDPOINTS_MAX);
    struct etcd_io *io = memory_zalloc(sizeof *io);
    const struct etcd_names_options names = {
        .loop = options->loop,
        .urls = options->endpoints,
        .urls_n = options->endpoints_n,
        .lookup = options->lookup,
        .answered = on_names_answered,
        .arg = io,
        .note = options->note,
        .owner = options->owner,
    };
    io->http = http_client_new(options->loop);
    io->names = io->http != NULL ? etcd_names_new(&names) : NULL;
    if (io->names == NULL) {
        if (io->http != NULL) {
            http_client_close(io->http, NULL, NULL);
        }
        free(io);
        return NULL;
    }
    io->options = *options;
    io->endpoints = etcd_names_endpoints(io->names);
    io->held_release_ms =
        options->held_release_ms > 0 ? options->held_release_ms : ETCD_HELD_RELEASE_MS;
    copy_strings(io, options);
    make_parts(io, options);
    (void)uv_timer_init(options->loop, &io->timer); /* always 0 */
    (void)uv_timer_init(options->loop, &io->held_timer);
    io->timer.data = io->held_timer.data = io;
    return io;
}

void etcd_io_start(struct etcd_io *io)
{
    assert(!io->started && !io->closing);
    io->started = true;
    if (io->state_dir != NULL) {
        load_state(io);
    }
    etcd_names_start(io->names);
    if (etcd_names_is_pending(io->names)) {
        uv_timer_start(&io->timer, on_names_late, NAMES_WAIT_MS, 0);
    } else {
        begin(io);
    }
}

static void part_closed(void *arg)
{
    struct etcd_io *io = arg;
    if (--io->closing_parts > 0) {
        return;
    }
    void (*closed)(void *) = io->closed;
    void *closed_arg = io->closed_arg;
    io->fsm = etcd_fsm_free(io->fsm);
    etcd_apply_done(&io->apply);
    etcd_ranges_done(&io->ranges);
    for (int s = 0; s < DISC_SPACES; s++) {
        free(io->prefix[s]);
    }
    free(io->state_dir);
    free(io);
    if (closed != NULL) {
        closed(closed_arg);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

void etcd_io_close(struct etcd_io *io, void (*closed)(void *arg), void *arg)
{
    struct etcd_input input = {.event = ETCD_EVENT_STOP};
    assert(!io->closing);
    step(io, &input);
    io->closing = true;
    io->closed = closed;
    io->closed_arg = arg;
    io->closing_parts = io->saver != NULL ? 5 : 4;
    io->transport = etcd_transport_free(io->transport);
    uv_close((uv_handle_t *)&io->timer, on_timer_closed);
    uv_close((uv_handle_t *)&io->held_timer, on_timer_closed);
    http_client_close(io->http, part_closed, io);
    etcd_names_close(io->names, part_closed, io);
    if (io->saver != NULL) {
        state_saver_close(io->saver, part_closed, io);
    }
}

void etcd_io_stats(const struct etcd_io *io, struct etcd_io_stats *ret)
{
    uint64_t now_ms = uv_now(io->options.loop);
    uint64_t synced_ms = etcd_fsm_synced_ms(io->fsm);
    *ret = (struct etcd_io_stats){
        .state = etcd_fsm_state(io->fsm),
        .watching = etcd_fsm_is_watching(io->fsm),
        .cluster_id = known_cluster(io),
        .revision = etcd_fsm_revision(io->fsm),
        .event_age_ms = io->event_ms > 0 ? (int64_t)(now_ms - io->event_ms) : -1,
        .sync_age_ms = synced_ms > 0 ? (int64_t)(now_ms - synced_ms) : -1,
        .loaded = io->loaded,
        .loaded_keys = io->loaded_meta.keys,
        .written_unix_ms = io->loaded_meta.wall_ms,
        .machine = *etcd_fsm_stats(io->fsm),
        .endpoint = etcd_fsm_endpoint(io->fsm),
        .endpoints = io->endpoints->endpoint,
        .lookups = etcd_names_lookups(io->names),
        .lookup_failures = etcd_names_failures(io->names),
    };
    struct disc_store_stats keys;
    disc_store_stats(io->options.store, &keys);
    memcpy(ret->held, keys.held, sizeof ret->held);
    ret->reconnects = ret->machine.streams > 0 ? ret->machine.streams - 1 : 0;
    if (io->saver != NULL) {
        ret->state_writes = state_saver_stats(io->saver)->writes;
        ret->state_failures = state_saver_stats(io->saver)->failures;
        if (state_saver_stats(io->saver)->saved_unix_ms > 0) {
            ret->written_unix_ms = state_saver_stats(io->saver)->saved_unix_ms;
        }
    }
}
