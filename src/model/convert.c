/* model/convert.c: see convert.h. Here what ends in a GGUF file; folders are written by
 * convertfolder.c. */
#include "model/convert.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/cpuinfo.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "formats/gguf.h"
#include "formats/hffolder.h"
#include "model/convertfolder.h"
#include "model/convertplan.h"
#include "model/ggufkeys.h"
#include "model/vocabkeys.h"

/* One file being written. */
struct convert_job {
    const char *in, *out;
    const struct convert_options *options;
    struct convert_report *report;
    struct errinfo *info;
    int n_threads;
    struct gguf_writer *writer;
    struct progress progress;
    uint64_t written;
};

static bool convert_ends_with(const char *s, const char *ending)
{
    size_t n = strlen(s);
    size_t m = strlen(ending);
    return n >= m && strcasecmp(s + n - m, ending) == 0;
}

enum dtype convert_source_type(const struct tensortable *t)
{
    size_t bytes[DTYPE_COUNT] = {0};
    enum dtype best = DTYPE_BF16;
    size_t most = 0;
    for (size_t i = 0; i < tensortable_count(t); i++) {
        const struct tensor *w = &tensortable_at(t, i)->tensor;
        bytes[w->dtype] += w->rank > 1 ? tensor_bytes(w) : 0;
        if (bytes[w->dtype] > most) {
            most = bytes[w->dtype];
            best = w->dtype;
        }
    }
    return best;
}

enum dtype convert_main_type(const struct tensortable *t)
{
    enum dtype type = convert_source_type(t);
    return type == DTYPE_F32 || type == DTYPE_F16 ? type : DTYPE_BF16;
}

size_t convert_mtp_layers(const struct tensortable *t, enum weightnames_scheme scheme,
                          const struct config *c)
{
    char name[TENSORTABLE_NAME_MAX + 1];
    size_t n = 0;
    for (; n < c->num_nextn_predict_layers; n++) {
        weightnames_format(scheme, WEIGHTNAMES_MTP_JOIN, c->num_hidden_layers + n, 0, name);
        if (!tensortable_find(t, name)) {
            break;
        }
    }
    return n;
}

static bool convert_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Is `out` one of the files that are read? */
static bool convert_reads(const struct convert_job *j, const struct gguf *g)
{
    bool reads = false;
    for (size_t i = 0; g && i < gguf_file_count(g); i++) {
        reads = reads || convert_same_file(gguf_file_path(g, i), j->out);
    }
    DIR *d = g ? NULL : opendir(j->in);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char *path = file_join(j->in, e->d_name);
        reads = reads || !path || convert_same_file(path, j->out); /* without memory: rather not */
        mem_free(path);
    }
    if (d) {
        closedir(d);
    }
    return reads;
}

/* A new GGUF file at j->out. `g` is what is read, NULL for a folder. */
static err convert_open_writer(struct convert_job *j, const struct gguf *g)
{
    if (file_exists(j->out) && convert_reads(j, g)) {
        return err_set(j->info, ERR_ARGUMENT,
                       "%s is part of the model that is read; name another file to write", j->out);
    }
    if (file_exists(j->out) && !j->options->overwrite) {
        return err_set(j->info, ERR_ARGUMENT, "%s is already there; --force writes over it", j->out);
    }
    return gguf_writer_new(j->out, &j->writer, j->info);
}

/* recipe_sink over a GGUF writer. */
static err convert_to_writer(void *user, const void *data, size_t n, struct errinfo *info)
{
    struct convert_job *j = user;
    TRY(gguf_writer_data(j->writer, data, n, info));
    j->written += n;
    progress_update(&j->progress, j->written);
    return ERR_OK;
}

/* Declares and streams the plan's tensors into j->writer, whose keys are complete. */
static err convert_stream(struct convert_job *j, const struct convertplan *p,
                          const struct quantmix *mix)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct tensor *t = &p->items[i].out;
        TRY(gguf_writer_tensor(j->writer, p->items[i].name, t, j->info));
        j->report->elems += tensor_elems(t);
        j->report->fallbacks[t->dtype] +=
            quantmix_falls_back(mix, p->items[i].name, t->rank, t->shape);
    }
    TRY(gguf_writer_begin_data(j->writer, j->info));
    j->report->n_tensors = p->n;
    j->report->bytes = convertplan_bytes(p);
    progress_init(&j->progress, "writing", PROGRESS_BYTES, j->report->bytes);
    err e = ERR_OK;
    for (size_t i = 0; i < p->n && e == ERR_OK; i++) {
        e = recipe_make(&p->items[i], j->n_threads, convert_to_writer, j, j->info);
    }
    progress_finish(&j->progress);
    return e == ERR_OK ? gguf_writer_commit(j->writer, j->info) : e;
}

static err convert_mix(struct convert_job *j, const struct config *c, const struct tensortable *in,
                       struct quantmix *mix)
{
    const char *name = j->options->type;
    name = name ? name : dtype_info(convert_main_type(in))->name;
    TRY(quantmix_init(mix, name, c, j->info));
    if (j->options->dense) {
        TRY(quantmix_set_dense(mix, j->options->dense, c, j->info));
    }
    j->report->type = mix->name;
    j->report->source = convert_source_type(in);
    return ERR_OK;
}

static err convert_folder_keys(struct convert_job *j, const struct config *c,
                               const struct quantmix *mix)
{
    TRY(ggufkeys_write(j->writer, c, mix->ggml_ftype, j->info));
    return vocabkeys_from_folder(j->writer, j->in, c->vocab_size, j->info);
}

static err convert_from_folder(struct convert_job *j, const struct hffolder *h)
{
    struct config c;
    struct quantmix mix;
    TRY(config_from_json(hffolder_config(h), &c, j->info));
    if (c.topk_method == CONFIG_GREEDY) {
        c.n_group = c.topk_group = 1; /* GGUF knows the greedy choice by having no groups */
    }
    c.num_nextn_predict_layers = convert_mtp_layers(hffolder_tensors(h), WEIGHTNAMES_HF, &c);
    j->report->mtp_layers = c.num_nextn_predict_layers;
    TRY(convert_mix(j, &c, hffolder_tensors(h), &mix));
    struct convertplan plan = {0};
    err e = convertplan_to_gguf(&plan, &c, hffolder_tensors(h), &mix, j->info);
    if (e == ERR_OK) {
        e = convert_open_writer(j, NULL);
    }
    if (e == ERR_OK) {
        e = convert_folder_keys(j, &c, &mix);
    }
    if (e == ERR_OK) {
        e = convert_stream(j, &plan, &mix);
    }
    gguf_writer_free(j->writer);
    convertplan_deinit(&plan);
    return e;
}

/* Every key but those that speak of the weight type. */
static err convert_copy_keys(struct convert_job *j, const struct gguf *g, const struct quantmix *mix,
                             const struct imatrix *m)
{
    static const char *const ours[] = {"general.file_type", "general.quantization_version",
                                       "quantize.imatrix.file", "quantize.imatrix.entries_count"};
    for (size_t i = 0; i < gguf_kv_count(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        bool skip = false;
        for (size_t k = 0; k < sizeof ours / sizeof *ours; k++) {
            skip |= kv->key.len == strlen(ours[k]) && memcmp(kv->key.data, ours[k], kv->key.len) == 0;
        }
        if (!skip) {
            TRY(gguf_writer_copy_kv(j->writer, kv));
        }
    }
    TRY(gguf_writer_u32(j->writer, ours[0], (uint32_t)mix->ggml_ftype));
    TRY(gguf_writer_u32(j->writer, ours[1], 2));
    if (m) {
        TRY(gguf_writer_string(j->writer, ours[2], j->options->imatrix,
                               strlen(j->options->imatrix)));
        TRY(gguf_writer_u32(j->writer, ours[3], (uint32_t)imatrix_count(m)));
    }
    return ERR_OK;
}

static void convert_count_unmeasured(struct convert_job *j, const struct convertplan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct recipe *r = &p->items[i];
        j->report->n_unmeasured += r->out.rank > 1 && !r->importance &&
                                   dtype_info(r->out.dtype)->block_elems > 1;
    }
}

static err convert_requantize_with(struct convert_job *j, const struct gguf *g,
                                   const struct quantmix *mix, const struct imatrix *m)
{
    struct convertplan plan = {0};
    err e = convertplan_requantize(&plan, gguf_tensors(g), mix, m, j->info);
    if (e == ERR_OK && m) {
        convert_count_unmeasured(j, &plan);
    }
    if (e == ERR_OK) {
        e = convert_open_writer(j, g);
    }
    if (e == ERR_OK) {
        e = convert_copy_keys(j, g, mix, m);
        e = e == ERR_OK ? e : err_set(j->info, e, "%s: cannot copy its keys: %s", j->in, err_name(e));
    }
    if (e == ERR_OK) {
        e = convert_stream(j, &plan, mix);
    }
    gguf_writer_free(j->writer);
    convertplan_deinit(&plan);
    return e;
}

static err convert_requantize(struct convert_job *j, const struct gguf *g)
{
    struct config c;
    struct quantmix mix;
    TRY(config_from_gguf(g, &c, j->info));
    TRY(convert_mix(j, &c, gguf_tensors(g), &mix));
    j->report->mtp_layers = c.num_nextn_predict_layers;
    struct imatrix *m = NULL;
    if (j->options->imatrix) {
        TRY(imatrix_open(j->options->imatrix, &m, j->info));
    }
    err e = convert_requantize_with(j, g, &mix, m);
    imatrix_close(m);
    return e;
}

static err convert_from_gguf(struct convert_job *j)
{
    struct gguf *g;
    TRY(gguf_open(j->in, &g, j->info));
    err e;
    if (j->report->way == CONVERT_GGUF_TO_GGUF) {
        e = convert_requantize(j, g);
    } else {
        e = convertfolder_write(g, j->out, j->options, j->n_threads, j->report, j->info);
    }
    gguf_close(g);
    return e;
}

static err convert_start(struct convert_job *j)
{
    if (j->report->way != CONVERT_FOLDER_TO_GGUF) {
        return convert_from_gguf(j);
    }
    if (j->options->imatrix) {
        return err_set(j->info, ERR_ARGUMENT, "an importance matrix names GGUF tensors: convert to f32 or "
                       "bf16 first, then quantize with it");
    }
    struct hffolder *h;
    TRY(hffolder_open(j->in, &h, j->info));
    err e = convert_from_folder(j, h);
    hffolder_close(h);
    return e;
}

/* Which of the three ways, by what `in` and `out` are. */
static err convert_way(const char *in, const char *out, enum convert_way *way, struct errinfo *info)
{
    bool to_gguf = convert_ends_with(out, ".gguf");
    if (!file_is_dir(in) && !file_exists(in)) {
        return err_set(info, ERR_NOTFOUND, "there is no %s", in);
    }
    if (file_is_dir(in) && !to_gguf) {
        return err_set(info, ERR_ARGUMENT, "%s is a folder and so becomes a GGUF file, but %s does not end "
                       "in .gguf", in, out);
    }
    if (to_gguf && file_is_dir(out)) {
        return err_set(info, ERR_ARGUMENT, "%s is a folder; a file name is needed", out);
    }
    *way = file_is_dir(in) ? CONVERT_FOLDER_TO_GGUF
           : to_gguf       ? CONVERT_GGUF_TO_GGUF
                           : CONVERT_GGUF_TO_FOLDER;
    return ERR_OK;
}

err convert_run(const char *in, const char *out, const struct convert_options *options,
                struct convert_report *report, struct errinfo *info)
{
    struct convert_report r = {0};
    struct convert_job j = {.in = in, .out = out, .options = options, .report = &r, .info = info};
    TRY(convert_way(in, out, &r.way, info));
    j.n_threads = options->n_threads > 0 ? options->n_threads : cpuinfo_cores();
    double begin = progress_clock();
    TRY(convert_start(&j));
    r.seconds = progress_clock() - begin;
    *report = r;
    return ERR_OK;
}
