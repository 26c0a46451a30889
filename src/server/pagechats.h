/* server/pagechats.h: the page's interface to chats and presets (docs/page.md). */
#ifndef SERVER_PAGECHATS_H
#define SERVER_PAGECHATS_H

#include "server/route.h"

extern const struct route_table pagechats_routes;

#endif
