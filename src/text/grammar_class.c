/* text/grammar_class.c: sets of characters as ranges of bytes. A range of code points whose UTF-8 forms have
 * one length is cut where the bytes behind the first difference do not run over all their values; each part
 * then is one range for each byte. */
#include <stdlib.h>

#include "base/mem.h"
#include "text/grammar_data.h"
#include "text/utf8.h"

enum { GRAMMAR_CLASS_LAST = 0x10ffff };

err grammar_class_add(struct grammar_class *c, uint32_t low, uint32_t high, struct errinfo *info)
{
    struct grammar_range *p = mem_grow(c->ranges, c->n, &c->cap, sizeof *p);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory for a class of %zu ranges", c->n + 1);
    }
    c->ranges = p;
    c->ranges[c->n++] = (struct grammar_range){low, high};
    return ERR_OK;
}

static int grammar_class_compare(const void *a, const void *b)
{
    const struct grammar_range *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

/* In order, none touching another. */
static void grammar_class_join(struct grammar_class *c)
{
    size_t n = 0;
    if (c->n > 0) {
        qsort(c->ranges, c->n, sizeof *c->ranges, grammar_class_compare);
    }
    for (size_t i = 0; i < c->n; i++) {
        struct grammar_range r = c->ranges[i];
        if (n > 0 && r.low <= c->ranges[n - 1].high + 1) {
            struct grammar_range *before = &c->ranges[n - 1];
            before->high = r.high > before->high ? r.high : before->high;
        } else {
            c->ranges[n++] = r;
        }
    }
    c->n = n;
}

/* What is being made: alternatives so far. */
struct grammar_class_work {
    struct grammar *grammar;
    struct grammar_piece piece;
    bool any;
    struct errinfo *info;
};

static err grammar_class_bytes(struct grammar_class_work *w, uint32_t low, uint32_t high)
{
    char a[4], b[4];
    size_t n = utf8_write(low, a);
    (void)utf8_write(high, b);
    struct grammar_piece p = {0};
    for (size_t i = 0; i < n; i++) {
        uint32_t at;
        struct grammar_step step = {GRAMMAR_BYTES, (uint8_t)a[i], (uint8_t)b[i], GRAMMAR_OPEN, 0};
        TRY(grammar_add(w->grammar, step, &at, w->info));
        if (i == 0) {
            p.first = at;
        } else {
            w->grammar->steps[p.last].next = at;
        }
        p.last = at;
    }
    if (w->any) {
        return grammar_either(w->grammar, &w->piece, p, w->info);
    }
    w->piece = p;
    w->any = true;
    return ERR_OK;
}

/* low and high have forms of one length. */
static err grammar_class_cut(struct grammar_class_work *w, uint32_t low, uint32_t high)
{
    static const uint32_t tails[] = {0x3f, 0xfff, 0x3ffff};
    for (int i = 0; i < 3; i++) {
        uint32_t tail = tails[i];
        if ((low & ~tail) == (high & ~tail)) {
            continue;
        }
        if (low & tail) {
            TRY(grammar_class_cut(w, low, low | tail));
            return grammar_class_cut(w, (low | tail) + 1, high);
        }
        if ((high & tail) != tail) {
            TRY(grammar_class_cut(w, low, (high & ~tail) - 1));
            return grammar_class_cut(w, high & ~tail, high);
        }
    }
    return grammar_class_bytes(w, low, high);
}

/* Any range: without the surrogates, cut where the length of the form changes. */
static err grammar_class_range(struct grammar_class_work *w, uint32_t low, uint32_t high)
{
    static const struct grammar_range lengths[] = {
        {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, GRAMMAR_CLASS_LAST}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint32_t a = low > lengths[i].low ? low : lengths[i].low;
        uint32_t b = high < lengths[i].high ? high : lengths[i].high;
        if (a > b) {
            continue;
        }
        err e = a < 0x80 ? grammar_class_bytes(w, a, b) : grammar_class_cut(w, a, b);
        TRY(e);
    }
    return ERR_OK;
}

err grammar_class_piece(struct grammar *g, struct grammar_class *c, bool negated,
                        struct grammar_piece *out, bool *any, struct errinfo *info)
{
    struct grammar_class_work w = {.grammar = g, .info = info};
    uint32_t at = 0; /* first code point behind the ranges so far */
    grammar_class_join(c);
    for (size_t i = 0; i < c->n; i++) {
        struct grammar_range r = c->ranges[i];
        if (!negated) {
            TRY(grammar_class_range(&w, r.low, r.high));
        } else if (r.low > at) {
            TRY(grammar_class_range(&w, at, r.low - 1));
        }
        at = r.high + 1;
    }
    if (negated && at <= GRAMMAR_CLASS_LAST) {
        TRY(grammar_class_range(&w, at, GRAMMAR_CLASS_LAST));
    }
    *out = w.piece;
    *any = w.any;
    return ERR_OK;
}
