/* server/chatsearch.h: the search index over chats, in memory alone: which words which title and which message
 * holds (its content, of which the first MiB; neither reasoning nor attachments). Filled
 * from the sealed chats after the store opens, a portion at a time, and kept up to date by whoever changes a
 * chat. What a person types is taken as words, never as syntax: a message is found when it holds all of them.
 * Where words are written without blanks (Chinese, Japanese, Thai …) any stretch of text is found, from one
 * character on; elsewhere the last word may be a beginning of two letters or more. Case and accents do not
 * matter.
 *
 * Internal to the store of chats. All but _open, _close and _fill are called inside a transaction of the shelf;
 * for a temporary shelf they do nothing. */
#ifndef SERVER_CHATSEARCH_H
#define SERVER_CHATSEARCH_H

#include "server/chatmessage.h"
#include "server/chatstore.h"

struct chatsearch;

/* `fill`: a thread begins to fill the index. */
ERR_MUST_USE err chatsearch_open(struct chatrecord_shelf *shelf, bool fill, struct chatsearch **out,
                                 struct errinfo *info);
void chatsearch_close(struct chatsearch *s); /* NULL is fine */
/* Returns when every chat is in the index. */
ERR_MUST_USE err chatsearch_fill(struct chatsearch *s, struct errinfo *info);

/* A chat that was just made. */
ERR_MUST_USE err chatsearch_chat(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                 struct errinfo *info);
/* Around a change of its title. */
ERR_MUST_USE err chatsearch_forget_title(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                         struct errinfo *info);
ERR_MUST_USE err chatsearch_title(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                  struct errinfo *info);
/* A message that will not change any more. */
ERR_MUST_USE err chatsearch_message(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                    const json_t *message, int64_t number, struct errinfo *info);
/* Before the chat is deleted, until that time (progress_clock): a large one is not *whole by then; then again,
 * in the transactions that follow. */
ERR_MUST_USE err chatsearch_forget(struct chatrecord_shelf *shelf, int64_t number, double until, bool *whole,
                                   struct errinfo *info);

struct chatstore_place;
/* Appends ROWs with "snippet" and "message" to `list`, as chatstore_list does. */
ERR_MUST_USE err chatsearch_list(struct chatsearch *s, const char *owner, const struct chatstore_query *query,
                                 const struct chatstore_place *after, size_t limit, json_t *list, bool *more,
                                 struct errinfo *info);

#endif
