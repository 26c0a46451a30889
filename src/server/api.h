/* server/api.h: the API for programs (docs/api.md), and the table of all routes there are. */
#ifndef SERVER_API_H
#define SERVER_API_H

#include "server/route.h"

/* All tables of routes, this one first. */
const struct route_table *const *api_tables(size_t *n);

#endif
