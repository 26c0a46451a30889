/* Routes: methods, prefixes, parts of paths, and that nothing else is reachable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/api.h"
#include "server/route.h"

static const struct route_row first[] = {
    {"GET", "/models", .api = true},
    {"GET", "/models/*", .api = true},
    {"POST", "/chat/completions", .api = true},
    {"DELETE", "/models/*", .api = true},
};
static const struct route_row second[] = {
    {"POST", "/messages", .api = true, .anthropic = true},
    {"GET", "/files/*/pages/*", .api = false},
    {"GET", "/", .api = false},
};
static const struct route_table both[] = {{first, 4}, {second, 3}};
static const struct route_table *const tables[] = {&both[0], &both[1]};

static void test_a_base_url_with_too_much_is_told_so(void **state)
{
    static const struct {
        const char *path, *meant;
    } rows[] = {{"/v1/v1/chat/completions", "at /v1/chat/completions:"},
                {"/v1/v1/messages", "at /v1/messages:"},
                {"/v1/chat/completions/chat/completions", "at /v1/chat/completions:"},
                {"/anthropic/v1/v1/messages", "at /v1/messages:"},
                {"/v1/v1/models", "at /v1/models:"},
                {"/v1/nothing", NULL},
                {"/x/files", NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct route_match m = {0};
        struct apierror e = {0};
        char allowed[64];
        assert_false(route_find(tables, 2, "POST", rows[i].path, &m, allowed, &e));
        assert_int_equal(e.status, 404);
        if (rows[i].meant ? !strstr(e.message, rows[i].meant) : strstr(e.message, "base URL") != NULL) {
            fail_msg("%s: %s", rows[i].path, e.message);
        }
    }
}

static void test_paths(void **state)
{
    static const struct {
        const char *method, *path;
        unsigned status; /* 0: found */
        const char *row, *one, *two, *allowed;
        bool beta;
    } rows[] = {
        {"GET", "/models", 0, "/models", "", "", NULL, false},
        {"HEAD", "/models", 0, "/models", "", "", NULL, false},
        {"GET", "/v1/models", 0, "/models", "", "", NULL, false},
        {"GET", "/beta/models", 0, "/models", "", "", NULL, true},
        {"GET", "/beta/v1/models", 0, "/models", "", "", NULL, true},
        {"GET", "/v1/models/a b", 0, "/models/*", "a b", "", NULL, false},
        {"GET", "/v1/models/..", 0, "/models/*", "..", "", NULL, false},
        {"DELETE", "/models/x", 0, "/models/*", "x", "", NULL, false},
        {"POST", "/v1/messages", 0, "/messages", "", "", NULL, false},
        {"POST", "/anthropic/messages", 0, "/messages", "", "", NULL, false},
        {"POST", "/anthropic/v1/messages", 0, "/messages", "", "", NULL, false},
        {"GET", "/files/a/pages/7", 0, "/files/*/pages/*", "a", "7", NULL, false},
        {"GET", "/", 0, "/", "", "", NULL, false},
        {"POST", "/models", 405, NULL, NULL, NULL, "GET", false},
        {"PUT", "/v1/models/x", 405, NULL, NULL, NULL, "GET, DELETE", false},
        {"OPTIONS", "/v1/chat/completions", 405, NULL, NULL, NULL, "POST", false},
        {"get", "/models", 405, NULL, NULL, NULL, "GET", false},
        {"GET", "/v1/models/a/b", 404, NULL, NULL, NULL, "", false},
        {"GET", "/v1/models/", 404, NULL, NULL, NULL, "", false},
        {"GET", "/models/", 404, NULL, NULL, NULL, "", false},
        {"GET", "//models", 404, NULL, NULL, NULL, "", false},
        {"GET", "/v1", 404, NULL, NULL, NULL, "", false},
        {"GET", "/v1/", 404, NULL, NULL, NULL, "", false},
        {"GET", "/v1/v1/models", 404, NULL, NULL, NULL, "", false},
        {"GET", "/v1models", 404, NULL, NULL, NULL, "", false},
        {"GET", "/v1/beta/models", 404, NULL, NULL, NULL, "", false},
        {"GET", "/anthropic/models", 404, NULL, NULL, NULL, "", false},
        {"POST", "/v1/v1/messages", 404, NULL, NULL, NULL, "", false},
        {"GET", "/v1/files/a/pages/7", 404, NULL, NULL, NULL, "", false},
        {"GET", "/files//pages/7", 404, NULL, NULL, NULL, "", false},
        {"GET", "/Models", 404, NULL, NULL, NULL, "", false},
        {"GET", "", 404, NULL, NULL, NULL, "", false},
        {"GET", "models", 404, NULL, NULL, NULL, "", false},
        {"GET", "/*", 404, NULL, NULL, NULL, "", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct route_match m = {0};
        struct apierror e = {0};
        char allowed[64];
        bool found = route_find(tables, 2, rows[i].method, rows[i].path, &m, allowed, &e);
        if (found != (rows[i].status == 0) || e.status != rows[i].status) {
            fail_msg("%s %s → %u %s", rows[i].method, rows[i].path, e.status, e.message);
        }
        if (found) {
            assert_string_equal(m.row->path, rows[i].row);
            assert_string_equal(m.parts[0], rows[i].one);
            assert_string_equal(m.parts[1], rows[i].two);
            assert_int_equal(m.beta, rows[i].beta);
        } else {
            assert_string_equal(allowed, rows[i].allowed);
        }
    }
}

static void test_parts_have_a_length(void **state)
{
    char path[400] = "/models/";
    struct route_match m = {0};
    struct apierror e = {0};
    char allowed[64];
    (void)state;
    memset(path + 8, 'a', ROUTE_PART_MAX - 1);
    assert_true(route_find(tables, 2, "GET", path, &m, allowed, &e));
    assert_int_equal(strlen(m.parts[0]), ROUTE_PART_MAX - 1);
    path[8 + ROUTE_PART_MAX - 1] = 'a';
    assert_false(route_find(tables, 2, "GET", path, &m, allowed, &e));
    assert_int_equal(e.status, 404);
}

/* What a table of ours must be: handlers everywhere, absolute paths, no row hidden behind another, and scopes
 * everywhere but where anybody may look. */
static void test_the_tables_are_sound(void **state)
{
    static const char *const open[] = {"/health", "/ready", "/api/session", "/api/login", "/api/logout"};
    size_t n;
    const struct route_table *const *t = api_tables(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < t[i]->n; k++) {
            const struct route_row *r = &t[i]->rows[k];
            struct route_match m;
            struct apierror e = {0};
            char allowed[64], path[128];
            bool anybody = r->need.page;
            assert_true(r->handle && r->path[0] == '/');
            snprintf(path, sizeof path, "%s", r->path);
            assert_true(route_find(t, n, r->method, path, &m, allowed, &e));
            assert_ptr_equal(m.row, r);
            for (size_t o = 0; o < sizeof open / sizeof *open; o++) {
                anybody = anybody || strcmp(r->path, open[o]) == 0;
            }
            if (!anybody && r->need.scope == CALLER_NOTHING) {
                fail_msg("%s %s is open to anybody", r->method, r->path);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_a_base_url_with_too_much_is_told_so),
        cmocka_unit_test(test_parts_have_a_length),
        cmocka_unit_test(test_the_tables_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
