/* server/apierror.h: what went wrong with a request, as every wire format can say it. */
#ifndef SERVER_APIERROR_H
#define SERVER_APIERROR_H

#include "server/exchange.h"

struct apierror {
    unsigned status;       /* of HTTP; 0: nothing is wrong */
    const char *code;      /* a constant for programs: "context_length_exceeded"; NULL: none */
    unsigned retry_after;  /* seconds; 0: not said */
    char param[256];       /* which field: "messages[2].content"; "" for none */
    char message[1024];    /* what was found, what was expected, what to do */
};

/* Sets all of it and returns false, so that refusing reads `return apierror_set(…)`. */
bool apierror_set(struct apierror *e, unsigned status, const char *code, const char *param, const char *fmt,
                  ...) ERR_PRINTF(5, 6);
/* From an error of a lower layer: 400 for what was asked, its field as `param`, 429 with Retry-After for too
 * much at once, 500 for what is damaged here … */
bool apierror_from(struct apierror *e, err code, const struct errinfo *info);

/* "invalid_request_error", "authentication_error" … as OpenAI's and Anthropic's clients know them. */
const char *apierror_type(unsigned status);

/* Does a client of Anthropic's ask, by a header or under /anthropic/? For it every error has that form, of
 * whatever path. */
bool apierror_for_anthropic(const struct exchange *x);
/* {"error":{"message","type","param","code"}}; Anthropic's form, where `anthropic` (the path is theirs) or such
 * a client asks: {"type":"error","error":{"type","message"}}. With Retry-After; where that is over a minute,
 * with x-should-retry: false, which the official clients heed. */
void apierror_reply(struct exchange *x, const struct apierror *e, bool anthropic);
/* The document alone, in Anthropic's form where `anthropic`, appended; ERR_NOMEM. */
ERR_MUST_USE err apierror_text(const struct apierror *e, bool anthropic, struct strbuf *out);

#endif
