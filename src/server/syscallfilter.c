/* server/syscallfilter.c: see syscallfilter.h. */
#include "server/syscallfilter.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Columns of the tables below. */
enum {
    S = SYSCALLFILTER_SERVER,
    P = SYSCALLFILTER_STARTER, /* of programs */
    C = SYSCALLFILTER_CONVERTER,
    ALL = S | P | C,
};

struct syscallfilter_call {
    int number; /* below 0: this processor's kernel has no such call */
    int lists;
};

/* Calls that may be made with any arguments. */
static const struct syscallfilter_call syscallfilter_allowed[] = {
    /* what is open */
    {SCMP_SYS(read), ALL},
    {SCMP_SYS(readv), ALL},
    {SCMP_SYS(pread64), ALL},
    {SCMP_SYS(preadv), ALL},
    {SCMP_SYS(write), ALL},
    {SCMP_SYS(writev), ALL},
    {SCMP_SYS(pwrite64), S | P},
    {SCMP_SYS(pwritev), S | P},
    {SCMP_SYS(lseek), ALL},
    {SCMP_SYS(close), ALL},
    {SCMP_SYS(fstat), ALL},
    {SCMP_SYS(fstatfs), ALL},
    {SCMP_SYS(fadvise64), ALL},
    {SCMP_SYS(dup), ALL},
    {SCMP_SYS(dup2), ALL},
    {SCMP_SYS(dup3), ALL},
    {SCMP_SYS(sendfile), S},
    {SCMP_SYS(ftruncate), S | P},
    {SCMP_SYS(fallocate), S},
    {SCMP_SYS(fsync), S},
    {SCMP_SYS(fdatasync), S},
    {SCMP_SYS(flock), S},
    {SCMP_SYS(close_range), P},
    {SCMP_SYS(memfd_create), P},
    {SCMP_SYS(pipe), S | P},
    {SCMP_SYS(pipe2), S | P},
    {SCMP_SYS(eventfd2), S},
    {SCMP_SYS(timerfd_create), S},
    {SCMP_SYS(timerfd_settime), S},
    {SCMP_SYS(timerfd_gettime), S},
    /* waiting for it */
    {SCMP_SYS(poll), ALL},
    {SCMP_SYS(ppoll), ALL},
    {SCMP_SYS(select), ALL},
    {SCMP_SYS(pselect6), ALL},
    {SCMP_SYS(epoll_create1), S},
    {SCMP_SYS(epoll_ctl), S},
    {SCMP_SYS(epoll_wait), S},
    {SCMP_SYS(epoll_pwait), S},
    {SCMP_SYS(epoll_pwait2), S},
    /* files by name; Landlock says which */
    {SCMP_SYS(open), ALL},
    {SCMP_SYS(openat), ALL},
    {SCMP_SYS(stat), ALL},
    {SCMP_SYS(lstat), ALL},
    {SCMP_SYS(newfstatat), ALL},
    {SCMP_SYS(statx), ALL},
    {SCMP_SYS(statfs), ALL},
    {SCMP_SYS(access), ALL},
    {SCMP_SYS(faccessat), ALL},
    {SCMP_SYS(faccessat2), ALL},
    {SCMP_SYS(readlink), ALL},
    {SCMP_SYS(readlinkat), ALL},
    {SCMP_SYS(getcwd), ALL},
    {SCMP_SYS(getdents64), ALL},
    {SCMP_SYS(mkdir), S},
    {SCMP_SYS(mkdirat), S},
    {SCMP_SYS(rmdir), S},
    {SCMP_SYS(unlink), S},
    {SCMP_SYS(unlinkat), S},
    {SCMP_SYS(rename), S},
    {SCMP_SYS(renameat), S},
    {SCMP_SYS(renameat2), S},
    {SCMP_SYS(umask), S},
    /* connections that are there, and those that come */
    {SCMP_SYS(accept), S},
    {SCMP_SYS(accept4), S},
    {SCMP_SYS(recvfrom), S},
    {SCMP_SYS(recvmsg), S},
    {SCMP_SYS(shutdown), S},
    {SCMP_SYS(getsockname), S},
    {SCMP_SYS(getpeername), S},
    {SCMP_SYS(getsockopt), S},
    /* memory */
    {SCMP_SYS(brk), ALL},
    {SCMP_SYS(munmap), ALL},
    {SCMP_SYS(mremap), ALL},
    {SCMP_SYS(madvise), ALL},
    {SCMP_SYS(mlock), S},
    {SCMP_SYS(mlock2), S},
    {SCMP_SYS(munlock), S},
    {SCMP_SYS(msync), S},
    {SCMP_SYS(mincore), S},
    {SCMP_SYS(membarrier), S},
    /* threads and signals among them */
    {SCMP_SYS(futex), ALL},
    {SCMP_SYS(set_robust_list), ALL},
    {SCMP_SYS(get_robust_list), ALL},
    {SCMP_SYS(set_tid_address), ALL},
    {SCMP_SYS(rseq), ALL},
    {SCMP_SYS(gettid), ALL},
    {SCMP_SYS(sched_yield), ALL},
    {SCMP_SYS(sched_getaffinity), ALL},
    {SCMP_SYS(sched_setaffinity), S},
    {SCMP_SYS(sched_getparam), S},
    {SCMP_SYS(sched_getscheduler), S},
    {SCMP_SYS(sched_get_priority_min), S},
    {SCMP_SYS(sched_get_priority_max), S},
    {SCMP_SYS(getcpu), ALL},
    {SCMP_SYS(getpriority), S},
    {SCMP_SYS(rt_sigaction), ALL},
    {SCMP_SYS(rt_sigprocmask), ALL},
    {SCMP_SYS(rt_sigreturn), ALL},
    {SCMP_SYS(rt_sigtimedwait), S | P},
    {SCMP_SYS(rt_sigsuspend), S | P},
    {SCMP_SYS(rt_sigpending), S | P},
    {SCMP_SYS(sigaltstack), ALL},
    {SCMP_SYS(pause), S | P},
    {SCMP_SYS(restart_syscall), ALL},
    {SCMP_SYS(exit), ALL},
    {SCMP_SYS(exit_group), ALL},
    /* clocks, chance, who and where we are */
    {SCMP_SYS(clock_gettime), ALL},
    {SCMP_SYS(clock_getres), ALL},
    {SCMP_SYS(clock_nanosleep), ALL},
    {SCMP_SYS(nanosleep), ALL},
    {SCMP_SYS(gettimeofday), ALL},
    {SCMP_SYS(time), ALL},
    {SCMP_SYS(times), ALL},
    {SCMP_SYS(getrandom), ALL},
    {SCMP_SYS(getpid), ALL},
    {SCMP_SYS(getppid), ALL},
    {SCMP_SYS(getuid), ALL},
    {SCMP_SYS(geteuid), ALL},
    {SCMP_SYS(getgid), ALL},
    {SCMP_SYS(getegid), ALL},
    {SCMP_SYS(getrusage), ALL},
    {SCMP_SYS(getrlimit), ALL},
    {SCMP_SYS(sysinfo), ALL},
    {SCMP_SYS(uname), ALL},
    /* other programs */
    {SCMP_SYS(execve), P | C},
    {SCMP_SYS(arch_prctl), P | C},
    {SCMP_SYS(mprotect), P | C},
    {SCMP_SYS(mmap), P | C},
    {SCMP_SYS(prlimit64), P | C},
    {SCMP_SYS(clone), P},
    {SCMP_SYS(fork), P},
    {SCMP_SYS(vfork), P},
    {SCMP_SYS(wait4), P},
    {SCMP_SYS(waitid), P},
    {SCMP_SYS(kill), P},
    {SCMP_SYS(tgkill), P},
    {SCMP_SYS(alarm), P},
    {SCMP_SYS(setitimer), P},
    {SCMP_SYS(prctl), P},
    {SCMP_SYS(seccomp), P},
    {SCMP_SYS(fcntl), P | C},
    {SCMP_SYS(ioctl), P | C},
};

/* Calls of the server that pass only with these arguments: any row that fits is enough. */
struct syscallfilter_case {
    int number;
    unsigned n;
    struct scmp_arg_cmp args[2];
};

/* Beside CLONE_THREAD none of the flags that make namespaces. (clone3 has its flags in memory, where no
 * filter sees them; told ENOSYS, the C library takes clone.) */
static const uint64_t SYSCALLFILTER_CLONE = CLONE_THREAD | CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                            CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

enum {
    SYSCALLFILTER_REQUEST_XCOMP = 0x1023,   /* of arch_prctl: the tiles of AMX, wherever they are used first */
    SYSCALLFILTER_NAME_MEMORY = 0x53564d41, /* of prctl: newer C libraries name their memory */
};

static const struct syscallfilter_case syscallfilter_cases[] = {
    /* Sending names no address, and does not open a connection by the way (MSG_FASTOPEN): a listening
     * socket that was shut down could otherwise connect like a new one. sendmsg's address is in memory
     * where no filter sees it: sandbox_enter makes sure that no socket is open that would heed it. */
    {SCMP_SYS(sendto), 2, {{4, SCMP_CMP_EQ, 0, 0}, {3, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0}}},
    {SCMP_SYS(sendmsg), 1, {{2, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0}}},
    {SCMP_SYS(setsockopt), 2, {{1, SCMP_CMP_EQ, IPPROTO_TCP, 0}, {2, SCMP_CMP_EQ, TCP_NODELAY, 0}}},
    {SCMP_SYS(setsockopt), 2, {{1, SCMP_CMP_EQ, IPPROTO_TCP, 0}, {2, SCMP_CMP_EQ, TCP_CORK, 0}}},
    {SCMP_SYS(setsockopt), 2, {{1, SCMP_CMP_EQ, IPPROTO_TCP, 0}, {2, SCMP_CMP_EQ, TCP_USER_TIMEOUT, 0}}},
    {SCMP_SYS(setsockopt), 2, {{1, SCMP_CMP_EQ, SOL_SOCKET, 0}, {2, SCMP_CMP_EQ, SO_KEEPALIVE, 0}}},
    {SCMP_SYS(setsockopt), 2, {{1, SCMP_CMP_EQ, SOL_SOCKET, 0}, {2, SCMP_CMP_EQ, SO_LINGER, 0}}},
    {SCMP_SYS(setsockopt), 2, {{1, SCMP_CMP_EQ, SOL_SOCKET, 0}, {2, SCMP_CMP_EQ, SO_SNDTIMEO, 0}}},
    {SCMP_SYS(setsockopt), 2, {{1, SCMP_CMP_EQ, SOL_SOCKET, 0}, {2, SCMP_CMP_EQ, SO_RCVTIMEO, 0}}},
    {SCMP_SYS(setsockopt), 2, {{1, SCMP_CMP_EQ, SOL_SOCKET, 0}, {2, SCMP_CMP_EQ, SO_SNDBUF, 0}}},
    {SCMP_SYS(setsockopt), 2, {{1, SCMP_CMP_EQ, SOL_SOCKET, 0}, {2, SCMP_CMP_EQ, SO_RCVBUF, 0}}},
    /* No new code: neither a library nor what somebody wrote into memory. */
    {SCMP_SYS(mmap), 1, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}}},
    {SCMP_SYS(mprotect), 1, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}}},
    {SCMP_SYS(clone), 1, {{0, SCMP_CMP_MASKED_EQ, SYSCALLFILTER_CLONE, CLONE_THREAD}}},
    {SCMP_SYS(prlimit64), 1, {{2, SCMP_CMP_EQ, 0, 0}}}, /* asks, does not set */
    {SCMP_SYS(arch_prctl), 1, {{0, SCMP_CMP_EQ, SYSCALLFILTER_REQUEST_XCOMP, 0}}},
    {SCMP_SYS(prctl), 1, {{0, SCMP_CMP_EQ, PR_SET_NAME, 0}}},
    {SCMP_SYS(prctl), 1, {{0, SCMP_CMP_EQ, SYSCALLFILTER_NAME_MEMORY, 0}}},
    {SCMP_SYS(ioctl), 1, {{1, SCMP_CMP_EQ, TCGETS, 0}}}, /* isatty */
    {SCMP_SYS(ioctl), 1, {{1, SCMP_CMP_EQ, TIOCGWINSZ, 0}}},
    {SCMP_SYS(ioctl), 1, {{1, SCMP_CMP_EQ, FIONREAD, 0}}},
    {SCMP_SYS(ioctl), 1, {{1, SCMP_CMP_EQ, FIONBIO, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_DUPFD, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_DUPFD_CLOEXEC, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_GETFD, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_SETFD, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_GETFL, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_SETFL, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_GETLK, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_SETLK, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_SETLKW, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_OFD_GETLK, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_OFD_SETLK, 0}}},
    {SCMP_SYS(fcntl), 1, {{1, SCMP_CMP_EQ, F_OFD_SETLKW, 0}}},
};

/* Calls that libraries try, and do without: EACCES. For the lists that do not allow them. */
static const int syscallfilter_harmless[] = {
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(memfd_create),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(fchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(lchown),
    SCMP_SYS(utimensat),
    SCMP_SYS(mbind),
    SCMP_SYS(get_mempolicy),
    SCMP_SYS(set_mempolicy),
    SCMP_SYS(getgroups),
    SCMP_SYS(setpriority),
    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(getxattr),
    SCMP_SYS(fgetxattr),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat),
    SCMP_SYS(chdir),
    SCMP_SYS(inotify_init1),
    SCMP_SYS(mkdir),
    SCMP_SYS(unlink),
    SCMP_SYS(readahead),
    SCMP_SYS(sched_getattr),
    SCMP_SYS(setrlimit),
};

/* The first call this file does not know, and the last number a kernel of 64 bits gives to one (from 512
 * on x86-64 has its x32, which is another architecture and ends the process). */
enum { SYSCALLFILTER_NEWER = 448, SYSCALLFILTER_LAST = 511, SYSCALLFILTER_BINARY_TREE = 2 };

static int syscallfilter_add_allowed(scmp_filter_ctx filter, enum syscallfilter_list list)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof syscallfilter_allowed / sizeof *syscallfilter_allowed && !failed; i++) {
        const struct syscallfilter_call *c = &syscallfilter_allowed[i];
        if (c->number >= 0 && (c->lists & (int)list)) {
            failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, c->number, 0);
        }
    }
    return failed;
}

static int syscallfilter_add_cases(scmp_filter_ctx filter)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof syscallfilter_cases / sizeof *syscallfilter_cases && !failed; i++) {
        const struct syscallfilter_case *c = &syscallfilter_cases[i];
        if (c->number >= 0) {
            failed = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, c->number, c->n, c->args);
        }
    }
    const struct scmp_arg_cmp itself = {0, SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0};
    return failed ? failed : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &itself);
}

static int syscallfilter_lists_of(int number)
{
    for (size_t i = 0; i < sizeof syscallfilter_allowed / sizeof *syscallfilter_allowed; i++) {
        if (syscallfilter_allowed[i].number == number) {
            return syscallfilter_allowed[i].lists;
        }
    }
    return 0;
}

static int syscallfilter_add_refused(scmp_filter_ctx filter, enum syscallfilter_list list)
{
    int failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    for (int i = SYSCALLFILTER_NEWER; i <= SYSCALLFILTER_LAST && !failed; i++) {
        failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), i, 0);
    }
    for (size_t i = 0; i < sizeof syscallfilter_harmless / sizeof *syscallfilter_harmless && !failed;
         i++) {
        int number = syscallfilter_harmless[i];
        if (number >= 0 && !(syscallfilter_lists_of(number) & (int)list)) {
            failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), number, 0);
        }
    }
    return failed;
}

err syscallfilter_load(enum syscallfilter_list list, struct errinfo *info)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter) {
        return err_set(info, ERR_NOMEM, "out of memory for the filter of system calls");
    }
    int failed = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    failed = failed ? failed : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    failed =
        failed ? failed : seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, SYSCALLFILTER_BINARY_TREE);
    failed = failed ? failed : syscallfilter_add_allowed(filter, list);
    failed = failed ? failed : syscallfilter_add_refused(filter, list);
    if (list == SYSCALLFILTER_SERVER && !failed) {
        failed = syscallfilter_add_cases(filter);
    }
    failed = failed ? failed : seccomp_load(filter);
    seccomp_release(filter);
    return failed
               ? err_set(
                     info, ERR_UNSUPPORTED,
                     "the kernel takes no filter of system calls (seccomp): %s. In a container its own "
                     "rules may forbid it",
                     strerror(-failed))
               : ERR_OK;
}
