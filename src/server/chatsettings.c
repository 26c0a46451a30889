/* server/chatsettings.c: see chatsettings.h. */
#include "server/chatsettings.h"

#include "server/openaifields.h"

static const struct fields_row chatsettings_rows[] = {
    OPENAIFIELDS_ROW(temperature, .type = FIELDS_NUMBER, .max = 2),
    OPENAIFIELDS_ROW(top_p, .type = FIELDS_NUMBER, .max = 1),
    OPENAIFIELDS_ROW(min_p, .type = FIELDS_NUMBER, .max = 1),
    OPENAIFIELDS_ROW(top_k, .type = FIELDS_INT, .max = 1 << 20),
    OPENAIFIELDS_ROW(presence_penalty, .type = FIELDS_NUMBER, .min = -2, .max = 2),
    OPENAIFIELDS_ROW(frequency_penalty, .type = FIELDS_NUMBER, .min = -2, .max = 2),
    OPENAIFIELDS_ROW(repetition_penalty, .type = FIELDS_NUMBER, .min = 0.01, .max = 10),
    OPENAIFIELDS_ROW(seed, .type = FIELDS_INT, .min = -0x1p53, .max = 0x1p53),
    OPENAIFIELDS_ROW(max_tokens, .type = FIELDS_INT, .min = 1, .max = 0x1p40),
    OPENAIFIELDS_ROW(stop, .type = FIELDS_ANY),
};

/* Over what the question has. */
static bool chatsettings_read(const json_t *settings, const char *where, struct openaifields *f,
                              struct question *q, struct apierror *e)
{
    char path[FIELDS_PATH];
    f->stop = NULL;
    if (!fields_read(&FIELDS_OF(chatsettings_rows), settings, where, f, NULL, e)) {
        return false;
    }
    if (!f->stop) {
        return true;
    }
    q->n_stop = 0;
    return openaifields_stops(f->stop, fields_path(path, where, "stop"), q, e);
}

bool chatsettings_apply(struct question *q, const json_t *of_chat, const json_t *of_turn, struct apierror *e)
{
    struct openaifields f = openaifields_default(q);
    if ((of_chat && !chatsettings_read(of_chat, "settings", &f, q, e)) ||
        (of_turn && !chatsettings_read(of_turn, "settings", &f, q, e))) {
        return false;
    }
    f.stop = NULL; /* they are in the question */
    return openaifields_apply(&f, q, e);
}

bool chatsettings_check(const json_t *settings, const char *where, struct apierror *e)
{
    struct question q = {.n = 1}; /* nothing of it is allocated for these fields */
    struct openaifields f = openaifields_default(&q);
    return chatsettings_read(settings, where, &f, &q, e);
}

json_t *chatsettings_taken(const json_t *settings, size_t *left_out)
{
    json_t *taken = json_object(), *value;
    const char *name;
    json_object_foreach((json_t *)(uintptr_t)settings, name, value) {
        struct apierror e;
        json_t *one = json_pack("{s:O}", name, value);
        bool good = one && chatsettings_check(one, "settings", &e);
        json_decref(one);
        *left_out += one && !good;
        if (!one || (good && json_object_set(taken, name, value) != 0)) {
            json_decref(taken);
            return NULL;
        }
    }
    return taken;
}
