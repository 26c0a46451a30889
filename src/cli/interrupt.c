/* cli/interrupt.c: see interrupt.h. */
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t interrupt_flag;

static void interrupt_default(int sig)
{
    signal(sig, SIG_DFL);
}

static void interrupt_handler(int sig)
{
    if (interrupt_flag) {
        interrupt_default(sig);
        raise(sig);
    }
    interrupt_flag = 1;
}

void interrupt_watch(void)
{
    struct sigaction action = {.sa_handler = interrupt_handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    interrupt_flag = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void interrupt_restore(void)
{
    interrupt_default(SIGINT);
    interrupt_default(SIGTERM);
}

bool interrupt_pending(void)
{
    return interrupt_flag != 0;
}

void interrupt_clear(void)
{
    interrupt_flag = 0;
}
