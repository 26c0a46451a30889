/* text/tokenizer.c: see tokenizer.h. Building a tokenizer from its parts, and asking it about them;
 * tokenizer_open.c reads files, tokenizer_encode.c and tokenizer_stream.c do the work. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/mem.h"
#include "text/bytealphabet.h"
#include "text/tokenizer_data.h"

enum {
    TOKENIZER_WHOLE_MAX = 128, /* longer tokens are left to merging */
    TOKENIZER_SHOWN = 40       /* bytes of a file's text in a message */
};

static err tokenizer_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory building the tokenizer");
}

static int tokenizer_shown(size_t len)
{
    return (int)(len < TOKENIZER_SHOWN ? len : TOKENIZER_SHOWN);
}

static err tokenizer_check_id(int32_t id, size_t n, const char *name, struct errinfo *info)
{
    if (id >= -1 && (id < 0 || (size_t)id < n)) {
        return ERR_OK;
    }
    return err_set(info, ERR_CORRUPT, "the %s token is %d, but the vocabulary has ids 0 to %zu", name,
                   (int)id, n - 1);
}

static err tokenizer_check(const struct tokenizer_spec *spec, size_t *bytes, struct errinfo *info)
{
    if (spec->n_tokens == 0) {
        return err_set(info, ERR_CORRUPT, "the vocabulary is empty");
    }
    if (spec->n_tokens > TOKENIZER_TOKENS_MAX) {
        return err_set(info, ERR_LIMIT, "the vocabulary has %zu tokens; at most %d are accepted",
                       spec->n_tokens, TOKENIZER_TOKENS_MAX);
    }
    if (spec->n_merges > TOKENIZER_MERGES_MAX) {
        return err_set(info, ERR_LIMIT, "the vocabulary has %zu merges; at most %d are accepted",
                       spec->n_merges, TOKENIZER_MERGES_MAX);
    }
    if ((unsigned)spec->pre >= TOKENIZER_PRE_COUNT) {
        return err_set(info, ERR_ARGUMENT, "no pre-tokenizer has the number %d", (int)spec->pre);
    }
    TRY(tokenizer_check_id(spec->bos, spec->n_tokens, "bos", info));
    TRY(tokenizer_check_id(spec->eos, spec->n_tokens, "eos", info));
    TRY(tokenizer_check_id(spec->pad, spec->n_tokens, "padding", info));
    size_t total = 0;
    for (size_t i = 0; i < spec->n_tokens; i++) {
        uint8_t kind = spec->kinds[i];
        if (kind < TOKENIZER_NORMAL || kind > TOKENIZER_BYTE) {
            return err_set(info, ERR_CORRUPT, "token %zu is of kind %u; kinds are 1 to 6", i, kind);
        }
        if (!checked_add(total, spec->tokens[i].len, &total) || total > TOKENIZER_BYTES_MAX) {
            return err_set(info, ERR_LIMIT, "the tokens are longer than %d bytes in all",
                           TOKENIZER_BYTES_MAX);
        }
    }
    *bytes = total;
    return ERR_OK;
}

/* Copies the spellings and works out the bytes they stand for. */
static err tokenizer_fill_tokens(struct tokenizer *t, const struct tokenizer_spec *spec, size_t bytes,
                                 struct errinfo *info)
{
    size_t n = spec->n_tokens;
    t->n = n;
    t->kinds = mem_alloc(n);
    t->spellings = mem_alloc(bytes);
    t->plain = mem_alloc(bytes);
    t->spelling_at = mem_resize(NULL, n + 1, sizeof *t->spelling_at);
    t->plain_at = mem_resize(NULL, n + 1, sizeof *t->plain_at);
    if (!t->kinds || !t->spellings || !t->plain || !t->spelling_at || !t->plain_at) {
        return tokenizer_nomem(info);
    }
    memcpy(t->kinds, spec->kinds, n);
    uint32_t spelled = 0, plain = 0;
    for (size_t i = 0; i < n; i++) {
        struct tokenizer_piece p = spec->tokens[i];
        size_t done = p.len;
        t->spelling_at[i] = spelled;
        t->plain_at[i] = plain;
        if (p.len > 0) {
            memcpy(t->spellings + spelled, p.data, p.len);
        }
        if (t->kinds[i] != TOKENIZER_NORMAL ||
            !bytealphabet_decode(p.data, p.len, t->plain + plain, &done)) {
            done = p.len; /* an added token, or one that no text leads to */
            memmove(t->plain + plain, t->spellings + spelled, p.len);
        }
        spelled += (uint32_t)p.len;
        plain += (uint32_t)done;
    }
    t->spelling_at[n] = spelled;
    t->plain_at[n] = plain;
    return ERR_OK;
}

/* By spelling; where two tokens are spelled alike, a normal one is found. */
static err tokenizer_map_spellings(const struct tokenizer *t, uint64_t seed, struct piecemap *map)
{
    TRY(piecemap_init(map, t->n, seed, t->spellings, t->spelling_at));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < t->n; i++) {
            if ((t->kinds[i] == TOKENIZER_NORMAL) == (pass == 0)) {
                piecemap_add(map, (int32_t)i);
            }
        }
    }
    return ERR_OK;
}

static void tokenizer_fill_bytes(struct tokenizer *t, const struct piecemap *spellings)
{
    for (unsigned b = 0; b < 256; b++) {
        uint32_t point = bytealphabet_point((unsigned char)b);
        char text[2] = {(char)point, 0};
        size_t len = 1;
        if (point >= 0x80) {
            text[0] = (char)(0xc0 | point >> 6);
            text[1] = (char)(0x80 | (point & 0x3f));
            len = 2;
        }
        int32_t id = piecemap_find(spellings, text, len);
        t->byte_ids[b] = id >= 0 && t->kinds[id] == TOKENIZER_NORMAL ? id : -1;
    }
}

/* Finds the two parts of merge `rank` and what they make. */
static err tokenizer_read_merge(const struct piecemap *spellings, struct tokenizer_piece merge,
                                size_t rank, int32_t parts[2], int32_t *made, struct errinfo *info)
{
    const char *space = merge.len > 0 ? memchr(merge.data, ' ', merge.len) : NULL;
    if (!space) {
        return err_set(info, ERR_CORRUPT, "merge %zu is \"%.*s\"; two parts and a space are expected",
                       rank, tokenizer_shown(merge.len), merge.len ? merge.data : "");
    }
    size_t n_left = (size_t)(space - merge.data), n_right = merge.len - n_left - 1;
    parts[0] = piecemap_find(spellings, merge.data, n_left);
    parts[1] = piecemap_find(spellings, space + 1, n_right);
    char joined[256];
    char *both = merge.len <= sizeof joined ? joined : mem_alloc(merge.len);
    if (!both) {
        return tokenizer_nomem(info);
    }
    memcpy(both, merge.data, n_left);
    memcpy(both + n_left, space + 1, n_right);
    *made = piecemap_find(spellings, both, n_left + n_right);
    if (both != joined) {
        mem_free(both);
    }
    if (parts[0] < 0 || parts[1] < 0 || *made < 0) {
        return err_set(info, ERR_CORRUPT, "merge %zu, \"%.*s\": %s is not in the vocabulary", rank,
                       tokenizer_shown(merge.len), merge.data,
                       parts[0] < 0   ? "its left part"
                       : parts[1] < 0 ? "its right part"
                                      : "what it makes");
    }
    return ERR_OK;
}

static err tokenizer_fill_merges(struct tokenizer *t, const struct tokenizer_spec *spec,
                                 const struct piecemap *spellings, uint64_t seed,
                                 struct errinfo *info)
{
    t->merges = mem_resize(NULL, spec->n_merges, 2 * sizeof *t->merges);
    if (!t->merges || bpe_init(&t->bpe, spec->n_merges, seed) != ERR_OK) {
        return tokenizer_nomem(info);
    }
    for (size_t i = 0; i < spec->n_merges; i++) {
        int32_t made = -1;
        int32_t *parts = t->merges + 2 * i;
        TRY(tokenizer_read_merge(spellings, spec->merges[i], i, parts, &made, info));
        t->n_merges = i + 1;
        if (t->kinds[parts[0]] == TOKENIZER_NORMAL && t->kinds[parts[1]] == TOKENIZER_NORMAL &&
            t->kinds[made] == TOKENIZER_NORMAL) {
            bpe_add(&t->bpe, parts[0], parts[1], (int32_t)i, made);
        }
    }
    return ERR_OK;
}

static int tokenizer_compare(struct tokenizer_piece a, struct tokenizer_piece b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n > 0 ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int tokenizer_compare_added(const void *a, const void *b, void *user)
{
    const struct tokenizer *t = user;
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    int order = tokenizer_compare(tokenizer_bytes(t, x), tokenizer_bytes(t, y));
    return order ? order : (x > y) - (x < y);
}

static err tokenizer_fill_added(struct tokenizer *t, struct errinfo *info)
{
    for (size_t i = 0; i < t->n; i++) {
        t->n_added += tokenizer_is_added(t, (int32_t)i);
    }
    t->added = mem_resize(NULL, t->n_added, sizeof *t->added);
    if (!t->added) {
        return tokenizer_nomem(info);
    }
    size_t k = 0;
    for (size_t i = 0; i < t->n; i++) {
        struct tokenizer_piece p = tokenizer_bytes(t, (int32_t)i);
        if (tokenizer_is_added(t, (int32_t)i)) {
            t->added[k++] = (int32_t)i;
            if (p.len > 0) {
                t->added_first[(unsigned char)p.data[0]] = true;
            }
        }
    }
    qsort_r(t->added, t->n_added, sizeof *t->added, tokenizer_compare_added, t);
    return ERR_OK;
}

/* Whether a piece that is exactly token `id` becomes this one token. */
static bool tokenizer_is_whole(const struct tokenizer *t, int32_t id, struct bpe_work *work)
{
    struct tokenizer_piece p = tokenizer_bytes(t, id);
    struct tokenizer_piece spelled = tokenizer_piece_at(t, id);
    char bytes[4 * TOKENIZER_WHOLE_MAX];
    int32_t ids[TOKENIZER_WHOLE_MAX];
    size_t n;
    if (t->kinds[id] != TOKENIZER_NORMAL || p.len == 0 || p.len > TOKENIZER_WHOLE_MAX ||
        spelled.len > sizeof bytes || !bytealphabet_decode(spelled.data, spelled.len, bytes, &n)) {
        return false;
    }
    if (t->ignore_merges) {
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        ids[i] = t->byte_ids[(unsigned char)p.data[i]];
        if (ids[i] < 0) {
            return false;
        }
    }
    return bpe_merge(&t->bpe, work, ids, &n) == ERR_OK && n == 1 && ids[0] == id;
}

static err tokenizer_fill_whole(struct tokenizer *t, uint64_t seed, struct errinfo *info)
{
    struct bpe_work work = {0};
    if (piecemap_init(&t->whole, t->n, seed, t->plain, t->plain_at) != ERR_OK) {
        return tokenizer_nomem(info);
    }
    for (size_t i = 0; i < t->n; i++) {
        if (tokenizer_is_whole(t, (int32_t)i, &work)) {
            size_t len = tokenizer_bytes(t, (int32_t)i).len;
            t->whole_max = len > t->whole_max ? len : t->whole_max;
            piecemap_add(&t->whole, (int32_t)i);
        }
    }
    bpe_work_deinit(&work);
    return ERR_OK;
}

static err tokenizer_fill(struct tokenizer *t, const struct tokenizer_spec *spec, size_t bytes,
                          struct errinfo *info)
{
    uint64_t seed = 0;
    if (getentropy(&seed, sizeof seed) != 0) {
        seed = (uint64_t)(uintptr_t)t;
    }
    t->pre = spec->pre;
    t->bos = spec->bos;
    t->eos = spec->eos;
    t->pad = spec->pad;
    t->add_bos = spec->add_bos;
    t->ignore_merges = spec->ignore_merges;
    t->nfc = spec->nfc;
    TRY(tokenizer_fill_tokens(t, spec, bytes, info));
    struct piecemap spellings = {0};
    err e = tokenizer_map_spellings(t, seed, &spellings);
    if (e != ERR_OK) {
        return tokenizer_nomem(info);
    }
    tokenizer_fill_bytes(t, &spellings);
    e = tokenizer_fill_merges(t, spec, &spellings, seed, info);
    piecemap_deinit(&spellings);
    TRY(e);
    TRY(tokenizer_fill_added(t, info));
    return tokenizer_fill_whole(t, seed, info);
}

err tokenizer_new(const struct tokenizer_spec *spec, struct tokenizer **out, struct errinfo *info)
{
    size_t bytes = 0;
    TRY(tokenizer_check(spec, &bytes, info));
    struct tokenizer *t = mem_calloc(1, sizeof *t);
    if (!t) {
        return tokenizer_nomem(info);
    }
    err e = tokenizer_fill(t, spec, bytes, info);
    if (e != ERR_OK) {
        tokenizer_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t) {
        return;
    }
    mem_free(t->kinds);
    mem_free(t->spellings);
    mem_free(t->spelling_at);
    mem_free(t->plain);
    mem_free(t->plain_at);
    mem_free(t->merges);
    mem_free(t->added);
    piecemap_deinit(&t->whole);
    bpe_deinit(&t->bpe);
    mem_free(t);
}

size_t tokenizer_size(const struct tokenizer *t)
{
    return t->n;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

int32_t tokenizer_pad(const struct tokenizer *t)
{
    return t->pad;
}

bool tokenizer_add_bos(const struct tokenizer *t)
{
    return t->add_bos;
}

enum tokenizer_pre tokenizer_pre_of(const struct tokenizer *t)
{
    return t->pre;
}

bool tokenizer_ignore_merges(const struct tokenizer *t)
{
    return t->ignore_merges;
}

int32_t tokenizer_special(const struct tokenizer *t, const char *text)
{
    struct tokenizer_piece wanted = {text, strlen(text)};
    size_t low = 0, high = t->n_added;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tokenizer_compare(tokenizer_bytes(t, t->added[middle]), wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found =
        low < t->n_added && tokenizer_compare(tokenizer_bytes(t, t->added[low]), wanted) == 0;
    return found ? t->added[low] : -1;
}

static bool tokenizer_in_range(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->n;
}

struct tokenizer_piece tokenizer_piece_at(const struct tokenizer *t, int32_t id)
{
    if (!tokenizer_in_range(t, id)) {
        return (struct tokenizer_piece){"", 0};
    }
    uint32_t from = t->spelling_at[id];
    return (struct tokenizer_piece){t->spellings + from, t->spelling_at[id + 1] - from};
}

struct tokenizer_piece tokenizer_bytes(const struct tokenizer *t, int32_t id)
{
    if (!tokenizer_in_range(t, id)) {
        return (struct tokenizer_piece){"", 0};
    }
    uint32_t from = t->plain_at[id];
    return (struct tokenizer_piece){t->plain + from, t->plain_at[id + 1] - from};
}

enum tokenizer_kind tokenizer_kind_at(const struct tokenizer *t, int32_t id)
{
    return tokenizer_in_range(t, id) ? (enum tokenizer_kind)t->kinds[id] : TOKENIZER_UNUSED;
}

size_t tokenizer_merge_count(const struct tokenizer *t)
{
    return t->n_merges;
}

void tokenizer_merge_at(const struct tokenizer *t, size_t rank, struct tokenizer_piece *left,
                        struct tokenizer_piece *right)
{
    *left = tokenizer_piece_at(t, t->merges[2 * rank]);
    *right = tokenizer_piece_at(t, t->merges[2 * rank + 1]);
}

size_t tokenizer_least(const struct tokenizer *t, const char *text, size_t len)
{
    enum { TOKENIZER_COMPOSED = 3 }; /* bytes that normalising may make one: the Kelvin sign and some others */
    size_t longest = 1, kept = 0;
    for (size_t id = 0; id < t->n; id++) {
        size_t n = t->plain_at[id + 1] - t->plain_at[id];
        longest = n > longest && !tokenizer_is_added(t, (int32_t)id) ? n : longest;
    }
    for (size_t i = 0; i < len; i++) {
        kept += t->byte_ids[(unsigned char)text[i]] >= 0;
    }
    return kept / longest / (t->nfc ? TOKENIZER_COMPOSED : 1);
}
