/* Fields of other servers, in every format: what would change the answer is refused by its name, values that ask for
 * nothing pass. And what the formats have in common: tools and forms that do not go together. */
#include "server/questioncase.h"

#include "server/anthropic.h"
#include "server/openaichat.h"
#include "server/openaitext.h"
#include "server/otherfields.h"
#include "server/responses.h"

static bool chat(struct question *q, struct apierror *e)
{
    return openaichat_read(q, false, e);
}

static bool messages(struct question *q, struct apierror *e)
{
    return anthropic_read(q, false, e);
}

static const struct {
    questioncase_reader read;
    const char *begin; /* of a request; fields follow */
} formats[] = {{chat, "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"},
               {openaitext_read, "{\"prompt\":\"hi\""},
               {responses_read, "{\"input\":\"hi\""},
               {messages, "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"}};

enum { CHAT, TEXT, RESPONSES, MESSAGES, FORMATS };

static void refused(size_t format, const char *field, const char *param)
{
    char text[1000];
    snprintf(text, sizeof text, "%s,%s}", formats[format].begin, field);
    const struct questioncase_bad bad = {text, 400, param};
    questioncase_refused(formats[format].read, &bad, 1);
}

static void passes(size_t format, const char *field, const char *ignored)
{
    char text[2000];
    snprintf(text, sizeof text, "%s,%s}", formats[format].begin, field);
    struct question *q = questioncase_good(formats[format].read, text);
    assert_string_equal(q->unknown.data ? q->unknown.data : "", ignored);
    question_free(q);
}

static void test_each_is_refused_and_passes_when_neutral(void **state)
{
    (void)state;
    for (const struct fields *f = &otherfields_of_chat; f; f = f->also) {
        for (size_t i = 0; i < f->n; i++) {
            const struct fields_row *r = &f->rows[i];
            char field[200];
            bool own = strcmp(r->name, "max_tokens") == 0 || strcmp(r->name, "top_k") == 0 ||
                       strcmp(r->name, "thinking") == 0 || strcmp(r->name, "system") == 0;
            assert_true(r->type == FIELDS_REFUSED && r->why);
            for (size_t k = 0; k < FORMATS; k++) {
                if ((k < RESPONSES && f == &otherfields_of_chat) || (k == MESSAGES && own)) {
                    continue;
                }
                snprintf(field, sizeof field, "\"%s\":null", r->name);
                passes(k, field, "");
                if (r->neutral && r->neutral[0]) {
                    size_t n = strcspn(r->neutral, "|");
                    bool word = strncmp(r->neutral, "true", n) != 0 && strpbrk(r->neutral, "aeiou");
                    snprintf(field, sizeof field, "\"%s\":%s%.*s%s", r->name, word ? "\"" : "", (int)n, r->neutral,
                             word ? "\"" : "");
                    passes(k, field, "");
                }
                if (!(k == TEXT && (strcmp(r->name, "echo") == 0 || strcmp(r->name, "best_of") == 0))) {
                    snprintf(field, sizeof field, "\"%s\":7", r->name);
                    refused(k, field, r->name);
                }
            }
        }
    }
}

static void test_what_asks_for_something(void **state)
{
    static const struct {
        const char *field, *name; /* NULL: passes */
    } rows[] = {{"\"typical_p\":1.0", NULL},
                {"\"typical_p\":0.9", "typical_p"},
                {"\"mirostat\":0,\"dry_multiplier\":0.0,\"xtc_probability\":0", NULL},
                {"\"mirostat\":2", "mirostat"},
                {"\"skip_special_tokens\":true", NULL},
                {"\"skip_special_tokens\":false", "skip_special_tokens"},
                {"\"use_beam_search\":false,\"guided_json\":{},\"bad_words\":[],\"guided_regex\":\"\"", NULL},
                {"\"guided_json\":{\"type\":\"object\"}", "guided_json"},
                {"\"guided_choice\":[\"a\"]", "guided_choice"},
                {"\"structured_outputs\":{\"regex\":\"a\"}", "structured_outputs"},
                {"\"allowed_token_ids\":[1]", "allowed_token_ids"},
                {"\"reasoning_format\":\"auto\"", NULL},
                {"\"reasoning_format\":\"deepseek\"", NULL},
                {"\"reasoning_format\":\"none\"", "reasoning_format"},
                {"\"top_n_sigma\":0", NULL},
                {"\"truncate_prompt_tokens\":100", "truncate_prompt_tokens"},
                {"\"prompt_logprobs\":0", "prompt_logprobs"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t k = 0; k < FORMATS; k++) {
            if (rows[i].name) {
                refused(k, rows[i].field, rows[i].name);
            } else {
                passes(k, rows[i].field, "");
            }
        }
    }
    passes(RESPONSES, "\"seed\":null,\"min_p\":0,\"presence_penalty\":0.0,\"stop\":[]", "");
    refused(RESPONSES, "\"seed\":1", "seed");
    refused(MESSAGES, "\"stop\":\"a\"", "stop");
    refused(RESPONSES, "\"verbosity\":\"low\"", "verbosity");
    refused(MESSAGES, "\"reasoning\":{\"effort\":\"low\"}", "reasoning");
    refused(RESPONSES, "\"chat_template_kwargs\":{\"thinking\":true}", "chat_template_kwargs");
    passes(CHAT, "\"mirostat_tau\":5,\"timings_per_token\":true", "mirostat_tau, timings_per_token");
}

#define SCHEMA "{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{}}"

static void test_tools_and_forms_go_together_or_not(void **state)
{
    (void)state;
    refused(RESPONSES, "\"tools\":[{\"type\":\"function\",\"name\":\"f\"}],\"tool_choice\":\"required\",\"text\":{\"format\":" SCHEMA "}",
            "text.format");
    refused(MESSAGES, "\"tools\":[{\"name\":\"f\"}],\"tool_choice\":{\"type\":\"any\"},\"output_config\":{\"format\":" SCHEMA "}",
            "output_config.format");
    refused(MESSAGES, "\"tools\":[{\"name\":\"f\"}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"},\"output_config\":{\"format\":" SCHEMA "}",
            "output_config.format");
    passes(MESSAGES, "\"tools\":[{\"name\":\"f\"}],\"output_config\":{\"format\":" SCHEMA "}", "output_config.format.name");
    refused(MESSAGES, "\"tools\":[{\"name\":\"f\"},{\"name\":\"f\"}]", "tools[1].name");
    refused(RESPONSES, "\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"web_search\"},{\"type\":\"function\",\"name\":\"f\"}]",
            "tools[2].name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_refused_and_passes_when_neutral),
        cmocka_unit_test(test_what_asks_for_something),
        cmocka_unit_test(test_tools_and_forms_go_together_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
