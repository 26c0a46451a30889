/* server/listener.c: see listener.h. */
#include "server/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTENER_BACKLOG = 1024 };

static err listener_refused(const char *where, struct errinfo *info)
{
    return err_set(info, ERR_IO, "cannot listen on %s: %s%s", where, strerror(errno),
                   errno == EACCES ? "; ports below 1024 are root's (choose another --port)" : "");
}

static int listener_bind(const struct addrinfo *at)
{
    int one = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 &&
        (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
         bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, LISTENER_BACKLOG) != 0)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static in_port_t *listener_port(struct sockaddr *at)
{
    return at->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)(void *)at)->sin6_port
                                     : &((struct sockaddr_in *)(void *)at)->sin_port;
}

/* Somebody listens there; says which of the next ports is free. */
static err listener_taken(const struct addrinfo *at, const char *where, struct errinfo *info)
{
    enum { LISTENER_TRIES = 20 };
    unsigned port = ntohs(*listener_port(at->ai_addr)), last = port + LISTENER_TRIES;
    while (++port < last && port <= 65535) {
        *listener_port(at->ai_addr) = htons((in_port_t)port);
        int fd = listener_bind(at);
        if (fd >= 0) {
            close(fd);
            return err_set(
                info, ERR_IO,
                "cannot listen on %s: another program listens there, perhaps another fathom serve; "
                "--port %u is free",
                where, port);
        }
    }
    return err_set(info, ERR_IO,
                   "cannot listen on %s: another program listens there; choose another --port",
                   where);
}

err listener_tcp(const char *address, unsigned port, int *out, unsigned *chosen,
                 struct errinfo *info)
{
    char service[12], where[128];
    snprintf(service, sizeof service, "%u", port);
    snprintf(where, sizeof where, strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
    struct addrinfo *found, want = {.ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    if (getaddrinfo(address, service, &want, &found) != 0) {
        return err_set(info, ERR_ARGUMENT,
                       "%s is no address: expected one in numbers, as 127.0.0.1 or ::1", address);
    }
    int fd = listener_bind(found);
    err e = fd >= 0               ? ERR_OK
            : errno == EADDRINUSE ? listener_taken(found, where, info)
                                  : listener_refused(where, info);
    freeaddrinfo(found);
    struct sockaddr_storage is;
    socklen_t len = sizeof is;
    TRY(e);
    if (getsockname(fd, (struct sockaddr *)&is, &len) != 0) {
        e = listener_refused(where, info);
        close(fd);
        return e;
    }
    *chosen = ntohs(*listener_port((struct sockaddr *)&is));
    *out = fd;
    return ERR_OK;
}

/* A socket file that nobody answers at is a leftover. */
static bool listener_is_left(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool left = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
                errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return left;
}

err listener_unix(const char *path, int *out, struct errinfo *info)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof address.sun_path) {
        return err_set(info, ERR_ARGUMENT,
                       "the path of a Unix socket may have %zu bytes, %s has %zu",
                       sizeof address.sun_path - 1, path, strlen(path));
    }
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        return err_set(info, ERR_ARGUMENT,
                       "cannot listen on %s: it is there already, and no socket; name a path where nothing is",
                       path);
    }
    strcpy(address.sun_path, path);
    if (listener_is_left(&address)) {
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || fchmod(fd, 0600) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || chmod(path, 0600) != 0 ||
        listen(fd, LISTENER_BACKLOG) != 0) {
        err e = listener_refused(path, info);
        if (fd >= 0) {
            close(fd);
        }
        return e;
    }
    *out = fd;
    return ERR_OK;
}
