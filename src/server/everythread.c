/* server/everythread.c: see everythread.h. */
#include "server/everythread.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/progress.h"

/* What one thread is asked for. It lives outside of the stack: a thread that answers too late still finds
 * it. */
struct everythread_order {
    int (*call)(void *argument);
    void *argument;
    int result;
    atomic_bool done;
};

struct everythread {
    struct everythread_order *order;
    pid_t asked[EVERYTHREAD_MAX]; /* the threads that have made the call */
    size_t n;
};

static int everythread_signal(void)
{
    return SIGRTMAX;
}

/* The order comes with the signal, so that nothing global is needed. */
static void everythread_handler(int sig, siginfo_t *from, void *context)
{
    int saved = errno;
    (void)sig;
    (void)context;
    if (from->si_code == SI_QUEUE && from->si_pid == getpid()) {
        struct everythread_order *order = from->si_value.sival_ptr;
        order->result = order->call(order->argument);
        atomic_store(&order->done, true);
    }
    errno = saved;
}

static bool everythread_send(pid_t thread, struct everythread_order *order)
{
    siginfo_t message;
    memset(&message, 0, sizeof message);
    message.si_signo = everythread_signal();
    message.si_code = SI_QUEUE;
    message.si_pid = getpid();
    message.si_uid = getuid();
    message.si_value.sival_ptr = order;
    return syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, everythread_signal(), &message) == 0;
}

static bool everythread_lives(pid_t thread)
{
    return syscall(SYS_tgkill, getpid(), thread, 0) == 0;
}

static err everythread_refused(int number, struct errinfo *info)
{
    return err_set(info, ERR_IO, "a thread of this process could not be restricted: %s",
                   strerror(number));
}

/* Asks one thread and waits for its answer, or for its end. */
static err everythread_ask(struct everythread *e, pid_t thread, struct errinfo *info)
{
    const struct timespec pause = {.tv_nsec = 100000};
    struct everythread_order *order = e->order;
    atomic_store(&order->done, false);
    if (!everythread_send(thread, order)) {
        return errno == ESRCH ? ERR_OK : everythread_refused(errno, info);
    }
    for (double until = progress_clock() + 1e-3 * EVERYTHREAD_PATIENCE_MS; progress_clock() < until;) {
        if (atomic_load(&order->done)) {
            return order->result == 0 ? ERR_OK : everythread_refused(order->result, info);
        }
        if (!everythread_lives(thread)) {
            return ERR_OK;
        }
        nanosleep(&pause, NULL);
    }
    return err_set(info, ERR_IO,
                   "thread %d of this process does not answer within %d ms: it has signal %d blocked",
                   (int)thread, EVERYTHREAD_PATIENCE_MS, everythread_signal());
}

static bool everythread_known(const struct everythread *e, pid_t thread)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->asked[i] == thread) {
            return true;
        }
    }
    return false;
}

/* Asks every thread that is listed now and has not been asked. */
static err everythread_round(struct everythread *e, struct errinfo *info)
{
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) {
        return err_set(info, ERR_IO, "listing the threads of this process (/proc/self/task): %s",
                       strerror(errno));
    }
    err result = ERR_OK;
    for (struct dirent *entry; result == ERR_OK && (entry = readdir(tasks));) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread <= 0 || everythread_known(e, thread)) {
            continue;
        }
        if (e->n == EVERYTHREAD_MAX) {
            result = err_set(info, ERR_LIMIT, "this process has more than %d threads", EVERYTHREAD_MAX);
            break;
        }
        result = everythread_ask(e, thread, info);
        e->asked[e->n++] = thread;
    }
    closedir(tasks);
    return result;
}

/* The caller comes last: afterwards it may not be allowed to list its threads. */
static err everythread_all(struct everythread *e, struct errinfo *info)
{
    e->asked[e->n++] = (pid_t)syscall(SYS_gettid);
    for (size_t before = 0; before < e->n;) {
        before = e->n;
        TRY(everythread_round(e, info));
    }
    int own = e->order->call(e->order->argument);
    return own == 0 ? ERR_OK : everythread_refused(own, info);
}

err everythread_call(int (*call)(void *argument), void *argument, struct errinfo *info)
{
    struct sigaction action = {.sa_sigaction = everythread_handler, .sa_flags = SA_SIGINFO | SA_RESTART},
                     old;
    struct everythread *e = mem_calloc(1, sizeof *e);
    struct everythread_order *order = mem_calloc(1, sizeof *order);
    if (!e || !order) {
        mem_free(e);
        mem_free(order);
        return err_set(info, ERR_NOMEM, "out of memory for the list of threads");
    }
    *order = (struct everythread_order){.call = call, .argument = argument};
    e->order = order;
    sigfillset(&action.sa_mask);
    sigaction(everythread_signal(), &action, &old);
    err result = everythread_all(e, info);
    if (result == ERR_OK) { /* else a thread may still come to its order, and needs the handler for it */
        sigaction(everythread_signal(), &old, NULL);
        mem_free(order);
    }
    mem_free(e);
    return result;
}
