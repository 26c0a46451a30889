/* text/schemagrammar_pattern.c: regular expressions as grammars over the characters of a JSON
 * string. Known: ^…$ around the whole, characters, ".", classes, \d \w \s, groups, "|", * + ? {m}
 * {m,} {m,n}. A quote, a backslash and newlines appear in their escaped form; other control
 * characters never. */
#include <string.h>

#include "base/mem.h"
#include "text/grammar_data.h"
#include "text/schemagrammar_data.h"
#include "text/utf8.h"

struct schemagrammar_pattern {
    struct schemagrammar *s;
    const char *text, *at, *end;
    int depth;
    struct strbuf *out;
};

static err schemagrammar_pattern_all(struct schemagrammar_pattern *p);

static err schemagrammar_pattern_refuse(const struct schemagrammar_pattern *p, const char *what)
{
    return schemagrammar_refuse(p->s, ERR_UNSUPPORTED,
                                "\"pattern\", character %zu: %s is not supported",
                                (size_t)(p->at - p->text) + 1, what);
}

/* How a character that must be escaped is spelled in JSON, as GBNF; NULL: as it is, or (controls)
 * not at all. */
static const char *schemagrammar_pattern_escaped(uint32_t c)
{
    switch (c) {
    case '"': return "\"\\\\\\\"\"";
    case '\\': return "\"\\\\\\\\\"";
    case '\n': return "\"\\\\n\"";
    case '\r': return "\"\\\\r\"";
    case '\t': return "\"\\\\t\"";
    default: return NULL;
    }
}

static bool schemagrammar_pattern_holds(const struct grammar_class *c, uint32_t point)
{
    for (size_t i = 0; i < c->n; i++) {
        if (point >= c->ranges[i].low && point <= c->ranges[i].high) {
            return true;
        }
    }
    return false;
}

/* A class as an expression: what needs no escape as a class of GBNF, the rest one by one. */
static err schemagrammar_pattern_class(struct schemagrammar_pattern *p,
                                       const struct grammar_class *c, bool negated)
{
    static const uint32_t special[] = {'"', '\\', '\n', '\r', '\t'};
    const char *bar = "";
    bool open = false;
    TRY(strbuf_puts(p->out, "("));
    if (negated) {
        TRY(strbuf_puts(p->out, "[^\"\\\\\\x00-\\x1f"));
        open = true;
    }
    for (size_t i = 0; i < c->n; i++) {
        uint32_t low = c->ranges[i].low, high = c->ranges[i].high;
        uint32_t cuts[] = {0x20, '"', '"' + 1, '\\', '\\' + 1, 0x110000};
        for (size_t k = 0; k + 1 < sizeof cuts / sizeof *cuts; k += 1) {
            uint32_t a = low > cuts[k] ? low : cuts[k],
                     b = high < cuts[k + 1] - 1 ? high : cuts[k + 1] - 1;
            if (a > b || ((a == '"' || a == '\\') && a == b && !negated)) {
                continue;
            }
            TRY(open ? ERR_OK : strbuf_puts(p->out, "["));
            open = true;
            TRY(strbuf_printf(p->out, "\\U%08X-\\U%08X", (unsigned)a, (unsigned)b));
        }
    }
    if (open) {
        TRY(strbuf_puts(p->out, "]"));
        bar = " | ";
    }
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        if (schemagrammar_pattern_holds(c, special[i]) != negated) {
            TRY(strbuf_printf(p->out, "%s%s", bar, schemagrammar_pattern_escaped(special[i])));
            bar = " | ";
        }
    }
    return *bar ? strbuf_puts(p->out, ")")
                : schemagrammar_pattern_refuse(p, "a class of control characters alone");
}

/* \d \w \s and their opposites into a class; *found false: it is none of them. */
static err schemagrammar_pattern_shorthand(struct schemagrammar_pattern *p, char c,
                                           struct grammar_class *to, bool *found)
{
    static const struct {
        char name;
        struct grammar_range ranges[12];
    } known[] = {{'d', {{'0', '9'}}},
                 {'w', {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
                 {'s',
                  {{'\t', '\r'},
                   {' ', ' '},
                   {0xa0, 0xa0},
                   {0x1680, 0x1680},
                   {0x2000, 0x200a},
                   {0x2028, 0x2029},
                   {0x202f, 0x202f},
                   {0x205f, 0x205f},
                   {0x3000, 0x3000},
                   {0xfeff, 0xfeff}}}};
    *found = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        for (size_t k = 0; known[i].name == c && known[i].ranges[k].high; k++) {
            *found = true;
            TRY(grammar_class_add(to, known[i].ranges[k].low, known[i].ranges[k].high, p->s->info));
        }
    }
    return ERR_OK;
}

/* The character after a backslash. */
static err schemagrammar_pattern_escape(struct schemagrammar_pattern *p, uint32_t *out)
{
    static const char plain[] = "^$.*+?()[]{}|/\\-\"'#@&%!:;,=<>~_ ";
    char c = *p->at;
    if (c == 'n' || c == 'r' || c == 't') {
        *out = c == 'n' ? '\n' : c == 'r' ? '\r' : '\t';
    } else if (c && strchr(plain, c)) {
        *out = (uint32_t)c;
    } else {
        return schemagrammar_pattern_refuse(p, "this escape");
    }
    p->at++;
    return ERR_OK;
}

static err schemagrammar_pattern_character(struct schemagrammar_pattern *p, uint32_t *out)
{
    if (*p->at == '\\') {
        p->at++;
        return schemagrammar_pattern_escape(p, out);
    }
    size_t n = utf8_step(*p->at);
    *out = utf8_point(p->at, n);
    p->at += n;
    return ERR_OK;
}

/* Behind "[". */
static err schemagrammar_pattern_ranges(struct schemagrammar_pattern *p, struct grammar_class *c)
{
    while (p->at < p->end && *p->at != ']') {
        uint32_t low, high;
        bool found = false;
        if (*p->at == '[') {
            return schemagrammar_pattern_refuse(p, "[ inside a class");
        }
        if (*p->at == '\\') {
            TRY(schemagrammar_pattern_shorthand(p, p->at[1], c, &found));
        }
        if (found) {
            p->at += 2;
            continue;
        }
        TRY(schemagrammar_pattern_character(p, &low));
        high = low;
        if (*p->at == '-' && p->at + 1 < p->end && p->at[1] != ']') {
            p->at++;
            if (*p->at == '\\' && strchr("dwsDWS", p->at[1])) {
                return schemagrammar_pattern_refuse(p, "a range to a class");
            }
            TRY(schemagrammar_pattern_character(p, &high));
        }
        if (high < low) {
            return schemagrammar_pattern_refuse(p, "a range that ends before it begins");
        }
        TRY(grammar_class_add(c, low, high, p->s->info));
    }
    if (p->at == p->end || c->n == 0) {
        return schemagrammar_pattern_refuse(p, "an empty class or one without ]");
    }
    p->at++;
    return ERR_OK;
}

static err schemagrammar_pattern_set(struct schemagrammar_pattern *p)
{
    struct grammar_class c = {0};
    bool found = true, negated = false;
    err e = ERR_OK;
    char kind = *p->at++;
    if (kind == '[') {
        negated = *p->at == '^';
        p->at += negated;
        e = schemagrammar_pattern_ranges(p, &c);
    } else if (kind == '.') {
        negated = true;
        e = grammar_class_add(&c, '\n', '\n', p->s->info);
        e = e == ERR_OK ? grammar_class_add(&c, '\r', '\r', p->s->info) : e;
        e = e == ERR_OK ? grammar_class_add(&c, 0x2028, 0x2029, p->s->info) : e;
    } else {
        char name = *p->at;
        negated = name == 'D' || name == 'S';
        e = schemagrammar_pattern_shorthand(p, negated ? (char)(name | 0x20) : name, &c, &found);
        p->at += found;
    }
    if (e == ERR_OK && found) {
        e = schemagrammar_pattern_class(p, &c, negated);
    } else if (e == ERR_OK) { /* a backslash and a character */
        uint32_t point = 0;
        e = schemagrammar_pattern_escape(p, &point);
        e = e == ERR_OK ? grammar_class_add(&c, point, point, p->s->info) : e;
        e = e == ERR_OK ? schemagrammar_pattern_class(p, &c, false) : e;
    }
    mem_free(c.ranges);
    return e;
}

static err schemagrammar_pattern_group(struct schemagrammar_pattern *p)
{
    p->at++;
    if (*p->at == '?') {
        if (p->at[1] != ':') {
            return schemagrammar_pattern_refuse(p, "(? other than (?:");
        }
        p->at += 2;
    }
    if (++p->depth > 24) {
        return schemagrammar_pattern_refuse(p, "a group inside more than 24");
    }
    TRY(strbuf_puts(p->out, "("));
    TRY(schemagrammar_pattern_all(p));
    if (p->at == p->end || *p->at != ')') {
        return schemagrammar_pattern_refuse(p, "a group without )");
    }
    p->at++;
    p->depth--;
    return strbuf_puts(p->out, ")");
}

/* * + ? {…}, and the ? that makes them lazy, which changes no language. */
static err schemagrammar_pattern_times(struct schemagrammar_pattern *p)
{
    const char *start = p->at;
    if (p->at == p->end || !strchr("*+?{", *p->at)) {
        return ERR_OK;
    }
    if (*p->at == '{') {
        size_t digits = strspn(p->at + 1, "0123456789");
        const char *q = p->at + 1 + digits;
        q += *q == ',' ? 1 + strspn(q + 1, "0123456789") : 0;
        if (digits == 0 || *q != '}' || q >= p->end) {
            return schemagrammar_pattern_refuse(p, "{ without a number and }");
        }
        p->at = q;
    }
    p->at++;
    TRY(strbuf_append(p->out, start, (size_t)(p->at - start)));
    p->at += p->at < p->end && *p->at == '?';
    return p->at < p->end && strchr("*+?{", *p->at)
               ? schemagrammar_pattern_refuse(p, "what repeats a repetition")
               : ERR_OK;
}

static err schemagrammar_pattern_atom(struct schemagrammar_pattern *p)
{
    char c = *p->at;
    if (strchr("*+?{}]^$", c)) {
        return schemagrammar_pattern_refuse(p, "this character here");
    }
    TRY(strbuf_puts(p->out, " "));
    if (c == '(') {
        TRY(schemagrammar_pattern_group(p));
    } else if (c == '[' || c == '.' || c == '\\') {
        TRY(schemagrammar_pattern_set(p));
    } else {
        uint32_t point;
        TRY(schemagrammar_pattern_character(p, &point));
        const char *escaped = schemagrammar_pattern_escaped(point);
        if (!escaped && point < 0x20) {
            return schemagrammar_pattern_refuse(p, "a control character");
        }
        TRY(escaped ? strbuf_puts(p->out, escaped)
                    : strbuf_printf(p->out, "[\\U%08X]", (unsigned)point));
    }
    return schemagrammar_pattern_times(p);
}

static err schemagrammar_pattern_all(struct schemagrammar_pattern *p)
{
    TRY(strbuf_puts(p->out, "\"\""));
    while (p->at < p->end && *p->at != ')') {
        if (*p->at == '|') {
            p->at++;
            TRY(strbuf_puts(p->out, " | \"\""));
        } else {
            TRY(schemagrammar_pattern_atom(p));
        }
    }
    return ERR_OK;
}

/* A "|" outside every group, where ^ and $ would hold for one side alone. */
static bool schemagrammar_pattern_split(const char *text)
{
    int groups = 0;
    bool class = false;
    for (const char *p = text; *p; p++) {
        if (*p == '\\' && p[1]) {
            p++;
        } else if (class) {
            class = *p != ']';
        } else {
            class = *p == '[';
            groups += (*p == '(') - (*p == ')');
            if (*p == '|' && groups == 0) {
                return true;
            }
        }
    }
    return false;
}

err schemagrammar_pattern(struct schemagrammar *s, const char *pattern, struct strbuf *out)
{
    size_t n = strlen(pattern), slashes = 0;
    while (n > 1 && slashes < n - 1 && pattern[n - 2 - slashes] == '\\') {
        slashes++;
    }
    if (n < 2 || pattern[0] != '^' || pattern[n - 1] != '$' || slashes % 2 == 1) {
        return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                    "a \"pattern\" that does not begin with ^ and end with $ is "
                                    "not supported");
    }
    if (schemagrammar_pattern_split(pattern)) {
        return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                    "a \"pattern\" with | outside of parentheses is not "
                                    "supported; ^(…|…)$ is");
    }
    struct schemagrammar_pattern p = {s, pattern, pattern + 1, pattern + n - 1, 0, out};
    TRY(strbuf_puts(out, "("));
    TRY(schemagrammar_pattern_all(&p));
    if (p.at != p.end) {
        return schemagrammar_pattern_refuse(&p, "a ) without (");
    }
    return strbuf_puts(out, ")");
}
