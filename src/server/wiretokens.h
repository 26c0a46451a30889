/* server/wiretokens.h: tokens and their log-probabilities in replies. As JSON values one takes kilobytes, so
 * those of a whole answer are kept as the engine gave them, and written one at a time: in a document each list
 * of them is stood for by an empty one until then. */
#ifndef SERVER_WIRETOKENS_H
#define SERVER_WIRETOKENS_H

#include "server/answering.h"

struct wiretokens { /* kept; zeroed: none */
    struct answering_token *data; /* [n] */
    size_t n, cap;
};

/* Copies a list that came with an event; NULL is none. ERR_NOMEM. */
ERR_MUST_USE err wiretokens_keep(struct wiretokens *w, const struct answering_token *list);
void wiretokens_deinit(struct wiretokens *w);

/* How a format says one token; it may have several lists of the same ones. *state is 0 before the first. NULL:
 * out of memory. */
typedef json_t *(*wiretokens_one)(const struct tokenizer *t, const struct answering_token *token, size_t list,
                                  size_t *state);
/* OpenAI's {"token","logprob","bytes","top_logprobs"}, which need no state. */
json_t *wiretokens_openai(const struct tokenizer *t, const struct answering_token *token, size_t list,
                          size_t *state);
/* A token's bytes as text; what is no UTF-8 by itself becomes U+FFFD. */
json_t *wiretokens_piece(const struct tokenizer *t, int32_t id);
/* JSON has no infinity; a token of no probability at all stands at the bottom of OpenAI's scale. */
double wiretokens_number(float logprob);

/* The list itself, of tokens that came with an event. NULL: out of memory. */
json_t *wiretokens_list(const struct tokenizer *t, const struct answering_token *list, wiretokens_one one,
                        size_t which, size_t *state);

struct wiretokens_place { /* of a list in documents */
    json_t *stand_in;
    const struct wiretokens *tokens;
    size_t from, to; /* of them */
    wiretokens_one one;
    size_t which;
};

struct wiretokens_places { /* zeroed: none */
    struct wiretokens_place *data; /* [n] */
    size_t n;
};

/* What stands for the list of all that is kept from `from` on; the tokens must outlive the places. NULL: out of
 * memory. */
json_t *wiretokens_stand_in(struct wiretokens_places *p, const struct wiretokens *w, size_t from,
                            wiretokens_one one, size_t which);
/* The document as text, with all lists in their places. ERR_NOMEM. */
ERR_MUST_USE err wiretokens_write(const struct wiretokens_places *p, const struct tokenizer *t,
                                  const json_t *document, struct strbuf *out);
void wiretokens_places_deinit(struct wiretokens_places *p);

#endif
