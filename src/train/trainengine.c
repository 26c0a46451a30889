/* train/trainengine.c: see trainengine.h. */
#include "train/trainengine.h"

#include "base/mem.h"
#include "model/model.h"

struct trainengine {
    struct trainer *trainer;
    struct tensortable *table;
    struct model *model;
    struct engine *engine;
};

static err trainengine_make(struct trainengine *e, struct errinfo *info)
{
    struct trainer *t = e->trainer;
    const struct engine_options o = {.n_threads = t->compute->n_threads, .kv_type = "f32"};
    TRY(learnparams_table(learnmodel_params(t->model), &e->table, info));
    TRY(model_from_tensors(&t->recipe->config, e->table, &e->model, info));
    model_lend_tokenizer(e->model, t->tokenizer);
    return engine_new(e->model, &o, &e->engine, info);
}

err trainengine_open(struct trainer *t, struct trainengine **out, struct errinfo *info)
{
    struct trainengine *e = mem_calloc(1, sizeof *e);
    if (!e) {
        return err_set(info, ERR_NOMEM, "out of memory making an engine");
    }
    e->trainer = t;
    if (t->ema) {
        ema_swap(t->ema);
    }
    err result = trainengine_make(e, info);
    if (result != ERR_OK) {
        trainengine_close(e);
        return result;
    }
    *out = e;
    return ERR_OK;
}

void trainengine_close(struct trainengine *e)
{
    if (e) {
        engine_close(e->engine);
        model_close(e->model);
        tensortable_free(e->table);
        if (e->trainer->ema) {
            ema_swap(e->trainer->ema);
        }
        mem_free(e);
    }
}

struct engine *trainengine_engine(const struct trainengine *e)
{
    return e->engine;
}

struct trainengine_text {
    struct strbuf *out;
    bool (*go_on)(void *user);
    void *user;
    struct errinfo *info;
    err result;
};

static bool trainengine_take(void *user, const struct session_token *token)
{
    struct trainengine_text *t = user;
    if (strbuf_append(t->out, token->text, token->text_len) != ERR_OK) {
        t->result = err_set(t->info, ERR_NOMEM, "out of memory for a sample");
    } else if (t->go_on && !t->go_on(t->user)) {
        t->result = err_set(t->info, ERR_CANCELLED, "stopped while writing a sample");
    }
    return t->result == ERR_OK;
}

err trainengine_sample(const struct trainengine *e, const char *prompt, size_t n, bool (*go_on)(void *user),
                       void *user, struct strbuf *out, struct errinfo *info)
{
    const struct sampling sampling = {.temperature = 0.8f, .top_p = 0.95f, .seed = 1};
    const struct generate_options o = {.max_tokens = n, .speculation = SESSION_SPECULATE_OFF};
    struct trainengine_text text = {out, go_on, user, info, ERR_OK};
    struct generate_result result;
    struct session *s;
    TRY(session_new(e->engine, &(struct session_options){0}, &s, info));
    int32_t bos = tokenizer_bos(e->trainer->tokenizer);
    err r = bos >= 0 ? session_append(s, &bos, 1, info) : ERR_OK;
    r = r == ERR_OK ? session_append_text(s, prompt, info) : r;
    r = r == ERR_OK ? session_generate(s, &sampling, &o, trainengine_take, &text, &result, info) : r;
    session_free(s);
    return r == ERR_OK ? text.result : r;
}
