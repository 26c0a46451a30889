/* text/chat_detect.c: which chat format a model was trained on; see chat.h. The template's text says most;
 * what it leaves open the vocabulary answers, and then the guess comes with its doubt. */
#include <string.h>

#include "text/chat.h"
#include "text/chat_marks.h"

static const char chat_detect_bare[] =
    "guessed from the vocabulary, since the files hold no chat template (base models have none)";

struct chat_detect {
    const struct tokenizer *t;
    const char *text; /* of the template */
    size_t len;       /* 0: there is none */
};

static bool chat_detect_has(const struct chat_detect *d, const char *special)
{
    return tokenizer_special(d->t, special) >= 0;
}

static bool chat_detect_says(const struct chat_detect *d, const char *marker)
{
    return d->len > 0 && memmem(d->text, d->len, marker, strlen(marker)) != NULL;
}

static bool chat_detect_is(const struct chat_detect *d, const char *text)
{
    return d->len == strlen(text) && memcmp(d->text, text, d->len) == 0;
}

/* A control token of the vocabulary that the template, where there is one, makes use of. */
static bool chat_detect_uses(const struct chat_detect *d, const char *special)
{
    return chat_detect_has(d, special) && (d->len == 0 || chat_detect_says(d, special));
}

static struct chat_guess chat_detect_sure(enum chat_format f)
{
    return (struct chat_guess){f, NULL};
}

static struct chat_guess chat_detect_bare_deepseek(const struct chat_detect *d, bool distill)
{
    bool thinks = chat_detect_has(d, CHAT_THINK);
    bool searches = chat_detect_has(d, "<｜search▁begin｜>");
    enum chat_format f = !thinks                ? CHAT_DEEPSEEK_V3
                         : distill || !searches ? CHAT_DEEPSEEK_R1
                                                : CHAT_DEEPSEEK_V31;
    return (struct chat_guess){f, chat_detect_bare};
}

/* The DeepSeek formats that mark turns with tokens. V3.2 and V4 come without a template (others wrote
 * some); V4's vocabulary has a token of its own, and its refresh looks the same. Templates from V3.1 on ask
 * a variable whether to think; R1's opens the answer with <think>, its first one did not, but its
 * vocabulary has the token. V3's cuts at </think> too, and its vocabulary knows neither. */
static struct chat_guess chat_detect_deepseek(const struct chat_detect *d)
{
    bool distill = tokenizer_pre_of(d->t) != TOKENIZER_PRE_DEEPSEEK_V3;
    if (tokenizer_pre_of(d->t) == TOKENIZER_PRE_DEEPSEEK_LLM) {
        return chat_detect_sure(CHAT_DEEPSEEK_V25);
    }
    if (chat_detect_says(d, CHAT_DSML "function_calls")) {
        return chat_detect_sure(CHAT_DEEPSEEK_V32);
    }
    if (chat_detect_has(d, CHAT_DSML) || chat_detect_says(d, CHAT_DSML "tool_calls")) {
        return chat_detect_sure(CHAT_DEEPSEEK_V4);
    }
    if (d->len == 0) {
        return chat_detect_bare_deepseek(d, distill);
    }
    if (chat_detect_is(d, chat_template_text())) {
        return chat_detect_sure(CHAT_FATHOM);
    }
    if (chat_detect_says(d, "thinking")) {
        return chat_detect_sure(CHAT_DEEPSEEK_V31);
    }
    if (chat_detect_says(d, CHAT_THINK) || distill) {
        return chat_detect_sure(CHAT_DEEPSEEK_R1);
    }
    if (chat_detect_says(d, CHAT_THINK_END) && chat_detect_has(d, CHAT_THINK)) {
        return (struct chat_guess){CHAT_DEEPSEEK_R1,
                                   "guessed: the template cuts reasoning off but does not begin it; were "
                                   "it a V3 model, deepseek-v3 would be right"};
    }
    return chat_detect_sure(CHAT_DEEPSEEK_V3);
}

static struct chat_guess chat_detect_chatml(const struct chat_detect *d)
{
    static const struct {
        enum chat_format format;
        const char *system;
    } own[] = {{CHAT_SMOLLM2, CHAT_SMOLLM2_SYSTEM},
               {CHAT_QWEN25, CHAT_QWEN25_SYSTEM},
               {CHAT_QWEN2, CHAT_QWEN2_SYSTEM}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (chat_detect_says(d, own[i].system)) {
            return chat_detect_sure(own[i].format);
        }
    }
    bool smol = d->len == 0 && tokenizer_pre_of(d->t) == TOKENIZER_PRE_SMOLLM;
    return (struct chat_guess){smol ? CHAT_SMOLLM2 : CHAT_CHATML, d->len ? NULL : chat_detect_bare};
}

struct chat_guess chat_detect(const struct tokenizer *t, const char *template_text, size_t len)
{
    const struct chat_detect d = {t, template_text, template_text ? len : 0};
    if (chat_detect_uses(&d, CHAT_USER_MARK)) {
        return chat_detect_deepseek(&d);
    }
    if (chat_detect_uses(&d, "<|start_header_id|>")) {
        return (struct chat_guess){CHAT_LLAMA3, d.len ? NULL : chat_detect_bare};
    }
    if (chat_detect_uses(&d, "<|im_start|>")) {
        return chat_detect_chatml(&d);
    }
    if (chat_detect_has(&d, CHAT_EOS) && chat_detect_says(&d, "User: ")) {
        return chat_detect_sure(CHAT_DEEPSEEK_V2);
    }
    return (struct chat_guess){CHAT_PLAIN, d.len ? "the model's own chat template is of a layout unknown "
                                                   "here, so text goes to it as it is"
                                                 : NULL};
}
