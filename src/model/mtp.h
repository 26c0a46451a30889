/* model/mtp.h: the multi-token-prediction layer (DeepSeek-V3 paper, section 2.2), which guesses one token
 * further than the model itself. From the model's output h_i and the token t_{i+1} that followed:
 *
 *     h'_i = M [RMSNorm(Emb(t_{i+1})); RMSNorm(h_i)]        M = eh_proj [d, 2d]
 *     h''  = layer(h'_0 … h'_i)                             a decoder layer with its own keys and values
 *     logits for t_{i+2} = head(RMSNorm(h''_i))
 *
 * The paper writes the hidden half first; the released weights have the embedding half first, as their
 * names say (enorm, hnorm, eh_proj). h_i is the output after the final norm, what the head sees. To guess
 * further the layer's own normed output takes the place of h.
 * In code: a model of one layer that begins from h' instead of an embedding. */
#ifndef MODEL_MTP_H
#define MODEL_MTP_H

#include "model/forward.h"

struct mtp {
    struct config config;   /* the model's, with one layer, and that of the kind its last ones are */
    struct weights weights; /* a view of that layer, its norm and its head; owns nothing */
    const struct weights_mtp *own;
};

/* `w` must outlive *out. */
void mtp_init(struct mtp *out, const struct config *c, const struct weights_mtp *w);

/* Checked arguments in; step->cache->len is not touched. */
ERR_MUST_USE err mtp_forward(const struct mtp *m, struct compute *c, struct model_workspace *w,
                             const struct model_mtp_step *step, struct errinfo *info);

#endif
