/* cli/subprocess.c: see subprocess.h. */
#include "cli/subprocess.h"

#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

extern char **environ;

enum { SUBPROCESS_BLOCK = 4096, SUBPROCESS_LAST_WORDS = 300 };

struct subprocess {
    char name[128];
    pid_t pid;    /* 0: its end was seen */
    int socket;   /* its stdin and its stdout; a socket, so that writing to one that has ended is an
                     error and no signal */
    FILE *errors; /* its stderr, a file without a name */
    struct strbuf heard;
    size_t used; /* of `heard`, by lines already given out */
};

/* Its stdin, stdout and stderr are ours of the moment. */
static int subprocess_spawn(struct subprocess *p, const char *const *argv, int theirs)
{
    posix_spawn_file_actions_t actions;
    int e = posix_spawn_file_actions_init(&actions);
    if (e != 0) {
        return e;
    }
    e = posix_spawn_file_actions_adddup2(&actions, theirs, STDIN_FILENO);
    e = e ? e : posix_spawn_file_actions_adddup2(&actions, theirs, STDOUT_FILENO);
    e = e ? e : posix_spawn_file_actions_adddup2(&actions, fileno(p->errors), STDERR_FILENO);
    e = e ? e : posix_spawnp(&p->pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return e;
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
        p->pid = 0;
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

/* Waits for its end; true when that was a success. */
static bool subprocess_reap(struct subprocess *p)
{
    int status = 0;
    pid_t got = 0;
    while (p->pid > 0 && (got = waitpid(p->pid, &status, 0)) < 0 && errno == EINTR) {
    }
    p->pid = 0;
    return got > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static err subprocess_gone(struct subprocess *p, struct errinfo *info)
{
    char words[SUBPROCESS_LAST_WORDS];
    subprocess_reap(p);
    return err_set(info, ERR_IO, "%s ended too early: %s", p->name, subprocess_last_words(p, words));
}

err subprocess_say(struct subprocess *p, const char *line, struct errinfo *info)
{
    size_t n = strlen(line), done = 0;
    while (done < n + 1) {
        const char *from = done < n ? line + done : "\n";
        ssize_t sent = send(p->socket, from, done < n ? n - done : 1, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return subprocess_gone(p, info);
        }
        done += sent > 0 ? (size_t)sent : 0;
    }
    return ERR_OK;
}

/* More of its stdout; *ended when there is none. */
static err subprocess_receive(struct subprocess *p, bool *ended, struct errinfo *info)
{
    char block[SUBPROCESS_BLOCK];
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
    while (!ended) {
        TRY(subprocess_receive(p, &ended, info));
    }
    if (!subprocess_reap(p)) {
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
    close(p->socket); /* its stdin ends; a well-meant program then ends too */
    subprocess_reap(p);
    fclose(p->errors);
    strbuf_deinit(&p->heard);
    mem_free(p);
}
