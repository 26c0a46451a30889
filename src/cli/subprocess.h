/* cli/subprocess.h: another program run beside this one, talked to in lines: what is written here it reads
 * from its stdin, what it prints on stdout is read here. Its stderr is kept, so that a failure can be told.
 * It lives no longer than this program, however that ends (Linux: PR_SET_PDEATHSIG).
 * Thread rule: the main thread. */
#ifndef CLI_SUBPROCESS_H
#define CLI_SUBPROCESS_H

#include "base/err.h"
#include "base/strbuf.h"

enum { SUBPROCESS_OUTPUT_MAX = 16 << 20 };

struct subprocess;

/* argv[0] is looked up in PATH unless it holds a slash; argv ends with NULL. ERR_NOTFOUND when there is no such
 * program. Ctrl-C reaches it as it reaches us. */
ERR_MUST_USE err subprocess_start(const char *const *argv, struct subprocess **out,
                                  struct errinfo *info);
/* Of one wait, for a line or for the end: after remind_s seconds stderr says that it lasts, after limit_s it is
 * ERR_IO; 0: never, as it is without this call. Every wait is ERR_CANCELLED when interrupt_pending. */
void subprocess_patience(struct subprocess *p, double remind_s, double limit_s);
/* A line (the newline is added) to its stdin. */
ERR_MUST_USE err subprocess_say(struct subprocess *p, const char *line, struct errinfo *info);
/* The next line of its stdout without the newline, borrowed until the next call. ERR_IO with the end of its
 * stderr when it has ended or says more than SUBPROCESS_OUTPUT_MAX bytes without a newline. */
ERR_MUST_USE err subprocess_hear(struct subprocess *p, const char **line, struct errinfo *info);
/* Everything on its stdout until it ends; ERR_IO with the end of its stderr when it fails. */
ERR_MUST_USE err subprocess_finish(struct subprocess *p, struct strbuf *out, struct errinfo *info);
/* Closes its stdin and waits for its end; what has not ended after a fraction of a second is killed. NULL is
 * fine. */
void subprocess_close(struct subprocess *p);

#endif
