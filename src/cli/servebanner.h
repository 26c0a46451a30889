/* cli/servebanner.h: what `fathom serve` says once it answers: where, to whom, and what to look at.
 */
#ifndef CLI_SERVEBANNER_H
#define CLI_SERVEBANNER_H

#include "cli/options.h"
#include "server/sandbox.h"
#include "server/service.h"

struct servebanner {
    const struct service *service;
    const char *socket,
        *address; /* where it listens; NULL: not, on 127.0.0.1 or with `lan` everywhere */
    const char *data; /* as --data named it, or NULL */
    const char *open_key; /* the file of the TLS key, where others of the machine can read it; NULL */
    unsigned port;
    bool lan;
    const struct options_list *hosts; /* further names */
    const char *no_pdf;               /* why no PDF files are read; NULL: they are */
    const struct sandbox_report *locked;
    char elsewhere[512]; /* where other machines find it */
};

/* Fills `elsewhere`; the system tells it before the sandbox alone. */
void servebanner_find(struct servebanner *b);

/* On stdout. The first line ends in the address. */
void servebanner_print(const struct servebanner *b);

#endif
