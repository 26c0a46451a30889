/* cli/interrupt.c: see interrupt.h. */
#include "cli/interrupt.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t interrupt_flag;
static volatile sig_atomic_t interrupt_quiet; /* interrupt_terminal is to be put back */
static struct termios interrupt_terminal;

static void interrupt_unquiet(void)
{
    if (interrupt_quiet) {
        interrupt_quiet = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &interrupt_terminal); /* allowed in a signal handler */
    }
}

static void interrupt_default(int sig)
{
    signal(sig, SIG_DFL);
}

static void interrupt_handler(int sig)
{
    if (interrupt_flag && sig == SIGINT) {
        interrupt_unquiet();
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

void interrupt_watch_quietly(void)
{
    interrupt_watch();
    /* A job in the background would be stopped for touching the terminal. */
    if (tcgetattr(STDIN_FILENO, &interrupt_terminal) == 0 &&
        tcgetpgrp(STDIN_FILENO) == getpgrp()) {
        struct termios quiet = interrupt_terminal;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        interrupt_quiet = tcsetattr(STDIN_FILENO, TCSANOW, &quiet) == 0;
    }
}

void interrupt_restore(void)
{
    interrupt_unquiet();
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
