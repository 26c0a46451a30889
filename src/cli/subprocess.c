/* cli/subprocess.c: see subprocess.h. */
#include "cli/subprocess.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/progress.h"
#include "cli/interrupt.h"

enum { SUBPROCESS_BLOCK = 4096, SUBPROCESS_LAST_WORDS = 300 };

/* How long it may take to end by itself, once its stdin or its stdout is closed, and after a SIGTERM. */
static const double SUBPROCESS_GRACE_S = 0.2, SUBPROCESS_FINISH_S = 2;

struct subprocess {
    char name[128];
    pid_t pid;    /* 0: its end was seen */
    int socket;   /* its stdin and its stdout; a socket, so that writing to one that has ended is an
                     error and no signal */
    FILE *errors; /* its stderr, a file without a name */
    struct strbuf heard;
    size_t used; /* of `heard`, by lines already given out */
    double remind_s, limit_s; /* of one wait; 0: never */
    double since;             /* when that wait began */
    bool reminded;
};

/* In the child, which shares our memory until it is another program: its stdin, stdout and stderr, and its
 * end with ours, however we end. Returns what failed. */
static int subprocess_become(const char *const *argv, int theirs, int errors, pid_t parent,
                             const sigset_t *mask)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || dup2(theirs, STDIN_FILENO) < 0 ||
        dup2(theirs, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0) {
        return errno;
    }
    if (getppid() != parent) {
        return ECHILD;
    }
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(argv[0], (char *const *)argv);
    return errno;
}

/* vfork, not fork: a copied page table of gigabytes of weights costs time, and page faults in the midst of
 * what is measured. Not posix_spawn: it cannot say PR_SET_PDEATHSIG. */
static int subprocess_spawn(struct subprocess *p, const char *const *argv, int theirs)
{
    volatile int failed = 0;
    int errors = fileno(p->errors);
    pid_t parent = getpid();
    sigset_t all, mask;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &mask); /* no handler of ours runs in the child */
    pid_t pid = vfork();
    if (pid == 0) {
        failed = subprocess_become(argv, theirs, errors, parent, &mask);
        _exit(127);
    }
    int error = pid < 0 ? errno : failed;
    sigprocmask(SIG_SETMASK, &mask, NULL);
    p->pid = pid;
    return error;
}

err subprocess_start(const char *const *argv, struct subprocess **out, struct errinfo *info)
{
    int pair[2];
    struct subprocess *p = mem_calloc(1, sizeof *p);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory for starting %s", argv[0]);
    }
    snprintf(p->name, sizeof p->name, "%s", argv[0]);
    p->errors = tmpfile();
    if (!p->errors || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        err e = err_set(info, ERR_IO, "starting %s: %s", argv[0], strerror(errno));
        if (p->errors) {
            fclose(p->errors);
        }
        mem_free(p);
        return e;
    }
    p->socket = pair[0];
    int failed = subprocess_spawn(p, argv, pair[1]);
    close(pair[1]);
    if (failed) {
        subprocess_close(p);
        return err_set(info, failed == ENOENT || failed == EACCES ? ERR_NOTFOUND : ERR_IO,
                       "starting %s: %s", argv[0], strerror(failed));
    }
    *out = p;
    return ERR_OK;
}

/* The end of what it wrote to stderr, in one line. */
static const char *subprocess_last_words(struct subprocess *p, char out[SUBPROCESS_LAST_WORDS])
{
    long size = fseek(p->errors, 0, SEEK_END) == 0 ? ftell(p->errors) : 0;
    long from = size > SUBPROCESS_LAST_WORDS - 1 ? size - (SUBPROCESS_LAST_WORDS - 1) : 0;
    size_t n = 0;
    if (size > 0 && fseek(p->errors, from, SEEK_SET) == 0) {
        n = fread(out, 1, SUBPROCESS_LAST_WORDS - 1, p->errors);
    }
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' ')) {
        n--;
    }
    out[n] = '\0';
    for (char *s = out; *s; s++) {
        *s = *s == '\n' ? ' ' : *s;
    }
    return n > 0 ? out : "it gave no reason";
}

/* Whether it has ended within that many seconds; *status as waitpid's. */
static bool subprocess_ended(struct subprocess *p, double seconds, int *status)
{
    double until = progress_clock() + seconds;
    const struct timespec pause = {.tv_nsec = 2000000};
    pid_t got;
    while ((got = waitpid(p->pid, status, WNOHANG)) == 0 && progress_clock() < until) {
        nanosleep(&pause, NULL);
    }
    return got != 0;
}

/* Waits for its end, and brings it about when that takes longer; true when it ended by itself with success. */
static bool subprocess_reap(struct subprocess *p, double seconds)
{
    int status = 1;
    if (p->pid <= 0) {
        return false;
    }
    bool ended = subprocess_ended(p, seconds, &status);
    bool success = ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!ended) {
        kill(p->pid, SIGTERM);
        if (!subprocess_ended(p, SUBPROCESS_GRACE_S, &status)) {
            kill(p->pid, SIGKILL);
            while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR) {
            }
        }
    }
    p->pid = 0;
    return success;
}

/* Its stdin ends; a well-meant program then ends too. */
static void subprocess_hang_up(struct subprocess *p)
{
    if (p->socket >= 0) {
        close(p->socket);
        p->socket = -1;
    }
}

static err subprocess_gone(struct subprocess *p, struct errinfo *info)
{
    char words[SUBPROCESS_LAST_WORDS];
    subprocess_hang_up(p);
    subprocess_reap(p, SUBPROCESS_GRACE_S);
    return err_set(info, ERR_IO, "%s ended too early: %s", p->name, subprocess_last_words(p, words));
}

void subprocess_patience(struct subprocess *p, double remind_s, double limit_s)
{
    p->remind_s = remind_s;
    p->limit_s = limit_s;
}

static void subprocess_wait_begins(struct subprocess *p)
{
    p->since = progress_clock();
    p->reminded = false;
}

/* Until there is something to receive. */
static err subprocess_wait(struct subprocess *p, struct errinfo *info)
{
    struct pollfd fd = {.fd = p->socket, .events = POLLIN};
    for (;;) {
        int found = poll(&fd, 1, 100);
        if (interrupt_pending()) {
            return err_set(info, ERR_CANCELLED, "stopped");
        }
        double waited = progress_clock() - p->since;
        if (p->limit_s > 0 && waited > p->limit_s) {
            return err_set(info, ERR_IO, "%s did not answer within %g seconds", p->name, p->limit_s);
        }
        if (found > 0 || (found < 0 && errno != EINTR)) {
            return ERR_OK;
        }
        if (p->remind_s > 0 && waited > p->remind_s && !p->reminded) {
            p->reminded = true;
            fprintf(stderr, "still waiting for %s after %.0f s; Ctrl-C stops\n", p->name, waited);
        }
    }
}

err subprocess_say(struct subprocess *p, const char *line, struct errinfo *info)
{
    size_t n = strlen(line), done = 0;
    while (p->socket >= 0 && done < n + 1) {
        const char *from = done < n ? line + done : "\n";
        ssize_t sent = send(p->socket, from, done < n ? n - done : 1, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return subprocess_gone(p, info);
        }
        done += sent > 0 ? (size_t)sent : 0;
    }
    return p->socket >= 0 ? ERR_OK : subprocess_gone(p, info);
}

/* More of its stdout; *ended when there is none. */
static err subprocess_receive(struct subprocess *p, bool *ended, struct errinfo *info)
{
    char block[SUBPROCESS_BLOCK];
    *ended = p->socket < 0;
    if (*ended) {
        return ERR_OK;
    }
    TRY(subprocess_wait(p, info));
    ssize_t n = recv(p->socket, block, sizeof block, 0);
    *ended = n == 0 || (n < 0 && errno != EINTR);
    if (n <= 0) {
        return ERR_OK;
    }
    if (p->heard.len > SUBPROCESS_OUTPUT_MAX) {
        return err_set(info, ERR_LIMIT, "%s printed more than %d bytes", p->name,
                       SUBPROCESS_OUTPUT_MAX);
    }
    return strbuf_append(&p->heard, block, (size_t)n) == ERR_OK
               ? ERR_OK
               : err_set(info, ERR_NOMEM, "out of memory for what %s printed", p->name);
}

err subprocess_hear(struct subprocess *p, const char **line, struct errinfo *info)
{
    bool ended = false;
    char *newline;
    if (p->used > 0) {
        memmove(p->heard.data, p->heard.data + p->used, p->heard.len - p->used);
        p->heard.len -= p->used;
        p->used = 0;
    }
    subprocess_wait_begins(p);
    while (!(newline = p->heard.len ? memchr(p->heard.data, '\n', p->heard.len) : NULL)) {
        TRY(subprocess_receive(p, &ended, info));
        if (ended) {
            return subprocess_gone(p, info);
        }
    }
    *newline = '\0';
    p->used = (size_t)(newline - p->heard.data) + 1;
    *line = p->heard.data;
    return ERR_OK;
}

err subprocess_finish(struct subprocess *p, struct strbuf *out, struct errinfo *info)
{
    bool ended = false;
    char words[SUBPROCESS_LAST_WORDS];
    shutdown(p->socket, SHUT_WR);
    subprocess_wait_begins(p);
    while (!ended) {
        TRY(subprocess_receive(p, &ended, info));
    }
    if (!subprocess_reap(p, SUBPROCESS_FINISH_S)) {
        return err_set(info, ERR_IO, "%s failed: %s", p->name, subprocess_last_words(p, words));
    }
    return p->heard.len == 0 || strbuf_append(out, p->heard.data, p->heard.len) == ERR_OK
               ? ERR_OK
               : err_set(info, ERR_NOMEM, "out of memory for what %s printed", p->name);
}

void subprocess_close(struct subprocess *p)
{
    if (!p) {
        return;
    }
    subprocess_hang_up(p);
    subprocess_reap(p, SUBPROCESS_GRACE_S);
    fclose(p->errors);
    strbuf_deinit(&p->heard);
    mem_free(p);
}
