/* train/trainplan.c: see trainplan.h. */
#include "train/trainplan.h"

#include "base/meminfo.h"
#include "train/ema.h"
#include "train/trainer.h"
#include "train/trainflops.h"

err trainplan_make(const struct trainrecipe *r, int n_threads, struct trainplan *out, struct errinfo *info)
{
    struct learnparams *p;
    struct learnmodel_sizes sizes;
    const struct learnmodel_options batch = trainer_batch(r);
    const struct optimizer_options rules = trainer_rules(r);
    size_t rows = r->sequences > r->first_sequences ? r->sequences : r->first_sequences;
    TRY(learnmodel_measure(&r->config, &batch, n_threads, &sizes, info));
    TRY(learnparams_list(&r->config, false, &p, info));
    struct trainplan plan = {.n_values = sizes.n_values,
                             .active = trainflops_active(&r->config, p, false),
                             .total = trainflops_active(&r->config, p, true),
                             .parameters = sizes.parameters,
                             .optimizer = optimizer_bytes(p, &rules),
                             .average = r->ema > 0 ? ema_bytes(p) : 0,
                             .activations = sizes.activations,
                             .rows = rows * r->context * 3 * sizeof(int32_t),
                             .flops_per_token = trainflops_per_token(&r->config, p, r->context, true),
                             .steps = trainer_steps(r)};
    double without = trainflops_per_token(&r->config, p, r->context, trainer_mtp(r, 0));
    learnparams_free(p);
    plan.flops = (without * r->mtp_from + plan.flops_per_token * (1 - r->mtp_from)) * r->tokens;
    plan.bytes = plan.parameters + plan.optimizer + plan.average + plan.activations + plan.rows;
    *out = plan;
    return ERR_OK;
}

err trainplan_fits(const struct trainplan *p, struct errinfo *info)
{
    char wanted[MEMINFO_TEXT], there[MEMINFO_TEXT];
    size_t available = meminfo_available();
    if (p->bytes <= available) {
        return ERR_OK;
    }
    return err_set(info, ERR_NOMEM, "the run takes %s, but only %s are free: recompute = yes, fewer "
                   "micro_sequences or a smaller model need less", meminfo_text(p->bytes, wanted),
                   meminfo_text(available, there));
}
