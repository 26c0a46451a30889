/* text/tokenizer.h: byte-level BPE: text to token ids and back.
 *
 * The vocabulary comes from a Hugging Face tokenizer.json or, through the model layer, from GGUF keys;
 * both end in a tokenizer_spec. The split patterns are chosen by name and are exact copies in meaning
 * of what the models were trained with. Immutable after creation; every function is thread-safe on a
 * shared tokenizer. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum tokenizer_pre { /* how text is cut into pieces before merging */
    TOKENIZER_PRE_DEEPSEEK_LLM,
    TOKENIZER_PRE_DEEPSEEK_CODER,
    TOKENIZER_PRE_DEEPSEEK_V3,
    TOKENIZER_PRE_QWEN2,
    TOKENIZER_PRE_LLAMA_BPE,
    TOKENIZER_PRE_SMOLLM,
    TOKENIZER_PRE_GPT2,
    TOKENIZER_PRE_COUNT
};

/* By GGUF name ("deepseek-v3", "qwen2", "deepseek-r1-qwen", "llama-bpe", "joyai-llm" …). */
bool tokenizer_pre_from_name(const char *name, size_t len, enum tokenizer_pre *out);
const char *tokenizer_pre_name(enum tokenizer_pre pre);

enum tokenizer_kind {
    TOKENIZER_NORMAL = 1,
    TOKENIZER_UNKNOWN = 2,
    TOKENIZER_CONTROL = 3, /* never produced from user text, hidden in decoded text */
    TOKENIZER_USER = 4,    /* added token that may appear in text */
    TOKENIZER_UNUSED = 5,
    TOKENIZER_BYTE = 6,
};

struct tokenizer_piece {
    const char *data; /* byte-level alphabet for normal tokens, plain UTF-8 for added ones */
    size_t len;
};

/* Everything a tokenizer is made of; all pointers are borrowed during tokenizer_new only. */
struct tokenizer_spec {
    enum tokenizer_pre pre;
    const struct tokenizer_piece *tokens; /* [n_tokens] by id */
    const uint8_t *kinds;                 /* [n_tokens] enum tokenizer_kind */
    size_t n_tokens;
    const struct tokenizer_piece *merges; /* "left right" in rank order */
    size_t n_merges;
    int32_t bos, eos, pad; /* -1 when absent */
    bool add_bos;          /* plain text is prefixed with bos */
    bool ignore_merges;    /* a piece that is a token is emitted whole (Llama 3) */
    bool nfc;              /* text is brought to normalisation form C first (Qwen2) */
};

struct tokenizer;

/* Caps on what a file may declare. */
enum {
    TOKENIZER_TOKENS_MAX = 1 << 21,
    TOKENIZER_MERGES_MAX = 1 << 22,
    TOKENIZER_BYTES_MAX = 1 << 28, /* all spellings together */
};

/* Everything is checked: ids in range, kinds known, merges made of tokens. ERR_CORRUPT names what is
 * wrong, ERR_LIMIT the cap. A merge that would make an added token is kept for export but never
 * applied, so that ordinary text cannot grow into one. */
ERR_MUST_USE err tokenizer_new(const struct tokenizer_spec *spec, struct tokenizer **out,
                               struct errinfo *info);
/* Reads DIR/tokenizer.json and, where present, DIR/tokenizer_config.json (bos, eos, pad, add_bos) and
 * DIR/generation_config.json (bos, eos where the former names none). ERR_UNSUPPORTED names a model
 * type, normalizer or pre-tokenizer that is not one of ours. */
ERR_MUST_USE err tokenizer_open(const char *dir, struct tokenizer **out, struct errinfo *info);
void tokenizer_free(struct tokenizer *t);

size_t tokenizer_size(const struct tokenizer *t); /* number of ids */
int32_t tokenizer_bos(const struct tokenizer *t); /* -1 when absent */
int32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_add_bos(const struct tokenizer *t);
enum tokenizer_pre tokenizer_pre_of(const struct tokenizer *t);
bool tokenizer_ignore_merges(const struct tokenizer *t);
int32_t tokenizer_pad(const struct tokenizer *t);
/* Id of an added (control or user) token by its exact text, -1 when there is none. */
int32_t tokenizer_special(const struct tokenizer *t, const char *text);
/* The stored spelling and kind of an id in range; for export. */
struct tokenizer_piece tokenizer_piece_at(const struct tokenizer *t, int32_t id);
enum tokenizer_kind tokenizer_kind_at(const struct tokenizer *t, int32_t id);
size_t tokenizer_merge_count(const struct tokenizer *t);
/* Merge `rank` as its two parts; for export. */
void tokenizer_merge_at(const struct tokenizer *t, size_t rank, struct tokenizer_piece *left,
                        struct tokenizer_piece *right);

/* A growing list of ids. */
struct tokenizer_ids {
    int32_t *data; /* owned; tokenizer_ids_deinit */
    size_t len, cap;
};
ERR_MUST_USE err tokenizer_ids_push(struct tokenizer_ids *ids, int32_t id);
void tokenizer_ids_deinit(struct tokenizer_ids *ids);

/* Appends the ids of `text` (any bytes; invalid UTF-8 is encoded byte by byte, never lost). A byte
 * that the vocabulary has no token for gives no id, as in the `tokenizers` library: SmolLM2 lacks 21,
 * among them six control characters. Nothing is appended on error; texts over 1 GiB are ERR_LIMIT.
 * `specials` false: added tokens are not recognised, so user text cannot become a control token.
 * true: added tokens are matched first, longest at each place, as the `tokenizers` library does.
 * Never adds bos. */
ERR_MUST_USE err tokenizer_encode(const struct tokenizer *t, const char *text, size_t len,
                                  bool specials, struct tokenizer_ids *out, struct errinfo *info);

/* No text of these bytes has fewer tokens without added ones: what is certain before they are counted. */
size_t tokenizer_least(const struct tokenizer *t, const char *text, size_t len);

/* Bytes of one id: plain bytes for normal tokens, the token's text for added ones. The bytes may be
 * an incomplete UTF-8 sequence. Borrowed from the tokenizer; "" (len 0) for ids out of range. */
struct tokenizer_piece tokenizer_bytes(const struct tokenizer *t, int32_t id);

/* Streaming decode: feed ids, get text that never ends inside a UTF-8 character. */
struct tokenizer_stream {
    char held[4]; /* bytes of an unfinished character */
    size_t n_held;
};
/* Writes complete text for `id` to `out`; a capacity of 3 * (bytes of the token + 3) is always enough,
 * and where `cap` does not suffice the answer is ERR_LIMIT and nothing has changed. Control tokens give
 * no text unless `show_control`. Invalid bytes become U+FFFD, one for each ill-formed part. Not
 * NUL-terminated. */
ERR_MUST_USE err tokenizer_stream_push(const struct tokenizer *t, struct tokenizer_stream *s,
                                       int32_t id, bool show_control, char *out, size_t cap,
                                       size_t *len);
/* What is still held, as U+FFFD. */
ERR_MUST_USE err tokenizer_stream_finish(struct tokenizer_stream *s, char *out, size_t cap,
                                         size_t *len);

#endif
