/* tests/model/test_weights.c: binding refuses tables that lack a tensor, hold one of another shape or of
 * a type that cannot be computed with, and names it; allocation failures anywhere give an error and
 * leak nothing. */
#include "model/goldenmodel.h"

static const char *const FORMS[] = {"v2-lite", "v3-tied.gguf", "v2-lite.gguf", "v3-fp8", "qwen2",
                                    "llama3.gguf"};
enum { N_FORMS = sizeof FORMS / sizeof *FORMS };

/* The table of `m` without entry `skip`, or with entry `change` replaced by `with`. */
static struct tensortable *edited(const struct model *m, size_t skip, size_t change,
                                  const struct tensor *with)
{
    struct tensortable *t = NULL;
    assert_int_equal(tensortable_new(&t, NULL), ERR_OK);
    for (size_t i = 0; i < tensortable_count(model_tensors(m)); i++) {
        const struct tensortable_entry *e = tensortable_at(model_tensors(m), i);
        const struct tensor *use = i == change ? with : &e->tensor;
        if (i != skip) {
            assert_int_equal(tensortable_add(t, e->name, strlen(e->name), use, 0, 0, NULL), ERR_OK);
        }
    }
    return t;
}

static bool is_optional(const char *name)
{
    return strstr(name, "_scale_inv") || strstr(name, "exp_probs_b") ||
           strcmp(name, "rope_freqs.weight") == 0;
}

static void every_missing_tensor_is_named(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FORMS; f++) {
        struct model *m = goldenmodel_open(FORMS[f]), *bad = NULL;
        for (size_t i = 0; i < tensortable_count(model_tensors(m)); i++) {
            const char *name = tensortable_at(model_tensors(m), i)->name;
            struct tensortable *t = edited(m, i, SIZE_MAX, NULL);
            struct errinfo info = {0};
            err e = model_from_tensors(model_config(m), t, &bad, &info);
            if (is_optional(name)) {
                assert_int_equal(e, ERR_OK);
                model_close(bad);
            } else if (e != ERR_CORRUPT ||
                       (!strstr(info.message, name) && !strstr(name, "_b.weight"))) {
                fail_msg("%s without %s: %s: %s", FORMS[f], name, err_name(e), info.message);
            }
            tensortable_free(t);
        }
        model_close(m);
    }
}

static void every_wrong_shape_or_type_is_named(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FORMS; f++) {
        struct model *m = goldenmodel_open(FORMS[f]), *bad = NULL;
        for (size_t i = 0; i < tensortable_count(model_tensors(m)); i++) {
            const struct tensortable_entry *entry = tensortable_at(model_tensors(m), i);
            if (strstr(entry->name, "_scale_inv") || strcmp(entry->name, "rope_freqs.weight") == 0) {
                continue;
            }
            for (int kind = 0; kind < 4; kind++) {
                struct tensor with = entry->tensor;
                err code = ERR_CORRUPT;
                switch (kind) {
                case 0: with.shape[0]++; break;
                case 1: with.shape[with.rank - 1]--; break;
                case 2: with.shape[with.rank++] = 1; break;
                default:
                    with.dtype = DTYPE_IQ4_NL;
                    code = ERR_UNSUPPORTED;
                    break;
                }
                struct tensortable *t = edited(m, SIZE_MAX, i, &with);
                struct errinfo info = {0};
                err e = model_from_tensors(model_config(m), t, &bad, &info);
                if (e != code || !strstr(info.message, entry->name)) {
                    fail_msg("%s, %s, change %d: %s: %s", FORMS[f], entry->name, kind, err_name(e),
                             info.message);
                }
                tensortable_free(t);
            }
        }
        model_close(m);
    }
}

static void fp8_without_scales_is_refused(void **state)
{
    (void)state;
    struct model *m = goldenmodel_open("v3-fp8"), *bad = NULL;
    for (size_t i = 0; i < tensortable_count(model_tensors(m)); i++) {
        struct tensor with = tensortable_at(model_tensors(m), i)->tensor;
        if (with.dtype == DTYPE_F8_E4M3) {
            with.scale = NULL;
            struct tensortable *t = edited(m, SIZE_MAX, i, &with);
            struct errinfo info = {0};
            assert_int_equal(model_from_tensors(model_config(m), t, &bad, &info), ERR_CORRUPT);
            assert_non_null(strstr(info.message, "_scale_inv"));
            tensortable_free(t);
        }
    }
    model_close(m);
}

static void a_table_without_embedding_is_no_model(void **state)
{
    (void)state;
    struct model *m = goldenmodel_open("qwen2"), *bad = NULL;
    struct tensortable *t = NULL;
    struct errinfo info = {0};
    assert_int_equal(tensortable_new(&t, NULL), ERR_OK);
    assert_int_equal(model_from_tensors(model_config(m), t, &bad, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "token_embd.weight"));
    tensortable_free(t);
    model_close(m);
}

/* Opens, runs three tokens, closes; any step may fail. */
static err open_and_run(const char *path, enum cpuinfo_level level, struct errinfo *info)
{
    struct model *m = NULL;
    TRY(model_open(path, &m, info));
    struct compute *c = NULL;
    struct model_workspace *w = NULL;
    float *logits = calloc(model_config(m)->vocab_size, sizeof *logits);
    struct model_cache *cache = goldenmodel_cache(m, DTYPE_BF16, 4);
    const int32_t tokens[] = {1, 2, 3};
    struct model_segment seg = {.cache = cache, .tokens = tokens, .n_tokens = 3, .logits = logits};
    err e = compute_new(level, 1, false, &c, info);
    if (e == ERR_OK) {
        e = model_workspace_new(m, 4, &w, info);
    }
    if (e == ERR_OK) {
        e = model_forward(m, c, w, &seg, 1, NULL, NULL, info);
        if (cache->len != (e == ERR_OK ? 3 : 0)) {
            e = ERR_ARGUMENT;
        }
    }
    goldenmodel_cache_free(cache);
    free(logits);
    model_workspace_free(w);
    compute_free(c);
    model_close(m);
    return e;
}

static void every_refused_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    static const char *const paths[] = {"v2-gain", "v3-tied/model.gguf", "v3-fp8", "v3-mtp",
                                        "llama3/model.gguf"};
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
        char path[128];
        snprintf(path, sizeof path, GOLDENMODEL_DIR "%s", paths[p]);
        err e = ERR_NOMEM;
        size_t k = 0;
        while (e != ERR_OK) {
            struct errinfo info = {0};
            size_t alive = mem_alive();
            mem_fault(++k, 0);
            e = open_and_run(path, cpuinfo_best(), &info);
            mem_fault(0, 0);
            if (mem_alive() != alive) {
                fail_msg("%s: allocation %zu refused: %zd left", path, k,
                         (ssize_t)(mem_alive() - alive));
            }
            if (e != ERR_OK && (e != ERR_NOMEM || info.message[0] == 0)) {
                fail_msg("%s: allocation %zu refused: %s: %s", path, k, err_name(e), info.message);
            }
        }
        assert_true(k > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_missing_tensor_is_named),
        cmocka_unit_test(every_wrong_shape_or_type_is_named),
        cmocka_unit_test(fp8_without_scales_is_refused),
        cmocka_unit_test(a_table_without_embedding_is_no_model),
        cmocka_unit_test(every_refused_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
