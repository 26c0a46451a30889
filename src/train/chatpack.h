/* train/chatpack.h: a conversation to tokens for learning: everything is read, only what the assistant says is
 * to be predicted, with the token that ends its turn.
 *
 *     {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}, ...]}
 *
 * as OpenAI's and DeepSeek's APIs have them; roles are system, user and assistant; an assistant's message may
 * have reasoning_content. The layout is the chat format's
 * (chat.h), so a model that learns from this is asked the way it learnt. */
#ifndef TRAIN_CHATPACK_H
#define TRAIN_CHATPACK_H

#include "base/strbuf.h"
#include "text/chat.h"

enum { CHATPACK_MESSAGES_MAX = 1024 };

/* In place of what *ids and *learn hold; learn gets a byte for each token: 1 to be predicted. ERR_CORRUPT for
 * what is no conversation: other roles, no assistant's turn, a turn out of order; ERR_UNSUPPORTED for a format
 * that shows earlier turns otherwise than they were said (reasoning in any turn but the last). */
ERR_MUST_USE err chatpack_encode(const struct tokenizer *t, enum chat_format format, const char *json,
                                 size_t len, struct tokenizer_ids *ids, struct strbuf *learn,
                                 struct errinfo *info);

#endif
