/* server/pagepdf.h: text out of PDF files for the page (docs/page.md). Files are read on threads of their own
 * (worker.h), since each takes seconds: one of an owner at a time, so that nobody's files keep another's
 * waiting, and a few of his wait; more are refused. A file whose asker has gone waits no longer. */
#ifndef SERVER_PAGEPDF_H
#define SERVER_PAGEPDF_H

#include "server/route.h"
#include "server/worker.h"

enum { PAGEPDF_WAITING = 8 /* files of one owner */ };

extern const struct route_table pagepdf_routes;

/* The threads, for service.readers. ERR_NOMEM, ERR_IO. */
ERR_MUST_USE err pagepdf_start(struct worker **out, struct errinfo *info);

#endif
