/* server/sandbox.c: see sandbox.h. */
#include "server/sandbox.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/capabilities.h"
#include "server/landlock.h"
#include "server/syscallfilter.h"

/* What the C library, OpenMP and base/{meminfo,cpuinfo} read. Of /proc the whole: Landlock knows a file
 * by its inode, and the kernel forgets those of single files in /proc when memory is short. Other
 * processes' memory and environment stay closed there, Landlock sees to that. */
static const struct landlock_path sandbox_system[] = {
    {"/proc", LANDLOCK_READ, true},
    {"/sys/devices/system", LANDLOCK_READ, true},
    {"/sys/fs/cgroup", LANDLOCK_READ, true},
    {"/etc/localtime", LANDLOCK_READ, true},
    {"/usr/share/zoneinfo", LANDLOCK_READ, true},
    {"/dev/null", LANDLOCK_WRITE, true},
    {"/dev/urandom", LANDLOCK_READ, true},
};

enum { SANDBOX_SYSTEM = sizeof sandbox_system / sizeof *sandbox_system };

static int sandbox_socket_option(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

/* A datagram or raw socket sends to whatever address comes with sendmsg: none may be open. Streams of TCP
 * and of this machine listen or have their peer already. */
static err sandbox_check_socket(int fd, struct errinfo *info)
{
    int type = sandbox_socket_option(fd, SO_TYPE), family = sandbox_socket_option(fd, SO_DOMAIN),
        protocol = sandbox_socket_option(fd, SO_PROTOCOL);
    bool local = family == AF_UNIX && (type == SOCK_STREAM || type == SOCK_SEQPACKET);
    bool tcp =
        (family == AF_INET || family == AF_INET6) && type == SOCK_STREAM && protocol != IPPROTO_SCTP;
    if (type < 0 || local || tcp) {
        return ERR_OK;
    }
    return err_set(
        info, ERR_ARGUMENT,
        "descriptor %d is a socket that can send to any address (family %d, type %d); it must be "
        "closed before the sandbox begins",
        fd, family, type);
}

static err sandbox_check_descriptors(struct errinfo *info)
{
    DIR *list = opendir("/proc/self/fd");
    if (!list) {
        return err_set(info, ERR_IO, "listing the open descriptors (/proc/self/fd): %s", strerror(errno));
    }
    err e = ERR_OK;
    for (struct dirent *entry; e == ERR_OK && (entry = readdir(list));) {
        if (entry->d_name[0] != '.') {
            e = sandbox_check_socket((int)strtol(entry->d_name, NULL, 10), info);
        }
    }
    closedir(list);
    return e;
}

/* The C library loads this one when a thread ends by pthread_exit, as OpenMP's do, and ends the process when
 * it cannot. (Another C library that has no such file does not need it.) */
static void sandbox_preload(void)
{
    (void)dlopen("libgcc_s.so.1", RTLD_NOW);
}

static err sandbox_harden(struct errinfo *info)
{
    const struct rlimit none = {0, 0};
    umask(077);
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        return err_set(info, ERR_IO, "switching core files off: %s", strerror(errno));
    }
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return err_set(info, ERR_IO, "closing this process to tracers: %s", strerror(errno));
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return err_set(info, ERR_UNSUPPORTED, "giving up new privileges (no_new_privs): %s",
                       strerror(errno));
    }
    return capabilities_drop(info);
}

static int sandbox_abi(const struct sandbox_options *o)
{
    int abi = landlock_abi();
    return o->landlock_limit > 0 && o->landlock_limit - 1 < abi ? o->landlock_limit - 1 : abi;
}

static err sandbox_files(const struct sandbox_options *o, int abi, struct errinfo *info)
{
    struct landlock_path paths[SANDBOX_SYSTEM + SANDBOX_READ_MAX + 1];
    size_t n = SANDBOX_SYSTEM;
    memcpy(paths, sandbox_system, sizeof sandbox_system);
    for (size_t i = 0; i < o->n_read; i++) {
        paths[n++] = (struct landlock_path){o->read[i], LANDLOCK_READ, false};
    }
    if (o->data) {
        paths[n++] = (struct landlock_path){o->data, LANDLOCK_WRITE, false};
    }
    return landlock_restrict(abi, paths, n, info);
}

/* The locks as they are felt, not as they were asked for. */
static err sandbox_feel(bool files, struct errinfo *info)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 || errno != EACCES) {
        return err_set(info, ERR_UNSUPPORTED,
                       "the filter of system calls is loaded, but sockets are made all the same");
    }
    fd = files ? open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (files && (fd >= 0 || errno != EACCES)) {
        return err_set(info, ERR_UNSUPPORTED,
                       "Landlock is on, but folders outside of it open all the same");
    }
    return ERR_OK;
}

err sandbox_enter(const struct sandbox_options *options, struct sandbox_report *out, struct errinfo *info)
{
    int abi = sandbox_abi(options);
    if (options->n_read > SANDBOX_READ_MAX) {
        return err_set(info, ERR_ARGUMENT, "%zu paths to read, at most %d", options->n_read,
                       SANDBOX_READ_MAX);
    }
    if (abi == 0 && !options->files_may_be_free) {
        return err_set(
            info, ERR_UNSUPPORTED,
            "this kernel cannot restrict files (Landlock is not in it, or off): connections could be "
            "refused, but every file of this user would stay open to the server");
    }
    TRY(sandbox_check_descriptors(info));
    sandbox_preload();
    TRY(sandbox_harden(info));
    if (abi > 0) {
        TRY(sandbox_files(options, abi, info));
    }
    TRY(syscallfilter_load(SYSCALLFILTER_SERVER, info));
    TRY(sandbox_feel(abi > 0, info));
    out->seccomp = true;
    out->landlock_abi = abi;
    out->landlock = abi >= LANDLOCK_ABI_TCP ? SANDBOX_LANDLOCK_FULL
                    : abi > 0               ? SANDBOX_LANDLOCK_PARTIAL
                                            : SANDBOX_LANDLOCK_NONE;
    return ERR_OK;
}

const char *sandbox_text(const struct sandbox_report *report, char text[SANDBOX_TEXT])
{
    if (!report->seccomp) {
        snprintf(text, SANDBOX_TEXT, "OFF");
    } else {
        snprintf(text, SANDBOX_TEXT,
                 "no connection goes out, no program starts; %s "
                 "(held by the kernel: seccomp, Landlock ABI %d)",
                 report->landlock == SANDBOX_LANDLOCK_NONE
                     ? "files are NOT restricted"
                     : "outside of the data folder no file is changed, the system's own alone are read",
                 report->landlock_abi);
    }
    return text;
}
