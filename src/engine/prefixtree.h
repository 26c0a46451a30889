/* engine/prefixtree.h: keys and values of text that was read before, for whoever begins with the same text. A
 * tree of names (prefixname.h), a page (MODEL_CACHE_PAGE tokens) each; each partition has a tree of its own, so
 * that nobody learns from answering times what another partition asked. What is to be forgotten together lies
 * in one drawer: all of a partition's, of one or more. The tree keeps its pages (kvpool.h);
 * those that nobody holds may be given up, the one first that was let go of first.
 *
 * Rows of a position depend on the tokens up to it alone, so in deterministic mode an answer that begins from
 * the tree has the bits of one that does not.
 * Thread rule: as the pool. */
#ifndef ENGINE_PREFIXTREE_H
#define ENGINE_PREFIXTREE_H

#include "engine/kvpool.h"
#include "engine/prefixname.h"

struct prefixtree;

/* The pool must outlive the tree, and nobody else keep pages of it; `root` is copied. ERR_NOMEM. */
ERR_MUST_USE err prefixtree_new(struct kvpool *pool, const struct prefixname *root, struct prefixtree **out,
                                struct errinfo *info);
void prefixtree_free(struct prefixtree *t); /* gives up its pages; NULL is fine */

/* The pages of the longest beginning of tokens [n] that is there, at most n / MODEL_CACHE_PAGE, to `pages`;
 * each is held once more, for the caller to drop, the last one first. Returns how many; *name (may be NULL):
 * of that beginning. */
size_t prefixtree_find(struct prefixtree *t, uint64_t partition, const int32_t *tokens, size_t n,
                       struct kvpage **pages, struct prefixname *name);

/* Keeps the pages of tokens [n_pages * MODEL_CACHE_PAGE]. Where the tree has a page for the same text already,
 * the caller's hold moves to that one, and pages[i] becomes it: who reads on from here holds all of the tree's
 * way to it. New ones lie in the drawer. Out of memory: keeps what it can. */
void prefixtree_add(struct prefixtree *t, uint64_t partition, uint64_t drawer, const int32_t *tokens,
                    struct kvpage **pages, size_t n_pages);

/* Gives up the page that nobody holds for the longest time and no longer text goes through, after `sink` (may
 * be NULL) has seen it; at the same cost however many there are. False: there is none. */
typedef void (*prefixtree_sink)(void *user, uint64_t drawer, const struct prefixname *name,
                                const struct kvpage *page);
bool prefixtree_evict(struct prefixtree *t, prefixtree_sink sink, void *user);

/* Gives up, unseen, what nobody has held since `before`, in nanoseconds since 1970. */
void prefixtree_forget_unused(struct prefixtree *t, int64_t before);
/* Lets go of all of a drawer. */
void prefixtree_forget(struct prefixtree *t, uint64_t drawer);

size_t prefixtree_pages(const struct prefixtree *t);
/* Nodes that were looked at so far: what finding, adding and giving up has cost. */
size_t prefixtree_looks(const struct prefixtree *t);

#endif
