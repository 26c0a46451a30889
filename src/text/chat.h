/* text/chat.h: conversations to prompt tokens, one C encoder per format the models were trained on,
 * and the answer stream split back into reasoning and content. Layouts: docs of each model's own
 * tokenizer_config; summary in docs/models.md. No template engine: a model file cannot run code, and
 * user text is always encoded without special tokens. */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include "text/tokenizer.h"

enum chat_format {
    CHAT_PLAIN,       /* base model: text as it is */
    CHAT_DEEPSEEK_V2, /* "User: … Assistant:" */
    CHAT_DEEPSEEK_V25, /* V2.5: markers, no newlines (layout from memory of the model card) */
    CHAT_DEEPSEEK_V3, /* V3, V3-0324 */
    CHAT_DEEPSEEK_R1, /* R1, R1-0528 and the R1 distills: forced <think>\n */
    CHAT_DEEPSEEK_V31, /* V3.1: <think> or </think> after the assistant marker */
    CHAT_CHATML,      /* <|im_start|>role\n … <|im_end|>\n: Qwen2 base chat, SmolLM2 */
    CHAT_LLAMA3,      /* <|start_header_id|>role<|end_header_id|>\n\n … <|eot_id|> */
    CHAT_SMOLLM2,     /* ChatML with SmolLM2's own system message where none is given */
    CHAT_QWEN2,       /* ChatML with Qwen2's */
    CHAT_QWEN25,      /* ChatML with Qwen2.5's */
    CHAT_FORMATS
};

const char *chat_format_name(enum chat_format f);
bool chat_format_from_name(const char *name, enum chat_format *out);

/* Picks a format from the special tokens of the vocabulary and the model's own chat template text
 * (looked at for known markers, never run; NULL when there is none). */
struct chat_guess {
    enum chat_format format;
    const char *doubt; /* NULL: the template leaves none. Else why it may be wrong; static, a half-sentence */
};
struct chat_guess chat_detect(const struct tokenizer *t, const char *template_text, size_t len);

/* Whether a format can think and whether thinking can be switched off. */
bool chat_can_think(enum chat_format f);
bool chat_can_skip_thinking(enum chat_format f);

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT };

struct chat_message {
    enum chat_role role;
    const char *content; /* borrowed, NUL-terminated UTF-8 */
    const char *reasoning; /* assistant only, may be NULL */
};

/* Appends the prompt for `messages`, ready for the assistant's answer. ERR_ARGUMENT when a token the
 * format needs is missing from the vocabulary (named), when there are no messages, or when the last
 * one is the assistant's. `think` has a say only where chat_can_skip_thinking. Nothing is appended on
 * error.
 *
 * System messages of the DeepSeek formats from V2.5 on are joined with an empty line and stand before
 * the first turn, wherever they were given; the other formats keep their place. Reasoning of earlier
 * turns is not repeated to the model (V3.1, R1), which is how these models were trained.
 *
 * Text is never a control token, whatever it spells. What remains possible is imitation in a format
 * whose turns are marked by ordinary words ("\n\nAssistant:" in V2). */
ERR_MUST_USE err chat_encode(const struct tokenizer *t, enum chat_format f,
                             const struct chat_message *messages, size_t n_messages, bool think,
                             struct tokenizer_ids *out, struct errinfo *info);

/* Ids that end an assistant turn in this format (eos, <|im_end|>, <|eot_id|> …); returns how many. */
enum { CHAT_STOP_MAX = 4 };
size_t chat_stop_ids(const struct tokenizer *t, enum chat_format f, int32_t ids[CHAT_STOP_MAX]);

/* Ids of <think> and </think> where the vocabulary has them. Some files call them control tokens, which have
 * no text; the splitter needs theirs all the same. Returns how many. */
enum { CHAT_THINK_MAX = 2 };
size_t chat_think_ids(const struct tokenizer *t, int32_t ids[CHAT_THINK_MAX]);

/* The control tokens that a vocabulary of our own begins with, NULL after the last: what begins a text, ends it
 * and fills up; the DeepSeek chat format's (V3 to V3.1: turns, thinking, tools, filling in the middle); and
 * some without a meaning yet. */
const char *const *chat_control_tokens(void);

/* A template for such a vocabulary, in the language of transformers and llama.cpp: it lays out what chat_encode
 * does for CHAT_DEEPSEEK_V31, so that other programs ask the model as we do. */
const char *chat_template_text(void);

/* Splits a streamed answer at <think> / </think>. Bytes that might be the beginning of a tag are held
 * back until they are decided. */
enum chat_part { CHAT_REASONING, CHAT_CONTENT };
struct chat_splitter {
    enum chat_part part;
    char held[16];
    size_t n_held;
    bool at_start; /* leading newlines of a part are dropped */
};
/* `thinking`: the prompt ended inside a think block. */
void chat_splitter_init(struct chat_splitter *s, bool thinking);
typedef void (*chat_sink)(void *user, enum chat_part part, const char *text, size_t len);
void chat_splitter_push(struct chat_splitter *s, const char *text, size_t len, chat_sink sink,
                        void *user);
void chat_splitter_finish(struct chat_splitter *s, chat_sink sink, void *user);

#endif
