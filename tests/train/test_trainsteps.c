/* Twenty steps of training against PyTorch (tools/golden/learn.py): torch.optim.AdamW, and torch.optim.Muon for the
 * matrices with clipped gradients, rates warming up and every group by its own rule. In float64 losses and gradient
 * norms are PyTorch's; in bfloat16 they stay near them, losses nearer than those of PyTorch's autocast. */
#include "model/learngolden.h"

#include "train/optimizer.h"

struct steps {
    struct file_map file;
    struct tensortable *table;
    struct learngolden view; /* names and the table, for learngolden_tensor */
    size_t n, tokens;        /* steps; tokens of each */
    struct optimizer_options options;
    const double *lr_scales, *losses, *grad_norms;
};

static const double *numbers(const struct steps *s, const char *name)
{
    return learngolden_tensor(&s->view, "", name)->data;
}

static void open_steps(const struct learngolden *g, const char *rules, struct steps *s)
{
    char path[128];
    *s = (struct steps){0};
    snprintf(path, sizeof path, LEARNGOLDEN_DIR "%s/steps-%s.safetensors", g->name, rules);
    learngolden_table(path, &s->file, &s->table);
    s->view = (struct learngolden){.name = rules, .table = s->table};
    s->n = learngolden_tensor(&s->view, "", "lr_scales")->shape[0];
    s->tokens = g->n_sequences * g->context;
    s->lr_scales = numbers(s, "lr_scales");
    s->losses = numbers(s, "losses");
    s->grad_norms = numbers(s, "grad_norms");
    const double *o = numbers(s, "options"), *r = numbers(s, "rules");
    s->options = (struct optimizer_options){
        .muon_momentum = o[0], .muon_nesterov = o[1] > 0, .muon_steps = (int)o[2], .clip = o[3]};
    for (int i = 0; i < OPTIMIZER_GROUPS; i++, r += 6) {
        s->options.rules[i] = (struct optimizer_rule){r[0] > 0, r[1], r[2], r[3], r[4], r[5]};
    }
}

static struct learnmodel_batch batch(const struct steps *s, size_t step)
{
    const int32_t *tokens = learngolden_tensor(&s->view, "", "tokens")->data;
    const int32_t *targets = learngolden_tensor(&s->view, "", "targets")->data;
    const int32_t *positions = learngolden_tensor(&s->view, "", "positions")->data;
    size_t at = step * s->tokens;
    return (struct learnmodel_batch){tokens + at, targets + at, positions + at};
}

static void near(const char *what, size_t step, double found, double want, double tolerance)
{
    if (!(fabs(found - want) <= tolerance * fabs(want))) {
        fail_msg("step %zu: %s is %.12g, PyTorch's %.12g", step, what, found, want);
    }
}

struct tolerance {
    double loss, norm; /* relative, of each step */
};

/* How far the losses are off, in the mean over all steps. */
static double train(const struct learngolden *g, const struct steps *s, struct learnmodel *m, struct optimizer *o,
                  struct tolerance t)
{
    struct errinfo info = {0};
    double off = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct learnmodel_losses l;
        struct optimizer_report report;
        const struct learnmodel_batch b = batch(s, i);
        learnparams_zero_grad(learnmodel_params(m));
        if (learnmodel_step(m, &b, &g->scales, &l, &info) != ERR_OK ||
            optimizer_step(o, s->lr_scales[i], &report, &info) != ERR_OK) {
            fail_msg("%s", info.message);
        }
        double loss = l.sum * g->scales.token + l.mtp_sum * g->scales.mtp + l.balance_sum * g->scales.balance;
        near("the loss", i, loss, s->losses[i], t.loss);
        near("the norm of the gradients", i, report.grad_norm, s->grad_norms[i], t.norm);
        off += fabs(loss / s->losses[i] - 1) / (double)s->n;
    }
    return off;
}

static double off_by_autocast(const struct steps *s)
{
    double off = 0;
    for (size_t i = 0; i < s->n; i++) {
        off += fabs(numbers(s, "autocast")[i] / s->losses[i] - 1) / (double)s->n;
    }
    return off;
}

static void check(const char *rules, bool exact, enum cpuinfo_level level, struct tolerance t)
{
    struct learngolden g;
    struct steps s;
    struct compute *compute;
    struct optimizer *o;
    struct errinfo info = {0};
    learngolden_open("v3", &g);
    open_steps(&g, rules, &s);
    assert_int_equal(compute_new(level, 2, false, &compute, &info), ERR_OK);
    struct learnmodel *m = learngolden_model(&g, exact, compute);
    if (optimizer_new(learnmodel_params(m), &s.options, compute, &o, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    double off = train(&g, &s, m, o, t), most = off_by_autocast(&s);
    if (!(off <= most)) {
        fail_msg("%s, %s: the losses are off by %.4f, those of PyTorch's autocast by %.4f", rules,
                 cpuinfo_level_name(level), off, most);
    }
    optimizer_free(o);
    learnmodel_free(m);
    compute_free(compute);
    tensortable_free(s.table);
    file_map_close(&s.file);
    learngolden_close(&g);
}

static void test_in_float64_twenty_steps_of_adamw_are_pytorchs(void **state)
{
    (void)state;
    check("adamw", true, CPUINFO_REF, (struct tolerance){1e-11, 1e-10});
}

static void test_in_float64_twenty_steps_of_muon_are_pytorchs(void **state)
{
    (void)state;
    check("muon", true, CPUINFO_REF, (struct tolerance){1e-11, 1e-10});
}

static void test_in_bfloat16_they_stay_near_at_every_level(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        check("adamw", false, level, (struct tolerance){0.01, 0.08});
        check("muon", false, level, (struct tolerance){0.01, 0.08});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_float64_twenty_steps_of_adamw_are_pytorchs),
        cmocka_unit_test(test_in_float64_twenty_steps_of_muon_are_pytorchs),
        cmocka_unit_test(test_in_bfloat16_they_stay_near_at_every_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
