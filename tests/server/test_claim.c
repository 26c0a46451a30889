/* What requests under way may yet use of a key's tokens and money: together never more than there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "server/claim.h"
#include "server/storefixture.h"

static const int64_t NOW = 20780 * (int64_t)86400000 + 3600000; /* one o'clock */
static const char PRICES[] = "currency EUR\nbig | 1 | 2 | 4\nodd | 2 | 1 | 4\n";

static struct storefixture f;
static struct pricetable prices;
static struct claims_options with;
static struct claims *claims;
static struct keystore_key key;
static struct apierror e;

static int set_up(void **state)
{
    (void)state;
    storefixture_make(&f);
    with = (struct claims_options){.prices = &prices, .model = "big"};
    return pricetable_parse(PRICES, strlen(PRICES), &prices, &f.info) == ERR_OK &&
                   usagestore_open(f.database, &prices, &with.usage, &f.info) == ERR_OK &&
                   keystore_open(f.database, &with.keys, &f.info) == ERR_OK &&
                   ratelimit_new(&with.limits, &f.info) == ERR_OK && claim_open(&with, &claims, &f.info) == ERR_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    claim_close(claims);
    ratelimit_free(with.limits);
    usagestore_close(with.usage);
    keystore_close(with.keys);
    storefixture_remove(&f);
    return 0;
}

static void make_key(const char *fields)
{
    char secret[KEYSTORE_SECRET + 1];
    json_t *d = storefixture_json(fields);
    if (keystore_create(with.keys, d, 1, &key, secret, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
    json_decref(d);
}

static bool begin_at(struct claim *c, unsigned answers, int64_t now)
{
    struct caller who = {.keyed = true};
    memcpy(who.owner, key.id, sizeof who.owner);
    memset(&e, 0, sizeof e);
    return claim_begin(claims, &who, answers, now, c, &e);
}

static bool begin(struct claim *c, unsigned answers)
{
    return begin_at(c, answers, NOW);
}

/* The length that answers may have; 0: refused. */
static size_t longest_at(struct claim *c, size_t prompt, size_t most, int64_t now)
{
    return claim_answers(claims, c, prompt, &most, now, &e) ? most : 0;
}

static size_t longest(struct claim *c, size_t prompt, size_t most)
{
    return longest_at(c, prompt, most, NOW);
}

static void use_at(struct claim *c, uint64_t prompt, uint64_t completion, int64_t now)
{
    const struct pricetable_tokens t = {prompt, 0, completion};
    assert_int_equal(usagestore_add(with.usage, key.id, with.model, &t, now, NULL, &f.info), ERR_OK);
    claim_end(claims, c);
}

static void use(struct claim *c, uint64_t prompt, uint64_t completion)
{
    use_at(c, prompt, completion, NOW);
}

static uint64_t used_on(int64_t now)
{
    uint64_t tokens = 0;
    assert_int_equal(usagestore_today(with.usage, key.id, now, &tokens, NULL, &f.info), ERR_OK);
    return tokens;
}

static void refused(unsigned status, const char *code, unsigned retry_after, const char *says)
{
    assert_int_equal(e.status, status);
    assert_string_equal(e.code, code);
    assert_int_equal(e.retry_after, retry_after);
    if (!strstr(e.message, says)) {
        fail_msg("%s", e.message);
    }
}

static void without_limits_nothing_changes(void **state)
{
    (void)state;
    struct claim c[2];
    make_key("{'name':'free'}");
    for (size_t i = 0; i < 2; i++) {
        assert_true(begin(&c[i], 8));
        assert_int_equal(longest(&c[i], 1 << 20, 1 << 20), 1 << 20);
    }
    claim_end(claims, &c[0]);
    claim_end(claims, &c[1]);
    struct caller nobody = {.owner = "local"};
    assert_true(claim_begin(claims, &nobody, 1, NOW, &c[0], &e));
    assert_int_equal(longest(&c[0], 5, 77), 77);
    assert_string_equal(c[0].owner, "local");
    claim_end(claims, &c[0]);
}

static void tokens_are_claimed_until_the_end(void **state)
{
    (void)state;
    struct claim a, b;
    make_key("{'name':'few','limits':{'tokens_per_day':100}}");
    assert_true(begin(&a, 1) && begin(&b, 1));
    assert_int_equal(longest(&a, 10, 40), 40); /* there is enough */
    assert_int_equal(longest(&b, 10, 8192), 40); /* as much as is left */
    struct claim c;
    assert_true(begin(&c, 1));
    assert_int_equal(longest(&c, 10, 8192), 0);
    refused(429, "rate_limit_exceeded", 1, "under way");
    claim_end(claims, &c);
    use(&a, 10, 5); /* it was shorter after all */
    assert_true(begin(&c, 1));
    assert_int_equal(longest(&c, 10, 8192), 25);
    use(&b, 10, 40);
    use(&c, 10, 25);
    assert_false(begin(&c, 1));
    refused(429, "insufficient_quota", 23 * 3600, "100 tokens");
}

/* A day's tokens are there anew at midnight. What was claimed before and ends after it is of the new day: it is
 * kept free there, and so neither day's use is more than the limit. */
static void what_is_claimed_over_midnight_is_of_the_new_day(void **state)
{
    (void)state;
    const int64_t dawn = 20781 * (int64_t)86400000, eve = dawn - 1;
    struct claim a, b, c, d;
    make_key("{'name':'few','limits':{'tokens_per_day':100}}");
    assert_true(begin_at(&a, 1, eve) && begin_at(&b, 1, eve) && begin_at(&c, 1, eve));
    assert_int_equal(longest_at(&a, 10, 40, eve), 40);
    assert_int_equal(longest_at(&b, 10, 8192, eve), 40);
    use_at(&a, 10, 40, eve);
    assert_int_equal(longest_at(&c, 10, 8192, eve), 0); /* b has the rest of the day */
    refused(429, "rate_limit_exceeded", 1, "under way");
    assert_int_equal(longest_at(&c, 10, 8192, dawn), 40); /* of the next, but for b's */
    assert_true(begin_at(&d, 1, dawn));
    assert_int_equal(longest_at(&d, 1, 8192, dawn), 0);
    refused(429, "rate_limit_exceeded", 1, "under way");
    use_at(&b, 10, 20, dawn); /* shorter than it might have been */
    assert_int_equal(longest_at(&d, 1, 8192, dawn), 19);
    use_at(&c, 10, 40, dawn);
    use_at(&d, 1, 19, dawn);
    assert_int_equal(used_on(eve), 50);
    assert_int_equal(used_on(dawn), 100);
    assert_false(begin_at(&a, 1, dawn));
    refused(429, "insufficient_quota", 24 * 3600, "100 tokens");
    assert_true(begin_at(&a, 1, dawn + 86400000));
    assert_int_equal(longest_at(&a, 10, 8192, dawn + 86400000), 90);
    use_at(&a, 10, 90, dawn); /* a clock that went back: of that day, which is overdrawn, and no number wraps */
    assert_int_equal(used_on(dawn), 200);
    assert_false(begin_at(&a, 1, dawn));
    assert_true(begin_at(&a, 1, dawn + 86400000));
    assert_int_equal(longest_at(&a, 10, 8192, dawn + 86400000), 90);
    claim_end(claims, &a);
}

static void every_answer_counts(void **state)
{
    (void)state;
    struct claim c;
    make_key("{'name':'few','limits':{'tokens_per_day':100}}");
    assert_true(begin(&c, 8));
    assert_int_equal(longest(&c, 10, 8192), 11); /* 98 in all */
    assert_string_equal(c.short_of, "insufficient_quota");
    claim_end(claims, &c);
    assert_true(begin(&c, 8));
    assert_int_equal(longest(&c, 93, 8192), 0);
    refused(429, "insufficient_quota", 23 * 3600, "prompt has 93 tokens; of the 100");
    claim_end(claims, &c);
}

/* A token of the prompt costs two millionths, or one; of an answer four. */
static void money_is_claimed_until_the_end(void **state)
{
    (void)state;
    struct claim a, b, c;
    make_key("{'name':'poor','balance':'0.001'}");
    assert_true(begin(&a, 1) && begin(&b, 2));
    assert_int_equal(longest(&a, 100, 100), 100); /* 0.0006 */
    assert_int_equal(longest(&b, 10, 8192), 47);  /* 0.000396 of 0.0004 */
    assert_null(a.short_of);
    assert_string_equal(b.short_of, "insufficient_balance");
    assert_true(begin(&c, 1));
    assert_int_equal(longest(&c, 1, 1), 0);
    refused(429, "rate_limit_exceeded", 1, "under way");
    claim_end(claims, &c);
    use(&a, 100, 75); /* 0.0005 */
    assert_int_equal(usagestore_write(with.usage, &f.info), ERR_OK);
    use(&b, 10, 20); /* 0.0001, which is owed */
    assert_true(begin(&c, 1));
    assert_int_equal(longest(&c, 199, 8192), 0);
    refused(402, "insufficient_balance", 0, "may cost 0.000402; the balance of this key is 0.0004");
    assert_int_equal(longest(&c, 198, 8192), 1);
    use(&c, 198, 1);
    assert_false(begin(&c, 1));
    refused(402, "insufficient_balance", 0, "used up");
}

static void the_higher_price_is_claimed(void **state)
{
    (void)state;
    struct claim c;
    claim_close(claims);
    with.model = "odd"; /* what is cached costs more */
    assert_int_equal(claim_open(&with, &claims, &f.info), ERR_OK);
    make_key("{'name':'poor','balance':'0.001'}");
    assert_true(begin(&c, 1));
    assert_int_equal(longest(&c, 300, 8192), 100);
    claim_end(claims, &c);
}

/* Many at once, who use what they may or less. */
enum { THREADS = 8, EACH = 200, TOKENS = 20000 };

static void *ask_often(void *of)
{
    struct caller who = {.keyed = true};
    uintptr_t mine = (uintptr_t)of;
    memcpy(who.owner, key.id, sizeof who.owner);
    for (unsigned i = 0; i < EACH; i++) {
        struct claim c;
        struct apierror error;
        struct errinfo info;
        size_t most = 100;
        if (!claim_begin(claims, &who, 1, NOW, &c, &error)) {
            continue;
        }
        if (claim_answers(claims, &c, 20, &most, NOW, &error)) {
            const struct pricetable_tokens t = {20, 0, (i + mine) % 3 ? most : most / 2};
            err added = usagestore_add(with.usage, key.id, with.model, &t, NOW, NULL, &info);
            added = i % 16 ? added : usagestore_write(with.usage, &info);
            of = added == ERR_OK ? of : NULL;
        }
        claim_end(claims, &c);
    }
    return of;
}

static void all_together_never_use_more_than_there_is(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint64_t used = 0;
    make_key("{'name':'busy','limits':{'tokens_per_day':20000},'balance':'0.06'}");
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *fine = NULL;
        pthread_join(threads[i], &fine);
        assert_non_null(fine);
    }
    assert_int_equal(usagestore_write(with.usage, &f.info), ERR_OK);
    assert_int_equal(usagestore_today(with.usage, key.id, NOW, &used, NULL, &f.info), ERR_OK);
    assert_int_equal(keystore_get(with.keys, key.id, &key, &f.info), ERR_OK);
    assert_true(used <= TOKENS && key.balance >= 0);
    assert_true(used > TOKENS - 30 || key.balance < 30 * 4000); /* down to what is too little for a prompt */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_limits_nothing_changes), TEST(tokens_are_claimed_until_the_end), TEST(every_answer_counts),
        TEST(what_is_claimed_over_midnight_is_of_the_new_day),
        TEST(money_is_claimed_until_the_end), TEST(the_higher_price_is_claimed),
        TEST(all_together_never_use_more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
