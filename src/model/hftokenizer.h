/* model/hftokenizer.h: a tokenizer as the tokenizer.json and tokenizer_config.json of a Hugging Face
 * folder, the inverse of tokenizer_open. */
#ifndef MODEL_HFTOKENIZER_H
#define MODEL_HFTOKENIZER_H

#include <jansson.h>

#include "text/tokenizer.h"

/* New references in *tokenizer and *config. chat_template [len] may be NULL. Unused tokens at the end of
 * the vocabulary are left out. */
ERR_MUST_USE err hftokenizer_make(const struct tokenizer *t, const char *chat_template, size_t len,
                                  size_t context, json_t **tokenizer, json_t **config,
                                  struct errinfo *info);

#endif
