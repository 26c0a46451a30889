/* text/tokenizer_open.c: a tokenizer from a Hugging Face folder; see tokenizer.h. The file is read into
 * a tokenizer_spec whose pieces point into the parsed JSON. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "text/bytealphabet.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_open.h"

enum {
    TOKENIZER_OPEN_JSON_MAX = 64 << 20,  /* tokenizer.json; the largest known have 20 MB */
    TOKENIZER_OPEN_CONFIG_MAX = 4 << 20, /* the other two files */
};

struct tokenizer_open {
    const char *path;
    struct tokenizer_spec spec;
    struct tokenizer_piece *tokens; /* [n] owned */
    uint8_t *kinds;                 /* [n] owned */
    struct tokenizer_piece *merges; /* [n_merges] owned */
    struct strbuf joined;           /* merges written as pairs, joined with spaces */
    struct errinfo *info;
};

static err tokenizer_open_nomem(const struct tokenizer_open *o)
{
    return err_set(o->info, ERR_NOMEM, "out of memory reading %s", o->path);
}

/* obj[key] as a string, "" when absent or of another type. */
static const char *tokenizer_open_text(const json_t *obj, const char *key)
{
    const char *s = json_string_value(json_object_get(obj, key));
    return s ? s : "";
}

/* obj[key] is true, or absent and `otherwise`. */
static bool tokenizer_open_flag(const json_t *obj, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static bool tokenizer_open_absent(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0);
}

static err tokenizer_open_check_model(const struct tokenizer_open *o, const json_t *model)
{
    const char *type = tokenizer_open_text(model, "type");
    if (strcmp(type, "") != 0 && strcmp(type, "BPE") != 0) {
        return err_set(o->info, ERR_UNSUPPORTED, "%s: the model type is \"%.40s\"; byte-level BPE is "
                       "what runs here", o->path, type);
    }
    static const char *const plain[] = {"continuing_subword_prefix", "end_of_word_suffix", "dropout"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (!tokenizer_open_absent(json_object_get(model, plain[i]))) {
            return err_set(o->info, ERR_UNSUPPORTED, "%s: model.%s is set; byte-level BPE has none",
                           o->path, plain[i]);
        }
    }
    if (tokenizer_open_flag(model, "byte_fallback", false)) {
        return err_set(o->info, ERR_UNSUPPORTED, "%s: model.byte_fallback is set; byte-level BPE "
                       "needs none", o->path);
    }
    return ERR_OK;
}

/* An id below the cap; raises *n so that the id is inside. */
static err tokenizer_open_id(const struct tokenizer_open *o, const json_t *value, const char *token,
                             size_t *id)
{
    uint64_t v;
    if (!json_as_u64(value, &v)) {
        return err_set(o->info, ERR_CORRUPT, "%s: the id of token \"%.40s\" is %s; a whole number is "
                       "expected", o->path, token, json_type_name(value));
    }
    if (v >= TOKENIZER_TOKENS_MAX) {
        return err_set(o->info, ERR_LIMIT, "%s: token \"%.40s\" has id %llu; ids end at %d", o->path,
                       token, (unsigned long long)v, TOKENIZER_TOKENS_MAX - 1);
    }
    *id = (size_t)v;
    return ERR_OK;
}

/* One past the highest id. */
static err tokenizer_open_count(struct tokenizer_open *o, const json_t *vocab, const json_t *added)
{
    const char *key;
    json_t *value;
    size_t i, id = 0;
    json_object_foreach((json_t *)(uintptr_t)vocab, key, value) {
        TRY(tokenizer_open_id(o, value, key, &id));
        o->spec.n_tokens = id >= o->spec.n_tokens ? id + 1 : o->spec.n_tokens;
    }
    json_array_foreach(added, i, value) {
        TRY(tokenizer_open_id(o, json_object_get(value, "id"), tokenizer_open_text(value, "content"),
                              &id));
        o->spec.n_tokens = id >= o->spec.n_tokens ? id + 1 : o->spec.n_tokens;
    }
    /* Ids may have gaps, but a few entries must not ask for millions of tokens. */
    size_t named = json_object_size(vocab) + json_array_size(added);
    if (o->spec.n_tokens > 2 * named + 65536) {
        return err_set(o->info, ERR_CORRUPT, "%s: ids reach %zu, but only %zu tokens are named",
                       o->path, o->spec.n_tokens - 1, named);
    }
    return ERR_OK;
}

static err tokenizer_open_vocab(struct tokenizer_open *o, const json_t *vocab)
{
    const char *key;
    json_t *value;
    size_t id = 0;
    json_object_foreach((json_t *)(uintptr_t)vocab, key, value) {
        TRY(tokenizer_open_id(o, value, key, &id));
        if (o->tokens[id].data) {
            return err_set(o->info, ERR_CORRUPT, "%s: tokens \"%.40s\" and \"%.40s\" share id %zu",
                           o->path, o->tokens[id].data, key, id);
        }
        o->tokens[id] = (struct tokenizer_piece){key, strlen(key)};
        o->kinds[id] = TOKENIZER_NORMAL;
    }
    return ERR_OK;
}

static err tokenizer_open_added(struct tokenizer_open *o, const json_t *added, const json_t *vocab)
{
    size_t i, id = 0;
    json_t *value;
    json_array_foreach(added, i, value) {
        const char *text = tokenizer_open_text(value, "content");
        if (text[0] == '\0') {
            return err_set(o->info, ERR_CORRUPT, "%s: added_tokens[%zu] has no content", o->path, i);
        }
        static const char *const flags[] = {"single_word", "lstrip", "rstrip"};
        for (size_t k = 0; k < sizeof flags / sizeof flags[0]; k++) {
            if (tokenizer_open_flag(value, flags[k], false)) {
                return err_set(o->info, ERR_UNSUPPORTED, "%s: added token \"%.40s\" is %s; only "
                               "tokens that match exactly are known here", o->path, text, flags[k]);
            }
        }
        TRY(tokenizer_open_id(o, json_object_get(value, "id"), text, &id));
        if (o->tokens[id].data && strcmp(o->tokens[id].data, text) != 0) {
            return err_set(o->info, ERR_CORRUPT, "%s: id %zu is \"%.40s\" and added token \"%.40s\"",
                           o->path, id, o->tokens[id].data, text);
        }
        if (!o->tokens[id].data && json_object_get(vocab, text)) {
            return err_set(o->info, ERR_CORRUPT, "%s: added token \"%.40s\" has id %zu, but another in "
                           "model.vocab", o->path, text, id);
        }
        o->tokens[id] = (struct tokenizer_piece){text, strlen(text)};
        o->kinds[id] = tokenizer_open_flag(value, "special", false) ? TOKENIZER_CONTROL
                                                                     : TOKENIZER_USER;
    }
    return ERR_OK;
}

/* A merge written as ["left", "right"] becomes "left right" in o->joined; the pointer is set later, as
 * the buffer moves while it grows. */
static err tokenizer_open_pair(struct tokenizer_open *o, const json_t *merge, size_t i)
{
    const char *left = json_string_value(json_array_get(merge, 0));
    const char *right = json_string_value(json_array_get(merge, 1));
    if (!left || !right || json_array_size(merge) != 2 || strchr(left, ' ') || strchr(right, ' ')) {
        return err_set(o->info, ERR_CORRUPT, "%s: model.merges[%zu] is %s; a string \"left right\" or "
                       "a pair of strings without spaces is expected", o->path, i,
                       json_type_name(merge));
    }
    size_t before = o->joined.len;
    if (strbuf_printf(&o->joined, "%s %s", left, right) != ERR_OK) {
        return tokenizer_open_nomem(o);
    }
    o->merges[i].len = o->joined.len - before;
    return ERR_OK;
}

static err tokenizer_open_merges(struct tokenizer_open *o, const json_t *merges)
{
    size_t i, n = json_array_size(merges), at = 0;
    json_t *value;
    o->merges = mem_calloc(n, sizeof *o->merges);
    if (!o->merges) {
        return tokenizer_open_nomem(o);
    }
    json_array_foreach(merges, i, value) {
        if (json_is_string(value)) {
            o->merges[i] =
                (struct tokenizer_piece){json_string_value(value), json_string_length(value)};
        } else {
            TRY(tokenizer_open_pair(o, value, i));
        }
    }
    for (i = 0; i < n; i++) {
        if (!o->merges[i].data) {
            o->merges[i].data = o->joined.data + at;
            at += o->merges[i].len;
        }
    }
    o->spec.merges = o->merges;
    o->spec.n_merges = n;
    return ERR_OK;
}

/* Without unk_token, or with every byte in the vocabulary, nothing is ever unknown. */
static err tokenizer_open_check_unknown(const struct tokenizer_open *o, const json_t *model)
{
    if (tokenizer_open_absent(json_object_get(model, "unk_token"))) {
        return ERR_OK;
    }
    size_t single = 0, n;
    char byte[2];
    for (size_t i = 0; i < o->spec.n_tokens; i++) {
        struct tokenizer_piece p = o->tokens[i];
        single += o->kinds[i] == TOKENIZER_NORMAL && p.len > 0 && p.len <= sizeof byte &&
                  bytealphabet_decode(p.data, p.len, byte, &n) && n == 1;
    }
    if (single < 256) {
        return err_set(o->info, ERR_UNSUPPORTED, "%s: model.unk_token is set and the vocabulary has no "
                       "token for some bytes", o->path);
    }
    return ERR_OK;
}

static err tokenizer_open_model(struct tokenizer_open *o, const json_t *root)
{
    const json_t *model, *vocab, *merges;
    const json_t *added = json_object_get(root, "added_tokens");
    TRY(json_get_object(root, o->path, "model", &model, o->info));
    TRY(tokenizer_open_check_model(o, model));
    TRY(json_get_object(model, o->path, "vocab", &vocab, o->info));
    TRY(json_get_array(model, o->path, "merges", &merges, o->info));
    if (!tokenizer_open_absent(added) && !json_is_array(added)) {
        return err_set(o->info, ERR_CORRUPT, "%s: added_tokens is %s; an array is expected", o->path,
                       json_type_name(added));
    }
    TRY(tokenizer_open_count(o, vocab, added));
    o->tokens = mem_calloc(o->spec.n_tokens, sizeof *o->tokens);
    o->kinds = mem_alloc(o->spec.n_tokens);
    if (!o->tokens || !o->kinds) {
        return tokenizer_open_nomem(o);
    }
    memset(o->kinds, TOKENIZER_UNUSED, o->spec.n_tokens);
    TRY(tokenizer_open_vocab(o, vocab));
    TRY(tokenizer_open_added(o, added, vocab));
    TRY(tokenizer_open_check_unknown(o, model));
    TRY(tokenizer_open_merges(o, merges));
    o->spec.tokens = o->tokens;
    o->spec.kinds = o->kinds;
    o->spec.ignore_merges = tokenizer_open_flag(model, "ignore_merges", false);
    return ERR_OK;
}

static err tokenizer_open_normalizer(struct tokenizer_open *o, const json_t *normalizer)
{
    if (tokenizer_open_absent(normalizer)) {
        return ERR_OK;
    }
    const char *type = tokenizer_open_text(normalizer, "type");
    const json_t *parts = json_object_get(normalizer, "normalizers");
    if (strcmp(type, "Sequence") == 0 && json_array_size(parts) == 0) {
        return ERR_OK;
    }
    if (strcmp(type, "Sequence") == 0 && json_array_size(parts) == 1) {
        type = tokenizer_open_text(json_array_get(parts, 0), "type");
    }
    if (strcmp(type, "NFC") == 0) {
        o->spec.nfc = true;
        return ERR_OK;
    }
    return err_set(o->info, ERR_UNSUPPORTED, "%s: the normalizer is \"%.40s\"; none and NFC are what "
                   "runs here", o->path, type);
}

/* Writes a regular expression with CR and LF spelled as escapes: files hold them either way. */
static err tokenizer_open_regex(struct strbuf *s, const char *regex)
{
    for (; *regex; regex++) {
        const char *escape = *regex == '\r' ? "\\r" : *regex == '\n' ? "\\n" : NULL;
        TRY(escape ? strbuf_puts(s, escape) : strbuf_append(s, regex, 1));
    }
    return strbuf_append(s, "\n", 1);
}

/* Appends one step as a line: its expression, or its type for what has none. */
static err tokenizer_open_step(const struct tokenizer_open *o, const json_t *step, struct strbuf *s)
{
    const char *type = tokenizer_open_text(step, "type");
    if (strcmp(type, "Split") == 0) {
        const char *regex = tokenizer_open_text(json_object_get(step, "pattern"), "Regex");
        bool isolated = strcmp(tokenizer_open_text(step, "behavior"), "Isolated") == 0;
        if (regex[0] && isolated && !tokenizer_open_flag(step, "invert", false)) {
            return tokenizer_open_regex(s, regex);
        }
    } else if (strcmp(type, "Digits") == 0) {
        if (tokenizer_open_flag(step, "individual_digits", false)) {
            return strbuf_puts(s, "\\p{N}\n");
        }
    } else if (strcmp(type, "ByteLevel") == 0) {
        if (!tokenizer_open_flag(step, "add_prefix_space", true)) {
            bool words = tokenizer_open_flag(step, "use_regex", true);
            const char *gpt2 = pretokenizer_patterns(TOKENIZER_PRE_GPT2)[0];
            return words ? tokenizer_open_regex(s, gpt2) : ERR_OK;
        }
    }
    return err_set(o->info, ERR_UNSUPPORTED, "%s: a pre-tokenizer step of type \"%.40s\" has options "
                   "that no known model uses", o->path, type);
}

/* Whether the lines are the expressions of `pre`. deepseek-llm files say Digits where others say
 * \p{N}+: no merge of these vocabularies joins digits, so both cut the same tokens. */
static err tokenizer_open_same(enum tokenizer_pre pre, const struct strbuf *lines, bool *same)
{
    struct strbuf known = {0};
    err e = ERR_OK;
    for (const char *const *p = pretokenizer_patterns(pre); *p && e == ERR_OK; p++) {
        bool digits = pre == TOKENIZER_PRE_DEEPSEEK_LLM && !p[1] && lines->len >= 7 &&
                      memcmp(lines->data + lines->len - 7, "\n\\p{N}\n", 7) == 0;
        e = tokenizer_open_regex(&known, digits ? "\\p{N}" : *p);
    }
    *same = e == ERR_OK && known.len == lines->len &&
            memcmp(known.data, lines->data, known.len) == 0;
    strbuf_deinit(&known);
    return e;
}

static err tokenizer_open_find_pre(struct tokenizer_open *o, const struct strbuf *lines)
{
    if (lines->len > 0) {
        for (int pre = 0; pre < TOKENIZER_PRE_COUNT; pre++) {
            bool same;
            TRY(tokenizer_open_same((enum tokenizer_pre)pre, lines, &same));
            if (same) {
                o->spec.pre = (enum tokenizer_pre)pre;
                return ERR_OK;
            }
        }
    }
    return err_set(o->info, ERR_UNSUPPORTED, "%s: the pre-tokenizer is not one of ours (deepseek-llm, "
                   "deepseek-coder, deepseek-v3, qwen2, llama-bpe, smollm, gpt-2); its expressions are: "
                   "%.300s", o->path, lines->len ? lines->data : "none");
}

static err tokenizer_open_pretokenizer(struct tokenizer_open *o, const json_t *pre)
{
    struct strbuf lines = {0};
    err e = ERR_OK;
    if (strcmp(tokenizer_open_text(pre, "type"), "Sequence") == 0) {
        size_t i;
        json_t *step;
        json_array_foreach(json_object_get(pre, "pretokenizers"), i, step) {
            e = e == ERR_OK ? tokenizer_open_step(o, step, &lines) : e;
        }
    } else {
        e = tokenizer_open_step(o, pre, &lines);
    }
    if (e == ERR_OK) {
        e = tokenizer_open_find_pre(o, &lines);
    }
    strbuf_deinit(&lines);
    return e == ERR_NOMEM ? tokenizer_open_nomem(o) : e;
}

/* The id of an added token of this text, -1 for none. */
static int32_t tokenizer_open_added_id(const struct tokenizer_open *o, const char *text)
{
    for (size_t i = 0; i < o->spec.n_tokens; i++) {
        bool added = o->kinds[i] == TOKENIZER_CONTROL || o->kinds[i] == TOKENIZER_USER;
        if (added && strcmp(o->tokens[i].data, text) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

/* config[key] is the token's text or an object with its content. */
static int32_t tokenizer_open_named(const struct tokenizer_open *o, const json_t *config,
                                    const char *key)
{
    const json_t *v = json_object_get(config, key);
    const char *text = json_is_string(v) ? json_string_value(v) : tokenizer_open_text(v, "content");
    return text[0] ? tokenizer_open_added_id(o, text) : -1;
}

/* Whether the post-processor puts a special token first, as Llama 3 files say "begin with bos". */
static bool tokenizer_open_template(const json_t *post)
{
    const char *type = tokenizer_open_text(post, "type");
    if (strcmp(type, "Sequence") == 0) {
        size_t i;
        json_t *part;
        json_array_foreach(json_object_get(post, "processors"), i, part) {
            if (strcmp(tokenizer_open_text(part, "type"), "TemplateProcessing") == 0 &&
                tokenizer_open_template(part)) {
                return true;
            }
        }
    }
    if (strcmp(type, "TemplateProcessing") != 0) {
        return false;
    }
    const json_t *first = json_array_get(json_object_get(post, "single"), 0);
    return json_is_object(json_object_get(first, "SpecialToken"));
}

/* Parses DIR/name; *out stays NULL when there is no such file. */
static err tokenizer_open_optional(const char *dir, const char *name, json_t **out,
                                   struct errinfo *info)
{
    char *path = file_join(dir, name);
    if (!path) {
        return err_set(info, ERR_NOMEM, "out of memory reading %s", name);
    }
    err e = ERR_OK;
    if (file_exists(path)) {
        e = json_parse_file(path, TOKENIZER_OPEN_CONFIG_MAX, out, info);
    }
    mem_free(path);
    return e;
}

/* generation_config.json names ids, eos sometimes several of which the first counts. */
static int32_t tokenizer_open_number(const struct tokenizer_open *o, const json_t *config,
                                     const char *key)
{
    const json_t *v = json_object_get(config, key);
    uint64_t id;
    if (json_is_array(v)) {
        v = json_array_get(v, 0);
    }
    return v && json_as_u64(v, &id) && id < o->spec.n_tokens ? (int32_t)id : -1;
}

/* What the two configurations, each possibly NULL, say about bos, eos and pad. */
static void tokenizer_open_config(struct tokenizer_open *o, const json_t *root, const json_t *config,
                                  const json_t *generation)
{
    struct tokenizer_spec *s = &o->spec;
    s->bos = tokenizer_open_named(o, config, "bos_token");
    s->eos = tokenizer_open_named(o, config, "eos_token");
    s->pad = tokenizer_open_named(o, config, "pad_token");
    s->bos = s->bos >= 0 ? s->bos : tokenizer_open_number(o, generation, "bos_token_id");
    s->eos = s->eos >= 0 ? s->eos : tokenizer_open_number(o, generation, "eos_token_id");
    bool first = tokenizer_open_template(json_object_get(root, "post_processor"));
    s->add_bos = s->bos >= 0 && tokenizer_open_flag(config, "add_bos_token", first);
}

static err tokenizer_open_root(struct tokenizer_open *o, const json_t *root)
{
    TRY(tokenizer_open_normalizer(o, json_object_get(root, "normalizer")));
    TRY(tokenizer_open_pretokenizer(o, json_object_get(root, "pre_tokenizer")));
    return tokenizer_open_model(o, root);
}

err tokenizer_open_json(const char *path, const json_t *root, const json_t *config,
                        const json_t *generation, struct tokenizer **out, struct errinfo *info)
{
    struct tokenizer_open o = {.path = path, .info = info};
    err e = tokenizer_open_root(&o, root);
    if (e == ERR_OK) {
        tokenizer_open_config(&o, root, config, generation);
        e = tokenizer_new(&o.spec, out, info);
        if (e != ERR_OK) {
            err_prefix(info, e, "%s: ", path);
        }
    }
    mem_free(o.tokens);
    mem_free(o.kinds);
    mem_free(o.merges);
    strbuf_deinit(&o.joined);
    return e;
}

err tokenizer_open(const char *dir, struct tokenizer **out, struct errinfo *info)
{
    json_t *root = NULL, *config = NULL, *generation = NULL;
    char *path = file_join(dir, "tokenizer.json");
    err e = path ? json_parse_file(path, TOKENIZER_OPEN_JSON_MAX, &root, info)
                 : err_set(info, ERR_NOMEM, "out of memory reading tokenizer.json");
    if (e == ERR_OK) {
        e = tokenizer_open_optional(dir, "tokenizer_config.json", &config, info);
    }
    if (e == ERR_OK) {
        e = tokenizer_open_optional(dir, "generation_config.json", &generation, info);
    }
    if (e == ERR_OK) {
        e = tokenizer_open_json(path, root, config, generation, out, info);
    }
    json_decref(root);
    json_decref(config);
    json_decref(generation);
    mem_free(path);
    return e;
}
