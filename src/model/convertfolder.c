/* model/convertfolder.c: see convertfolder.h. */
#include "base/json.h"
#include "model/convertfolder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/strbuf.h"
#include "formats/safetensors.h"
#include "model/convertplan.h"
#include "model/hfconfig.h"
#include "model/hftokenizer.h"
#include "model/vocab.h"

static const size_t convertfolder_shard_default = 5000000000;

/* One folder being written. */
struct convertfolder {
    const struct gguf *g;
    const struct config *c;
    struct convertplan plan;
    struct tokenizer *tokenizer; /* NULL when the file has none */
    enum dtype type;
    char *tmp; /* the folder while it is incomplete */
    size_t shard_bytes, n_shards;
    size_t *first; /* [n_shards + 1] first item of each shard */
    int n_threads;
    struct safetensors_writer *writer;
    struct progress progress;
    uint64_t written;
    struct errinfo *info;
};

static err convertfolder_nomem(struct convertfolder *f)
{
    return err_set(f->info, ERR_NOMEM, "out of memory writing %s", f->tmp ? f->tmp : "a folder");
}

/* Writes a JSON value as f->tmp/name. Takes the reference. */
static err convertfolder_json(struct convertfolder *f, const char *name, json_t *take_value)
{
    char *path = file_join(f->tmp, name);
    err e = path ? json_write(take_value, JSON_INDENT(2) | JSON_REAL_PRECISION(15), path, f->info)
                 : convertfolder_nomem(f);
    json_decref(take_value);
    mem_free(path);
    return e;
}

static err convertfolder_small_files(struct convertfolder *f)
{
    int bos = f->tokenizer ? tokenizer_bos(f->tokenizer) : -1;
    int eos = f->tokenizer ? tokenizer_eos(f->tokenizer) : -1;
    json_t *config;
    TRY(hfconfig_make(f->c, f->type, bos, eos, &config, f->info));
    TRY(convertfolder_json(f, "config.json", config));
    if (!f->tokenizer) {
        return ERR_OK;
    }
    struct gguf_string text = {0};
    const char *template = NULL;
    if (gguf_get_string(f->g, "tokenizer.chat_template", &text, NULL) == ERR_OK) {
        template = text.data;
    }
    json_t *tokenizer;
    json_t *settings;
    TRY(hftokenizer_make(f->tokenizer, template, text.len, f->c->max_position_embeddings,
                         &tokenizer, &settings, f->info));
    err e = convertfolder_json(f, "tokenizer.json", tokenizer);
    if (e != ERR_OK) {
        json_decref(settings);
        return e;
    }
    TRY(convertfolder_json(f, "tokenizer_config.json", settings));
    json_t *generation = json_object();
    if (bos >= 0 && json_object_set_new(generation, "bos_token_id", json_integer(bos)) != 0) {
        json_decref(generation);
        return convertfolder_nomem(f);
    }
    if (eos >= 0 && json_object_set_new(generation, "eos_token_id", json_integer(eos)) != 0) {
        json_decref(generation);
        return convertfolder_nomem(f);
    }
    return convertfolder_json(f, "generation_config.json", generation);
}

/* Cuts the plan into shards of at most shard_bytes (or one tensor). */
static err convertfolder_cut(struct convertfolder *f)
{
    f->first = mem_calloc(f->plan.n + 2, sizeof *f->first);
    if (!f->first) {
        return convertfolder_nomem(f);
    }
    size_t bytes = 0;
    for (size_t i = 0; i < f->plan.n; i++) {
        size_t n = tensor_bytes(&f->plan.items[i].out);
        if (i == 0 || bytes + n > f->shard_bytes) {
            f->first[f->n_shards++] = i;
            bytes = 0;
        }
        bytes += n;
    }
    f->first[f->n_shards] = f->plan.n;
    return ERR_OK;
}

static void convertfolder_shard_name(const struct convertfolder *f, size_t i, char name[64])
{
    if (f->n_shards == 1) {
        snprintf(name, 64, "model.safetensors");
    } else {
        snprintf(name, 64, "model-%05zu-of-%05zu.safetensors", i + 1, f->n_shards);
    }
}

/* recipe_sink over a safetensors writer. */
static err convertfolder_sink(void *user, const void *data, size_t n, struct errinfo *info)
{
    struct convertfolder *f = user;
    TRY(safetensors_writer_data(f->writer, data, n, info));
    f->written += n;
    progress_update(&f->progress, f->written);
    return ERR_OK;
}

static err convertfolder_shard_write(struct convertfolder *f, size_t i)
{
    for (size_t k = f->first[i]; k < f->first[i + 1]; k++) {
        const struct recipe *r = &f->plan.items[k];
        TRY(safetensors_writer_tensor(f->writer, r->name, &r->out, f->info));
    }
    TRY(safetensors_writer_begin_data(f->writer, f->info));
    for (size_t k = f->first[i]; k < f->first[i + 1]; k++) {
        TRY(recipe_make(&f->plan.items[k], f->n_threads, convertfolder_sink, f, f->info));
    }
    return safetensors_writer_commit(f->writer, f->info);
}

static err convertfolder_shard(struct convertfolder *f, size_t i)
{
    char name[64];
    convertfolder_shard_name(f, i, name);
    char *path = file_join(f->tmp, name);
    if (!path) {
        return convertfolder_nomem(f);
    }
    err e = safetensors_writer_new(path, &f->writer, f->info);
    if (e == ERR_OK) {
        e = convertfolder_shard_write(f, i);
        safetensors_writer_free(f->writer);
    }
    mem_free(path);
    return e;
}

static err convertfolder_index(struct convertfolder *f)
{
    json_t *map = json_object();
    bool failed = map == NULL;
    for (size_t i = 0; i < f->n_shards; i++) {
        char name[64];
        convertfolder_shard_name(f, i, name);
        for (size_t k = f->first[i]; k < f->first[i + 1] && !failed; k++) {
            failed = json_object_set_new(map, f->plan.items[k].name, json_string(name)) != 0;
        }
    }
    if (failed) {
        json_decref(map);
        return convertfolder_nomem(f);
    }
    json_int_t total = (json_int_t)convertplan_bytes(&f->plan);
    return convertfolder_json(f, "model.safetensors.index.json",
                              json_pack("{s:{s:I}, s:o}", "metadata", "total_size", total,
                                        "weight_map", map));
}

static err convertfolder_weights(struct convertfolder *f)
{
    TRY(convertfolder_cut(f));
    progress_init(&f->progress, "writing", PROGRESS_BYTES, convertplan_bytes(&f->plan));
    err e = ERR_OK;
    for (size_t i = 0; i < f->n_shards && e == ERR_OK; i++) {
        e = convertfolder_shard(f, i);
    }
    progress_finish(&f->progress);
    return e == ERR_OK && f->n_shards > 1 ? convertfolder_index(f) : e;
}

/* Removes the incomplete folder and the files in it, as far as they let themselves be removed. */
static void convertfolder_discard(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char *file = file_join(path, e->d_name);
        if (file && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            unlink(file);
        }
        mem_free(file);
    }
    if (d) {
        closedir(d);
    }
    rmdir(path);
}

/* rename takes the place of nothing or of an empty folder, and refuses all else. */
static err convertfolder_publish(struct convertfolder *f, const char *out)
{
    if (rename(f->tmp, out) != 0) {
        return err_set(f->info, ERR_IO, "cannot rename %s to %s: %s", f->tmp, out, strerror(errno));
    }
    return ERR_OK;
}

static err convertfolder_fill(struct convertfolder *f, const char *out)
{
    TRY(file_make_dirs(f->tmp, f->info));
    err e = convertfolder_weights(f);
    if (e == ERR_OK) {
        e = convertfolder_small_files(f);
    }
    if (e == ERR_OK) {
        e = convertfolder_publish(f, out);
    }
    if (e != ERR_OK) {
        convertfolder_discard(f->tmp);
    }
    return e;
}

static bool convertfolder_is_empty(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    if (d) {
        closedir(d);
    }
    return n == 0;
}

static err convertfolder_type(struct convertfolder *f, const struct convert_options *options)
{
    enum dtype t = convert_main_type(gguf_tensors(f->g));
    if (options->type && (!dtype_from_name(options->type, &t) || t > DTYPE_BF16)) {
        return err_set(f->info, ERR_ARGUMENT, "a Hugging Face folder holds f32, f16 or bf16 weights, not "
                       "\"%.40s\"; for other types give an output that ends in .gguf", options->type);
    }
    f->type = t;
    return ERR_OK;
}

static err convertfolder_prepare(struct convertfolder *f, const char *out,
                                 const struct convert_options *options)
{
    if (options->imatrix) {
        return err_set(f->info, ERR_ARGUMENT, "an importance matrix has no use here: a folder's weights are "
                       "not quantised");
    }
    if (file_exists(out) || (file_is_dir(out) && !convertfolder_is_empty(out))) {
        return err_set(f->info, ERR_ARGUMENT, "%s is already there; name a folder that is not", out);
    }
    TRY(convertfolder_type(f, options));
    struct chat_guess ignored;
    TRY(vocab_from_gguf(f->g, &f->tokenizer, &ignored, f->info));
    TRY(convertplan_to_folder(&f->plan, f->c, gguf_tensors(f->g), f->type, f->info));
    struct strbuf tmp = {0};
    size_t len = strlen(out);
    while (len > 1 && out[len - 1] == '/') {
        len--;
    }
    if (strbuf_printf(&tmp, "%.*s.tmp-%ld", (int)len, out, (long)getpid()) != ERR_OK ||
        strbuf_take(&tmp, &f->tmp) != ERR_OK) {
        strbuf_deinit(&tmp);
        return convertfolder_nomem(f);
    }
    return ERR_OK;
}

err convertfolder_write(const struct gguf *g, const char *out,
                        const struct convert_options *options, int n_threads,
                        struct convert_report *report, struct errinfo *info)
{
    struct config c;
    TRY(config_from_gguf(g, &c, info));
    c.num_nextn_predict_layers = convert_mtp_layers(gguf_tensors(g), WEIGHTNAMES_GGUF, &c);
    struct convertfolder f = {.g = g, .c = &c, .n_threads = n_threads, .info = info};
    f.shard_bytes = options->shard_bytes ? options->shard_bytes : convertfolder_shard_default;
    err e = convertfolder_prepare(&f, out, options);
    if (e == ERR_OK) {
        e = convertfolder_fill(&f, out);
    }
    if (e == ERR_OK) {
        report->type = dtype_info(f.type)->name;
        report->source = convert_source_type(gguf_tensors(g));
        report->n_tensors = f.plan.n;
        report->bytes = convertplan_bytes(&f.plan);
        report->mtp_layers = c.num_nextn_predict_layers;
        for (size_t i = 0; i < f.plan.n; i++) {
            report->elems += tensor_elems(&f.plan.items[i].out);
        }
    }
    convertplan_deinit(&f.plan);
    tokenizer_free(f.tokenizer);
    mem_free(f.first);
    mem_free(f.tmp);
    return e;
}
