/* A chat's messages: kept, saved and loaded; files that are not chats are refused and change nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/conversation.h"

static char path[64];

static err fill(struct conversation *c)
{
    TRY(conversation_set_system(c, "Be \"brief\".", NULL));
    TRY(conversation_add(c, CHAT_USER, "hello\nyou", NULL, NULL));
    TRY(conversation_add(c, CHAT_ASSISTANT, "Hi 🐳", "They greet me.", NULL));
    TRY(conversation_add(c, CHAT_USER, "/more", NULL, NULL));
    return conversation_add(c, CHAT_ASSISTANT, "", NULL, NULL);
}

static void test_saved_and_loaded_is_the_same(void **state)
{
    (void)state;
    struct conversation a = {.think = true, .seed = 1234567890123}, b = {0};
    struct errinfo info;
    assert_int_equal(fill(&a), ERR_OK);
    assert_int_equal(conversation_save(&a, "some model", path, &info), ERR_OK);
    assert_int_equal(conversation_add(&b, CHAT_USER, "replaced", NULL, NULL), ERR_OK);
    assert_int_equal(conversation_load(&b, path, &info), ERR_OK);
    assert_int_equal(b.n, 4);
    assert_true(b.think && b.seed == a.seed);
    assert_string_equal(b.system, a.system);
    for (size_t i = 1; i <= 4; i++) {
        assert_int_equal(a.messages[i].role, b.messages[i].role);
        assert_string_equal(a.messages[i].content, b.messages[i].content);
    }
    assert_string_equal(b.messages[2].reasoning, "They greet me.");
    assert_null(b.messages[4].reasoning);
    conversation_deinit(&a);
    conversation_deinit(&b);
    conversation_deinit(&b);
}

static void refuse(const char *text, const char *why)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    struct conversation c = {.seed = 7};
    struct errinfo info = {0};
    assert_int_equal(conversation_add(&c, CHAT_USER, "kept", NULL, NULL), ERR_OK);
    assert_true(conversation_load(&c, path, &info) != ERR_OK);
    assert_non_null(strstr(info.message, why));
    assert_int_equal(c.n, 1);
    assert_int_equal(c.seed, 7);
    assert_string_equal(c.messages[1].content, "kept");
    conversation_deinit(&c);
}

static void test_bad_files_change_nothing(void **state)
{
    (void)state;
    refuse("", "");
    refuse("[]", "");
    refuse("{\"fathom_chat\":2}", "version 2");
    refuse("{\"fathom_chat\":1,\"seed\":-1,\"think\":false,\"messages\":[]}", "seed");
    refuse("{\"fathom_chat\":1,\"seed\":1,\"think\":0,\"messages\":[]}", "think");
    refuse("{\"fathom_chat\":1,\"seed\":1,\"think\":false,\"messages\":{}}", "messages");
    refuse("{\"fathom_chat\":1,\"seed\":1,\"think\":false,\"messages\":[{\"role\":\"user\"}]}", "content");
    refuse("{\"fathom_chat\":1,\"seed\":1,\"think\":false,\"system\":3,\"messages\":[]}", "system");
    refuse("{\"fathom_chat\":1,\"seed\":1,\"think\":false,\"messages\":["
           "{\"role\":\"assistant\",\"content\":\"x\"}]}", "take turns");
    refuse("{\"fathom_chat\":1,\"seed\":1,\"think\":false,\"messages\":["
           "{\"role\":\"user\",\"content\":\"x\"}]}", "no answer");
}

static void test_failed_writes_and_allocations_leave_nothing(void **state)
{
    (void)state;
    size_t before = mem_alive();
    struct conversation a = {0};
    struct errinfo info;
    assert_int_equal(fill(&a), ERR_OK);
    file_fault(1, ENOSPC);
    unlink(path);
    assert_int_equal(conversation_save(&a, "m", path, &info), ERR_IO);
    file_fault(0, 0);
    assert_false(file_exists(path));
    assert_int_equal(conversation_save(&a, "m", path, &info), ERR_OK);
    conversation_deinit(&a);
    assert_int_equal(mem_alive(), before);
    for (size_t k = 1;; k++) {
        struct conversation c = {0}, b = {0};
        mem_fault(k, 0);
        err e = fill(&c);
        e = e == ERR_OK ? conversation_save(&c, "m", path, &info) : e;
        e = e == ERR_OK ? conversation_load(&b, path, &info) : e;
        mem_fault(0, 0);
        conversation_deinit(&c);
        conversation_deinit(&b);
        assert_int_equal(mem_alive(), before);
        if (e == ERR_OK) {
            assert_true(k > 20);
            break;
        }
    }
}

static void test_dropping_and_clearing(void **state)
{
    (void)state;
    struct conversation c = {0};
    conversation_drop_last(&c);
    assert_int_equal(fill(&c), ERR_OK);
    conversation_drop_last(&c);
    assert_int_equal(c.n, 3);
    assert_int_equal(conversation_set_system(&c, "", NULL), ERR_OK);
    assert_null(c.system);
    conversation_clear(&c);
    assert_int_equal(c.n, 0);
    conversation_deinit(&c);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/fathom-chat-%ld", (long)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved_and_loaded_is_the_same),
        cmocka_unit_test(test_bad_files_change_nothing),
        cmocka_unit_test(test_failed_writes_and_allocations_leave_nothing),
        cmocka_unit_test(test_dropping_and_clearing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
