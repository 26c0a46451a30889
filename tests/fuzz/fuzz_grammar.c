/* tests/fuzz/fuzz_grammar.c: any bytes as a grammar and, behind a NUL, a text for it; or, when they begin with "{", as
 * a JSON schema. Whatever can be made of them: nothing is left behind, a state that is kept while all others are
 * forgotten goes on alike, and what is alive can be completed by some byte or may end. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/grammarstates.h"
#include "text/schemagrammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct grammar *read_grammar(const uint8_t *data, size_t size)
{
    struct errinfo info = {0};
    struct grammar *g = NULL;
    json_t *schema = NULL;
    err e;
    if (size > 0 && data[0] == '{') {
        e = json_parse((const char *)data, size, "schema", &schema, &info);
        e = e == ERR_OK ? schemagrammar_new(schema, &g, &info) : e;
        json_decref(schema);
    } else {
        e = grammar_new((const char *)data, size, &g, &info);
    }
    if ((e == ERR_OK) != (g != NULL) || (e != ERR_OK && info.message[0] == '\0')) {
        abort();
    }
    return g;
}

static void follow(struct grammarstates *s, const uint8_t *text, size_t n)
{
    uint32_t at = grammarstates_start(s);
    for (size_t i = 0; i < n && at != GRAMMARSTATES_DEAD; i++) {
        uint32_t next, kept, again;
        if (grammarstates_next(s, at, text[i], &next, NULL) != ERR_OK) {
            return;
        }
        bool alive = next != GRAMMARSTATES_DEAD, may_end = grammarstates_may_end(s, next);
        if (i % 16 == 3) {
            kept = at;
            if (grammarstates_keep(s, &kept, NULL) != ERR_OK ||
                grammarstates_next(s, kept, text[i], &again, NULL) != ERR_OK) {
                return;
            }
            if ((again != GRAMMARSTATES_DEAD) != alive || grammarstates_may_end(s, again) != may_end) {
                abort();
            }
            next = again;
        }
        at = next;
    }
    bool goes_on = at == GRAMMARSTATES_DEAD || grammarstates_may_end(s, at);
    for (int b = 0; b < 256 && !goes_on; b++) {
        uint32_t next;
        if (grammarstates_next(s, at, (uint8_t)b, &next, NULL) != ERR_OK) {
            return;
        }
        goes_on = next != GRAMMARSTATES_DEAD;
    }
    if (!goes_on) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t alive = mem_alive();
    const uint8_t *nul = memchr(data, 0, size);
    size_t n = nul ? (size_t)(nul - data) : size;
    struct grammar *g = read_grammar(data, n);
    struct grammarstates *s = NULL;
    if (g && grammarstates_new(g, &s, NULL) == ERR_OK) {
        follow(s, data + (nul ? n + 1 : 0), nul ? size - n - 1 : size);
    }
    grammarstates_free(s);
    grammar_free(g);
    if (mem_alive() != alive) {
        abort();
    }
    return 0;
}
