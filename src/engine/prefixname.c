/* engine/prefixname.c: see prefixname.h. A letter in front tells what kind of thing is hashed. */
#include "engine/prefixname.h"

#include <sodium.h>
#include <string.h>

#include "engine/identity.h"

static const char PREFIXNAME_FORM[] = "pages of 64 positions, 1"; /* changes when rows or their order do */

static struct prefixname prefixname_of(const uint8_t *key, char kind, const void *a, size_t n_a, const void *b,
                                       size_t n_b)
{
    struct prefixname out;
    crypto_generichash_state h;
    crypto_generichash_init(&h, key, PREFIXNAME_BYTES, sizeof out.bytes);
    crypto_generichash_update(&h, (const uint8_t *)&kind, 1);
    crypto_generichash_update(&h, a, n_a);
    crypto_generichash_update(&h, b, n_b);
    crypto_generichash_final(&h, out.bytes, sizeof out.bytes);
    return out;
}

struct prefixname prefixname_root(const struct engine *e, const uint8_t key[PREFIXNAME_BYTES])
{
    struct {
        uint8_t model[IDENTITY_BYTES];
        uint64_t kv_dtype, level, deterministic;
    } about;
    memset(&about, 0, sizeof about);
    identity_of(e->model, about.model);
    about.kv_dtype = (uint64_t)e->kv_dtype;
    about.level = (uint64_t)e->compute->level;
    about.deterministic = e->compute->deterministic;
    return prefixname_of(key, 'r', PREFIXNAME_FORM, sizeof PREFIXNAME_FORM, &about, sizeof about);
}

struct prefixname prefixname_begin(const struct prefixname *root, uint64_t partition)
{
    return prefixname_of(root->bytes, 'p', &partition, sizeof partition, "", 0);
}

struct prefixname prefixname_next(const struct prefixname *root, const struct prefixname *before,
                                  const int32_t *tokens)
{
    return prefixname_of(root->bytes, 't', before->bytes, sizeof before->bytes, tokens,
                         MODEL_CACHE_PAGE * sizeof *tokens);
}

struct prefixname prefixname_folder(const uint8_t key[PREFIXNAME_BYTES], uint64_t drawer)
{
    return prefixname_of(key, 'f', &drawer, sizeof drawer, "", 0);
}

struct prefixname prefixname_sum(const struct prefixname *root, const struct prefixname *page, const void *rows,
                                 size_t bytes)
{
    return prefixname_of(root->bytes, 's', page->bytes, sizeof page->bytes, rows, bytes);
}
