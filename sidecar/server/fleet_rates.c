/*
 * sidecar/server/fleet_rates.c: see fleet_rates.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server/fleet_rates.h"

#include "sidecar/base/random_seed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JITTER_MS 1000 /* of a period, so that hosts do not tell all at once */

_Static_assert(ETCD_FLEET_HOSTS_MAX == LB_FLEET_HOSTS_MAX, "as many as are shared between");

/* ---- tuples ---------------------------------------------------------------------------------- */

static struct fleet_tuple *find(struct fleet_rates *rates, const char *name)
{
    for (uint32_t i = 0; i < FLEET_TUPLES_MAX; i++) {
        if (rates->tuple[i].name && strcmp(rates->tuple[i].name, name) == 0) {
            return &rates->tuple[i];
        }
    }
    return NULL;
}

/* NULL: there is no place, or no memory. */
static struct fleet_tuple *add(struct fleet_rates *rates, const char *name,
                               const struct disc_tuple *names)
{
    for (uint32_t i = 0; i < FLEET_TUPLES_MAX; i++) {
        struct fleet_tuple *tuple = &rates->tuple[i];
        if (tuple->name) {
            continue;
        }
        *tuple = (struct fleet_tuple){
            .name = strdup(name), .text = malloc(disc_names_bytes(names->name, DISC_NAMES) + 1)};
        if (!tuple->name || !tuple->text) {
            free(tuple->name);
            free(tuple->text);
            *tuple = (struct fleet_tuple){0};
            return NULL;
        }
        disc_names_copy(names->name, DISC_NAMES, tuple->text, tuple->names.name);
        rates->stats.tuples++;
        return tuple;
    }
    rates->stats.overflow++;
    return NULL;
}

static void drop(struct fleet_rates *rates, struct fleet_tuple *tuple)
{
    free(tuple->name);
    free(tuple->text);
    *tuple = (struct fleet_tuple){0};
    rates->stats.tuples--;
}

/* NULL: its entry has left. */
static struct fleet_part *part_of(const struct fleet_rates *rates, const struct disc_tuple *names)
{
    struct tuple_state *state = tuple_table_peek(rates->tuples, names);
    bool own = state && !tuple_state_is_other(state);
    return own ? &tuple_table_limits(rates->tuples, state, names)->part : NULL;
}

/* ---- demands --------------------------------------------------------------------------------- */

/* Calls that asked for a token, got one or not; those beside that were refused for another reason did not. */
static uint64_t asked(const struct tuple_state *state, const struct fleet_part *part)
{
    struct tuple_sums sums;
    tuple_state_sum(state, &sums);
    return fleet_part_taken(part) + sums.reason[REASON_RATE_LIMITED] + sums.shadowed[SHADOW_RATE];
}

/* One entry of the table: whether its rate is shared, and what it is asked for. */
static bool look_at(void *arg, const struct tuple_state *state)
{
    struct fleet_rates *rates = arg;
    char name[DISC_TUPLE_ENCODED_MAX_BYTES];
    const struct disc_tuple *names = tuple_state_names(state);
    const struct fleet_part *part = part_of(rates, names);
    uint32_t per_s = part ? fleet_part_per_s(part) : 0;
    if (per_s == 0) {
        return true;
    }
    (void)disc_tuple_encode(names, name, sizeof name);
    struct fleet_tuple *tuple = find(rates, name);
    bool is_first = !tuple;
    tuple = tuple ? tuple : add(rates, name, names);
    if (!tuple) {
        return true;
    }
    uint64_t now = asked(state, part);
    if (is_first || tuple->member.per_s != per_s) {
        double told = tuple->member.told;
        lb_fleet_join(&tuple->member, per_s);
        tuple->member.told = told;
        tuple->is_new = true;
    }
    if (is_first) {
        tuple->asked = 0;
    }
    tuple->is_new = tuple->is_new || (tuple->member.told == 0 && now > tuple->asked);
    tuple->is_seen = true;
    return true;
}

/* Notes which tuples there are. Whether one of them is new. */
static bool look(struct fleet_rates *rates)
{
    bool any_new = false;
    for (uint32_t i = 0; i < FLEET_TUPLES_MAX; i++) {
        rates->tuple[i].is_seen = false;
    }
    tuple_table_each(rates->tuples, look_at, rates);
    for (uint32_t i = 0; i < FLEET_TUPLES_MAX; i++) {
        any_new = any_new || rates->tuple[i].is_new;
    }
    return any_new;
}

/* Its demand since the last look; of one that has left, none. */
static double demand_of(struct fleet_rates *rates, struct fleet_tuple *tuple, double seconds)
{
    const struct fleet_part *part = tuple->is_seen ? part_of(rates, &tuple->names) : NULL;
    if (!part) {
        return 0;
    }
    uint64_t now = asked(tuple_table_peek(rates->tuples, &tuple->names), part);
    double demand = (double)(now - tuple->asked) / seconds;
    tuple->asked = now;
    return demand;
}

/* ---- exchanges ------------------------------------------------------------------------------- */

static void learn(struct fleet_rates *rates, struct fleet_tuple *tuple,
                  const struct etcd_fleet_others *others)
{
    struct fleet_part *part = part_of(rates, &tuple->names);
    lb_fleet_learn(&tuple->member, others->demand, others->n, others->total);
    rates->stats.crowded += others->n < others->total;
    if (part) {
        bool is_alone = tuple->member.share >= tuple->member.per_s;
        fleet_part_set(part, is_alone ? 0 : lb_fleet_token(tuple->member.share));
    }
}

/* Its part is as it was before there was a fleet; nobody has told of it any more. */
static void leave(struct fleet_rates *rates, struct fleet_tuple *tuple)
{
    struct fleet_part *part = part_of(rates, &tuple->names);
    if (part) {
        fleet_part_set(part, 0);
    }
    drop(rates, tuple);
}

static void note_failure(struct fleet_rates *rates)
{
    rates->stats.failures++;
    if (!rates->failing) {
        log_printf(rates->log, LOG_WARN, "fleet", "fleet_exchange_failed",
                   "rates that hosts share stay as they are: %s",
                   etcd_fleet_error(rates->exchange));
    }
    rates->failing = true;
}

static void note_success(struct fleet_rates *rates)
{
    if (rates->failing) {
        log_printf(rates->log, LOG_INFO, "fleet", "fleet_exchange", "rates are shared again");
    }
    rates->failing = false;
}

static void on_exchanged(void *arg, enum etcd_fleet_result result,
                         const struct etcd_fleet_others others[])
{
    struct fleet_rates *rates = arg;
    rates->stats.exchanges++;
    for (uint32_t i = 0; i < FLEET_TUPLES_MAX; i++) {
        struct fleet_tuple *tuple = &rates->tuple[i];
        uint32_t sent = tuple->sent;
        tuple->sent = 0;
        if (result == ETCD_FLEET_LOST) {
            tuple->stored = 0; /* it went with the lease */
        } else if (sent > 0) {
            tuple->stored = result == ETCD_FLEET_OK ? tuple->member.told : -1;
        }
        if (result != ETCD_FLEET_OK || sent == 0) {
            continue;
        }
        learn(rates, tuple, &others[sent - 1]);
        if (!tuple->is_seen) {
            leave(rates, tuple);
        }
    }
    if (result == ETCD_FLEET_FAILED) {
        note_failure(rates);
    } else {
        note_success(rates);
    }
    if (result == ETCD_FLEET_LOST) {
        rates->next_ms = 0; /* at the next tick */
    }
}

/* What this host has to tell, and whom it has to ask about. Those that nobody asks for take no part. */
static uint32_t gather(struct fleet_rates *rates, double seconds, struct etcd_fleet_item items[])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < FLEET_TUPLES_MAX; i++) {
        struct fleet_tuple *tuple = &rates->tuple[i];
        if (!tuple->name) {
            continue;
        }
        (void)lb_fleet_tell(&tuple->member, demand_of(rates, tuple, seconds));
        tuple->is_new = false;
        bool tells = tuple->stored != tuple->member.told;
        if (!tells && tuple->member.told == 0) {
            if (!tuple->is_seen) {
                leave(rates, tuple);
            }
            continue;
        }
        items[n++] = (struct etcd_fleet_item){
            .name = tuple->name, .tells = tells, .demand = tuple->member.told};
        tuple->sent = n;
        rates->stats.told += tells;
    }
    return n;
}

/* Behind a new one another exchange follows at once: others that are new, too, have told by then. */
static void exchange(struct fleet_rates *rates, uint64_t now_ms, bool any_new)
{
    struct etcd_fleet_item items[FLEET_TUPLES_MAX];
    uint64_t passed_ms = now_ms - rates->looked_ms;
    double seconds = (double)(passed_ms > FLEET_TICK_MS ? passed_ms : FLEET_TICK_MS) / 1000;
    uint32_t n = gather(rates, seconds, items);
    rates->random = rates->random * UINT64_C(6364136223846793005) + 1;
    rates->looked_ms = now_ms;
    rates->next_ms =
        any_new ? now_ms
                : now_ms + FLEET_PERIOD_MS - JITTER_MS / 2 + (rates->random >> 33) % JITTER_MS;
    if (n > 0) {
        etcd_fleet_exchange(rates->exchange, items, n, on_exchanged, rates);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct fleet_rates *rates = timer->data;
    uint64_t now_ms = uv_now(timer->loop);
    bool any_new = look(rates);
    if (!rates->exchange) {
        if (rates->stats.tuples > 0 && !rates->told_alone) {
            log_printf(rates->log, LOG_WARN, "fleet", "fleet_alone",
                       "rate_scope fleet needs etcd: without it the rate is this host's alone");
            rates->told_alone = true;
        }
    } else if (!etcd_fleet_is_busy(rates->exchange) && (any_new || now_ms >= rates->next_ms)) {
        exchange(rates, now_ms, any_new);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Another one in each process, also of one host. */
static void host_of(const struct bootstrap *bootstrap, uint64_t random, char *out, size_t cap)
{
    size_t len = disc_name_encode(disc_str_of_z(bootstrap->node_name), out, cap - 18);
    len = len < cap - 18 ? len : cap - 18;
    (void)snprintf(out + len, cap - len, "-%08x", (unsigned)(random >> 32));
}

static bool make_exchange(struct fleet_rates *rates, uv_loop_t *loop)
{
    const struct bootstrap *bootstrap = rates->bootstrap;
    char host[1024];
    if (bootstrap->etcd.endpoints_len == 0) {
        return true;
    }
    host_of(bootstrap, rates->random, host, sizeof host);
    const struct etcd_fleet_options options = {
        .loop = loop,
        .endpoints = (const char *const *)bootstrap->etcd.endpoints,
        .endpoints_n = (uint32_t)bootstrap->etcd.endpoints_len,
        .prefix = bootstrap->etcd.fleet_prefix,
        .host = host,
    };
    rates->exchange = etcd_fleet_new(&options);
    return rates->exchange != NULL;
}

bool fleet_rates_start(struct fleet_rates *rates, uv_loop_t *loop,
                       const struct bootstrap *bootstrap, struct log *log,
                       struct tuple_table *tuples)
{
    *rates = (struct fleet_rates){
        .bootstrap = bootstrap, .log = log, .tuples = tuples, .random = random_seed()};
    (void)uv_timer_init(loop, &rates->tick); /* always 0 */
    rates->tick.data = rates;
    rates->looked_ms = uv_now(loop);
    return make_exchange(rates, loop) &&
           uv_timer_start(&rates->tick, on_tick, FLEET_TICK_MS, FLEET_TICK_MS) == 0;
}

void fleet_rates_close(struct fleet_rates *rates)
{
    if (!rates->bootstrap) {
        return; /* was never begun */
    }
    uv_close((uv_handle_t *)&rates->tick, NULL);
    if (rates->exchange) {
        etcd_fleet_close(rates->exchange, NULL, NULL);
    }
    for (uint32_t i = 0; i < FLEET_TUPLES_MAX; i++) {
        if (rates->tuple[i].name) {
            drop(rates, &rates->tuple[i]);
        }
    }
    rates->bootstrap = NULL;
}
