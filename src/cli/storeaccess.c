/* cli/storeaccess.c: see storeaccess.h. */
#include "cli/storeaccess.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    fputs(question, stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    bool read = fgets(line, STOREACCESS_PASSPHRASE, stdin) != NULL;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    line[strcspn(line, "\n")] = '\0';
    return read;
}

/* Whether the key file in the folder wants a passphrase; one that is missing or wrong is for database_open to
 * tell. */
static err storeaccess_locked(const char *folder, bool *locked, struct errinfo *info)
{
    char *path = file_join(folder, "fathom.key");
    if (!path) {
        return err_set(info, ERR_NOMEM, "out of memory for a path");
    }
    err e = vault_locked(path, locked, NULL);
    mem_free(path);
    return e == ERR_NOMEM ? err_set(info, e, "out of memory for the key file") : ERR_OK;
}

err storeaccess_passphrase(const char *folder, char kept[STOREACCESS_PASSPHRASE], const char **out,
                           struct errinfo *info)
{
    char *given = getenv("FATHOM_PASSPHRASE");
    bool locked = false;
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
    TRY(storeaccess_locked(folder, &locked, info));
    if (locked && !storeaccess_ask("passphrase of the chats and keys: ", kept)) {
        return err_set(
            info, ERR_ARGUMENT,
            "the key file in %s wants its passphrase: set FATHOM_PASSPHRASE, or run this on a terminal",
            folder);
    }
    *out = locked ? kept : NULL;
    return ERR_OK;
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

int64_t storeaccess_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
