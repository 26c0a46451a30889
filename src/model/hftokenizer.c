/* model/hftokenizer.c: see hftokenizer.h. */
#include "model/hftokenizer.h"

#include <string.h>

#include "base/strbuf.h"
#include "text/pretokenizer.h"
#include "text/utf8.h"

/* One past the last token that is used. */
static size_t hftokenizer_size(const struct tokenizer *t)
{
    size_t n = tokenizer_size(t);
    while (n > 0 && tokenizer_kind_at(t, (int32_t)n - 1) == TOKENIZER_UNUSED) {
        n--;
    }
    return n;
}

static json_t *hftokenizer_text(struct tokenizer_piece p)
{
    return json_stringn(p.data, p.len);
}

static bool hftokenizer_is_added(const struct tokenizer *t, size_t id)
{
    enum tokenizer_kind kind = tokenizer_kind_at(t, (int32_t)id);
    return kind == TOKENIZER_CONTROL || kind == TOKENIZER_USER;
}

static json_t *hftokenizer_added(const struct tokenizer *t)
{
    json_t *list = json_array();
    for (size_t id = 0; id < hftokenizer_size(t); id++) {
        if (!hftokenizer_is_added(t, id)) {
            continue;
        }
        struct tokenizer_piece p = tokenizer_piece_at(t, (int32_t)id);
        bool special = tokenizer_kind_at(t, (int32_t)id) == TOKENIZER_CONTROL;
        json_t *token = json_pack("{s:I, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id,
                                  "content", p.data, p.len, "single_word", 0, "lstrip", 0, "rstrip",
                                  0, "normalized", 0, "special", special);
        if (json_array_append_new(list, token) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Added tokens stand here too: that is how readers learn ids that lie between others. */
static json_t *hftokenizer_vocab(const struct tokenizer *t)
{
    json_t *vocab = json_object();
    for (size_t id = 0; id < hftokenizer_size(t); id++) {
        struct tokenizer_piece p = tokenizer_piece_at(t, (int32_t)id);
        if (p.len > 0 && json_object_setn_new(vocab, p.data, p.len, json_integer((json_int_t)id)) != 0) {
            json_decref(vocab);
            return NULL;
        }
    }
    return vocab;
}

static json_t *hftokenizer_merges(const struct tokenizer *t)
{
    json_t *list = json_array();
    struct strbuf s = {0};
    err e = ERR_OK;
    for (size_t i = 0; i < tokenizer_merge_count(t) && e == ERR_OK; i++) {
        struct tokenizer_piece left, right;
        tokenizer_merge_at(t, i, &left, &right);
        strbuf_clear(&s);
        e = strbuf_append(&s, left.data, left.len);
        e = e == ERR_OK ? strbuf_append(&s, " ", 1) : e;
        e = e == ERR_OK ? strbuf_append(&s, right.data, right.len) : e;
        if (e == ERR_OK && json_array_append_new(list, json_stringn(s.data, s.len)) != 0) {
            e = ERR_NOMEM;
        }
    }
    strbuf_deinit(&s);
    if (e != ERR_OK) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *hftokenizer_byte_level(void)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", 0);
}

static json_t *hftokenizer_pre(const struct tokenizer *t)
{
    json_t *steps = json_array();
    for (const char *const *p = pretokenizer_patterns(tokenizer_pre_of(t)); *p; p++) {
        json_t *step = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", *p,
                                 "behavior", "Isolated", "invert", 0);
        if (json_array_append_new(steps, step) != 0) {
            json_decref(steps);
            return NULL;
        }
    }
    if (json_array_append_new(steps, hftokenizer_byte_level()) != 0) {
        json_decref(steps);
        return NULL;
    }
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps);
}

/* With add_bos: the template that puts bos in front of a text. */
static json_t *hftokenizer_post(const struct tokenizer *t)
{
    if (!tokenizer_add_bos(t) || tokenizer_bos(t) < 0) {
        return hftokenizer_byte_level();
    }
    struct tokenizer_piece bos = tokenizer_piece_at(t, tokenizer_bos(t));
    json_t *name = hftokenizer_text(bos);
    json_t *specials = json_object();
    json_t *entry = json_pack("{s:O, s:[I], s:[O]}", "id", name, "ids",
                              (json_int_t)tokenizer_bos(t), "tokens", name);
    json_t *post = NULL;
    if (json_object_setn_new(specials, bos.data, bos.len, entry) == 0) {
        post = json_pack("{s:s, s:[{s:{s:O, s:i}}, {s:{s:s, s:i}}],"
                         " s:[{s:{s:O, s:i}}, {s:{s:s, s:i}}, {s:{s:s, s:i}}], s:O}",
                         "type", "TemplateProcessing", "single", "SpecialToken", "id", name,
                         "type_id", 0, "Sequence", "id", "A", "type_id", 0, "pair", "SpecialToken",
                         "id", name, "type_id", 0, "Sequence", "id", "A", "type_id", 0, "Sequence",
                         "id", "B", "type_id", 1, "special_tokens", specials);
    }
    json_decref(specials);
    json_decref(name);
    return post;
}

static json_t *hftokenizer_json(const struct tokenizer *t)
{
    bool nfc = tokenizer_pre_of(t) == TOKENIZER_PRE_QWEN2;
    json_t *model = json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE",
                              "dropout", "unk_token", "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                              "ignore_merges", tokenizer_ignore_merges(t), "vocab",
                              hftokenizer_vocab(t), "merges", hftokenizer_merges(t));
    json_t *normalizer = nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
    return json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation",
                     "padding", "added_tokens", hftokenizer_added(t), "normalizer", normalizer,
                     "pre_tokenizer", hftokenizer_pre(t), "post_processor", hftokenizer_post(t),
                     "decoder", hftokenizer_byte_level(), "model", model);
}

static int hftokenizer_set_special(json_t *o, const char *key, const struct tokenizer *t, int32_t id)
{
    json_t *v = id >= 0 ? hftokenizer_text(tokenizer_piece_at(t, id)) : json_null();
    return json_object_set_new(o, key, v);
}

static json_t *hftokenizer_config(const struct tokenizer *t, const char *chat_template, size_t len,
                                  size_t context)
{
    json_t *o = json_pack("{s:s, s:I, s:b, s:b, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                          "model_max_length", (json_int_t)context, "add_bos_token",
                          tokenizer_add_bos(t), "add_eos_token", 0, "clean_up_tokenization_spaces",
                          0);
    int failed = hftokenizer_set_special(o, "bos_token", t, tokenizer_bos(t));
    failed |= hftokenizer_set_special(o, "eos_token", t, tokenizer_eos(t));
    failed |= hftokenizer_set_special(o, "pad_token", t, tokenizer_pad(t));
    if (chat_template) {
        failed |= json_object_set_new(o, "chat_template", json_stringn(chat_template, len));
    }
    if (failed) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* Why the JSON could not be made: what is no UTF-8 cannot be in it; else memory was short. */
static err hftokenizer_refuse(const struct tokenizer *t, const char *chat_template, size_t len,
                              struct errinfo *info)
{
    for (size_t id = 0; id < hftokenizer_size(t); id++) {
        struct tokenizer_piece p = tokenizer_piece_at(t, (int32_t)id);
        if (utf8_valid_prefix(p.data, p.len) != p.len) {
            return err_set(info, ERR_UNSUPPORTED, "the tokenizer cannot be written as JSON: the spelling "
                           "of token %zu is not UTF-8", id);
        }
    }
    if (chat_template && utf8_valid_prefix(chat_template, len) != len) {
        return err_set(info, ERR_UNSUPPORTED, "the chat template cannot be written as JSON: it is not "
                       "UTF-8");
    }
    return err_set(info, ERR_NOMEM, "out of memory writing the tokenizer as JSON");
}

err hftokenizer_make(const struct tokenizer *t, const char *chat_template, size_t len,
                     size_t context, json_t **tokenizer, json_t **config, struct errinfo *info)
{
    json_t *a = hftokenizer_json(t);
    json_t *b = hftokenizer_config(t, chat_template, len, context);
    if (!a || !b) {
        json_decref(a);
        json_decref(b);
        return hftokenizer_refuse(t, chat_template, len, info);
    }
    *tokenizer = a;
    *config = b;
    return ERR_OK;
}
