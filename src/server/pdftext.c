/* server/pdftext.c: see pdftext.h. */
#include "server/pdftext.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytesize.h"
#include "base/condition.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"

static const char *const pdftext_programs[] = {"/usr/bin/pdftotext", "/usr/local/bin/pdftotext"};

/* Beyond the worker's own time, for moving bytes. */
enum { PDFTEXT_SLACK_S = 5, PDFTEXT_WORDS_MAX = 120 };

struct pdftext {
    struct pdfworker_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t free;
    struct {
        int fd; /* below 0: it is no more */
        bool busy;
    } workers[PDFTEXT_WORKERS];
};

/* ---- bytes to a worker and back, within a time ---- */

static bool pdftext_ready(int fd, short events, double until)
{
    struct pollfd f = {.fd = fd, .events = events};
    for (;;) {
        double left = until - progress_clock();
        int n = left > 0 ? poll(&f, 1, (int)(left * 1000) + 1) : 0;
        if (n >= 0 || errno != EINTR) {
            return n > 0;
        }
    }
}

static bool pdftext_send(int fd, const void *data, size_t n, double until)
{
    const char *p = data;
    while (n > 0) {
        if (!pdftext_ready(fd, POLLOUT, until)) {
            return false;
        }
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
        p += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

static bool pdftext_receive(int fd, void *data, size_t n, double until)
{
    char *p = data;
    while (n > 0) {
        if (!pdftext_ready(fd, POLLIN, until)) {
            return false;
        }
        ssize_t done = recv(fd, p, n, MSG_DONTWAIT);
        if (done == 0 || (done < 0 && errno != EINTR && errno != EAGAIN)) {
            return false;
        }
        p += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

/* n bytes that there is no memory for, so that the next reply begins where it should. */
static bool pdftext_drop(int fd, uint64_t n, double until)
{
    char block[4096];
    bool well = true;
    for (; n > 0 && well; n -= n < sizeof block ? n : sizeof block) {
        well = pdftext_receive(fd, block, n < sizeof block ? (size_t)n : sizeof block, until);
    }
    return well;
}

/* A reply and its bytes, owned by the caller; NULL when there is no memory for them. False: the worker is
 * lost. */
static bool pdftext_hear(const struct pdftext *p, int fd, double until, struct pdfworker_reply *r,
                         char **bytes)
{
    if (!pdftext_receive(fd, r, sizeof *r, until) ||
        r->n > p->limits.text_max + PDFWORKER_WORDS_MAX + 1) {
        return false;
    }
    *bytes = mem_alloc((size_t)r->n + 1);
    if (!*bytes) {
        return pdftext_drop(fd, r->n, until);
    }
    if (!pdftext_receive(fd, *bytes, (size_t)r->n, until)) {
        mem_free(*bytes);
        return false;
    }
    (*bytes)[r->n] = '\0';
    return true;
}

/* ---- starting ---- */

static err pdftext_start_one(struct pdftext *p, size_t i, const char *program, struct errinfo *info)
{
    int ends[2];
    struct pdfworker_reply r;
    char *words = NULL;
    pid_t server = getpid();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return err_set(info, ERR_IO, "a socket for the reader of PDF files: %s", strerror(errno));
    }
    fflush(NULL); /* nothing that waits to be printed is in the child, too */
    pid_t child = fork();
    if (child == 0) {
        pdfworker_main(ends[1], server, program, &p->limits);
    }
    close(ends[1]);
    p->workers[i].fd = ends[0];
    if (child < 0) {
        return err_set(info, ERR_IO, "a process for the reader of PDF files: %s", strerror(errno));
    }
    if (!pdftext_hear(p, ends[0], progress_clock() + PDFTEXT_SLACK_S, &r, &words)) {
        return err_set(info, ERR_IO, "the reader of PDF files does not start");
    }
    if (!words) {
        return err_set(info, ERR_NOMEM, "out of memory for the reader of PDF files");
    }
    err e = r.outcome == PDFWORKER_TEXT
                ? ERR_OK
                : err_set(info, ERR_UNSUPPORTED,
                          "PDF files are not read: the reader cannot be locked in: %s", words);
    mem_free(words);
    return e;
}

/* A page without anything on it: whether the program runs at all behind its locks. */
static err pdftext_try(struct pdftext *p, struct errinfo *info)
{
    static const char page[] = "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
                               "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
                               "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\n"
                               "trailer<</Root 1 0 R>>\n";
    char *text;
    size_t len;
    err e = pdftext_read(p, page, sizeof page - 1, &text, &len, info);
    if (e == ERR_OK) {
        mem_free(text);
    }
    return e == ERR_UNSUPPORTED ? ERR_OK : e; /* it has no text, as it should be */
}

err pdftext_start(const struct pdfworker_limits *limits, struct pdftext **out, struct errinfo *info)
{
    const struct pdfworker_limits usual = {.cpu_s = PDFTEXT_CPU_S,
                                           .wall_s = PDFTEXT_WALL_S,
                                           .memory = PDFTEXT_MEMORY,
                                           .input_max = PDFTEXT_INPUT_MAX,
                                           .text_max = PDFTEXT_TEXT_MAX};
    const char *program = NULL;
    for (size_t i = 0; i < sizeof pdftext_programs / sizeof *pdftext_programs && !program; i++) {
        program = file_exists(pdftext_programs[i]) ? pdftext_programs[i] : NULL;
    }
    if (!program) {
        return err_set(info, ERR_NOTFOUND,
                       "PDF files are not read: there is no %s (package poppler-utils)",
                       pdftext_programs[0]);
    }
    struct pdftext *p = mem_calloc(1, sizeof *p);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory for the reader of PDF files");
    }
    p->limits = limits ? *limits : usual;
    pthread_mutex_init(&p->lock, NULL);
    condition_init(&p->free);
    err e = ERR_OK;
    for (size_t i = 0; i < PDFTEXT_WORKERS; i++) {
        p->workers[i].fd = -1;
    }
    for (size_t i = 0; i < PDFTEXT_WORKERS && e == ERR_OK; i++) {
        e = pdftext_start_one(p, i, program, info);
    }
    e = e == ERR_OK ? pdftext_try(p, info) : e;
    if (e != ERR_OK) {
        pdftext_stop(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void pdftext_end(struct pdftext *p)
{
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < PDFTEXT_WORKERS; i++) {
        if (p->workers[i].fd >= 0) {
            shutdown(p->workers[i].fd, SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

/* The workers end when their socket closes. Nobody waits for them: behind the sandbox nobody may. */
void pdftext_stop(struct pdftext *p)
{
    if (!p) {
        return;
    }
    for (size_t i = 0; i < PDFTEXT_WORKERS; i++) {
        if (p->workers[i].fd >= 0) {
            close(p->workers[i].fd);
        }
    }
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->free);
    mem_free(p);
}

/* ---- reading ---- */

/* A worker that has nothing to do; waits for one as long as one file may take. */
static err pdftext_take(struct pdftext *p, size_t *out, struct errinfo *info)
{
    double until = progress_clock() + p->limits.wall_s;
    err e = ERR_LIMIT;
    bool alive = true;
    pthread_mutex_lock(&p->lock);
    for (bool early = true; e != ERR_OK && alive && early;) {
        alive = false;
        for (size_t i = 0; i < PDFTEXT_WORKERS && e != ERR_OK; i++) {
            alive = alive || p->workers[i].fd >= 0;
            if (p->workers[i].fd >= 0 && !p->workers[i].busy) {
                p->workers[i].busy = true;
                *out = i;
                e = ERR_OK;
            }
        }
        if (e != ERR_OK && alive) {
            early = condition_wait(&p->free, &p->lock, until);
        }
    }
    pthread_mutex_unlock(&p->lock);
    if (e != ERR_OK && !alive) {
        return err_set(info, ERR_IO,
                       "the reader of PDF files has ended; it comes back when the server is restarted");
    }
    return e == ERR_OK
               ? e
               : err_set(info, ERR_BUSY, "%d other PDF files are being read; try again in a moment",
                         PDFTEXT_WORKERS);
}

static void pdftext_give(struct pdftext *p, size_t i, bool lost)
{
    pthread_mutex_lock(&p->lock);
    if (lost) { /* where its next reply would begin is not known any more */
        close(p->workers[i].fd);
        p->workers[i].fd = -1;
    }
    p->workers[i].busy = false;
    pthread_cond_broadcast(&p->free);
    pthread_mutex_unlock(&p->lock);
}

/* The program's last line, without what it puts in front. */
static const char *pdftext_words(char *said)
{
    size_t n = strlen(said);
    while (n > 0 && isspace((unsigned char)said[n - 1])) {
        said[--n] = '\0';
    }
    char *line = strrchr(said, '\n');
    return n > 0 ? (line ? line + 1 : said) : "it gave no reason";
}

static err pdftext_judge(const struct pdftext *p, const struct pdfworker_reply *r, char *said,
                         struct errinfo *info)
{
    char size[BYTESIZE_TEXT];
    switch ((enum pdfworker_outcome)r->outcome) {
    case PDFWORKER_TEXT: return ERR_OK;
    case PDFWORKER_BLANK:
        return strstr(said, "Missing language pack")
                   ? err_set(info, ERR_UNSUPPORTED,
                             "the PDF's letters need tables that are not on this machine (package "
                             "poppler-data)")
                   : err_set(info, ERR_UNSUPPORTED,
                             "the PDF holds no text: its pages are pictures. A program for text "
                             "recognition (OCR) can add the text");
    case PDFWORKER_NO_PDF:
        return err_set(info, ERR_CORRUPT, "the file cannot be read as a PDF (%.*s)", PDFTEXT_WORDS_MAX,
                       pdftext_words(said));
    case PDFWORKER_LOCKED:
        return err_set(info, ERR_UNSUPPORTED,
                       "the PDF needs a password; save it without one and try again");
    case PDFWORKER_SLOW:
        return err_set(info, ERR_LIMIT, "the PDF takes longer than %u s to read; try a part of its pages",
                       p->limits.cpu_s);
    case PDFWORKER_LONG:
        return err_set(info, ERR_LIMIT, "the PDF holds more than %s of text; try a part of its pages",
                       bytesize_text(p->limits.text_max, size));
    case PDFWORKER_CRASHED:
        return err_set(info, ERR_CORRUPT,
                       "the PDF is broken, or needs more memory than a PDF may: reading it ended "
                       "the reader");
    case PDFWORKER_FAILED: break;
    }
    return err_set(info, ERR_IO, "the reader of PDF files failed: %.*s", PDFTEXT_WORDS_MAX,
                   pdftext_words(said));
}

err pdftext_read(struct pdftext *p, const void *bytes, size_t n, char **text, size_t *len,
                 struct errinfo *info)
{
    const struct pdfworker_request request = {.n = n};
    struct pdfworker_reply r;
    char *said = NULL, size[BYTESIZE_TEXT];
    size_t i = 0;
    if (n == 0) {
        return err_set(info, ERR_CORRUPT, "the file is empty");
    }
    if (n > p->limits.input_max) {
        return err_set(info, ERR_LIMIT, "the PDF is larger than %s; try a part of its pages",
                       bytesize_text(p->limits.input_max, size));
    }
    TRY(pdftext_take(p, &i, info));
    double until = progress_clock() + p->limits.wall_s + PDFTEXT_SLACK_S;
    int fd = p->workers[i].fd;
    bool well = pdftext_send(fd, &request, sizeof request, until) && pdftext_send(fd, bytes, n, until) &&
                pdftext_hear(p, fd, until, &r, &said);
    pdftext_give(p, i, !well);
    if (!well) {
        return err_set(info, ERR_IO,
                       "the reader of PDF files has ended; the server needs a restart to have it "
                       "back");
    }
    if (!said) {
        return err_set(info, ERR_NOMEM, "out of memory for the text of the PDF");
    }
    err e = pdftext_judge(p, &r, said, info);
    if (e != ERR_OK) {
        mem_free(said);
        return e;
    }
    *text = said;
    *len = (size_t)r.n;
    return ERR_OK;
}
