/* server/claim.h: what requests under way may yet use of their keys' tokens of the day and balances. Each
 * claims, before it is answered, what it can come to at most, and so all of them together never use more than
 * there is. Whoever has little left is not refused for an answer that could be long: it is made so long at most
 * as what is left is for.
 *
 *     claim_begin, claim_answers; usagestore_add; claim_end
 *
 * Thread rule: any function from any thread; a claim belongs to one request. */
#ifndef SERVER_CLAIM_H
#define SERVER_CLAIM_H

#include "server/apierror.h"
#include "server/caller.h"
#include "server/keystore.h"
#include "server/pricetable.h"
#include "server/ratelimit.h"
#include "server/usagestore.h"

struct claims;

struct claims_options { /* all must outlive the claims */
    struct keystore *keys;
    struct usagestore *usage;
    struct ratelimit *limits;
    const struct pricetable *prices;
    const char *model; /* that they are for */
};

ERR_MUST_USE err claim_open(const struct claims_options *options, struct claims **out, struct errinfo *info);
void claim_close(struct claims *c); /* all have ended; NULL is fine */

struct claim {
    char owner[sizeof((struct caller *)NULL)->owner];
    bool keyed;
    unsigned answers;
    uint64_t tokens; /* claimed: prompt and completion of all answers */
    int64_t cost;
    const char *short_of; /* why the answers may not be longer, "insufficient_quota" or "insufficient_balance";
                             NULL: they may be as long as was asked */
    struct claim *next, **link; /* among others; link NULL: nothing is claimed */
};

/* May `who` ask for so many answers now: by the key's limits (ratelimit.h), and is anything left? *out stays
 * where it is until claim_end. False: *e, and there is nothing to end. Of who has no key nothing is asked. */
bool claim_begin(struct claims *c, const struct caller *who, unsigned answers, int64_t now, struct claim *out,
                 struct apierror *e);
/* The prompt has so many tokens, each answer as many as *most, which falls to what is left for it. False: not
 * even a token of an answer is, or not as long as others are under way; claim_end must follow all the same. */
bool claim_answers(struct claims *c, struct claim *claim, size_t prompt, size_t *most, int64_t now,
                   struct apierror *e);
/* It is over; what it used has been added to the usage before. */
void claim_end(struct claims *c, struct claim *claim);

#endif
