/* server/clientlist.h: who is connected, and who of them has to go: who takes too long to say what is
 * wanted, and, when seven eighths of the places are taken, for every newcomer the one that has asked
 * nothing for longest; or, where all have asked something, the one whose body has been coming for longest.
 * Who is being answered stays.
 *
 * Thread rule: any thread; each client is added, set and removed by one at a time. */
#ifndef SERVER_CLIENTLIST_H
#define SERVER_CLIENTLIST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum clientlist_phase {
    CLIENTLIST_SILENT,   /* no request of it has come, at least not to the end of its headers */
    CLIENTLIST_SENDING,  /* its body comes */
    CLIENTLIST_ANSWERED, /* it waits for us: for as long as it takes */
};

struct client { /* in the caller's memory */
    struct client *next, **link;
    int fd;
    enum clientlist_phase phase;
    double since; /* its phase began */
    bool shut;    /* its connection, by us */
};

struct clientlist {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* somebody came, or it is time to stop */
    struct client *first;
    size_t n, places;
    double headers_s, body_s; /* the time to say it in */
    bool stopping;
};

void clientlist_init(struct clientlist *l, size_t places, double headers_s, double body_s);
void clientlist_deinit(struct clientlist *l); /* when it is empty */

/* `fd` stays the caller's, and is valid until the client is removed. */
void clientlist_add(struct clientlist *l, struct client *c, int fd);
void clientlist_remove(struct clientlist *l, struct client *c);
void clientlist_set(struct clientlist *l, struct client *c, enum clientlist_phase phase);

/* Shuts the connections of those who take too long. */
void clientlist_look(struct clientlist *l);
/* Waits for `ms` while somebody is connected, and otherwise until somebody is; not longer than until
 * clientlist_stop. False: that was called. */
bool clientlist_wait(struct clientlist *l, unsigned ms);
void clientlist_stop(struct clientlist *l);

#endif
