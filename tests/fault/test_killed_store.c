/* A writer of chats is killed at random moments, again and again: what it was told to be stored is there afterwards,
 * whole, and what it was told to be deleted is not; the database is sound, and answers that were being written say
 * that they were interrupted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "server/storefixture.h"

enum { KILLS = 200, CHATS_MAX = 4000 };

static struct storefixture f = {.durable = true};
static const char *program;

/* What the writer tells on stdout after each operation that returned: the chat's id, and how many turns it has now, or
 * that it was deleted. */
struct told {
    char id[VAULT_ID];
    int32_t turns; /* -1: deleted */
};

static bool tell(const char *id, int turns)
{
    struct told t = {.turns = turns};
    memcpy(t.id, id, VAULT_ID);
    return write(STDOUT_FILENO, &t, sizeof t) == sizeof t;
}

/* One chat: made, talked in, and now and then deleted. The n-th turn says "turn n" and is answered "answer n". */
static void live_one(struct rng *r)
{
    char *id = storefixture_chat(&f, "local", "{'title':'title'}", 1), *last = NULL;
    bool on = tell(id, 0);
    for (int n = 1; on && n <= (int)(rng_u64(r) % 5); n++) {
        char says[32], answers[32];
        snprintf(says, sizeof says, "turn %d", n);
        snprintf(answers, sizeof answers, "answer %d", n);
        char *next = storefixture_talk(&f, "local", id, last, says, answers, n);
        free(last);
        last = next;
        on = tell(id, n);
    }
    if (on && rng_u64(r) % 3 == 0 && chatstore_delete(f.chats, "local", id, &f.info) == ERR_OK) {
        on = tell(id, -1);
    }
    free(last);
    free(id);
}

static int writer(const char *path, uint64_t seed)
{
    struct rng r;
    rng_seed(&r, seed);
    snprintf(f.dir.path, sizeof f.dir.path, "%s", path);
    storefixture_open(&f);
    if (!tell("ready---------------------------", 0)) {
        return 3;
    }
    while (true) {
        live_one(&r);
    }
}

/* ---- The parent. ---- */

static struct told all[CHATS_MAX];
static bool last_of_a_life[CHATS_MAX]; /* what came next for it is not known */
static size_t n_all;

static void remember(const struct told *t)
{
    if (n_all == 0 || memcmp(all[n_all - 1].id, t->id, VAULT_ID) != 0) {
        assert_true(n_all < CHATS_MAX);
        n_all++;
    }
    all[n_all - 1] = *t;
}

/* A life of `ns` nanoseconds from the moment it is ready, or (`early`) from its birth. */
static void run_and_kill(uint64_t seed, long ns, bool early)
{
    int pipes[2];
    char number[32];
    struct told t;
    assert_int_equal(pipe(pipes), 0);
    snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        execl(program, program, f.dir.path, number, (char *)NULL);
        _exit(4);
    }
    close(pipes[1]);
    if (!early) {
        assert_int_equal(read(pipes[0], &t, sizeof t), sizeof t); /* it could open what the last one left */
    }
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    while (read(pipes[0], &t, sizeof t) == sizeof t) {
        if (memcmp(t.id, "ready", 5) != 0) {
            remember(&t);
        }
    }
    if (n_all > 0) {
        last_of_a_life[n_all - 1] = true;
    }
    close(pipes[0]);
}

/* The messages of a chat are the turns and answers that were told, and at most what was under way. */
static void check_chat(const struct told *t)
{
    char id[VAULT_ID + 1] = "", expected[32];
    memcpy(id, t->id, VAULT_ID);
    json_t *doc = NULL;
    err e = chatstore_get(f.chats, "local", id, &doc, &f.info);
    if (t->turns < 0) {
        assert_int_equal(e, ERR_NOTFOUND);
        return;
    }
    if (e == ERR_NOTFOUND && last_of_a_life[t - all]) {
        return; /* its deletion was under way */
    }
    if (e != ERR_OK) {
        fail_msg("%s: %s", id, f.info.message);
    }
    const json_t *messages = json_object_get(doc, "messages");
    size_t n = json_array_size(messages);
    assert_in_range(n, 2 * (size_t)t->turns, 2 * (size_t)t->turns + 2);
    assert_true(n % 2 == 0); /* a turn comes with its answer */
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(messages, i);
        const char *state = json_string_value(json_object_get(m, "state"));
        const char *content = json_string_value(json_object_get(m, "content"));
        bool told = i < 2 * (size_t)t->turns;
        snprintf(expected, sizeof expected, i % 2 ? "answer %zu" : "turn %zu", i / 2 + 1);
        assert_string_equal(state, told || i % 2 == 0 || strcmp(state, "done") == 0 ? "done" : "interrupted");
        if (strcmp(state, "done") == 0) {
            assert_string_equal(content, expected);
        }
    }
    json_decref(doc);
}

static void a_kill_never_costs_what_was_acknowledged(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 7);
    for (int i = 0; i < KILLS; i++) {
        size_t first = n_all;
        run_and_kill(rng_u64(&r), (long)(rng_u64(&r) % 30000000), i % 4 == 3);
        if (i % 20 == 19 || i == KILLS - 1) {
            storefixture_open(&f);
            assert_int_equal(database_check(f.database, &f.info), ERR_OK);
            for (size_t k = i == KILLS - 1 ? 0 : first; k < n_all; k++) {
                check_chat(&all[k]);
            }
            storefixture_close(&f);
        }
    }
    print_message("%zu chats acknowledged in %d lives\n", n_all, KILLS);
    assert_true(n_all > KILLS / 10);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return writer(argv[1], strtoull(argv[2], NULL, 10));
    }
    program = argv[0];
    tempdir_make(&f.dir);
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_kill_never_costs_what_was_acknowledged)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tempdir_remove_all(f.dir.path);
    return failed;
}
