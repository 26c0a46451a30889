/* server/pageanswers.h: the page's interface to turns and answers (docs/page.md). */
#ifndef SERVER_PAGEANSWERS_H
#define SERVER_PAGEANSWERS_H

#include "server/route.h"

extern const struct route_table pageanswers_routes;

#endif
