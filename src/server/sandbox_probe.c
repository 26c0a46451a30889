/* server/sandbox_probe.c: see sandbox_probe.h. */
#include "server/sandbox_probe.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is made before the sandbox begins, as a server has it. */
struct sandbox_probe_place {
    char root[128], data[160],
        outside[160];        /* a folder, and in it the one that may be changed and a file */
    int listener, spare;     /* TCP: bound to ports of 127.0.0.1 */
    int old;                 /* TCP: not connected */
    struct sockaddr_in port; /* the listener's */
    pid_t parent;
};

/* A try returns 0 when it worked, else an errno, or -1 with the words in `detail`. */
typedef int sandbox_probe_call(const struct sandbox_probe_place *p, char *detail);

static int sandbox_probe_errno(long result)
{
    return result < 0 ? errno : 0;
}

static int sandbox_probe_connect(int family, int type, const char *address, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(family, type, 0);
    if (fd < 0) {
        return errno;
    }
    inet_pton(family, address, family == AF_INET ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr);
    const struct sockaddr *to = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t size = family == AF_INET ? sizeof v4 : sizeof v6;
    return sandbox_probe_errno(type == SOCK_STREAM ? connect(fd, to, size)
                                                   : sendto(fd, "?", 1, 0, to, size));
}

static int sandbox_probe_loopback(const struct sandbox_probe_place *p, char *detail)
{
    (void)detail;
    return sandbox_probe_connect(AF_INET, SOCK_STREAM, "127.0.0.1", ntohs(p->port.sin_port));
}

static int sandbox_probe_loopback6(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    return sandbox_probe_connect(AF_INET6, SOCK_STREAM, "::1", 443);
}

static int sandbox_probe_tcp(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    return sandbox_probe_connect(AF_INET, SOCK_STREAM, "192.0.2.1", 443);
}

static int sandbox_probe_tcp6(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    return sandbox_probe_connect(AF_INET6, SOCK_STREAM, "2001:db8::1", 443);
}

static int sandbox_probe_udp(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    return sandbox_probe_connect(AF_INET, SOCK_DGRAM, "192.0.2.1", 53);
}

static int sandbox_probe_udp6(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    return sandbox_probe_connect(AF_INET6, SOCK_DGRAM, "2001:db8::1", 53);
}

static int sandbox_probe_name(const struct sandbox_probe_place *p, char *detail)
{
    struct addrinfo *found;
    int failed = getaddrinfo("name.invalid", "443", NULL, &found);
    (void)p;
    snprintf(detail, SANDBOX_PROBE_DETAIL, "%s", failed ? gai_strerror(failed) : "");
    return failed ? -1 : 0;
}

static int sandbox_probe_raw(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    return sandbox_probe_errno(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static int sandbox_probe_netlink(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    return sandbox_probe_errno(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int sandbox_probe_local(const struct sandbox_probe_place *p, char *detail)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    (void)detail;
    snprintf(to.sun_path, sizeof to.sun_path, "%.100s", p->outside);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd < 0 ? errno : sandbox_probe_errno(connect(fd, (struct sockaddr *)&to, sizeof to));
}

static int sandbox_probe_old(const struct sandbox_probe_place *p, char *detail)
{
    (void)detail;
    return sandbox_probe_errno(connect(p->old, (const struct sockaddr *)&p->port, sizeof p->port));
}

/* Shut down, a listening socket is as good as a new one, and MSG_FASTOPEN connects without connect(). */
static int sandbox_probe_listener(const struct sandbox_probe_place *p, char *detail)
{
    (void)detail;
    shutdown(p->spare, SHUT_RD);
    return sandbox_probe_errno(sendto(p->spare, "?", 1, MSG_FASTOPEN | MSG_NOSIGNAL,
                                      (const struct sockaddr *)&p->port, sizeof p->port));
}

static int sandbox_probe_program(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    execl("/bin/true", "true", (char *)NULL);
    return errno;
}

static int sandbox_probe_code(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : 0;
}

static int sandbox_probe_trace(const struct sandbox_probe_place *p, char *detail)
{
    (void)detail;
    return sandbox_probe_errno(ptrace(PTRACE_ATTACH, p->parent, NULL, NULL));
}

static int sandbox_probe_memory(const struct sandbox_probe_place *p, char *detail)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)p, 1};
    (void)detail;
    return sandbox_probe_errno(process_vm_readv(p->parent, &here, 1, &there, 1, 0));
}

static int sandbox_probe_ring(const struct sandbox_probe_place *p, char *detail)
{
    char parameters[120] = {0};
    (void)p, (void)detail;
    return sandbox_probe_errno(syscall(SYS_io_uring_setup, 1, parameters));
}

static int sandbox_probe_passwd(const struct sandbox_probe_place *p, char *detail)
{
    (void)p, (void)detail;
    return sandbox_probe_errno(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int sandbox_probe_outside(const struct sandbox_probe_place *p, char *detail)
{
    (void)detail;
    return sandbox_probe_errno(open(p->outside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int sandbox_probe_inside(const struct sandbox_probe_place *p, char *detail)
{
    char path[200];
    (void)detail;
    snprintf(path, sizeof path, "%s/file", p->data);
    return sandbox_probe_errno(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

struct sandbox_probe_row {
    const char *what;
    sandbox_probe_call *call;
    enum sandbox_probe_outcome expected;
    int number; /* the errno a refusal has to have; 0: any */
};

static const struct sandbox_probe_row sandbox_probe_rows[] = {
    {"TCP to 127.0.0.1", sandbox_probe_loopback, SANDBOX_PROBE_REFUSED, EACCES},
    {"TCP to [::1]", sandbox_probe_loopback6, SANDBOX_PROBE_REFUSED, EACCES},
    {"TCP to 192.0.2.1", sandbox_probe_tcp, SANDBOX_PROBE_REFUSED, EACCES},
    {"TCP to [2001:db8::1]", sandbox_probe_tcp6, SANDBOX_PROBE_REFUSED, EACCES},
    {"UDP to 192.0.2.1", sandbox_probe_udp, SANDBOX_PROBE_REFUSED, EACCES},
    {"UDP to [2001:db8::1]", sandbox_probe_udp6, SANDBOX_PROBE_REFUSED, EACCES},
    {"looking up a name (DNS)", sandbox_probe_name, SANDBOX_PROBE_REFUSED, 0},
    {"a raw socket", sandbox_probe_raw, SANDBOX_PROBE_REFUSED, EACCES},
    {"a netlink socket", sandbox_probe_netlink, SANDBOX_PROBE_REFUSED, EACCES},
    {"a local socket outside", sandbox_probe_local, SANDBOX_PROBE_REFUSED, EACCES},
    {"an old socket, connected", sandbox_probe_old, SANDBOX_PROBE_ENDED, 0},
    {"a listening socket, turned round", sandbox_probe_listener, SANDBOX_PROBE_ENDED, 0},
    {"starting /bin/true", sandbox_probe_program, SANDBOX_PROBE_ENDED, 0},
    {"new code in memory", sandbox_probe_code, SANDBOX_PROBE_ENDED, 0},
    {"tracing another process", sandbox_probe_trace, SANDBOX_PROBE_ENDED, 0},
    {"reading another process's memory", sandbox_probe_memory, SANDBOX_PROBE_ENDED, 0},
    {"io_uring", sandbox_probe_ring, SANDBOX_PROBE_ENDED, 0},
    {"reading /etc/passwd", sandbox_probe_passwd, SANDBOX_PROBE_REFUSED, EACCES},
    {"writing outside of the data folder", sandbox_probe_outside, SANDBOX_PROBE_REFUSED, EACCES},
    {"writing inside (which has to work)", sandbox_probe_inside, SANDBOX_PROBE_WORKED, 0},
};

static_assert(sizeof sandbox_probe_rows / sizeof *sandbox_probe_rows == SANDBOX_PROBE_TRIES,
              "one row each");

/* What a child says through its pipe. */
struct sandbox_probe_message {
    err entered;
    struct errinfo info;
    struct sandbox_report report;
    bool tried;
    int number;
    char detail[SANDBOX_PROBE_DETAIL];
};

static bool sandbox_probe_say(int to, const struct sandbox_probe_message *m)
{
    return write(to, m, sizeof *m) == (ssize_t)sizeof *m;
}

/* The child. First it says whether it has entered, then what came of the try. */
static void sandbox_probe_child(const struct sandbox_probe_row *row, const struct sandbox_probe_place *p,
                                const struct sandbox_options *o, int to)
{
    struct sandbox_probe_message m = {0};
    alarm(SANDBOX_PROBE_PATIENCE_S);
    m.entered = sandbox_enter(o, &m.report, &m.info);
    if (sandbox_probe_say(to, &m) && m.entered == ERR_OK) {
        m.number = row->call(p, m.detail);
        m.tried = true;
        sandbox_probe_say(to, &m);
    }
    _exit(0);
}

/* All the child said; the last word counts. ERR_IO: it has not even entered, nor said why not. */
static err sandbox_probe_listen(pid_t child, int from, struct sandbox_probe_message *m, int *status,
                                struct errinfo *info)
{
    struct sandbox_probe_message next;
    m->entered = ERR_IO;
    snprintf(m->info.message, sizeof m->info.message, "a process died entering the sandbox");
    while (read(from, &next, sizeof next) == (ssize_t)sizeof next) {
        *m = next;
    }
    close(from);
    while (waitpid(child, status, 0) < 0 && errno == EINTR) {}
    return m->entered == ERR_OK ? ERR_OK : err_set(info, m->entered, "%s", m->info.message);
}

static err sandbox_probe_try(const struct sandbox_probe_row *row, const struct sandbox_probe_place *p,
                             const struct sandbox_options *o, struct sandbox_probe *out,
                             struct errinfo *info)
{
    struct sandbox_probe_try *t = &out->tries[out->n++];
    struct sandbox_probe_message m = {0};
    int pipes[2], status = 0;
    if (pipe(pipes) != 0) {
        return err_set(info, ERR_IO, "a pipe for trying the sandbox: %s", strerror(errno));
    }
    fflush(NULL); /* nothing that waits to be printed is in the child, too */
    pid_t child = fork();
    if (child == 0) {
        sandbox_probe_child(row, p, o, pipes[1]);
    }
    close(pipes[1]);
    if (child < 0) {
        close(pipes[0]);
        return err_set(info, ERR_IO, "a process for trying the sandbox: %s", strerror(errno));
    }
    TRY(sandbox_probe_listen(child, pipes[0], &m, &status, info));
    t->what = row->what;
    out->report = m.report;
    if (WIFSIGNALED(status)) {
        t->outcome = WTERMSIG(status) == SIGSYS ? SANDBOX_PROBE_ENDED : SANDBOX_PROBE_STUCK;
    } else { /* a program that was started closes the pipe and says nothing */
        t->outcome = m.tried && m.number != 0 ? SANDBOX_PROBE_REFUSED : SANDBOX_PROBE_WORKED;
    }
    if (t->outcome == SANDBOX_PROBE_REFUSED) {
        snprintf(t->detail, sizeof t->detail, "%s", m.number > 0 ? strerror(m.number) : m.detail);
    }
    t->held = t->outcome == row->expected && (row->number == 0 || row->number == m.number);
    out->held = out->held && t->held;
    return ERR_OK;
}

/* *out is set in any case. */
static bool sandbox_probe_listens(int *out, struct sockaddr_in *port)
{
    socklen_t size = sizeof *port;
    *port = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return *out >= 0 && bind(*out, (struct sockaddr *)port, size) == 0 && listen(*out, 1) == 0 &&
           getsockname(*out, (struct sockaddr *)port, &size) == 0;
}

static err sandbox_probe_prepare(struct sandbox_probe_place *p, struct errinfo *info)
{
    const char *temporary = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    struct sockaddr_in unused;
    snprintf(p->root, sizeof p->root, "%.100s/fathom-probe-XXXXXX", temporary);
    if (!mkdtemp(p->root)) {
        p->root[0] = '\0';
        return err_set(info, ERR_IO, "a folder for trying the sandbox in %.100s: %s", temporary,
                       strerror(errno));
    }
    snprintf(p->data, sizeof p->data, "%s/data", p->root);
    snprintf(p->outside, sizeof p->outside, "%s/outside", p->root);
    p->parent = getpid();
    p->old = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (mkdir(p->data, 0700) != 0 || p->old < 0 || !sandbox_probe_listens(&p->listener, &p->port) ||
        !sandbox_probe_listens(&p->spare, &unused)) {
        return err_set(info, ERR_IO, "a folder and sockets for trying the sandbox: %s", strerror(errno));
    }
    return ERR_OK;
}

static void sandbox_probe_clear(struct sandbox_probe_place *p)
{
    char path[200];
    snprintf(path, sizeof path, "%s/file", p->data);
    unlink(path);
    unlink(p->outside);
    rmdir(p->data);
    rmdir(p->root);
    close(p->listener);
    close(p->spare);
    close(p->old);
}

err sandbox_probe(int landlock_limit, bool files_may_be_free, struct sandbox_probe *out,
                  struct errinfo *info)
{
    struct sandbox_probe_place p = {.listener = -1, .spare = -1, .old = -1};
    const struct sandbox_options o = {
        .data = p.data, .files_may_be_free = files_may_be_free, .landlock_limit = landlock_limit};
    *out = (struct sandbox_probe){.held = true};
    err e = sandbox_probe_prepare(&p, info);
    for (size_t i = 0; i < SANDBOX_PROBE_TRIES && e == ERR_OK; i++) {
        e = sandbox_probe_try(&sandbox_probe_rows[i], &p, &o, out, info);
    }
    sandbox_probe_clear(&p);
    return e;
}
