/* text/chat.h: conversations to prompt tokens, one C encoder per format the models were trained on.
 * Layouts: each model's own tokenizer_config or encoding code; summary in docs/models.md. No template
 * engine: a model file cannot run code, and user text is always encoded without special tokens. What the
 * model says in return is taken apart by text/answerparser.h. */
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
    CHAT_DEEPSEEK_V32, /* V3.2: calls in DSML (layout at second hand, from engines that serve it) */
    CHAT_DEEPSEEK_V4, /* V4-Flash, V4-Pro as first published */
    CHAT_DEEPSEEK_V4_0731, /* their refresh: other words for the same efforts (at second hand) */
    CHAT_CHATML,      /* <|im_start|>role\n … <|im_end|>\n: Qwen2 base chat, SmolLM2 */
    CHAT_LLAMA3,      /* <|start_header_id|>role<|end_header_id|>\n\n … <|eot_id|> */
    CHAT_SMOLLM2,     /* ChatML with SmolLM2's own system message where none is given */
    CHAT_QWEN2,       /* ChatML with Qwen2's */
    CHAT_QWEN25,      /* ChatML with Qwen2.5's */
    CHAT_FATHOM,      /* V3.1's turns, neither thoughts nor calls: what recipes/fathom-nano.sh teaches */
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
/* Whether it knows tools, calls and their results: V3, R1, V3.1, V3.2, V4, chatml, qwen2.5. Of the others
 * nothing is known for certain. */
bool chat_can_call(enum chat_format f);

/* What the model may call. All borrowed, NUL-terminated UTF-8. */
struct chat_tool {
    const char *name;
    const char *description; /* NULL for none */
    const char *parameters;  /* JSON: their schema; NULL for none */
};

/* A call that the assistant made. */
struct chat_call {
    const char *id;        /* what its result names; NULL for none */
    const char *name;
    const char *arguments; /* JSON: an object */
};

enum chat_role {
    CHAT_SYSTEM,
    CHAT_USER,
    CHAT_ASSISTANT,
    CHAT_TOOL,      /* the result of a call */
    CHAT_DEVELOPER, /* V3.2 and V4 alone: a user's turn with tools of its own */
    CHAT_REMINDER,  /* V4 alone: "latest_reminder", date and place */
};

/* A message; all borrowed, NUL-terminated UTF-8, parts of a content joined by the caller. What a role has
 * no use for is not looked at. */
struct chat_message {
    enum chat_role role;
    const char *content;            /* NULL for none */
    const char *reasoning;          /* assistant: NULL for none */
    const struct chat_call *calls;  /* assistant [n_calls] */
    size_t n_calls;
    const char *call_id;            /* tool: which call it answers (V4 puts results into the calls' order) */
    const struct chat_tool *tools;  /* system, developer [n_tools] */
    size_t n_tools;
    const char *response_schema;    /* system, developer; JSON; V3.2 and V4 alone */
    const char *task;               /* user, V4 alone: action, query, authority, domain, title, read_url */
    bool open; /* assistant, the last message: the beginning of the answer, which goes on from here */
};

/* Whether the model is to think, and how hard: false and true will do. Efforts are words of V4; to the
 * other formats they are all the same, and to V4 as first published low is no other than the middle one. */
enum chat_thinking { CHAT_NO_THINKING, CHAT_THINKING, CHAT_THINKING_LOW, CHAT_THINKING_MAX };

/* Appends the prompt for `messages`, ready for the assistant's answer. `think` has a say only where
 * chat_can_skip_thinking. Nothing is appended on error:
 * ERR_ARGUMENT     a token the format needs is missing from the vocabulary (named); no messages, or the
 *                  last one is the assistant's and not open, or another one is; a result that no call
 *                  precedes; an unknown task
 * ERR_UNSUPPORTED  the format does not know what a message has: tools, calls, a role, a schema, a task; the
 *                  beginning of an answer with calls, or with reasoning where there is none
 * json_parse's     (base/json.h) for arguments, parameters or a schema that are no JSON
 *
 * System messages of the DeepSeek formats from V2.5 to V3.1 are joined with an empty line and stand before
 * the first turn, wherever they were given; the other formats keep their place. Tools stand where the
 * format has them: behind the (first) system text, in V3.2 and V4 behind the message that has them. V3 and
 * R1 never saw tools described in one way: ours is V3.1's, with their form of a call.
 *
 * Reasoning of earlier turns is not repeated to the model in V3.1 and R1; V3.2 repeats what came after the
 * last user message, V4 too, but all of it as soon as any message has tools: which is how these models
 * were trained.
 *
 * An open message stands at the end word for word. While the model thinks, its reasoning alone leaves the
 * think block open; in front of content the block is closed, and V3.1 does not think where there is content
 * alone (an empty block is nothing it knows).
 *
 * Text is never a control token, whatever it spells. What remains possible is imitation where a format
 * marks something by ordinary words ("\n\nAssistant:" in V2, "</tool_result>" in V4, "<tool_response>" in
 * ChatML). */
ERR_MUST_USE err chat_encode(const struct tokenizer *t, enum chat_format f,
                             const struct chat_message *messages, size_t n_messages,
                             enum chat_thinking think, struct tokenizer_ids *out, struct errinfo *info);

/* Whether such a prompt ends inside a think block: the answer begins as reasoning. */
bool chat_opens_thinking(enum chat_format f, const struct chat_message *messages, size_t n_messages,
                         enum chat_thinking think);

/* Ids that end an assistant turn in this format (eos, <|im_end|>, <|eot_id|> …); returns how many. */
enum { CHAT_STOP_MAX = 4 };
size_t chat_stop_ids(const struct tokenizer *t, enum chat_format f, int32_t ids[CHAT_STOP_MAX]);

/* Ids of <think> and </think> where the vocabulary has them. Some files call them control tokens, which have
 * no text; the answer's parser needs theirs all the same. Returns how many. */
enum { CHAT_THINK_MAX = 2 };
size_t chat_think_ids(const struct tokenizer *t, int32_t ids[CHAT_THINK_MAX]);
/* What ends a think block the way the model does it, for whoever ends one before (generate_options.think_end):
 * </think>, in R1 with an empty line behind it. Appends nothing where the format does not think or the
 * vocabulary has no such token. */
ERR_MUST_USE err chat_think_end(const struct tokenizer *t, enum chat_format f, struct tokenizer_ids *out,
                                struct errinfo *info);
/* The tokens that mark calls, for a parser that looks for calls: their text, too, is needed. */
enum { CHAT_CALL_MAX = 8 };
size_t chat_call_ids(const struct tokenizer *t, int32_t ids[CHAT_CALL_MAX]);

/* The control tokens that a vocabulary of our own begins with, NULL after the last: what begins a text, ends it
 * and fills up; the DeepSeek chat format's (V3 to V3.1: turns, thinking, tools, filling in the middle); and
 * some without a meaning yet. */
const char *const *chat_control_tokens(void);

/* A template for such a vocabulary, in the language of transformers and llama.cpp: it lays out what chat_encode
 * does for CHAT_DEEPSEEK_V31 without tools, so that other programs ask the model as we do. Models that have
 * this very text are taken for CHAT_FATHOM. */
const char *chat_template_text(void);

#endif
