/* server/requesthead.h: is the head of a request written so that everybody reads it alike? What a proxy in
 * front of us reads differently than we do hides one request inside another.
 *
 * libmicrohttpd takes lines that end in LF alone, folded headers, NULs, and does not show them. But what it
 * hands on lies where it came, with NULs over the bytes that ended a piece: pieces that do not follow each
 * other without a gap had something else between them. One thing cannot be told so: NUL LF where CR LF should
 * be leaves the same bytes, and is taken for it. */
#ifndef SERVER_REQUESTHEAD_H
#define SERVER_REQUESTHEAD_H

#include "server/exchange.h"

enum { REQUESTHEAD_MAX = 32 << 10 }; /* bytes */

/* The request's target as it was sent, before it is decoded, where it came. */
void requesthead_target(struct exchange *x, const char *target);
/* All headers have come; `target` and `version` are where they came, too. When the head is no good, gives
 * the reply that says so, and true: 431 over REQUESTHEAD_MAX; 400 for a line that reads in two ways, for a
 * whole address or %00 or %2F as the path, for a body whose end is said twice, in a transfer coding we do not
 * know, or by chunks in HTTP/1.0; 417 for expectations but 100-continue; 415 for a body that is packed. */
bool requesthead_refused(struct exchange *x, const char *target, const char *version);
/* Does a body follow? */
bool requesthead_has_body(const struct exchange *x);

#endif
