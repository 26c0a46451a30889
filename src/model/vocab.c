/* model/vocab.c: see vocab.h. Chat templates are only searched for known markers (chat_detect). */
#include "model/vocab.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

static const size_t VOCAB_TEXT_MAX = 64 << 20; /* tokenizer_config.json, chat_template.jinja */

/* The arrays a tokenizer_spec borrows. */
struct vocab_lists {
    struct tokenizer_piece *tokens, *merges;
    uint8_t *kinds;
};

static void vocab_lists_deinit(struct vocab_lists *l)
{
    mem_free(l->tokens);
    mem_free(l->merges);
    mem_free(l->kinds);
}

static err vocab_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory while reading the vocabulary");
}

/* A whole array of strings, borrowed from the mapped file. */
static err vocab_strings(const struct gguf *g, const char *key, struct tokenizer_piece **out,
                         size_t *n, struct errinfo *info)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) {
        return ERR_NOTFOUND;
    }
    if (kv->type != GGUF_ARRAY || kv->elem_type != GGUF_STRING) {
        return err_set(info, ERR_CORRUPT, "GGUF key %s is not an array of strings", key);
    }
    struct tokenizer_piece *pieces = mem_calloc(kv->count, sizeof *pieces);
    if (!pieces) {
        return vocab_nomem(info);
    }
    *out = pieces; /* the caller frees it also on error */
    size_t pos = 0;
    for (uint64_t i = 0; i < kv->count; i++) {
        struct gguf_string s;
        TRY(gguf_array_string(kv, &pos, &s));
        pieces[i] = (struct tokenizer_piece){.data = s.data, .len = s.len};
    }
    *n = kv->count;
    return ERR_OK;
}

/* Kinds default to normal; a type we do not know is normal too. */
static err vocab_kinds(const struct gguf *g, size_t n, uint8_t **out, struct errinfo *info)
{
    uint8_t *kinds = mem_alloc(n);
    if (!kinds) {
        return vocab_nomem(info);
    }
    *out = kinds;
    memset(kinds, TOKENIZER_NORMAL, n);
    const struct gguf_kv *kv = gguf_find(g, "tokenizer.ggml.token_type");
    if (!kv) {
        return ERR_OK;
    }
    if (kv->type != GGUF_ARRAY || kv->count != n) {
        return err_set(info, ERR_CORRUPT, "GGUF key tokenizer.ggml.token_type does not hold one type for "
                       "each of the %zu tokens", n);
    }
    for (size_t i = 0; i < n; i++) {
        double type = 0;
        TRY(gguf_array_f64(kv, i, &type));
        if (type >= TOKENIZER_NORMAL && type <= TOKENIZER_BYTE) {
            kinds[i] = (uint8_t)type;
        }
    }
    return ERR_OK;
}

/* An id within the vocabulary, -1 when absent or outside it. */
static int32_t vocab_id(const struct gguf *g, const char *key, size_t n)
{
    uint64_t v;
    if (gguf_get_u64(g, key, &v, NULL) != ERR_OK || v >= n) {
        return -1;
    }
    return (int32_t)v;
}

static bool vocab_flag(const struct gguf *g, const char *key, bool fallback)
{
    bool v = fallback;
    return gguf_get_bool(g, key, &v, NULL) == ERR_OK ? v : fallback;
}

static err vocab_pre(const struct gguf *g, enum tokenizer_pre *out, struct errinfo *info)
{
    struct gguf_string model, pre;
    TRY(gguf_get_string(g, "tokenizer.ggml.model", &model, info));
    if (model.len != 4 || memcmp(model.data, "gpt2", 4) != 0) {
        return err_set(info, ERR_UNSUPPORTED, "the tokenizer of this GGUF file is of kind \"%.*s\"; "
                       "Fathom has byte-level BPE (\"gpt2\")",
                       (int)(model.len < 32 ? model.len : 32), model.data);
    }
    err e = gguf_get_string(g, "tokenizer.ggml.pre", &pre, info);
    if (e == ERR_NOTFOUND) {
        *out = TOKENIZER_PRE_GPT2;
        return ERR_OK;
    }
    TRY(e);
    if (!tokenizer_pre_from_name(pre.data, pre.len, out)) {
        return err_set(info, ERR_UNSUPPORTED, "the pre-tokenizer \"%.*s\" of this GGUF file is not one "
                       "Fathom knows", (int)(pre.len < 32 ? pre.len : 32), pre.data);
    }
    return ERR_OK;
}

static err vocab_spec(const struct gguf *g, struct vocab_lists *l, struct tokenizer_spec *spec,
                      struct errinfo *info)
{
    TRY(vocab_pre(g, &spec->pre, info));
    TRY(vocab_strings(g, "tokenizer.ggml.tokens", &l->tokens, &spec->n_tokens, info));
    err e = vocab_strings(g, "tokenizer.ggml.merges", &l->merges, &spec->n_merges, info);
    if (e != ERR_OK && e != ERR_NOTFOUND) {
        return e;
    }
    TRY(vocab_kinds(g, spec->n_tokens, &l->kinds, info));
    spec->tokens = l->tokens;
    spec->merges = l->merges;
    spec->kinds = l->kinds;
    spec->bos = vocab_id(g, "tokenizer.ggml.bos_token_id", spec->n_tokens);
    spec->eos = vocab_id(g, "tokenizer.ggml.eos_token_id", spec->n_tokens);
    spec->pad = vocab_id(g, "tokenizer.ggml.padding_token_id", spec->n_tokens);
    spec->ignore_merges = spec->pre == TOKENIZER_PRE_LLAMA_BPE;
    /* Writers before the key knew these three families to begin with bos. */
    bool begins = spec->pre == TOKENIZER_PRE_LLAMA_BPE || spec->pre == TOKENIZER_PRE_DEEPSEEK_V3 ||
                  spec->pre == TOKENIZER_PRE_DEEPSEEK_LLM;
    spec->add_bos = spec->bos >= 0 && vocab_flag(g, "tokenizer.ggml.add_bos_token", begins);
    return ERR_OK;
}

err vocab_from_gguf(const struct gguf *g, struct tokenizer **tokenizer, struct chat_guess *chat,
                    struct errinfo *info)
{
    if (!gguf_find(g, "tokenizer.ggml.tokens")) {
        return ERR_OK;
    }
    struct vocab_lists lists = {0};
    struct tokenizer_spec spec = {0};
    struct tokenizer *t = NULL;
    err e = vocab_spec(g, &lists, &spec, info);
    if (e == ERR_OK) {
        e = tokenizer_new(&spec, &t, info);
    }
    vocab_lists_deinit(&lists);
    if (e != ERR_OK) {
        return err_prefix(info, e, "tokenizer: ");
    }
    struct gguf_string template = {0};
    err found = gguf_get_string(g, "tokenizer.chat_template", &template, NULL);
    *chat = chat_detect(t, found == ERR_OK ? template.data : NULL, template.len);
    *tokenizer = t;
    return ERR_OK;
}

err vocab_template(const char *dir, char **out, size_t *len, struct errinfo *info)
{
    char *path = file_join(dir, "chat_template.jinja");
    if (!path) {
        return vocab_nomem(info);
    }
    err e = file_exists(path) ? file_read(path, VOCAB_TEXT_MAX, out, len, info) : ERR_OK;
    mem_free(path);
    if (e != ERR_OK || *out) {
        return e;
    }
    path = file_join(dir, "tokenizer_config.json");
    if (!path) {
        return vocab_nomem(info);
    }
    json_t *config = NULL;
    e = file_exists(path) ? json_parse_file(path, VOCAB_TEXT_MAX, &config, info) : ERR_OK;
    mem_free(path);
    const json_t *text = json_object_get(config, "chat_template");
    if (json_is_array(text)) {
        text = json_object_get(json_array_get(text, 0), "template");
    }
    if (e == ERR_OK && json_is_string(text)) {
        *len = json_string_length(text);
        *out = mem_dup(json_string_value(text), *len);
        e = *out ? ERR_OK : vocab_nomem(info);
    }
    json_decref(config);
    return e;
}

err vocab_from_folder(const char *dir, struct tokenizer **tokenizer, struct chat_guess *chat,
                      struct errinfo *info)
{
    char *path = file_join(dir, "tokenizer.json");
    if (!path) {
        return vocab_nomem(info);
    }
    bool present = file_exists(path);
    mem_free(path);
    if (!present) {
        return ERR_OK;
    }
    char *template = NULL;
    size_t len = 0;
    TRY(vocab_template(dir, &template, &len, info));
    struct tokenizer *t = NULL;
    err e = tokenizer_open(dir, &t, info);
    if (e == ERR_OK) {
        *chat = chat_detect(t, template, len);
        *tokenizer = t;
    }
    mem_free(template);
    return e;
}
