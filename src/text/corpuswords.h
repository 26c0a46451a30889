/* text/corpuswords.h: counts the words of files of documents, on all threads: the pieces that a pre-tokenizer
 * cuts them into. What is longer than CORPUSWORDS_LONGEST, such as a letter that fills a file, counts as
 * several words: a word without end would cost learning its length again for every token. */
#ifndef TEXT_CORPUSWORDS_H
#define TEXT_CORPUSWORDS_H

#include "text/corpus.h"
#include "text/tokenizer.h"
#include "text/wordcount.h"

enum { CORPUSWORDS_LONGEST = 256 }; /* bytes of a word, and so of a learned token */

struct corpuswords {
    struct wordcount words; /* owned; corpuswords_deinit */
    size_t n_documents;
    size_t n_bytes;   /* of text, unpacked */
    size_t n_skipped; /* bytes of it that are no UTF-8: they are no part of any word */
};

struct corpuswords_options {
    enum tokenizer_pre pre;
    struct corpus_options corpus;
    int n_threads; /* 1 or more */
    size_t max_bytes; /* of text, about: no more is read when so much was; 0: all */
    /* Called now and then with the bytes of the file that are done; false stops (ERR_CANCELLED). May be
     * NULL. */
    bool (*go_on)(void *user, size_t file_done);
    void *user;
};

/* Adds a file's words to a zeroed or used struct. After an error it holds a part of them. */
ERR_MUST_USE err corpuswords_read(struct corpuswords *w, const char *path,
                                  const struct corpuswords_options *options, struct errinfo *info);
void corpuswords_deinit(struct corpuswords *w);

#endif
