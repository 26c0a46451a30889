/* Many generations at once: each gives what it gives alone, owners take turns, limits and failures concern
 * the job alone. */
#include "engine/batcherfixture.h"

#include <math.h>

#include "base/file.h"
#include "formats/tempdir.h"
#include "text/grammarmask.h"

/* Jobs of different lengths that come and go, prompts in pieces: the bits of a session alone. */
static void test_in_company_as_alone(void **state)
{
    (void)state;
    static const size_t lengths[] = {1, 5, 90, 33, 2, 64};
    enum { JOBS = sizeof lengths / sizeof *lengths };
    for (size_t m = 0; m < ENGINEFIXTURE_MODELS; m++) {
        struct engine *e = enginefixture_open(enginefixture_models[m], 2, true, 24);
        struct batcher *b = batcher(e, 4, 0, 0);
        struct answer got[JOBS] = {0}, alone[JOBS] = {0};
        struct sampling sampling[JOBS];
        struct generate_options o[JOBS];
        int32_t ids[100];
        enginefixture_tokens(e, ids, 100);
        for (size_t i = 0; i < JOBS; i++) {
            struct errinfo info = {0};
            sampling[i] = (struct sampling){.temperature = i % 2 ? 0.9f : 0, .seed = i};
            o[i] = (struct generate_options){.max_tokens = 7 + 3 * i, .ignore_eos = i % 3 == 0};
            must(submit(b, &got[i], ids + i, lengths[i], &sampling[i], &o[i], i % 2, &info), &info);
            batcher_step(b);
        }
        run_all(b);
        for (size_t i = 0; i < JOBS; i++) {
            struct session *s = enginefixture_session(e, 200);
            struct errinfo info = {0};
            struct generate_result r;
            enginefixture_append(s, ids + i, lengths[i]);
            must(session_generate(s, &sampling[i], &o[i], on_token, &alone[i], &r, &info), &info);
            assert_int_equal(got[i].done, 1);
            assert_int_equal(got[i].e, ERR_OK);
            assert_int_equal(got[i].n, alone[i].n);
            assert_memory_equal(got[i].ids, alone[i].ids, alone[i].n * sizeof *alone[i].ids);
            assert_memory_equal(got[i].logprobs, alone[i].logprobs, alone[i].n * sizeof *alone[i].logprobs);
            assert_int_equal(got[i].result.finish, r.finish);
            assert_int_equal(got[i].result.prompt_tokens, lengths[i]);
            assert_int_equal(got[i].result.completion_tokens, r.completion_tokens);
            session_free(s);
        }
        batcher_free(b);
        engine_close(e);
    }
}

/* Every step gives every answer its token, however long the prompts beside it are. */
static void test_long_prompts_stall_no_answer(void **state)
{
    struct engine *e = *state;
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 3, 0, 0);
    struct answer short_one = {0}, long_ones[2] = {0};
    const struct generate_options o = {.max_tokens = 30, .ignore_eos = true};
    int32_t ids[400];
    enginefixture_tokens(e, ids, 400);
    must(submit(b, &short_one, ids, 3, NULL, &o, 1, &info), &info);
    batcher_step(b);
    assert_int_equal(short_one.n, 1);
    must(submit(b, &long_ones[0], ids, 400, NULL, &o, 2, &info), &info);
    must(submit(b, &long_ones[1], ids + 1, 399, NULL, &o, 3, &info), &info);
    for (size_t i = 2; i <= 12; i++) {
        batcher_step(b);
        assert_int_equal(short_one.n, i);
    }
    run_all(b);
    assert_int_equal(long_ones[0].n, 30);
    assert_int_equal(long_ones[1].n, 30);
    batcher_free(b);
}

/* ---- grammars ---- */

static const char *const grammars[] = {
    "root ::= \"[\" ([0-9]{1,3} (\",\" [0-9]{1,3}){0,4})? \"]\"", NULL, "root ::= [a-c]{4,9}", NULL,
    "root ::= (\"yes\" | \"no\") \" \" [A-Z]{2,5} \".\"", "root ::= [^a-z]{5}"};
enum { GRAMMARS = sizeof grammars / sizeof *grammars };

/* A mask each, one vocabulary for all. */
struct masks {
    struct tokentrie *trie;
    struct grammar *grammars[GRAMMARS];
    struct grammarmask *masks[GRAMMARS];
};

static void masks_open(struct masks *m, const struct engine *e)
{
    struct errinfo info = {0};
    *m = (struct masks){0};
    must(tokentrie_new(engine_tokenizer(e), &m->trie, &info), &info);
    for (size_t i = 0; i < GRAMMARS; i++) {
        if (grammars[i]) {
            must(grammar_new(grammars[i], strlen(grammars[i]), &m->grammars[i], &info), &info);
            must(grammarmask_new(m->grammars[i], m->trie, &m->masks[i], &info), &info);
        }
    }
}

static void masks_close(struct masks *m)
{
    for (size_t i = 0; i < GRAMMARS; i++) {
        grammarmask_free(m->masks[i]);
        grammar_free(m->grammars[i]);
    }
    tokentrie_free(m->trie);
}

/* Several masks at once and none: each answer is what its own grammar makes of it alone. */
static void test_a_grammar_concerns_its_own_answer(void **state)
{
    struct engine *e = *state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct batcher *b = batcher(e, 4, 0, 0);
        struct answer got[GRAMMARS] = {0}, alone[GRAMMARS] = {0};
        struct sampling sampling[GRAMMARS];
        struct generate_options o[GRAMMARS];
        struct masks m;
        int32_t ids[40];
        struct errinfo info = {0};
        enginefixture_tokens(e, ids, 40);
        masks_open(&m, e);
        for (size_t i = 0; i < GRAMMARS; i++) {
            sampling[i] = (struct sampling){.temperature = 1.2f, .seed = seed + i};
            o[i] = (struct generate_options){.max_tokens = 30, .grammar = m.masks[i]};
            must(submit(b, &got[i], ids + i, 10 + 4 * i, &sampling[i], &o[i], i, &info), &info);
        }
        run_all(b);
        for (size_t i = 0; i < GRAMMARS; i++) {
            struct session *s = enginefixture_session(e, 100);
            if (m.masks[i]) {
                grammarmask_begin(m.masks[i], -1);
            }
            enginefixture_append(s, ids + i, 10 + 4 * i);
            must(session_generate(s, &sampling[i], &o[i], on_token, &alone[i], NULL, &info), &info);
            assert_int_equal(got[i].e, ERR_OK);
            assert_int_equal(got[i].n, alone[i].n);
            assert_memory_equal(got[i].ids, alone[i].ids, sizeof alone[i].ids);
            assert_memory_equal(got[i].logprobs, alone[i].logprobs, sizeof alone[i].logprobs);
            session_free(s);
        }
        masks_close(&m);
        batcher_free(b);
    }
}

/* Answers whose grammars take longer than a step sit out steps: who has none gets a token in each, as ever, and all
 * are what they are alone. */
static void test_a_grammar_that_takes_long_holds_nobody_up(void **state)
{
    enum { PARTS = 3000, HEAVY = 3, FREE = 60, MADE = 12 };
    static const char *const parts[] = {" [q]?", " [x]?", " [qx]?"};
    struct engine *e = *state;
    struct errinfo info = {0};
    struct answer alone = {0}, heavy[HEAVY] = {{0}}, light = {0};
    struct tokentrie *trie;
    struct grammar *g;
    struct grammarmask *masks[HEAVY + 1];
    struct generate_options o[HEAVY];
    char *text = malloc(6 * PARTS + 40), *at = text + sprintf(text, "root ::=");
    int32_t ids[8];
    for (size_t i = 0; i < PARTS; i++) {
        at += sprintf(at, "%s", parts[i * i % 7 % 3]);
    }
    enginefixture_tokens(e, ids, 8);
    must(tokentrie_new(engine_tokenizer(e), &trie, &info), &info);
    must(grammar_new(text, strlen(text), &g, &info), &info);
    struct batcher *b = batcher(e, HEAVY + 1, 0, 0);
    const struct sampling endless = {.bias_ids = &(int32_t){tokenizer_eos(engine_tokenizer(e))},
                                     .bias_values = &(float){-INFINITY}, .n_bias = 1};
    const struct generate_options none = {.max_tokens = FREE, .ignore_eos = true};
    for (size_t i = 0; i <= HEAVY; i++) {
        must(grammarmask_new(g, trie, &masks[i], &info), &info);
    }
    must(submit(b, &light, ids, 8, NULL, &none, 9, &info), &info);
    for (size_t i = 0; i < HEAVY; i++) {
        o[i] = (struct generate_options){.max_tokens = MADE, .grammar = masks[i]};
        must(submit(b, &heavy[i], ids, 8, &endless, &o[i], i, &info), &info);
    }
    for (size_t i = 1; i <= FREE; i++) {
        batcher_step(b);
        assert_true(light.n >= i - 1); /* its prompt took a step */
    }
    size_t made = heavy[0].n + heavy[1].n + heavy[2].n;
    assert_true(made < HEAVY * MADE);
    run_all(b);
    struct session *s = enginefixture_session(e, 100);
    enginefixture_append(s, ids, 8);
    o[0].grammar = masks[HEAVY];
    must(session_generate(s, &endless, &o[0], on_token, &alone, NULL, &info), &info);
    assert_int_equal(alone.n, MADE);
    for (size_t i = 0; i < HEAVY; i++) {
        assert_int_equal(heavy[i].e, ERR_OK);
        assert_int_equal(heavy[i].n, MADE);
        assert_memory_equal(heavy[i].ids, alone.ids, sizeof alone.ids);
        assert_memory_equal(heavy[i].logprobs, alone.logprobs, sizeof alone.logprobs);
    }
    session_free(s);
    batcher_free(b);
    for (size_t i = 0; i <= HEAVY; i++) {
        grammarmask_free(masks[i]);
    }
    grammar_free(g);
    tokentrie_free(trie);
    free(text);
}

/* ---- answers at once ---- */

static const int32_t think_end[] = {'#', '\n'};

/* While it runs, before it runs, with a mask that waits for the end of thinking; whoever else is there. */
static void test_thinking_ends_when_somebody_asks(void **state)
{
    struct engine *e = *state;
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 2, 0, 0);
    struct answer runs = {.hurry_after = 4}, waits = {0}, other = {0}, again = {0}, has_no_end = {.hurry_after = 2};
    const struct generate_options o = {.max_tokens = 12, .ignore_eos = true, .think_end = think_end, .n_think_end = 2},
                                  none = {.max_tokens = 12, .ignore_eos = true};
    struct masks m;
    int32_t ids[20];
    enginefixture_tokens(e, ids, 20);
    masks_open(&m, e);
    grammarmask_begin(m.masks[2], '#');
    const struct generate_options bound = {.max_tokens = 40, .think_end = think_end, .n_think_end = 1,
                                           .grammar = m.masks[2]};
    must(submit(b, &runs, ids, 20, NULL, &o, 0, &info), &info);
    must(submit(b, &other, ids, 20, NULL, &none, 1, &info), &info);
    must(submit(b, &waits, ids, 20, NULL, &bound, 2, &info), &info);
    must(submit(b, &has_no_end, ids, 20, NULL, &none, 2, &info), &info);
    batcher_answer_now(waits.job);
    run_all(b);
    assert_memory_equal(runs.ids, other.ids, 4 * sizeof *runs.ids);
    assert_int_equal(runs.ids[4], '#');
    assert_int_equal(runs.ids[5], '\n');
    assert_int_equal(runs.n, 12);
    assert_int_equal(waits.ids[0], '#');
    assert_true(waits.n >= 5 && waits.ids[1] >= 'a' && waits.ids[1] <= 'c');
    assert_int_equal(waits.result.finish, SESSION_STOP);
    assert_memory_equal(has_no_end.ids, other.ids, sizeof other.ids);
    const struct generate_options budget = {.max_tokens = 12, .ignore_eos = true, .think_end = think_end,
                                            .n_think_end = 2, .think_tokens = 4};
    must(submit(b, &again, ids, 20, NULL, &budget, 2, &info), &info);
    run_all(b);
    assert_memory_equal(again.ids, runs.ids, sizeof runs.ids); /* a budget is the same thing */
    assert_memory_equal(again.logprobs, runs.logprobs, sizeof runs.logprobs);
    masks_close(&m);
    batcher_free(b);
}

static void test_progress_is_told_before_the_first_token(void **state)
{
    (void)state;
    struct engine *e = enginefixture_open(ENGINEFIXTURE_CHAT, 2, true, 50);
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 1, 0, 0);
    struct answer a[3] = {0};
    const struct generate_options o = {.max_tokens = 2, .ignore_eos = true};
    int32_t ids[160];
    enginefixture_tokens(e, ids, 160);
    for (size_t i = 0; i < 3; i++) {
        must(batcher_submit(b,
                            &(struct batcher_request){.tokens = ids, .n_tokens = 160 - (i == 1 ? 60 : 0), .options = &o,
                                                      .owner = i, .token = on_token, .done = on_done,
                                                      .progress = on_progress, .user = &a[i]},
                            &a[i].job, &info),
             &info);
    }
    run_all(b);
    assert_int_equal(a[0].n_progress, 4); /* 50, 100, 150, 160 */
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(a[0].progress[i].ahead, 0);
        assert_int_equal(a[0].progress[i].total, 160);
        assert_int_equal(a[0].progress[i].done, i < 3 ? 50 * (i + 1) : 160);
    }
    assert_int_equal(a[1].progress[0].done, 0);
    assert_int_equal(a[1].progress[0].total, 100);
    assert_int_equal(a[1].progress[a[1].n_progress - 1].done, 100);
    assert_int_equal(a[1].cached, 64);
    assert_int_equal(a[2].progress[0].ahead, 1);
    assert_int_equal(a[2].progress[1].ahead, 0);
    assert_int_equal(a[2].progress[a[2].n_progress - 1].done, 160);
    assert_int_equal(a[2].cached, 128);
    batcher_free(b);
    engine_close(e);
}

static void test_owners_take_turns(void **state)
{
    struct engine *e = *state;
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 1, 0, 0);
    static const uint64_t owners[] = {7, 7, 7, 7, 8, 9};
    static const size_t places[] = {1, 2, 5, 6, 3, 4}; /* the second of 7 came before 8 and 9 did */
    struct answer a[6] = {0};
    const struct generate_options o = {.max_tokens = 2};
    size_t order = 0;
    int32_t ids[4];
    enginefixture_tokens(e, ids, 4);
    for (size_t i = 0; i < 6; i++) {
        a[i].order = &order;
        must(submit(b, &a[i], ids, 4, NULL, &o, owners[i], &info), &info);
        if (i == 0) {
            batcher_step(b);
        }
    }
    run_all(b);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(a[i].place, places[i]);
    }
    batcher_free(b);
}

static void test_cancelled_jobs_end_at_once(void **state)
{
    struct engine *e = *state;
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 1, 0, 0);
    struct answer runs = {0}, waits = {0}, stops = {.stop_after = 3}, left = {0};
    const struct generate_options o = {.max_tokens = 40, .ignore_eos = true};
    int32_t ids[4];
    enginefixture_tokens(e, ids, 4);
    must(submit(b, &runs, ids, 4, NULL, &o, 0, &info), &info);
    must(submit(b, &waits, ids, 4, NULL, &o, 0, &info), &info);
    batcher_step(b);
    batcher_step(b);
    batcher_cancel(runs.job);
    batcher_cancel(waits.job);
    must(submit(b, &stops, ids, 4, NULL, &o, 0, &info), &info);
    batcher_step(b);
    assert_int_equal(runs.done, 1);
    assert_int_equal(runs.result.finish, SESSION_CANCELLED);
    assert_int_equal(runs.result.completion_tokens, 2);
    assert_int_equal(waits.done, 1);
    assert_int_equal(waits.result.finish, SESSION_CANCELLED);
    run_all(b);
    assert_int_equal(stops.n, 3);
    assert_int_equal(stops.result.finish, SESSION_CANCELLED);
    assert_int_equal(stops.e, ERR_OK);
    must(submit(b, &left, ids, 4, NULL, &o, 0, &info), &info);
    batcher_free(b); /* also a way to end */
    assert_int_equal(left.done, 1);
    assert_int_equal(left.result.finish, SESSION_CANCELLED);
}

/* Of a prompt as much is told at the end as was read or found, not all of it. */
static void test_a_cancelled_prompt_tells_what_was_read(void **state)
{
    enum { PROMPT = 200, CHUNK = 24, PAGE = 64 };
    struct errinfo info = {0};
    const struct generate_options o = {.max_tokens = 1};
    struct engine *e = enginefixture_open(enginefixture_models[0], 2, true, CHUNK);
    struct batcher *b = batcher(e, 1, 0, 0);
    int32_t ids[PROMPT];
    (void)state;
    enginefixture_tokens(e, ids, PROMPT);
    for (size_t steps = 0, found = 0; steps < 5; steps++) {
        struct answer a = {0}, waits = {0};
        must(submit(b, &a, ids, PROMPT, NULL, &o, 0, &info), &info);
        must(submit(b, &waits, ids, PROMPT, NULL, &o, 0, &info), &info);
        for (size_t i = 0; i < steps; i++) {
            batcher_step(b);
        }
        batcher_cancel(a.job);
        batcher_cancel(waits.job);
        batcher_admit(b);
        assert_int_equal(waits.result.prompt_tokens + waits.cached, 0);
        assert_int_equal(a.cached, steps ? found : 0);
        assert_int_equal(a.result.prompt_tokens, steps ? found + steps * CHUNK : 0);
        found = a.result.prompt_tokens / PAGE * PAGE;
    }
    batcher_free(b);
    engine_close(e);
}

static void test_what_cannot_be_done_is_refused(void **state)
{
    struct engine *e = *state;
    struct errinfo info = {0};
    struct batcher *b = NULL;
    assert_int_equal(batcher_new(e, &(struct batcher_options){.running = 100000}, &b, &info), ERR_ARGUMENT);
    size_t page = engine_cache_bytes_per_token(e) * 64;
    b = batcher(e, 1, 1, 2 * page);
    struct answer a = {0}, more[3] = {0};
    const struct generate_options o = {.max_tokens = 10};
    const struct sampling wrong = {.temperature = -1};
    int32_t *ids = calloc(engine_context_max(e), sizeof *ids);
    assert_int_equal(submit(b, &a, ids, 0, NULL, &o, 0, &info), ERR_ARGUMENT);
    assert_int_equal(submit(b, &a, ids, 3, &wrong, &o, 0, &info), ERR_ARGUMENT);
    assert_int_equal(submit(b, &a, ids, engine_context_max(e), NULL, &o, 0, &info), ERR_CONTEXT);
    assert_int_equal(submit(b, &a, ids, 128, NULL, &o, 0, &info), ERR_CONTEXT); /* all of the memory */
    assert_non_null(strstr(info.message, "has 128 tokens"));
    assert_non_null(strstr(info.message, "holds 128"));
    must(submit(b, &more[0], ids, 3, NULL, &o, 0, &info), &info);
    must(submit(b, &more[1], ids, 3, NULL, &o, 0, &info), &info);
    assert_int_equal(submit(b, &a, ids, 3, NULL, &o, 0, &info), ERR_BUSY);
    assert_non_null(strstr(info.message, "2 requests of yours are waiting"));
    ids[1] = -5; /* found when its turn comes */
    run_all(b);
    must(submit(b, &more[2], ids, 3, NULL, &o, 0, &info), &info);
    run_all(b);
    assert_int_equal(a.done, 0);
    assert_int_equal(more[0].e, ERR_OK);
    assert_int_equal(more[1].e, ERR_OK);
    assert_int_equal(more[2].e, ERR_ARGUMENT);
    assert_non_null(strstr(more[2].message, "not in the vocabulary"));
    free(ids);
    batcher_free(b);
}

/* Who waits leaves as many waiting places free as he has, for whoever comes. */
static void test_nobody_fills_the_queue(void **state)
{
    struct engine *e = *state;
    static const size_t most[] = {4, 2, 1, 1, 0}; /* of eight, by the owners in turn */
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 1, 4, 0);
    struct answer runs = {0}, a[5][8] = {0};
    const struct generate_options o = {.max_tokens = 3};
    int32_t ids[4];
    enginefixture_tokens(e, ids, 4);
    must(submit(b, &runs, ids, 4, NULL, &o, 0, &info), &info);
    batcher_step(b);
    for (uint64_t owner = 0; owner < 5; owner++) {
        size_t n = 0;
        while (n < 8 && submit(b, &a[owner][n], ids, 4, NULL, &o, owner, &info) == ERR_OK) {
            n++;
        }
        assert_int_equal(n, most[owner]);
        assert_non_null(strstr(info.message, owner == 0 ? "4 requests of yours" : "waiting already"));
    }
    run_all(b);
    batcher_free(b);
}

/* What each gives alone, and what it gave: all of it, or as much as it came to. */
static void assert_as_alone(struct engine *e, const struct answer *got, const int32_t *ids, size_t n,
                            const struct sampling *sampling, const struct generate_options *o)
{
    struct answer alone = {0};
    struct errinfo info = {0};
    struct session *s = enginefixture_session(e, 0);
    enginefixture_append(s, ids, n);
    must(session_generate(s, sampling, o, on_token, &alone, NULL, &info), &info);
    assert_true(got->n == alone.n || (got->n < alone.n && got->result.finish == SESSION_CANCELLED));
    assert_memory_equal(got->ids, alone.ids, got->n * sizeof *got->ids);
    assert_memory_equal(got->logprobs, alone.logprobs, got->n * sizeof *got->logprobs);
    session_free(s);
}

/* All places are taken by long answers of one owner: others' prompts, here of one token, are read in the next step,
 * with which their answers begin; and who gave way goes on as if nothing had been. */
static void test_a_newcomer_is_served_at_once(void **state)
{
    struct engine *e = *state;
    enum { PLACES = 16, LONG = 100 };
    struct errinfo info = {0};
    struct batcher *b = batcher(e, PLACES, 0, 0);
    static struct answer a[PLACES], other[2];
    static struct sampling sampling[PLACES];
    const struct generate_options o = {.max_tokens = LONG, .ignore_eos = true}, brief = {.max_tokens = 40, .ignore_eos = true};
    int32_t ids[40];
    memset(a, 0, sizeof a);
    memset(other, 0, sizeof other);
    enginefixture_tokens(e, ids, 40);
    for (size_t i = 0; i < PLACES; i++) {
        sampling[i] = (struct sampling){.temperature = 0.9f, .seed = i};
        must(submit(b, &a[i], ids + i, 10, &sampling[i], &o, 1, &info), &info);
    }
    while (a[PLACES - 1].n < 9) {
        batcher_step(b);
    }
    for (uint64_t i = 0; i < 2; i++) {
        must(submit(b, &other[i], ids + i, 1, NULL, &brief, 2 + i, &info), &info);
    }
    batcher_step(b);
    assert_int_equal(other[0].n, 1);
    assert_int_equal(other[1].n, 1);
    struct batcher_counts c = batcher_count(b);
    assert_int_equal(c.running, PLACES);
    assert_int_equal(c.waiting, 2);
    assert_int_equal(c.paused, 2);
    size_t stands = a[PLACES - 1].n;
    while (other[0].done + other[1].done < 2) {
        assert_int_equal(a[PLACES - 1].n, stands); /* the latest of those who have most */
        batcher_step(b);
    }
    assert_int_equal(batcher_count(b).paused, 2);
    batcher_step(b);
    assert_int_equal(batcher_count(b).paused, 0);
    batcher_cancel(a[3].job);
    run_all(b);
    for (size_t i = 0; i < PLACES; i++) {
        assert_int_equal(a[i].done, 1);
        assert_int_equal(a[i].e, ERR_OK);
        assert_int_equal(a[i].result.completion_tokens, a[i].n);
        assert_true(i == 3 || a[i].n == LONG);
        assert_as_alone(e, &a[i], ids + i, 10, &sampling[i], &o);
    }
    batcher_free(b);
}

/* One place, and three owners with long answers: each goes on a slice at a time. */
static void test_owners_share_one_place(void **state)
{
    struct engine *e = *state;
    enum { OWNERS = 3, LONG = 300 };
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 1, 0, 0);
    static struct answer a[OWNERS + 1];
    const struct generate_options o = {.max_tokens = LONG, .ignore_eos = true};
    int32_t ids[40];
    size_t steps = 0;
    memset(a, 0, sizeof a);
    enginefixture_tokens(e, ids, 40);
    for (size_t i = 0; i < OWNERS; i++) {
        must(submit(b, &a[i], ids + i, 20, NULL, &o, i, &info), &info);
    }
    must(submit(b, &a[OWNERS], ids, 20, NULL, &o, 0, &info), &info);
    for (; a[OWNERS - 1].n == 0; steps++) {
        batcher_step(b);
    }
    assert_true(steps <= (OWNERS - 1) * 128 + 1);
    assert_int_equal(a[OWNERS].n, 0); /* an owner's second waits for his first */
    while (a[0].done == 0) {
        batcher_step(b);
        steps++;
    }
    assert_true(a[1].n > 0 && a[1].n + 128 > LONG / 2);
    assert_true(a[2].n + 256 > a[1].n);
    run_all(b);
    for (size_t i = 0; i < OWNERS; i++) {
        assert_int_equal(a[i].n, LONG);
        assert_as_alone(e, &a[i], ids + i, 20, NULL, &o);
    }
    assert_as_alone(e, &a[OWNERS], ids, 20, NULL, &o);
    batcher_free(b);
}

/* Memory for one and a half that come to their ends, and four that want to: it never runs out, the oldest is done first, and
 * all are done. `owners`: of how many they are; some of what they had read is forgotten meanwhile. */
static void run_short_of_memory(struct engine *e, uint64_t owners, const struct prefixdisk_options *disk, bool forget)
{
    enum { JOBS = 4, LONG = 400 };
    struct errinfo info = {0};
    struct batcher *b = NULL;
    static struct answer a[JOBS];
    const struct generate_options o = {.ignore_eos = true, .max_tokens = LONG};
    size_t order = 0, paused = 0, page = engine_cache_bytes_per_token(e) * 64;
    int32_t ids[200];
    memset(a, 0, sizeof a);
    enginefixture_tokens(e, ids, 200);
    must(batcher_new(e, &(struct batcher_options){.running = 4, .memory = 12 * page, .disk = disk}, &b, &info), &info);
    for (size_t i = 0; i < JOBS; i++) {
        a[i].order = &order;
        must(submit(b, &a[i], ids + 10 * i, 50 + i, NULL, &o, i % owners, &info), &info);
    }
    for (size_t steps = 0; order < JOBS; steps++) {
        batcher_step(b);
        struct batcher_counts c = batcher_count(b);
        paused = c.paused > paused ? c.paused : paused;
        assert_true(c.reserved <= c.memory && steps < 5000);
        if (forget && steps == 200) {
            batcher_forget(b, 0);
        }
    }
    assert_true(paused > 0);
    assert_true(owners > 1 || a[0].place == 1);
    for (size_t i = 0; i < JOBS; i++) {
        assert_int_equal(a[i].e, ERR_OK);
        assert_int_equal(a[i].n, LONG);
        assert_int_equal(a[i].cached, 0); /* what it was that made it is not found */
        assert_as_alone(e, &a[i], ids + 10 * i, 50 + i, NULL, &o);
    }
    batcher_free(b);
}

static void test_answers_grow_until_memory_is_out(void **state)
{
    struct engine *e = *state;
    struct tempdir dir;
    for (uint64_t owners = 1; owners <= 4; owners++) {
        run_short_of_memory(e, owners, NULL, owners == 2);
    }
    tempdir_make(&dir);
    run_short_of_memory(e, 4, &(struct prefixdisk_options){.folder = dir.path, .bytes = 1 << 28, .key = {4}}, false);
    tempdir_remove_all(dir.path);
}

/* Whatever comes and goes, on little memory and few places: the bits of a session alone. */
static void test_a_crowd(void **state)
{
    struct engine *e = *state;
    enum { JOBS = 24, TEXT = 300 };
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 3, 64, 6 * engine_cache_bytes_per_token(e) * 64);
    static struct answer a[JOBS];
    static struct sampling sampling[JOBS];
    static struct generate_options o[JOBS];
    size_t first[JOBS], n[JOBS], paused = 0;
    int32_t ids[TEXT];
    struct rng r;
    rng_seed(&r, 5);
    memset(a, 0, sizeof a);
    enginefixture_tokens(e, ids, TEXT);
    for (size_t i = 0; i < JOBS; i++) {
        first[i] = rng_u64(&r) % 3 * 20;
        n[i] = 1 + rng_u64(&r) % 120;
        sampling[i] = (struct sampling){.temperature = i % 3 ? 0.8f : 0, .seed = i, .presence_penalty = i % 2 ? 0.5f : 0};
        o[i] = (struct generate_options){.max_tokens = 1 + rng_u64(&r) % 240, .ignore_eos = i % 4 != 0};
        must(submit(b, &a[i], ids + first[i], n[i], &sampling[i], &o[i], rng_u64(&r) % 5, &info), &info);
        for (size_t steps = rng_u64(&r) % 40; steps > 0; steps--) {
            batcher_step(b);
            struct batcher_counts c = batcher_count(b);
            paused += c.paused;
            assert_true(c.reserved <= c.memory);
        }
        if (i % 5 == 4 && a[i - 2].done == 0) {
            batcher_cancel(a[i - 2].job);
        }
    }
    run_all(b);
    assert_true(paused > 0);
    for (size_t i = 0; i < JOBS; i++) {
        assert_int_equal(a[i].done, 1);
        assert_int_equal(a[i].e, ERR_OK);
        assert_as_alone(e, &a[i], ids + first[i], n[i], &sampling[i], &o[i]);
    }
    batcher_free(b);
}

/* An answer without a limit ends where the memory does. */
static void test_an_answer_ends_with_the_memory(void **state)
{
    struct engine *e = *state;
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 2, 0, 2 * engine_cache_bytes_per_token(e) * 64);
    static struct answer a[2];
    const struct generate_options o[2] = {{.ignore_eos = true}, {.ignore_eos = true, .max_tokens = 8192}};
    int32_t ids[20];
    memset(a, 0, sizeof a);
    enginefixture_tokens(e, ids, 20);
    for (size_t i = 0; i < 2; i++) {
        must(submit(b, &a[i], ids, 20, NULL, &o[i], 0, &info), &info);
    }
    run_all(b);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(a[i].e, ERR_OK);
        assert_int_equal(a[i].n, 2 * 64 - 20);
        assert_int_equal(a[i].result.finish, SESSION_LENGTH);
    }
    batcher_free(b);
}

/* Four places, and memory for two jobs. */
static void test_jobs_wait_for_memory(void **state)
{
    struct engine *e = *state;
    struct errinfo info = {0};
    struct batcher *b = batcher(e, 4, 0, engine_cache_bytes_per_token(e) * 64 * 2);
    struct answer a[4] = {0};
    const struct generate_options o = {.max_tokens = 10};
    int32_t ids[8];
    enginefixture_tokens(e, ids, 8);
    for (size_t i = 0; i < 4; i++) {
        must(submit(b, &a[i], ids, 8, NULL, &o, i, &info), &info);
    }
    for (size_t i = 0; i < 100; i++) {
        batcher_step(b);
        struct batcher_counts c = batcher_count(b);
        assert_true(c.running <= 2 && c.reserved <= c.memory);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(a[i].e, ERR_OK);
        assert_int_equal(a[i].done, 1);
    }
    batcher_free(b);
}

/* n copies of one prompt at the same time; returns what was found of it for the last. */
static size_t ask(struct batcher *b, const int32_t *ids, size_t n_ids, uint64_t partition, size_t n,
                  struct answer *a)
{
    struct errinfo info = {0};
    const struct generate_options o = {.max_tokens = 20, .ignore_eos = true};
    for (size_t i = 0; i < n; i++) {
        a[i] = (struct answer){0};
        must(batcher_submit(b,
                            &(struct batcher_request){.tokens = ids,
                                                      .n_tokens = n_ids,
                                                      .options = &o,
                                                      .partition = partition,
                                                      .token = on_token,
                                                      .done = on_done,
                                                      .user = &a[i]},
                            &a[i].job, &info),
             &info);
    }
    run_all(b);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(a[i].e, ERR_OK);
        assert_int_equal(a[i].n, 20);
    }
    return a[n - 1].cached;
}

static void assert_same(const struct answer *a, const struct answer *b)
{
    assert_memory_equal(a->ids, b->ids, sizeof a->ids);
    assert_memory_equal(a->logprobs, b->logprobs, sizeof a->logprobs);
}

static void test_known_beginnings_are_not_read_again(void **state)
{
    (void)state;
    for (size_t m = 0; m < ENGINEFIXTURE_MODELS; m++) {
        struct engine *e = enginefixture_open(enginefixture_models[m], 2, true, 50);
        size_t page = engine_cache_bytes_per_token(e) * 64;
        struct batcher *b = batcher(e, 4, 0, 64 * page);
        struct answer first[1], again[3];
        int32_t ids[300];
        enginefixture_tokens(e, ids, 150);
        assert_int_equal(ask(b, ids, 150, 1, 1, first), 0);
        assert_int_equal(batcher_count(b).kept, 2 * page); /* 169 positions were read */
        assert_int_equal(ask(b, ids, 150, 1, 3, again), 128);
        for (size_t i = 0; i < 3; i++) {
            assert_same(first, &again[i]);
        }
        assert_int_equal(ask(b, ids, 128, 1, 1, again), 64); /* the last token must be read */
        assert_int_equal(ask(b, ids, 150, 2, 1, again), 0);  /* another's */
        assert_same(first, &again[0]);
        memcpy(ids + 150, first->ids, 20 * sizeof *ids); /* a conversation goes on */
        enginefixture_tokens(e, ids + 170, 40);
        assert_int_equal(ask(b, ids, 210, 1, 1, again), 128);
        batcher_free(b);
        engine_close(e);
    }
}

/* The small chat model with a longer context than it was made for. */
static struct engine *long_context(struct tempdir *dir)
{
    static const char *const files[] = {"model.safetensors", "tokenizer.json", "tokenizer_config.json"};
    char *config = NULL, *data = NULL;
    size_t n;
    struct errinfo info = {0};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char from[200];
        snprintf(from, sizeof from, "%s/%s", ENGINEFIXTURE_CHAT, files[i]);
        must(file_read(from, 1 << 20, &data, &n, &info), &info);
        tempdir_put(dir, files[i], data, n);
        mem_free(data);
    }
    must(file_read(ENGINEFIXTURE_CHAT "/config.json", 1 << 16, &config, &n, &info), &info);
    char *at = strstr(config, "\"max_position_embeddings\": ");
    assert_non_null(at);
    char text[4000];
    at += strlen("\"max_position_embeddings\": ");
    snprintf(text, sizeof text, "%.*s32768%s", (int)(at - config), config, at + strspn(at, "0123456789"));
    tempdir_text(dir, "config.json", text);
    mem_free(config);
    return enginefixture_open(dir->path, 2, false, 0);
}

/* An agent's fifty turns: each sends everything again, the answer too, and 200 to 400 tokens more. */
static void test_an_agent_pays_for_what_is_new(void **state)
{
    (void)state;
    enum { TURNS = 50, TOKENS = TURNS * (400 + 20) };
    struct tempdir dir;
    tempdir_make(&dir);
    struct engine *e = long_context(&dir);
    struct batcher *b = batcher(e, 2, 0, 512 * engine_cache_bytes_per_token(e) * 64);
    int32_t *ids = calloc(TOKENS, sizeof *ids);
    size_t n = 0, sent_again = 0, found = 0;
    struct rng r;
    rng_seed(&r, 4);
    for (size_t turn = 0; turn < TURNS; turn++) {
        struct answer a[1];
        size_t before = n;
        for (size_t more = 200 + rng_u64(&r) % 201; more > 0; more--) {
            ids[n++] = (int32_t)(rng_u64(&r) % engine_vocab_size(e));
        }
        found += ask(b, ids, n, 1, 1, a);
        sent_again += before;
        memcpy(ids + n, a->ids, a->n * sizeof *ids);
        n += a->n;
    }
    print_message("%zu tokens sent again, %.2f%% found\n", sent_again, 100.0 * (double)found / (double)sent_again);
    assert_true((double)found >= 0.98 * (double)sent_again);
    free(ids);
    batcher_free(b);
    engine_close(e);
    tempdir_remove(&dir);
}

/* Four who ask the same at the same time read it each, and keep it once. */
static void test_the_same_text_is_kept_once(void **state)
{
    struct engine *e = *state;
    size_t page = engine_cache_bytes_per_token(e) * 64;
    struct batcher *b = batcher(e, 4, 0, 64 * page);
    struct answer a[4];
    int32_t ids[200];
    enginefixture_tokens(e, ids, 200);
    assert_int_equal(ask(b, ids, 200, 1, 4, a), 0);
    for (size_t i = 1; i < 4; i++) {
        assert_same(&a[0], &a[i]);
    }
    assert_int_equal(batcher_count(b).kept, 3 * page);
    batcher_free(b);
}

/* Eight choices of one prompt, as many at a time as have a page of their own beside its five; none gives way. */
static void test_a_common_prompt_counts_once(void **state)
{
    enum { CHOICES = 8, PROMPT = 5 * 64 + 1 };
    struct engine *e = *state;
    struct errinfo info = {0};
    const struct generate_options o = {.max_tokens = 40, .ignore_eos = true};
    int32_t ids[PROMPT];
    enginefixture_tokens(e, ids, PROMPT);
    for (size_t own = 3; own <= CHOICES; own += 5) {
        struct batcher *b = batcher(e, CHOICES, 0, (5 + own) * engine_cache_bytes_per_token(e) * 64);
        struct answer a[CHOICES] = {0};
        size_t most = 0;
        for (size_t i = 0; i < CHOICES; i++) {
            must(submit(b, &a[i], ids, PROMPT, NULL, &o, 1, &info), &info);
        }
        for (struct batcher_counts c = batcher_count(b); c.running + c.waiting > 0; c = batcher_count(b)) {
            batcher_step(b);
            most = c.running > most ? c.running : most;
            assert_true(c.reserved <= c.memory && c.paused == 0);
        }
        assert_int_equal(most, own);
        for (size_t i = 0; i < CHOICES; i++) {
            assert_int_equal(a[i].e, ERR_OK);
            assert_int_equal(a[i].n, 40);
            assert_same(&a[0], &a[i]);
        }
        batcher_free(b);
    }
}

/* Memory for two jobs and nothing else: what was kept goes, the longest unused first. */
static void test_prefixes_make_room_for_jobs(void **state)
{
    struct engine *e = *state;
    size_t page = engine_cache_bytes_per_token(e) * 64;
    struct batcher *b = batcher(e, 2, 0, 8 * page);
    struct answer a[2], alone[6];
    int32_t ids[6][200];
    for (size_t i = 0; i < 6; i++) {
        enginefixture_tokens(e, ids[i], 200);
        ids[i][0] = (int32_t)i; /* nothing in common */
        struct batcher *own = batcher(e, 1, 0, 8 * page);
        ask(own, ids[i], 200, 1, 1, &alone[i]);
        batcher_free(own);
    }
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 6; i++) {
            ask(b, ids[i], 200, 1, 2, a);
            assert_same(&alone[i], &a[0]);
            assert_same(&alone[i], &a[1]);
            assert_true(batcher_count(b).kept <= 8 * page);
        }
    }
    assert_int_equal(ask(b, ids[5], 200, 1, 1, a), 192);
    batcher_free(b);
}

static void test_failing_allocations_end_jobs_and_nothing_else(void **state)
{
    struct engine *e = *state;
    int32_t ids[70];
    enginefixture_tokens(e, ids, 70);
    const struct generate_options o = {.max_tokens = 3};
    size_t before = mem_alive();
    for (size_t k = 1;; k++) {
        struct errinfo info = {0};
        struct batcher *b;
        static struct answer a[3];
        int submitted = 0, ended = 0, failed = 0;
        size_t paused = 0;
        memset(a, 0, sizeof a);
        mem_fault(k, 0);
        err r = batcher_new(e, &(struct batcher_options){.running = 2, .memory = 1 << 30}, &b, &info);
        for (size_t i = 0; r == ERR_OK && i < 2; i++) {
            submitted += submit(b, &a[i], ids, 70, NULL, &o, 0, &info) == ERR_OK;
        }
        for (int i = 0; r == ERR_OK && i < 20; i++) {
            batcher_step(b);
            paused += batcher_count(b).paused;
            if (i == 0) { /* another, to whom one gives way */
                submitted += submit(b, &a[2], ids + 1, 1, NULL, &o, 1, &info) == ERR_OK;
            }
        }
        mem_fault(0, 0);
        for (size_t i = 0; i < 3; i++) {
            ended += a[i].done;
            failed += a[i].e != ERR_OK;
            assert_true(a[i].e == ERR_OK || a[i].e == ERR_NOMEM);
        }
        assert_int_equal(ended, submitted);
        if (r == ERR_OK) {
            batcher_free(b);
        }
        assert_int_equal(mem_alive(), before);
        if (r == ERR_OK && submitted == 3 && failed == 0 && k > 120) {
            assert_true(paused > 0);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_company_as_alone),
        cmocka_unit_test(test_known_beginnings_are_not_read_again),
        cmocka_unit_test(test_an_agent_pays_for_what_is_new),
    };
    const struct CMUnitTest chat[] = {
        cmocka_unit_test(test_long_prompts_stall_no_answer),
        cmocka_unit_test(test_a_grammar_concerns_its_own_answer),
        cmocka_unit_test(test_a_grammar_that_takes_long_holds_nobody_up),
        cmocka_unit_test(test_thinking_ends_when_somebody_asks),
        cmocka_unit_test(test_progress_is_told_before_the_first_token),
        cmocka_unit_test(test_owners_take_turns),
        cmocka_unit_test(test_cancelled_jobs_end_at_once),
        cmocka_unit_test(test_a_cancelled_prompt_tells_what_was_read),
        cmocka_unit_test(test_what_cannot_be_done_is_refused),
        cmocka_unit_test(test_jobs_wait_for_memory),
        cmocka_unit_test(test_nobody_fills_the_queue),
        cmocka_unit_test(test_a_newcomer_is_served_at_once),
        cmocka_unit_test(test_owners_share_one_place),
        cmocka_unit_test(test_answers_grow_until_memory_is_out),
        cmocka_unit_test(test_a_crowd),
        cmocka_unit_test(test_an_answer_ends_with_the_memory),
        cmocka_unit_test(test_the_same_text_is_kept_once),
        cmocka_unit_test(test_a_common_prompt_counts_once),
        cmocka_unit_test(test_prefixes_make_room_for_jobs),
        cmocka_unit_test(test_failing_allocations_end_jobs_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) +
           cmocka_run_group_tests(chat, enginefixture_chat_exact, enginefixture_close);
}
