/* engine/evaltask.c: see evaltask.h. */
#include "engine/evaltask.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "model/model.h"

enum { EVALTASK_FILE_MAX = 256 << 20, EVALTASK_CHOICES_MAX = 64 };

struct evaltask {
    char *path;
    json_t *items; /* array of checked objects */
};

struct evaltask_asking {
    const struct evaltask *set;
    struct engine *engine;
    struct session *session;
    const struct evaltask_options *options;
    size_t done;
    struct evaltask_result sum;
};

/* ---- reading ---- */

static err evaltask_check(const json_t *item, const char *name, struct errinfo *info)
{
    const char *text;
    const json_t *choices;
    uint64_t answer;
    TRY(json_get_string(item, name, "prompt", &text, info));
    if (!json_object_get(item, "choices")) {
        return json_get_string(item, name, "answer", &text, info);
    }
    TRY(json_get_array(item, name, "choices", &choices, info));
    if (!json_as_u64(json_object_get(item, "answer"), &answer)) {
        return err_set(info, ERR_CORRUPT,
                       "%s: \"answer\" is %s; with choices it is the number of the right one, counted "
                       "from 0",
                       name, json_type_name(json_object_get(item, "answer")));
    }
    size_t n = json_array_size(choices);
    if (n < 2 || n > EVALTASK_CHOICES_MAX || answer >= n) {
        return err_set(info, ERR_CORRUPT,
                       "%s: %zu choices and answer %llu; 2 to %d choices are expected and an answer "
                       "counted from 0",
                       name, n, (unsigned long long)answer, EVALTASK_CHOICES_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        const char *choice = json_string_value(json_array_get(choices, i));
        if (!choice || choice[0] == '\0') {
            return err_set(info, ERR_CORRUPT, "%s: choice %zu is not a text", name, i);
        }
    }
    return ERR_OK;
}

static err evaltask_parse(struct evaltask *t, const char *data, size_t size, struct errinfo *info)
{
    size_t line = 1;
    char name[300];
    for (size_t at = 0; at < size; line++) {
        const char *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) - at : size - at;
        json_t *item;
        if (strspn(data + at, " \t\r") < len) {
            snprintf(name, sizeof name, "%.200s line %zu", t->path, line);
            TRY(json_parse_line(data + at, len, name, &item, info));
            err e = evaltask_check(item, name, info);
            if (json_array_append_new(t->items, item) != 0 && e == ERR_OK) {
                e = err_set(info, ERR_NOMEM, "out of memory at %s", name);
            }
            TRY(e);
        }
        at += len + 1;
    }
    return json_array_size(t->items) > 0
               ? ERR_OK
               : err_set(info, ERR_CORRUPT, "%s holds no questions", t->path);
}

static err evaltask_read(struct evaltask *t, struct errinfo *info)
{
    char *data;
    size_t size;
    TRY(file_read(t->path, EVALTASK_FILE_MAX, &data, &size, info));
    t->items = json_array();
    err e = t->items ? evaltask_parse(t, data, size, info)
                     : err_set(info, ERR_NOMEM, "out of memory for %s", t->path);
    mem_free(data);
    return e;
}

/* ---- asking ---- */

static bool evaltask_goes_on(const struct evaltask_asking *t)
{
    const struct evaltask_options *o = t->options;
    return !o->asked || o->asked(o->user, t->done, json_array_size(t->set->items));
}

/* Puts ids into the session, keeping what it already holds of them. */
static err evaltask_put(struct session *s, const struct tokenizer_ids *ids, size_t n,
                        struct errinfo *info)
{
    size_t common = 0;
    while (common < n && common < session_length(s) && session_tokens(s)[common] == ids->data[common]) {
        common++;
    }
    TRY(session_rewind(s, common, info));
    return session_append(s, ids->data + common, n - common, info);
}

/* Ids of prompt and choice (NULL: none) as one text. */
static err evaltask_encode(const struct tokenizer *t, const char *prompt, const char *choice,
                           struct tokenizer_ids *ids, struct errinfo *info)
{
    struct strbuf text = {0};
    err e = strbuf_puts(&text, prompt);
    if (e == ERR_OK && choice) {
        e = strbuf_puts(&text, choice);
    }
    if (e == ERR_OK && tokenizer_add_bos(t) && tokenizer_bos(t) >= 0) {
        e = tokenizer_ids_push(ids, tokenizer_bos(t));
    }
    if (e == ERR_OK) {
        e = tokenizer_encode(t, text.data, text.len, false, ids, info);
    } else {
        e = err_set(info, e, "out of memory for a prompt");
    }
    strbuf_deinit(&text);
    return e;
}

/* Log-likelihood of the tokens in which prompt + choice differs from the prompt alone. */
static err evaltask_likelihood(struct evaltask_asking *t, const struct tokenizer_ids *prompt,
                               const struct tokenizer_ids *all, double *out, struct errinfo *info)
{
    size_t shared = 0;
    while (shared < prompt->len && shared < all->len && prompt->data[shared] == all->data[shared]) {
        shared++;
    }
    shared = shared == all->len ? shared - 1 : shared;
    float *scores = mem_calloc(all->len, sizeof *scores);
    if (!scores) {
        return err_set(info, ERR_NOMEM, "out of memory for %zu scores", all->len);
    }
    err e = evaltask_put(t->session, all, shared, info);
    if (e == ERR_OK) {
        e = session_prefill(t->session, NULL, NULL, info);
    }
    if (e == ERR_OK) {
        e = session_append(t->session, all->data + shared, all->len - shared, info);
    }
    if (e == ERR_OK) {
        e = session_score(t->session, scores, NULL, NULL, info);
    }
    *out = 0;
    for (size_t i = 0; e == ERR_OK && i < all->len - shared; i++) {
        *out += (double)scores[i];
    }
    mem_free(scores);
    return e;
}

static err evaltask_choose(struct evaltask_asking *t, const char *prompt, const json_t *choices,
                           size_t answer, struct errinfo *info)
{
    const struct tokenizer *tokens = engine_tokenizer(t->engine);
    struct tokenizer_ids head = {0};
    size_t best = 0, best_per_byte = 0;
    double top = 0, top_per_byte = 0;
    err e = evaltask_encode(tokens, prompt, NULL, &head, info);
    for (size_t i = 0; e == ERR_OK && i < json_array_size(choices); i++) {
        struct tokenizer_ids all = {0};
        const char *choice = json_string_value(json_array_get(choices, i));
        double sum = 0;
        e = evaltask_encode(tokens, prompt, choice, &all, info);
        if (e == ERR_OK) {
            e = evaltask_likelihood(t, &head, &all, &sum, info);
        }
        double per_byte = sum / (double)strlen(choice);
        if (i == 0 || sum > top) {
            top = sum;
            best = i;
        }
        if (i == 0 || per_byte > top_per_byte) {
            top_per_byte = per_byte;
            best_per_byte = i;
        }
        tokenizer_ids_deinit(&all);
    }
    tokenizer_ids_deinit(&head);
    t->sum.right += e == ERR_OK && best == answer;
    t->sum.exact += e == ERR_OK && best_per_byte == answer;
    return e;
}

struct evaltask_text {
    const struct evaltask_asking *task;
    struct strbuf text;
    err failed;
};

static bool evaltask_collect(void *user, const struct session_token *token)
{
    struct evaltask_text *k = user;
    k->failed = strbuf_append(&k->text, token->text, token->text_len);
    return k->failed == ERR_OK && evaltask_goes_on(k->task);
}

static err evaltask_prompt(struct evaltask_asking *t, const char *prompt, struct tokenizer_ids *ids,
                           struct errinfo *info)
{
    const struct tokenizer *tokens = engine_tokenizer(t->engine);
    enum chat_format f = t->options->format;
    if (!t->options->chat || f == CHAT_PLAIN) {
        return evaltask_encode(tokens, prompt, NULL, ids, info);
    }
    const struct chat_message message = {.role = CHAT_USER, .content = prompt};
    return chat_encode(tokens, f, &message, 1, false, ids, info);
}

/* Without the white space around it. */
static const char *evaltask_trim(const char *text, size_t *len)
{
    size_t start = strspn(text, " \t\r\n");
    while (*len > start && strchr(" \t\r\n", text[*len - 1])) {
        (*len)--;
    }
    *len -= start < *len ? start : *len;
    return text + start;
}

static err evaltask_generate(struct evaltask_asking *t, const char *prompt, const char *answer,
                             struct errinfo *info)
{
    const struct tokenizer *tokens = engine_tokenizer(t->engine);
    struct tokenizer_ids ids = {0};
    struct evaltask_text got = {.task = t};
    int32_t stop_ids[CHAT_STOP_MAX];
    err e = evaltask_prompt(t, prompt, &ids, info);
    if (e == ERR_OK) {
        e = evaltask_put(t->session, &ids, ids.len, info);
    }
    if (e == ERR_OK) {
        const struct generate_options o = {.max_tokens = t->options->max_tokens,
                                           .stop_ids = stop_ids,
                                           .n_stop_ids = chat_stop_ids(tokens, t->options->format, stop_ids)};
        e = session_generate(t->session, NULL, &o, evaltask_collect, &got, NULL, info);
    }
    if (e == ERR_OK && got.failed != ERR_OK) {
        e = err_set(info, got.failed, "out of memory for an answer");
    }
    if (e == ERR_OK) {
        size_t len = got.text.len;
        const char *text = evaltask_trim(got.text.data ? got.text.data : "", &len);
        t->sum.right += memmem(text, len, answer, strlen(answer)) != NULL;
        t->sum.exact += len == strlen(answer) && memcmp(text, answer, len) == 0;
    }
    strbuf_deinit(&got.text);
    tokenizer_ids_deinit(&ids);
    return e;
}

static err evaltask_ask(struct evaltask_asking *t, const json_t *item, struct errinfo *info)
{
    const char *prompt = json_string_value(json_object_get(item, "prompt"));
    const json_t *choices = json_object_get(item, "choices");
    const json_t *answer = json_object_get(item, "answer");
    uint64_t index;
    if (choices && json_as_u64(answer, &index)) {
        return evaltask_choose(t, prompt, choices, (size_t)index, info);
    }
    return evaltask_generate(t, prompt, json_string_value(answer), info);
}

static err evaltask_all(struct evaltask_asking *t, struct errinfo *info)
{
    const struct session_options options = {.context = t->options->context};
    TRY(session_new(t->engine, &options, &t->session, info));
    size_t n = json_array_size(t->set->items);
    for (t->done = 0; t->done < n; t->done++) {
        bool on = evaltask_goes_on(t);
        TRY(on ? evaltask_ask(t, json_array_get(t->set->items, t->done), info) : ERR_OK);
        if (!on || !evaltask_goes_on(t)) {
            return err_set(info, ERR_CANCELLED, "stopped after %zu of %zu questions", t->done, n);
        }
    }
    t->sum.items = n;
    return ERR_OK;
}

err evaltask_open(const char *path, struct evaltask **out, struct errinfo *info)
{
    struct evaltask *t = mem_calloc(1, sizeof *t);
    size_t len = strlen(path) + 1;
    if (!t || !(t->path = mem_alloc(len))) {
        mem_free(t);
        return err_set(info, ERR_NOMEM, "out of memory for %s", path);
    }
    memcpy(t->path, path, len);
    err e = evaltask_read(t, info);
    if (e != ERR_OK) {
        evaltask_close(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void evaltask_close(struct evaltask *t)
{
    if (t) {
        json_decref(t->items);
        mem_free(t->path);
        mem_free(t);
    }
}

err evaltask_run(const struct evaltask *set, struct engine *e, const struct evaltask_options *options,
                 struct evaltask_result *out, struct errinfo *info)
{
    struct evaltask_asking t = {.set = set, .engine = e, .options = options};
    err result = evaltask_all(&t, info);
    session_free(t.session);
    if (result == ERR_OK) {
        *out = t.sum;
    }
    return result;
}
