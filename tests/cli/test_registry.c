/* The registry, the catalogue and what MODEL means. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/catalogue.h"
#include "cli/modelref.h"
#include "cli/registry.h"
#include "formats/tempdir.h"

static char root[64];
static struct errinfo info;
static const char sha[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static int set_up(void **state)
{
    (void)state;
    strcpy(root, "/tmp/fathom-registry-XXXXXX");
    setenv("FATHOM_BUNDLED", "/no/such/folder", 1);
    return mkdtemp(root) && setenv("FATHOM_MODELS", root, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove_all(root);
    return 0;
}

static void write_file(const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", root, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(file_make_dirs(path, &info), ERR_OK);
    *slash = '/';
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static err register_one(const char *name, const char *open, bool complete)
{
    struct registry_model m;
    err e = registry_model_init(name, &m, &info);
    if (e != ERR_OK) {
        return e;
    }
    e = registry_describe(&m, "hf:x/y", "MIT", open, &info);
    if (e == ERR_OK) {
        e = registry_add_file(&m, "config.json", 12, sha, &info);
    }
    if (e == ERR_OK) {
        e = registry_add_file(&m, "sub/model.gguf", 1ull << 40, sha, &info);
    }
    if (e == ERR_OK) {
        e = registry_write(&m, complete, &info);
    }
    registry_model_deinit(&m);
    return e;
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    struct registry_model m;
    assert_int_equal(register_one("a-model_1.5b", "sub/model.gguf", true), ERR_OK);
    assert_int_equal(registry_read("a-model_1.5b", false, &m, &info), ERR_OK);
    assert_true(m.complete);
    assert_string_equal(m.source, "hf:x/y");
    assert_string_equal(m.licence, "MIT");
    assert_int_equal(m.n_files, 2);
    assert_int_equal(registry_bytes(&m), (1ull << 40) + 12);
    assert_string_equal(registry_find_file(&m, "config.json")->sha256, sha);
    char want[200];
    snprintf(want, sizeof want, "%s/a-model_1.5b/sub/model.gguf", root);
    assert_string_equal(m.path, want);
    registry_model_deinit(&m);
}

static void an_unfinished_model_is_no_model(void **state)
{
    (void)state;
    struct registry_model m;
    assert_int_equal(register_one("half", ".", false), ERR_OK);
    assert_int_equal(registry_read("half", false, &m, &info), ERR_NOTFOUND);
    assert_int_equal(registry_read("half", true, &m, &info), ERR_OK);
    assert_false(m.complete);
    registry_model_deinit(&m);
    char *path;
    assert_int_equal(modelref_resolve("half", &path, &info), ERR_NOTFOUND);
    assert_int_equal(register_one("half", ".", true), ERR_OK);
    assert_int_equal(modelref_resolve("half", &path, &info), ERR_OK);
    mem_free(path);
    char part[200];
    snprintf(part, sizeof part, "%s/half/manifest.part", root);
    assert_false(file_exists(part));
}

static void lists_show_every_folder_in_order(void **state)
{
    (void)state;
    struct registry_list l;
    assert_int_equal(registry_list_all(&l, &info), ERR_OK);
    assert_int_equal(l.n, 0);
    registry_list_deinit(&l);
    assert_int_equal(register_one("zebra", ".", true), ERR_OK);
    assert_int_equal(register_one("ant", ".", false), ERR_OK);
    write_file("broken/manifest", "what is this\n");
    write_file("empty/some.part", "x");
    write_file("Not-A-Name/manifest", "x");
    write_file("loose-file", "x");
    assert_int_equal(registry_list_all(&l, &info), ERR_OK);
    assert_int_equal(l.n, 4);
    const char *names[] = {"ant", "broken", "empty", "zebra"};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(l.models[i].name, names[i]);
        assert_int_equal(l.models[i].complete, i == 3);
    }
    registry_list_deinit(&l);
    setenv("FATHOM_MODELS", "/no/such/folder", 1);
    assert_int_equal(registry_list_all(&l, &info), ERR_OK);
    assert_int_equal(l.n, 0);
    registry_list_deinit(&l);
    setenv("FATHOM_MODELS", root, 1);
}

static void bad_manifests_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "fathom-model 2\n",
        "fathom-model 1\n",
        "fathom-model 1\nsource s\nlicence l\nopen .\n",
        "fathom-model 1\nsource s\nlicence l\nfile SHA 1 a\n",
        "fathom-model 1\nsource s\nopen .\nfile SHA 1 a\n",
        "fathom-model 1\nsource s\nlicence l\nopen ../../x\nfile SHA 1 a\n",
        "fathom-model 1\nsource s\nlicence l\nopen /etc/passwd\nfile SHA 1 a\n",
        "fathom-model 1\nsource s\nlicence l\nopen .\nfile SHA 1 ../a\n",
        "fathom-model 1\nsource s\nlicence l\nopen .\nfile SHA 1 /a\n",
        "fathom-model 1\nsource s\nlicence l\nopen .\nfile SHA -1 a\n",
        "fathom-model 1\nsource s\nlicence l\nopen .\nfile SHA 99999999999999999999999 a\n",
        "fathom-model 1\nsource s\nlicence l\nopen .\nfile SHA 1\n",
        "fathom-model 1\nsource s\nlicence l\nopen .\nfile SHA 1 \n",
        "fathom-model 1\nsource s\nlicence l\nopen .\nfile 12 1 a\n",
        "fathom-model 1\nsource s\nlicence l\nopen .\nfile SHA 1 a\nfile SHA 1 a\n",
        "fathom-model 1\nsource s\nlicence l\nopen .\nfile SHA 1 a\nbogus\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[1000] = "";
        const char *p = bad[i];
        for (const char *s; (s = strstr(p, "SHA")); p = s + 3) {
            strncat(text, p, (size_t)(s - p));
            strcat(text, sha);
        }
        strcat(text, p);
        write_file("bad/manifest", text);
        struct registry_model m;
        err e = registry_read("bad", false, &m, &info);
        if (e != ERR_CORRUPT) {
            fail_msg("accepted (%d):\n%s", e, text);
        }
    }
}

static void names_cannot_leave_the_folder(void **state)
{
    (void)state;
    const char *good[] = {"model.gguf", "a/b/c.json", "Q4_K_M/x-00001-of-00002.gguf", "a b (1)+=,@.txt"};
    const char *bad[] = {"",       "/",      "/a",  "a/",    "a//b",       "..",      "../a",  "a/..",
                         "a/../b", ".a",     "a/.b", "a\\b",  "a\nb",       "a/b/c/d/e/f", "a\x01", "a:b",
                         "~/x\"",  "a\xc3\xa9", "$(x)\x7f", "a*", "a|b", "CON\t"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(registry_file_ok(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (registry_file_ok(bad[i])) {
            fail_msg("accepted file name \"%s\"", bad[i]);
        }
    }
    char longest[300];
    memset(longest, 'a', sizeof longest);
    longest[200] = '\0';
    assert_true(registry_file_ok(longest));
    longest[200] = 'a';
    longest[201] = '\0';
    assert_false(registry_file_ok(longest));
    const char *bad_names[] = {"", ".", "..", "-x", "A", "a/b", "a b", "\xc3\xa9", longest};
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        assert_false(registry_name_ok(bad_names[i]));
        struct registry_model m;
        assert_int_equal(registry_model_init(bad_names[i], &m, &info), ERR_ARGUMENT);
    }
    assert_true(registry_name_ok("deepseek-r1-distill-qwen-1.5b"));
}

static void the_root_follows_the_environment(void **state)
{
    (void)state;
    char *dir;
    unsetenv("FATHOM_MODELS");
    setenv("XDG_DATA_HOME", "/data", 1);
    assert_int_equal(registry_root(&dir, &info), ERR_OK);
    assert_string_equal(dir, "/data/fathom/models");
    mem_free(dir);
    unsetenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    char *kept = home ? strdup(home) : NULL;
    setenv("HOME", "/hut", 1);
    assert_int_equal(registry_root(&dir, &info), ERR_OK);
    assert_string_equal(dir, "/hut/.local/share/fathom/models");
    mem_free(dir);
    unsetenv("HOME");
    assert_int_equal(registry_root(&dir, &info), ERR_ARGUMENT);
    if (kept) {
        setenv("HOME", kept, 1);
        free(kept);
    }
    setenv("FATHOM_MODELS", root, 1);
}

static void what_came_with_the_program_is_there_too(void **state)
{
    (void)state;
    char *dir, *path;
    struct registry_list l;
    char bundled[80];
    unsetenv("FATHOM_BUNDLED");
    assert_int_equal(registry_bundled(&dir, &info), ERR_OK);
    const char *end = strrchr(dir, '/');
    assert_true(dir[0] == '/' && end && strcmp(end, "/models") == 0 && !strstr(dir, "..")); /* it is shown */
    mem_free(dir);
    snprintf(bundled, sizeof bundled, "%s/program", root);
    setenv("FATHOM_BUNDLED", bundled, 1);
    setenv("FATHOM_MODELS", bundled, 1);
    assert_int_equal(register_one("fathom-nano", "nano.gguf", true), ERR_OK);
    assert_int_equal(register_one("smollm2", "old.gguf", true), ERR_OK);
    setenv("FATHOM_MODELS", root, 1);
    assert_int_equal(register_one("smollm2", "new.gguf", true), ERR_OK);
    assert_int_equal(registry_list_all(&l, &info), ERR_OK);
    assert_int_equal(l.n, 3); /* and the folder "program", which holds no model */
    assert_string_equal(l.models[0].name, "fathom-nano");
    assert_true(l.models[0].complete && !l.models[1].complete);
    assert_non_null(strstr(l.models[2].path, "new.gguf"));
    registry_list_deinit(&l);
    assert_int_equal(modelref_resolve(NULL, &path, &info), ERR_OK);
    assert_non_null(strstr(path, "program/fathom-nano/nano.gguf"));
    mem_free(path);
    setenv("FATHOM_BUNDLED", "/no/such/folder", 1);
}

static void a_model_is_a_path_a_folder_or_a_name(void **state)
{
    (void)state;
    char *path;
    char word[200];
    write_file("elsewhere/a.gguf", "GGUF");
    snprintf(word, sizeof word, "%s/elsewhere/a.gguf", root);
    assert_int_equal(modelref_resolve(word, &path, &info), ERR_OK);
    assert_string_equal(path, word);
    mem_free(path);
    snprintf(word, sizeof word, "%s/elsewhere", root);
    assert_int_equal(modelref_resolve(word, &path, &info), ERR_OK);
    assert_non_null(strstr(path, "/elsewhere/a.gguf"));
    mem_free(path);
    write_file("elsewhere/b.gguf", "GGUF");
    assert_int_equal(modelref_resolve(word, &path, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.message, "several"));
    write_file("elsewhere/config.json", "{}");
    assert_int_equal(modelref_resolve(word, &path, &info), ERR_OK);
    assert_string_equal(path, word);
    mem_free(path);
    write_file("split/m-00002-of-00002.gguf", "GGUF");
    write_file("split/m-00001-of-00002.gguf", "GGUF");
    snprintf(word, sizeof word, "%s/split", root);
    assert_int_equal(modelref_resolve(word, &path, &info), ERR_OK);
    assert_non_null(strstr(path, "m-00001-of-00002.gguf"));
    mem_free(path);
    write_file("nothing/readme", "");
    snprintf(word, sizeof word, "%s/nothing", root);
    assert_int_equal(modelref_resolve(word, &path, &info), ERR_NOTFOUND);
    assert_int_equal(modelref_resolve("./no-such.gguf", &path, &info), ERR_NOTFOUND);
}

static void default_is(const char *want)
{
    char *name = NULL;
    assert_int_equal(modelref_default(&name, &info), ERR_OK);
    assert_string_equal(name, want);
    mem_free(name);
}

static void the_default_is_named_or_smollm2_or_the_first_model(void **state)
{
    (void)state;
    unsetenv("FATHOM_MODEL");
    default_is("smollm2"); /* nothing here: the one to fetch */
    assert_int_equal(register_one("a-half", ".", false), ERR_OK);
    assert_int_equal(register_one("mine", ".", true), ERR_OK);
    default_is("mine");
    assert_int_equal(register_one("smollm2", ".", true), ERR_OK);
    default_is("smollm2");
    assert_int_equal(setenv("FATHOM_MODEL", "/some/where.gguf", 1), 0);
    default_is("/some/where.gguf");
    assert_int_equal(setenv("FATHOM_MODEL", "", 1), 0);
    default_is("smollm2");
    unsetenv("FATHOM_MODEL");
}

static void a_missing_model_comes_with_advice(void **state)
{
    (void)state;
    char *path;
    assert_int_equal(modelref_resolve(NULL, &path, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.message, "smollm2"));
    assert_non_null(strstr(info.message, "models here: none"));
    assert_int_equal(register_one("mymodel", ".", true), ERR_OK);
    assert_int_equal(modelref_resolve("mymodle", &path, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.message, "models here: mymodel"));
    assert_non_null(strstr(info.message, "Did you mean mymodel?"));
    assert_int_equal(modelref_resolve("deepseek-r1", &path, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.message, "fathom pull deepseek-r1 (about 688.5 GB)"));
    assert_int_equal(modelref_resolve("Not A Name", &path, &info), ERR_NOTFOUND);
}

static void the_catalogue_is_sound(void **state)
{
    (void)state;
    struct catalogue *c;
    assert_int_equal(catalogue_open(&c, &info), ERR_OK);
    assert_true(c->n > 15);
    for (size_t i = 0; i < c->n; i++) {
        const struct catalogue_entry *e = &c->entries[i];
        assert_true(strncmp(e->source, "hf:", 3) == 0 || strncmp(e->source, "pypi:", 5) == 0);
        assert_true(e->bytes > 1000000);
    }
    assert_int_equal(catalogue_find(c, "smollm2")->format, CHAT_SMOLLM2);
    assert_true(chat_can_call(catalogue_find(c, "deepseek-v3.1")->format));
    assert_null(catalogue_find(c, "nothing"));
    catalogue_close(c);
    const char *bad[] = {"a | b | 1 | c | plain", "a | b | x | c | plain | d", "a | b | 1 | c | plain | d | e", "A | b | 1 | c | plain | d",
                         "a | b | 1 | c | plain | d\na | b | 1 | c | plain | d", "a | | 1 | c | plain | d", "a|b|~|c|plain|d",
                         "a | b | 1 | c | plane | d"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        static struct catalogue parsed;
        assert_int_equal(catalogue_parse(bad[i], strlen(bad[i]), &parsed, &info), ERR_CORRUPT);
    }
}

/* Runs `f` with every allocation, then every disk call, failing in turn. */
static void sweep(err (*f)(void))
{
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        mem_fault(k, 0);
        err e = f();
        mem_fault(0, 0);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
    }
    for (size_t k = 1;; k++) {
        file_fault(k, EIO);
        err e = f();
        file_fault(0, 0);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_IO);
    }
}

static err sweep_register(void)
{
    return register_one("swept", ".", true);
}

static err sweep_read(void)
{
    struct registry_model m;
    err e = registry_read("swept", false, &m, &info);
    if (e == ERR_OK) {
        registry_model_deinit(&m);
    }
    return e;
}

static err sweep_list(void)
{
    struct registry_list l;
    err e = registry_list_all(&l, &info);
    if (e == ERR_OK) {
        registry_list_deinit(&l);
    }
    return e;
}

static err sweep_resolve(void)
{
    char *path;
    err e = modelref_resolve("swept", &path, &info);
    if (e == ERR_OK) {
        mem_free(path);
    }
    return e;
}

static err sweep_missing(void)
{
    char *path;
    err e = modelref_resolve("swpt", &path, &info);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

static err sweep_default(void)
{
    char *name = NULL;
    err e = modelref_default(&name, &info);
    mem_free(name);
    return e;
}

static void every_fault_is_an_error_without_a_leak(void **state)
{
    (void)state;
    sweep(sweep_default);
    sweep(sweep_register);
    sweep(sweep_read);
    sweep(sweep_list);
    sweep(sweep_resolve);
    sweep(sweep_missing);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read_back),
        TEST(an_unfinished_model_is_no_model),
        TEST(lists_show_every_folder_in_order),
        TEST(bad_manifests_are_refused),
        TEST(names_cannot_leave_the_folder),
        TEST(the_root_follows_the_environment),
        TEST(what_came_with_the_program_is_there_too),
        TEST(a_model_is_a_path_a_folder_or_a_name),
        TEST(the_default_is_named_or_smollm2_or_the_first_model),
        TEST(a_missing_model_comes_with_advice),
        TEST(the_catalogue_is_sound),
        TEST(every_fault_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
