/* model/vocabkeys.c: see vocabkeys.h. */
#include "model/vocabkeys.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/vocab.h"

/* The arrays while they are built. */
struct vocabkeys {
    const struct tokenizer *t;
    size_t n_rows;
    struct gguf_string *strings; /* tokens, then merges */
    int32_t *kinds;
    struct strbuf text; /* what the tokenizer does not hold as one string */
};

static void vocabkeys_deinit(struct vocabkeys *k)
{
    mem_free(k->strings);
    mem_free(k->kinds);
    strbuf_deinit(&k->text);
}

/* Strings that were appended to k->text get their pointers once it no longer moves. */
static void vocabkeys_point(struct vocabkeys *k, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (!k->strings[i].data) {
            k->strings[i].data = k->text.data + at;
            at += k->strings[i].len;
        }
    }
}

static err vocabkeys_tokens(struct vocabkeys *k, struct gguf_writer *w)
{
    size_t known = tokenizer_size(k->t);
    for (size_t i = 0; i < k->n_rows; i++) {
        struct tokenizer_piece p = {NULL, 0};
        k->kinds[i] = TOKENIZER_UNUSED;
        if (i < known) {
            p = tokenizer_piece_at(k->t, (int32_t)i);
            k->kinds[i] = tokenizer_kind_at(k->t, (int32_t)i);
        }
        if (p.len > 0) {
            k->strings[i] = (struct gguf_string){p.data, p.len};
            continue;
        }
        size_t before = k->text.len;
        TRY(strbuf_printf(&k->text, "[PAD%zu]", i));
        k->strings[i] = (struct gguf_string){NULL, k->text.len - before};
    }
    vocabkeys_point(k, k->n_rows);
    TRY(gguf_writer_strings(w, "tokenizer.ggml.tokens", k->strings, k->n_rows));
    return gguf_writer_i32s(w, "tokenizer.ggml.token_type", k->kinds, k->n_rows);
}

static err vocabkeys_merges(struct vocabkeys *k, struct gguf_writer *w)
{
    size_t n = tokenizer_merge_count(k->t);
    strbuf_clear(&k->text);
    for (size_t i = 0; i < n; i++) {
        struct tokenizer_piece left, right;
        size_t before = k->text.len;
        tokenizer_merge_at(k->t, i, &left, &right);
        TRY(strbuf_append(&k->text, left.data, left.len));
        TRY(strbuf_append(&k->text, " ", 1));
        TRY(strbuf_append(&k->text, right.data, right.len));
        k->strings[i] = (struct gguf_string){NULL, k->text.len - before};
    }
    vocabkeys_point(k, n);
    return gguf_writer_strings(w, "tokenizer.ggml.merges", k->strings, n);
}

static err vocabkeys_id(struct gguf_writer *w, const char *key, int32_t id)
{
    return id < 0 ? ERR_OK : gguf_writer_u32(w, key, (uint32_t)id);
}

static err vocabkeys_put(struct vocabkeys *k, struct gguf_writer *w)
{
    const struct tokenizer *t = k->t;
    const char *pre = tokenizer_pre_name(tokenizer_pre_of(t));
    size_t most = tokenizer_merge_count(t);
    most = most > k->n_rows ? most : k->n_rows;
    k->strings = mem_calloc(most, sizeof *k->strings);
    k->kinds = mem_calloc(k->n_rows, sizeof *k->kinds);
    if (!k->strings || !k->kinds) {
        return ERR_NOMEM;
    }
    TRY(gguf_writer_string(w, "tokenizer.ggml.model", "gpt2", 4));
    TRY(gguf_writer_string(w, "tokenizer.ggml.pre", pre, strlen(pre)));
    TRY(vocabkeys_tokens(k, w));
    TRY(vocabkeys_merges(k, w));
    TRY(vocabkeys_id(w, "tokenizer.ggml.bos_token_id", tokenizer_bos(t)));
    TRY(vocabkeys_id(w, "tokenizer.ggml.eos_token_id", tokenizer_eos(t)));
    TRY(vocabkeys_id(w, "tokenizer.ggml.padding_token_id", tokenizer_pad(t)));
    TRY(gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", tokenizer_add_bos(t)));
    return gguf_writer_bool(w, "tokenizer.ggml.add_eos_token", false);
}

err vocabkeys_write(struct gguf_writer *w, const struct tokenizer *t, size_t n_rows,
                    const char *chat_template, size_t len, struct errinfo *info)
{
    if (tokenizer_size(t) > n_rows) {
        return err_set(info, ERR_CORRUPT, "the tokenizer has %zu tokens, but the model only %zu rows",
                       tokenizer_size(t), n_rows);
    }
    struct vocabkeys k = {.t = t, .n_rows = n_rows};
    err e = vocabkeys_put(&k, w);
    if (e == ERR_OK && chat_template) {
        e = gguf_writer_string(w, "tokenizer.chat_template", chat_template, len);
    }
    vocabkeys_deinit(&k);
    return e == ERR_OK ? e : err_set(info, e, "cannot write the tokenizer's keys: %s", err_name(e));
}

err vocabkeys_from_folder(struct gguf_writer *w, const char *dir, size_t n_rows,
                          struct errinfo *info)
{
    struct tokenizer *t = NULL;
    struct chat_guess ignored;
    char *text = NULL;
    size_t len = 0;
    TRY(vocab_from_folder(dir, &t, &ignored, info));
    if (!t) {
        err none = gguf_writer_string(w, "tokenizer.ggml.model", "none", 4);
        return none == ERR_OK ? none : err_set(info, none, "cannot write keys: %s", err_name(none));
    }
    err e = vocab_template(dir, &text, &len, info);
    if (e == ERR_OK) {
        e = vocabkeys_write(w, t, n_rows, text, len, info);
    }
    mem_free(text);
    tokenizer_free(t);
    return e;
}
