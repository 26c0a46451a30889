/* server/api.h: the routes of the API for programs (docs/api.md), and their handlers in api_*.c. */
#ifndef SERVER_API_H
#define SERVER_API_H

#include "server/route.h"

/* All tables of routes, this one first. */
const struct route_table *api_tables(size_t *n);

#endif
