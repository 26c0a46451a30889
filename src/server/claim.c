/* server/claim.c: see claim.h. */
#include "server/claim.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/money.h"

struct claims {
    struct claims_options is;
    pthread_mutex_t lock; /* held from looking at what is left until it is claimed */
    struct claim *first;
};

/* What a key has for one request. */
struct claim_left {
    bool counted, paid; /* limited in tokens, in money */
    uint64_t limit, tokens;
    int64_t money;
};

err claim_open(const struct claims_options *options, struct claims **out, struct errinfo *info)
{
    struct claims *c = mem_calloc(1, sizeof *c);
    if (!c) {
        return err_set(info, ERR_NOMEM, "out of memory for the limits");
    }
    c->is = *options;
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return ERR_OK;
}

void claim_close(struct claims *c)
{
    if (c) {
        pthread_mutex_destroy(&c->lock);
        mem_free(c);
    }
}

/* ---- Whether it may ask at all. ---- */

static bool claim_spent(struct apierror *e)
{
    return apierror_set(e, 402, "insufficient_balance", NULL, "the balance of this key is used up");
}

bool claim_begin(struct claims *c, const struct caller *who, unsigned answers, int64_t now, struct claim *out,
                 struct apierror *e)
{
    struct keystore_key key;
    struct errinfo info = {0};
    struct ratelimit_wait wait;
    uint64_t today = 0;
    int64_t owed = 0;
    *out = (struct claim){.keyed = who->keyed, .answers = answers};
    snprintf(out->owner, sizeof out->owner, "%s", who->owner);
    if (!who->keyed) {
        return true;
    }
    err result = usagestore_today(c->is.usage, who->owner, now, &today, &owed, &info);
    result = result == ERR_OK ? keystore_get(c->is.keys, who->owner, &key, &info) : result;
    if (result == ERR_OK && !keystore_good(&key, now)) { /* since its headers came */
        return apierror_set(e, 401, "invalid_api_key", NULL, "this API key is no good any more");
    }
    if (result == ERR_OK && key.limited && key.balance <= owed) {
        return claim_spent(e);
    }
    result = result == ERR_OK
                 ? ratelimit_begin(c->is.limits, who->owner, &key.limits, answers, today, now, &wait, &info)
                 : result;
    if (result == ERR_OK) {
        return true;
    }
    apierror_from(e, result, &info);
    if (result == ERR_BUSY) { /* the key's own, not the server's */
        e->code = wait.day ? "insufficient_quota" : "rate_limit_exceeded";
        e->retry_after = wait.seconds;
    }
    return false;
}

/* ---- What it may come to. ---- */

/* By the price that is higher: how much of the prompt is cached is not known before. */
static int64_t claim_cost(const struct claims *c, const struct claim *claim, size_t prompt, size_t each)
{
    const struct pricetable_tokens fresh = {prompt, 0, (uint64_t)each * claim->answers};
    const struct pricetable_tokens cached = {prompt, prompt, fresh.completion};
    int64_t miss = pricetable_cost(c->is.prices, c->is.model, &fresh);
    int64_t hit = pricetable_cost(c->is.prices, c->is.model, &cached);
    return miss > hit ? miss : hit;
}

static bool claim_fits(const struct claims *c, const struct claim *claim, const struct claim_left *left,
                       size_t prompt, size_t each)
{
    return (!left->counted || prompt + (uint64_t)each * claim->answers <= left->tokens) &&
           (!left->paid || claim_cost(c, claim, prompt, each) <= left->money);
}

/* What the key has, without what others claim. */
static err claim_look(const struct claims *c, const struct claim *claim, int64_t now, struct claim_left *out,
                      struct errinfo *info)
{
    struct keystore_key key;
    uint64_t today;
    int64_t owed;
    TRY(usagestore_today(c->is.usage, claim->owner, now, &today, &owed, info)); /* before the balance */
    TRY(keystore_get(c->is.keys, claim->owner, &key, info));
    *out = (struct claim_left){.counted = key.limits.tokens_per_day > 0,
                               .paid = key.limited,
                               .limit = key.limits.tokens_per_day,
                               .tokens = today < key.limits.tokens_per_day
                                             ? key.limits.tokens_per_day - today
                                             : 0,
                               .money = owed < key.balance ? key.balance - owed : 0};
    return ERR_OK;
}

/* Takes off what other requests of the key claim. With the lock. */
static void claim_take_off(const struct claims *c, const char *owner, struct claim_left *left)
{
    for (const struct claim *x = c->first; x; x = x->next) {
        if (strcmp(x->owner, owner) == 0) {
            left->tokens -= x->tokens < left->tokens ? x->tokens : left->tokens;
            left->money -= x->cost < left->money ? x->cost : left->money;
        }
    }
}

/* Not even a token: ever, or as long as others are under way. */
static bool claim_refuse(const struct claims *c, const struct claim *claim, const struct claim_left *all,
                         size_t prompt, int64_t now, struct apierror *e)
{
    char least[MONEY_TEXT], has[MONEY_TEXT];
    if (claim_fits(c, claim, all, prompt, 1)) {
        apierror_set(e, 429, "rate_limit_exceeded", NULL,
                     "what is left on this API key may be needed by its answers under way: wait until one "
                     "ends");
        e->retry_after = 1;
        return false;
    }
    if (all->counted && prompt + claim->answers > all->tokens) {
        apierror_set(e, 429, "insufficient_quota", NULL,
                     "the prompt has %zu tokens; of the %llu a day that this API key may use %llu are left",
                     prompt, (unsigned long long)all->limit, (unsigned long long)all->tokens);
        e->retry_after = ratelimit_day_left(now);
        return false;
    }
    return apierror_set(e, 402, "insufficient_balance", NULL,
                        "the prompt of %zu tokens may cost %s; the balance of this key is %s", prompt,
                        money_text(claim_cost(c, claim, prompt, 1), least), money_text(all->money, has));
}

/* The longest answers that fit, up to `most`; 0: none. */
static size_t claim_longest(const struct claims *c, const struct claim *claim, const struct claim_left *left,
                            size_t prompt, size_t most)
{
    size_t fits = 0, over = most + 1;
    while (over - fits > 1) {
        size_t middle = fits + (over - fits) / 2;
        if (claim_fits(c, claim, left, prompt, middle)) {
            fits = middle;
        } else {
            over = middle;
        }
    }
    return fits;
}

/* What one more token of each answer would be too much for. */
static const char *claim_short_of(const struct claim *claim, const struct claim_left *left, size_t prompt,
                                  size_t each)
{
    bool day = left->counted && prompt + (uint64_t)(each + 1) * claim->answers > left->tokens;
    return day ? "insufficient_quota" : "insufficient_balance";
}

static void claim_put(struct claims *c, struct claim *claim, size_t prompt, size_t each)
{
    claim->tokens = prompt + (uint64_t)each * claim->answers;
    claim->cost = claim_cost(c, claim, prompt, each);
    claim->next = c->first;
    claim->link = &c->first;
    if (claim->next) {
        claim->next->link = &claim->next;
    }
    c->first = claim;
}

bool claim_answers(struct claims *c, struct claim *claim, size_t prompt, size_t *most, int64_t now,
                   struct apierror *e)
{
    struct errinfo info = {0};
    struct claim_left all, left;
    if (!claim->keyed) {
        return true;
    }
    pthread_mutex_lock(&c->lock);
    err result = claim_look(c, claim, now, &all, &info);
    size_t each = 0;
    if (result == ERR_OK) {
        left = all;
        claim_take_off(c, claim->owner, &left);
        each = claim_longest(c, claim, &left, prompt, *most);
    }
    if (each > 0) {
        claim_put(c, claim, prompt, each);
        claim->short_of = each < *most ? claim_short_of(claim, &left, prompt, each) : NULL;
        *most = each;
    }
    pthread_mutex_unlock(&c->lock);
    if (result != ERR_OK) {
        return apierror_from(e, result, &info);
    }
    return each > 0 || claim_refuse(c, claim, &all, prompt, now, e);
}

void claim_end(struct claims *c, struct claim *claim)
{
    if (!claim->keyed) {
        return;
    }
    pthread_mutex_lock(&c->lock);
    if (claim->link) { /* its neighbours move it */
        *claim->link = claim->next;
        if (claim->next) {
            claim->next->link = claim->link;
        }
    }
    pthread_mutex_unlock(&c->lock);
    ratelimit_end(c->is.limits, claim->owner, claim->answers);
}
