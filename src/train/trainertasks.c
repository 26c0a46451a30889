/* train/trainertasks.c: see trainertasks.h. */
#include "train/trainertasks.h"

#include "base/mem.h"

enum { TRAINERTASKS_ANSWER = 48 };

struct trainertasks {
    const char *names[TRAINERTASKS_MAX];
    struct evaltask *tasks[TRAINERTASKS_MAX];
    size_t n;
    enum chat_format format;
};

err trainertasks_open(const struct trainrecipe *r, struct trainertasks **out, struct errinfo *info)
{
    const char *name;
    json_t *path, *all = json_object_get(r->given, "tasks");
    struct trainertasks *t = mem_calloc(1, sizeof *t);
    err e = t ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory for the tasks");
    if (e == ERR_OK && json_object_size(all) > TRAINERTASKS_MAX) {
        e = err_set(info, ERR_ARGUMENT, "%zu tasks in [tasks]; a run has at most %d", json_object_size(all),
                    TRAINERTASKS_MAX);
    }
    if (e == ERR_OK && r->tasks_format[0] && !chat_format_from_name(r->tasks_format, &t->format)) {
        e = err_set(info, ERR_ARGUMENT, "run.tasks_format is %s; no such chat format: %s, for example",
                    r->tasks_format, chat_format_name(CHAT_DEEPSEEK_V31));
    }
    json_object_foreach(all, name, path)
    {
        if (e == ERR_OK) {
            t->names[t->n] = name;
            e = evaltask_open(json_string_value(path), &t->tasks[t->n], info);
            t->n += e == ERR_OK;
        }
    }
    if (e != ERR_OK) {
        trainertasks_close(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void trainertasks_close(struct trainertasks *t)
{
    for (size_t i = 0; t && i < t->n; i++) {
        evaltask_close(t->tasks[i]);
    }
    mem_free(t);
}

size_t trainertasks_count(const struct trainertasks *t)
{
    return t->n;
}

const char *trainertasks_name(const struct trainertasks *t, size_t i)
{
    return t->names[i];
}

struct trainertasks_asking {
    bool (*go_on)(void *user);
    void *user;
};

static bool trainertasks_asked(void *user, size_t done, size_t n)
{
    const struct trainertasks_asking *a = user;
    (void)done;
    (void)n;
    return !a->go_on || a->go_on(a->user);
}

err trainertasks_run(const struct trainertasks *t, size_t i, const struct trainengine *e,
                     bool (*go_on)(void *user), void *user, struct evaltask_result *out, struct errinfo *info)
{
    struct trainertasks_asking a = {go_on, user};
    const struct evaltask_options o = {.max_tokens = TRAINERTASKS_ANSWER,
                                       .chat = t->format != CHAT_PLAIN,
                                       .format = t->format,
                                       .asked = trainertasks_asked,
                                       .user = &a};
    return evaltask_run(t->tasks[i], trainengine_engine(e), &o, out, info);
}
