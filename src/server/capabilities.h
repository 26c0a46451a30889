/* server/capabilities.h: what root may and others may not, given up: some of it opens other processes'
 * memory in spite of Landlock. With no_new_privs a program that is started does not get it back. */
#ifndef SERVER_CAPABILITIES_H
#define SERVER_CAPABILITIES_H

#include "base/err.h"

/* In every thread of the process; everythread_call's errors. Who has none loses none. */
ERR_MUST_USE err capabilities_drop(struct errinfo *info);

#endif
