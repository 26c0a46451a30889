/* server/thinkfields.c: see thinkfields.h. */
#include "server/thinkfields.h"

#include <string.h>

/* What was asked for, and by which field; NULL: by none. */
struct thinkfields_wish {
    const char *field;
    int64_t value;
};

struct thinkfields_wishes {
    struct thinkfields_wish on, effort, budget;
};

static bool thinkfields_wish(struct thinkfields_wish *w, const char *field, int64_t value, struct apierror *e)
{
    if (w->field && w->value != value) {
        return apierror_set(e, 400, "invalid_value", field,
                            "%s and %s mean the same, but say different things; give one", w->field, field);
    }
    *w = (struct thinkfields_wish){w->field ? w->field : field, value};
    return true;
}

static bool thinkfields_switch(struct thinkfields_wishes *w, const char *field, const json_t *value,
                               struct apierror *e)
{
    return !value || (json_is_boolean(value) ? thinkfields_wish(&w->on, field, json_is_true(value), e)
                                             : apierror_set(e, 400, "invalid_type", field,
                                                            "%s is %s; expected true or false", field,
                                                            json_type_name(value)));
}

static bool thinkfields_level(struct thinkfields_wishes *w, const char *field, const char *word,
                              struct apierror *e)
{
    enum chat_thinking think = CHAT_THINKING;
    return !word ||
           (thinkfields_effort(word, field, &think, e) && thinkfields_wish(&w->effort, field, think, e));
}

static bool thinkfields_length(struct thinkfields_wishes *w, const char *field, int64_t budget,
                               struct apierror *e)
{
    return budget == 0 || thinkfields_wish(&w->budget, field, budget, e);
}

bool thinkfields_effort(const char *word, const char *path, enum chat_thinking *out, struct apierror *e)
{
    static const struct {
        const char *word;
        enum chat_thinking think;
    } efforts[] = {{"none", CHAT_NO_THINKING}, {"minimal", CHAT_THINKING_LOW},
                   {"low", CHAT_THINKING_LOW}, {"medium", CHAT_THINKING},
                   {"high", CHAT_THINKING},    {"xhigh", CHAT_THINKING},
                   {"max", CHAT_THINKING_MAX}, {"ultra", CHAT_THINKING_MAX}};
    for (size_t i = 0; i < sizeof efforts / sizeof *efforts; i++) {
        if (strcmp(word, efforts[i].word) == 0) {
            *out = efforts[i].think;
            return true;
        }
    }
    return apierror_set(
        e, 422, "invalid_value", path,
        "%s is \"%.40s\"; expected none, minimal, low, medium, high, xhigh, max or ultra", path,
        word);
}

/* ---- The objects. ---- */

enum { THINKFIELDS_ENABLED, THINKFIELDS_ADAPTIVE, THINKFIELDS_DISABLED };

struct thinkfields_object {
    const json_t *on, *also_on;
    const char *effort;
    int64_t budget;
    int type;
};

#define THINKFIELDS_AT(field) offsetof(struct thinkfields_object, field)
#define THINKFIELDS_BUDGET(name) \
    {name, .type = FIELDS_INT, .offset = THINKFIELDS_AT(budget), .min = 1, .max = 0x1p40}
#define THINKFIELDS_EFFORT(name) {name, .type = FIELDS_STRING, .offset = THINKFIELDS_AT(effort), .max = 32}

static bool thinkfields_thinking(struct thinkfields_wishes *w, const json_t *thinking, struct question *q,
                                 struct apierror *e)
{
    static const char *const types[] = {"enabled", "adaptive", "disabled", NULL};
    static const struct fields_row rows[] = {
        {"type", .type = FIELDS_WORD, .offset = THINKFIELDS_AT(type), .words = types, .required = true},
        THINKFIELDS_BUDGET("budget_tokens"),
    };
    struct thinkfields_object o = {0};
    return !thinking || (fields_read(&FIELDS_OF(rows), thinking, "thinking", &o, &q->unknown, e) &&
                         thinkfields_wish(&w->on, "thinking", o.type != THINKFIELDS_DISABLED, e) &&
                         thinkfields_length(w, "thinking.budget_tokens", o.budget, e));
}

static bool thinkfields_reasoning(struct thinkfields_wishes *w, const json_t *reasoning, struct question *q,
                                  struct apierror *e)
{
    static const struct fields_row rows[] = {
        {"enabled", .type = FIELDS_ANY, .offset = THINKFIELDS_AT(on)},
        THINKFIELDS_EFFORT("effort"),
        THINKFIELDS_BUDGET("max_tokens"),
        {"exclude", .type = FIELDS_REFUSED, .why = "reasoning always comes, apart from the content"},
    };
    struct thinkfields_object o = {0};
    return !reasoning || (fields_read(&FIELDS_OF(rows), reasoning, "reasoning", &o, &q->unknown, e) &&
                          thinkfields_switch(w, "reasoning.enabled", o.on, e) &&
                          thinkfields_level(w, "reasoning.effort", o.effort, e) &&
                          thinkfields_length(w, "reasoning.max_tokens", o.budget, e));
}

static bool thinkfields_template(struct thinkfields_wishes *w, const json_t *arguments, struct apierror *e)
{
    static const struct fields_row rows[] = {
        {"thinking", .type = FIELDS_ANY, .offset = THINKFIELDS_AT(on)},
        {"enable_thinking", .type = FIELDS_ANY, .offset = THINKFIELDS_AT(also_on)},
        THINKFIELDS_EFFORT("reasoning_effort"),
    };
    struct thinkfields_object o = {0};
    return !arguments ||
           (fields_read(&FIELDS_OF(rows), arguments, "chat_template_kwargs", &o, NULL, e) &&
            thinkfields_switch(w, "chat_template_kwargs.thinking", o.on, e) &&
            thinkfields_switch(w, "chat_template_kwargs.enable_thinking", o.also_on, e) &&
            thinkfields_level(w, "chat_template_kwargs.reasoning_effort", o.effort, e));
}

static bool thinkfields_ask(const struct thinkfields_wishes *w, struct question *q, struct apierror *e)
{
    enum chat_thinking effort = (enum chat_thinking)w->effort.value;
    bool said = w->on.field && effort == CHAT_NO_THINKING; /* no effort: whether to think, which w->on says */
    if (w->effort.field && !said && !question_think(q, effort, w->effort.field, e)) {
        return false;
    }
    const char *field = w->on.field || w->effort.field ? w->on.field : w->budget.field;
    bool off = w->on.field && !w->on.value;
    enum chat_thinking on = q->think == CHAT_NO_THINKING ? CHAT_THINKING : q->think;
    q->think_tokens = (size_t)w->budget.value;
    return !field || question_think(q, off ? CHAT_NO_THINKING : on, field, e);
}

bool thinkfields_apply(const struct thinkfields *f, struct question *q, struct apierror *e)
{
    struct thinkfields_wishes w = {0};
    return thinkfields_thinking(&w, f->thinking, q, e) &&
           thinkfields_level(&w, "reasoning_effort", f->reasoning_effort, e) &&
           thinkfields_reasoning(&w, f->reasoning, q, e) &&
           thinkfields_switch(&w, "enable_thinking", f->enable_thinking, e) &&
           thinkfields_length(&w, "thinking_budget", f->thinking_budget, e) &&
           thinkfields_template(&w, f->chat_template_kwargs, e) && thinkfields_ask(&w, q, e);
}
