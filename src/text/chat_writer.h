/* text/chat_writer.h: what the encoders of chat formats write a prompt with. A prompt is a chain of
 * special tokens and stretches of text. Text between two special tokens is collected and encoded in one
 * piece, since merges run across the border of template and message: that is what the model saw in
 * training. */
#ifndef TEXT_CHAT_WRITER_H
#define TEXT_CHAT_WRITER_H

#include "base/strbuf.h"
#include "text/chat.h"

struct chat_writer {
    const struct tokenizer *t;
    enum chat_format format;
    enum chat_thinking think;
    const char *system; /* the format's own system text where none is given; NULL for none */
    struct tokenizer_ids *out;
    struct strbuf text; /* not yet encoded */
    struct errinfo *info;
};

err chat_writer_nomem(const struct chat_writer *w);

/* Text of a message, in which nothing is a token of its own; NULL is none. */
ERR_MUST_USE err chat_writer_text(struct chat_writer *w, const char *text, size_t len);
ERR_MUST_USE err chat_writer_puts(struct chat_writer *w, const char *text);

/* Words of the format itself: marks in them (<think>, ｜DSML｜ …) are the tokens where the vocabulary has
 * them. */
ERR_MUST_USE err chat_writer_own(struct chat_writer *w, const char *words);

/* The mark that such words begin with, NULL for none. */
const char *chat_writer_mark(const char *words);

/* A token that the format cannot do without: ERR_ARGUMENT where the vocabulary lacks it. */
ERR_MUST_USE err chat_writer_special(struct chat_writer *w, const char *token);
/* The beginning of text, `token` or whatever this vocabulary calls it. */
ERR_MUST_USE err chat_writer_bos(struct chat_writer *w, const char *token);

/* JSON in Python's spelling; `what` and `name` ("the arguments of", "f") are for messages. */
ERR_MUST_USE err chat_writer_json(struct chat_writer *w, const char *json, const char *what,
                                  const char *name);
/* A tool as an object of name, description, parameters. */
ERR_MUST_USE err chat_writer_tool(struct chat_writer *w, const struct chat_tool *tool);

/* Encodes what is still text. */
ERR_MUST_USE err chat_writer_flush(struct chat_writer *w);

/* The encoders of the larger formats. n >= 1; the last message is not the assistant's. */
ERR_MUST_USE err chat_deepseek_encode(struct chat_writer *w, const struct chat_message *messages,
                                      size_t n);
ERR_MUST_USE err chat_dsml_encode_v32(struct chat_writer *w, const struct chat_message *messages,
                                      size_t n);
ERR_MUST_USE err chat_dsml_encode_v4(struct chat_writer *w, const struct chat_message *messages,
                                     size_t n);
ERR_MUST_USE err chat_chatml_encode(struct chat_writer *w, const struct chat_message *messages, size_t n);

#endif
