/* tests/server/storefixture.h: a store in a folder of its own, and short words for what tests do with it. Test
 * programs only; include cmocka first. */
#ifndef TESTS_STOREFIXTURE_H
#define TESTS_STOREFIXTURE_H

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/tempdir.h"
#include "server/chatstore.h"
#include "server/chattree.h"

struct storefixture {
    struct tempdir dir;
    struct database *database;
    struct chatstore *chats;
    struct errinfo info;
    bool durable; /* waits for the disk, as a server does; other tests have no time for it */
};

static inline void storefixture_open(struct storefixture *f)
{
    if (database_open(f->dir.path, NULL, &f->database, &f->info) != ERR_OK ||
        chatstore_open(f->database, false, &f->chats, &f->info) != ERR_OK) {
        fail_msg("%s", f->info.message);
    }
    if (!f->durable) {
        sqlite3_exec(database_handle(f->database), "PRAGMA synchronous=OFF", NULL, NULL, NULL);
    }
}

static inline void storefixture_close(struct storefixture *f)
{
    chatstore_close(f->chats);
    database_close(f->database);
    f->chats = NULL;
    f->database = NULL;
}

static inline void storefixture_make(struct storefixture *f)
{
    memset(f, 0, sizeof *f);
    tempdir_make(&f->dir);
    storefixture_open(f);
}

static inline void storefixture_remove(struct storefixture *f)
{
    storefixture_close(f);
    tempdir_remove_all(f->dir.path);
}

static inline void storefixture_reopen(struct storefixture *f)
{
    storefixture_close(f);
    storefixture_open(f);
}

/* Counts the commits that have the spare room, which a full disk has to offer alone (database_begin_delete). */
struct storefixture_commits {
    const struct storefixture *of;
    int all, spared;
};

static inline int storefixture_on_commit(void *user)
{
    struct storefixture_commits *c = user;
    char path[sizeof c->of->dir.path + 40];
    struct stat st = {.st_size = -1};
    snprintf(path, sizeof path, "%s/fathom.db-spare", c->of->dir.path);
    stat(path, &st);
    c->all++;
    c->spared += st.st_size == 0;
    return 0;
}

static inline void storefixture_watch(const struct storefixture *f, struct storefixture_commits *out)
{
    *out = (struct storefixture_commits){.of = f};
    sqlite3_commit_hook(database_handle(f->database), storefixture_on_commit, out);
}

/* JSON written with ' for ". */
static inline json_t *storefixture_json(const char *text)
{
    char *copy = strdup(text);
    json_t *value = NULL;
    struct errinfo info = {0};
    for (char *p = copy; *p; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    if (json_parse(copy, strlen(copy), "test", &value, &info) != ERR_OK) {
        fail_msg("%s: %s", info.message, text);
    }
    free(copy);
    return value;
}

/* A new chat; its id, to be freed with free. */
static inline char *storefixture_chat(struct storefixture *f, const char *owner, const char *fields, int64_t now)
{
    json_t *in = storefixture_json(fields), *chat = NULL;
    if (chatstore_create(f->chats, owner, in, now, &chat, &f->info) != ERR_OK) {
        fail_msg("%s", f->info.message);
    }
    char *id = strdup(json_string_value(json_object_get(chat, "id")));
    json_decref(in);
    json_decref(chat);
    return id;
}

/* A turn and its whole answer; the answer's id, to be freed with free. */
static inline char *storefixture_talk(struct storefixture *f, const char *owner, const char *chat,
                                      const char *parent, const char *says, const char *answers, int64_t now)
{
    json_t *both = NULL, *message = NULL;
    struct chattree_turn turn = {.parent = parent, .content = says, .think = "off"};
    struct chattree_ending ending = {.state = CHATTREE_DONE, .content = answers, .reasoning = ""};
    if (chattree_ask(f->chats, owner, chat, &turn, now, &both, &f->info) != ERR_OK) {
        fail_msg("%s", f->info.message);
    }
    char *id = strdup(json_string_value(json_object_get(json_object_get(both, "answer"), "id")));
    json_decref(both);
    if (chattree_end(f->chats, owner, id, &ending, now, &message, &f->info) != ERR_OK) {
        fail_msg("%s", f->info.message);
    }
    json_decref(message);
    return id;
}

/* Whether any file of the folder holds these bytes. */
static inline bool storefixture_grep(struct storefixture *f, const void *bytes, size_t n)
{
    bool found = false;
    DIR *d = opendir(f->dir.path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        struct file_map map;
        if (e->d_name[0] != '.' && file_map_open(tempdir_file(&f->dir, e->d_name), &map, NULL) == ERR_OK) {
            found = found || (map.data && memmem(map.data, map.size, bytes, n));
            file_map_close(&map);
        }
    }
    closedir(d);
    return found;
}

#endif
