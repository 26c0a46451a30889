/* tests/server/questioncase.h: requests to questions, or to the error they deserve. Test programs only. */
#ifndef TESTS_SERVER_QUESTIONCASE_H
#define TESTS_SERVER_QUESTIONCASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/question.h"

typedef bool (*questioncase_reader)(struct question *q, struct apierror *e);

static const struct sampling questioncase_defaults = {.temperature = 0.5f, .top_p = 0.9f, .seed = 77};

/* NULL: refused, with *e. */
static inline struct question *questioncase_read(questioncase_reader read, const char *text, struct apierror *e)
{
    struct question *q = question_new(&questioncase_defaults, CHAT_DEEPSEEK_V31);
    *e = (struct apierror){0};
    assert_non_null(q);
    if (question_parse(q, text, strlen(text), e) && read(q, e)) {
        return q;
    }
    question_free(q);
    assert_true(e->status >= 400 && e->message[0]);
    return NULL;
}

static inline struct question *questioncase_good(questioncase_reader read, const char *text)
{
    struct apierror e;
    struct question *q = questioncase_read(read, text, &e);
    if (!q) {
        fail_msg("%s → %u %s", text, e.status, e.message);
    }
    return q;
}

struct questioncase_bad {
    const char *text;
    unsigned status;
    const char *param;
};

static inline void questioncase_refused(questioncase_reader read, const struct questioncase_bad *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct apierror e;
        size_t alive = mem_alive();
        struct question *q = questioncase_read(read, cases[i].text, &e);
        if (q || e.status != cases[i].status || strcmp(e.param, cases[i].param) != 0) {
            fail_msg("%s → %u \"%s\" %s", cases[i].text, e.status, e.param, e.message);
        }
        assert_int_equal(mem_alive(), alive);
    }
}

/* A model that always thinks refuses it: `param` says not to. */
static inline void questioncase_thinker_refuses(questioncase_reader read, const char *text, const char *param)
{
    struct question *q = question_new(&questioncase_defaults, CHAT_DEEPSEEK_R1);
    struct apierror e = {0};
    assert_true(question_parse(q, text, strlen(text), &e));
    if (read(q, &e) || e.status != 400 || strcmp(e.code, "unsupported") != 0 || strcmp(e.param, param) != 0 ||
        !strstr(e.message, "always thinks")) {
        fail_msg("%s: %u \"%s\" %s", text, e.status, e.param, e.message);
    }
    question_free(q);
}

/* Every allocation in turn fails: 503, or what is wrong with the request anyway, and nothing is left. */
static inline void questioncase_short_of_memory(questioncase_reader read, const char *text)
{
    for (size_t k = 1;; k++) {
        struct apierror e = {0};
        size_t alive = mem_alive();
        struct question *q = question_new(&questioncase_defaults, CHAT_DEEPSEEK_V31);
        mem_fault(k, 0);
        bool good = question_parse(q, text, strlen(text), &e) && read(q, &e), failed = mem_attempts() >= k;
        mem_fault(0, 0);
        if (good == failed && k <= 100000) {
            fail_msg("allocation %zu: %s, %u %s", k, good ? "good" : "refused", e.status, e.message);
        }
        if (!good && e.status != 503) {
            fail_msg("allocation %zu: %u %s", k, e.status, e.message);
        }
        question_free(q);
        assert_int_equal(mem_alive(), alive);
        if (good) {
            return;
        }
    }
}

#endif
