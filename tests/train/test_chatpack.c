/* Conversations to tokens: what is read is what chat_encode lays out, what is predicted is what the assistant says
 * and the end of its turn; the marks come through shards and rows; what is no conversation is refused by name. */
#include "datasetfixture.h"

#include <string.h>

#include "text/chat.h"
#include "train/chatpack.h"

#define TOKENIZER "tests/golden/tokenizer/deepseek-v3"
#define TWO_TURNS                                                                                                    \
    "{\"messages\": [{\"role\": \"system\", \"content\": \"be brief\"}, {\"role\": \"user\", \"content\": \"hello\"}, "  \
    "{\"role\": \"assistant\", \"content\": \"hi there\"}, {\"role\": \"user\", \"content\": \"why\"}, "                 \
    "{\"role\": \"assistant\", \"content\": \"because\"}]}"

static struct tokenizer *open_tokenizer(void)
{
    struct tokenizer *t;
    struct errinfo info = {0};
    datasetfixture_must(tokenizer_open(TOKENIZER, &t, &info), &info);
    return t;
}

/* The text of the tokens that are (not) marked. */
static void text_of(const struct tokenizer *t, const struct tokenizer_ids *ids, const struct strbuf *learn, char mark,
                    char out[400])
{
    out[0] = '\0';
    for (size_t i = 0; i < ids->len; i++) {
        struct tokenizer_piece p = tokenizer_piece_at(t, ids->data[i]);
        struct tokenizer_piece b = tokenizer_bytes(t, ids->data[i]);
        if (learn->data[i] == mark) {
            strncat(out, b.len ? b.data : p.data, b.len ? b.len : p.len);
        }
    }
}

static void test_answers_are_predicted_and_all_is_read(void **state)
{
    (void)state;
    const struct {
        enum chat_format format;
        const char *json, *read, *predicted;
    } cases[] = {
        {CHAT_DEEPSEEK_V3, TWO_TURNS,
         "<｜begin▁of▁sentence｜>be brief<｜User｜>hello<｜Assistant｜><｜User｜>why<｜Assistant｜>",
         "hi there<｜end▁of▁sentence｜>because<｜end▁of▁sentence｜>"},
        {CHAT_DEEPSEEK_V31, TWO_TURNS,
         "<｜begin▁of▁sentence｜>be brief<｜User｜>hello<｜Assistant｜></think><｜User｜>why<｜Assistant｜></think>",
         "hi there<｜end▁of▁sentence｜>because<｜end▁of▁sentence｜>"},
        {CHAT_DEEPSEEK_V31,
         "{\"messages\": [{\"role\": \"user\", \"content\": \"2+2\"}, {\"role\": \"assistant\", \"content\": \"4\", "
         "\"reasoning_content\": \"two and two\"}]}",
         "<｜begin▁of▁sentence｜><｜User｜>2+2<｜Assistant｜><think>", "two and two</think>4<｜end▁of▁sentence｜>"},
    };
    struct tokenizer *t = open_tokenizer();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tokenizer_ids ids = {0};
        struct strbuf learn = {0};
        struct errinfo info = {0};
        char text[400];
        datasetfixture_must(chatpack_encode(t, cases[i].format, cases[i].json, strlen(cases[i].json), &ids, &learn,
                                            &info), &info);
        assert_int_equal(ids.len, learn.len);
        text_of(t, &ids, &learn, 0, text);
        assert_string_equal(text, cases[i].read);
        text_of(t, &ids, &learn, 1, text);
        assert_string_equal(text, cases[i].predicted);
        tokenizer_ids_deinit(&ids);
        strbuf_deinit(&learn);
    }
    tokenizer_free(t);
}

static void test_what_is_no_conversation_is_named(void **state)
{
    (void)state;
    const struct {
        const char *json, *says;
    } cases[] = {
        {"{", "conversation"},
        {"[]", "messages"},
        {"{\"messages\": []}", "0 messages"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", "not the assistant's"},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}", "nobody asked"},
        {"{\"messages\": [{\"role\": \"tool\", \"content\": \"a\"}]}", "\"tool\" is none of"},
        {"{\"messages\": [{\"role\": \"user\"}]}", "content"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": 3}]}", "content"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\", "
         "\"reasoning_content\": \"c\"}, {\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", "
         "\"content\": \"b\"}]}", "in the last turn alone"},
    };
    struct tokenizer *t = open_tokenizer();
    struct tokenizer_ids ids = {0};
    struct strbuf learn = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errinfo info = {0};
        assert_int_not_equal(chatpack_encode(t, CHAT_DEEPSEEK_V31, cases[i].json, strlen(cases[i].json), &ids, &learn,
                                             &info), ERR_OK);
        if (!strstr(info.message, cases[i].says)) {
            fail_msg("%s\nsays nothing of: %s", info.message, cases[i].says);
        }
    }
    tokenizer_ids_deinit(&ids);
    strbuf_deinit(&learn);
    tokenizer_free(t);
}

static void test_marks_come_through_shards_and_rows(void **state)
{
    (void)state;
    enum { CONTEXT = 16, LINES = 50 };
    struct datasetfixture x;
    struct errinfo info = {0};
    struct dataset d, again;
    struct feed *f;
    char path[256];
    datasetfixture_init(&x);
    snprintf(path, sizeof path, "%s/talk.jsonl", x.dir);
    FILE *out = fopen(path, "w");
    for (int i = 0; i < LINES; i++) {
        fprintf(out, TWO_TURNS "\n");
    }
    assert_int_equal(fclose(out), 0);
    const char *files[] = {path};
    const struct datasetpack_source source = {.name = "talk", .licence = "", .files = files, .n_files = 1,
                                              .chat = true};
    const struct datasetpack_options o = {.dir = x.dir, .tokenizer_dir = TOKENIZER, .shard_tokens = 400,
                                          .chat_format = CHAT_DEEPSEEK_V3, .n_threads = 2};
    datasetfixture_must(datasetpack_run(&o, &source, 1, &d, &info), &info);
    datasetfixture_must(dataset_open(x.dir, &again, &info), &info);
    assert_true(again.sources[0].parts[0].n > 1 && again.sources[0].parts[0].entries[0].learn_sha256[0]);
    datasetfixture_must(feed_open(&again, &(struct feed_options){.part = DATASET_TRAIN, .context = CONTEXT,
                                                                 .in_order = true}, &f, &info), &info);
    struct tokenizer *t = open_tokenizer();
    struct tokenizer_ids ids = {0};
    struct strbuf learn = {0};
    datasetfixture_must(chatpack_encode(t, CHAT_DEEPSEEK_V3, TWO_TURNS, strlen(TWO_TURNS), &ids, &learn, &info), &info);
    size_t marked = 0, expected = 0;
    int32_t tokens[CONTEXT], targets[CONTEXT], positions[CONTEXT];
    while (feed_next(f, tokens, targets, positions)) {
        for (int i = 0; i < CONTEXT; i++) {
            marked += targets[i] >= 0;
        }
    }
    for (size_t i = 1; i < learn.len; i++) {
        expected += learn.data[i] == 1;
    }
    assert_int_equal(marked, expected * LINES);
    feed_close(f);
    snprintf(path, sizeof path, "%s/%s.learn", x.dir, again.sources[0].parts[0].entries[0].name);
    out = fopen(path, "r+");
    assert_true(out && fputc(7, out) == 7 && fclose(out) == 0);
    assert_int_equal(feed_open(&again, &(struct feed_options){.part = DATASET_TRAIN, .context = CONTEXT}, &f, &info),
                     ERR_CORRUPT);
    tokenizer_ids_deinit(&ids);
    strbuf_deinit(&learn);
    tokenizer_free(t);
    dataset_deinit(&d);
    dataset_deinit(&again);
    datasetfixture_deinit(&x);
}

static void test_failing_allocations_leave_nothing_behind(void **state)
{
    (void)state;
    struct tokenizer *t = open_tokenizer();
    size_t alive = mem_alive();
    for (size_t k = 1;; k++) {
        struct tokenizer_ids ids = {0};
        struct strbuf learn = {0};
        struct errinfo info = {0};
        mem_fault(k, 0);
        err e = chatpack_encode(t, CHAT_DEEPSEEK_V31, TWO_TURNS, strlen(TWO_TURNS), &ids, &learn, &info);
        mem_fault(0, 0);
        tokenizer_ids_deinit(&ids);
        strbuf_deinit(&learn);
        assert_int_equal(mem_alive(), alive);
        if (e == ERR_OK) {
            break;
        }
    }
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_predicted_and_all_is_read),
        cmocka_unit_test(test_what_is_no_conversation_is_named),
        cmocka_unit_test(test_marks_come_through_shards_and_rows),
        cmocka_unit_test(test_failing_allocations_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
