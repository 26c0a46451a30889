/* server/pdftext.h: the text of a PDF file, by `pdftotext` of poppler-utils (a package that need not be
 * there) in processes that can do nothing else (pdfworker.h). Images are not read: a scanned page has no
 * text.
 *
 * The processes are started before the sandbox and before any thread, since behind it nothing can be
 * started. Thread rule: pdftext_read from any thread; at most PDFTEXT_WORKERS files are read at a time,
 * others wait. */
#ifndef SERVER_PDFTEXT_H
#define SERVER_PDFTEXT_H

#include <stddef.h>
#include <stdbool.h>

#include "base/err.h"
#include "server/pdfworker.h"

enum {
    PDFTEXT_WORKERS = 2,
    PDFTEXT_INPUT_MAX = 16 << 20, /* what a request holds */
    PDFTEXT_TEXT_MAX = 8 << 20,
    PDFTEXT_CPU_S = 10,
    PDFTEXT_WALL_S = 20,
    PDFTEXT_MEMORY = 1 << 30,
};

struct pdftext;

/* `limits` NULL: those above; tests have smaller ones. ERR_NOTFOUND: pdftotext is not here.
 * ERR_UNSUPPORTED: the kernel cannot lock it in, and unlocked it is not used. ERR_IO: it does not work.
 * In each case the server goes on without ("pdf": false). */
ERR_MUST_USE err pdftext_start(const struct pdfworker_limits *limits, struct pdftext **out,
                               struct errinfo *info);
/* Reads that are under way fail within moments, as all do that follow (ERR_IO): before pdftext_stop, where some
 * may be. From any thread. */
void pdftext_end(struct pdftext *p);
/* No call may be under way. NULL is fine. */
void pdftext_stop(struct pdftext *p);

/* The text, UTF-8 with a form feed after each page, owned by the caller (mem_free), *len bytes and a NUL.
 * Errors a person understands: ERR_LIMIT (too large, too slow, too much text), ERR_BUSY (too many waiting),
 * ERR_CORRUPT (no PDF), ERR_UNSUPPORTED (a password, or no text in it), ERR_IO (the reader failed),
 * ERR_NOMEM. */
ERR_MUST_USE err pdftext_read(struct pdftext *p, const void *bytes, size_t n, char **text, size_t *len,
                              struct errinfo *info);

#endif
