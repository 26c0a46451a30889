/* server/route.h: which handler a request is for: rows of method and path, where "*" stands for one part of
 * the path. What no row has is 404, a path with other methods 405: nothing is reachable that no table names.
 * */
#ifndef SERVER_ROUTE_H
#define SERVER_ROUTE_H

#include "server/guard.h"

enum { ROUTE_PARTS = 2, ROUTE_PART_MAX = 128 };

struct service;

/* What a request's path says. */
struct route_match {
    const struct route_row *row;
    bool beta;                                  /* it came by /beta */
    char parts[ROUTE_PARTS][ROUTE_PART_MAX]; /* what stood for the stars */
};

struct route_row {
    const char *method, *path;
    struct guard_need need;
    bool quick; /* handled at once, by the thread that read it: computes little and waits for nothing */
    bool heavy; /* takes its time: what is not goes before it (worker.h) */
    bool heavy_if_large; /* so it is where the first star is a chat that is large */
    size_t body_max; /* bytes; 0: as of any request */
    bool api; /* also below /v1 and /beta */
    bool anthropic; /* its errors, and also below /anthropic */
    void (*handle)(struct service *s, struct exchange *x, const struct route_match *m);
};

struct route_table {
    const struct route_row *rows;
    size_t n;
};

/* HEAD is as GET. False: *e says 404 or 405 (then `allowed` has the methods there are). */
bool route_find(const struct route_table *const *tables, size_t n_tables, const char *method, const char *path,
                struct route_match *out, char allowed[64], struct apierror *e);

#endif
