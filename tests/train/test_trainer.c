/* Steps: what was interrupted goes on bit for bit, threads change no bit, the loss falls, the balance moves, and a
 * number that is none leaves the weights alone. */
#include "trainfixture.h"

#include <math.h>

#include "train/trainerscore.h"
#include "train/trainerstate.h"

static struct trainer_report steps(struct trainer *t, int n)
{
    struct errinfo info = {0};
    struct trainer_report r = {0};
    for (int i = 0; i < n; i++) {
        datasetfixture_must(trainer_step(t, &r, &info), &info);
    }
    return r;
}

static void same_weights(const struct trainer *a, const struct trainer *b)
{
    const struct learnparams *p = learnmodel_params(a->model), *q = learnmodel_params(b->model);
    for (size_t i = 0; i < p->n; i++) {
        const struct mat *m = &p->all[i].value;
        if (memcmp(m->data, q->all[i].value.data, m->rows * m->cols * mat_type_bytes(m->type)) != 0) {
            fail_msg("%s differs", p->all[i].name);
        }
    }
}

static void done(struct trainer *t, struct compute *c)
{
    trainer_free(t);
    compute_free(c);
}

static void test_saved_and_restored_goes_on_bit_for_bit(void **state)
{
    (void)state;
    const char *more[] = {"", "[optimizer]\nmatrices = adamw\nema = 0.9\nlr = 0.003\n",
                          "sample_tokens = 0\n[model]\nqk_norm = true\nx0_skip = true\nvalue_residual = true\n"};
    for (int k = 0; k < 3; k++) {
        struct trainfixture x;
        struct errinfo info = {0};
        struct compute *c[3];
        char dir[96];
        trainfixture_init(&x, more[k]);
        snprintf(dir, sizeof dir, "%s/checkpoints", x.files.dir);
        struct trainer *whole = trainfixture_trainer(&x, 2, &c[0]), *first = trainfixture_trainer(&x, 1, &c[1]);
        struct trainer *second = trainfixture_trainer(&x, 2, &c[2]);
        struct trainer_report a = steps(whole, 10);
        steps(first, 5);
        datasetfixture_must(trainerstate_save(first, dir, &info), &info);
        steps(first, 1); /* is lost */
        datasetfixture_must(trainerstate_restore(second, dir, 5, false, &info), &info);
        struct trainer_report b = steps(second, 5);
        same_weights(whole, second);
        assert_true(a.loss == b.loss && a.grad_norm == b.grad_norm && a.step == b.step && a.tokens == b.tokens);
        steps(whole, 5);
        steps(second, 5);
        same_weights(whole, second);
        done(whole, c[0]);
        done(first, c[1]);
        done(second, c[2]);
        trainfixture_deinit(&x);
    }
}

static void test_loss_falls_and_routers_are_balanced(void **state)
{
    (void)state;
    struct trainfixture x;
    struct compute *c;
    struct errinfo info = {0};
    struct trainerscore_set *set;
    struct trainerscore before[2], after[2], all[2];
    trainfixture_init(&x, "[loss]\nbalance_step = 0.01\n");
    struct trainer *t = trainfixture_trainer(&x, 2, &c);
    datasetfixture_must(trainerscore_open(&x.recipe, &x.dataset, &set, &info), &info);
    assert_int_equal(trainerscore_sources(set), 2);
    datasetfixture_must(trainerscore_run(set, t, NULL, NULL, before, &all[0], &info), &info);
    double uniform = log((double)x.dataset.vocab_size);
    assert_true(fabs(trainerscore_loss(&all[0]) - uniform) < 0.1 * uniform);
    struct trainer_report first = steps(t, 1);
    for (int i = 0; i < 60; i++) {
        steps(t, 1);
    }
    struct trainer_report last = steps(t, 1);
    datasetfixture_must(trainerscore_run(set, t, NULL, NULL, after, &all[1], &info), &info);
    assert_true(last.loss < 0.75 * first.loss);
    assert_true(trainerscore_bits_per_byte(&all[1]) < 0.8 * trainerscore_bits_per_byte(&all[0]));
    assert_true(after[0].nats < before[0].nats && after[0].tokens == before[0].tokens && after[0].bytes > 0);
    assert_true(last.load_spread >= 1 && last.load_spread < 2);
    datasetfixture_must(trainerscore_run(set, t, NULL, NULL, before, &all[0], &info), &info);
    assert_true(all[0].nats == all[1].nats); /* always the same rows */
    trainerscore_close(set);
    done(t, c);
    trainfixture_deinit(&x);
}

static void test_mtp_begins_when_the_recipe_says(void **state)
{
    (void)state;
    struct trainfixture x;
    struct compute *c;
    trainfixture_init(&x, "[loss]\nmtp_from = 0.5\n");
    struct trainer *t = trainfixture_trainer(&x, 2, &c);
    const struct learnparam *join = learnmodel_params(t->model)->mtp->join;
    size_t n = join->value.rows * join->value.cols * sizeof(float), half = (size_t)trainer_steps(&x.recipe) / 2;
    void *first = malloc(n);
    assert_non_null(first);
    memcpy(first, join->value.data, n);
    struct trainer_report r = steps(t, (int)half);
    assert_true(isnan(r.mtp_loss));
    assert_memory_equal(first, join->value.data, n);
    assert_true(fabs(r.flops - (double)r.tokens * t->flops_per_token[0]) <= 1e-9 * r.flops);
    struct trainer_report next = steps(t, 1);
    assert_true(next.mtp_loss > 0 && t->flops_per_token[1] > t->flops_per_token[0]);
    assert_memory_not_equal(first, join->value.data, n);
    double added = (double)(next.tokens - r.tokens) * t->flops_per_token[1];
    assert_true(fabs(next.flops - r.flops - added) <= 1e-9 * added);
    free(first);
    done(t, c);
    trainfixture_deinit(&x);
}

static void test_no_number_leaves_weights_alone(void **state)
{
    (void)state;
    struct trainfixture x;
    struct compute *c[2];
    struct errinfo info = {0};
    struct trainer_report r;
    trainfixture_init(&x, "");
    struct trainer *t = trainfixture_trainer(&x, 2, &c[0]), *u = trainfixture_trainer(&x, 2, &c[1]);
    steps(t, 2);
    steps(u, 2);
    struct mat norm = learnmodel_params(t->model)->norm->value;
    double kept = mat_get(&norm, 0, 3);
    mat_set(&norm, 0, 3, NAN);
    datasetfixture_must(trainer_step(t, &r, &info), &info);
    assert_int_equal(r.verdict, TRAINER_NOT_FINITE);
    mat_set(&norm, 0, 3, kept);
    same_weights(t, u);
    assert_int_equal(optimizer_steps(t->optimizer), 2);
    done(t, c[0]);
    done(u, c[1]);
    trainfixture_deinit(&x);
}

static void test_a_checkpoint_says_what_it_was_made_from(void **state)
{
    (void)state;
    struct trainfixture x;
    struct compute *c;
    struct errinfo info = {0};
    json_t *recipe;
    char dir[96], data[TOKENSHARD_HASH];
    trainfixture_init(&x, "");
    snprintf(dir, sizeof dir, "%s/checkpoints", x.files.dir);
    struct trainer *t = trainfixture_trainer(&x, 2, &c);
    datasetfixture_must(trainerstate_save(t, dir, &info), &info);
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        mem_fault(k, 0);
        err e = trainerstate_origin(dir, 0, &recipe, data, &info);
        mem_fault(0, 0);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_int_equal(mem_alive(), alive);
    }
    assert_string_equal(data, x.dataset.sha256);
    assert_null(trainrecipe_difference(recipe, x.recipe.given));
    json_decref(recipe);
    assert_int_equal(mem_alive(), alive);
    done(t, c);
    trainfixture_deinit(&x);
}

static void test_foreign_checkpoints_are_refused(void **state)
{
    (void)state;
    struct trainfixture x, y;
    struct compute *c[2];
    struct errinfo info = {0};
    char dir[96];
    trainfixture_init(&x, "");
    trainfixture_init(&y, "[optimizer]\nmatrices = adamw\n");
    snprintf(dir, sizeof dir, "%s/checkpoints", x.files.dir);
    struct trainer *t = trainfixture_trainer(&x, 2, &c[0]), *u = trainfixture_trainer(&y, 2, &c[1]);
    steps(t, 1);
    datasetfixture_must(trainerstate_save(t, dir, &info), &info);
    assert_int_equal(trainerstate_restore(u, dir, 1, false, &info), ERR_CORRUPT);
    assert_int_equal(trainerstate_restore(t, dir, 2, false, &info), ERR_NOTFOUND);
    done(t, c[0]);
    done(u, c[1]);
    trainfixture_deinit(&x);
    trainfixture_deinit(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved_and_restored_goes_on_bit_for_bit),
        cmocka_unit_test(test_loss_falls_and_routers_are_balanced),
        cmocka_unit_test(test_mtp_begins_when_the_recipe_says),
        cmocka_unit_test(test_no_number_leaves_weights_alone),
        cmocka_unit_test(test_a_checkpoint_says_what_it_was_made_from),
        cmocka_unit_test(test_foreign_checkpoints_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
