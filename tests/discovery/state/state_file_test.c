/*
 * tests/discovery/state/state_file_test.c: the state on disk: whole or not at all, whatever
 * happens.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/cmocka_first.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <signal.h>
#include <sys/resource.h>

#include "discovery/state/state_dir_lock.h"
#include "discovery/state/state_file.h"

static const char *const prefix[DISC_SPACES] = {"/tside/rules", "/tside/services"};
static char dir[64];

/* ---- images ------------------------------------------------------------------------------- */

static void make_image(int64_t revision, int services, char **ret_bytes, size_t *ret_len)
{
    const struct state_meta meta = {
        .resume = {UINT64_MAX - 1, {revision, 7}, {1, services}, {revision, 3}},
        .prefix = {prefix[0], prefix[1]},
        .wall_ms = 1700000000000,
    };
    struct state_writer *writer = state_writer_new(&meta);
    const struct disc_raw rule = {
        .space = DISC_SPACE_RULES,
        .key = "a/default/b/default/M/config",
        .text = "\xff\0bad",
        .text_len = 5,
        .mod_revision = revision,
        .rejected = true,
        .good_text = "{\"timeout_ms\":300}",
        .good_text_len = 18,
        .good_revision = 5,
    };
    state_writer_put(writer, &rule);
    for (int i = 0; i < services; i++) {
        char key[64];
        snprintf(key, sizeof key, "s/default/10.0.0.1:%d", i + 1);
        state_writer_put(writer, &(struct disc_raw){.space = DISC_SPACE_SERVICES,
                                                    .key = key,
                                                    .text = "{}",
                                                    .text_len = 2,
                                                    .mod_revision = 3,
                                                    .lease = INT64_MIN + 5});
    }
    state_writer_finish(writer, ret_bytes, ret_len);
}

struct got {
    int rules;
    int services;
    int reports;
};

static void on_key(void *arg, const struct disc_raw *raw)
{
    struct got *got = arg;
    if (raw->space == DISC_SPACE_RULES) {
        assert_string_equal(raw->key, "a/default/b/default/M/config");
        assert_int_equal(raw->text_len, 5);
        assert_memory_equal(raw->text, "\xff\0bad", 5);
        assert_true(raw->rejected);
        assert_int_equal(raw->good_text_len, 18);
        assert_memory_equal(raw->good_text, "{\"timeout_ms\":300}", 18);
        assert_int_equal(raw->good_revision, 5);
        assert_int_equal(raw->lease, 0);
        got->rules++;
        return;
    }
    assert_true(raw->lease == INT64_MIN + 5 && raw->mod_revision == 3 && !raw->rejected);
    assert_null(raw->good_text);
    got->services++;
}

static void test_image(void **state)
{
    char *bytes;
    size_t len;
    struct got got = {0};
    struct state_meta meta;
    make_image(123, 40, &bytes, &len);
    assert_null(state_image_read(bytes, len, prefix, on_key, &got, &meta));
    assert_true(got.rules == 1 && got.services == 40 && meta.keys == 41);
    assert_true(meta.resume.cluster_id == UINT64_MAX - 1 && meta.resume.seen[0] == 123);
    assert_true(meta.resume.seen[1] == 7 && meta.resume.count[1] == 40 &&
                meta.resume.newest[1] == 3);
    assert_true(meta.wall_ms == 1700000000000);
    const char *const other[DISC_SPACES] = {"", prefix[1]};
    assert_non_null(state_image_read(bytes, len, other, on_key, &got, &meta));
    free(bytes);
}

static void note_held(void *arg, const struct disc_raw *raw)
{
    bool *held = arg;
    held[raw->mod_revision] = raw->held;
}

/* What etcd lost without a delete outlives the process. */
static void test_image_held(void **state)
{
    struct state_meta meta = {.resume = {.cluster_id = 1}, .prefix = {prefix[0], prefix[1]}};
    bool held[3] = {true, false, true};
    char *bytes;
    size_t len;
    struct state_writer *writer = state_writer_new(&meta);
    state_writer_put(writer, &(struct disc_raw){.key = "a", .text = "{}", .text_len = 2});
    state_writer_put(writer,
                     &(struct disc_raw){
                         .key = "b", .text = "{}", .text_len = 2, .mod_revision = 1, .held = true});
    state_writer_put(
        writer, &(struct disc_raw){
                    .key = "c", .text = "{", .text_len = 1, .mod_revision = 2, .rejected = true});
    state_writer_finish(writer, &bytes, &len);
    assert_null(state_image_read(bytes, len, prefix, note_held, held, &meta));
    assert_true(!held[0] && held[1] && !held[2]);
    free(bytes);
}

/* Any bit that flips and any length that is missing or too much: nothing of it is used. */
static void test_image_corruption(void **state)
{
    char *bytes;
    size_t len;
    struct got got = {0};
    struct state_meta meta;
    make_image(123, 3, &bytes, &len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(bytes[i] ^ (1 << i % 8));
        if (state_image_read(bytes, len, prefix, on_key, &got, &meta) == NULL) {
            fail_msg("byte %zu was not missed", i);
        }
        bytes[i] = (char)(bytes[i] ^ (1 << i % 8));
    }
    for (size_t cut = 0; cut < len; cut++) {
        char *copy = malloc(cut + 1);
        memcpy(copy, bytes, cut);
        copy = realloc(copy, cut > 0 ? cut : 1);
        assert_non_null(state_image_read(copy, cut, prefix, on_key, &got, &meta));
        free(copy);
    }
    bytes = realloc(bytes, len + 1);
    bytes[len] = 0;
    assert_non_null(state_image_read(bytes, len + 1, prefix, on_key, &got, &meta));
    assert_true(got.rules == 0 && got.services == 0);
    free(bytes);
}

/* ---- files -------------------------------------------------------------------------------- */

static int setup(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/tside-state-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static const char *in_dir(const char *name)
{
    static char path[2][128]; /* renaming takes two */
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static char reported[256]; /* last */

static void on_report(void *arg, const char *path, const char *text)
{
    snprintf(reported, sizeof reported, "%s", text);
    ((struct got *)arg)->reports++;
}

/* The revision of what is loaded, -1: nothing. */
static int64_t load(struct got *got)
{
    struct state_meta meta;
    *got = (struct got){0};
    if (!state_file_load(dir, prefix, on_key, on_report, got, &meta)) {
        assert_true(got->rules == 0 && got->services == 0);
        return -1;
    }
    assert_int_equal(got->rules, 1);
    assert_int_equal(got->services, meta.resume.count[1]);
    return meta.resume.seen[0];
}

struct write {
    bool done;
    int status;
};

static void on_done(void *arg, int status)
{
    *(struct write *)arg = (struct write){true, status};
}

static int write_state(uv_loop_t *loop, const char *where, int64_t revision, int services)
{
    struct write write = {0};
    char *bytes;
    size_t len;
    struct state_file *file = state_file_new(loop, where);
    make_image(revision, services, &bytes, &len);
    state_file_write(file, bytes, len, on_done, &write);
    assert_true(state_file_is_busy(file));
    uv_run(loop, UV_RUN_DEFAULT);
    assert_true(write.done && !state_file_is_busy(file));
    state_file_free(file);
    return write.status;
}

static void save(int64_t revision)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    assert_int_equal(write_state(&loop, dir, revision, 10), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_two_generations(void **state)
{
    struct got got;
    struct stat st;
    assert_int_equal(load(&got), -1);
    assert_int_equal(got.reports, 0); /* there is none: not worth a word */
    save(1);
    assert_int_equal(load(&got), 1);
    save(2);
    save(3);
    assert_int_equal(load(&got), 3);
    assert_int_equal(stat(in_dir("etcd.state"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(access(in_dir("etcd.state.tmp"), F_OK), -1);
    /* The newest is cut, then gone: the one before. */
    assert_int_equal(truncate(in_dir("etcd.state"), st.st_size - 1), 0);
    assert_int_equal(load(&got), 2);
    assert_int_equal(got.reports, 1);
    unlink(in_dir("etcd.state"));
    assert_int_equal(load(&got), 2);
    assert_int_equal(truncate(in_dir("etcd.state.1"), 0), 0);
    assert_int_equal(load(&got), -1);
    assert_int_equal(mkdir(in_dir("etcd.state"), 0700), 0); /* nonsense never ends the start */
    unlink(in_dir("etcd.state.1"));
    assert_int_equal(load(&got), -1);
    assert_string_equal(reported, "it is not a regular file");
    assert_int_equal(mkfifo(in_dir("etcd.state.1"), 0600), 0); /* nor holds it up */
    assert_int_equal(load(&got), -1);
}

/* No room for all of it: what was written is given back. */
static void test_no_room(void **state)
{
    struct got got;
    struct rlimit was;
    uv_loop_t loop;
    save(1);
    uv_loop_init(&loop);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){100, was.rlim_max});
    assert_true(write_state(&loop, dir, 2, 10) < 0);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(access(in_dir("etcd.state.tmp"), F_OK), -1);
    assert_int_equal(load(&got), 1);
    assert_int_equal(write_state(&loop, dir, 3, 10), 0);
    assert_int_equal(load(&got), 3);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void copy_file(const char *from, const char *to)
{
    char command[300];
    snprintf(command, sizeof command, "cp '%s/%s' '%s/%s'", dir, from, dir, to);
    assert_int_equal(system(command), 0);
}

/* What each step leaves behind when the power fails after it. */
static void test_killed_between_steps(void **state)
{
    struct got got;
    save(1);
    save(2); /* state 2, state.1 1 */
    copy_file("etcd.state", "etcd.state.tmp");
    assert_int_equal(truncate(in_dir("etcd.state.tmp"), 0), 0);
    assert_int_equal(load(&got), 2); /* opened */
    assert_int_equal(got.reports, 0);
    copy_file("etcd.state", "etcd.state.tmp");
    assert_int_equal(truncate(in_dir("etcd.state.tmp"), 100), 0);
    assert_int_equal(load(&got), 2); /* half written */
    assert_int_equal(rename(in_dir("etcd.state"), in_dir("three")), 0);
    save(3);
    copy_file("etcd.state", "etcd.state.tmp");
    rename(in_dir("three"), in_dir("etcd.state"));
    assert_int_equal(load(&got), 2); /* written, nothing renamed */
    assert_int_equal(rename(in_dir("etcd.state"), in_dir("etcd.state.1")), 0);
    assert_int_equal(load(&got), 3); /* between the renames */
    /* And the next process writes over all of it. */
    save(4);
    assert_int_equal(load(&got), 4);
    assert_int_equal(access(in_dir("etcd.state.tmp"), F_OK), -1);
}

/* Runs as a process of its own until it is killed (forking is not for programs with threads). */
static void write_for_ever(const char *where, int64_t revision)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (;; revision++) {
        (void)write_state(&loop, where, revision, 3000); /* the reader judges */
        if (write(STDOUT_FILENO, ".", 1) != 1) {
            _exit(1);
        }
    }
}

/* Killed at any moment: there is always a whole state, and never an older one than before. */
static void test_killed_at_random(void **state)
{
    struct got got;
    int64_t last = 1;
    save(1);
    for (int round = 0; round < 15; round++) {
        char from[24];
        char dot;
        int out[2];
        snprintf(from, sizeof from, "%" PRId64, last + 1);
        assert_int_equal(pipe(out), 0);
        pid_t pid = fork();
        if (pid == 0) {
            dup2(out[1], STDOUT_FILENO);
            execl("/proc/self/exe", "state_file_test", dir, from, NULL);
            _exit(127);
        }
        close(out[1]);
        assert_int_equal(read(out[0], &dot, 1), 1); /* the first is written: on to the next ones */
        usleep((useconds_t)(round * 777));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(out[0]);
        int64_t now = load(&got);
        assert_true(now > last);
        last = now;
    }
}

static void test_write_fails(void **state)
{
    struct got got;
    uv_loop_t loop;
    uv_loop_init(&loop);
    save(1);
    assert_int_equal(write_state(&loop, "/nonexistent/dir", 2, 1), -ENOENT);
    /* A directory in the way of the rename. */
    assert_int_equal(unlink(in_dir("etcd.state")), 0);
    assert_int_equal(mkdir(in_dir("etcd.state.1"), 0700), 0);
    save(5);
    assert_int_equal(write_state(&loop, dir, 6, 1), -EISDIR);
    assert_int_equal(load(&got), 5);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- lock --------------------------------------------------------------------------------- */

static void test_lock(void **state)
{
    int fd = -1;
    int other = -1;
    int64_t pid = 0;
    assert_int_equal(state_dir_lock("/nonexistent", &fd, &pid), -ENOENT);
    assert_int_equal(state_dir_lock(dir, &fd, &pid), 0);
    assert_int_equal(state_dir_lock(dir, &other, &pid), -EWOULDBLOCK);
    assert_int_equal(pid, getpid());
    assert_int_equal(other, -1);
    state_dir_unlock(fd);
    /* A process that dies lets go; one that inherits the descriptor keeps it. */
    pid_t child = fork();
    if (child == 0) {
        _exit(state_dir_lock(dir, &other, &pid) == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(state_dir_lock(dir, &fd, &pid), 0);
    other = dup(fd);
    state_dir_unlock(fd);
    assert_int_equal(state_dir_lock(dir, &fd, &pid), -EWOULDBLOCK);
    state_dir_unlock(other);
    assert_int_equal(state_dir_lock(dir, &fd, &pid), 0);
    state_dir_unlock(fd);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        write_for_ever(argv[1], strtoll(argv[2], NULL, 10));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_image_held),
        cmocka_unit_test(test_image_corruption),
        cmocka_unit_test_setup_teardown(test_two_generations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_between_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_at_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
