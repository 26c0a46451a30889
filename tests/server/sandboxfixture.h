/* tests/server/sandboxfixture.h: cases in children that have entered the sandbox; there is no way out of one. */
#ifndef TESTS_SANDBOXFIXTURE_H
#define TESTS_SANDBOXFIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/tempdir.h"
#include "server/landlock.h"
#include "server/sandbox.h"
#include "server/syscallfilter.h"

/* How a case ended, where it was not an errno. */
enum { WENT_WELL = 200, NOT_ENTERED, KILLED, STRANGE };

/* What a case finds: made before the sandbox begins. */
struct place {
    struct tempdir data, outside; /* the folder that may be changed, and one that may not */
    int listener; /* bound to a free port of 127.0.0.1 */
    struct sockaddr_in port;
};

/* Entering with no more of Landlock than ABI limit - 1 has; 0: what the kernel has. */
static inline bool sandboxfixture_enter(const struct place *p, int limit)
{
    struct errinfo info = {0};
    struct sandbox_report report;
    const struct sandbox_options o = {
        .data = p->data.path, .landlock_limit = limit, .files_may_be_free = limit == 1};
    if (sandbox_enter(&o, &report, &info) != ERR_OK) {
        fprintf(stderr, "%s\n", info.message);
        return false;
    }
    return report.seccomp;
}

/* Whether this kernel, and what we run in, has both locks; if not, says what is missing. */
static inline bool sandboxfixture_possible(void)
{
    struct errinfo info = {0};
    int status;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        _exit(syscallfilter_load(SYSCALLFILTER_SERVER, &info) == ERR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0 || landlock_abi() == 0) {
        print_message("skipped: %s\n",
                      status != 0 ? "no seccomp filter may be loaded here" : "the kernel has no Landlock");
        return false;
    }
    return true;
}

static inline void sandboxfixture_prepare(struct place *p)
{
    socklen_t size = sizeof p->port;
    memset(p, 0, sizeof *p);
    tempdir_make(&p->data);
    tempdir_make(&p->outside);
    tempdir_text(&p->outside, "there", "old");
    p->port = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&p->port, sizeof p->port), 0);
    assert_int_equal(listen(p->listener, 4), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&p->port, &size), 0);
}

static inline int sandboxfixture_ended(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
        return KILLED;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : STRANGE;
}

/* Runs a case in a child. Its answer: WENT_WELL, an errno, or KILLED when the kernel ended it.
 * `enters`: the case enters by itself. */
static inline int sandboxfixture_run(int (*body)(struct place *), int limit, bool enters)
{
    struct place p;
    sandboxfixture_prepare(&p);
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        _exit(!enters && !sandboxfixture_enter(&p, limit) ? NOT_ENTERED : body(&p));
    }
    close(p.listener);
    int answer = sandboxfixture_ended(child);
    tempdir_remove(&p.outside);
    tempdir_remove(&p.data);
    return answer;
}

static inline int behind(int (*body)(struct place *))
{
    return sandboxfixture_run(body, 0, false);
}

#endif
