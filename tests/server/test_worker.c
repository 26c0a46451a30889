/* The pool: who may work beside whom, in which order, and that everything given is done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/worker.h"

enum { JOBS = 64 };

/* What happens, letter by letter; each job stays until it is let go. */
struct play {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char begun[JOBS + 1], let_go[JOBS + 1];
    size_t n_begun, n_over;
};

struct part {
    struct worker_job job;
    struct play *play;
    char letter;
};

static void part_work(void *user)
{
    struct part *p = user;
    pthread_mutex_lock(&p->play->lock);
    p->play->begun[p->play->n_begun++] = p->letter;
    pthread_cond_broadcast(&p->play->changed);
    while (!strchr(p->play->let_go, p->letter)) {
        pthread_cond_wait(&p->play->changed, &p->play->lock);
    }
    p->play->n_over++;
    pthread_mutex_unlock(&p->play->lock);
}

static void give(struct worker *w, struct play *play, struct part *p, const char *owner, bool heavy, char letter)
{
    *p = (struct part){.job = {.owner = owner, .heavy = heavy, .work = part_work, .user = p}, .play = play,
                       .letter = letter};
    assert_true(worker_give(w, &p->job));
}

static void let_go(struct play *play, const char *letters)
{
    pthread_mutex_lock(&play->lock);
    strcat(play->let_go, letters);
    pthread_cond_broadcast(&play->changed);
    pthread_mutex_unlock(&play->lock);
}

/* As many have begun, and no other does so in the next moments. */
static void begun(struct play *play, const char *letters)
{
    char found[JOBS + 1];
    size_t seen[128] = {0};
    pthread_mutex_lock(&play->lock);
    while (play->n_begun < strlen(letters)) {
        pthread_cond_wait(&play->changed, &play->lock);
    }
    pthread_mutex_unlock(&play->lock);
    struct timespec moment = {.tv_nsec = 20000000};
    nanosleep(&moment, NULL);
    pthread_mutex_lock(&play->lock);
    memcpy(found, play->begun, sizeof found);
    pthread_mutex_unlock(&play->lock);
    assert_int_equal(strlen(found), strlen(letters));
    for (size_t i = 0; letters[i]; i++) { /* those that may begin together do so in any order */
        seen[(unsigned char)letters[i]]++;
        seen[(unsigned char)found[i]]--;
    }
    for (size_t i = 0; i < 128; i++) {
        assert_int_equal(seen[i], 0);
    }
}

static const struct worker_limits limits = {.threads = 4, .heavy = 2, .owner_heavy = 1, .owner_light = 2};

static void nobody_fills_the_pool(void **state)
{
    (void)state;
    static struct play play = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "", "", 0, 0};
    struct part p[9];
    struct worker *w;
    struct errinfo info = {0};
    assert_int_equal(worker_start(&limits, &w, &info), ERR_OK);
    give(w, &play, &p[0], "ann", true, 'a');
    give(w, &play, &p[1], "ann", true, 'A'); /* waits for her first */
    give(w, &play, &p[2], "bob", true, 'b');
    give(w, &play, &p[3], "cem", true, 'c'); /* half of the threads are at heavy work */
    give(w, &play, &p[4], "ann", false, 'l'); /* passes all that */
    begun(&play, "abl");
    let_go(&play, "l");
    give(w, &play, &p[5], "dan", false, '1');
    give(w, &play, &p[6], "dan", false, '2');
    begun(&play, "abl12");
    let_go(&play, "12b");
    begun(&play, "abl12c"); /* not ann's second */
    let_go(&play, "ac");
    begun(&play, "abl12cA");
    let_go(&play, "A");
    worker_stop(w);
    assert_int_equal(play.n_over, 7);
    assert_false(worker_give(w, &p[7].job));
    worker_free(w);
}

static void what_was_given_is_done_before_the_end(void **state)
{
    (void)state;
    static struct play play = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "", "x", 0, 0};
    static struct part p[JOBS];
    struct worker *w;
    struct errinfo info = {0};
    for (int round = 0; round < 20; round++) {
        play.n_begun = play.n_over = 0;
        assert_int_equal(worker_start(&limits, &w, &info), ERR_OK);
        for (size_t i = 0; i < JOBS; i++) {
            give(w, &play, &p[i], i % 3 ? "ann" : "bob", i % 2, 'x');
        }
        worker_stop(w);
        assert_int_equal(play.n_over, JOBS);
        worker_free(w);
    }
    worker_free(NULL);
}

/* So many of an owner's wait and no more; what is withdrawn waits no longer, and is not done. */
static void what_waits_has_a_limit(void **state)
{
    (void)state;
    static const struct worker_limits few = {.threads = 2, .heavy = 2, .owner_heavy = 1, .owner_waiting = 2};
    static struct play play = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "", "", 0, 0};
    struct part p[6];
    struct worker *w;
    struct errinfo info = {0};
    assert_int_equal(worker_start(&few, &w, &info), ERR_OK);
    give(w, &play, &p[0], "ann", true, '1');
    begun(&play, "1");
    give(w, &play, &p[1], "ann", true, '2');
    give(w, &play, &p[2], "ann", true, '3');
    p[3] = (struct part){.job = {.owner = "ann", .heavy = true}};
    assert_false(worker_give(w, &p[3].job));
    assert_false(worker_withdraw(w, &p[3].job));
    assert_false(worker_withdraw(w, &p[0].job)); /* it is at work */
    give(w, &play, &p[4], "bob", true, 'b');
    begun(&play, "1b");
    assert_true(worker_withdraw(w, &p[2].job)); /* the last one */
    assert_false(worker_withdraw(w, &p[2].job));
    give(w, &play, &p[5], "ann", true, '4');
    assert_true(worker_withdraw(w, &p[1].job));
    let_go(&play, "1b4");
    worker_stop(w);
    begun(&play, "1b4");
    assert_int_equal(play.n_over, 3);
    worker_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_fills_the_pool),
        cmocka_unit_test(what_waits_has_a_limit),
        cmocka_unit_test(what_was_given_is_done_before_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
