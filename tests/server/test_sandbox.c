/* The sandbox of the server: what must not work behind it does not, on threads old and new. */
#include "server/sandboxfixture.h"

#include <linux/netlink.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/mem.h"

static int answer(long returned)
{
    return returned < 0 ? errno : WENT_WELL;
}

/* ---- the network ---- */

static int tcp4(struct place *p)
{
    (void)p;
    return answer(socket(AF_INET, SOCK_STREAM, 0));
}

static int tcp6(struct place *p)
{
    (void)p;
    return answer(socket(AF_INET6, SOCK_STREAM, 0));
}

static int udp(struct place *p)
{
    (void)p;
    return answer(socket(AF_INET, SOCK_DGRAM, 0));
}

static int raw(struct place *p)
{
    (void)p;
    return answer(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static int packet(struct place *p)
{
    (void)p;
    return answer(socket(AF_PACKET, SOCK_RAW, 0));
}

static int netlink(struct place *p)
{
    (void)p;
    return answer(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

static int local(struct place *p)
{
    (void)p;
    return answer(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int pair(struct place *p)
{
    int both[2];
    (void)p;
    return answer(socketpair(AF_UNIX, SOCK_DGRAM, 0, both)); /* one end could send to any other socket */
}

static int connect_old(struct place *p)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* made before */
    return !sandboxfixture_enter(p, 0) ? NOT_ENTERED
                                       : answer(connect(fd, (struct sockaddr *)&p->port, sizeof p->port));
}

static int bind_old(struct place *p)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET};
    return !sandboxfixture_enter(p, 0) ? NOT_ENTERED
                                       : answer(bind(fd, (struct sockaddr *)&any, sizeof any));
}

/* A listening socket that was shut down is like a new one; MSG_FASTOPEN connects without connect(). */
static int listener_sends_to(struct place *p)
{
    shutdown(p->listener, SHUT_RD);
    return answer(sendto(p->listener, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&p->port,
                         sizeof p->port));
}

static int listener_sends_message(struct place *p)
{
    struct iovec part = {"x", 1};
    struct msghdr m = {
        .msg_name = &p->port, .msg_namelen = sizeof p->port, .msg_iov = &part, .msg_iovlen = 1};
    shutdown(p->listener, SHUT_RD);
    return answer(sendmsg(p->listener, &m, MSG_FASTOPEN | MSG_NOSIGNAL));
}

static int many_messages(struct place *p)
{
    struct mmsghdr m = {0};
    return answer(sendmmsg(p->listener, &m, 0, 0));
}

static int look_up(struct place *p)
{
    struct addrinfo *found;
    (void)p;
    return getaddrinfo("example.org", "80", NULL, &found) == 0 ? WENT_WELL : EACCES;
}

static int attach_filter(struct place *p)
{
    int one = 1;
    return answer(setsockopt(p->listener, SOL_SOCKET, SO_BINDTODEVICE, &one, sizeof one));
}

/* ---- programs ---- */

static int program(struct place *p)
{
    (void)p;
    return answer(execl("/bin/true", "true", (char *)NULL));
}

static int program_at(struct place *p)
{
    char *argv[] = {"true", NULL}, *envp[] = {NULL};
    (void)p;
    return answer(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, envp, 0));
}

static int process(struct place *p)
{
    (void)p;
    return answer(fork());
}

static int trace(struct place *p)
{
    (void)p;
    return answer(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int read_memory(struct place *p)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {&byte, 1};
    (void)p;
    return answer(process_vm_readv(getppid(), &here, 1, &there, 1, 0));
}

static int signal_parent(struct place *p)
{
    (void)p;
    return answer(syscall(SYS_tgkill, getppid(), getppid(), 0));
}

static int new_code(struct place *p)
{
    (void)p;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : WENT_WELL;
}

static int data_to_code(struct place *p)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)p;
    return answer(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

/* ---- the kernel's wider doors ---- */

static int kernel_call(long number)
{
    return answer(syscall(number, 0, 0, 0, 0, 0, 0));
}

static int ring(struct place *p)
{
    (void)p;
    return kernel_call(SYS_io_uring_setup);
}

static int bpf(struct place *p)
{
    (void)p;
    return kernel_call(SYS_bpf);
}

static int keys(struct place *p)
{
    (void)p;
    return kernel_call(SYS_keyctl);
}

static int mounts(struct place *p)
{
    (void)p;
    return kernel_call(SYS_mount);
}

static int namespaces(struct place *p)
{
    (void)p;
    return answer(syscall(SYS_unshare, 0x40000000));
}

static int other_namespace(struct place *p)
{
    (void)p;
    return kernel_call(SYS_setns);
}

static int handles(struct place *p)
{
    (void)p;
    return kernel_call(SYS_open_by_handle_at);
}

static int typed_input(struct place *p)
{
    (void)p;
    return answer(ioctl(STDIN_FILENO, TIOCSTI, "x")); /* as if the person at the terminal had typed it */
}

static int core_again(struct place *p)
{
    const struct rlimit some = {1 << 20, 1 << 20};
    (void)p;
    return answer(setrlimit(RLIMIT_CORE, &some));
}

static int newer_call(struct place *p)
{
    (void)p;
    return kernel_call(451); /* cachestat, as every later one */
}

#ifdef __x86_64__
static int other_architecture(struct place *p)
{
    (void)p;
    return kernel_call(0x40000000 + 39); /* getpid of x32 */
}
#endif

/* ---- files ---- */

static int read_outside(struct place *p)
{
    (void)p;
    return answer(open("/etc/passwd", O_RDONLY));
}

static int list_outside(struct place *p)
{
    (void)p;
    return answer(open("/", O_RDONLY | O_DIRECTORY));
}

static int write_outside(struct place *p)
{
    return answer(open(tempdir_file(&p->outside, "there"), O_WRONLY));
}

static int make_outside(struct place *p)
{
    return answer(open(tempdir_file(&p->outside, "new"), O_WRONLY | O_CREAT, 0600));
}

static int remove_outside(struct place *p)
{
    return answer(unlink(tempdir_file(&p->outside, "there")));
}

static int climb_out(struct place *p)
{
    char path[400];
    snprintf(path, sizeof path, "%s/../%s/there", p->data.path, strrchr(p->outside.path, '/') + 1);
    return answer(open(path, O_RDONLY));
}

static int other_environment(struct place *p)
{
    char path[64];
    (void)p;
    snprintf(path, sizeof path, "/proc/%d/environ", (int)getppid());
    return answer(open(path, O_RDONLY));
}

static int own_memory_file(struct place *p)
{
    (void)p;
    return answer(open("/proc/self/mem", O_RDWR)); /* would write to code that is read-only */
}

static int hide_a_link(struct place *p)
{
    return answer(symlink("/etc/passwd", tempdir_file(&p->data, "link")));
}

static int change_mode(struct place *p)
{
    return answer(chmod(p->outside.path, 0777));
}

static int cut_outside(struct place *p)
{
    return answer(truncate(tempdir_file(&p->outside, "there"), 0));
}

struct forbidden {
    const char *name;
    int (*body)(struct place *);
    int expected;
    bool enters; /* by itself */
};

static const struct forbidden forbidden[] = {
    {"a TCP socket", tcp4, EACCES, false},
    {"a TCP socket of IPv6", tcp6, EACCES, false},
    {"a UDP socket", udp, EACCES, false},
    {"a raw socket", raw, EACCES, false},
    {"a packet socket", packet, EACCES, false},
    {"a netlink socket", netlink, EACCES, false},
    {"a local socket", local, EACCES, false},
    {"a pair of datagram sockets", pair, EACCES, false},
    {"connecting an old socket", connect_old, KILLED, true},
    {"binding an old socket", bind_old, KILLED, true},
    {"a listener that sends to an address", listener_sends_to, KILLED, false},
    {"a listener that sends a message to an address", listener_sends_message, KILLED, false},
    {"sendmmsg", many_messages, KILLED, false},
    {"looking up a name", look_up, EACCES, false},
    {"binding to a device", attach_filter, KILLED, false},
    {"execve", program, KILLED, false},
    {"execveat", program_at, KILLED, false},
    {"fork", process, KILLED, false},
    {"ptrace", trace, KILLED, false},
    {"process_vm_readv", read_memory, KILLED, false},
    {"a signal to another process", signal_parent, KILLED, false},
    {"memory with new code", new_code, KILLED, false},
    {"memory that becomes code", data_to_code, KILLED, false},
    {"io_uring", ring, KILLED, false},
    {"bpf", bpf, KILLED, false},
    {"keyctl", keys, KILLED, false},
    {"mount", mounts, KILLED, false},
    {"unshare", namespaces, KILLED, false},
    {"setns", other_namespace, KILLED, false},
    {"open_by_handle_at", handles, KILLED, false},
    {"typing for the person", typed_input, KILLED, false},
    {"allowing core files", core_again, KILLED, false},
    {"a call newer than the list", newer_call, ENOSYS, false},
#ifdef __x86_64__
    {"a call of another architecture", other_architecture, KILLED, false},
#endif
    {"reading outside", read_outside, EACCES, false},
    {"listing outside", list_outside, EACCES, false},
    {"writing outside", write_outside, EACCES, false},
    {"making a file outside", make_outside, EACCES, false},
    {"removing a file outside", remove_outside, EACCES, false},
    {"climbing out of the folder", climb_out, EACCES, false},
    {"another process's environment", other_environment, EACCES, false},
    {"its own memory as a file", own_memory_file, EACCES, false},
    {"a link out of the folder", hide_a_link, EACCES, false},
    {"changing a mode", change_mode, EACCES, false},
    {"cutting a file outside", cut_outside, KILLED, false},
};

static void test_forbidden(void **state)
{
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        const struct forbidden *f = &forbidden[i];
        int got = sandboxfixture_run(f->body, 0, f->enters);
        if (got != f->expected) {
            fail_msg("%s: %d, expected %d", f->name, got, f->expected);
        }
    }
}

/* ---- programs that convert files for the server: less than the server may ---- */

static int converter(struct place *p, int (*body)(struct place *))
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscallfilter_load(SYSCALLFILTER_CONVERTER, NULL) == ERR_OK ? body(p) : NOT_ENTERED;
}

static int converter_socket(struct place *p)
{
    return converter(p, local);
}

static int converter_process(struct place *p)
{
    return converter(p, process);
}

static int kill_parent(struct place *p)
{
    (void)p;
    return answer(kill(getppid(), 0));
}

static int converter_signal(struct place *p)
{
    return converter(p, kill_parent);
}

static int no_alarm(struct place *p)
{
    (void)p;
    return answer(alarm(0));
}

static int converter_alarm(struct place *p)
{
    return converter(p, no_alarm); /* its deadline cannot be called off */
}

static int converter_accept(struct place *p)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscallfilter_load(SYSCALLFILTER_CONVERTER, NULL) == ERR_OK
               ? answer(accept(p->listener, NULL, NULL))
               : NOT_ENTERED;
}

static void test_converters(void **state)
{
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    assert_int_equal(sandboxfixture_run(converter_socket, 0, true), EACCES);
    assert_int_equal(sandboxfixture_run(converter_process, 0, true), KILLED);
    assert_int_equal(sandboxfixture_run(converter_signal, 0, true), KILLED);
    assert_int_equal(sandboxfixture_run(converter_alarm, 0, true), KILLED);
    assert_int_equal(sandboxfixture_run(converter_accept, 0, true), KILLED);
}

/* ---- threads that were there before ---- */

struct old_thread {
    struct place *place;
    atomic_bool go;
    int socket, file;
};

static void *wait_and_try(void *user)
{
    struct old_thread *t = user;
    while (!atomic_load(&t->go)) {
        usleep(100);
    }
    t->socket = tcp4(t->place);
    t->file = read_outside(t->place);
    return NULL;
}

static int old_threads(struct place *p)
{
    enum { N = 5 };
    struct old_thread t[N];
    pthread_t threads[N];
    for (int i = 0; i < N; i++) {
        t[i] = (struct old_thread){.place = p};
        pthread_create(&threads[i], NULL, wait_and_try, &t[i]);
    }
    bool entered = sandboxfixture_enter(p, 0);
    for (int i = 0; i < N; i++) {
        atomic_store(&t[i].go, true);
        pthread_join(threads[i], NULL);
        if (t[i].socket != EACCES || t[i].file != EACCES) {
            return STRANGE;
        }
    }
    return entered ? WENT_WELL : NOT_ENTERED;
}

static void *block_and_wait(void *user)
{
    struct old_thread *t = user;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    atomic_store(&t->go, true);
    pause();
    return NULL;
}

/* A thread that cannot be reached is an error, not a hole. */
static int deaf_thread(struct place *p)
{
    struct old_thread t = {.place = p};
    struct errinfo info = {0};
    struct sandbox_report report;
    const struct sandbox_options o = {.data = p->data.path};
    pthread_t thread;
    pthread_create(&thread, NULL, block_and_wait, &t);
    while (!atomic_load(&t.go)) {
        usleep(100);
    }
    err e = sandbox_enter(&o, &report, &info);
    return e == ERR_IO && strstr(info.message, "does not answer") ? WENT_WELL : STRANGE;
}

static void test_threads(void **state)
{
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    assert_int_equal(sandboxfixture_run(old_threads, 0, true), WENT_WELL);
    assert_int_equal(sandboxfixture_run(deaf_thread, 0, true), WENT_WELL);
}

/* ---- kernels with less, and callers with too much ---- */

static void test_older_kernels(void **state)
{
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    for (int abi = 1; abi <= 5; abi++) {
        assert_int_equal(sandboxfixture_run(read_outside, abi + 1, false), EACCES);
        assert_int_equal(sandboxfixture_run(write_outside, abi + 1, false), EACCES);
        assert_int_equal(sandboxfixture_run(tcp4, abi + 1, false), EACCES);
    }
    assert_int_equal(sandboxfixture_run(read_outside, 1, false), WENT_WELL); /* as the report says */
    assert_int_equal(sandboxfixture_run(tcp4, 1, false), EACCES);
    assert_int_equal(sandboxfixture_run(program, 1, false), KILLED);
}

static int reports(struct place *p)
{
    struct errinfo info = {0};
    struct sandbox_report r;
    char text[SANDBOX_TEXT];
    const struct sandbox_options o = {.data = p->data.path, .landlock_limit = 3};
    if (sandbox_enter(&o, &r, &info) != ERR_OK) {
        return NOT_ENTERED;
    }
    return r.seccomp && r.landlock == SANDBOX_LANDLOCK_PARTIAL && r.landlock_abi == 2 &&
                   strstr(sandbox_text(&r, text), "ABI 2")
               ? WENT_WELL
               : STRANGE;
}

static int without_landlock(struct place *p)
{
    struct errinfo info = {0};
    struct sandbox_report r;
    char text[SANDBOX_TEXT];
    struct sandbox_options o = {.data = p->data.path, .landlock_limit = 1};
    if (sandbox_enter(&o, &r, &info) != ERR_UNSUPPORTED || !strstr(info.message, "Landlock")) {
        return STRANGE;
    }
    o.files_may_be_free = true;
    return sandbox_enter(&o, &r, &info) == ERR_OK && r.landlock == SANDBOX_LANDLOCK_NONE &&
                   strstr(sandbox_text(&r, text), "NOT restricted")
               ? WENT_WELL
               : STRANGE;
}

static int missing_paths(struct place *p)
{
    struct errinfo info = {0};
    struct sandbox_report r;
    const char *read[] = {"/there/is/no/such/folder"};
    struct sandbox_options o = {.data = p->data.path, .read = read, .n_read = 1};
    return sandbox_enter(&o, &r, &info) == ERR_NOTFOUND && strstr(info.message, read[0]) ? WENT_WELL
                                                                                         : STRANGE;
}

static int open_datagram(struct place *p)
{
    struct errinfo info = {0};
    struct sandbox_report r;
    struct sandbox_options o = {.data = p->data.path};
    char name[32];
    snprintf(name, sizeof name, "descriptor %d", socket(AF_INET, SOCK_DGRAM, 0));
    return sandbox_enter(&o, &r, &info) == ERR_ARGUMENT && strstr(info.message, name) ? WENT_WELL
                                                                                      : STRANGE;
}

static int short_of_memory(struct place *p)
{
    struct errinfo info = {0};
    struct sandbox_report r;
    const struct sandbox_options o = {.data = p->data.path};
    size_t alive = mem_alive();
    err e = ERR_NOMEM;
    for (size_t k = 1; e != ERR_OK; k++) {
        mem_fault(k, 0);
        e = sandbox_enter(&o, &r, &info);
        mem_fault(0, 0);
        if (e != ERR_OK && (e != ERR_NOMEM || mem_alive() != alive || k > 20)) {
            return STRANGE;
        }
    }
    return WENT_WELL;
}

static int hardened(struct place *p)
{
    struct rlimit core;
    struct stat st;
    int fd = open(tempdir_file(&p->data, "new"), O_WRONLY | O_CREAT, 0666);
    bool private = fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 0777) == 0600;
    return private && getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 ? WENT_WELL : STRANGE;
}

/* A surrounding sandbox, as of a container, that answers one call with an error. */
static bool surround(int call, int number)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    bool well = filter && seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)number), call, 0) == 0 &&
                seccomp_load(filter) == 0;
    seccomp_release(filter);
    return well;
}

static int seccomp_forbidden(struct place *p)
{
    struct errinfo info = {0};
    struct sandbox_report r;
    const struct sandbox_options o = {.data = p->data.path};
    return surround(SCMP_SYS(seccomp), EPERM) && sandbox_enter(&o, &r, &info) == ERR_UNSUPPORTED &&
                   strstr(info.message, "seccomp")
               ? WENT_WELL
               : STRANGE;
}

static int landlock_forbidden(struct place *p)
{
    struct errinfo info = {0};
    struct sandbox_report r;
    const struct sandbox_options o = {.data = p->data.path};
    return surround(SCMP_SYS(landlock_create_ruleset), ENOSYS) &&
                   sandbox_enter(&o, &r, &info) == ERR_UNSUPPORTED && strstr(info.message, "Landlock")
               ? WENT_WELL
               : STRANGE;
}

static int landlock_half_forbidden(struct place *p)
{
    struct errinfo info = {0};
    struct sandbox_report r;
    const struct sandbox_options o = {.data = p->data.path, .files_may_be_free = true};
    return surround(SCMP_SYS(landlock_restrict_self), EPERM) && sandbox_enter(&o, &r, &info) == ERR_IO
               ? WENT_WELL
               : STRANGE;
}

static int no_descriptors(struct place *p)
{
    const struct rlimit none = {0, 0};
    struct errinfo info = {0};
    struct sandbox_report r;
    const struct sandbox_options o = {.data = p->data.path};
    setrlimit(RLIMIT_NOFILE, &none);
    return sandbox_enter(&o, &r, &info) == ERR_IO && info.message[0] ? WENT_WELL : STRANGE;
}

/* What is forbidden to us, or not to be had, is an error that names it. */
static void test_refused(void **state)
{
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    assert_int_equal(sandboxfixture_run(seccomp_forbidden, 0, true), WENT_WELL);
    assert_int_equal(sandboxfixture_run(landlock_forbidden, 0, true), WENT_WELL);
    assert_int_equal(sandboxfixture_run(landlock_half_forbidden, 0, true), WENT_WELL);
    assert_int_equal(sandboxfixture_run(no_descriptors, 0, true), WENT_WELL);
}

/* A process of the same user, as which root would see too much. */
static void become_ordinary(void)
{
    if (getuid() == 0 && setresuid(65534, 65534, 65534) != 0) {
        _exit(STRANGE);
    }
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int environment_of(pid_t process)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)process);
    return answer(open(path, O_RDONLY));
}

/* Others of the same user see into it before, and do not after. */
static int seen_by_others(struct place *p)
{
    int go[2], said[2];
    char word = 'n';
    if (pipe(go) != 0 || pipe(said) != 0) {
        return STRANGE;
    }
    become_ordinary();
    pid_t server = fork();
    if (server == 0) {
        alarm(20);
        bool well = read(go[0], &word, 1) == 1 && sandboxfixture_enter(p, 0);
        if (write(said[1], well ? "y" : "n", 1) == 1) {
            pause();
        }
        _exit(0);
    }
    int before = environment_of(server);
    bool entered = write(go[1], "!", 1) == 1 && read(said[0], &word, 1) == 1 && word == 'y';
    int after = environment_of(server);
    kill(server, SIGKILL);
    return !entered ? NOT_ENTERED : before == WENT_WELL && after == EACCES ? WENT_WELL : STRANGE;
}

static void test_reports(void **state)
{
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    assert_int_equal(sandboxfixture_run(reports, 0, true), WENT_WELL);
    assert_int_equal(sandboxfixture_run(without_landlock, 0, true), WENT_WELL);
    assert_int_equal(sandboxfixture_run(missing_paths, 0, true), WENT_WELL);
    assert_int_equal(sandboxfixture_run(open_datagram, 0, true), WENT_WELL);
    assert_int_equal(sandboxfixture_run(short_of_memory, 0, true), WENT_WELL);
    assert_int_equal(behind(hardened), WENT_WELL);
    assert_int_equal(sandboxfixture_run(seen_by_others, 0, true), WENT_WELL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forbidden), cmocka_unit_test(test_converters),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_older_kernels),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
