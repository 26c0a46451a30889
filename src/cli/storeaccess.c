/* cli/storeaccess.c: see storeaccess.h. */
#include "cli/storeaccess.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

bool storeaccess_ask(const char *question, char line[STOREACCESS_PASSPHRASE])
{
    struct termios shown, hidden;
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &shown) != 0) {
        return false;
    }
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden); /* drops what was typed before the question */
    fputs(question, stderr);
    bool read = fgets(line, STOREACCESS_PASSPHRASE, stdin) != NULL;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    line[strcspn(line, "\n")] = '\0';
    return read;
}

/* Whether the key file wants a passphrase; one that is missing or wrong is for database_open to tell. */
static err storeaccess_locked(const char *path, bool *locked, struct errinfo *info)
{
    err e = vault_locked(path, locked, NULL);
    return e == ERR_NOMEM ? err_set(info, e, "out of memory for the key file") : ERR_OK;
}

/* Asks until what is typed opens the key file, a few times. */
static err storeaccess_ask_for(const char *path, char kept[STOREACCESS_PASSPHRASE], struct errinfo *info)
{
    enum { STOREACCESS_TRIES = 3 };
    err e = ERR_OK;
    for (int i = 0; i < STOREACCESS_TRIES; i++) {
        struct vault *v = NULL;
        fputs(i > 0 ? "that is not it; once more\n" : "", stderr);
        if (!storeaccess_ask("passphrase of the chats and keys: ", kept)) {
            return err_set(info, ERR_ARGUMENT,
                           "the key file %s wants its passphrase: set FATHOM_PASSPHRASE, or run this on a "
                           "terminal",
                           path);
        }
        e = vault_open(path, &(struct vault_options){.passphrase = kept}, &v, info);
        vault_close(v);
        if (e != ERR_ARGUMENT) {
            return e;
        }
    }
    return e;
}

static err storeaccess_typed(const char *folder, char kept[STOREACCESS_PASSPHRASE], const char **out,
                             struct errinfo *info)
{
    char *path = file_join(folder, "fathom.key");
    bool locked = false;
    err e = path ? storeaccess_locked(path, &locked, info)
                 : err_set(info, ERR_NOMEM, "out of memory for a path");
    e = e == ERR_OK && locked ? storeaccess_ask_for(path, kept, info) : e;
    mem_free(path);
    *out = locked ? kept : NULL;
    return e;
}

err storeaccess_passphrase(const char *folder, char kept[STOREACCESS_PASSPHRASE], const char **out,
                           struct errinfo *info)
{
    char *given = getenv("FATHOM_PASSPHRASE");
    kept[0] = '\0';
    *out = NULL;
    if (given) {
        size_t n = strlen(given);
        bool fits = n < STOREACCESS_PASSPHRASE;
        memcpy(kept, given, fits ? n + 1 : 0);
        sodium_memzero(given, n);
        unsetenv("FATHOM_PASSPHRASE");
        *out = kept;
        return fits ? ERR_OK
                    : err_set(info, ERR_ARGUMENT, "FATHOM_PASSPHRASE is %zu bytes long, at most %d are", n,
                              VAULT_PASSPHRASE_MAX);
    }
    return storeaccess_typed(folder, kept, out, info);
}

static err storeaccess_open_in(const char *folder, struct database **out, struct errinfo *info)
{
    char kept[STOREACCESS_PASSPHRASE];
    const char *passphrase;
    err e = storeaccess_passphrase(folder, kept, &passphrase, info);
    e = e == ERR_OK ? database_open(folder, passphrase, out, info) : e;
    sodium_memzero(kept, sizeof kept);
    return e;
}

err storeaccess_open(const char *folder, struct database **out, struct errinfo *info)
{
    char *standard = NULL;
    if (!folder) {
        TRY(database_folder(&standard, info));
    }
    err e = storeaccess_open_in(folder ? folder : standard, out, info);
    mem_free(standard);
    return e;
}

/* Whether a database is there; what is wrong with it is for database_open to tell. */
static err storeaccess_there(const char *folder, bool *there, struct errinfo *info)
{
    struct stat st;
    char *path = file_join(folder, "fathom.db");
    if (!path) {
        return err_set(info, ERR_NOMEM, "out of memory for a path");
    }
    *there = lstat(path, &st) == 0 || errno != ENOENT;
    mem_free(path);
    return ERR_OK;
}

err storeaccess_look(const char *folder, struct database **out, struct errinfo *info)
{
    char *standard = NULL;
    bool there = true;
    if (!folder) {
        TRY(database_folder(&standard, info));
    }
    const char *place = folder ? folder : standard;
    err e = storeaccess_there(place, &there, info);
    if (folder && !there && !file_is_dir(folder)) {
        fprintf(stderr, "note: --data names %s, and there is no such folder\n", folder);
    }
    if (e == ERR_OK) {
        e = there ? storeaccess_open_in(place, out, info) : database_new(out, info);
    }
    mem_free(standard);
    return e;
}

int64_t storeaccess_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
