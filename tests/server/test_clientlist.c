/* Who is connected: who is let go for taking too long, and who for a newcomer. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/progress.h"
#include "server/clientlist.h"

enum { PLACES = 16, FULL = PLACES - PLACES / 8, MOST = 2 * PLACES };

struct crowd {
    struct clientlist list;
    struct client clients[MOST];
    int ours[MOST], theirs[MOST];
    size_t n;
};

static void crowd_start(struct crowd *c, double headers_s, double body_s)
{
    clientlist_init(&c->list, PLACES, headers_s, body_s);
    c->n = 0;
}

static void crowd_comes(struct crowd *c)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    c->ours[c->n] = pair[0];
    c->theirs[c->n] = pair[1];
    clientlist_add(&c->list, &c->clients[c->n], pair[0]);
    c->n++;
}

static bool crowd_gone(const struct crowd *c, size_t i)
{
    char byte;
    return recv(c->theirs[i], &byte, 1, MSG_DONTWAIT) == 0;
}

static void crowd_stop(struct crowd *c)
{
    for (size_t i = 0; i < c->n; i++) {
        clientlist_remove(&c->list, &c->clients[i]);
        close(c->ours[i]);
        close(c->theirs[i]);
    }
    assert_int_equal(c->list.n, 0);
    assert_null(c->list.first);
    clientlist_deinit(&c->list);
}

/* One after the other: the silent ones, the oldest first; then those whose bodies come; never who is answered. */
static void test_newcomers_are_given_room(void **state)
{
    struct crowd c;
    (void)state;
    crowd_start(&c, 60, 60);
    for (size_t i = 0; i < FULL; i++) {
        crowd_comes(&c);
    }
    clientlist_set(&c.list, &c.clients[0], CLIENTLIST_ANSWERED);
    clientlist_set(&c.list, &c.clients[1], CLIENTLIST_SENDING);
    clientlist_set(&c.list, &c.clients[3], CLIENTLIST_SENDING);
    clientlist_set(&c.list, &c.clients[2], CLIENTLIST_SENDING); /* asked a moment ago */
    for (size_t i = 4; i < 8; i++) {
        assert_false(crowd_gone(&c, i));
        crowd_comes(&c);
        assert_true(crowd_gone(&c, i)); /* not yet removed: still in the list */
    }
    for (size_t i = 8; i < c.n; i++) {
        clientlist_set(&c.list, &c.clients[i], CLIENTLIST_ANSWERED);
    }
    static const size_t next[] = {1, 3, 2};
    for (size_t i = 0; i < 3; i++) {
        assert_false(crowd_gone(&c, next[i]));
        crowd_comes(&c);
        clientlist_set(&c.list, &c.clients[c.n - 1], CLIENTLIST_ANSWERED);
        assert_true(crowd_gone(&c, next[i]));
    }
    crowd_comes(&c);
    assert_false(crowd_gone(&c, 0));
    for (size_t i = 8; i < c.n; i++) {
        assert_false(crowd_gone(&c, i));
    }
    crowd_stop(&c);
}

static void test_room_is_made_by_leaving_too(void **state)
{
    struct crowd c;
    (void)state;
    crowd_start(&c, 60, 60);
    for (size_t i = 0; i < FULL; i++) {
        crowd_comes(&c);
    }
    clientlist_remove(&c.list, &c.clients[5]);
    crowd_comes(&c);
    for (size_t i = 0; i < c.n; i++) {
        assert_false(crowd_gone(&c, i));
    }
    clientlist_add(&c.list, &c.clients[5], c.ours[5]);
    assert_true(crowd_gone(&c, 0));
    crowd_stop(&c);
}

static void test_who_takes_too_long_is_let_go(void **state)
{
    struct crowd c;
    (void)state;
    crowd_start(&c, 0.05, 0.2);
    for (size_t i = 0; i < 3; i++) {
        crowd_comes(&c);
        clientlist_set(&c.list, &c.clients[i], (enum clientlist_phase)i);
    }
    clientlist_look(&c.list);
    assert_false(crowd_gone(&c, 0));
    usleep(80000);
    clientlist_look(&c.list);
    assert_true(crowd_gone(&c, 0));
    assert_false(crowd_gone(&c, 1));
    usleep(200000);
    clientlist_look(&c.list);
    assert_true(crowd_gone(&c, 1));
    assert_false(crowd_gone(&c, 2));
    crowd_stop(&c);
}

static void *come_later(void *user)
{
    usleep(50000);
    crowd_comes(user);
    return NULL;
}

static void *stop_later(void *user)
{
    struct crowd *c = user;
    usleep(50000);
    clientlist_stop(&c->list);
    return NULL;
}

/* With nobody there nobody is looked at. */
static void test_waiting_is_for_somebody(void **state)
{
    struct crowd c;
    pthread_t other;
    (void)state;
    crowd_start(&c, 60, 60);
    double since = progress_clock();
    assert_int_equal(pthread_create(&other, NULL, come_later, &c), 0);
    assert_true(clientlist_wait(&c.list, 1));
    assert_true(progress_clock() - since > 0.04);
    pthread_join(other, NULL);
    since = progress_clock();
    assert_true(clientlist_wait(&c.list, 30));
    assert_true(progress_clock() - since > 0.025);
    clientlist_remove(&c.list, &c.clients[0]);
    assert_int_equal(pthread_create(&other, NULL, stop_later, &c), 0);
    assert_false(clientlist_wait(&c.list, 60000));
    assert_false(clientlist_wait(&c.list, 1));
    pthread_join(other, NULL);
    clientlist_add(&c.list, &c.clients[0], c.ours[0]);
    crowd_stop(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newcomers_are_given_room),
        cmocka_unit_test(test_room_is_made_by_leaving_too),
        cmocka_unit_test(test_who_takes_too_long_is_let_go),
        cmocka_unit_test(test_waiting_is_for_somebody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
