/* base/progress.c: see progress.h. */
#include "base/progress.h"

#include <stdio.h>
#include <time.h>

#include "base/terminal.h"

double progress_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_init(struct progress *p, const char *label, enum progress_unit unit, uint64_t total)
{
    *p = (struct progress){.label = label, .unit = unit, .total = total};
    p->started = progress_clock();
    p->painted = p->started + 0.8; /* first paint after a second: short work stays silent */
    p->enabled = terminal_styled(stderr);
}

void progress_resume(struct progress *p, uint64_t first)
{
    p->first = p->done = first;
}

/* "0:07", "12:34", "3:05:09" */
static void progress_time(char *out, size_t n, double seconds)
{
    long s = seconds < 1e8 ? (long)seconds : 100000000;
    if (s >= 3600) {
        snprintf(out, n, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(out, n, "%ld:%02ld", s / 60, s % 60);
    }
}

static void progress_amount(char *out, size_t n, enum progress_unit unit, double v)
{
    const char *unit_name = unit == PROGRESS_TOKENS ? " tokens" : "";
    if (unit != PROGRESS_BYTES) {
        snprintf(out, n, v < 100 ? "%.1f%s" : "%.0f%s", v, unit_name);
    } else if (v >= 1e9) {
        snprintf(out, n, "%.2f GB", v / 1e9);
    } else {
        snprintf(out, n, "%.1f MB", v / 1e6);
    }
}

void progress_update(struct progress *p, uint64_t done)
{
    p->done = done;
    if (!p->enabled) {
        return;
    }
    double now = progress_clock();
    if (now - p->painted < 0.2) {
        return;
    }
    p->painted = now;
    p->visible = true;
    double rate = (double)(done > p->first ? done - p->first : 0) / (now - p->started);
    char amount[32], speed[32];
    progress_amount(amount, sizeof amount, p->unit, (double)done);
    progress_amount(speed, sizeof speed, p->unit, rate);
    if (p->total > 0 && rate > 0) {
        double left = (double)(p->total - (done < p->total ? done : p->total)) / rate;
        char time[32];
        progress_time(time, sizeof time, left);
        fprintf(stderr, "\r\033[K%s  %3.0f%%  %s  %s/s  %s left", p->label,
                100.0 * (double)done / (double)p->total, amount, speed, time);
    } else {
        fprintf(stderr, "\r\033[K%s  %s  %s/s", p->label, amount, speed);
    }
    fflush(stderr);
}

void progress_finish(struct progress *p)
{
    if (p->visible) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        p->visible = false;
    }
}
