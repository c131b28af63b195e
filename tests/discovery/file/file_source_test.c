/*
 * file_source_test.c: edits of the rules file, as editors, copies and Kubernetes make them.
 *
 * A real loop and real files. Waiting is for the effect, with the second of docs/specification.md,
 * section 4, as the limit (and some more for a busy machine: what was measured is checked against
 * the second).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/store_fixture.h"

#include "discovery/file/file_source.h"

#include "tests/discovery/cmocka_first.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EFFECT_MS  1000
#define GIVE_UP_MS 5000

static struct fixture f;
static uv_loop_t loop;
static struct file_source *source;
static char folder[64];
static char path[128];
static int errors;
static char last_error[512];
static bool closed;

static void on_commit(void *owner)
{
    (void)owner;
    while (!disc_store_build(f.store, 1000)) {
    }
}

static void on_error(void *owner, const char *message)
{
    (void)owner;
    errors++;
    (void)snprintf(last_error, sizeof last_error, "%s", message);
}

static uint64_t clock_ms(void *owner)
{
    (void)owner;
    return uv_now(&loop);
}

static void on_closed(void *owner)
{
    (void)owner;
    closed = true;
}

static const char *file(const char *name)
{
    static char buf[2][160];
    static int turn;
    turn = !turn;
    (void)snprintf(buf[turn], sizeof buf[turn], "%s/%s", folder, name);
    return buf[turn];
}

static void write_text(const char *name, const char *text)
{
    FILE *out = fopen(name, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void write_timeout(const char *name, int timeout_ms)
{
    char text[128];
    (void)snprintf(text, sizeof text, "rules:\n  \"*/*/s/*/*/config\": {timeout_ms: %d}\n",
                   timeout_ms);
    write_text(name, text);
}

static void open_source(void)
{
    const struct file_source_options options = {
        .on_commit = on_commit, .on_error = on_error, .store_clock_ms = clock_ms};
    source = file_source_new(&loop, path, f.store, &options);
    assert_non_null(source);
}

static int begin(void **state)
{
    (void)state;
    fixture_begin(&f, "/tside/rules");
    errors = 0;
    closed = false;
    strcpy(folder, "/tmp/tside-source-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/rules.yaml", folder);
    return uv_loop_init(&loop);
}

static int end(void **state)
{
    char command[128];
    (void)state;
    file_source_close(source, on_closed);
    source = NULL;
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
    }
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
    fixture_end(&f);
    return 0;
}

static void start(int timeout_ms)
{
    write_timeout(path, timeout_ms);
    open_source();
    assert_int_equal(file_source_load_now(source), 0);
    assert_int_equal(fixture_timeout(&f, "a/s/m"), timeout_ms);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* it only makes uv_run() come back */
}

/* Runs the loop until the condition holds; fails after GIVE_UP_MS. Returns the time it took. */
typedef bool (*condition_fn)(int value);

static uint64_t run_until(condition_fn holds, int value)
{
    uv_timer_t tick;
    uv_update_time(&loop);
    uint64_t start_ms = uv_now(&loop);
    assert_int_equal(uv_timer_init(&loop, &tick), 0);
    assert_int_equal(uv_timer_start(&tick, on_tick, 5, 5), 0);
    while (!holds(value)) {
        (void)uv_run(&loop, UV_RUN_ONCE); /* handles are active */
        assert_true(uv_now(&loop) - start_ms < GIVE_UP_MS);
    }
    uint64_t took_ms = uv_now(&loop) - start_ms;
    uv_close((uv_handle_t *)&tick, NULL);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    return took_ms;
}

static bool timeout_is(int value)
{
    return fixture_timeout(&f, "a/s/m") == value;
}

static bool errors_are(int value)
{
    return errors == value;
}

static bool rejected_are(int value)
{
    struct disc_store_stats stats;
    disc_store_stats(f.store, &stats);
    return (int)stats.rejected == value;
}

static bool is_loaded(int value)
{
    return f.published >= value;
}

static void expect_timeout(int timeout_ms)
{
    assert_in_range(run_until(timeout_is, timeout_ms), 0, EFFECT_MS);
}

static void test_edited_in_place(void **state)
{
    (void)state;
    start(1);
    write_timeout(path, 2);
    expect_timeout(2);
    write_timeout(path, 3); /* of the same length */
    expect_timeout(3);
    assert_int_equal(errors, 0);
}

static void test_renamed_over(void **state)
{
    (void)state;
    start(1);
    write_timeout(file("new"), 2);
    assert_int_equal(rename(file("new"), path), 0);
    expect_timeout(2);
}

static void test_config_map(void **state)
{
    (void)state;
    /* rules.yaml -> ..data/rules.yaml, ..data -> ..1, swapped by renaming a symlink */
    assert_int_equal(mkdir(file("..1"), 0755), 0);
    assert_int_equal(mkdir(file("..2"), 0755), 0);
    write_timeout(file("..1/rules.yaml"), 1);
    write_timeout(file("..2/rules.yaml"), 2);
    assert_int_equal(symlink("..1", file("..data")), 0);
    assert_int_equal(symlink("..data/rules.yaml", path), 0);
    open_source();
    assert_int_equal(file_source_load_now(source), 0);
    assert_true(timeout_is(1));
    assert_int_equal(symlink("..2", file("..data_tmp")), 0);
    assert_int_equal(rename(file("..data_tmp"), file("..data")), 0);
    expect_timeout(2);
}

static void test_behind_a_symlink(void **state)
{
    (void)state;
    assert_int_equal(mkdir(file("elsewhere"), 0755), 0);
    write_timeout(file("elsewhere/rules.yaml"), 1);
    assert_int_equal(symlink("elsewhere/rules.yaml", path), 0);
    open_source();
    assert_int_equal(file_source_load_now(source), 0);
    write_timeout(file("elsewhere/rules.yaml"), 2); /* no event in our folder */
    expect_timeout(2);
}

static void test_deleted_and_put_back(void **state)
{
    (void)state;
    struct file_source_stats stats;
    start(1);
    assert_int_equal(unlink(path), 0);
    (void)run_until(errors_are, 1);
    assert_non_null(strstr(last_error, "rules.yaml:1:1: cannot be read: No such file"));
    assert_true(timeout_is(1));
    file_source_stats(source, &stats);
    assert_true(stats.failing);
    assert_int_equal(stats.errors_total, 1);
    write_timeout(path, 2);
    expect_timeout(2);
    file_source_stats(source, &stats);
    assert_false(stats.failing);
}

static void test_bad_then_good(void **state)
{
    (void)state;
    start(1);
    write_text(path, "rules:\n  \"*/*/s/*/*/config\": {timeout_ms: 2\n");
    (void)run_until(errors_are, 1);
    assert_non_null(strstr(last_error, "rules.yaml:3:1: "));
    assert_true(timeout_is(1));
    write_text(path, "rules:\n  \"*/*/s/*/*/config\": {timeout_ms: -2}\n");
    (void)run_until(rejected_are, 1); /* a bad value rejects its key only */
    assert_int_equal(errors, 1);
    assert_true(timeout_is(1));
    write_timeout(path, 3);
    expect_timeout(3);
}

static void test_truncated_first(void **state)
{
    (void)state;
    start(1);
    FILE *out = fopen(path, "w"); /* empty now */
    assert_non_null(out);
    (void)run_until(errors_are, 1);
    assert_true(timeout_is(1));
    fclose(out);
    write_timeout(path, 2);
    expect_timeout(2);
}

/* Writers that never pause are read all the same. */
static int writes;

static void on_write(uv_timer_t *timer)
{
    (void)timer;
    write_timeout(path, 100 + writes++ % 800);
}

static bool timeout_is_above(int value)
{
    return fixture_timeout(&f, "a/s/m") > value;
}

static void test_written_without_a_pause(void **state)
{
    (void)state;
    uv_timer_t timer;
    start(1);
    assert_int_equal(uv_timer_init(&loop, &timer), 0);
    assert_int_equal(uv_timer_start(&timer, on_write, 0, 20), 0);
    assert_in_range(run_until(timeout_is_above, 1), 0, EFFECT_MS);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&loop, UV_RUN_NOWAIT); /* the timer is ours until it is closed */
}

static void test_other_files_do_not_matter(void **state)
{
    (void)state;
    start(1);
    write_text(file("other.yaml"), "x");
    write_timeout(path, 2);
    expect_timeout(2);
    write_text(file("other.yaml"), "y");
    write_timeout(path, 3);
    expect_timeout(3);
    assert_int_equal(errors, 0);
}

static void test_missing_at_the_start(void **state)
{
    (void)state;
    open_source();
    assert_int_equal(file_source_load_now(source), -ENOENT);
    assert_int_equal(errors, 1);
    write_timeout(path, 2);
    (void)run_until(is_loaded, 1);
    assert_true(timeout_is(2));
}

static void test_closed_while_waiting(void **state)
{
    (void)state;
    start(1);
    write_timeout(path, 2);
    (void)uv_run(&loop, UV_RUN_ONCE); /* the event; end() closes before the file was read */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_edited_in_place),
        TEST(test_renamed_over),
        TEST(test_config_map),
        TEST(test_behind_a_symlink),
        TEST(test_deleted_and_put_back),
        TEST(test_bad_then_good),
        TEST(test_truncated_first),
        TEST(test_written_without_a_pause),
        TEST(test_other_files_do_not_matter),
        TEST(test_missing_at_the_start),
        TEST(test_closed_while_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
