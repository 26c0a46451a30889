/* train/trainexport.h: a model that learnt, as a GGUF file: every value in float32, so that `fathom quantize`
 * loses nothing before it rounds; tokenizer and chat template as the dataset's folder has them. */
#ifndef TRAIN_TRAINEXPORT_H
#define TRAIN_TRAINEXPORT_H

#include "model/learnparams.h"

/* `tokenizer_dir` holds tokenizer.json. The file appears complete or not at all. */
ERR_MUST_USE err trainexport_gguf(const struct config *config, const struct learnparams *p,
                                  const char *tokenizer_dir, const char *path, struct errinfo *info);

#endif
