/* train/trainexport.c: see trainexport.h. */
#include "train/trainexport.h"

#include "formats/gguf.h"
#include "model/ggufkeys.h"
#include "model/vocabkeys.h"

enum { TRAINEXPORT_F32 = 0 }; /* llama.cpp's number of a file of float32 */

static err trainexport_declare(struct gguf_writer *w, const struct tensortable *t, struct errinfo *info)
{
    for (size_t i = 0; i < tensortable_count(t); i++) {
        const struct tensortable_entry *e = tensortable_at(t, i);
        TRY(gguf_writer_tensor(w, e->name, &e->tensor, info));
    }
    return gguf_writer_begin_data(w, info);
}

static err trainexport_tensors(struct gguf_writer *w, const struct tensortable *t, struct errinfo *info)
{
    TRY(trainexport_declare(w, t, info));
    for (size_t i = 0; i < tensortable_count(t); i++) {
        const struct tensor *tensor = &tensortable_at(t, i)->tensor;
        TRY(gguf_writer_data(w, tensor->data, tensor_bytes(tensor), info));
    }
    return ERR_OK;
}

static err trainexport_write(struct gguf_writer *w, const struct config *config, const struct tensortable *t,
                             const char *tokenizer_dir, struct errinfo *info)
{
    TRY(ggufkeys_write(w, config, TRAINEXPORT_F32, info));
    TRY(vocabkeys_from_folder(w, tokenizer_dir, config->vocab_size, info));
    TRY(trainexport_tensors(w, t, info));
    return gguf_writer_commit(w, info);
}

err trainexport_gguf(const struct config *config, const struct learnparams *p, const char *tokenizer_dir,
                     const char *path, struct errinfo *info)
{
    struct gguf_writer *w;
    struct tensortable *t;
    TRY(learnparams_table(p, &t, info));
    err e = gguf_writer_new(path, &w, info);
    if (e == ERR_OK) {
        e = trainexport_write(w, config, t, tokenizer_dir, info);
        gguf_writer_free(w);
    }
    tensortable_free(t);
    return e;
}
