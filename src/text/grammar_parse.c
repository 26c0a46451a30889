/* text/grammar_parse.c: GBNF text to steps (grammar.h), in one pass. A rule is an empty step from the moment
 * its name is met; its definition is hung behind that step. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/grammar_data.h"
#include "text/utf8.h"

enum { GRAMMAR_PARSE_FOUND = 48 };

struct grammar_parse_rule {
    const char *name; /* in the text */
    size_t len;
    uint32_t step;    /* its first one */
    size_t used_at, defined_at; /* place in the text; defined_at SIZE_MAX: not yet */
};

struct grammar_parse {
    const char *text;
    size_t len, pos, depth;
    struct grammar *g;
    struct grammar_parse_rule *rules;
    size_t n_rules, cap_rules;
    uint32_t *table; /* [n_table] 1 + rule by hash of its name, 0: none */
    size_t n_table;
    struct errinfo *info;
};

static err grammar_parse_alternatives(struct grammar_parse *p, struct grammar_piece *out);

/* ---- errors ---- */

static void grammar_parse_found(const struct grammar_parse *p, size_t at, char out[GRAMMAR_PARSE_FOUND])
{
    if (at >= p->len) {
        snprintf(out, GRAMMAR_PARSE_FOUND, "the end");
        return;
    }
    unsigned char c = (unsigned char)p->text[at];
    size_t n = utf8_length(p->text + at, p->len - at, NULL, NULL);
    if (c == '\n' || c == '\r') {
        snprintf(out, GRAMMAR_PARSE_FOUND, "the end of the line");
    } else if (n == 0 || c < 0x20) {
        snprintf(out, GRAMMAR_PARSE_FOUND, "byte 0x%02x", c);
    } else {
        snprintf(out, GRAMMAR_PARSE_FOUND, "\"%.*s\"", (int)n, p->text + at);
    }
}

static err grammar_parse_at(const struct grammar_parse *p, size_t at, err code, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        bool newline = p->text[i] == '\n';
        line += newline;
        column = newline ? 1 : column + (((unsigned char)p->text[i] & 0xc0) != 0x80);
    }
    return err_set(p->info, code, "grammar, line %zu, column %zu: %s", line, column, what);
}

static err grammar_parse_expected(const struct grammar_parse *p, size_t at, const char *expected)
{
    char found[GRAMMAR_PARSE_FOUND], what[256];
    grammar_parse_found(p, at, found);
    snprintf(what, sizeof what, "found %s, expected %s", found, expected);
    return grammar_parse_at(p, at, ERR_ARGUMENT, what);
}

static err grammar_parse_rule_error(const struct grammar_parse *p, size_t at,
                                    const struct grammar_parse_rule *r, const char *what)
{
    char text[256];
    int shown = r->len < 60 ? (int)r->len : 60;
    snprintf(text, sizeof text, "the rule \"%.*s\" %s", shown, r->name, what);
    return grammar_parse_at(p, at, ERR_ARGUMENT, text);
}

/* ---- characters ---- */

static char grammar_parse_peek(const struct grammar_parse *p)
{
    return p->pos < p->len ? p->text[p->pos] : '\0';
}

static bool grammar_parse_take(struct grammar_parse *p, char c)
{
    if (p->pos < p->len && p->text[p->pos] == c) {
        p->pos++;
        return true;
    }
    return false;
}

/* Blanks and comments, and with `lines` newlines too. */
static void grammar_parse_blanks(struct grammar_parse *p, bool lines)
{
    for (; p->pos < p->len; p->pos++) {
        char c = p->text[p->pos];
        if (c == '#') {
            const char *end = memchr(p->text + p->pos, '\n', p->len - p->pos);
            p->pos = end ? (size_t)(end - p->text) : p->len;
            c = grammar_parse_peek(p);
        }
        if (p->pos == p->len || !(c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))) {
            return;
        }
    }
}

static int grammar_parse_hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static err grammar_parse_hex(struct grammar_parse *p, int n, uint32_t *out)
{
    uint32_t v = 0;
    size_t at = p->pos;
    for (int i = 0; i < n; i++) {
        int digit = p->pos < p->len ? grammar_parse_hex_digit(p->text[p->pos]) : -1;
        if (digit < 0) {
            return grammar_parse_expected(p, p->pos, n == 2 ? "two hexadecimal digits after \\x"
                                                   : n == 4 ? "four hexadecimal digits after \\u"
                                                            : "eight hexadecimal digits after \\U");
        }
        v = v << 4 | (uint32_t)digit;
        p->pos++;
    }
    if (v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) {
        return grammar_parse_at(p, at, ERR_ARGUMENT, "no character has this number");
    }
    *out = v;
    return ERR_OK;
}

/* One character of a literal or a class. */
static err grammar_parse_character(struct grammar_parse *p, uint32_t *out)
{
    if (!grammar_parse_take(p, '\\')) {
        size_t n = p->pos < p->len ? utf8_length(p->text + p->pos, p->len - p->pos, NULL, NULL) : 0;
        if (n == 0) {
            return grammar_parse_expected(p, p->pos, "a character");
        }
        *out = utf8_point(p->text + p->pos, n);
        p->pos += n;
        return ERR_OK;
    }
    char c = grammar_parse_peek(p);
    p->pos++;
    switch (c) {
    case 'n': *out = '\n'; return ERR_OK;
    case 'r': *out = '\r'; return ERR_OK;
    case 't': *out = '\t'; return ERR_OK;
    case '\\': case '"': case '[': case ']': case '-': case '^': *out = (uint32_t)c; return ERR_OK;
    case 'x': return grammar_parse_hex(p, 2, out);
    case 'u': return grammar_parse_hex(p, 4, out);
    case 'U': return grammar_parse_hex(p, 8, out);
    default:
        return grammar_parse_expected(p, p->pos - 1, "one of n r t \\ \" [ ] - ^ x u U after \\");
    }
}

/* ---- rules by name ---- */

static bool grammar_parse_is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static uint32_t *grammar_parse_slot(struct grammar_parse *p, const char *name, size_t len)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)name[i]) * 1099511628211u;
    }
    for (size_t i = hash & (p->n_table - 1);; i = (i + 1) & (p->n_table - 1)) {
        const struct grammar_parse_rule *r = p->table[i] ? &p->rules[p->table[i] - 1] : NULL;
        if (!r || (r->len == len && memcmp(r->name, name, len) == 0)) {
            return &p->table[i];
        }
    }
}

/* Room for one more rule; the table is at most half full. */
static err grammar_parse_room(struct grammar_parse *p)
{
    if (p->n_rules < p->cap_rules) {
        return ERR_OK;
    }
    size_t cap = p->cap_rules ? 2 * p->cap_rules : 64;
    struct grammar_parse_rule *rules = mem_resize(p->rules, cap, sizeof *rules);
    if (rules) {
        p->rules = rules;
    }
    uint32_t *table = rules ? mem_calloc(2 * cap, sizeof *table) : NULL;
    if (!table) {
        return err_set(p->info, ERR_NOMEM, "out of memory for a grammar of %zu rules", cap);
    }
    mem_free(p->table);
    p->table = table;
    p->cap_rules = cap;
    p->n_table = 2 * cap;
    for (size_t i = 0; i < p->n_rules; i++) {
        *grammar_parse_slot(p, p->rules[i].name, p->rules[i].len) = (uint32_t)i + 1;
    }
    return ERR_OK;
}

/* Reads a name; *out is its rule, made when it is new. */
static err grammar_parse_name(struct grammar_parse *p, const char *expected, uint32_t *out)
{
    size_t start = p->pos;
    while (p->pos < p->len && grammar_parse_is_name(p->text[p->pos])) {
        p->pos++;
    }
    if (p->pos == start) {
        return grammar_parse_expected(p, p->pos, expected);
    }
    TRY(grammar_parse_room(p));
    uint32_t *slot = grammar_parse_slot(p, p->text + start, p->pos - start);
    if (*slot == 0) {
        uint32_t head;
        struct grammar_step step = {.op = GRAMMAR_RULE, .next = GRAMMAR_OPEN};
        TRY(grammar_add(p->g, step, &head, p->info));
        p->rules[p->n_rules++] = (struct grammar_parse_rule){
            p->text + start, p->pos - start, head, start, SIZE_MAX};
        *slot = (uint32_t)p->n_rules;
    }
    *out = *slot - 1;
    return ERR_OK;
}

/* ---- expressions ---- */

static err grammar_parse_literal(struct grammar_parse *p, struct grammar_piece *out)
{
    size_t start = p->pos++;
    TRY(grammar_empty(p->g, out, p->info));
    while (!grammar_parse_take(p, '"')) {
        uint32_t point, at;
        char bytes[4];
        if (p->pos >= p->len) {
            return grammar_parse_at(p, start, ERR_ARGUMENT, "this literal has no closing \"");
        }
        TRY(grammar_parse_character(p, &point));
        size_t n = utf8_write(point, bytes);
        for (size_t i = 0; i < n; i++) {
            uint8_t b = (uint8_t)bytes[i];
            TRY(grammar_add(p->g, (struct grammar_step){GRAMMAR_BYTES, b, b, GRAMMAR_OPEN, 0}, &at, p->info));
            p->g->steps[out->last].next = at;
            out->last = at;
        }
    }
    return ERR_OK;
}

static err grammar_parse_ranges(struct grammar_parse *p, struct grammar_class *c)
{
    size_t start = p->pos - 1;
    while (!grammar_parse_take(p, ']')) {
        uint32_t low, high;
        if (p->pos >= p->len) {
            return grammar_parse_at(p, start, ERR_ARGUMENT, "this class has no closing ]");
        }
        size_t at = p->pos;
        TRY(grammar_parse_character(p, &low));
        high = low;
        if (grammar_parse_peek(p) == '-' && p->pos + 1 < p->len && p->text[p->pos + 1] != ']') {
            p->pos++;
            TRY(grammar_parse_character(p, &high));
        }
        if (high < low) {
            return grammar_parse_at(p, at, ERR_ARGUMENT, "this range ends before it begins");
        }
        TRY(grammar_class_add(c, low, high, p->info));
    }
    return ERR_OK;
}

/* [ … ], [^ … ] and the dot. */
static err grammar_parse_class(struct grammar_parse *p, struct grammar_piece *out)
{
    struct grammar_class c = {0};
    size_t start = p->pos;
    bool dot = grammar_parse_take(p, '.'), any = true;
    p->pos += !dot;
    bool negated = dot || grammar_parse_take(p, '^');
    err e = dot ? ERR_OK : grammar_parse_ranges(p, &c);
    if (e == ERR_OK) {
        e = grammar_class_piece(p->g, &c, negated, out, &any, p->info);
    }
    mem_free(c.ranges);
    if (e == ERR_OK && !any) {
        return grammar_parse_at(p, start, ERR_ARGUMENT, "no character is in this class");
    }
    return e;
}

static err grammar_parse_group(struct grammar_parse *p, struct grammar_piece *out)
{
    size_t start = p->pos++;
    if (++p->depth > GRAMMAR_DEPTH_MAX) {
        char what[80];
        snprintf(what, sizeof what, "groups inside more than %d groups", GRAMMAR_DEPTH_MAX);
        return grammar_parse_at(p, start, ERR_LIMIT, what);
    }
    grammar_parse_blanks(p, true);
    TRY(grammar_parse_alternatives(p, out));
    if (!grammar_parse_take(p, ')')) {
        return grammar_parse_expected(p, p->pos, "\")\"");
    }
    p->depth--;
    return ERR_OK;
}

/* A number up to `most`; `over` says what it is when it is larger. */
static err grammar_parse_number(struct grammar_parse *p, uint32_t most, const char *over, uint32_t *out)
{
    uint64_t v = 0;
    size_t start = p->pos;
    for (; p->pos < p->len && p->text[p->pos] >= '0' && p->text[p->pos] <= '9'; p->pos++) {
        v = 10 * v + (uint64_t)(p->text[p->pos] - '0');
        if (v > most) {
            char what[80];
            snprintf(what, sizeof what, over, most);
            return grammar_parse_at(p, start, ERR_LIMIT, what);
        }
    }
    *out = (uint32_t)v;
    return p->pos > start ? ERR_OK : grammar_parse_expected(p, start, "a number");
}

static err grammar_parse_count(struct grammar_parse *p, uint32_t *out)
{
    return grammar_parse_number(p, GRAMMAR_REPEAT_MAX, "repeated more than %u times", out);
}

/* <[id]>: a byte of its own. */
static err grammar_parse_token(struct grammar_parse *p, struct grammar_piece *out)
{
    struct grammar *g = p->g;
    size_t start = p->pos++, k = 0;
    uint32_t id = 0;
    if (!grammar_parse_take(p, '[')) {
        return grammar_parse_at(p, start, ERR_UNSUPPORTED, "tokens by name (<…>) are not supported; write the "
                                "token's id, <[id]>, or its text as a literal");
    }
    TRY(grammar_parse_number(p, INT32_MAX, "no token has an id over %u", &id));
    if (!grammar_parse_take(p, ']') || !grammar_parse_take(p, '>')) {
        return grammar_parse_expected(p, p->pos, "\"]>\"");
    }
    while (k < g->n_tokens && g->tokens[k] != (int32_t)id) {
        k++;
    }
    if (k == GRAMMAR_TOKENS_MAX) {
        char what[80];
        snprintf(what, sizeof what, "more than %d different tokens (<[id]>)", GRAMMAR_TOKENS_MAX);
        return grammar_parse_at(p, start, ERR_LIMIT, what);
    }
    g->tokens[k] = (int32_t)id;
    g->n_tokens = k == g->n_tokens ? k + 1 : g->n_tokens;
    uint8_t b = grammar_token_byte(k);
    TRY(grammar_add(g, (struct grammar_step){GRAMMAR_BYTES, b, b, GRAMMAR_OPEN, 0}, &out->first, p->info));
    out->last = out->first;
    return ERR_OK;
}

/* Behind "{". */
static err grammar_parse_counts(struct grammar_parse *p, uint32_t *min, uint32_t *max)
{
    size_t start = p->pos;
    grammar_parse_blanks(p, false);
    *min = 0;
    if (grammar_parse_peek(p) != ',') { /* {,n} is {0,n} */
        TRY(grammar_parse_count(p, min));
        grammar_parse_blanks(p, false);
    }
    *max = *min;
    if (grammar_parse_take(p, ',')) {
        grammar_parse_blanks(p, false);
        *max = GRAMMAR_OPEN;
        if (grammar_parse_peek(p) != '}') {
            TRY(grammar_parse_count(p, max));
            grammar_parse_blanks(p, false);
        }
    }
    if (!grammar_parse_take(p, '}')) {
        return grammar_parse_expected(p, p->pos, "\"}\"");
    }
    return *max >= *min ? ERR_OK : grammar_parse_at(p, start, ERR_ARGUMENT, "{m,n} with n below m");
}

/* What stands behind an element and says how often; several may follow each other. */
static err grammar_parse_repeats(struct grammar_parse *p, struct grammar_piece *piece)
{
    for (;;) {
        uint32_t min = 0, max = GRAMMAR_OPEN;
        grammar_parse_blanks(p, p->depth > 0);
        if (grammar_parse_take(p, '+')) {
            min = 1;
        } else if (grammar_parse_take(p, '?')) {
            max = 1;
        } else if (grammar_parse_take(p, '{')) {
            TRY(grammar_parse_counts(p, &min, &max));
        } else if (!grammar_parse_take(p, '*')) {
            return ERR_OK;
        }
        TRY(grammar_repeat(p->g, piece, min, max, p->info));
    }
}

/* *any false: no element begins here. */
static err grammar_parse_element(struct grammar_parse *p, struct grammar_piece *out, bool *any)
{
    char c = grammar_parse_peek(p);
    *any = true;
    if (c == '"') {
        return grammar_parse_literal(p, out);
    }
    if (c == '[' || c == '.') {
        return grammar_parse_class(p, out);
    }
    if (c == '(') {
        return grammar_parse_group(p, out);
    }
    if (c == '<') {
        return grammar_parse_token(p, out);
    }
    if (c == '!') {
        return grammar_parse_at(p, p->pos, ERR_UNSUPPORTED, "any token but one (!<…>) is not supported");
    }
    *any = grammar_parse_is_name(c);
    if (*any) {
        uint32_t rule;
        TRY(grammar_parse_name(p, "", &rule));
        struct grammar_step call = {GRAMMAR_CALL, 0, 0, GRAMMAR_OPEN, p->rules[rule].step};
        TRY(grammar_add(p->g, call, &out->first, p->info));
        out->last = out->first;
    }
    return ERR_OK;
}

static err grammar_parse_sequence(struct grammar_parse *p, struct grammar_piece *out)
{
    struct grammar_piece piece;
    bool any;
    TRY(grammar_empty(p->g, out, p->info));
    for (;;) {
        grammar_parse_blanks(p, p->depth > 0);
        TRY(grammar_parse_element(p, &piece, &any));
        if (!any) {
            return ERR_OK;
        }
        TRY(grammar_parse_repeats(p, &piece));
        p->g->steps[out->last].next = piece.first;
        out->last = piece.last;
    }
}

/* A "|" on a later line goes on with the rule. */
static bool grammar_parse_bar(struct grammar_parse *p)
{
    size_t before = p->pos;
    grammar_parse_blanks(p, true);
    if (grammar_parse_take(p, '|')) {
        grammar_parse_blanks(p, true);
        return true;
    }
    p->pos = before;
    return false;
}

static err grammar_parse_alternatives(struct grammar_parse *p, struct grammar_piece *out)
{
    struct grammar_piece more;
    TRY(grammar_parse_sequence(p, out));
    while (grammar_parse_bar(p)) {
        TRY(grammar_parse_sequence(p, &more));
        TRY(grammar_either(p->g, out, more, p->info));
    }
    return ERR_OK;
}

static err grammar_parse_rule(struct grammar_parse *p)
{
    struct grammar_piece body;
    uint32_t rule, end;
    size_t at = p->pos;
    TRY(grammar_parse_name(p, "the name of a rule", &rule));
    if (p->rules[rule].defined_at != SIZE_MAX) {
        return grammar_parse_rule_error(p, at, &p->rules[rule], "has a definition already");
    }
    grammar_parse_blanks(p, false);
    if (p->len - p->pos < 3 || memcmp(p->text + p->pos, "::=", 3) != 0) {
        return grammar_parse_expected(p, p->pos, "\"::=\"");
    }
    p->pos += 3;
    p->rules[rule].defined_at = at;
    size_t before = p->pos;
    grammar_parse_blanks(p, true);
    size_t first = p->pos; /* "a ::=" at the end of a line, and then another rule: a is empty */
    while (p->pos < p->len && grammar_parse_is_name(p->text[p->pos])) {
        p->pos++;
    }
    grammar_parse_blanks(p, false);
    bool other = p->len - p->pos >= 3 && memcmp(p->text + p->pos, "::=", 3) == 0;
    p->pos = other ? before : first;
    TRY(grammar_parse_alternatives(p, &body));
    grammar_parse_blanks(p, false);
    if (p->pos < p->len && grammar_parse_peek(p) != '\n' && grammar_parse_peek(p) != '\r') {
        return grammar_parse_expected(p, p->pos, "a literal, a class, a rule, a group, \"|\" or the end of "
                                                 "the line");
    }
    TRY(grammar_add(p->g, (struct grammar_step){.op = GRAMMAR_RETURN}, &end, p->info));
    p->g->steps[p->rules[rule].step].next = body.first;
    p->g->steps[body.last].next = end;
    return ERR_OK;
}

/* ---- the whole ---- */

static err grammar_parse_defined(const struct grammar_parse *p)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        const struct grammar_parse_rule *r = &p->rules[i];
        if (r->defined_at == SIZE_MAX) {
            return grammar_parse_rule_error(p, r->used_at, r, "is used and not defined");
        }
    }
    return ERR_OK;
}

static err grammar_parse_left(const struct grammar_parse *p)
{
    uint32_t call;
    TRY(grammar_check_left(p->g, &call, p->info));
    if (call == GRAMMAR_OPEN) {
        return ERR_OK;
    }
    const struct grammar_parse_rule *r = p->rules;
    while (r->step != p->g->steps[call].other) {
        r++;
    }
    return grammar_parse_rule_error(p, r->defined_at, r, "comes to itself again before any character (left "
                                    "recursion); put a character first or write x* instead");
}

static err grammar_parse_ends(const struct grammar_parse *p)
{
    bool *done = mem_calloc(p->g->n_steps, sizeof *done);
    if (!done) {
        return err_set(p->info, ERR_NOMEM, "out of memory for checking a grammar");
    }
    err e = grammar_check_ends(p->g, true, done, p->info);
    for (size_t i = 0; i < p->n_rules && e == ERR_OK; i++) {
        if (!done[p->rules[i].step]) {
            e = grammar_parse_rule_error(p, p->rules[i].defined_at, &p->rules[i],
                                         "has no end: it always needs itself again");
        }
    }
    mem_free(done);
    return e;
}

/* No way leads to an empty step any more; bytes are sorted into classes. From the last step to the first:
 * empty steps lead forward, so that each is passed over once. */
static void grammar_parse_finish(struct grammar *g)
{
    bool first[257] = {true};
    for (size_t i = g->n_steps; i-- > 0;) {
        struct grammar_step *s = &g->steps[i];
        while (s->op != GRAMMAR_RETURN && grammar_is_empty(&g->steps[s->next])) {
            s->next = g->steps[s->next].next;
        }
        while ((s->op == GRAMMAR_SPLIT || s->op == GRAMMAR_CALL) && grammar_is_empty(&g->steps[s->other])) {
            s->other = g->steps[s->other].next;
        }
        if (s->op == GRAMMAR_BYTES) {
            first[s->low] = first[s->high + 1] = true;
        }
    }
    for (size_t b = 0; b < 256; b++) {
        g->n_classes += first[b];
        g->classes[b] = (uint8_t)(g->n_classes - 1);
    }
}

static err grammar_parse_all(struct grammar_parse *p)
{
    grammar_parse_blanks(p, true);
    while (p->pos < p->len) {
        TRY(grammar_parse_rule(p));
        grammar_parse_blanks(p, true);
    }
    TRY(grammar_parse_room(p));
    uint32_t root = *grammar_parse_slot(p, "root", 4);
    if (root == 0) {
        return grammar_parse_at(p, p->len, ERR_ARGUMENT, "there is no rule \"root\", where every text begins");
    }
    TRY(grammar_parse_defined(p));
    TRY(grammar_parse_left(p));
    TRY(grammar_parse_ends(p));
    grammar_parse_finish(p->g);
    p->g->root = p->g->steps[p->rules[root - 1].step].next;
    return ERR_OK;
}

err grammar_parse_text(struct grammar *g, const char *text, size_t len, struct errinfo *info)
{
    struct grammar_parse p = {.text = text, .len = len, .g = g, .info = info};
    err e = grammar_parse_all(&p);
    mem_free(p.rules);
    mem_free(p.table);
    return e;
}
