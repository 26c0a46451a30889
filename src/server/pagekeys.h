/* server/pagekeys.h: the page's interface to keys and usage (docs/page.md), and DeepSeek's /user/balance. */
#ifndef SERVER_PAGEKEYS_H
#define SERVER_PAGEKEYS_H

#include "server/route.h"

extern const struct route_table pagekeys_routes;

#endif
