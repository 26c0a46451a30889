/* The option parser: what it accepts, what it refuses and how it says so. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/interrupt.h"
#include "cli/options.h"

struct values {
    const char *model, *file;
    bool json;
    int64_t top_k;
    size_t max_tokens;
    double temperature;
    const char *prompt;
    int type;
    struct options_list stop;
};

static const char *const types[] = {"f16", "q4_k", "q8_0", NULL};

/* Splits `line` at '|' into words and parses them against the same table every time. */
static err parse(const char *line, struct values *v, struct errinfo *info)
{
    *v = (struct values){.top_k = 40, .max_tokens = 256, .temperature = 0.7, .type = -1};
    *info = (struct errinfo){0};
    const struct options_row rows[] = {
        options_required("MODEL", &v->model, "the model"),
        options_operand("FILE", &v->file, "a file"),
        options_flag("json", &v->json, "as JSON"),
        options_int("top-k", "N", -1, 1000, &v->top_k, "keep N"),
        options_size("max-tokens", "N", 1, 4096, &v->max_tokens, "stop after N"),
        options_float("temperature", "T", 0, 2, &v->temperature, "heat"),
        options_string("prompt", "TEXT", &v->prompt, "what to say"),
        options_choice("type", "TYPE", types, &v->type, "block type"),
        options_each("stop", "TEXT", &v->stop, "stop at TEXT"),
    };
    const struct options spec = {"try", "a try", rows, sizeof rows / sizeof *rows, NULL};
    static char copy[4096];
    char *argv[128] = {(char[]){"try"}};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    char *rest = copy;
    char *word;
    while (*line && (word = strsep(&rest, "|"))) {
        argv[argc++] = word;
    }
    return options_parse(&spec, argc, argv, info);
}

static void refuse(const char *line, const char *must_say)
{
    struct values v;
    struct errinfo info;
    err e = parse(line, &v, &info);
    if (e != ERR_ARGUMENT || !strstr(info.message, must_say)) {
        fail_msg("%s: code %d, said \"%s\", wanted \"%s\"", line, e, info.message, must_say);
    }
}

static void every_type_is_read_in_both_spellings(void **state)
{
    (void)state;
    struct values v;
    struct errinfo info;
    const char *lines[] = {
        "m.gguf|--json|--top-k|-1|--max-tokens|7|--temperature|1.5|--prompt|hi|--type|Q4_K|f",
        "--top-k=-1|m.gguf|--max-tokens=7|--json|--temperature=1.5|--prompt=hi|f|--type=q4_k",
    };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(parse(lines[i], &v, &info), ERR_OK);
        assert_string_equal(v.model, "m.gguf");
        assert_string_equal(v.file, "f");
        assert_true(v.json);
        assert_int_equal(v.top_k, -1);
        assert_int_equal(v.max_tokens, 7);
        assert_true(v.temperature == 1.5);
        assert_string_equal(v.prompt, "hi");
        assert_int_equal(v.type, 1);
    }
}

static void absent_options_keep_their_defaults(void **state)
{
    (void)state;
    struct values v;
    struct errinfo info;
    assert_int_equal(parse("m", &v, &info), ERR_OK);
    assert_false(v.json);
    assert_int_equal(v.top_k, 40);
    assert_int_equal(v.max_tokens, 256);
    assert_null(v.prompt);
    assert_null(v.file);
    assert_int_equal(v.stop.n, 0);
}

static void lists_collect_and_are_bounded(void **state)
{
    (void)state;
    struct values v;
    struct errinfo info;
    assert_int_equal(parse("m|--stop|a|--stop=b|--stop=", &v, &info), ERR_OK);
    assert_int_equal(v.stop.n, 3);
    assert_string_equal(v.stop.items[1], "b");
    assert_string_equal(v.stop.items[2], "");
    char many[2048] = "m";
    for (int i = 0; i <= OPTIONS_LIST_MAX; i++) {
        strcat(many, "|--stop=x");
    }
    refuse(many, "at most 64 times");
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    struct values v;
    struct errinfo info;
    assert_int_equal(parse("--|--json|--", &v, &info), ERR_OK);
    assert_string_equal(v.model, "--json");
    assert_string_equal(v.file, "--");
    assert_false(v.json);
    assert_int_equal(parse("-", &v, &info), ERR_OK);
    assert_string_equal(v.model, "-");
    assert_int_equal(parse("m|--prompt=--json|--prompt2", &v, &info), ERR_ARGUMENT);
    assert_int_equal(parse("m|--prompt=--json", &v, &info), ERR_OK);
    assert_string_equal(v.prompt, "--json");
}

static void mistakes_are_named(void **state)
{
    (void)state;
    refuse("", "MODEL is missing");
    refuse("--json", "MODEL is missing");
    refuse("m|f|g", "unexpected argument \"g\"");
    refuse("m|--mxtk|3", "did you mean --max-tokens?");
    refuse("m|--t|3", "unknown option --t");
    refuse("m|--jsno", "did you mean --json?");
    refuse("m|--max_tokens|3", "did you mean --max-tokens?");
    refuse("m|--xyzzyplugh", "unknown option --xyzzyplugh");
    refuse("m|-j", "two dashes");
    refuse("m|-5", "two dashes");
    refuse("m|--json|--json", "--json is given twice");
    refuse("m|--top-k|1|--top-k=1", "--top-k is given twice");
    refuse("m|--json=yes", "takes no value");
    refuse("m|--prompt", "needs a value: --prompt TEXT");
    refuse("m|--prompt|--json", "written with =");
    refuse("m|--=3", "unknown option");
    refuse("--MODEL=3", "unknown option --MODEL; MODEL is said without it: fathom try MODEL");
    refuse("--model|3", "unknown option --model; MODEL is said without it: fathom try MODEL");
    refuse("m|f|--prompt|why|is", "\"is\"; a text of several words wants quotes: --prompt \"why …\"");
    refuse("m|f|is", "\"is\"; text goes with --prompt \"is\"");
    refuse("m|--type|q9", "one of f16, q4_k, q8_0, got \"q9\"");
}

static void bad_numbers_are_refused_with_the_range(void **state)
{
    (void)state;
    const char *bad[] = {"",   " 1",  "1 ", "abc", "1x", "0x10", "--3", "+-1", "1e", "nan",
                         "NaN", "inf", "-",  "99999999999999999999999", "1,5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[128];
        snprintf(line, sizeof line, "m|--top-k=%s", bad[i]);
        refuse(line, "from -1 to 1000");
        snprintf(line, sizeof line, "m|--max-tokens=%s", bad[i]);
        refuse(line, "from 1 to 4096");
        if (strcmp(bad[i], "0x10") != 0) {
            snprintf(line, sizeof line, "m|--temperature=%s", bad[i]);
            refuse(line, "from 0 to 2");
        }
    }
    refuse("m|--top-k|-2", "from -1 to 1000");
    refuse("m|--top-k|1001", "from -1 to 1000");
    refuse("m|--top-k|1.5", "whole number");
    refuse("m|--max-tokens|0", "from 1 to 4096");
    refuse("m|--max-tokens|-1", "from 1 to 4096");
    refuse("m|--max-tokens|4097", "from 1 to 4096");
    refuse("m|--temperature|2.0001", "from 0 to 2");
    refuse("m|--temperature|-0.1", "from 0 to 2");
    refuse("m|--temperature|1e999", "from 0 to 2");
}

static void help_wins_and_names_every_row(void **state)
{
    (void)state;
    struct values v;
    struct errinfo info;
    assert_int_equal(parse("--help", &v, &info), ERR_CANCELLED);
    assert_int_equal(parse("m|-h|--bogus", &v, &info), ERR_CANCELLED);
    const struct options_row rows[] = {
        options_operand("MODEL", &v.model, "the model"),
        options_size("max-tokens", "N", 1, 4096, &v.max_tokens, "stop after N"),
        options_each("stop", "TEXT", &v.stop, "stop at TEXT"),
    };
    const struct options spec = {"try", "a try", rows, 3, "  fathom try m\n"};
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    assert_non_null(to);
    options_help(&spec, to);
    fclose(to);
    const char *parts[] = {"fathom try: a try", "usage: fathom try [MODEL] [options]",
                           "--max-tokens N  stop after N", "may be repeated", "--help",
                           "examples:\n  fathom try m\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!strstr(text, parts[i])) {
            fail_msg("help lacks \"%s\":\n%s", parts[i], text);
        }
    }
    free(text);
}

static void exit_codes_tell_a_stop_from_a_failure(void **state)
{
    (void)state;
    const struct options spec = {.verb = "test"};
    const struct errinfo stopped = {.code = ERR_CANCELLED, .message = "stopped"};
    const struct errinfo wrong = {.code = ERR_ARGUMENT, .message = "wrong"};
    assert_int_equal(options_fail(&spec, &stopped), 1); /* declined, not stopped */
    interrupt_watch();
    raise(SIGINT);
    interrupt_restore();
    assert_int_equal(options_fail(&spec, &stopped), OPTIONS_STOPPED);
    assert_int_equal(options_fail(&spec, &wrong), 2);
    interrupt_clear();
}

static void id_lists_are_read_whole_or_refused(void **state)
{
    (void)state;
    int32_t *ids;
    size_t n;
    struct errinfo info;
    size_t alive = mem_alive();
    assert_int_equal(options_ids("ids", "1, 2,3 ,2147483647", &ids, &n, &info), ERR_OK);
    assert_int_equal(n, 4);
    assert_int_equal(ids[2], 3);
    assert_int_equal(ids[3], INT32_MAX);
    mem_free(ids);
    const char *bad[] = {"", ",", "1,", ",1", "1,,2", "-1", "a", "1a", "2147483648", "1 2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(options_ids("ids", bad[i], &ids, &n, &info), ERR_ARGUMENT);
    }
    assert_int_equal(options_ids("prompt", "1,abc,3", &ids, &n, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "--prompt: \"abc\" is not a whole number"));
    mem_fault(1, 0);
    assert_int_equal(options_ids("ids", "1", &ids, &n, &info), ERR_NOMEM);
    mem_fault(0, 0);
    assert_int_equal(mem_alive(), alive);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_read_in_both_spellings),
        cmocka_unit_test(absent_options_keep_their_defaults),
        cmocka_unit_test(lists_collect_and_are_bounded),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(bad_numbers_are_refused_with_the_range),
        cmocka_unit_test(help_wins_and_names_every_row),
        cmocka_unit_test(exit_codes_tell_a_stop_from_a_failure),
        cmocka_unit_test(id_lists_are_read_whole_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
