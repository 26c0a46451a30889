/* server/pdfworker.c: see pdfworker.h. */
#include "server/pdfworker.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/strbuf.h"
#include "server/capabilities.h"
#include "server/landlock.h"
#include "server/syscallfilter.h"

enum { PDFWORKER_BLOCK = 64 << 10, PDFWORKER_FD = 3, PDFWORKER_FILES = 32 };

struct pdfworker {
    const char *program;
    const struct pdfworker_limits *limits;
    struct strbuf text, words; /* stdout and stderr of the program */
    bool short_of_memory;      /* something of them is lost */
    char block[PDFWORKER_BLOCK];
};

/* ---- messages ---- */

static bool pdfworker_write(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR) {
            return false;
        }
        p += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

static bool pdfworker_reply(enum pdfworker_outcome outcome, const char *bytes, size_t n)
{
    const struct pdfworker_reply r = {.n = n, .outcome = outcome};
    return pdfworker_write(PDFWORKER_FD, &r, sizeof r) && pdfworker_write(PDFWORKER_FD, bytes, n);
}

static bool pdfworker_reply_words(enum pdfworker_outcome outcome, const char *words)
{
    return pdfworker_reply(outcome, words, strlen(words));
}

/* ---- the program ---- */

static bool pdfworker_limit(int resource, rlim_t soft, rlim_t hard)
{
    const struct rlimit limit = {soft, hard};
    return setrlimit(resource, &limit) == 0;
}

/* In the process that becomes the program. The alarm stands after execve; the program cannot call it off.
 */
static void pdfworker_become(const struct pdfworker *w, int input, int out, int words)
{
    char *argv[] = {"pdftotext", "-enc", "UTF-8", "-", "-", NULL}, *envp[] = {NULL};
    const struct pdfworker_limits *l = w->limits;
    bool ready = dup2(input, STDIN_FILENO) == STDIN_FILENO && dup2(out, STDOUT_FILENO) == STDOUT_FILENO &&
                 dup2(words, STDERR_FILENO) == STDERR_FILENO && close_range(3, ~0U, 0) == 0 &&
                 pdfworker_limit(RLIMIT_CPU, l->cpu_s, l->cpu_s + 1) &&
                 pdfworker_limit(RLIMIT_NOFILE, PDFWORKER_FILES, PDFWORKER_FILES) &&
                 pdfworker_limit(RLIMIT_FSIZE, 0, 0);
    alarm(l->wall_s + 1);
    if (ready && syscallfilter_load(SYSCALLFILTER_CONVERTER, NULL) == ERR_OK &&
        pdfworker_limit(RLIMIT_AS, l->memory, l->memory)) { /* last: so far it has the server's size */
        execve(w->program, argv, envp);
    }
    static const char why[] = "it could not be started\n";
    _exit(write(STDERR_FILENO, why, sizeof why - 1) > 0 ? 127 : 126);
}

/* What there is to read goes to `into`, up to a byte more than `most`; what is more is dropped. False at
 * its end. */
static bool pdfworker_hear(struct pdfworker *w, int fd, struct strbuf *into, size_t most)
{
    ssize_t n = read(fd, w->block, sizeof w->block);
    if (n <= 0) {
        return n < 0 && errno == EINTR;
    }
    size_t room = most + 1 - into->len;
    w->short_of_memory |= strbuf_append(into, w->block, (size_t)n < room ? (size_t)n : room) != ERR_OK;
    return true;
}

/* Until both pipes end, the text is too long or the time is over. True: they ended. */
static bool pdfworker_collect(struct pdfworker *w, int out, int words)
{
    struct pollfd fds[] = {{.fd = out, .events = POLLIN}, {.fd = words, .events = POLLIN}};
    double until = progress_clock() + w->limits->wall_s;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        double left = until - progress_clock();
        if (left <= 0 || w->text.len > w->limits->text_max) {
            return false;
        }
        if (poll(fds, 2, (int)(left * 1000) + 1) <= 0) {
            continue;
        }
        if (fds[0].revents && !pdfworker_hear(w, out, &w->text, w->limits->text_max)) {
            fds[0].fd = -1;
        }
        if (fds[1].revents && !pdfworker_hear(w, words, &w->words, PDFWORKER_WORDS_MAX)) {
            fds[1].fd = -1;
        }
    }
    return true;
}

static bool pdfworker_blank(const struct strbuf *text)
{
    for (size_t i = 0; i < text->len; i++) {
        if (!isspace((unsigned char)text->data[i])) {
            return false;
        }
    }
    return true;
}

static enum pdfworker_outcome pdfworker_judge(const struct pdfworker *w, bool ended, int status)
{
    if (w->text.len > w->limits->text_max) {
        return PDFWORKER_LONG;
    }
    if (!ended || (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGALRM))) {
        return PDFWORKER_SLOW;
    }
    if (WIFSIGNALED(status)) {
        return PDFWORKER_CRASHED;
    }
    if (WEXITSTATUS(status) == 0) {
        return pdfworker_blank(&w->text) ? PDFWORKER_BLANK : PDFWORKER_TEXT;
    }
    return w->words.len > 0 && strstr(w->words.data, "Incorrect password") ? PDFWORKER_LOCKED
                                                                           : PDFWORKER_NO_PDF;
}

/* One file, which is in `input`. */
static bool pdfworker_convert(struct pdfworker *w, int input)
{
    int out[2], words[2], status = 0;
    strbuf_clear(&w->text);
    strbuf_clear(&w->words);
    w->short_of_memory = false;
    if (pipe2(out, O_CLOEXEC) != 0) {
        return pdfworker_reply_words(PDFWORKER_FAILED, strerror(errno));
    }
    if (pipe2(words, O_CLOEXEC) != 0) {
        close(out[0]);
        close(out[1]);
        return pdfworker_reply_words(PDFWORKER_FAILED, strerror(errno));
    }
    pid_t child = fork();
    if (child == 0) {
        pdfworker_become(w, input, out[1], words[1]);
    }
    close(out[1]);
    close(words[1]);
    bool ended = child > 0 && pdfworker_collect(w, out[0], words[0]);
    close(out[0]);
    close(words[0]);
    if (child < 0) {
        return pdfworker_reply_words(PDFWORKER_FAILED, "no process could be started");
    }
    if (!ended) {
        kill(child, SIGKILL);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (w->short_of_memory) {
        return pdfworker_reply_words(PDFWORKER_FAILED, "out of memory");
    }
    enum pdfworker_outcome outcome = pdfworker_judge(w, ended, status);
    const struct strbuf *said = outcome == PDFWORKER_TEXT ? &w->text : &w->words;
    return pdfworker_reply(outcome, said->data, said->len);
}

/* ---- the process ---- */

/* n bytes that come, to a file in memory; 0 or an errno, -1 when nobody is there any more. */
static int pdfworker_receive(struct pdfworker *w, uint64_t n, int file)
{
    int failed = 0;
    while (n > 0) {
        ssize_t got = read(PDFWORKER_FD, w->block, n < sizeof w->block ? (size_t)n : sizeof w->block);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return -1;
        }
        n -= got > 0 ? (uint64_t)got : 0;
        if (got > 0 && !failed && !pdfworker_write(file, w->block, (size_t)got)) {
            failed = errno;
        }
    }
    return failed ? failed : lseek(file, 0, SEEK_SET) == 0 ? 0 : errno;
}

/* False: it is time to end. */
static bool pdfworker_serve(struct pdfworker *w)
{
    struct pdfworker_request r;
    size_t have = 0;
    while (have < sizeof r) {
        ssize_t n = read(PDFWORKER_FD, (char *)&r + have, sizeof r - have);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
        have += n > 0 ? (size_t)n : 0;
    }
    int file = r.n <= w->limits->input_max ? memfd_create("pdf", MFD_CLOEXEC) : -1;
    int failed = file < 0 ? -1 : pdfworker_receive(w, r.n, file);
    bool goes_on = failed == 0  ? pdfworker_convert(w, file)
                   : failed > 0 ? pdfworker_reply_words(PDFWORKER_FAILED, strerror(failed))
                                : false;
    close(file);
    return goes_on;
}

/* The program and the loader may be executed; libraries, fonts and maps of characters may be read. */
static err pdfworker_restrict_files(const char *program, struct errinfo *info)
{
    const struct landlock_path paths[] = {
        {program, LANDLOCK_EXECUTE, false},
        {"/lib64/ld-linux-x86-64.so.2", LANDLOCK_EXECUTE, true},
        {"/lib/ld-linux-aarch64.so.1", LANDLOCK_EXECUTE, true},
        {"/usr/lib", LANDLOCK_READ, true},
        {"/usr/lib64", LANDLOCK_READ, true},
        {"/lib", LANDLOCK_READ, true},
        {"/lib64", LANDLOCK_READ, true},
        {"/usr/share/poppler", LANDLOCK_READ, true},
        {"/usr/share/fonts", LANDLOCK_READ, true},
        {"/etc/fonts", LANDLOCK_READ, true},
        {"/etc/ld.so.cache", LANDLOCK_READ, true},
        {"/etc/localtime", LANDLOCK_READ, true},
    };
    return landlock_restrict(landlock_abi(), paths, sizeof paths / sizeof *paths, info);
}

/* Everything but `fd`, which becomes PDFWORKER_FD, is closed; Ctrl-C at the terminal is the server's,
 * whose end is this process's, too. */
static err pdfworker_give_up(int fd, pid_t server, const char *program, struct errinfo *info)
{
    const struct rlimit none = {0, 0};
    sigset_t no_signals;
    int null = open("/dev/null", O_RDWR);
    sigemptyset(&no_signals);
    sigprocmask(SIG_SETMASK, &no_signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    setsid();
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(null, STDERR_FILENO) < 0 || (fd != PDFWORKER_FD && dup2(fd, PDFWORKER_FD) < 0) ||
        fcntl(PDFWORKER_FD, F_SETFD, FD_CLOEXEC) != 0 || close_range(PDFWORKER_FD + 1, ~0U, 0) != 0 ||
        setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 ||
        getppid() != server) {
        return err_set(info, ERR_IO, "giving up what a reader of PDF files does not need: %s",
                       strerror(errno));
    }
    TRY(capabilities_drop(info));
    TRY(pdfworker_restrict_files(program, info));
    return syscallfilter_load(SYSCALLFILTER_STARTER, info);
}

void pdfworker_main(int fd, pid_t server, const char *program, const struct pdfworker_limits *limits)
{
    struct pdfworker w = {.program = program, .limits = limits};
    struct errinfo info = {0};
    err e = pdfworker_give_up(fd, server, program, &info);
    bool goes_on = pdfworker_reply_words(e == ERR_OK ? PDFWORKER_TEXT : PDFWORKER_FAILED, info.message);
    while (goes_on && e == ERR_OK && pdfworker_serve(&w)) {}
    _exit(0);
}
