/*
 * discovery/state/state_image.c: see discovery/state/state_image.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/state/state_image.h"

#include <inttypes.h>
#include <jansson.h>
#include <xxhash.h>

#include "discovery/base/memory.h"

static const char magic[] = "tside-state 1\n";
#define MAGIC_LEN     (sizeof magic - 1)
#define FLAG_REJECTED 1
#define FLAG_GOOD     2
#define FLAG_HELD     4
#define RECORD_HEAD   (4 + 3 * 4 + 3 * 8)
#define DIGEST_LEN    16
#define TRAILER_LEN   (1 + 8 + DIGEST_LEN)

static const char *const prefix_names[DISC_SPACES] = {"rules_prefix", "services_prefix"};

/* ---- writing ------------------------------------------------------------------------------ */

struct state_writer {
    char *bytes;
    size_t len;
    size_t cap;
    size_t hashed; /* bytes the digest has seen */
    uint64_t keys;
    XXH3_state_t *digest;
};

static char *reserve(struct state_writer *writer, size_t len)
{
    if (writer->cap - writer->len < len) {
        size_t cap = writer->cap > 0 ? writer->cap : 4096;
        while (cap - writer->len < len) {
            cap *= 2;
        }
        writer->bytes = memory_resize(writer->bytes, cap, 1);
        writer->cap = cap;
    }
    char *at = writer->bytes + writer->len;
    writer->len += len;
    return at;
}

static void append(struct state_writer *writer, const void *p, size_t len)
{
    if (len > 0) {
        memcpy(reserve(writer, len), p, len);
    }
}

static char *put_number(char *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *out++ = (char)(value >> (8 * i));
    }
    return out;
}

static json_t *number_list(const int64_t numbers[STATE_WATCHES_MAX])
{
    json_t *list = json_array();
    for (int i = 0; i < STATE_WATCHES_MAX; i++) {
        json_array_append_new(list, json_integer(numbers[i]));
    }
    return list;
}

static void append_head(struct state_writer *writer, const struct state_meta *meta)
{
    char cluster_id[24];
    snprintf(cluster_id, sizeof cluster_id, "%" PRIu64, meta->resume.cluster_id);
    json_t *head = json_object();
    json_object_set_new(head, "cluster_id", json_string(cluster_id));
    for (int s = 0; s < DISC_SPACES; s++) {
        json_object_set_new(head, prefix_names[s], json_string_nocheck(meta->prefix[s]));
    }
    json_object_set_new(head, "seen", number_list(meta->resume.seen));
    json_object_set_new(head, "count", number_list(meta->resume.count));
    json_object_set_new(head, "newest", number_list(meta->resume.newest));
    json_object_set_new(head, "wall_ms", json_integer((json_int_t)meta->wall_ms));
    char *text = memory_check(json_dumps(head, JSON_COMPACT));
    append(writer, magic, MAGIC_LEN);
    append(writer, text, strlen(text));
    append(writer, "\n", 1);
    free(text);
    json_decref(head);
}

struct state_writer *state_writer_new(const struct state_meta *meta)
{
    struct state_writer *writer = memory_zalloc(sizeof *writer);
    writer->digest = memory_check(XXH3_createState());
    (void)XXH3_128bits_reset(writer->digest); /* fails for NULL only */
    append_head(writer, meta);
    return writer;
}

struct state_writer *state_writer_free(struct state_writer *writer)
{
    if (writer != NULL) {
        (void)XXH3_freeState(writer->digest); /* always XXH_OK */
        free(writer->bytes);
        free(writer);
    }
    return NULL;
}

/* The digest keeps up with the writing, so that finishing costs nothing, however big the state is.
 * */
static void hash_new(struct state_writer *writer)
{
    (void)XXH3_128bits_update(writer->digest, writer->bytes + writer->hashed,
                              writer->len - writer->hashed); /* fails for NULL only */
    writer->hashed = writer->len;
}

void state_writer_put(struct state_writer *writer, const struct disc_raw *raw)
{
    bool good = raw->rejected && raw->good_text != NULL;
    size_t key_len = strlen(raw->key);
    size_t good_len = good ? raw->good_text_len : 0;
    char *p = reserve(writer, RECORD_HEAD);
    *p++ = 'K';
    *p++ = (char)((raw->rejected ? FLAG_REJECTED : 0) | (good ? FLAG_GOOD : 0) |
                  (raw->held ? FLAG_HELD : 0));
    *p++ = (char)raw->space;
    *p++ = 0;
    p = put_number(p, key_len, 4);
    p = put_number(p, raw->text_len, 4);
    p = put_number(p, good_len, 4);
    p = put_number(p, (uint64_t)raw->mod_revision, 8);
    p = put_number(p, (uint64_t)raw->lease, 8);
    put_number(p, good ? (uint64_t)raw->good_revision : 0, 8);
    append(writer, raw->key, key_len + 1);
    append(writer, raw->text, raw->text_len);
    append(writer, raw->good_text, good_len);
    writer->keys++;
    hash_new(writer);
}

void state_writer_finish(struct state_writer *writer, char **ret_bytes, size_t *ret_len)
{
    XXH128_canonical_t digest;
    char *p = reserve(writer, 1 + 8);
    *p = 'E';
    put_number(p + 1, writer->keys, 8);
    hash_new(writer);
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(writer->digest));
    append(writer, digest.digest, DIGEST_LEN);
    *ret_bytes = writer->bytes;
    *ret_len = writer->len;
    writer->bytes = NULL;
    (void)state_writer_free(writer); /* NULL */
}

/* ---- reading ------------------------------------------------------------------------------ */

static uint64_t get_number(const char *p, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) {
        value = value << 8 | (uint8_t)p[i];
    }
    return value;
}

static bool get_list(const json_t *head, const char *name, int64_t ret[STATE_WATCHES_MAX])
{
    const json_t *list = json_object_get(head, name);
    for (size_t i = 0; i < STATE_WATCHES_MAX; i++) {
        const json_t *number = json_array_get(list, i);
        if (!json_is_integer(number)) {
            return false;
        }
        ret[i] = json_integer_value(number);
    }
    return true;
}

static const char *get_head(const json_t *head, const char *const prefix[DISC_SPACES],
                            struct state_meta *ret)
{
    const char *cluster_id = json_string_value(json_object_get(head, "cluster_id"));
    const json_t *wall_ms = json_object_get(head, "wall_ms");
    if (cluster_id == NULL || !json_is_integer(wall_ms) ||
        !get_list(head, "seen", ret->resume.seen) || !get_list(head, "count", ret->resume.count) ||
        !get_list(head, "newest", ret->resume.newest)) {
        return "the second line lacks a field";
    }
    for (int s = 0; s < DISC_SPACES; s++) {
        const char *was = json_string_value(json_object_get(head, prefix_names[s]));
        if (was == NULL || strcmp(was, prefix[s]) != 0) {
            return "it belongs to other prefixes";
        }
    }
    ret->resume.cluster_id = strtoull(cluster_id, NULL, 10);
    ret->wall_ms = (uint64_t)json_integer_value(wall_ms);
    return NULL;
}

/* Length of the record at p, 0 where it is none; every length is checked against what is left. */
static size_t get_record(const char *p, size_t left, struct disc_raw *ret)
{
    if (left < RECORD_HEAD || p[0] != 'K' || (uint8_t)p[2] >= DISC_SPACES) {
        return 0;
    }
    uint64_t key_len = get_number(p + 4, 4);
    uint64_t text_len = get_number(p + 8, 4);
    uint64_t good_len = get_number(p + 12, 4);
    uint64_t len = RECORD_HEAD + key_len + 1 + text_len + good_len;
    if (len > left || p[RECORD_HEAD + key_len] != '\0') {
        return 0;
    }
    const char *key = p + RECORD_HEAD;
    *ret = (struct disc_raw){
        .space = (enum disc_space)p[2],
        .key = key,
        .text = key + key_len + 1,
        .text_len = text_len,
        .mod_revision = (int64_t)get_number(p + 16, 8),
        .lease = (int64_t)get_number(p + 24, 8),
        .rejected = (p[1] & FLAG_REJECTED) != 0,
        .held = (p[1] & FLAG_HELD) != 0,
        .good_text = p[1] & FLAG_GOOD ? key + key_len + 1 + text_len : NULL,
        .good_text_len = good_len,
        .good_revision = (int64_t)get_number(p + 32, 8),
    };
    return len;
}

static bool walk(const char *p, size_t left, uint64_t keys, state_key_fn fn, void *arg)
{
    for (; left > 0; keys--) {
        struct disc_raw raw;
        size_t len = keys > 0 ? get_record(p, left, &raw) : 0;
        if (len == 0) {
            return false;
        }
        if (fn != NULL) {
            fn(arg, &raw);
        }
        p += len;
        left -= len;
    }
    return keys == 0;
}

static const char *check_digest(const char *bytes, size_t len)
{
    XXH128_canonical_t digest;
    if (len < MAGIC_LEN + TRAILER_LEN || memcmp(bytes, magic, MAGIC_LEN) != 0) {
        return "it is no state of this version";
    }
    XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes, len - DIGEST_LEN));
    if (memcmp(digest.digest, bytes + len - DIGEST_LEN, DIGEST_LEN) != 0) {
        return "its checksum is wrong";
    }
    return bytes[len - TRAILER_LEN] == 'E' ? NULL : "its end is missing";
}

const char *state_image_read(const char *bytes, size_t len, const char *const prefix[DISC_SPACES],
                             state_key_fn fn, void *arg, struct state_meta *ret_meta)
{
    const char *wrong = check_digest(bytes, len);
    if (wrong != NULL) {
        return wrong;
    }
    const char *head = bytes + MAGIC_LEN;
    const char *end = bytes + len - TRAILER_LEN;
    const char *records = memchr(head, '\n', (size_t)(end - head));
    if (records == NULL) {
        return "its second line does not end";
    }
    struct state_meta meta = {.keys = get_number(end + 1, 8)};
    json_t *root = json_loadb(head, (size_t)(records - head), 0, NULL);
    wrong = get_head(root, prefix, &meta);
    json_decref(root);
    records++;
    if (wrong != NULL) {
        return wrong;
    }
    if (!walk(records, (size_t)(end - records), meta.keys, NULL, NULL)) {
        return "a record does not fit";
    }
    *ret_meta = meta;
    (void)walk(records, (size_t)(end - records), meta.keys, fn, arg); /* checked just now */
    return NULL;
}
