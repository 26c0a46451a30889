/* tests/fault/test_failing_calls.c: public calls, layer by layer, with every allocation of theirs failing
 * once. Calls that have such a test of their own beside their other tests are not repeated here. */
#include "fault/faultsweep.h"

#include <curl/curl.h>
#include <sodium.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "cli/catalogue.h"
#include "engine/evaltask.h"
#include "cli/inspection.h"
#include "cli/lineinput.h"
#include "cli/modelref.h"
#include "cli/options.h"
#include "cli/divergence.h"
#include "cli/perplexity.h"
#include "cli/pullplan.h"
#include "cli/registry.h"
#include "cli/settings.h"
#include "engine/benchmark.h"
#include "formats/gguf.h"
#include "formats/hffolder.h"
#include "formats/tempdir.h"
#include "model/convert.h"
#include "model/imatrix.h"
#include "model/synth.h"
#include "model/vocab.h"
#include "tensor/ops.h"
#include "text/chat.h"
#include "text/tokenizer_open.h"
#include "train/checkpointfixture.h"

#define GGUF "tests/fuzz/seeds/gguf/model-qwen2"
#define FOLDER "tests/golden/chatmodel"

static struct tempdir dir;

static const char *at(const char *name, char out[320])
{
    snprintf(out, 320, "%s", tempdir_file(&dir, name));
    return out;
}

/* ---- base ---- */

static err strings(struct errinfo *info)
{
    struct strbuf s = {0};
    char *text = NULL;
    err e = strbuf_puts(&s, "a few words that do not fit into the first block of a growing string");
    e = e == ERR_OK ? strbuf_printf(&s, "%080d", 7) : e;
    e = e == ERR_OK ? strbuf_append(&s, "and some more of them, to let it grow again and again", 53) : e;
    e = e == ERR_OK ? strbuf_take(&s, &text) : e;
    mem_free(text);
    strbuf_deinit(&s);
    return e == ERR_OK ? e : err_set(info, e, "strbuf");
}

static err files(struct errinfo *info)
{
    struct file_writer *w = NULL;
    char path[320], *data = NULL;
    size_t size;
    TRY(file_make_dirs(at("a/b", path), info));
    TRY(file_writer_resume(at("resumed", path), &w, info));
    err e = file_writer_write(w, "hello", 5, info);
    e = e == ERR_OK ? file_writer_commit(w, info) : e;
    file_writer_close(w);
    e = e == ERR_OK ? file_read(path, 100, &data, &size, info) : e;
    mem_free(data);
    return e;
}

static err json(struct errinfo *info)
{
    static const char text[] = "{\"long\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22],"
                               "\"deep\":{\"er\":{\"est\":[[],{},\"text\\n\",1.5,null,true]}}}";
    json_t *value = NULL, *again = NULL;
    char path[320], *out = NULL;
    err e = json_parse(text, sizeof text - 1, "text", &value, info);
    e = e == ERR_OK ? json_parse_file(at("text.json", path), 1000, &again, info) : e;
    if (e == ERR_OK) {
        out = json_text_dup(value, JSON_INDENT(2));
        e = out ? ERR_OK : err_set(info, ERR_NOMEM, "json_text_dup");
    }
    mem_free(out);
    json_decref(value);
    json_decref(again);
    return e;
}

/* ---- text ---- */

static const struct tokenizer *chat_tokenizer;

static err chat_plain(struct errinfo *info)
{
    const struct chat_message m[] = {{.role = CHAT_USER, .content = "hello, again and again and again and again"}};
    struct tokenizer_ids ids = {0};
    err e = chat_encode(chat_tokenizer, CHAT_PLAIN, m, 1, false, &ids, info);
    tokenizer_ids_deinit(&ids);
    return e;
}

/* Merges as pairs, longer than the room that is there without asking; bos in front of a chat. */
static err long_merges(struct errinfo *info)
{
    char a[400], text[2600];
    memset(a, 'a', sizeof a - 1);
    a[sizeof a - 1] = '\0';
    snprintf(text, sizeof text,
             "{\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}],\"pre_tokenizer\":{\"type\":"
             "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},\"model\":{"
             "\"type\":\"BPE\",\"vocab\":{\"%s\":0,\"b\":1,\"%sb\":2},\"merges\":[[\"%s\",\"b\"]]},"
             "\"bos_token\":\"<s>\",\"add_bos_token\":true}", a, a, a);
    const struct chat_message m[] = {{.role = CHAT_USER, .content = "b"}};
    json_t *root;
    struct tokenizer *t = NULL;
    struct tokenizer_ids ids = {0};
    TRY(json_parse(text, strlen(text), "tokenizer.json", &root, info));
    err e = tokenizer_open_json("tokenizer.json", root, root, NULL, &t, info);
    json_decref(root);
    e = e == ERR_OK ? chat_encode(t, CHAT_PLAIN, m, 1, false, &ids, info) : e;
    tokenizer_ids_deinit(&ids);
    tokenizer_free(t);
    return e;
}

/* ---- tensor ---- */

/* Attention with scratch memory of its own, at every level of this machine. */
static err attention(struct errinfo *info)
{
    static float q[2 * 32], kv[64 * 32], out[2 * 32];
    const char *const page = (const char *)kv;
    const struct attention_rows rows = {.pages = &page, .stride = 32, .shift = ATTENTION_ONE_PAGE};
    err e = ERR_OK;
    for (int level = CPUINFO_REF; level <= (int)cpuinfo_best() && e == ERR_OK; level++) {
        struct compute *c;
        TRY(compute_new((enum cpuinfo_level)level, 1, false, &c, info));
        const struct attention_args a = {
            .out = out, .q = q, .out_stride = 32, .q_stride = 32, .k = rows, .v = rows,
            .kv_dtype = DTYPE_F32, .n_tokens = 2, .n_heads = 1,
            .n_kv_heads = 1, .k_dim = 32, .v_dim = 32, .pos = 62, .scale = 1};
        e = ops_attention(c, &a, 1);
        compute_free(c);
    }
    return e == ERR_OK ? e : err_set(info, e, "attention");
}

/* ---- formats, model ---- */

static err gguf_vocab(struct errinfo *info)
{
    struct gguf *g;
    struct tokenizer *t = NULL;
    struct chat_guess chat = {0};
    TRY(gguf_open(GGUF, &g, info));
    err e = vocab_from_gguf(g, &t, &chat, info);
    tokenizer_free(t);
    gguf_close(g);
    return e;
}

static err folder_listing(struct errinfo *info)
{
    struct hffolder *h;
    TRY(hffolder_open_listing("tests/golden/model/v3-mtp", &h, info));
    hffolder_close(h);
    return ERR_OK;
}

static err folder_template(struct errinfo *info)
{
    char *text = NULL;
    size_t len;
    err e = vocab_template(FOLDER, &text, &len, info);
    mem_free(text);
    return e;
}

/* A file, or a folder of files. */
static void forget(const char *path)
{
    struct tempdir folder;
    snprintf(folder.path, sizeof folder.path, "%.63s", path);
    if (unlink(path) != 0) {
        tempdir_remove(&folder);
    }
}

static err converted(const char *in, const char *name, const char *type, const char *imatrix,
                     size_t shard, struct errinfo *info)
{
    struct convert_report report;
    const struct convert_options o = {
        .type = type, .n_threads = 1, .imatrix = imatrix, .shard_bytes = shard};
    char out[320];
    err e = convert_run(in, at(name, out), &o, &report, info);
    bool there = file_exists(out);
    forget(out);
    /* The last allocation is the folder's fsync, after the file has its name. */
    return e == ERR_OK && !there ? err_set(info, ERR_IO, "%s is not there", out) : e;
}

static err convert_up(struct errinfo *info)
{
    return converted(GGUF, "folder", NULL, NULL, 6000, info);
}

static err convert_down(struct errinfo *info)
{
    char imatrix[320];
    return converted(GGUF, "quantised.gguf", "q4_0", at("imatrix.gguf", imatrix), 0, info);
}

static err convert_experts(struct errinfo *info)
{
    return converted("tests/golden/model/v3", "experts.gguf", NULL, NULL, 0, info);
}

static err convert_words(struct errinfo *info)
{
    return converted(FOLDER, "words.gguf", "bf16", NULL, 0, info);
}

static err importance(struct errinfo *info)
{
    struct imatrix *m;
    char path[320];
    TRY(imatrix_open(at("imatrix.gguf", path), &m, info));
    imatrix_close(m);
    return ERR_OK;
}

static enum dtype typer(void *user, const struct inventory_item *item)
{
    (void)user;
    return item->shape[item->rank - 1] % 32 == 0 ? DTYPE_Q8_0 : DTYPE_F32;
}

static err synthetic(struct errinfo *info)
{
    static const char text[] =
        "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":32,\"hidden_size\":32,"
        "\"num_hidden_layers\":3,\"intermediate_size\":32,\"num_attention_heads\":2,"
        "\"num_key_value_heads\":1,\"head_dim\":16,\"max_position_embeddings\":64,"
        "\"rms_norm_eps\":1e-6,\"rope_theta\":10000.0,\"tie_word_embeddings\":true}";
    json_t *value;
    struct config c;
    struct synth *s = NULL;
    char path[320];
    TRY(json_parse(text, sizeof text - 1, "config.json", &value, info));
    err e = config_from_json(value, &c, info);
    json_decref(value);
    e = e == ERR_OK ? synth_new(&c, typer, NULL, 0, NULL, &s, info) : e;
    if (e == ERR_OK) {
        e = synth_write(s, at("synth.gguf", path), 7, NULL, info);
        unlink(path);
    }
    synth_free(s);
    return e;
}

/* ---- engine ---- */

static err benchmark(struct errinfo *info)
{
    const struct benchmark_test tests[] = {{BENCHMARK_PREFILL, 4, 2, 1, 1},
                                           {BENCHMARK_DECODE, 2, 2, 2, 1}};
    struct model *m;
    struct compute *c = NULL;
    struct benchmark *b = NULL;
    struct benchmark_result r;
    TRY(model_open(GGUF, &m, info));
    err e = compute_new(cpuinfo_best(), 1, false, &c, info);
    e = e == ERR_OK ? benchmark_new(m, c, NULL, 4, DTYPE_BF16, &b, info) : e;
    for (size_t i = 0; i < 2 && e == ERR_OK; i++) {
        e = benchmark_run(b, &tests[i], &r, info);
    }
    benchmark_free(b);
    compute_free(c);
    model_close(m);
    return e;
}

static err session_texts(struct errinfo *info)
{
    struct engine *e;
    struct session *s = NULL;
    TRY(engine_open(GGUF, &(struct engine_options){.n_threads = 1}, &e, info));
    err r = session_new(e, &(struct session_options){.context = 16}, &s, info);
    r = r == ERR_OK ? session_append_text(s, "ab c", info) : r;
    r = r == ERR_OK ? session_prefill(s, NULL, NULL, info) : r;
    session_free(s);
    engine_close(e);
    return r;
}

/* ---- train ---- */

static err checkpoints(struct errinfo *info)
{
    char path[320];
    struct errinfo passed;
    json_t *state = NULL;
    uint64_t step = 0;
    bool found;
    at("run", path);
    err e = checkpointfixture_save(path, 1, info);
    e = e == ERR_OK ? checkpointfixture_save(path, 2, info) : e;
    e = e == ERR_OK ? checkpoint_prune(path, 1, info) : e;
    e = e == ERR_OK ? checkpoint_find(path, &step, &found, &passed, info) : e;
    e = e == ERR_OK ? checkpoint_load_state(path, step, &state, info) : e;
    json_decref(state);
    e = e == ERR_OK ? checkpointfixture_load(path, step, info) : e;
    tempdir_remove_all(path);
    return e == ERR_OK && step != 2 ? err_set(info, ERR_IO, "step %d", (int)step) : e;
}

/* ---- cli ---- */

static err catalogue(struct errinfo *info)
{
    struct catalogue *c;
    TRY(catalogue_open(&c, info));
    catalogue_close(c);
    return ERR_OK;
}

static err ids(struct errinfo *info)
{
    int32_t *list;
    size_t n;
    TRY(options_ids("ids", "1, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20", &list, &n, info));
    mem_free(list);
    return ERR_OK;
}

/* What is typed, through stdin as it is now. */
static err lines(struct errinfo *info)
{
    struct lineinput *in;
    const char *text;
    char path[320];
    if (!freopen(at("typed", path), "r", stdin)) {
        return err_set(info, ERR_IO, "freopen");
    }
    TRY(lineinput_open(false, false, &in, info));
    err e = ERR_OK;
    while (e == ERR_OK) {
        e = lineinput_read(in, &text, info);
    }
    lineinput_close(in);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

static err model_names(struct errinfo *info)
{
    char *path = NULL;
    TRY(modelref_resolve("listed", &path, info));
    mem_free(path);
    TRY(modelref_resolve(GGUF, &path, info));
    mem_free(path);
    char folder[320];
    TRY(modelref_resolve(at("models/listed", folder), &path, info));
    mem_free(path);
    err e = modelref_resolve("unlisted", &path, info);
    return e == ERR_NOTFOUND ? ERR_OK : e == ERR_OK ? err_set(info, ERR_IO, "it is not there") : e;
}

static err registry(struct errinfo *info)
{
    struct registry_list l;
    TRY(registry_list_all(&l, info));
    size_t n = l.n;
    registry_list_deinit(&l);
    return n == 1 ? ERR_OK : err_set(info, ERR_IO, "%zu models listed", n);
}

static err plan_file(struct errinfo *info)
{
    struct pullplan p = {0};
    char path[320], source[400];
    snprintf(source, sizeof source, "file:%s", at("model.gguf", path));
    TRY(pullplan_make(source, &p, info));
    pullplan_deinit(&p);
    TRY(pullplan_make("https://example.org/a/model.gguf", &p, info));
    pullplan_deinit(&p);
    return ERR_OK;
}

static err inspected(const char *path, struct errinfo *info)
{
    struct inspection *i;
    TRY(inspection_open(path, &i, info));
    err e = inspection_hash(i, info);
    json_t *all = e == ERR_OK ? inspection_json(i, true) : NULL;
    e = e == ERR_OK && !all ? err_set(info, ERR_NOMEM, "inspection_json") : e;
    json_decref(all);
    inspection_close(i);
    return e;
}

static err inspect_folder(struct errinfo *info)
{
    return inspected("tests/golden/model/qwen2", info);
}

static err inspect_gguf(struct errinfo *info)
{
    return inspected(GGUF, info);
}

static err inspect_safetensors(struct errinfo *info)
{
    return inspected("tests/golden/model/v3-mtp/model-00001-of-00003.safetensors", info);
}

static struct engine *shared_engine; /* its scratch memory has grown: each work's own is left */

static err perplexity(struct errinfo *info)
{
    int32_t text[64];
    struct perplexity p;
    for (int i = 0; i < 64; i++) {
        text[i] = 65 + i % 26;
    }
    return perplexity_of(shared_engine, text, 64, 16, 8, &p, info);
}

static err divergence(struct errinfo *info)
{
    int32_t text[32];
    struct divergence d;
    for (int i = 0; i < 32; i++) {
        text[i] = 65 + i % 26;
    }
    return divergence_of(shared_engine, shared_engine, text, 32, 16, 0, &d, info);
}

static err tasks(struct errinfo *info)
{
    char path[320];
    struct evaltask_result r;
    const struct evaltask_options o = {.context = 64, .max_tokens = 4, .chat = true};
    struct evaltask *t;
    TRY(evaltask_open(at("tasks", path), &t, info));
    err e = evaltask_run(t, shared_engine, &o, &r, info);
    evaltask_close(t);
    return e;
}

static err settings(struct errinfo *info)
{
    struct settings s;
    struct engine *e;
    struct sampling sampling;
    settings_init(&s);
    s.model = GGUF;
    s.threads = 1;
    TRY(settings_open(&s, &e, info));
    err r = settings_sampling(&s, e, &sampling, info);
    engine_close(e);
    return r;
}

/* ---- all of them ---- */

static const struct faultsweep SWEEPS[] = {
    {"strings", strings, 2, 1},
    {"files", files, 5, 1},
    {"json", json, 60, 1},
    {"chat_plain", chat_plain, 1, 1},
    {"long_merges", long_merges, 30, 1},
    {"attention", attention, 2, 1},
    {"gguf_vocab", gguf_vocab, 20, 1},
    {"folder_listing", folder_listing, 100, 17},
    {"folder_template", folder_template, 3, 1},
    {"convert_up", convert_up, 200, 1},
    {"convert_down", convert_down, 100, 5},
    {"convert_experts", convert_experts, 100, 17},
    {"convert_words", convert_words, 100, 17},
    {"importance", importance, 4, 1},
    {"synthetic", synthetic, 20, 1},
    {"benchmark", benchmark, 30, 1},
    {"session_texts", session_texts, 30, 1},
    {"checkpoints", checkpoints, 100, 1},
    {"catalogue", catalogue, 2, 1},
    {"ids", ids, 1, 1},
    {"lines", lines, 2, 1},
    {"model_names", model_names, 10, 1},
    {"registry", registry, 10, 1},
    {"plan_file", plan_file, 6, 1},
    {"inspect_folder", inspect_folder, 100, 1},
    {"inspect_gguf", inspect_gguf, 50, 1},
    {"inspect_safetensors", inspect_safetensors, 50, 1},
    {"perplexity", perplexity, 2, 1},
    {"divergence", divergence, 2, 1},
    {"tasks", tasks, 20, 1},
    {"settings", settings, 30, 1},
};

/* ---- what they work on ---- */

static void put_imatrix(const char *path)
{
    struct gguf_writer *w;
    struct tensor sums, counts;
    const size_t sums_shape[] = {1, 32}, counts_shape[] = {1, 1};
    float values[32 + 1];
    for (size_t i = 0; i < 33; i++) {
        values[i] = 1;
    }
    assert_int_equal(gguf_writer_new(path, &w, NULL), ERR_OK);
    assert_int_equal(gguf_writer_string(w, "general.type", "imatrix", 7), ERR_OK);
    assert_int_equal(tensor_init(&sums, DTYPE_F32, 2, sums_shape, NULL), ERR_OK);
    assert_int_equal(tensor_init(&counts, DTYPE_F32, 2, counts_shape, NULL), ERR_OK);
    assert_int_equal(gguf_writer_tensor(w, "blk.0.attn_k.weight.in_sum2", &sums, NULL), ERR_OK);
    assert_int_equal(gguf_writer_tensor(w, "blk.0.attn_k.weight.counts", &counts, NULL), ERR_OK);
    assert_int_equal(gguf_writer_begin_data(w, NULL), ERR_OK);
    assert_int_equal(gguf_writer_data(w, values, 32 * sizeof *values, NULL), ERR_OK);
    assert_int_equal(gguf_writer_data(w, values + 32, sizeof *values, NULL), ERR_OK);
    assert_int_equal(gguf_writer_commit(w, NULL), ERR_OK);
    gguf_writer_free(w);
}

static int set_up(void **state)
{
    (void)state;
    char path[320];
    struct registry_model m;
    static const char hash[] = "0000000000000000000000000000000000000000000000000000000000000000";
    struct errinfo info = {0};
    if (engine_open(FOLDER, &(struct engine_options){.n_threads = 1}, &shared_engine, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    chat_tokenizer = engine_tokenizer(shared_engine);
    tempdir_make(&dir);
    setenv("FATHOM_BUNDLED", "/no/such/folder", 1);
    setenv("FATHOM_MODELS", at("models", path), 1);
    tempdir_text(&dir, "model.gguf", "GGUF");
    tempdir_text(&dir, "text.json", "{\"a\":[1,2,3],\"b\":\"text\"}");
    tempdir_text(&dir, "typed", "hello\n\"\"\"\ntwo\nlines\n\"\"\"\nanother \\\none\n");
    tempdir_text(&dir, "tasks", "{\"prompt\":\"hello\",\"answer\":\"Hello\"}\n"
                                "{\"prompt\":\"a\",\"choices\":[\" b\",\" c\"],\"answer\":1}\n");
    put_imatrix(at("imatrix.gguf", path));
    assert_int_equal(registry_model_init("listed", &m, NULL), ERR_OK);
    assert_int_equal(file_make_dirs(m.folder, NULL), ERR_OK);
    assert_int_equal(registry_add_file(&m, "model.gguf", 4, hash, NULL), ERR_OK);
    assert_int_equal(registry_describe(&m, "file:here", "mit", "model.gguf", NULL), ERR_OK);
    assert_int_equal(registry_write(&m, true, NULL), ERR_OK);
    snprintf(path, sizeof path, "%s/model.gguf", m.folder);
    FILE *f = fopen(path, "w");
    assert_true(f && fputs("GGUF", f) >= 0 && fclose(f) == 0);
    registry_model_deinit(&m);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const inside[] = {"models/listed/model.gguf", "models/listed/manifest.json",
                                         "models/listed/manifest",   "models/listed",
                                         "models",                   "a/b",
                                         "a"};
    char path[320];
    engine_close(shared_engine);
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        remove(at(inside[i], path));
    }
    tempdir_remove(&dir);
    return 0;
}

int main(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || sodium_init() < 0) {
        return 1;
    }
    enum { N = sizeof SWEEPS / sizeof *SWEEPS };
    struct CMUnitTest tests[N];
    faultsweep_tests(SWEEPS, N, tests);
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    curl_global_cleanup();
    return failed;
}
