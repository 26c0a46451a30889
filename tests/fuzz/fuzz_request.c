/* tests/fuzz/fuzz_request.c: a byte that chooses the wire format, then any bytes as the body of a request: a question
 * within its limits, or an error of a known kind that any client can parse; and what is asked becomes a prompt of a tiny
 * model, and a grammar, or an error. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "server/anthropic.h"
#include "server/answering.h"
#include "server/openaichat.h"
#include "server/openaitext.h"
#include "server/responses.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

static void check_error(const struct apierror *e)
{
    struct strbuf out = {0};
    json_t *d = NULL;
    check(e->status >= 400 && e->status < 500 && e->message[0]);
    for (int anthropic = 0; anthropic < 2; anthropic++) {
        check(apierror_text(e, anthropic, &out) == ERR_OK);
        check(json_parse(out.data, out.len, "error", &d, NULL) == ERR_OK);
        json_decref(d);
        strbuf_clear(&out);
    }
    strbuf_deinit(&out);
}

static void check_question(const struct question *q)
{
    const struct sampling *s = &q->sampling;
    check(q->n >= 1 && q->n <= QUESTION_CHOICES_MAX && q->n_stop <= QUESTION_STOPS_MAX);
    check(q->n_messages <= QUESTION_MESSAGES_MAX && q->n_tools <= QUESTION_TOOLS_MAX && s->n_bias <= QUESTION_BIAS_MAX);
    check(s->temperature >= 0 && s->temperature <= 2 && s->top_p >= 0 && s->top_p <= 1 && s->top_k >= 0);
    check(q->top_logprobs >= 0 && q->top_logprobs <= FATHOM_TOP_LOGPROBS_MAX && (q->logprobs || q->top_logprobs == 0));
    check(q->kind == QUESTION_CHAT ? q->n_messages > 0 : q->text || q->n_tokens > 0);
    check(!q->unknown.data || !strpbrk(q->unknown.data, "\r\n"));
    for (size_t i = 0; i < q->n_stop; i++) {
        check(q->stop[i][0] != '\0');
    }
    for (size_t i = 0; i < q->n_tools; i++) {
        check(q->tools[i].name[0] != '\0');
    }
}

static bool read_one(unsigned format, struct question *q, struct apierror *e)
{
    switch (format) {
    case 0: return openaichat_read(q, false, e);
    case 1: return openaichat_read(q, true, e);
    case 2: return openaitext_read(q, e);
    case 3: return anthropic_read(q, false, e);
    case 4: return anthropic_read(q, true, e);
    default: return responses_read(q, e);
    }
}

static const struct answering_model *tiny(enum chat_format format)
{
    static struct answering_model model; /* for all inputs, and never given back */
    static const struct engine_options one_thread = {.n_threads = 1};
    struct errinfo info = {0};
    struct engine *engine = NULL;
    if (!model.engine) {
        check(engine_open("tests/golden/thinkmodel", &one_thread, &engine, &info) == ERR_OK);
        model = (struct answering_model){.engine = engine, .tokenizer = engine_tokenizer(engine)};
    }
    model.format = format;
    return &model;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sampling defaults = {.temperature = 1, .top_p = 1};
    static const enum chat_format formats[] = {CHAT_DEEPSEEK_V31, CHAT_DEEPSEEK_R1, CHAT_CHATML, CHAT_DEEPSEEK_V2};
    if (size == 0 || size > 1 << 16) {
        return 0;
    }
    const struct answering_model *model = tiny(formats[data[0] / 64]);
    struct tokenizer_ids ids = {0};
    struct apierror e = {0};
    size_t alive = mem_alive();
    struct question *q = question_new(&defaults, model->format);
    check(q != NULL);
    if (question_parse(q, (const char *)data + 1, size - 1, &e) && read_one(data[0] % 6, q, &e)) {
        check(e.status == 0);
        check_question(q);
        if (answering_encode(model, q, &ids, &e)) {
            for (size_t i = 0; i < ids.len; i++) {
                check(ids.data[i] >= 0 && (size_t)ids.data[i] < engine_vocab_size(model->engine));
            }
        } else {
            check_error(&e);
        }
    } else {
        check_error(&e);
    }
    tokenizer_ids_deinit(&ids);
    question_free(q);
    check(mem_alive() == alive);
    return 0;
}
