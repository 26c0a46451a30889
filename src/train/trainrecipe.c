/* train/trainrecipe.c: see trainrecipe.h. The file is read with inih; what a key means stands in one table. */
#include "train/trainrecipe.h"

#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/hfconfig.h"
#include "text/utf8.h"

enum { TRAINRECIPE_LINE = INI_MAX_LINE - 2 };

/* ---- The table of keys. ---- */

enum trainrecipe_type { TRAINRECIPE_COUNT, TRAINRECIPE_REAL, TRAINRECIPE_WORD, TRAINRECIPE_STRING };

struct trainrecipe_key {
    const char *section, *name;
    enum trainrecipe_type type;
    size_t offset;
    double least, most, otherwise; /* otherwise: the default; for words: its number */
    const char *const *words;
    const char *help;
};

static const char *const trainrecipe_no_yes[] = {"no", "yes", NULL};
static const char *const trainrecipe_optimizers[] = {"adamw", "muon", NULL};
static const char *const trainrecipe_shapes[] = {"linear", "cosine", "root", NULL};

#define COUNT(section, name, field, least, most, otherwise, help) \
    {section, name, TRAINRECIPE_COUNT, offsetof(struct trainrecipe, field), least, most, otherwise, NULL, \
     help}
#define REAL(section, name, field, least, most, otherwise, help) \
    {section, name, TRAINRECIPE_REAL, offsetof(struct trainrecipe, field), least, most, otherwise, NULL, help}
#define WORD(section, name, field, words, otherwise, help) \
    {section, name, TRAINRECIPE_WORD, offsetof(struct trainrecipe, field), 0, 0, otherwise, words, help}

static const struct trainrecipe_key trainrecipe_table[] = {
    COUNT("data", "context", context, 2, 1 << 20, 512, "tokens of a row"),
    COUNT("data", "seed", seed, 0, 9e15, 1, "of the order of the text and of the first weights"),
    REAL("init", "gain", init_gain, 0, 100, 1, "deviation of a matrix times sqrt(its inputs)"),
    REAL("init", "std", init_std, 0, 100, 0, "in its place the deviation itself, whatever the inputs; 0: none"),
    REAL("init", "out_gain", init_out_gain, 0, 100, 0, "times that, for what writes to the residual stream"),
    REAL("init", "embed_std", init_embed_std, 0, 100, 0.02, "deviation of the embedding"),
    REAL("init", "head_std", init_head_std, 0, 100, 0.02, "of the head, where it is not the embedding"),
    {"init", "from", TRAINRECIPE_STRING, offsetof(struct trainrecipe, init_from), 0, 0, 0, NULL,
     "a model to begin with: a .gguf file or a folder of the same shape"},
    REAL("loss", "mtp", mtp_weight, 0, 10, 0.3, "weight of the loss one token further, with an MTP layer"),
    REAL("loss", "mtp_from", mtp_from, 0, 1, 0, "share of the tokens after which that layer learns, and costs"),
    REAL("loss", "balance", balance_weight, 0, 10, 1e-4, "weight of the balance loss of every sequence"),
    REAL("loss", "balance_step", balance_step, 0, 1, 1e-3, "what a router's bias moves by after a step"),
    REAL("loss", "z", z_loss, 0, 1, 0, "weight of the squared log of the softmax's denominator"),
    WORD("optimizer", "matrices", muon, trainrecipe_optimizers, 1, "what updates matrices"),
    REAL("optimizer", "lr", lr, 0, 10, 0.02, "learning rate of matrices"),
    REAL("optimizer", "lr_embeddings", lr_embeddings, 0, 10, 3e-3, "of the embedding (AdamW, as all below)"),
    REAL("optimizer", "lr_head", lr_head, 0, 10, 3e-3, "of the head, where it is not the embedding"),
    REAL("optimizer", "lr_routers", lr_routers, 0, 10, 5e-3, "of routers"),
    REAL("optimizer", "lr_vectors", lr_vectors, 0, 10, 3e-3, "of the weights of norms"),
    REAL("optimizer", "weight_decay", weight_decay, 0, 10, 0.1, "of matrices, times the learning rate"),
    REAL("optimizer", "embedding_decay", embedding_decay, 0, 10, 0, "of embedding and head, likewise"),
    REAL("optimizer", "beta1", beta1, 0, 0.9999, 0.9, "AdamW"),
    REAL("optimizer", "beta2", beta2, 0, 0.99999, 0.95, "AdamW"),
    REAL("optimizer", "eps", eps, 1e-30, 1, 1e-10, "AdamW"),
    REAL("optimizer", "momentum", momentum, 0, 0.9999, 0.95, "Muon"),
    COUNT("optimizer", "muon_steps", muon_steps, 1, 20, 5, "Newton-Schulz iterations of Muon"),
    REAL("optimizer", "clip", clip, 0, 1e9, 1, "largest norm of all gradients together; 0: any"),
    REAL("optimizer", "ema", ema, 0, 0.999999, 0, "decay of the average of weights that is validated and "
         "exported; 0: none"),
    REAL("schedule", "tokens", tokens, 1, 1e15, 0, "to learn from, in all (needed)"),
    COUNT("schedule", "sequences", sequences, 1, 1 << 20, 128, "rows in a step"),
    COUNT("schedule", "first_sequences", first_sequences, 0, 1 << 20, 0,
          "rows in a step at first; 0: no fewer"),
    REAL("schedule", "ramp_tokens", ramp_tokens, 0, 1e15, 0, "until when the first rows are so many"),
    REAL("schedule", "warmup", warmup, 0, 1, 0.01, "share of the steps in which the learning rate rises"),
    REAL("schedule", "decay", decay, 0, 1, 0.4, "share of the steps in which it falls, at the end"),
    REAL("schedule", "final_lr", final_lr, 0, 1, 0, "what is left of it at the end"),
    WORD("schedule", "decay_shape", decay_shape, trainrecipe_shapes, 0, "how it falls"),
    COUNT("run", "micro_sequences", micro_sequences, 1, 1 << 20, 16, "rows that go through the model together"),
    WORD("run", "recompute", recompute, trainrecipe_no_yes, 0, "less memory: layers are computed twice"),
    COUNT("run", "validate_every", validate_every, 0, 1e9, 100, "steps; 0: at the end"),
    COUNT("run", "validate_rows", validate_rows, 1, 1 << 20, 128, "rows of each source to validate on"),
    COUNT("run", "checkpoint_every", checkpoint_every, 0, 1e9, 100, "steps; 0: at the end"),
    COUNT("run", "keep", keep, 1, 1000, 2, "checkpoints to keep"),
    REAL("run", "spike", spike, 0, 100, 1, "nats above the mean of recent losses that are a spike; 0: none"),
    {"run", "prompt", TRAINRECIPE_STRING, offsetof(struct trainrecipe, prompt), 0, 0, 0, NULL,
     "begins the sample that is written at each validation"},
    COUNT("run", "sample_tokens", sample_tokens, 0, 4096, 64, "its length; 0: no sample"),
    {"run", "tasks_format", TRAINRECIPE_STRING, offsetof(struct trainrecipe, tasks_format), 0, 0, 0, NULL,
     "chat format in which [tasks] are asked; without: as plain text"},
};
#undef COUNT
#undef REAL
#undef WORD
enum { TRAINRECIPE_KEYS = sizeof trainrecipe_table / sizeof *trainrecipe_table };

static const struct trainrecipe_key *trainrecipe_find(const char *section, const char *name)
{
    for (size_t i = 0; i < TRAINRECIPE_KEYS; i++) {
        const struct trainrecipe_key *k = &trainrecipe_table[i];
        if (strcmp(k->section, section) == 0 && strcmp(k->name, name) == 0) {
            return k;
        }
    }
    return NULL;
}

/* Sections whose keys others read, when all is there: config_from_json, trainertasks_open. */
static bool trainrecipe_is_open(const char *section)
{
    return strcmp(section, "model") == 0 || strcmp(section, "tasks") == 0;
}

static bool trainrecipe_is_section(const char *section)
{
    bool known = trainrecipe_is_open(section) || strcmp(section, "mix") == 0;
    for (size_t i = 0; i < TRAINRECIPE_KEYS && !known; i++) {
        known = strcmp(trainrecipe_table[i].section, section) == 0;
    }
    return known;
}

void trainrecipe_keys(FILE *to)
{
    const char *section = "";
    fprintf(to, "[model]\n  names and values of a Hugging Face config.json, such as hidden_size = 256; and\n"
                "  bigram_vocab_size = rows of a table of hashed pairs of tokens, learnt besides (0)\n"
                "  qk_norm = true: each head's query and key are normed (false; not of GPT-2's class)\n"
                "  x0_skip = true: each layer begins with a share of the normed embedding (false; likewise)\n"
                "  value_residual = true: each layer's values take a share of the first's (false; likewise)\n"
                "[mix]\n  NAME = weight of a source of the dataset; without: every source by its tokens\n"
                "[tasks]\n  NAME = file of questions, asked at each validation (`fathom eval --task`)\n");
    for (size_t i = 0; i < TRAINRECIPE_KEYS; i++) {
        const struct trainrecipe_key *k = &trainrecipe_table[i];
        if (strcmp(section, k->section) != 0) {
            fprintf(to, "[%s]\n", section = k->section);
        }
        fprintf(to, "  %-18s %s", k->name, k->help);
        if (k->type == TRAINRECIPE_WORD) {
            fprintf(to, ":");
            for (size_t w = 0; k->words[w]; w++) {
                fprintf(to, " %s%s", k->words[w], (double)w == k->otherwise ? " (default)" : "");
            }
        } else if (k->type != TRAINRECIPE_STRING) {
            fprintf(to, " (%.10g)", k->otherwise);
        }
        fprintf(to, "\n");
    }
}

/* ---- One value. ---- */

struct trainrecipe_reader {
    struct trainrecipe *r;
    const char *name; /* of the file */
    const char *data; /* what is left of it */
    size_t left;
    int line;
    bool over; /* overrides: a key may be there already */
    err result;
    struct errinfo *info;
};

static err trainrecipe_refuse(struct trainrecipe_reader *a, const char *section, const char *name,
                              const char *found, const char *expected)
{
    if (a->over) {
        return err_set(a->info, ERR_ARGUMENT, "%s.%s = %s: %s", section, name, found, expected);
    }
    return err_set(a->info, ERR_ARGUMENT, "%s:%d: %s = %s in [%s]: %s", a->name, a->line, name, found, section,
                   expected);
}

static bool trainrecipe_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out);
}

static err trainrecipe_set(struct trainrecipe_reader *a, const struct trainrecipe_key *k, const char *value)
{
    char expected[160];
    void *to = (char *)a->r + k->offset;
    double number;
    if (k->type == TRAINRECIPE_STRING) {
        if (strlen(value) >= TRAINRECIPE_TEXT) {
            return trainrecipe_refuse(a, k->section, k->name, value, "too long");
        }
        strcpy(to, value);
        return ERR_OK;
    }
    if (k->type == TRAINRECIPE_WORD) {
        for (int i = 0; k->words[i]; i++) {
            if (strcmp(k->words[i], value) == 0) {
                *(int *)to = i;
                return ERR_OK;
            }
        }
        snprintf(expected, sizeof expected, "expected %s, %s%s%s", k->words[0], k->words[1],
                 k->words[2] ? " or " : "", k->words[2] ? k->words[2] : "");
        return trainrecipe_refuse(a, k->section, k->name, value, expected);
    }
    bool good = trainrecipe_number(value, &number) && number >= k->least && number <= k->most &&
                (k->type == TRAINRECIPE_REAL || number == floor(number));
    if (!good) {
        snprintf(expected, sizeof expected, "expected a %s from %.10g to %.10g",
                 k->type == TRAINRECIPE_REAL ? "number" : "whole number", k->least, k->most);
        return trainrecipe_refuse(a, k->section, k->name, value, expected);
    }
    if (k->type == TRAINRECIPE_REAL) {
        *(double *)to = number;
    } else {
        *(size_t *)to = (size_t)number;
    }
    return ERR_OK;
}

static err trainrecipe_mix(struct trainrecipe_reader *a, const char *name, const char *value)
{
    struct trainrecipe *r = a->r;
    double weight;
    size_t i = 0;
    if (!trainrecipe_number(value, &weight) || !(weight > 0)) {
        return trainrecipe_refuse(a, "mix", name, value, "expected a weight above 0");
    }
    while (i < r->n_mix && strcmp(r->mix_names[i], name) != 0) {
        i++;
    }
    if (i == TRAINRECIPE_MIX_MAX || strlen(name) >= DATASET_NAME) {
        return trainrecipe_refuse(a, "mix", name, value, "too many sources, or too long a name");
    }
    strcpy(r->mix_names[i], name);
    r->mix_weights[i] = weight;
    r->n_mix += i == r->n_mix;
    return ERR_OK;
}

static bool trainrecipe_is_text(const char *s)
{
    return utf8_valid_prefix(s, strlen(s)) == strlen(s);
}

/* Keeps what was given, once. */
static err trainrecipe_note(struct trainrecipe_reader *a, const char *section, const char *name,
                            const char *value)
{
    if (!trainrecipe_is_text(name) || !trainrecipe_is_text(value)) {
        return trainrecipe_refuse(a, section, name, value, "it is not UTF-8");
    }
    json_t *of = json_object_get(a->r->given, section);
    if (!of) {
        of = json_object();
        if (!of || json_object_set_new(a->r->given, section, of) != 0) {
            return err_set(a->info, ERR_NOMEM, "out of memory reading %s", a->name);
        }
    }
    if (!a->over && json_object_get(of, name)) {
        return trainrecipe_refuse(a, section, name, value, "given twice");
    }
    return json_object_set_new(of, name, json_string(value)) == 0 ? ERR_OK :
           err_set(a->info, ERR_NOMEM, "out of memory reading %s", a->name);
}

static err trainrecipe_take(struct trainrecipe_reader *a, const char *section, const char *name,
                            const char *value)
{
    const struct trainrecipe_key *k = trainrecipe_find(section, name);
    if (!trainrecipe_is_section(section)) {
        return trainrecipe_refuse(a, section, name, value,
                                  "no such section; `fathom train --keys` lists them");
    }
    TRY(trainrecipe_note(a, section, name, value));
    if (trainrecipe_is_open(section)) {
        return ERR_OK;
    }
    if (strcmp(section, "mix") == 0) {
        return trainrecipe_mix(a, name, value);
    }
    return k ? trainrecipe_set(a, k, value) :
           trainrecipe_refuse(a, section, name, value, "no such key; `fathom train --keys` lists them");
}

/* ---- [model]. ---- */

/* A number, true, false or null as JSON has them; anything else is a string. */
static json_t *trainrecipe_scalar(const char *text)
{
    struct errinfo ignored;
    json_t *value;
    if (json_parse(text, strlen(text), "", &value, &ignored) == ERR_OK) {
        return value;
    }
    return json_string(text);
}

static err trainrecipe_model_json(struct trainrecipe_reader *a, json_t *to)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(a->r->given, "model"), key, value)
    {
        if (json_object_set_new(to, key, trainrecipe_scalar(json_string_value(value))) != 0) {
            return err_set(a->info, ERR_NOMEM, "out of memory reading %s", a->name);
        }
    }
    return ERR_OK;
}

/* A key that a config.json of such a model would not have is a mistake of whoever wrote it. */
static err trainrecipe_model_known(struct trainrecipe_reader *a)
{
    json_t *known, *value;
    const char *key;
    err e = ERR_OK;
    struct config all = a->r->config;
    all.bigram_vocab_size += all.bigram_vocab_size == 0; /* known, if 0 */
    all.qk_norm = all.x0_skip = all.value_residual = true;
    TRY(hfconfig_make(&all, DTYPE_BF16, 0, 0, &known, a->info));
    json_object_foreach(json_object_get(a->r->given, "model"), key, value)
    {
        if (e == ERR_OK && !json_object_get(known, key)) {
            e = err_set(a->info, ERR_ARGUMENT, "%s: %s in [model] is nothing that the config.json of a %s "
                        "knows", a->name, key, a->r->config.name);
        }
    }
    json_decref(known);
    return e;
}

static err trainrecipe_model(struct trainrecipe_reader *a)
{
    struct errinfo why = {0};
    json_t *json = json_object();
    err e = json ? trainrecipe_model_json(a, json) : err_set(a->info, ERR_NOMEM, "out of memory");
    if (e == ERR_OK) {
        e = config_from_recipe(json, &a->r->config, &why);
        e = e == ERR_OK ? e : err_set(a->info, ERR_ARGUMENT, "%s, [model]: %s", a->name, why.message);
        /* GGUF files of Llama's class have pairs side by side; a model that begins here may as well. */
        a->r->config.rope_pairs = ROPE_INTERLEAVED;
    }
    json_decref(json);
    return e == ERR_OK ? trainrecipe_model_known(a) : e;
}

/* ---- The file. ---- */

/* inih's reader: a line, and refuses one that would not fit its buffer. */
static char *trainrecipe_next(char *to, int size, void *user)
{
    struct trainrecipe_reader *a = user;
    const char *end = a->left ? memchr(a->data, '\n', a->left) : NULL;
    size_t n = end ? (size_t)(end - a->data) + 1 : a->left;
    if (a->left == 0 || a->result != ERR_OK) {
        return NULL;
    }
    a->line++;
    bool goes_on = a->data[0] == ' ' || a->data[0] == '\t';
    size_t blank = strspn(a->data, " \t\r\n");
    if (n > (size_t)size - 1 || n > TRAINRECIPE_LINE || memchr(a->data, '\0', n) || (goes_on && blank < n)) {
        a->result = err_set(a->info, ERR_ARGUMENT, "%s:%d: %s", a->name, a->line,
                            goes_on ? "a line may not begin with a blank" :
                                "the line is too long or holds a zero byte");
        return NULL;
    }
    memcpy(to, a->data, n);
    to[n] = '\0';
    a->data += n;
    a->left -= n;
    return to;
}

static int trainrecipe_line(void *user, const char *section, const char *name, const char *value)
{
    struct trainrecipe_reader *a = user;
    if (a->result == ERR_OK) {
        a->result = trainrecipe_take(a, section, name, value);
    }
    return a->result == ERR_OK;
}

static err trainrecipe_file(struct trainrecipe_reader *a, const char *path)
{
    char *data;
    size_t size;
    TRY(file_read(path, TRAINRECIPE_SIZE_MAX, &data, &size, a->info));
    a->data = data;
    a->left = size;
    int bad = ini_parse_stream(trainrecipe_next, a, trainrecipe_line, a);
    mem_free(data);
    if (a->result == ERR_OK && bad > 0) {
        return err_set(a->info, ERR_ARGUMENT, "%s:%d: neither [section] nor key = value", a->name, bad);
    }
    return a->result;
}

static err trainrecipe_override(struct trainrecipe_reader *a, const char *text)
{
    char key[TRAINRECIPE_TEXT];
    const char *equals = strchr(text, '='), *dot = strchr(text, '.');
    if (!equals || !dot || dot > equals || (size_t)(equals - text) >= sizeof key) {
        return err_set(a->info, ERR_ARGUMENT, "%s: expected SECTION.KEY=VALUE", text);
    }
    memcpy(key, text, (size_t)(equals - text));
    key[equals - text] = '\0';
    key[dot - text] = '\0';
    return trainrecipe_take(a, key, key + (dot - text) + 1, equals + 1);
}

static void trainrecipe_defaults(struct trainrecipe *r)
{
    for (size_t i = 0; i < TRAINRECIPE_KEYS; i++) {
        const struct trainrecipe_key *k = &trainrecipe_table[i];
        void *to = (char *)r + k->offset;
        if (k->type == TRAINRECIPE_COUNT) {
            *(size_t *)to = (size_t)k->otherwise;
        } else if (k->type == TRAINRECIPE_REAL) {
            *(double *)to = k->otherwise;
        } else if (k->type == TRAINRECIPE_WORD) {
            *(int *)to = (int)k->otherwise;
        }
    }
    strcpy(r->prompt, "The");
}

static void trainrecipe_set_name(struct trainrecipe *r, const char *path)
{
    const char *slash = strrchr(path, '/'), *from = slash ? slash + 1 : path, *dot = strrchr(from, '.');
    size_t n = dot && dot > from ? (size_t)(dot - from) : strlen(from);
    n = n < TRAINRECIPE_NAME ? n : TRAINRECIPE_NAME - 1;
    memcpy(r->name, from, n);
}

/* What is given in [loss] for layers that no model of the class has. */
static err trainrecipe_check_loss(const struct trainrecipe *r, const char *path, struct errinfo *info)
{
    const struct {
        const char *key;
        double value;
    } all[] = {{"mtp", r->mtp_weight}, {"mtp_from", r->mtp_from}, {"balance", r->balance_weight},
               {"balance_step", r->balance_step}};
    const json_t *given = json_object_get(r->given, "loss");
    for (size_t i = 0; r->config.family != CONFIG_DEEPSEEK && i < sizeof all / sizeof *all; i++) {
        if (json_object_get(given, all[i].key) && all[i].value > 0) {
            return err_set(info, ERR_ARGUMENT, "%s: %s = %g in [loss] has nothing to act on: a %s has neither "
                           "experts nor MTP layers", path, all[i].key, all[i].value, r->config.name);
        }
    }
    return ERR_OK;
}

/* What one key alone cannot say. */
static err trainrecipe_check(const struct trainrecipe *r, const char *path, struct errinfo *info)
{
    size_t first = r->first_sequences ? r->first_sequences : r->sequences;
    if (r->tokens < 1) {
        return err_set(info, ERR_ARGUMENT, "%s: [schedule] needs tokens = how many to learn from", path);
    }
    if (r->sequences % r->micro_sequences || first % r->micro_sequences) {
        return err_set(info, ERR_ARGUMENT, "%s: sequences = %zu (first %zu) is no multiple of "
                       "micro_sequences = %zu", path, r->sequences, first, r->micro_sequences);
    }
    if (r->warmup + r->decay > 1) {
        return err_set(info, ERR_ARGUMENT, "%s: warmup = %g and decay = %g are more than the whole run", path,
                       r->warmup, r->decay);
    }
    if (r->context > r->config.max_position_embeddings) {
        return err_set(info, ERR_ARGUMENT, "%s: context = %zu, but max_position_embeddings = %zu", path,
                       r->context, r->config.max_position_embeddings);
    }
    TRY(trainrecipe_check_loss(r, path, info));
    struct errinfo why = {0};
    bool asks = r->sample_tokens || json_object_size(json_object_get(r->given, "tasks"));
    if (asks && config_check_served(&r->config, &why) != ERR_OK) {
        return err_set(info, ERR_ARGUMENT, "%s: %s: it needs sample_tokens = 0 in [run], and no [tasks]", path,
                       why.message);
    }
    return ERR_OK;
}

err trainrecipe_read(const char *path, const char *const *overrides, size_t n_overrides,
                     struct trainrecipe *out, struct errinfo *info)
{
    struct trainrecipe *r = mem_calloc(1, sizeof *r);
    struct trainrecipe_reader a = {.r = r, .name = path, .info = info};
    if (!r) {
        return err_set(info, ERR_NOMEM, "out of memory reading %s", path);
    }
    trainrecipe_defaults(r);
    trainrecipe_set_name(r, path);
    r->given = json_object();
    err e = r->given ? trainrecipe_file(&a, path) : err_set(info, ERR_NOMEM, "out of memory reading %s", path);
    a.over = true;
    for (size_t i = 0; e == ERR_OK && i < n_overrides; i++) {
        e = trainrecipe_override(&a, overrides[i]);
    }
    e = e == ERR_OK ? trainrecipe_model(&a) : e;
    e = e == ERR_OK ? trainrecipe_check(r, path, info) : e;
    if (e == ERR_OK) {
        *out = *r;
    } else {
        trainrecipe_deinit(r);
    }
    mem_free(r);
    return e;
}

void trainrecipe_deinit(struct trainrecipe *r)
{
    json_decref(r->given);
    r->given = NULL;
}

/* What a says and b does not, or otherwise. */
static const char *trainrecipe_unlike(const json_t *a, const json_t *b)
{
    const char *section, *key;
    json_t *keys, *value;
    json_object_foreach((json_t *)a, section, keys)
    {
        const json_t *other = json_object_get(b, section);
        json_object_foreach(keys, key, value)
        {
            if (strcmp(section, "run") != 0 && !json_equal(value, json_object_get(other, key))) {
                return key;
            }
        }
    }
    return NULL;
}

const char *trainrecipe_difference(const json_t *a, const json_t *b)
{
    const char *key = trainrecipe_unlike(a, b);
    return key ? key : trainrecipe_unlike(b, a);
}
