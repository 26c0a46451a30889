/* text/corpus.h: the documents of a file of training text, one after another, however large the file.
 *
 * Text: UTF-8 lines; a line that holds the separator alone ends a document. JSONL: each line is an object
 * whose field is a document. Either may be packed with zstd (RFC 8878), which its first bytes tell. */
#ifndef TEXT_CORPUS_H
#define TEXT_CORPUS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

enum corpus_format {
    CORPUS_AUTO,   /* by name, .jsonl or .jsonl.zst */
    CORPUS_TEXT,
    CORPUS_JSONL,
    CORPUS_LINES,  /* each line as it is */
};

enum { CORPUS_DOCUMENT_MAX = 1 << 28 }; /* bytes */

struct corpus_options {
    enum corpus_format format;
    const char *separator; /* NULL: CORPUS_SEPARATOR */
    const char *field;     /* NULL: "text" */
};

#define CORPUS_SEPARATOR "<|endofdoc|>"

struct corpus;

/* The file stays mapped and `path` and the options borrowed until corpus_close. */
ERR_MUST_USE err corpus_open(const char *path, const struct corpus_options *options, struct corpus **out,
                             struct errinfo *info);
void corpus_close(struct corpus *c); /* NULL is fine */

/* The next document that is not empty, in place of what `document` holds; *end when there is none. A line
 * break before the separator is not part of it. ERR_CORRUPT names the line of what is no JSON, lacks the
 * field, or is a broken zstd frame; ERR_LIMIT a document over CORPUS_DOCUMENT_MAX. */
ERR_MUST_USE err corpus_next(struct corpus *c, struct strbuf *document, bool *end, struct errinfo *info);

size_t corpus_file_size(const struct corpus *c);
size_t corpus_file_done(const struct corpus *c); /* bytes of the file that were read so far */

#endif
