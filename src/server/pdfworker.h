/* server/pdfworker.h: the process that has PDF files read, one after another, each by a `pdftotext` of
 * its own (poppler). A PDF is what attackers send; so neither this process nor that program has a socket,
 * sees another file than the program, its libraries and their data, or outlives its time.
 *
 * Through its descriptor come a pdfworker_request and the file's bytes; back go a pdfworker_reply and the
 * text. It ends when the other end is closed. */
#ifndef SERVER_PDFWORKER_H
#define SERVER_PDFWORKER_H

#include <stdint.h>
#include <sys/types.h>

struct pdfworker_limits {
    unsigned cpu_s, wall_s; /* of one file */
    uint64_t memory;        /* address space of the program, bytes */
    uint64_t input_max, text_max;
};

enum { PDFWORKER_WORDS_MAX = 4096 }; /* kept of what the program says on stderr */

struct pdfworker_request {
    uint64_t n; /* bytes that follow; at most input_max */
};

enum pdfworker_outcome {
    PDFWORKER_TEXT,
    PDFWORKER_BLANK,   /* nothing but spaces; the program's words follow */
    PDFWORKER_NO_PDF,  /* the program says so; its last words follow */
    PDFWORKER_LOCKED,  /* a password is needed */
    PDFWORKER_SLOW,    /* beyond cpu_s or wall_s */
    PDFWORKER_LONG,    /* more than text_max */
    PDFWORKER_CRASHED, /* ended by a signal: out of its memory, or a call it may not make */
    PDFWORKER_FAILED,  /* the worker itself could not; why follows */
};

struct pdfworker_reply {
    uint64_t n; /* bytes that follow */
    uint32_t outcome;
};

/* In a process that `server` forked for it, of one thread: gives up everything and serves `fd`. Does not
 * return. Its first reply says whether the locks are on: PDFWORKER_TEXT, or PDFWORKER_FAILED with the
 * reason. */
void pdfworker_main(int fd, pid_t server, const char *program, const struct pdfworker_limits *limits)
    __attribute__((noreturn));

#endif
