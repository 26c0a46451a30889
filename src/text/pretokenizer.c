/* text/pretokenizer.c: see pretokenizer.h. A matcher looks at one position and returns where the match
 * ends, or the position itself for none and where to look next in *next. Alternatives are tried in the
 * order of the expression, the first that matches wins. */
#include "text/pretokenizer.h"

#include <stdint.h>

#include "text/unicodeclass.h"
#include "text/utf8.h"

struct pretokenizer_range {
    uint32_t first, last;
};

/* The letters of deepseek-llm. */
static const struct pretokenizer_range pretokenizer_letters[] = {
    {0x41, 0x5a}, {0x61, 0x7a}, {0xb5, 0xb5}, {0xc0, 0xd6},
    {0xd8, 0xf6}, {0xf8, 0x1ba}, {0x1bc, 0x1bf}, {0x1c4, 0x293},
    {0x295, 0x2af}, {0x370, 0x373}, {0x376, 0x376}, {0x377, 0x377},
    {0x37b, 0x37d}, {0x37f, 0x37f}, {0x386, 0x386}, {0x388, 0x38a},
    {0x38c, 0x38c}, {0x38e, 0x3a1}, {0x3a3, 0x3f5}, {0x3f7, 0x481},
    {0x48a, 0x52f}, {0x531, 0x556}, {0x10a0, 0x10c5}, {0x13a0, 0x13f5},
    {0x13f8, 0x13fd}, {0x1c90, 0x1cba}, {0x1cbd, 0x1cbf}, {0x1d00, 0x1d2b},
    {0x1d6b, 0x1d77}, {0x1d79, 0x1d9a}, {0x1e00, 0x1f15}, {0x1f18, 0x1f1d},
    {0x1f20, 0x1f45}, {0x1f48, 0x1f4d}, {0x1f50, 0x1f57}, {0x1f59, 0x1f59},
    {0x1f5b, 0x1f5b}, {0x1f5d, 0x1f5d}, {0x1f5f, 0x1f7d}, {0x1f80, 0x1fb4},
    {0x1fb6, 0x1fbc}, {0x1fbe, 0x1fbe}, {0x1fc2, 0x1fc4}, {0x1fc6, 0x1fcc},
    {0x1fd0, 0x1fd3}, {0x1fd6, 0x1fdb}, {0x1fe0, 0x1fec}, {0x1ff2, 0x1ff4},
    {0x1ff6, 0x1ffc}, {0x2102, 0x2102}, {0x2107, 0x2107}, {0x210a, 0x2113},
    {0x2115, 0x2115}, {0x2119, 0x211d}, {0x2124, 0x2124}, {0x2126, 0x2126},
    {0x2128, 0x2128}, {0x212a, 0x212d}, {0x212f, 0x2134}, {0x2139, 0x2139},
    {0x213c, 0x213f}, {0x2145, 0x2149}, {0x214e, 0x214e}, {0x2183, 0x2183},
    {0x2184, 0x2184}, {0x2c00, 0x2c7b}, {0x2c7e, 0x2ce4}, {0x2ceb, 0x2cee},
    {0x2cf2, 0x2cf2}, {0x2cf3, 0x2cf3}, {0xa640, 0xa66d}, {0xa680, 0xa69b},
    {0xa722, 0xa76f}, {0xa771, 0xa787}, {0xa78b, 0xa78e}, {0xab70, 0xabbf},
    {0xfb00, 0xfb06}, {0xfb13, 0xfb17}, {0xff21, 0xff3a}, {0xff41, 0xff5a},
    {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb}, {0x10c80, 0x10cb2},
    {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943},
};

/* The ASCII and full-width punctuation of deepseek-llm. */
static const struct pretokenizer_range pretokenizer_marks[] = {
    {0x21, 0x2f},     {0x3a, 0x7e},     {0x2018, 0x201f},
    {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e},
};

/* East Asian text in deepseek-llm and deepseek-coder, and in deepseek-v3. */
static const struct pretokenizer_range pretokenizer_asian[] = {{0x800, 0x9fa5}, {0xac00, 0xd7ff}};
static const struct pretokenizer_range pretokenizer_cjk[] = {{0x3040, 0x30ff}, {0x4e00, 0x9fa5}};

struct pretokenizer_step;
typedef size_t (*pretokenizer_match)(const struct pretokenizer_step *step, const char *text,
                                     size_t pos, size_t end, size_t *next);
struct pretokenizer_step {
    pretokenizer_match match;
    const struct pretokenizer_range *ranges; /* sorted; or */
    size_t n_ranges;
    enum unicodeclass cls; /* a class when there are no ranges */
    size_t digits_max;     /* longest run of numbers, 0 for no limit */
    bool any_case;         /* contractions match in any case */
};

/* The character at pos: its class and the position after it. */
static inline enum unicodeclass pretokenizer_at(const char *text, size_t pos, size_t *next)
{
    size_t n = utf8_step(text[pos]);
    *next = pos + n;
    return unicodeclass_of(utf8_point(text + pos, n));
}

static bool pretokenizer_in_step(const struct pretokenizer_step *step, const char *text, size_t pos,
                                 size_t *next)
{
    size_t n = utf8_step(text[pos]);
    uint32_t point = utf8_point(text + pos, n);
    *next = pos + n;
    if (!step->ranges) {
        return unicodeclass_of(point) == step->cls;
    }
    if (point < step->ranges[0].first) { /* most of most text */
        return false;
    }
    size_t low = 0, high = step->n_ranges;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (step->ranges[middle].last < point) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < step->n_ranges && step->ranges[low].first <= point;
}

/* End of the run of the step's characters that begins at pos. */
static size_t pretokenizer_run(const struct pretokenizer_step *step, const char *text, size_t pos,
                               size_t end)
{
    size_t next;
    while (pos < end && pretokenizer_in_step(step, text, pos, &next)) {
        pos = next;
    }
    return pos;
}

static size_t pretokenizer_class_run(enum unicodeclass cls, const char *text, size_t pos, size_t end)
{
    size_t next;
    while (pos < end && pretokenizer_at(text, pos, &next) == cls) {
        pos = next;
    }
    return pos;
}

static bool pretokenizer_newline(char c)
{
    return c == '\n' || c == '\r';
}

static size_t pretokenizer_newlines(const char *text, size_t pos, size_t end)
{
    while (pos < end && pretokenizer_newline(text[pos])) {
        pos++;
    }
    return pos;
}

/* [\r\n] */
static size_t pretokenizer_match_newline(const struct pretokenizer_step *step, const char *text,
                                         size_t pos, size_t end, size_t *next)
{
    (void)step;
    (void)end;
    *next = pos + utf8_step(text[pos]);
    return pretokenizer_newline(text[pos]) ? pos + 1 : pos;
}

/* [class]+ */
static size_t pretokenizer_match_run(const struct pretokenizer_step *step, const char *text,
                                     size_t pos, size_t end, size_t *next)
{
    *next = pos + utf8_step(text[pos]);
    return pretokenizer_run(step, text, pos, end);
}

/* \s?[class]+ ; the class may hold a space itself (U+3000). */
static size_t pretokenizer_match_space_run(const struct pretokenizer_step *step, const char *text,
                                           size_t pos, size_t end, size_t *next)
{
    if (pretokenizer_at(text, pos, next) == UNICODECLASS_SPACE) {
        size_t stop = pretokenizer_run(step, text, *next, end);
        if (stop > *next) {
            return stop;
        }
    }
    return pretokenizer_run(step, text, pos, end);
}

/* \s+$ */
static size_t pretokenizer_match_space_end(const struct pretokenizer_step *step, const char *text,
                                           size_t pos, size_t end, size_t *next)
{
    (void)step;
    size_t stop = pretokenizer_class_run(UNICODECLASS_SPACE, text, pos, end);
    *next = stop > pos ? stop : pos + utf8_step(text[pos]);
    return stop == end ? stop : pos;
}

/* \p{N}{1,max} at pos, known to be a number or not. */
static size_t pretokenizer_numbers(const struct pretokenizer_step *step, const char *text, size_t pos,
                                   size_t end)
{
    size_t next;
    for (size_t n = 0; pos < end && (step->digits_max == 0 || n < step->digits_max); n++) {
        if (pretokenizer_at(text, pos, &next) != UNICODECLASS_NUMBER) {
            break;
        }
        pos = next;
    }
    return pos;
}

static size_t pretokenizer_match_numbers(const struct pretokenizer_step *step, const char *text,
                                         size_t pos, size_t end, size_t *next)
{
    *next = pos + utf8_step(text[pos]);
    return pretokenizer_numbers(step, text, pos, end);
}

/* What all word expressions do with the whitespace that begins at pos:
 * \s*[\r\n]+ (with `newlines`), \s+(?!\S), \s+ */
static size_t pretokenizer_space(const char *text, size_t pos, size_t end, bool newlines)
{
    size_t stop = pos, last = pos, after_newline = pos, next;
    while (stop < end && pretokenizer_at(text, stop, &next) == UNICODECLASS_SPACE) {
        if (pretokenizer_newline(text[stop])) {
            after_newline = next;
        }
        last = stop;
        stop = next;
    }
    if (newlines && after_newline > pos) {
        return after_newline;
    }
    return stop == end || last == pos ? stop : last;
}

static bool pretokenizer_ascii_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* ASCII punctuation and symbols: 21-2F 3A-40 5B-60 7B-7E. */
static bool pretokenizer_ascii_mark(char c)
{
    return c > ' ' && c < 0x7f && !pretokenizer_ascii_letter(c) && !(c >= '0' && c <= '9');
}

static bool pretokenizer_is_word(enum unicodeclass cls)
{
    return cls == UNICODECLASS_LETTER || cls == UNICODECLASS_MARK;
}

static size_t pretokenizer_word(const char *text, size_t pos, size_t end)
{
    size_t next;
    while (pos < end && pretokenizer_is_word(pretokenizer_at(text, pos, &next))) {
        pos = next;
    }
    return pos;
}

static bool pretokenizer_is_sign(enum unicodeclass cls)
{
    return cls == UNICODECLASS_PUNCT || cls == UNICODECLASS_SYMBOL;
}

/* The third expression of deepseek-v3. */
static size_t pretokenizer_match_deepseek(const struct pretokenizer_step *step, const char *text,
                                          size_t pos, size_t end, size_t *next)
{
    (void)step;
    size_t after, p = pos + 1;
    enum unicodeclass cls = pretokenizer_at(text, pos, &after);
    *next = after;
    if (pretokenizer_ascii_mark(text[pos]) && p < end && pretokenizer_ascii_letter(text[p])) {
        while (p < end && pretokenizer_ascii_letter(text[p])) {
            p++;
        }
        return p;
    }
    if (cls != UNICODECLASS_LETTER && !pretokenizer_is_sign(cls) && !pretokenizer_newline(text[pos])) {
        size_t stop = pretokenizer_word(text, after, end);
        if (stop > after) {
            return stop;
        }
    }
    if (pretokenizer_is_word(cls)) {
        return pretokenizer_word(text, pos, end);
    }
    size_t sign = text[pos] == ' ' ? after : pos;
    size_t stop = sign;
    while (stop < end && pretokenizer_is_sign(pretokenizer_at(text, stop, &after))) {
        stop = after;
    }
    if (stop > sign) {
        return pretokenizer_newlines(text, stop, end);
    }
    return pretokenizer_space(text, pos, end, true);
}

/* 's 't 're 've 'm 'll 'd at pos; U+017F is a long s. */
static size_t pretokenizer_contraction(const char *text, size_t pos, size_t end, bool any_case)
{
    if (text[pos] != '\'' || pos + 1 >= end) {
        return pos;
    }
    char lower = any_case ? 0x20 : 0;
    char a = (char)(text[pos + 1] | lower);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return pos + 2;
    }
    if (pos + 2 >= end) {
        return pos;
    }
    if (any_case && text[pos + 1] == '\xc5' && text[pos + 2] == '\xbf') {
        return pos + 3;
    }
    char b = (char)(text[pos + 2] | lower);
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) {
        return pos + 3;
    }
    return pos;
}

/* [^\s\p{L}\p{N}]+ */
static size_t pretokenizer_rest(const char *text, size_t pos, size_t end)
{
    size_t next;
    while (pos < end) {
        enum unicodeclass cls = pretokenizer_at(text, pos, &next);
        if (cls == UNICODECLASS_SPACE || cls == UNICODECLASS_LETTER || cls == UNICODECLASS_NUMBER) {
            break;
        }
        pos = next;
    }
    return pos;
}

/* The expression of qwen2 and llama-bpe, which differ in digits_max. */
static size_t pretokenizer_match_qwen(const struct pretokenizer_step *step, const char *text,
                                      size_t pos, size_t end, size_t *next)
{
    size_t after;
    size_t stop = pretokenizer_contraction(text, pos, end, step->any_case);
    if (stop > pos) {
        return stop;
    }
    enum unicodeclass cls = pretokenizer_at(text, pos, &after);
    *next = after;
    if (cls == UNICODECLASS_LETTER) {
        return pretokenizer_class_run(UNICODECLASS_LETTER, text, pos, end);
    }
    if (cls == UNICODECLASS_NUMBER) {
        return pretokenizer_numbers(step, text, pos, end);
    }
    if (!pretokenizer_newline(text[pos])) {
        stop = pretokenizer_class_run(UNICODECLASS_LETTER, text, after, end);
        if (stop > after) {
            return stop;
        }
    }
    size_t rest = text[pos] == ' ' ? after : pos;
    stop = pretokenizer_rest(text, rest, end);
    if (stop > rest) {
        return pretokenizer_newlines(text, stop, end);
    }
    return pretokenizer_space(text, pos, end, true);
}

/* The expression of GPT-2. */
static size_t pretokenizer_match_gpt2(const struct pretokenizer_step *step, const char *text,
                                      size_t pos, size_t end, size_t *next)
{
    size_t stop = pretokenizer_contraction(text, pos, end, step->any_case);
    if (stop > pos) {
        return stop;
    }
    size_t from = text[pos] == ' ' && pos + 1 < end ? pos + 1 : pos;
    enum unicodeclass cls = pretokenizer_at(text, from, next);
    if (cls == UNICODECLASS_LETTER || cls == UNICODECLASS_NUMBER) {
        return pretokenizer_class_run(cls, text, from, end);
    }
    if (cls != UNICODECLASS_SPACE) {
        return pretokenizer_rest(text, from, end);
    }
    return pretokenizer_space(text, pos, end, false);
}

#define PRETOKENIZER_RANGES(r) .ranges = (r), .n_ranges = sizeof(r) / sizeof(r)[0]
#define PRETOKENIZER_LETTERS                                                                       \
    "\\s?["                                                                                        \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽ" \
    "ᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ί" \
    "ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇ" \
    "Ꞌ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃" \
    "]+"
#define PRETOKENIZER_MARKS "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+"
#define PRETOKENIZER_ASIAN "[一-龥ࠀ-一가-" "\xed\x9f\xbf" "]+"
#define PRETOKENIZER_GPT2                                                                          \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
enum { PRETOKENIZER_STEPS = 6 };

static const struct pretokenizer_plan {
    const char *patterns[PRETOKENIZER_STEPS + 1]; /* NULL after the last */
    struct pretokenizer_step steps[PRETOKENIZER_STEPS];
} pretokenizer_plans[TOKENIZER_PRE_COUNT] = {
    [TOKENIZER_PRE_DEEPSEEK_LLM] = {
        .patterns = {"[\\r\\n]", PRETOKENIZER_LETTERS, PRETOKENIZER_MARKS, "\\s+$",
                     PRETOKENIZER_ASIAN, "\\p{N}+"},
        .steps = {{.match = pretokenizer_match_newline},
                  {.match = pretokenizer_match_space_run, PRETOKENIZER_RANGES(pretokenizer_letters)},
                  {.match = pretokenizer_match_space_run, PRETOKENIZER_RANGES(pretokenizer_marks)},
                  {.match = pretokenizer_match_space_end},
                  {.match = pretokenizer_match_run, PRETOKENIZER_RANGES(pretokenizer_asian)},
                  {.match = pretokenizer_match_numbers}},
    },
    [TOKENIZER_PRE_DEEPSEEK_CODER] = {
        .patterns = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", PRETOKENIZER_ASIAN, "\\p{N}"},
        .steps = {{.match = pretokenizer_match_newline},
                  {.match = pretokenizer_match_space_run, .cls = UNICODECLASS_LETTER},
                  {.match = pretokenizer_match_space_run, .cls = UNICODECLASS_PUNCT},
                  {.match = pretokenizer_match_run, PRETOKENIZER_RANGES(pretokenizer_asian)},
                  {.match = pretokenizer_match_numbers, .digits_max = 1}},
    },
    [TOKENIZER_PRE_DEEPSEEK_V3] = {
        .patterns = {"\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
                     "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
                     "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
                     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        .steps = {{.match = pretokenizer_match_numbers, .digits_max = 3},
                  {.match = pretokenizer_match_run, PRETOKENIZER_RANGES(pretokenizer_cjk)},
                  {.match = pretokenizer_match_deepseek}},
    },
    [TOKENIZER_PRE_QWEN2] = {
        .patterns = {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                     " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        .steps = {{.match = pretokenizer_match_qwen, .digits_max = 1, .any_case = true}},
    },
    [TOKENIZER_PRE_LLAMA_BPE] = {
        .patterns = {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
                     " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        .steps = {{.match = pretokenizer_match_qwen, .digits_max = 3, .any_case = true}},
    },
    [TOKENIZER_PRE_SMOLLM] = {
        .patterns = {"\\p{N}", PRETOKENIZER_GPT2},
        .steps = {{.match = pretokenizer_match_numbers, .digits_max = 1},
                  {.match = pretokenizer_match_gpt2}},
    },
    [TOKENIZER_PRE_GPT2] = {
        .patterns = {PRETOKENIZER_GPT2},
        .steps = {{.match = pretokenizer_match_gpt2}},
    },
};

struct pretokenizer_split {
    const struct pretokenizer_plan *plan;
    const char *text;
    pretokenizer_sink sink;
    void *user;
};

/* Cuts [from, end) by step `k` and the steps after it. */
static err pretokenizer_cut(const struct pretokenizer_split *s, size_t k, size_t from, size_t end)
{
    if (k == PRETOKENIZER_STEPS || !s->plan->patterns[k]) {
        return s->sink(s->user, s->text + from, end - from);
    }
    const struct pretokenizer_step *step = &s->plan->steps[k];
    size_t pos = from;
    while (pos < end) {
        size_t next = pos;
        size_t stop = step->match(step, s->text, pos, end, &next);
        if (stop == pos) {
            pos = next;
            continue;
        }
        if (from < pos) {
            TRY(pretokenizer_cut(s, k + 1, from, pos));
        }
        TRY(pretokenizer_cut(s, k + 1, pos, stop));
        from = pos = stop;
    }
    return from < end ? pretokenizer_cut(s, k + 1, from, end) : ERR_OK;
}

err pretokenizer_split(enum tokenizer_pre pre, const char *text, size_t len, pretokenizer_sink sink,
                       void *user)
{
    struct pretokenizer_split s = {&pretokenizer_plans[pre], text, sink, user};
    return pretokenizer_cut(&s, 0, 0, len);
}

const char *const *pretokenizer_patterns(enum tokenizer_pre pre)
{
    return pretokenizer_plans[pre].patterns;
}
