/* server/pagefiles.h: the files of the page over HTTP, with the headers that keep it to itself. */
#ifndef SERVER_PAGEFILES_H
#define SERVER_PAGEFILES_H

#include "server/exchange.h"

/* Gives the file at the request's path as the reply (304 where the browser has it). False: there is none. */
bool pagefiles_give(struct exchange *x);
/* For a person whose browser asks for a path that leads nowhere: the page, which says so, with 404. False: a
 * program asks. */
bool pagefiles_give_nothing(struct exchange *x);

#endif
