/* cli/verbs.c: see verbs.h. */
#include "cli/verbs.h"

#include <string.h>

#include "cli/suggest.h"
#include "fathom.h"

/* In the order a newcomer meets them. */
static const struct verbs_row verbs_table[] = {
    {"chat", "talk with a model in the terminal", cmd_chat},
    {"run", "answer one prompt, for people and for scripts", cmd_run},
    {"serve", "answer programs and people over HTTP: OpenAI, Anthropic and DeepSeek APIs", cmd_serve},
    {"keys", "API keys of the server: list, create, change, revoke", cmd_keys},
    {"usage", "what the server was asked, and what it cost", cmd_usage},
    {"list", "the models here, or with --catalogue those that can be had", cmd_list},
    {"pull", "get a model: continues, checks hashes, registers it", cmd_pull},
    {"inspect", "what a model file is: class, config, tensors, sizes, hashes", cmd_inspect},
    {"eval", "how well a model predicts a text, answers tasks; its logits", cmd_eval},
    {"tokenize", "text to token ids, and back", cmd_tokenize},
    {"tokenizer", "learn a vocabulary from text", cmd_tokenizer},
    {"data", "text to shards of tokens for learning", cmd_data},
    {"train", "a model learns from text, as a recipe says", cmd_train},
    {"bench", "speed of a model or a published shape, and the share of this machine's roof",
     cmd_bench},
    {"doctor", "what this machine can do", cmd_doctor},
    {"convert", "model files between safetensors folders and GGUF", cmd_convert},
    {"quantize", "a GGUF file with smaller weights", cmd_quantize},
    {"help", "this text, or the manual of one verb", cmd_help},
};

enum { VERBS_COUNT = sizeof verbs_table / sizeof *verbs_table };

size_t verbs_count(void)
{
    return VERBS_COUNT;
}

const struct verbs_row *verbs_at(size_t i)
{
    return &verbs_table[i];
}

const struct verbs_row *verbs_find(const char *name)
{
    for (size_t i = 0; i < VERBS_COUNT; i++) {
        if (strcmp(verbs_table[i].name, name) == 0) {
            return &verbs_table[i];
        }
    }
    return NULL;
}

void verbs_help(FILE *to)
{
    fputs("fathom " FATHOM_VERSION ": run DeepSeek-family models on your own machine\n\n"
          "usage: fathom VERB [MODEL] [options]\n\n",
          to);
    for (size_t i = 0; i < VERBS_COUNT; i++) {
        fprintf(to, "  %-10s  %s\n", verbs_table[i].name, verbs_table[i].summary);
    }
    fputs("\n"
          "MODEL is a .gguf file, a Hugging Face folder or a name from `fathom list`; without one the\n"
          "default model is used. Every verb has its own manual: fathom VERB --help\n"
          "\n"
          "first steps:\n"
          "  fathom chat                     talk with the default model\n"
          "  fathom list --catalogue         models that can be downloaded\n"
          "  fathom pull NAME                get one of them; fathom chat NAME talks with it\n"
          "  fathom run --prompt \"Hello\"     one answer, for scripts\n"
          "\n"
          "exit codes: 0 done, 1 the work failed, 2 wrong usage, 130 stopped by Ctrl-C\n",
          to);
}

static int verbs_unknown(const char *name)
{
    const char *names[VERBS_COUNT];
    for (size_t i = 0; i < VERBS_COUNT; i++) {
        names[i] = verbs_table[i].name;
    }
    const char *near = suggest_nearest(name, names, VERBS_COUNT);
    if (strcmp(name, "remove") == 0 || strcmp(name, "rm") == 0 || strcmp(name, "delete") == 0) {
        fprintf(stderr,
                "fathom: there is no verb \"%s\"; a model is deleted with its folder: see `fathom list`\n",
                name);
    } else if (near) {
        fprintf(stderr, "fathom: there is no verb \"%s\"; did you mean \"%s\"?\n", name, near);
    } else {
        fprintf(stderr, "fathom: there is no verb \"%s\"\n", name);
    }
    fputs("see: fathom --help\n", stderr);
    return 2;
}

int verbs_main(int argc, char **argv)
{
    if (argc < 2) {
        verbs_help(stderr);
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        verbs_help(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        puts("fathom " FATHOM_VERSION);
        return 0;
    }
    const struct verbs_row *verb = verbs_find(name);
    return verb ? verb->run(argc - 1, argv + 1) : verbs_unknown(name);
}
