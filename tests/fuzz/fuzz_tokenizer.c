/* tests/fuzz/fuzz_tokenizer.c: any bytes as a tokenizer.json, a NUL, and a text. Whatever opens must
 * encode the text with and without added tokens, give the bytes it has tokens for back, stream as
 * well-formed UTF-8, encode a conversation in every format in which the text is only text, and be the
 * tokenizer of a model that answers the text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "fuzz/modelstep.h"
#include "text/chat.h"
#include "text/tokenizer_open.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

/* The tokens' bytes are the text's, less those without a token. Composed text (NFC) may differ. */
static void check_bytes(const struct tokenizer *t, const struct tokenizer_ids *ids, const char *text,
                        size_t len)
{
    size_t pos = 0;
    for (size_t i = 0; i < ids->len; i++) {
        struct tokenizer_piece p = tokenizer_bytes(t, ids->data[i]);
        check(ids->data[i] >= 0 && (size_t)ids->data[i] < tokenizer_size(t));
        for (size_t k = 0; k < p.len; k++, pos++) {
            while (pos < len && text[pos] != p.data[k]) {
                pos++;
            }
            check(pos < len);
        }
    }
}

static void check_stream(const struct tokenizer *t, const struct tokenizer_ids *ids)
{
    struct tokenizer_stream s = {0};
    for (size_t i = 0; i < ids->len; i++) {
        size_t cap = 3 * (tokenizer_bytes(t, ids->data[i]).len + 3), len;
        char *out = mem_alloc(cap);
        check(tokenizer_stream_push(t, &s, ids->data[i], i % 2, out, cap, &len) == ERR_OK);
        check(len <= cap && utf8_valid_prefix(out, len) == len);
        mem_free(out);
    }
}

static void check_chat(const struct tokenizer *t, const char *text)
{
    const struct chat_message tame[] = {{.role = CHAT_SYSTEM, .content = ""}, {.role = CHAT_USER, .content = ""}};
    const struct chat_message wild[] = {{.role = CHAT_SYSTEM, .content = text}, {.role = CHAT_USER, .content = text}};
    for (unsigned f = 0; f < CHAT_FORMATS; f++) {
        struct tokenizer_ids a = {0}, b = {0};
        size_t n_a = 0, n_b = 0;
        err e = chat_encode(t, (enum chat_format)f, tame, 2, true, &a, NULL);
        check(chat_encode(t, (enum chat_format)f, wild, 2, true, &b, NULL) == e);
        for (size_t i = 0; i < a.len; i++) {
            n_a += tokenizer_kind_at(t, a.data[i]) != TOKENIZER_NORMAL;
        }
        for (size_t i = 0; i < b.len; i++) {
            n_b += tokenizer_kind_at(t, b.data[i]) != TOKENIZER_NORMAL;
        }
        check(n_a == n_b);
        tokenizer_ids_deinit(&a);
        tokenizer_ids_deinit(&b);
    }
    chat_detect(t, text, strlen(text));
}

/* A tiny model with as many ids as the tokenizer has. */
static void check_answer(const struct tokenizer *t, const char *text, size_t len)
{
    struct config c = {.family = CONFIG_LLAMA, .vocab_size = tokenizer_size(t), .hidden_size = 8,
                       .num_hidden_layers = 1, .intermediate_size = 8, .num_attention_heads = 2,
                       .num_key_value_heads = 1, .head_dim = 4, .max_position_embeddings = 64,
                       .rms_norm_eps = 1e-6f, .rope_theta = 10000};
    struct tokenizer_ids ids = {0};
    if (config_finish(&c, NULL) == ERR_OK &&
        tokenizer_encode(t, text, len, true, &ids, NULL) == ERR_OK && ids.len > 0) {
        modelstep_config(&c, ids.data, ids.len, 0);
    }
    tokenizer_ids_deinit(&ids);
}

static void use(const struct tokenizer *t, const char *text, size_t len, bool composed)
{
    for (int specials = 0; specials < 2; specials++) {
        struct tokenizer_ids ids = {0};
        check(tokenizer_encode(t, text, len, specials, &ids, NULL) == ERR_OK);
        if (!composed) {
            check_bytes(t, &ids, text, len);
        }
        for (size_t i = 0; i < ids.len; i++) {
            check(specials || tokenizer_kind_at(t, ids.data[i]) == TOKENIZER_NORMAL);
        }
        check_stream(t, &ids);
        tokenizer_ids_deinit(&ids);
    }
    check_chat(t, text);
    check_answer(t, text, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t n_json = zero ? (size_t)(zero - data) : size;
    size_t n_text = zero ? size - n_json - 1 : 0;
    struct errinfo info = {0};
    size_t alive = mem_alive();
    json_t *root = NULL;
    if (json_parse((const char *)data, n_json, "tokenizer.json", &root, &info) != ERR_OK) {
        return 0;
    }
    struct tokenizer *t = NULL;
    /* The document stands for all three files. */
    err e = tokenizer_open_json("tokenizer.json", root, root, root, &t, &info);
    bool composed = json_is_object(json_object_get(root, "normalizer"));
    json_decref(root);
    check(e == ERR_OK || info.message[0]);
    if (e == ERR_OK) {
        char *text = mem_dup(zero ? (const char *)zero + 1 : "", n_text);
        use(t, text, n_text, composed);
        mem_free(text);
        tokenizer_free(t);
    }
    check(mem_alive() == alive);
    return 0;
}
