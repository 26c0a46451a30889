/* Room for replies that wait to be read: of each owner, of all, and who is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/exchange_data.h"
#include "server/replyroom.h"

enum { EACH = 1 << 20, ALL = 3 << 20, ASKED = 5 };

static struct replyroom room;

static struct exchange *ask(const char *owner)
{
    struct exchange *x = exchange_new(NULL, &room, NULL);
    assert_true(x && exchange_begin(x, "GET", "/api/chats"));
    exchange_defer(x, owner, false);
    return x;
}

static bool admits(const char *owner)
{
    struct exchange *x = ask(owner);
    bool is = replyroom_admits(x);
    assert_int_equal(x->replied, !is);
    assert_int_equal(x->status, is ? 0 : 429);
    replyroom_set(x, 0);
    exchange_free(x);
    return is;
}

static void who_leaves_much_unread_gets_no_more(void **state)
{
    struct exchange *x[ASKED];
    (void)state;
    replyroom_init(&room, EACH, ALL);
    for (int i = 0; i < ASKED; i++) {
        x[i] = ask(i < 2 ? "anna" : i == 2 ? "bert" : "carl");
    }
    assert_true(admits("anna"));
    replyroom_set(x[0], EACH - 1);
    assert_true(admits("anna"));
    replyroom_set(x[1], 1);
    assert_false(admits("anna"));
    assert_true(admits("bert"));
    replyroom_set(x[0], 2); /* it is read */
    assert_true(admits("anna"));
    replyroom_set(x[0], EACH - 100000);
    replyroom_set(x[2], EACH - 100000);
    replyroom_set(x[3], EACH - 100000);
    assert_true(admits("anna"));
    replyroom_set(x[4], 300000); /* all of them are over theirs */
    assert_false(admits("anna"));
    assert_false(admits("bert"));
    assert_true(admits("dora")); /* who is not to blame */
    for (int i = 0; i < ASKED; i++) {
        replyroom_set(x[i], 0);
        exchange_free(x[i]);
    }
    assert_int_equal(room.kept, 0);
    assert_null(room.first);
    replyroom_deinit(&room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_leaves_much_unread_gets_no_more)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
