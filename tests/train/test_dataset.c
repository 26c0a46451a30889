/* Packing: documents come back as they were, the split depends on text alone, threads and shard sizes change
 * nothing, and a dataset that was changed is refused. */
#include "datasetfixture.h"

/* Every token of a part, in order. */
static int32_t *all_tokens(const struct dataset *d, enum dataset_part part, size_t *n)
{
    struct errinfo info = {0};
    int32_t *ids = malloc((dataset_tokens(d, part) + 1) * sizeof *ids);
    *n = 0;
    for (size_t i = 0; i < d->n_sources; i++) {
        for (size_t k = 0; k < d->sources[i].parts[part].n; k++) {
            struct tokenshard s;
            datasetfixture_must(tokenshard_open(d->dir, &d->sources[i].parts[part].entries[k], d->token_bytes,
                                                d->vocab_size, &s, &info), &info);
            tokenshard_copy(&s, 0, s.n_tokens, ids + *n);
            *n += s.n_tokens;
            tokenshard_close(&s);
        }
    }
    return ids;
}

static void test_documents_come_back_as_they_were(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct errinfo info = {0};
    struct tokenizer *t;
    struct strbuf document = {0};
    size_t n, at = 0, documents = 0;
    datasetfixture_init(&x);
    struct dataset d = datasetfixture_pack(&x, 0, 500, 2);
    int32_t *ids = all_tokens(&d, DATASET_TRAIN, &n);
    assert_int_equal(d.sources[0].parts[DATASET_VAL].n_tokens, 0);
    assert_true(d.sources[0].parts[DATASET_TRAIN].n > 2);
    datasetfixture_must(tokenizer_open(DATASETFIXTURE_TOKENIZER, &t, &info), &info);
    for (int i = 0; i < 2; i++) {
        const struct corpus_options o = {0};
        struct corpus *c;
        bool end = false;
        datasetfixture_must(corpus_open(x.text[i], &o, &c, &info), &info);
        for (;;) {
            datasetfixture_must(corpus_next(c, &document, &end, &info), &info);
            if (end) {
                break;
            }
            assert_int_equal(ids[at++], tokenizer_bos(t));
            for (size_t k = 0; k < document.len; at++) {
                struct tokenizer_piece p = tokenizer_bytes(t, ids[at]);
                assert_true(k + p.len <= document.len);
                assert_memory_equal(document.data + k, p.data, p.len);
                k += p.len;
            }
            assert_int_equal(ids[at++], tokenizer_eos(t));
            documents++;
        }
        corpus_close(c);
    }
    assert_int_equal(at, n);
    assert_int_equal(documents, d.sources[0].parts[0].n_documents + d.sources[1].parts[0].n_documents);
    strbuf_deinit(&document);
    free(ids);
    tokenizer_free(t);
    dataset_deinit(&d);
    datasetfixture_deinit(&x);
}

static void test_threads_and_shard_sizes_change_nothing(void **state)
{
    (void)state;
    struct datasetfixture x, y;
    size_t n[2][2];
    datasetfixture_init(&x);
    datasetfixture_init(&y);
    struct dataset d = datasetfixture_pack(&x, 0.3, 300, 1), e = datasetfixture_pack(&y, 0.3, 100000, 3);
    for (int part = 0; part < DATASET_PARTS; part++) {
        int32_t *a = all_tokens(&d, (enum dataset_part)part, &n[0][part]);
        int32_t *b = all_tokens(&e, (enum dataset_part)part, &n[1][part]);
        assert_int_equal(n[0][part], n[1][part]);
        assert_memory_equal(a, b, n[0][part] * sizeof *a);
        assert_true(n[0][part] > 500);
        free(a);
        free(b);
    }
    dataset_deinit(&d);
    dataset_deinit(&e);
    datasetfixture_deinit(&x);
    datasetfixture_deinit(&y);
}

static void test_the_manifest_says_all_again(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct errinfo info = {0};
    struct dataset e;
    datasetfixture_init(&x);
    struct dataset d = datasetfixture_pack(&x, 0.2, 400, 2);
    datasetfixture_must(dataset_open(x.dir, &e, &info), &info);
    assert_int_equal(e.n_sources, 2);
    assert_int_equal(e.vocab_size, d.vocab_size);
    assert_int_equal(e.token_bytes, 2);
    assert_string_equal(e.tokenizer_sha256, d.tokenizer_sha256);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(e.sources[i].name, d.sources[i].name);
        assert_string_equal(e.sources[i].licence, d.sources[i].licence);
        assert_string_equal(e.sources[i].files[0].name, i ? "b.txt" : "a.txt");
        assert_string_equal(e.sources[i].files[0].sha256, d.sources[i].files[0].sha256);
        for (int p = 0; p < DATASET_PARTS; p++) {
            assert_int_equal(e.sources[i].parts[p].n, d.sources[i].parts[p].n);
            assert_int_equal(e.sources[i].parts[p].n_tokens, d.sources[i].parts[p].n_tokens);
        }
    }
    dataset_deinit(&d);
    dataset_deinit(&e);
    datasetfixture_deinit(&x);
}

/* A byte of a file changed, or its end cut off. */
static void spoil(const char *dir, const char *file, long at, bool cut)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (cut) {
        assert_int_equal(truncate(path, at), 0);
        return;
    }
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    fputc(c ^ 1, f);
    assert_int_equal(fclose(f), 0);
}

static void test_changed_and_cut_shards_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        long at;
        bool cut;
        const char *words;
    } cases[] = {
        {"a.train.00000.tokens", 10, false, "SHA-256"}, {"a.train.00000.tokens", 10, true, "10 bytes"},
        {"b.train.00000.ends", 8, false, "SHA-256"},    {"b.train.00000.ends", 16, true, "16 bytes"},
        {"a.train.00000.tokens", 0, true, "0 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct datasetfixture x;
        struct errinfo info = {0};
        struct feed *f;
        const struct feed_options o = {.context = 16};
        datasetfixture_init(&x);
        struct dataset d = datasetfixture_pack(&x, 0, 100000, 2);
        spoil(x.dir, cases[i].file, cases[i].at, cases[i].cut);
        size_t alive = mem_alive();
        assert_int_equal(feed_open(&d, &o, &f, &info), ERR_CORRUPT);
        assert_int_equal(mem_alive(), alive);
        if (!strstr(info.message, cases[i].words) || !strstr(info.message, cases[i].file)) {
            fail_msg("%s", info.message);
        }
        dataset_deinit(&d);
        datasetfixture_deinit(&x);
    }
}

static void test_another_tokenizer_is_refused(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct errinfo info = {0};
    struct tokenizer *t;
    datasetfixture_init(&x);
    struct dataset d = datasetfixture_pack(&x, 0, 100000, 2);
    size_t alive = mem_alive();
    for (size_t k = 1;; k += 1 + k / 8) {
        mem_fault(k, 0);
        err e = dataset_open_tokenizer(&d, &t, &info);
        mem_fault(0, 0);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_int_equal(mem_alive(), alive);
    }
    tokenizer_free(t);
    d.vocab_size++;
    assert_int_equal(dataset_open_tokenizer(&d, &t, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "the manifest says a vocabulary of"));
    spoil(x.dir, "tokenizer.json", 100, false);
    assert_int_equal(dataset_open_tokenizer(&d, &t, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, d.tokenizer_sha256));
    dataset_deinit(&d);
    datasetfixture_deinit(&x);
}

static void refuse_manifest(const char *dir, const char *text, err code, const char *words)
{
    char path[96];
    struct errinfo info = {0};
    struct dataset d;
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    size_t alive = mem_alive();
    assert_int_equal(dataset_open(dir, &d, &info), code);
    assert_int_equal(mem_alive(), alive);
    if (!strstr(info.message, words)) {
        fail_msg("%s", info.message);
    }
}

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEAD "{\"format\": \"fathom-tokens\", \"version\": 1, \"tokenizer\": {\"sha256\": \"" HASH "\", "

#define SOURCE "{\"name\": \"a\", \"licence\": \"\", \"files\": [], \"text_bytes\": 0, " \
               "\"train\": {\"shards\": []}, \"val\": {\"shards\": []}}"

static void test_foreign_manifests_are_refused(void **state)
{
    (void)state;
    char dir[] = "/tmp/fathom-manifest-XXXXXX";
    struct errinfo info = {0};
    struct dataset d;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(dataset_open(dir, &d, &info), ERR_NOTFOUND);
    refuse_manifest(dir, "no json", ERR_CORRUPT, "manifest.json");
    refuse_manifest(dir, "{\"format\": \"other\"}", ERR_CORRUPT, "no manifest");
    refuse_manifest(dir, "{\"format\": \"fathom-tokens\", \"version\": 2}", ERR_UNSUPPORTED, "version 2");
    refuse_manifest(dir, "{\"format\": \"fathom-tokens\", \"version\": 1, \"tokenizer\": {\"sha256\": \"x\"}}",
                    ERR_CORRUPT, "SHA-256");
    refuse_manifest(dir, HEAD "\"vocab_size\": 70000}, \"token_bytes\": 2}", ERR_CORRUPT, "vocab_size");
    refuse_manifest(dir, HEAD "\"vocab_size\": 700}, \"token_bytes\": 3}", ERR_CORRUPT, "token_bytes");
    refuse_manifest(dir, HEAD "\"vocab_size\": 700}, \"token_bytes\": 2, \"val_share\": 0, \"sources\": "
                    "[{\"name\": \"../etc/passwd\"}]}", ERR_CORRUPT, "no name");
    refuse_manifest(dir, HEAD "\"vocab_size\": 700}, \"token_bytes\": 2, \"val_share\": 0, \"sources\": "
                    "[" SOURCE ", " SOURCE "]}", ERR_CORRUPT, "two sources are called a");
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void test_without_memory_or_disk_nothing_is_left_behind(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct errinfo info = {0};
    struct dataset d;
    datasetfixture_init(&x);
    const char *a[] = {x.text[0]};
    const struct datasetpack_source source = {.name = "a", .licence = "", .files = a, .n_files = 1};
    char dir[96];
    snprintf(dir, sizeof dir, "%s/new", x.dir);
    struct datasetpack_options o = {.dir = dir,
                                          .tokenizer_dir = DATASETFIXTURE_TOKENIZER,
                                          .val_share = 0.1,
                                          .shard_tokens = 500,
                                          .n_threads = 1};
    size_t alive = mem_alive();
    for (size_t k = 1;; k += 1 + k / 8) {
        mem_fault(k, 0);
        err e = datasetpack_run(&o, &source, 1, &d, &info);
        mem_fault(0, 0);
        if (e == ERR_OK) {
            dataset_deinit(&d);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_int_equal(mem_alive(), alive);
        assert_false(file_exists(dir));
    }
    snprintf(dir, sizeof dir, "%s/another", x.dir);
    o.shard_tokens = 100000; /* few files, so that every call of the system can fail in turn */
    size_t k = 1;
    for (;; k++) {
        file_fault(k, 28); /* ENOSPC */
        err e = datasetpack_run(&o, &source, 1, &d, &info);
        file_fault(0, 0);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_IO);
        assert_int_equal(mem_alive(), alive);
        assert_false(file_exists(dir));
    }
    assert_true(k > 20);
    assert_string_equal(d.dir, dir);
    dataset_deinit(&d);
    file_fault(k - 5, 28); /* over one that is there */
    assert_int_equal(datasetpack_run(&o, &source, 1, &d, &info), ERR_IO);
    file_fault(0, 0);
    char inside[128];
    snprintf(inside, sizeof inside, "%s/.tmp-pack", dir);
    assert_false(file_exists(inside));
    assert_true(file_is_dir(dir));
    datasetfixture_deinit(&x);
}

static void test_files_for_validation_stay_apart_and_the_tokenizer_comes_along(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct errinfo info = {0};
    struct dataset d, whole;
    struct tokenizer *t;
    datasetfixture_init(&x);
    const char *a[] = {x.text[0]}, *b[] = {x.text[1]};
    struct datasetpack_source source = {.name = "a", .licence = "", .files = a, .n_files = 1};
    const struct datasetpack_options o = {.dir = x.dir,
                                          .tokenizer_dir = DATASETFIXTURE_TOKENIZER,
                                          .val_share = 0.5,
                                          .shard_tokens = 500,
                                          .n_threads = 1};
    source.val_files = b;
    source.n_val_files = 1;
    datasetfixture_must(datasetpack_run(&o, &source, 1, &d, &info), &info);
    whole = datasetfixture_pack(&x, 0, 500, 1);
    assert_int_equal(d.sources[0].parts[DATASET_TRAIN].n_tokens, whole.sources[0].parts[DATASET_TRAIN].n_tokens);
    assert_int_equal(d.sources[0].parts[DATASET_VAL].n_tokens, whole.sources[1].parts[DATASET_TRAIN].n_tokens);
    assert_int_equal(d.sources[0].n_files, 2);
    datasetfixture_must(tokenizer_open(x.dir, &t, &info), &info);
    assert_int_equal(tokenizer_size(t), d.vocab_size);
    tokenizer_free(t);
    dataset_deinit(&d);
    dataset_deinit(&whole);
    datasetfixture_deinit(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents_come_back_as_they_were),
        cmocka_unit_test(test_threads_and_shard_sizes_change_nothing),
        cmocka_unit_test(test_the_manifest_says_all_again),
        cmocka_unit_test(test_changed_and_cut_shards_are_refused),
        cmocka_unit_test(test_another_tokenizer_is_refused),
        cmocka_unit_test(test_foreign_manifests_are_refused),
        cmocka_unit_test(test_files_for_validation_stay_apart_and_the_tokenizer_comes_along),
        cmocka_unit_test(test_without_memory_or_disk_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
