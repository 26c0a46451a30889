/* cli/mapfault.c: see mapfault.h. Everything the handler calls is async-signal-safe; it finds the file
 * by asking the kernel (/proc/self/maps), so that nobody has to keep a list of what is mapped. */
#include "cli/mapfault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/interrupt.h"

enum { MAPFAULT_LINE = 4096 + 128, MAPFAULT_READ = 1024 };

/* Where an address lies: a mapped file and the offset in it. */
struct mapfault_place {
    char line[MAPFAULT_LINE]; /* of /proc/self/maps; ends with the path */
    const char *path;
    uint64_t offset;
};

static const char *mapfault_hex(const char *p, uint64_t *out)
{
    *out = 0;
    for (;; p++) {
        int digit = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
        if (digit < 0) {
            return p;
        }
        *out = *out << 4 | (uint64_t)digit;
    }
}

/* "from-to rwxp offset device inode   path": is it a file, and around the address? */
static bool mapfault_line_holds(struct mapfault_place *place, uint64_t address)
{
    uint64_t from, to, offset;
    const char *p = mapfault_hex(place->line, &from);
    p = *p == '-' ? mapfault_hex(p + 1, &to) : NULL;
    if (!p || address < from || address >= to || strlen(p) < 6) {
        return false;
    }
    mapfault_hex(p + 6, &offset);
    place->path = strchr(p, '/');
    place->offset = offset + (address - from);
    return place->path != NULL;
}

static bool mapfault_find(uint64_t address, struct mapfault_place *place)
{
    char buffer[MAPFAULT_READ];
    size_t len = 0;
    ssize_t got;
    bool found = false;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && !found && (got = read(fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < got && !found; i++) {
            if (buffer[i] != '\n') {
                if (len < sizeof place->line - 1) {
                    place->line[len++] = buffer[i];
                }
                continue;
            }
            place->line[len] = '\0';
            len = 0;
            found = mapfault_line_holds(place, address);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return found;
}

/* A message put together without stdio; what does not fit is cut off. */
struct mapfault_text {
    char data[MAPFAULT_LINE + 512];
    size_t len;
};

static void mapfault_puts(struct mapfault_text *t, const char *s)
{
    size_t n = strlen(s), room = sizeof t->data - t->len;
    n = n < room ? n : room;
    memcpy(t->data + t->len, s, n);
    t->len += n;
}

static void mapfault_number(struct mapfault_text *t, uint64_t v)
{
    char digits[24];
    size_t i = sizeof digits - 1;
    digits[i] = '\0';
    do {
        digits[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    mapfault_puts(t, digits + i);
}

static void mapfault_report(const struct mapfault_place *place)
{
    struct mapfault_text t = {.len = 0};
    struct stat st;
    mapfault_puts(&t, "\nfathom: ");
    mapfault_puts(&t, place->path);
    if (stat(place->path, &st) == 0 && (uint64_t)st.st_size <= place->offset) {
        mapfault_puts(&t, " was cut short by another program while it was in use: it has ");
        mapfault_number(&t, (uint64_t)st.st_size);
        mapfault_puts(&t, " bytes now, and the byte at ");
        mapfault_number(&t, place->offset);
        mapfault_puts(&t, " was needed. Put the whole file back (fathom pull) and start again\n");
    } else {
        mapfault_puts(&t, " could not be read at byte ");
        mapfault_number(&t, place->offset);
        mapfault_puts(&t, ": it was changed while it was in use, or its disk failed. Check the disk, put "
                          "the file back and start again\n");
    }
    size_t done = 0;
    while (done < t.len) {
        ssize_t n = write(STDERR_FILENO, t.data + done, t.len - done);
        if (n <= 0 && errno != EINTR) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
}

static void mapfault_handler(int sig, siginfo_t *info, void *context)
{
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    (void)context;
    while (atomic_flag_test_and_set(&busy)) {
        pause(); /* another thread met the same and speaks for all */
    }
    struct mapfault_place place; /* si_code > 0: the kernel's, and so with an address */
    if (info->si_code > 0 && mapfault_find((uint64_t)(uintptr_t)info->si_addr, &place)) {
        interrupt_restore(); /* the terminal shows again what is typed */
        mapfault_report(&place);
        _exit(1);
    }
    signal(sig, SIG_DFL);
    raise(sig); /* comes when this handler returns */
}

void mapfault_watch(void)
{
    struct sigaction action = {.sa_sigaction = mapfault_handler, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
