/* server/landlock.c: see landlock.h. */
#include "server/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/everythread.h"

#define LANDLOCK_BIT(n) (UINT64_C(1) << (n))

enum {
    LANDLOCK_VERSION_QUESTION = 1,
    LANDLOCK_RULE_BENEATH = 1,
};

/* Bits of handled_access_fs and the ABI that brought them. */
static const uint64_t LANDLOCK_FS_EXECUTE = LANDLOCK_BIT(0), LANDLOCK_FS_WRITE_FILE = LANDLOCK_BIT(1),
                      LANDLOCK_FS_READ_FILE = LANDLOCK_BIT(2), LANDLOCK_FS_READ_DIR = LANDLOCK_BIT(3),
                      LANDLOCK_FS_REMOVE_DIR = LANDLOCK_BIT(4), LANDLOCK_FS_REMOVE_FILE = LANDLOCK_BIT(5),
                      LANDLOCK_FS_MAKE_DIR = LANDLOCK_BIT(7), LANDLOCK_FS_MAKE_REG = LANDLOCK_BIT(8),
                      LANDLOCK_FS_ABI1 = LANDLOCK_BIT(13) - 1,
                      LANDLOCK_FS_REFER = LANDLOCK_BIT(13), /* 2 */
    LANDLOCK_FS_TRUNCATE = LANDLOCK_BIT(14),                /* 3 */
    LANDLOCK_FS_IOCTL_DEV = LANDLOCK_BIT(15),               /* 5 */
    LANDLOCK_NET_BIND_AND_CONNECT = 3;                      /* 4 */

struct landlock_ruleset { /* the kernel's; it has the first 8 bytes of it at ABI 1 */
    uint64_t fs, net;
};

struct landlock_beneath { /* the kernel's, packed as there */
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

int landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_QUESTION);
    return abi > 0 ? (int)abi : 0;
}

static uint64_t landlock_handled(int abi)
{
    return LANDLOCK_FS_ABI1 | (abi >= 2 ? LANDLOCK_FS_REFER : 0) | (abi >= 3 ? LANDLOCK_FS_TRUNCATE : 0) |
           (abi >= 5 ? LANDLOCK_FS_IOCTL_DEV : 0);
}

/* The bits of an access; a file that is no folder may only be given those that files have. */
static uint64_t landlock_bits(enum landlock_access access, bool folder)
{
    const uint64_t of_files =
        LANDLOCK_FS_EXECUTE | LANDLOCK_FS_WRITE_FILE | LANDLOCK_FS_READ_FILE | LANDLOCK_FS_TRUNCATE;
    uint64_t bits = LANDLOCK_FS_READ_FILE | LANDLOCK_FS_READ_DIR;
    if (access == LANDLOCK_EXECUTE) {
        bits |= LANDLOCK_FS_EXECUTE;
    } else if (access == LANDLOCK_WRITE) {
        bits |= LANDLOCK_FS_WRITE_FILE | LANDLOCK_FS_TRUNCATE | LANDLOCK_FS_REMOVE_DIR |
                LANDLOCK_FS_REMOVE_FILE | LANDLOCK_FS_MAKE_DIR | LANDLOCK_FS_MAKE_REG | LANDLOCK_FS_REFER;
    }
    return folder ? bits : bits & of_files;
}

static err landlock_allow(int ruleset, uint64_t handled, const struct landlock_path *p,
                          struct errinfo *info)
{
    struct stat st;
    int fd = open(p->path, O_PATH | O_CLOEXEC);
    if (fd < 0 && p->optional) {
        return ERR_OK;
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        err e = err_set(info, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "restricting files to %s: %s",
                        p->path, strerror(errno));
        close(fd);
        return e;
    }
    struct landlock_beneath rule = {landlock_bits(p->access, S_ISDIR(st.st_mode)) & handled, fd};
    long failed = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_BENEATH, &rule, 0);
    int number = errno;
    close(fd);
    return failed ? err_set(info, ERR_IO, "restricting files to %s: %s", p->path, strerror(number))
                  : ERR_OK;
}

/* In each thread. */
static int landlock_enter(void *ruleset)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_landlock_restrict_self, (int)(intptr_t)ruleset, 0) != 0) {
        return errno;
    }
    return 0;
}

err landlock_restrict(int abi, const struct landlock_path *paths, size_t n, struct errinfo *info)
{
    struct landlock_ruleset rules = {.fs = landlock_handled(abi), .net = LANDLOCK_NET_BIND_AND_CONNECT};
    size_t size = abi >= LANDLOCK_ABI_TCP ? sizeof rules : sizeof rules.fs;
    int ruleset = abi > 0 ? (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0) : -1;
    if (ruleset < 0) {
        return err_set(info, ERR_UNSUPPORTED, "Landlock is not to be had: %s",
                       abi > 0 ? strerror(errno) : "the kernel is built or started without it");
    }
    err e = ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = landlock_allow(ruleset, rules.fs, &paths[i], info);
    }
    if (e == ERR_OK) {
        e = everythread_call(landlock_enter, (void *)(intptr_t)ruleset, info);
    }
    close(ruleset);
    return e;
}
