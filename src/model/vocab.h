/* model/vocab.h: the tokenizer and the chat format that come with a model. */
#ifndef MODEL_VOCAB_H
#define MODEL_VOCAB_H

#include "formats/gguf.h"
#include "text/chat.h"

/* From the tokenizer.ggml keys. *tokenizer stays NULL (and *chat as it was) when there are none. */
ERR_MUST_USE err vocab_from_gguf(const struct gguf *g, struct tokenizer **tokenizer,
                                 struct chat_guess *chat, struct errinfo *info);
/* From DIR/tokenizer.json, tokenizer_config.json and chat_template.jinja, likewise. */
ERR_MUST_USE err vocab_from_folder(const char *dir, struct tokenizer **tokenizer,
                                   struct chat_guess *chat, struct errinfo *info);

/* The text of a folder's chat template: DIR/chat_template.jinja, or tokenizer_config.json's
 * chat_template, which is a string or a list of named ones (the first counts). *out is owned (mem_free)
 * and stays NULL when there is none. */
ERR_MUST_USE err vocab_template(const char *dir, char **out, size_t *len, struct errinfo *info);

#endif
