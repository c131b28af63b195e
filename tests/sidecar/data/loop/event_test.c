/*
 * event_test.c: events run in order, once, and what has ended is freed behind all of them.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static struct event_queue queue;
static char ran[64]; /* the letters of what ran, in order */

struct thing {
    struct event event;
    char letter;
    struct thing *posts; /* when it runs; NULL: nothing */
    struct thing *retires;
};

static void note(struct event *event, char mark)
{
    const struct thing *thing = container_of(event, struct thing, event);
    size_t len = strlen(ran);
    assert_true(len + 2 < sizeof ran);
    ran[len] = thing->letter;
    ran[len + 1] = mark;
}

static void on_freed(struct event *event)
{
    note(event, '!');
}

static void on_run(struct event *event)
{
    const struct thing *thing = container_of(event, struct thing, event);
    note(event, ' ');
    if (thing->posts) {
        event_post(&queue, &thing->posts->event);
    }
    if (thing->retires) {
        event_retire(&queue, &thing->retires->event, on_freed);
    }
}

static void thing_init(struct thing *thing, char letter)
{
    *thing = (struct thing){.letter = letter};
    event_init(&thing->event, on_run);
}

static struct thing a, b, c;

static int setup(void **state)
{
    (void)state;
    event_queue_init(&queue);
    memset(ran, 0, sizeof ran);
    thing_init(&a, 'a');
    thing_init(&b, 'b');
    thing_init(&c, 'c');
    return 0;
}

static void test_first_in_first_out_and_once(void **state)
{
    (void)state;
    event_post(&queue, &b.event);
    event_post(&queue, &a.event);
    event_post(&queue, &b.event); /* keeps its place */
    assert_true(event_waits(&a.event) && event_waits(&b.event));
    assert_false(event_queue_empty(&queue));
    event_drain(&queue);
    assert_string_equal(ran, "b a ");
    assert_true(event_queue_empty(&queue));
    event_drain(&queue);
    assert_string_equal(ran, "b a ");
    event_post(&queue, &b.event); /* and again */
    event_drain(&queue);
    assert_string_equal(ran, "b a b ");
}

static void test_what_is_posted_meanwhile_runs_too(void **state)
{
    (void)state;
    a.posts = &b;
    b.posts = &c;
    event_post(&queue, &a.event);
    event_post(&queue, &c.event);
    event_drain(&queue);
    assert_string_equal(ran, "a c b c ");
}

static void test_what_is_cancelled_does_not_run(void **state)
{
    (void)state;
    event_post(&queue, &a.event);
    event_post(&queue, &b.event);
    event_cancel(&a.event);
    event_cancel(&c.event); /* waits nowhere: harmless */
    assert_false(event_waits(&a.event));
    event_drain(&queue);
    assert_string_equal(ran, "b ");
}

/* Its own event is dropped, and it is freed behind what waits, also behind what that posts. */
static void test_what_has_ended_is_freed_last(void **state)
{
    (void)state;
    b.retires = &a;
    b.posts = &c;
    event_post(&queue, &b.event);
    event_post(&queue, &a.event);
    event_drain(&queue);
    assert_string_equal(ran, "b c a!");
    assert_false(event_waits(&a.event));
}

/* What frees one thing may end another. */
static void test_ending_while_freeing(void **state)
{
    (void)state;
    a.retires = &a;
    a.posts = &b;
    b.retires = &c;
    event_post(&queue, &a.event);
    event_drain(&queue);
    assert_string_equal(ran, "a b a!c!");
}

static void test_a_list_of_its_own(void **state)
{
    struct list waiting;
    (void)state;
    list_init(&waiting);
    list_push_back(&waiting, &a.event.node);
    list_push_back(&waiting, &b.event.node);
    event_run_present(&waiting);
    assert_string_equal(ran, "a b ");
    assert_true(list_empty(&waiting));
    event_run_present(&waiting); /* nothing: harmless */
    assert_string_equal(ran, "a b ");
}

static struct list rounds;

static void on_round(struct event *event)
{
    note(event, ' ');
    list_push_back(&rounds, &event->node); /* for the next time */
}

static void test_what_is_put_back_waits_for_the_next_time(void **state)
{
    (void)state;
    list_init(&rounds);
    event_init(&a.event, on_round);
    event_init(&b.event, on_round);
    list_push_back(&rounds, &a.event.node);
    list_push_back(&rounds, &b.event.node);
    event_run_present(&rounds);
    assert_string_equal(ran, "a b ");
    event_run_present(&rounds);
    assert_string_equal(ran, "a b a b ");
}

/* One that waits to run at present may be cancelled by one in front of it. */
static void on_cancels_b(struct event *event)
{
    note(event, ' ');
    event_cancel(&b.event);
}

static void test_cancelled_by_one_in_front(void **state)
{
    (void)state;
    list_init(&rounds);
    event_init(&a.event, on_cancels_b);
    list_push_back(&rounds, &a.event.node);
    list_push_back(&rounds, &b.event.node);
    event_run_present(&rounds);
    assert_string_equal(ran, "a ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_first_in_first_out_and_once, setup),
        cmocka_unit_test_setup(test_what_is_posted_meanwhile_runs_too, setup),
        cmocka_unit_test_setup(test_what_is_cancelled_does_not_run, setup),
        cmocka_unit_test_setup(test_what_has_ended_is_freed_last, setup),
        cmocka_unit_test_setup(test_ending_while_freeing, setup),
        cmocka_unit_test_setup(test_a_list_of_its_own, setup),
        cmocka_unit_test_setup(test_what_is_put_back_waits_for_the_next_time, setup),
        cmocka_unit_test_setup(test_cancelled_by_one_in_front, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
