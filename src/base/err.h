/* base/err.h: how every fallible function in Fathom reports failure.
 *
 * A fallible function returns `err` and writes its results through out-pointers only on ERR_OK.
 * The human message goes into an optional `struct errinfo` owned by the caller: what was found,
 * what was expected, what to do next. There is no global error state.
 * Thread rule: an errinfo belongs to one thread at a time. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

typedef enum err {
    ERR_OK = 0,
    ERR_NOMEM,       /* an allocation failed or would exceed a stated budget */
    ERR_IO,          /* the system refused to read, write, map, rename ... */
    ERR_CORRUPT,     /* a file contradicts its own format */
    ERR_LIMIT,       /* well-formed, but larger than a stated cap */
    ERR_BUSY,        /* too much at once; later it may well go */
    ERR_UNSUPPORTED, /* well-formed, known or unknown, but not something we run */
    ERR_ARGUMENT,    /* the caller (or the person at the command line) asked for the impossible */
    ERR_NOTFOUND,    /* no such file, model, tensor, key */
    ERR_CONTEXT,     /* the prompt or the answer does not fit the context */
    ERR_CANCELLED,   /* stopped on request; nothing is wrong */
} err;

#define ERR_MUST_USE __attribute__((warn_unused_result))
#define ERR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

struct errinfo {
    err code;
    char message[1024]; /* one or more sentences, no trailing newline; "" when nothing was set */
    char field[64];     /* what of what was given is wrong: "limits.concurrent"; "": not said */
};

/* Returns early with the error of `call`. The only macro that hides control flow. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        err try_err_ = (call);                                                                     \
        if (try_err_ != ERR_OK)                                                                    \
            return try_err_;                                                                       \
    } while (0)

/* Records `code` and a formatted message in `info` (NULL is allowed) and returns `code`, so that
 * failing reads `return err_set(info, ERR_CORRUPT, "…")`. A message too long is cut at the end. Messages
 * may quote hostile bytes: control characters and invalid UTF-8 become '?', so every message is safe to
 * print and to put into JSON. */
err err_set(struct errinfo *info, err code, const char *fmt, ...) ERR_PRINTF(3, 4);

/* Puts `fmt` in front of info's message ("while reading X: …") and forgets the field; returns the code. */
err err_prefix(struct errinfo *info, err code, const char *fmt, ...) ERR_PRINTF(3, 4);

/* Says of the error in `info` which field it is about, unless one that lies deeper is named already; cut where
 * it is too long. Returns `code`. */
err err_at(struct errinfo *info, err code, const char *fmt, ...) ERR_PRINTF(3, 4);

/* What err_set does to messages, for other text that quotes names from outside and goes to terminals and
 * into JSON: control characters and invalid UTF-8 become '?'. */
void err_clean(char *text);

/* Short English name of a code: "out of memory", "corrupt file" … Never NULL. */
const char *err_name(err code);

#endif
