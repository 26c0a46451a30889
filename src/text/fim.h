/* text/fim.h: filling in the middle: what a model is asked that writes what belongs between two texts, most
 * often of code. Known where the vocabulary has the tokens for it:
 *
 *     DeepSeek       bos <｜fim▁begin｜> prefix <｜fim▁hole｜> suffix <｜fim▁end｜>
 *     Qwen2.5-Coder  <|fim_prefix|> prefix <|fim_suffix|> suffix <|fim_middle|> */
#ifndef TEXT_FIM_H
#define TEXT_FIM_H

#include "text/tokenizer.h"

/* Whether fim_encode knows how. */
bool fim_known(const struct tokenizer *t);

/* Appends the prompt. Both texts NUL-terminated UTF-8, NULL for none; nothing in them is a control token.
 * ERR_UNSUPPORTED where the vocabulary has no tokens for it; nothing is appended on error. */
ERR_MUST_USE err fim_encode(const struct tokenizer *t, const char *prefix, const char *suffix,
                            struct tokenizer_ids *out, struct errinfo *info);

/* Ids that end such an answer: eos, and what begins the next file. Returns how many. */
enum { FIM_STOP_MAX = 8 };
size_t fim_stop_ids(const struct tokenizer *t, int32_t ids[FIM_STOP_MAX]);

#endif
