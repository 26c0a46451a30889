/* Rows: every token but a document's first is predicted once an epoch, in another order each time; weights
 * are kept; a feed goes on exactly where it was left. */
#include "datasetfixture.h"

enum { CONTEXT = 24 };

static struct feed *open_feed(const struct dataset *d, struct feed_options o)
{
    struct errinfo info = {0};
    struct feed *f;
    o.context = CONTEXT;
    datasetfixture_must(feed_open(d, &o, &f, &info), &info);
    return f;
}

struct row {
    int32_t inputs[CONTEXT], targets[CONTEXT], positions[CONTEXT];
};

static bool next(struct feed *f, struct row *r)
{
    return feed_next(f, r->inputs, r->targets, r->positions);
}

/* Counts (input, target) pairs, in a hash of buckets: equal multisets have equal sums. */
static uint64_t pair_sum(const struct row *r, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t x = (uint64_t)(uint32_t)r->inputs[i] << 32 | (uint32_t)r->targets[i];
        x = (x + 1) * UINT64_C(0x9e3779b97f4a7c15);
        sum += (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    }
    return sum;
}

static void test_in_order_every_token_is_predicted_once_and_it_ends(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct errinfo info = {0};
    struct row r;
    size_t predicted = 0;
    datasetfixture_init(&x);
    struct dataset d = datasetfixture_pack(&x, 0.3, 700, 2);
    struct feed *f = open_feed(&d, (struct feed_options){.part = DATASET_VAL, .in_order = true});
    for (size_t s = 0; s < d.n_sources; s++) {
        const struct dataset_shards *shards = &d.sources[s].parts[DATASET_VAL];
        assert_true(shards->n_documents > 3);
        predicted += shards->n_tokens - shards->n_documents;
    }
    assert_int_equal(feed_tokens(f), predicted);
    /* All targets in order are all tokens but the first of each document, which is a begin. */
    struct tokenizer *t;
    datasetfixture_must(tokenizer_open(DATASETFIXTURE_TOKENIZER, &t, &info), &info);
    size_t seen = 0, source = 0, at = 0;
    struct tokenshard shard = {0};
    size_t shard_index = 0;
    while (next(f, &r)) {
        for (int i = 0; i < CONTEXT && r.targets[i] >= 0; i++, seen++) {
            int32_t id;
            do {
                while (at == shard.n_tokens) {
                    const struct dataset_shards *shards = &d.sources[source].parts[DATASET_VAL];
                    tokenshard_close(&shard);
                    at = 0;
                    if (shard_index == shards->n) {
                        source++;
                        shard_index = 0;
                        shard.n_tokens = 0;
                        continue;
                    }
                    datasetfixture_must(tokenshard_open(d.dir, &shards->entries[shard_index++], d.token_bytes,
                                                        d.vocab_size, &shard, &info), &info);
                }
                tokenshard_copy(&shard, at++, 1, &id);
            } while (id == tokenizer_bos(t));
            assert_int_equal(r.targets[i], id);
            assert_true(r.positions[i] == 0 || r.inputs[i] == r.targets[i - 1]);
        }
    }
    assert_int_equal(seen, predicted);
    assert_false(next(f, &r));
    tokenshard_close(&shard);
    tokenizer_free(t);
    feed_close(f);
    dataset_deinit(&d);
    datasetfixture_deinit(&x);
}

static void test_an_epoch_is_every_pair_once_in_another_order(void **state)
{
    (void)state;
    struct datasetfixture x;
    static struct row rows[8000];
    datasetfixture_init(&x);
    struct dataset d = datasetfixture_pack(&x, 0, 700, 2);
    const struct feed_weight a = {"a", 1};
    const struct feed_options o = {.weights = &a, .n_weights = 1, .seed = 5};
    struct feed *f = open_feed(&d, o);
    size_t all = feed_tokens(f), n = all / CONTEXT * 3 + 3;
    assert_true(n < 8000);
    uint64_t sums[3] = {0}, order[3] = {0};
    for (size_t i = 0; i < n; i++) {
        assert_true(next(f, &rows[i]));
        for (size_t k = 0; k < CONTEXT; k++) {
            size_t at = i * CONTEXT + k, epoch = at / all;
            struct row one = {{rows[i].inputs[k]}, {rows[i].targets[k]}, {0}};
            if (epoch < 3) {
                sums[epoch] += pair_sum(&one, 1);
                order[epoch] = order[epoch] * 31 + (uint64_t)rows[i].targets[k];
            }
        }
    }
    assert_true(sums[0] == sums[1] && sums[1] == sums[2]);
    assert_true(order[0] != order[1] && order[1] != order[2]);
    assert_true(feed_epochs(f, 0) >= 3 && feed_epochs(f, 0) < 3.5);
    feed_close(f);
    struct row again;
    f = open_feed(&d, (struct feed_options){.weights = &a, .n_weights = 1, .seed = 6});
    assert_true(next(f, &again));
    assert_memory_not_equal(&again, &rows[0], sizeof again);
    feed_close(f);
    dataset_deinit(&d);
    datasetfixture_deinit(&x);
}

static void test_weights_are_kept_within_a_piece(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct row r;
    datasetfixture_init(&x);
    struct dataset d = datasetfixture_pack(&x, 0, 700, 2);
    const struct feed_weight weights[] = {{"b", 3}, {"a", 1}};
    struct feed *f = open_feed(&d, (struct feed_options){.weights = weights, .n_weights = 2});
    for (int i = 1; i <= 400; i++) {
        struct feed_state s;
        assert_true(next(f, &r));
        feed_save(f, &s);
        double share = (double)s.places[0].tokens / (double)(s.places[0].tokens + s.places[1].tokens);
        assert_int_equal(s.places[0].tokens + s.places[1].tokens, (uint64_t)i * CONTEXT);
        assert_true(share > 0.75 - 2.0 / i && share < 0.75 + 2.0 / i);
    }
    assert_string_equal(feed_source_name(f, 0), "b");
    feed_close(f);
    dataset_deinit(&d);
    datasetfixture_deinit(&x);
}

static void test_a_feed_goes_on_where_it_was_left(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct errinfo info = {0};
    datasetfixture_init(&x);
    struct dataset d = datasetfixture_pack(&x, 0, 700, 2);
    const struct feed_options o = {.seed = 9};
    for (int left = 0; left < 60; left += 7) {
        struct feed *f = open_feed(&d, o), *g = open_feed(&d, o);
        struct feed_state s;
        struct row a, b;
        for (int i = 0; i < left; i++) {
            assert_true(next(f, &a));
        }
        feed_save(f, &s);
        datasetfixture_must(feed_restore(g, &s, &info), &info);
        for (int i = 0; i < 300; i++) {
            assert_true(next(f, &a) && next(g, &b));
            assert_memory_equal(&a, &b, sizeof a);
        }
        feed_close(f);
        feed_close(g);
    }
    dataset_deinit(&d);
    datasetfixture_deinit(&x);
}

static void test_places_of_other_data_are_refused(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct errinfo info = {0};
    struct feed_state s, bad;
    struct row r;
    datasetfixture_init(&x);
    struct dataset d = datasetfixture_pack(&x, 0, 700, 2);
    struct feed *f = open_feed(&d, (struct feed_options){.seed = 9});
    assert_true(next(f, &r));
    feed_save(f, &s);
    for (int k = 0; k < 5; k++) {
        bad = s;
        switch (k) {
        case 0: bad.n_places = 1; break;
        case 1: bad.end = bad.at + CONTEXT + 1; break;
        case 2: bad.at = 0; bad.end = 1; bad.source = 7; break;
        case 3: bad.at = UINT64_MAX - 4; bad.end = UINT64_MAX - 2; break;
        default: bad.places[1].index = 1 << 30;
        }
        assert_int_equal(feed_restore(f, &bad, &info), ERR_CORRUPT);
    }
    feed_close(f);
    dataset_deinit(&d);
    datasetfixture_deinit(&x);
}

static void test_weights_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    struct datasetfixture x;
    struct errinfo info = {0};
    struct feed *f;
    datasetfixture_init(&x);
    struct dataset d = datasetfixture_pack(&x, 0, 700, 2);
    static const struct feed_weight cases[][2] = {
        {{"a", 1}, {"c", 1}}, {{"a", 0}, {"b", 1}}, {{"a", 1}, {"b", -1}}, {{"a", 1}, {"a", 1}},
        {{"a", 0.0 / 0.0}, {"b", 1}},
    };
    size_t alive = mem_alive();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct feed_options o = {.context = 8, .weights = cases[i], .n_weights = 2};
        assert_int_equal(feed_open(&d, &o, &f, &info), ERR_ARGUMENT);
        assert_int_equal(mem_alive(), alive);
    }
    const struct feed_options none = {.part = DATASET_VAL, .context = 8}, zero = {.context = 0};
    assert_int_equal(feed_open(&d, &none, &f, &info), ERR_ARGUMENT);
    assert_int_equal(feed_open(&d, &zero, &f, &info), ERR_ARGUMENT);
    dataset_deinit(&d);
    datasetfixture_deinit(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order_every_token_is_predicted_once_and_it_ends),
        cmocka_unit_test(test_an_epoch_is_every_pair_once_in_another_order),
        cmocka_unit_test(test_weights_are_kept_within_a_piece),
        cmocka_unit_test(test_a_feed_goes_on_where_it_was_left),
        cmocka_unit_test(test_places_of_other_data_are_refused),
        cmocka_unit_test(test_weights_that_mean_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
