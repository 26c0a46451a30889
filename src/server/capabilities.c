/* server/capabilities.c: see capabilities.h. */
#include "server/capabilities.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/everythread.h"

/* In each thread, since the kernel keeps them for each. */
static int capabilities_none(void *unused)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    (void)unused;
    return syscall(SYS_capset, &header, none) == 0 ? 0 : errno;
}

err capabilities_drop(struct errinfo *info)
{
    return everythread_call(capabilities_none, NULL, info);
}
