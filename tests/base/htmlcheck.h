/* tests/base/htmlcheck.h: whether a page is well formed as its maker means it: every element closes in order,
 * attributes are quoted, &, < and > stand for themselves nowhere. Style and script hold text of their own. */
#ifndef TESTS_HTMLCHECK_H
#define TESTS_HTMLCHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { HTMLCHECK_DEPTH = 64, HTMLCHECK_NAME = 32 };

struct htmlcheck {
    const char *page, *at;
    char open[HTMLCHECK_DEPTH][HTMLCHECK_NAME];
    int depth;
};

static inline void htmlcheck_fail(const struct htmlcheck *c, const char *what)
{
    fail_msg("%s at byte %zu: %.80s", what, (size_t)(c->at - c->page), c->at);
}

/* An entity, or any character but <, >, & and a control character. */
static inline void htmlcheck_text(struct htmlcheck *c, char quote)
{
    if (*c->at == '&') {
        const char *end = strchr(c->at, ';');
        if (!end || end - c->at > 6 || (!isalpha((unsigned char)c->at[1]) && c->at[1] != '#')) {
            htmlcheck_fail(c, "a bare &");
        }
        c->at = end;
    } else if (*c->at == '<' || (*c->at == '>' && !quote)) {
        htmlcheck_fail(c, "a bare < or >");
    } else if ((unsigned char)*c->at < 0x20 && *c->at != '\n' && *c->at != '\t') {
        htmlcheck_fail(c, "a control character");
    }
    c->at++;
}

static inline size_t htmlcheck_name(struct htmlcheck *c, char out[HTMLCHECK_NAME])
{
    size_t n = 0;
    while (isalnum((unsigned char)*c->at) || *c->at == '-' || *c->at == ':') {
        if (n + 1 >= HTMLCHECK_NAME) {
            htmlcheck_fail(c, "a long name");
        }
        out[n++] = *c->at++;
    }
    out[n] = '\0';
    return n;
}

/* name="value" … up to > or />; true for the latter. */
static inline bool htmlcheck_attributes(struct htmlcheck *c)
{
    char name[HTMLCHECK_NAME];
    for (;;) {
        while (isspace((unsigned char)*c->at)) {
            c->at++;
        }
        if (*c->at == '>' || (c->at[0] == '/' && c->at[1] == '>')) {
            bool alone = *c->at == '/';
            c->at += alone ? 2 : 1;
            return alone;
        }
        if (htmlcheck_name(c, name) == 0 || c->at[0] != '=' || c->at[1] != '"') {
            htmlcheck_fail(c, "no attribute");
        }
        for (c->at += 2; *c->at && *c->at != '"';) {
            htmlcheck_text(c, '"');
        }
        c->at++;
    }
}

static inline void htmlcheck_tag(struct htmlcheck *c)
{
    char name[HTMLCHECK_NAME];
    c->at++;
    if (*c->at == '/') {
        c->at++;
        htmlcheck_name(c, name);
        if (c->depth == 0 || strcmp(c->open[--c->depth], name) != 0 || *c->at != '>') {
            htmlcheck_fail(c, "closes something else");
        }
        c->at++;
        return;
    }
    if (htmlcheck_name(c, name) == 0 || c->depth == HTMLCHECK_DEPTH) {
        htmlcheck_fail(c, "no element");
    }
    if (htmlcheck_attributes(c)) {
        return;
    }
    strcpy(c->open[c->depth++], name);
    if (strcmp(name, "style") == 0 || strcmp(name, "script") == 0) {
        c->at = strstr(c->at, "</");
        assert_non_null(c->at);
    }
}

/* Fails the test where the page is not well formed. */
static inline void htmlcheck_page(const char *page)
{
    static const char start[] = "<!doctype html>\n";
    struct htmlcheck c = {.page = page, .at = page};
    if (strncmp(page, start, sizeof start - 1) == 0) {
        c.at += sizeof start - 1;
    }
    while (*c.at) {
        if (*c.at == '<') {
            htmlcheck_tag(&c);
        } else {
            htmlcheck_text(&c, 0);
        }
    }
    if (c.depth != 0) {
        fail_msg("<%s> stays open", c.open[c.depth - 1]);
    }
}

static inline size_t htmlcheck_count(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)) != NULL; text++) {
        n++;
    }
    return n;
}

#endif
