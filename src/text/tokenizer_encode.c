/* text/tokenizer_encode.c: text to ids; see tokenizer.h. Added tokens are cut out first, then bytes that
 * are no UTF-8, then the pre-tokenizer cuts pieces. Most pieces of ordinary text are one token as they
 * are and cost one look-up; the others are merged. */
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_data.h"
#include "text/utf8.h"

struct tokenizer_encode {
    const struct tokenizer *t;
    struct tokenizer_ids *out;
    struct bpe_work work;
    int32_t *ids; /* of one piece */
    size_t cap_ids;
    struct strbuf composed;
};

static err tokenizer_encode_reserve(struct tokenizer_encode *e, size_t n)
{
    if (n <= e->cap_ids) {
        return ERR_OK;
    }
    size_t cap = n < 256 ? 256 : n;
    int32_t *p = mem_resize(e->ids, cap, sizeof *p);
    if (!p) {
        return ERR_NOMEM;
    }
    e->ids = p;
    e->cap_ids = cap;
    return ERR_OK;
}

/* A pretokenizer_sink. */
static err tokenizer_encode_piece(void *user, const char *piece, size_t len)
{
    struct tokenizer_encode *e = user;
    if (len <= e->t->whole_max) {
        int32_t id = piecemap_find(&e->t->whole, piece, len);
        if (id >= 0) {
            return tokenizer_ids_push(e->out, id);
        }
    }
    TRY(tokenizer_encode_reserve(e, len));
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int32_t id = e->t->byte_ids[(unsigned char)piece[i]];
        if (id >= 0) {
            e->ids[n++] = id;
        }
    }
    TRY(bpe_merge(&e->t->bpe, &e->work, e->ids, &n));
    for (size_t i = 0; i < n; i++) {
        TRY(tokenizer_ids_push(e->out, e->ids[i]));
    }
    return ERR_OK;
}

static bool tokenizer_encode_is_ascii(const char *text, size_t len)
{
    unsigned char seen = 0;
    for (size_t i = 0; i < len; i++) {
        seen |= (unsigned char)text[i];
    }
    return seen < 0x80;
}

/* Well-formed text without added tokens. */
static err tokenizer_encode_valid(struct tokenizer_encode *e, const char *text, size_t len)
{
    if (e->t->nfc && !tokenizer_encode_is_ascii(text, len)) {
        strbuf_clear(&e->composed);
        TRY(normalizer_nfc(text, len, &e->composed));
        text = e->composed.data;
        len = e->composed.len;
    }
    return pretokenizer_split(e->t->pre, text, len, tokenizer_encode_piece, e);
}

/* Any bytes without added tokens. */
static err tokenizer_encode_bytes(struct tokenizer_encode *e, const char *text, size_t len)
{
    size_t pos = 0;
    while (pos < len) {
        size_t valid = utf8_valid_prefix(text + pos, len - pos);
        if (valid > 0) {
            TRY(tokenizer_encode_valid(e, text + pos, valid));
            pos += valid;
            continue;
        }
        int32_t id = e->t->byte_ids[(unsigned char)text[pos]];
        if (id >= 0) {
            TRY(tokenizer_ids_push(e->out, id));
        }
        pos++;
    }
    return ERR_OK;
}

/* Narrows the sorted added tokens [*low, *high), which agree in their first k bytes, to those whose
 * byte k is `byte`. Tokens of length k stand first and have no byte there. */
static void tokenizer_encode_narrow(const struct tokenizer *t, size_t k, unsigned char byte,
                                    size_t *low, size_t *high)
{
    size_t bounds[2];
    for (int side = 0; side < 2; side++) {
        size_t a = *low, b = *high;
        while (a < b) {
            size_t middle = (a + b) / 2;
            struct tokenizer_piece p = tokenizer_bytes(t, t->added[middle]);
            int at = k < p.len ? (unsigned char)p.data[k] : -1;
            if (at < byte + side) {
                a = middle + 1;
            } else {
                b = middle;
            }
        }
        bounds[side] = a;
    }
    *low = bounds[0];
    *high = bounds[1];
}

/* The longest added token at the start of the text, -1 for none. */
static int32_t tokenizer_encode_special(const struct tokenizer *t, const char *text, size_t len)
{
    int32_t found = -1;
    size_t low = 0, high = t->n_added;
    for (size_t k = 0; k < len && low < high; k++) {
        tokenizer_encode_narrow(t, k, (unsigned char)text[k], &low, &high);
        if (low < high && tokenizer_bytes(t, t->added[low]).len == k + 1) {
            found = t->added[low];
        }
    }
    return found;
}

static err tokenizer_encode_all(struct tokenizer_encode *e, const char *text, size_t len)
{
    size_t from = 0;
    for (size_t pos = 0; pos < len;) {
        if (!e->t->added_first[(unsigned char)text[pos]]) {
            pos++;
            continue;
        }
        int32_t id = tokenizer_encode_special(e->t, text + pos, len - pos);
        if (id < 0) {
            pos++;
            continue;
        }
        TRY(tokenizer_encode_bytes(e, text + from, pos - from));
        TRY(tokenizer_ids_push(e->out, id));
        pos += tokenizer_bytes(e->t, id).len;
        from = pos;
    }
    return tokenizer_encode_bytes(e, text + from, len - from);
}

err tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, bool specials,
                     struct tokenizer_ids *out, struct errinfo *info)
{
    if (len > BPE_MAX) {
        return err_set(info, ERR_LIMIT, "the text has %zu bytes; at most %d can be tokenized at once",
                       len, BPE_MAX);
    }
    struct tokenizer_encode e = {.t = t, .out = out};
    size_t before = out->len;
    err code = specials ? tokenizer_encode_all(&e, text, len) : tokenizer_encode_bytes(&e, text, len);
    bpe_work_deinit(&e.work);
    mem_free(e.ids);
    strbuf_deinit(&e.composed);
    if (code == ERR_OK) {
        return ERR_OK;
    }
    out->len = before;
    return err_set(info, code, "%s", code == ERR_NOMEM ? "out of memory encoding text"
                                                       : "the text cannot be normalised");
}
