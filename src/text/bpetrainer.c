/* text/bpetrainer.c: see bpetrainer.h. Every pair knows how often it occurs and in which words; a heap
 * finds the most frequent. Counts in the heap may be out of date: they are looked at again when they
 * come up. */
#include "text/bpetrainer.h"

#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "text/bytealphabet.h"

enum {
    BPETRAINER_BYTES = 256,
    BPETRAINER_STEP = 256,   /* tokens between two calls of go_on */
};

struct bpetrainer_word {
    size_t at; /* its ids in `ids` */
    uint32_t n;
    uint64_t times;
};

/* Open addressing on left and right. */
struct bpetrainer_pair {
    int32_t left, right;
    int64_t times;
    uint32_t *words; /* where it occurs, or did; owned */
    uint32_t n_words, cap_words;
    uint32_t changed; /* the last merge that made it more frequent */
    bool used;        /* the slot is not empty */
    bool merged;      /* there is a rule for it */
};

struct bpetrainer_candidate {
    int64_t times;
    int32_t left, right;
};

struct bpetrainer_token {
    size_t at, len; /* its bytes in `bytes` */
};

struct bpetrainer {
    const struct bpetrainer_options *options;
    struct bpetrainer_word *words;
    size_t n_words;
    int32_t *ids;
    struct bpetrainer_pair *pairs;
    size_t n_pairs, n_slots;
    struct bpetrainer_candidate *heap;
    size_t n_heap, cap_heap;
    struct bpetrainer_candidate *changed; /* pairs that this merge made more frequent */
    size_t n_changed, cap_changed;
    uint32_t merge; /* its number, from 1 */
    int32_t *merges; /* [2 * n_merges] */
    size_t n_merges, cap_merges;
    struct bpetrainer_token *tokens; /* [options->vocab_size] */
    size_t n_tokens, n_specials;
    struct wordcount known; /* bytes of a token, to its id + 1 */
    struct errinfo *info;
};

static err bpetrainer_nomem(const struct bpetrainer *t)
{
    return err_set(t->info, ERR_NOMEM, "out of memory learning merges of %zu different words", t->n_words);
}

/* ---- The heap: the most frequent pair first, of equals the one with the lower ids. ---- */

static bool bpetrainer_before(const struct bpetrainer_candidate *a, const struct bpetrainer_candidate *b)
{
    if (a->times != b->times) {
        return a->times > b->times;
    }
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static err bpetrainer_push(struct bpetrainer *t, struct bpetrainer_candidate c)
{
    if (t->n_heap == t->cap_heap) {
        size_t cap = t->cap_heap ? t->cap_heap * 2 : 4096;
        struct bpetrainer_candidate *heap = mem_resize(t->heap, cap, sizeof *heap);
        if (!heap) {
            return bpetrainer_nomem(t);
        }
        t->heap = heap;
        t->cap_heap = cap;
    }
    size_t i = t->n_heap++;
    for (; i > 0 && bpetrainer_before(&c, &t->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        t->heap[i] = t->heap[(i - 1) / 2];
    }
    t->heap[i] = c;
    return ERR_OK;
}

static struct bpetrainer_candidate bpetrainer_pop(struct bpetrainer *t)
{
    struct bpetrainer_candidate top = t->heap[0], last = t->heap[--t->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < t->n_heap; i = child) {
        if (child + 1 < t->n_heap && bpetrainer_before(&t->heap[child + 1], &t->heap[child])) {
            child++;
        }
        if (!bpetrainer_before(&t->heap[child], &last)) {
            break;
        }
        t->heap[i] = t->heap[child];
    }
    t->heap[i] = last;
    return top;
}

/* ---- Pairs. ---- */

static struct bpetrainer_pair *bpetrainer_slot(const struct bpetrainer *t, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key *= UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = (size_t)(key ^ key >> 32);; i++) {
        struct bpetrainer_pair *p = &t->pairs[i & (t->n_slots - 1)];
        if (!p->used || (p->left == left && p->right == right)) {
            return p;
        }
    }
}

static err bpetrainer_grow_pairs(struct bpetrainer *t)
{
    struct bpetrainer_pair *old = t->pairs;
    size_t n_old = t->n_slots, n = n_old ? n_old * 2 : 65536;
    struct bpetrainer_pair *pairs = mem_calloc(n, sizeof *pairs);
    if (!pairs) {
        return bpetrainer_nomem(t);
    }
    t->pairs = pairs;
    t->n_slots = n;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].used) {
            *bpetrainer_slot(t, old[i].left, old[i].right) = old[i];
        }
    }
    mem_free(old);
    return ERR_OK;
}

/* Another word of the pair's, unless it is the last one anyway. */
static err bpetrainer_pair_word(const struct bpetrainer *t, struct bpetrainer_pair *p, uint32_t word)
{
    if (p->n_words > 0 && p->words[p->n_words - 1] == word) {
        return ERR_OK;
    }
    if (p->n_words == p->cap_words) {
        uint32_t cap = p->cap_words ? p->cap_words * 2 : 2;
        uint32_t *words = mem_resize(p->words, cap, sizeof *words);
        if (!words) {
            return bpetrainer_nomem(t);
        }
        p->words = words;
        p->cap_words = cap;
    }
    p->words[p->n_words++] = word;
    return ERR_OK;
}

static err bpetrainer_note_change(struct bpetrainer *t, const struct bpetrainer_pair *p)
{
    if (t->n_changed == t->cap_changed) {
        size_t cap = t->cap_changed ? t->cap_changed * 2 : 4096;
        struct bpetrainer_candidate *changed = mem_resize(t->changed, cap, sizeof *changed);
        if (!changed) {
            return bpetrainer_nomem(t);
        }
        t->changed = changed;
        t->cap_changed = cap;
    }
    t->changed[t->n_changed++] = (struct bpetrainer_candidate){0, p->left, p->right};
    return ERR_OK;
}

/* The pair occurs in a word, which occurs `times`, once more. */
static err bpetrainer_occurs(struct bpetrainer *t, int32_t left, int32_t right, uint32_t word, uint64_t times)
{
    if (t->n_pairs >= t->n_slots / 3 * 2) {
        TRY(bpetrainer_grow_pairs(t));
    }
    struct bpetrainer_pair *p = bpetrainer_slot(t, left, right);
    if (!p->used) {
        *p = (struct bpetrainer_pair){.left = left, .right = right, .used = true};
        t->n_pairs++;
    }
    TRY(bpetrainer_pair_word(t, p, word));
    p->times += (int64_t)times;
    if (p->changed != t->merge) {
        p->changed = t->merge;
        TRY(bpetrainer_note_change(t, p));
    }
    return ERR_OK;
}

/* What has become more frequent is a candidate, with the count it has now. */
static err bpetrainer_push_changed(struct bpetrainer *t)
{
    for (size_t i = 0; i < t->n_changed; i++) {
        struct bpetrainer_candidate c = t->changed[i];
        c.times = bpetrainer_slot(t, c.left, c.right)->times;
        if (c.times > 0) {
            TRY(bpetrainer_push(t, c));
        }
    }
    t->n_changed = 0;
    return ERR_OK;
}

/* ---- Tokens. ---- */

static struct tokenizer_piece bpetrainer_bytes(const struct bpetrainer *t, int32_t id)
{
    const struct bpetrainer_token *k = &t->tokens[id];
    return (struct tokenizer_piece){t->known.bytes + k->at, k->len};
}

/* The id of these bytes as a token that is not special: new if there was none. */
static err bpetrainer_token(struct bpetrainer *t, const char *bytes, size_t len, int32_t *id)
{
    uint64_t known = wordcount_times(&t->known, bytes, len);
    if (known == 0) {
        known = t->n_tokens + 1;
        if (wordcount_add(&t->known, bytes, len, known) != ERR_OK) {
            return bpetrainer_nomem(t);
        }
        t->tokens[t->n_tokens++] = (struct bpetrainer_token){t->known.n_bytes - len, len};
    }
    *id = (int32_t)known - 1;
    return ERR_OK;
}

/* The token that two tokens make. */
static err bpetrainer_join(struct bpetrainer *t, int32_t left, int32_t right, int32_t *id)
{
    struct tokenizer_piece a = bpetrainer_bytes(t, left), b = bpetrainer_bytes(t, right);
    char *both = mem_alloc(a.len + b.len);
    if (!both) {
        return bpetrainer_nomem(t);
    }
    memcpy(both, a.data, a.len);
    memcpy(both + a.len, b.data, b.len);
    err e = bpetrainer_token(t, both, a.len + b.len, id);
    mem_free(both);
    return e;
}

/* ---- Learning. ---- */

/* All occurrences of the pair in a word become `id`. */
static err bpetrainer_merge_word(struct bpetrainer *t, uint32_t word, int32_t left, int32_t right, int32_t id)
{
    struct bpetrainer_word *w = &t->words[word];
    int32_t *ids = t->ids + w->at;
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        if (ids[i] != left || i + 1 == w->n || ids[i + 1] != right) {
            ids[n++] = ids[i];
            continue;
        }
        if (n > 0) {
            bpetrainer_slot(t, ids[n - 1], left)->times -= (int64_t)w->times;
            TRY(bpetrainer_occurs(t, ids[n - 1], id, word, w->times));
        }
        if (i + 2 < w->n) {
            bpetrainer_slot(t, right, ids[i + 2])->times -= (int64_t)w->times;
            TRY(bpetrainer_occurs(t, id, ids[i + 2], word, w->times));
        }
        ids[n++] = id;
        i++;
    }
    w->n = n;
    return ERR_OK;
}

static err bpetrainer_add_rule(struct bpetrainer *t, int32_t left, int32_t right)
{
    if (t->n_merges == t->cap_merges) {
        size_t cap = t->cap_merges ? t->cap_merges * 2 : 4096;
        int32_t *merges = mem_resize(t->merges, 2 * cap, sizeof *merges);
        if (!merges) {
            return bpetrainer_nomem(t);
        }
        t->merges = merges;
        t->cap_merges = cap;
    }
    t->merges[2 * t->n_merges] = left;
    t->merges[2 * t->n_merges + 1] = right;
    t->n_merges++;
    return ERR_OK;
}

/* Merges a pair wherever it is. It may have a rule already: then a later one has made it anew. */
static err bpetrainer_merge(struct bpetrainer *t, struct bpetrainer_pair *p)
{
    const int32_t left = p->left, right = p->right;
    uint32_t *words = p->words, n = p->n_words;
    int32_t id = 0;
    TRY(bpetrainer_join(t, left, right, &id));
    if (!p->merged) {
        TRY(bpetrainer_add_rule(t, left, right));
    }
    p->merged = true;
    p->words = NULL;
    p->n_words = p->cap_words = 0;
    t->merge++;
    err e = ERR_OK;
    for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
        e = bpetrainer_merge_word(t, words[i], left, right, id);
    }
    mem_free(words);
    TRY(e);
    bpetrainer_slot(t, left, right)->times = 0; /* pairs may have moved */
    return bpetrainer_push_changed(t);
}

static err bpetrainer_learn(struct bpetrainer *t)
{
    const struct bpetrainer_options *o = t->options;
    size_t told = 0;
    while (t->n_heap > 0 && t->n_tokens < o->vocab_size) {
        struct bpetrainer_candidate top = bpetrainer_pop(t);
        struct bpetrainer_pair *p = bpetrainer_slot(t, top.left, top.right);
        if (p->times != top.times) { /* out of date */
            top.times = p->times;
            if (top.times > 0) {
                TRY(bpetrainer_push(t, top));
            }
            continue;
        }
        if ((uint64_t)top.times < o->min_times) {
            break;
        }
        TRY(bpetrainer_merge(t, p));
        if (o->go_on && t->n_tokens >= told + BPETRAINER_STEP) {
            told = t->n_tokens;
            if (!o->go_on(o->user, told)) {
                return err_set(t->info, ERR_CANCELLED, "stopped after %zu tokens", told);
            }
        }
    }
    return ERR_OK;
}

/* ---- Before and after. ---- */

/* Bytes in the order of their spelling. */
static err bpetrainer_alphabet(struct bpetrainer *t, int32_t ids[BPETRAINER_BYTES])
{
    for (uint32_t point = 0; point < 2 * BPETRAINER_BYTES; point++) {
        for (int b = 0; b < BPETRAINER_BYTES; b++) {
            const char byte = (char)b;
            if (bytealphabet_point((unsigned char)b) == point) {
                TRY(bpetrainer_token(t, &byte, 1, &ids[b]));
            }
        }
    }
    return ERR_OK;
}

static err bpetrainer_read_words(struct bpetrainer *t, const struct wordcount *words)
{
    int32_t alphabet[BPETRAINER_BYTES];
    size_t at = 0;
    t->words = mem_resize(NULL, words->n, sizeof *t->words);
    t->ids = mem_resize(NULL, words->n_bytes, sizeof *t->ids);
    if (!t->words || !t->ids) {
        return bpetrainer_nomem(t);
    }
    TRY(bpetrainer_alphabet(t, alphabet));
    for (size_t i = 0; i < words->n_slots; i++) {
        const struct wordcount_word *w = &words->slots[i];
        if (w->times == 0) {
            continue;
        }
        uint32_t word = (uint32_t)t->n_words++;
        t->words[word] = (struct bpetrainer_word){at, (uint32_t)w->len, w->times};
        for (size_t j = 0; j < w->len; j++, at++) {
            t->ids[at] = alphabet[(unsigned char)words->bytes[w->at + j]];
            if (j > 0) {
                TRY(bpetrainer_occurs(t, t->ids[at - 1], t->ids[at], word, w->times));
            }
        }
    }
    return bpetrainer_push_changed(t);
}

/* Appends a token as byte-level vocabularies spell it. */
static err bpetrainer_spell(const struct bpetrainer *t, int32_t id, struct strbuf *to)
{
    struct tokenizer_piece p = bpetrainer_bytes(t, id);
    for (size_t i = 0; i < p.len; i++) {
        uint32_t point = bytealphabet_point((unsigned char)p.data[i]);
        const char text[2] = {(char)(point < 0x80 ? point : 0xc0 | point >> 6), (char)(0x80 | (point & 0x3f))};
        if (strbuf_append(to, text, point < 0x80 ? 1 : 2) != ERR_OK) {
            return bpetrainer_nomem(t);
        }
    }
    return ERR_OK;
}

/* All spellings, back to back: the learned tokens', then the merges'; at[i] is where number i begins. */
static err bpetrainer_spell_all(const struct bpetrainer *t, struct strbuf *text, size_t *at)
{
    size_t n = 0;
    for (size_t id = t->n_specials; id < t->n_tokens; id++) {
        at[n++] = text->len;
        TRY(bpetrainer_spell(t, (int32_t)id, text));
    }
    for (size_t i = 0; i < t->n_merges; i++) {
        at[n++] = text->len;
        TRY(bpetrainer_spell(t, t->merges[2 * i], text));
        if (strbuf_puts(text, " ") != ERR_OK) {
            return bpetrainer_nomem(t);
        }
        TRY(bpetrainer_spell(t, t->merges[2 * i + 1], text));
    }
    at[n] = text->len;
    return ERR_OK;
}

static err bpetrainer_build(const struct bpetrainer *t, struct strbuf *text, size_t *at,
                            struct tokenizer_piece *pieces, uint8_t *kinds, struct tokenizer **out)
{
    const struct bpetrainer_options *o = t->options;
    TRY(bpetrainer_spell_all(t, text, at));
    for (size_t i = 0; i < t->n_tokens + t->n_merges; i++) {
        bool special = i < t->n_specials;
        size_t from = special ? 0 : i - t->n_specials;
        pieces[i] = special ? (struct tokenizer_piece){o->specials[i], strlen(o->specials[i])}
                            : (struct tokenizer_piece){text->data + at[from], at[from + 1] - at[from]};
        if (i < t->n_tokens) {
            kinds[i] = special ? TOKENIZER_CONTROL : TOKENIZER_NORMAL;
        }
    }
    struct tokenizer_spec spec = {.pre = o->pre,
                                  .tokens = pieces,
                                  .kinds = kinds,
                                  .n_tokens = t->n_tokens,
                                  .merges = pieces + t->n_tokens,
                                  .n_merges = t->n_merges,
                                  .bos = t->n_specials > 0 ? 0 : -1,
                                  .eos = t->n_specials > 1 ? 1 : -1,
                                  .pad = t->n_specials > 2 ? 2 : -1,
                                  .add_bos = t->n_specials > 0,
                                  .nfc = o->pre == TOKENIZER_PRE_QWEN2};
    return tokenizer_new(&spec, out, t->info);
}

static err bpetrainer_finish(const struct bpetrainer *t, struct tokenizer **out)
{
    struct strbuf text = {0};
    size_t n = t->n_tokens + t->n_merges;
    size_t *at = mem_resize(NULL, n + 1, sizeof *at);
    struct tokenizer_piece *pieces = mem_resize(NULL, n, sizeof *pieces);
    uint8_t *kinds = mem_alloc(t->n_tokens);
    err e = at && pieces && kinds ? bpetrainer_build(t, &text, at, pieces, kinds, out) : bpetrainer_nomem(t);
    mem_free(kinds);
    mem_free(pieces);
    mem_free(at);
    strbuf_deinit(&text);
    return e;
}

static void bpetrainer_deinit(struct bpetrainer *t)
{
    for (size_t i = 0; i < t->n_slots; i++) {
        mem_free(t->pairs[i].words);
    }
    mem_free(t->pairs);
    mem_free(t->words);
    mem_free(t->ids);
    mem_free(t->heap);
    mem_free(t->changed);
    mem_free(t->merges);
    mem_free(t->tokens);
    wordcount_deinit(&t->known);
}

static err bpetrainer_check(struct bpetrainer *t, const struct wordcount *words)
{
    const struct bpetrainer_options *o = t->options;
    size_t least;
    while (o->specials && o->specials[t->n_specials]) {
        t->n_specials++;
    }
    least = t->n_specials + BPETRAINER_BYTES;
    if (o->vocab_size < least || o->vocab_size > TOKENIZER_TOKENS_MAX) {
        return err_set(t->info, ERR_ARGUMENT, "a vocabulary of %zu tokens: it must be %zu (%zu special tokens "
                       "and %d bytes) to %d", o->vocab_size, least, t->n_specials, BPETRAINER_BYTES,
                       TOKENIZER_TOKENS_MAX);
    }
    if (words->n > UINT32_MAX) {
        return err_set(t->info, ERR_LIMIT, "the text has %zu different words; at most %u can be learned from",
                       words->n, UINT32_MAX);
    }
    return ERR_OK;
}

err bpetrainer_train(const struct wordcount *words, const struct bpetrainer_options *options,
                     struct tokenizer **out, struct errinfo *info)
{
    struct bpetrainer t = {.options = options, .info = info, .merge = 1};
    TRY(bpetrainer_check(&t, words));
    t.tokens = mem_calloc(options->vocab_size, sizeof *t.tokens);
    t.n_tokens = t.n_specials;
    err e = t.tokens ? bpetrainer_grow_pairs(&t) : bpetrainer_nomem(&t);
    e = e == ERR_OK ? bpetrainer_read_words(&t, words) : e;
    e = e == ERR_OK ? bpetrainer_learn(&t) : e;
    e = e == ERR_OK ? bpetrainer_finish(&t, out) : e;
    bpetrainer_deinit(&t);
    return e;
}
