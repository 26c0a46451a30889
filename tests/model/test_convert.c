/* Hugging Face folder → GGUF → Hugging Face folder: equal tensors and, at every station, the golden
 * logits; quantised files; importance matrices; what is refused, and that nothing is left behind then. */
#include "goldenmodel.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "formats/hffolder.h"
#include "formats/safetensors.h"
#include "formats/tempdir.h"
#include "model/convert.h"
#include "model/quantmix.h"
#include "model/recipe.h"
#include "model/synth.h"
#include "model/vocab.h"
#include "tensor/ref/dequant.h"

static char folder[] = "/tmp/fathom-convert-XXXXXX";

static int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    (void)state;
    tempdir_remove_all(folder);
    return 0;
}

static int folder_entries(void)
{
    DIR *d = opendir(folder);
    int n = 0;
    while (readdir(d)) {
        n++;
    }
    closedir(d);
    return n - 2;
}

/* folder/NAME; the caller's buffer. */
static const char *inside(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void must_convert(const char *in, const char *out, const struct convert_options *o)
{
    struct errinfo info = {0};
    struct convert_report report;
    struct convert_options over = *o;
    over.overwrite = true;
    if (convert_run(in, out, &over, &report, &info) != ERR_OK) {
        fail_msg("%s to %s: %s", in, out, info.message);
    }
    assert_true(report.n_tensors > 0 && report.bytes > 0);
}

static float *row_of(const struct tensor *t, size_t row)
{
    float *x = malloc(tensor_cols(t) * sizeof *x);
    dequant_row(t, row, x);
    return x;
}

/* Every tensor of b is in a with the same values, bit for bit. */
static void check_tensors(const char *a_path, const char *b_path)
{
    struct hffolder *a, *b;
    struct errinfo info = {0};
    assert_int_equal(hffolder_open(a_path, &a, &info), ERR_OK);
    assert_int_equal(hffolder_open(b_path, &b, &info), ERR_OK);
    const struct tensortable *all = hffolder_tensors(b);
    for (size_t i = 0; i < tensortable_count(all); i++) {
        const struct tensortable_entry *y = tensortable_at(all, i);
        const struct tensortable_entry *x = tensortable_find(hffolder_tensors(a), y->name);
        assert_non_null(x);
        assert_int_equal(x->tensor.rank, y->tensor.rank);
        assert_memory_equal(x->tensor.shape, y->tensor.shape, sizeof x->tensor.shape);
        for (size_t r = 0; r < tensor_rows(&y->tensor); r++) {
            float *want = row_of(&x->tensor, r);
            float *got = row_of(&y->tensor, r);
            if (memcmp(want, got, tensor_cols(&y->tensor) * sizeof *got) != 0) {
                fail_msg("%s: %s row %zu differs", a_path, y->name, r);
            }
            free(want);
            free(got);
        }
    }
    hffolder_close(a);
    hffolder_close(b);
}

static void check_logits(const char *path, const struct goldenmodel *g, double bound)
{
    struct model *m = NULL;
    struct errinfo info = {0};
    if (model_open(path, &m, &info) != ERR_OK) {
        fail_msg("%s: %s", path, info.message);
    }
    const struct goldenmodel_run run = {CPUINFO_REF, 1, false, 0, DTYPE_F32};
    float *logits;
    goldenmodel_forward(m, &run, g->tokens, g->n_tokens, &logits, NULL);
    double d = goldenmodel_distance(logits, g->logits, g->n_tokens, g->vocab);
    if (!(d <= bound)) {
        fail_msg("%s: logits differ by %g", path, d);
    }
    free(logits);
    model_close(m);
}

static bool has_mtp(const char *path)
{
    struct model *m = NULL;
    struct errinfo info = {0};
    if (model_open(path, &m, &info) != ERR_OK) {
        fail_msg("%s: %s", path, info.message);
    }
    bool has = model_has_mtp(m);
    model_close(m);
    return has;
}

/* Every fixture GGUF has keys for. */
static const char *const classes[] = {
    "llama3",      "llama-tied",  "llama-b",     "llama-c",     "llama-d",     "qwen2",    "qwen2-b",
    "qwen2-c",     "qwen2-d",     "qwen2-yarn",  "v2-lite",     "v2-lite-b",   "v2-lite-c", "v2-lite-d",
    "v2-groups",   "v2-groups-b", "v2-groups-c", "v2-groups-d", "v3",          "v3-b",     "v3-c",
    "v3-d",        "v3-fp8",      "v3-fp8-b",    "v3-fp8-c",    "v3-mtp",      "v3-tied"};

static void folders_survive_the_way_through_gguf(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        char source[256], gguf[256], back[256];
        struct goldenmodel g;
        snprintf(source, sizeof source, GOLDENMODEL_DIR "%s", classes[i]);
        goldenmodel_load(classes[i], &g);
        must_convert(source, inside("m.gguf", gguf), &(struct convert_options){.type = "f32"});
        must_convert(gguf, inside(classes[i], back),
                     &(struct convert_options){.shard_bytes = i % 2 ? 20000 : 0, .n_threads = 2});
        check_tensors(source, back);
        assert_int_equal(has_mtp(gguf), strcmp(classes[i], "v3-mtp") == 0);
        assert_int_equal(has_mtp(back), strcmp(classes[i], "v3-mtp") == 0);
        check_logits(gguf, &g, 1e-4);
        check_logits(back, &g, 1e-4);
        goldenmodel_free(&g);
    }
}

/* Block scales that are powers of two leave every weight exact in BF16. */
static void fp8_folders_become_gguf_without_loss(void **state)
{
    (void)state;
    static const struct {
        const char *name, *type;
    } cases[] = {{"v3-fp8", "f32"}, {"v3-fp8-b", "bf16"}, {"v3-fp8-c", "f32"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char source[256], path[256];
        struct goldenmodel g;
        snprintf(source, sizeof source, GOLDENMODEL_DIR "%s", cases[i].name);
        goldenmodel_load(cases[i].name, &g);
        must_convert(source, inside("fp8.gguf", path), &(struct convert_options){.type = cases[i].type});
        check_logits(path, &g, 1e-4);
        goldenmodel_free(&g);
    }
}

static void our_gguf_has_the_tensors_of_the_golden_one(void **state)
{
    (void)state;
    static const char *const with_gguf[] = {"llama3",    "llama-tied", "llama-b",     "qwen2",
                                            "qwen2-b",   "v2-lite",    "v2-groups-b", "v3",
                                            "v3-b",      "v3-d",       "v3-fp8-b",    "v3-fp8-c",
                                            "v3-mtp"};
    for (size_t i = 0; i < sizeof with_gguf / sizeof *with_gguf; i++) {
        char source[256], golden[256], ours[256];
        struct gguf *a, *b;
        struct errinfo info = {0};
        snprintf(source, sizeof source, GOLDENMODEL_DIR "%s", with_gguf[i]);
        snprintf(golden, sizeof golden, GOLDENMODEL_DIR "%s/model.gguf", with_gguf[i]);
        must_convert(source, inside("m.gguf", ours), &(struct convert_options){.type = "f32"});
        assert_int_equal(gguf_open(golden, &a, &info), ERR_OK);
        assert_int_equal(gguf_open(ours, &b, &info), ERR_OK);
        for (size_t k = 0; k < tensortable_count(gguf_tensors(a)); k++) {
            const struct tensortable_entry *x = tensortable_at(gguf_tensors(a), k);
            const struct tensortable_entry *y = tensortable_find(gguf_tensors(b), x->name);
            if (strstr(x->name, "attn_kv_b")) {
                continue; /* the golden file is an old one: whole, where ours is split */
            }
            if (!y || y->tensor.rank != x->tensor.rank ||
                memcmp(x->tensor.shape, y->tensor.shape, sizeof x->tensor.shape) != 0) {
                fail_msg("%s: %s is missing or has another shape", with_gguf[i], x->name);
            }
            float bound = x->tensor.dtype == DTYPE_F32 ? 1e-6f : 0.005f;
            for (size_t r = 0; r < tensor_rows(&x->tensor); r++) {
                float *want = row_of(&x->tensor, r);
                float *got = row_of(&y->tensor, r);
                for (size_t c = 0; c < tensor_cols(&x->tensor); c++) {
                    assert_float_equal(got[c], want[c], bound * (1 + fabsf(want[c])));
                }
                free(want);
                free(got);
            }
        }
        gguf_close(a);
        gguf_close(b);
    }
}

static void files_with_whole_kv_b_become_folders(void **state)
{
    (void)state;
    struct goldenmodel g;
    char back[256];
    goldenmodel_load("v2-lite", &g);
    must_convert(GOLDENMODEL_DIR "v2-lite/model.gguf", inside("whole", back),
                 &(struct convert_options){0});
    check_logits(back, &g, 0.05);
    goldenmodel_free(&g);
}

/* Random weights in a shape whose rows are blocks (and, for the experts' down, only half are). */
static const char synth_config[] =
    "{\"architectures\": [\"DeepseekV2ForCausalLM\"], \"model_type\": \"deepseek_v2\","
    " \"vocab_size\": 64, \"hidden_size\": 256, \"intermediate_size\": 512,"
    " \"num_hidden_layers\": 3, \"num_attention_heads\": 2, \"num_key_value_heads\": 2,"
    " \"q_lora_rank\": null, \"kv_lora_rank\": 64, \"qk_nope_head_dim\": 32,"
    " \"qk_rope_head_dim\": 16, \"v_head_dim\": 32, \"n_routed_experts\": 4,"
    " \"n_shared_experts\": 1, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 96,"
    " \"first_k_dense_replace\": 1}";

static enum dtype synth_type(void *user, const struct inventory_item *item)
{
    (void)user;
    (void)item;
    return DTYPE_F32;
}

static void write_synth(const char *path, struct config *c)
{
    struct errinfo info = {0};
    json_t *json;
    struct synth *s;
    assert_int_equal(json_parse(synth_config, sizeof synth_config - 1, "config", &json, &info),
                     ERR_OK);
    assert_int_equal(config_from_json(json, c, &info), ERR_OK);
    json_decref(json);
    assert_int_equal(synth_new(c, synth_type, NULL, 0, NULL, &s, &info), ERR_OK);
    assert_int_equal(synth_write(s, path, 0, NULL, &info), ERR_OK);
    synth_free(s);
}

/* Squared error over squared values. */
static double tensor_error(const struct tensor *x, const struct tensor *y)
{
    double rest = 0;
    double all = 1e-30;
    for (size_t r = 0; r < tensor_rows(x); r++) {
        float *want = row_of(x, r);
        float *got = row_of(y, r);
        for (size_t c = 0; c < tensor_cols(x); c++) {
            double d = (double)want[c] - (double)got[c];
            rest += d * d;
            all += (double)want[c] * (double)want[c];
        }
        free(want);
        free(got);
    }
    return rest / all;
}

static void every_mix_gives_each_tensor_its_type(void **state)
{
    (void)state;
    static const char *const types[] = {"q8_0", "q4_0",   "q4_k",   "q5_k",   "q6_k",  "q4_k_m",
                                        "q5_k_m", "q4_k_s", "q3_k_m", "q2_k", "mxfp4", "bf16"};
    char f32[256], out[256];
    struct config c;
    struct gguf *exact;
    struct errinfo info = {0};
    write_synth(inside("f32.gguf", f32), &c);
    assert_int_equal(gguf_open(f32, &exact, &info), ERR_OK);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct quantmix mix;
        struct gguf *q;
        struct model *m;
        assert_int_equal(quantmix_init(&mix, types[i], &c, &info), ERR_OK);
        must_convert(f32, inside("q.gguf", out),
                     &(struct convert_options){.type = types[i], .n_threads = 2});
        assert_int_equal(gguf_open(out, &q, &info), ERR_OK);
        const struct tensortable *all = gguf_tensors(exact);
        assert_int_equal(tensortable_count(gguf_tensors(q)), tensortable_count(all));
        for (size_t k = 0; k < tensortable_count(all); k++) {
            const struct tensortable_entry *x = tensortable_at(all, k);
            const struct tensor *y = &tensortable_find(gguf_tensors(q), x->name)->tensor;
            assert_int_equal(y->dtype, quantmix_type(&mix, x->name, y->rank, y->shape));
            bool coarse = y->dtype == DTYPE_Q2_K || y->dtype == DTYPE_Q3_K;
            assert_true(tensor_error(&x->tensor, y) < (coarse ? 0.15 : 0.02));
        }
        gguf_close(q);
        assert_int_equal(model_open(out, &m, &info), ERR_OK);
        model_close(m);
    }
    gguf_close(exact);
}

static void all_but_the_experts_can_have_a_type_of_their_own(void **state)
{
    (void)state;
    char f32[256], out[256];
    struct config c, none;
    struct gguf *q;
    struct quantmix mix;
    struct errinfo info = {0};
    size_t experts = 0;
    write_synth(inside("f32.gguf", f32), &c);
    must_convert(f32, inside("q.gguf", out),
                 &(struct convert_options){.type = "q4_0", .dense = "q8_0", .n_threads = 2});
    assert_int_equal(gguf_open(out, &q, &info), ERR_OK);
    for (size_t k = 0; k < tensortable_count(gguf_tensors(q)); k++) {
        const struct tensortable_entry *x = tensortable_at(gguf_tensors(q), k);
        bool exact = x->tensor.rank < 2 || strstr(x->name, "ffn_gate_inp");
        bool fits = x->tensor.shape[x->tensor.rank - 1] % 32 == 0, expert = strstr(x->name, "_exps.");
        assert_int_equal(x->tensor.dtype, exact ? DTYPE_F32 : !fits ? DTYPE_F16 : expert ? DTYPE_Q4_0 : DTYPE_Q8_0);
        experts += expert;
    }
    assert_true(experts > 0);
    gguf_close(q);
    assert_int_equal(quantmix_init(&mix, "q4_0", &c, &info), ERR_OK);
    assert_int_equal(quantmix_set_dense(&mix, "q4_k_m", &c, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "is a mix"));
    none = c;
    none.n_routed_experts = 0;
    assert_int_equal(quantmix_set_dense(&mix, "q8_0", &none, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "no routed experts"));
}

static void tokenizers_survive_the_way_through_gguf(void **state)
{
    (void)state;
    static const char *const names[] = {"deepseek-v3", "deepseek-llm", "qwen2", "llama-bpe",
                                        "smollm"};
    /* A model folder around each tokenizer, with as many rows as it needs. */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char dir[256], path[512], source[256], gguf[256], back[256], config[1024];
        struct errinfo info = {0};
        snprintf(source, sizeof source, "tests/golden/tokenizer/%s", names[i]);
        snprintf(dir, sizeof dir, "%s/tok-%s", folder, names[i]);
        struct tokenizer *a = NULL, *b = NULL;
        assert_int_equal(tokenizer_open(source, &a, &info), ERR_OK);
        size_t rows = tokenizer_size(a) + 7;
        assert_int_equal(file_make_dirs(dir, &info), ERR_OK);
        snprintf(config, sizeof config,
                 "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", "
                 "\"vocab_size\": %zu, \"hidden_size\": 4, \"num_hidden_layers\": 1, "
                 "\"num_attention_heads\": 1, \"num_key_value_heads\": 1, "
                 "\"intermediate_size\": 4, \"tie_word_embeddings\": true}", rows);
        struct file_writer *w;
        snprintf(path, sizeof path, "%s/config.json", dir);
        assert_int_equal(file_writer_open(path, &w, &info), ERR_OK);
        assert_int_equal(file_writer_write(w, config, strlen(config), &info), ERR_OK);
        assert_int_equal(file_writer_commit(w, &info), ERR_OK);
        file_writer_close(w);
        static const char *const copies[] = {"tokenizer.json", "tokenizer_config.json"};
        for (int k = 0; k < 2; k++) {
            char *data;
            size_t size;
            snprintf(path, sizeof path, "%s/%s", source, copies[k]);
            assert_int_equal(file_read(path, 1 << 24, &data, &size, &info), ERR_OK);
            snprintf(path, sizeof path, "%s/%s", dir, copies[k]);
            assert_int_equal(file_writer_open(path, &w, &info), ERR_OK);
            assert_int_equal(file_writer_write(w, data, size, &info), ERR_OK);
            assert_int_equal(file_writer_commit(w, &info), ERR_OK);
            file_writer_close(w);
            mem_free(data);
        }
        struct safetensors_writer *s;
        snprintf(path, sizeof path, "%s/model.safetensors", dir);
        assert_int_equal(safetensors_writer_new(path, &s, &info), ERR_OK);
        static const struct {
            const char *name;
            size_t rows;
        } tensors[] = {
            {"model.embed_tokens.weight", 0},
            {"model.norm.weight", 1},
            {"model.layers.0.input_layernorm.weight", 1},
            {"model.layers.0.post_attention_layernorm.weight", 1},
            {"model.layers.0.self_attn.q_proj.weight", 4},
            {"model.layers.0.self_attn.k_proj.weight", 4},
            {"model.layers.0.self_attn.v_proj.weight", 4},
            {"model.layers.0.self_attn.q_proj.bias", 1},
            {"model.layers.0.self_attn.k_proj.bias", 1},
            {"model.layers.0.self_attn.v_proj.bias", 1},
            {"model.layers.0.self_attn.o_proj.weight", 4},
            {"model.layers.0.mlp.gate_proj.weight", 4},
            {"model.layers.0.mlp.up_proj.weight", 4},
            {"model.layers.0.mlp.down_proj.weight", 4},
        };
        size_t n = sizeof tensors / sizeof *tensors;
        float *zeros = calloc(rows, 4 * sizeof *zeros);
        for (size_t k = 0; k < n; k++) {
            size_t shape[2] = {tensors[k].rows ? tensors[k].rows : rows, 4};
            bool vector = tensors[k].rows == 1;
            struct tensor t;
            assert_int_equal(
                tensor_init(&t, DTYPE_F32, vector ? 1 : 2, vector ? shape + 1 : shape, NULL), ERR_OK);
            assert_int_equal(safetensors_writer_tensor(s, tensors[k].name, &t, &info), ERR_OK);
        }
        assert_int_equal(safetensors_writer_begin_data(s, &info), ERR_OK);
        for (size_t k = 0; k < n; k++) {
            size_t r = tensors[k].rows ? tensors[k].rows : rows;
            assert_int_equal(safetensors_writer_data(s, zeros, r * 4 * sizeof *zeros, &info), ERR_OK);
        }
        assert_int_equal(safetensors_writer_commit(s, &info), ERR_OK);
        safetensors_writer_free(s);
        free(zeros);

        char back_name[64];
        snprintf(back_name, sizeof back_name, "back-%s", names[i]);
        must_convert(dir, inside("t.gguf", gguf), &(struct convert_options){0});
        must_convert(gguf, inside(back_name, back), &(struct convert_options){0});
        assert_int_equal(tokenizer_open(back, &b, &info), ERR_OK);
        assert_int_equal(tokenizer_pre_of(a), tokenizer_pre_of(b));
        assert_int_equal(tokenizer_bos(a), tokenizer_bos(b));
        assert_int_equal(tokenizer_eos(a), tokenizer_eos(b));
        assert_int_equal(tokenizer_pad(a), tokenizer_pad(b));
        assert_int_equal(tokenizer_add_bos(a), tokenizer_add_bos(b));
        assert_int_equal(tokenizer_ignore_merges(a), tokenizer_ignore_merges(b));
        assert_int_equal(tokenizer_merge_count(a), tokenizer_merge_count(b));
        for (size_t k = 0; k < tokenizer_size(b); k++) {
            struct tokenizer_piece x = tokenizer_piece_at(a, (int32_t)k);
            struct tokenizer_piece y = tokenizer_piece_at(b, (int32_t)k);
            if (x.len != 0) {
                assert_int_equal(tokenizer_kind_at(a, (int32_t)k), tokenizer_kind_at(b, (int32_t)k));
                assert_int_equal(x.len, y.len);
                assert_memory_equal(x.data, y.data, x.len);
            }
        }
        tokenizer_free(a);
        tokenizer_free(b);
    }
}

/* An importance matrix for one tensor, `cols` wide. */
static void write_imatrix(const char *path, size_t cols, uint32_t rows)
{
    struct gguf_writer *w;
    struct errinfo info = {0};
    assert_int_equal(gguf_writer_new(path, &w, &info), ERR_OK);
    assert_int_equal(gguf_writer_string(w, "general.type", "imatrix", 7), ERR_OK);
    const size_t sums_shape[2] = {rows, cols};
    const size_t counts_shape[2] = {rows, 1};
    struct tensor sums, counts;
    assert_int_equal(tensor_init(&sums, DTYPE_F32, 2, sums_shape, NULL), ERR_OK);
    assert_int_equal(tensor_init(&counts, DTYPE_F32, 2, counts_shape, NULL), ERR_OK);
    assert_int_equal(gguf_writer_tensor(w, "blk.0.ffn_gate.weight.in_sum2", &sums, &info), ERR_OK);
    assert_int_equal(gguf_writer_tensor(w, "blk.0.ffn_gate.weight.counts", &counts, &info), ERR_OK);
    assert_int_equal(gguf_writer_begin_data(w, &info), ERR_OK);
    for (size_t i = 0; i < rows * cols; i++) {
        float v = i % 3 == 0 ? 100.0f : 1.0f;
        assert_int_equal(gguf_writer_data(w, &v, sizeof v, &info), ERR_OK);
    }
    float count = 10;
    for (uint32_t i = 0; i < rows; i++) {
        assert_int_equal(gguf_writer_data(w, &count, sizeof count, &info), ERR_OK);
    }
    assert_int_equal(gguf_writer_commit(w, &info), ERR_OK);
    gguf_writer_free(w);
}

static double gate_error(const char *exact, const char *quantized, bool important)
{
    struct gguf *a, *b;
    struct errinfo info = {0};
    assert_int_equal(gguf_open(exact, &a, &info), ERR_OK);
    assert_int_equal(gguf_open(quantized, &b, &info), ERR_OK);
    const struct tensor *x = &tensortable_find(gguf_tensors(a), "blk.0.ffn_gate.weight")->tensor;
    const struct tensor *y = &tensortable_find(gguf_tensors(b), "blk.0.ffn_gate.weight")->tensor;
    double sum = 0;
    for (size_t r = 0; r < tensor_rows(x); r++) {
        float *want = row_of(x, r);
        float *got = row_of(y, r);
        for (size_t c = 0; c < tensor_cols(x); c++) {
            double d = (double)want[c] - (double)got[c];
            sum += (c % 3 == 0) == important ? d * d : 0;
        }
        free(want);
        free(got);
    }
    gguf_close(a);
    gguf_close(b);
    return sum;
}

static void an_importance_matrix_moves_the_error_to_what_matters_less(void **state)
{
    (void)state;
    char f32[256], im[256], with[256], without[256];
    struct config c;
    write_synth(inside("f32.gguf", f32), &c);
    size_t width = c.hidden_size;
    write_imatrix(inside("im.gguf", im), width, 1);
    must_convert(f32, inside("without.gguf", without), &(struct convert_options){.type = "q4_0"});
    must_convert(f32, inside("with.gguf", with),
                 &(struct convert_options){.type = "q4_0", .imatrix = im});
    assert_true(gate_error(f32, with, true) < gate_error(f32, without, true));

    struct errinfo info = {0};
    struct convert_report report;
    write_imatrix(im, width + 32, 1);
    const struct convert_options o = {.type = "q4_0", .imatrix = im};
    assert_int_equal(convert_run(f32, with, &o, &report, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "blk.0.ffn_gate.weight"));
    const struct convert_options dat = {.type = "q4_0", .imatrix = GOLDENMODEL_DIR "v3/config.json"};
    assert_int_equal(convert_run(f32, with, &dat, &report, &info), ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "llama-imatrix"));
}

static void what_cannot_be_done_is_said_and_leaves_nothing(void **state)
{
    (void)state;
    char out[256], gguf[256];
    struct errinfo info = {0};
    struct convert_report r;
    const struct convert_options none = {0}, q9 = {.type = "q9_9"}, q4 = {.type = "q4_k"};
    inside("out.gguf", out);
    inside("g.gguf", gguf);
    must_convert(GOLDENMODEL_DIR "qwen2", gguf, &none);
    int before = folder_entries();
    assert_int_equal(convert_run("no/such/model", out, &none, &r, &info), ERR_NOTFOUND);
    assert_int_equal(convert_run(GOLDENMODEL_DIR "v3", "out.bin", &none, &r, &info), ERR_ARGUMENT);
    assert_int_equal(convert_run(GOLDENMODEL_DIR "v3", out, &q9, &r, &info), ERR_ARGUMENT);
    assert_int_equal(convert_run(GOLDENMODEL_DIR "v2-gain", out, &none, &r, &info),
                     ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "mscale"));
    assert_int_equal(convert_run(gguf, GOLDENMODEL_DIR, &none, &r, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "already there"));
    assert_int_equal(convert_run(gguf, inside("hf", out), &q4, &r, &info), ERR_ARGUMENT);
    assert_int_equal(convert_run(GOLDENMODEL_DIR "v3", gguf, &none, &r, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "--force"));
    for (size_t k = 1; k < 40; k += 3) { /* a full disk */
        file_fault(k, 28);
        err e = convert_run(gguf, inside("hf", out), &none, &r, &info);
        file_fault(0, 0);
        if (e == ERR_OK) {
            tempdir_remove_all(out);
            break;
        }
        assert_int_equal(folder_entries(), before);
    }
    assert_int_equal(folder_entries(), before);
}

static void copy_file(const char *from, const char *to)
{
    struct errinfo info = {0};
    struct file_writer *w;
    char *data;
    size_t n;
    assert_int_equal(file_read(from, (size_t)64 << 20, &data, &n, &info), ERR_OK);
    assert_int_equal(file_writer_open(to, &w, &info), ERR_OK);
    assert_int_equal(file_writer_write(w, data, n, &info), ERR_OK);
    assert_int_equal(file_writer_commit(w, &info), ERR_OK);
    file_writer_close(w);
    mem_free(data);
}

/* Not even when asked to write over files: neither the file, nor a link to it, nor a shard of a folder. */
static void what_is_read_is_never_written_over(void **state)
{
    (void)state;
    char gguf[256], link[256], source[256], shard[300];
    struct errinfo info = {0};
    struct convert_report r;
    const struct convert_options force = {.overwrite = true, .type = "q8_0"};
    inside("read.gguf", gguf);
    inside("link.gguf", link);
    inside("source", source);
    must_convert(GOLDENMODEL_DIR "qwen2", gguf, &force);
    must_convert(GOLDENMODEL_DIR "qwen2", gguf, &force); /* another's file may be written over */
    assert_int_equal(symlink(gguf, link), 0);
    const char *const outs[] = {gguf, link};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(convert_run(gguf, outs[i], &force, &r, &info), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, "part of the model"));
    }
    assert_int_equal(mkdir(source, 0700), 0);
    snprintf(shard, sizeof shard, "%s/config.json", source);
    copy_file(GOLDENMODEL_DIR "qwen2/config.json", shard);
    snprintf(shard, sizeof shard, "%s/model.safetensors", source);
    copy_file(GOLDENMODEL_DIR "qwen2/model.safetensors", shard);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(shard, link), 0);
    assert_int_equal(convert_run(source, link, &force, &r, &info), ERR_ARGUMENT);
    assert_int_equal(unlink(link), 0);
}

static void what_falls_back_and_what_comes_along_is_counted(void **state)
{
    (void)state;
    char out[256];
    struct errinfo info = {0};
    struct convert_report r;
    const struct convert_options q4 = {.type = "q4_k", .overwrite = true};
    inside("counted.gguf", out);
    assert_int_equal(convert_run(GOLDENMODEL_DIR "v3-mtp", out, &q4, &r, &info), ERR_OK);
    assert_int_equal(r.mtp_layers, 1);
    assert_true(has_mtp(out));
    size_t fallbacks = 0;
    for (int t = 0; t < DTYPE_COUNT; t++) {
        fallbacks += r.fallbacks[t];
    }
    assert_true(fallbacks > 0 && r.fallbacks[DTYPE_Q4_K] == 0);
    const struct convert_options f32 = {.type = "f32", .overwrite = true};
    assert_int_equal(convert_run(GOLDENMODEL_DIR "v3", out, &f32, &r, &info), ERR_OK);
    assert_int_equal(r.mtp_layers, 0);
    for (int t = 0; t < DTYPE_COUNT; t++) {
        assert_int_equal(r.fallbacks[t], 0);
    }
}

static void no_allocation_is_taken_for_granted(void **state)
{
    (void)state;
    char gguf[256], out[256];
    inside("mem.gguf", gguf);
    inside("mem", out);
    struct errinfo info = {0};
    struct convert_report r;
    const struct convert_options o = {.n_threads = 1, .overwrite = true};
    must_convert(GOLDENMODEL_DIR "v3", gguf, &o);
    const char *const ways[2][2] = {{GOLDENMODEL_DIR "v3", gguf}, {gguf, out}};
    for (int way = 0; way < 2; way++) {
        size_t alive = mem_alive();
        mem_fault(0, 0);
        assert_int_equal(convert_run(ways[way][0], ways[way][1], &o, &r, &info), ERR_OK);
        size_t attempts = mem_attempts();
        tempdir_remove_all(out);
        for (size_t k = 1; k <= attempts; k += 1 + attempts / 30) {
            mem_fault(k, 0);
            err e = convert_run(ways[way][0], ways[way][1], &o, &r, &info);
            mem_fault(0, 0);
            assert_true(e == ERR_NOMEM || e == ERR_UNSUPPORTED || e == ERR_OK);
            assert_int_equal(mem_alive(), alive);
            tempdir_remove_all(out);
        }
    }
}

static void a_value_too_large_for_the_type_is_named(void **state)
{
    (void)state;
    float x[4] = {1, 2, 70000.0f, 4};
    struct tensor source;
    const size_t shape[2] = {2, 2};
    assert_int_equal(tensor_init(&source, DTYPE_F32, 2, shape, x), ERR_OK);
    struct recipe r = {.name = "big", .kind = RECIPE_ROWS, .sources = &source, .n_sources = 1};
    assert_int_equal(tensor_init(&r.out, DTYPE_F16, 2, shape, NULL), ERR_OK);
    struct errinfo info = {0};
    assert_int_equal(recipe_make(&r, 2, NULL, NULL, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "big, row 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_survive_the_way_through_gguf),
        cmocka_unit_test(fp8_folders_become_gguf_without_loss),
        cmocka_unit_test(our_gguf_has_the_tensors_of_the_golden_one),
        cmocka_unit_test(files_with_whole_kv_b_become_folders),
        cmocka_unit_test(every_mix_gives_each_tensor_its_type),
        cmocka_unit_test(all_but_the_experts_can_have_a_type_of_their_own),
        cmocka_unit_test(tokenizers_survive_the_way_through_gguf),
        cmocka_unit_test(an_importance_matrix_moves_the_error_to_what_matters_less),
        cmocka_unit_test(what_cannot_be_done_is_said_and_leaves_nothing),
        cmocka_unit_test(what_is_read_is_never_written_over),
        cmocka_unit_test(what_falls_back_and_what_comes_along_is_counted),
        cmocka_unit_test(no_allocation_is_taken_for_granted),
        cmocka_unit_test(a_value_too_large_for_the_type_is_named),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
