/* model/vocabkeys.h: a tokenizer as the tokenizer.* keys of a GGUF file, the inverse of vocab.h. */
#ifndef MODEL_VOCABKEYS_H
#define MODEL_VOCABKEYS_H

#include "formats/gguf.h"
#include "text/tokenizer.h"

/* Tokens up to n_rows (the model's vocabulary may be larger than the tokenizer's: the rest is written
 * as unused). `chat_template` [len] may be NULL. */
ERR_MUST_USE err vocabkeys_write(struct gguf_writer *w, const struct tokenizer *t, size_t n_rows,
                                 const char *chat_template, size_t len, struct errinfo *info);

/* The tokenizer files of a Hugging Face folder; without a tokenizer.json only
 * tokenizer.ggml.model = "none". */
ERR_MUST_USE err vocabkeys_from_folder(struct gguf_writer *w, const char *dir, size_t n_rows,
                                       struct errinfo *info);

#endif
