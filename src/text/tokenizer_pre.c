/* text/tokenizer_pre.c: the names of the pre-tokenizers; see tokenizer.h. */
#include <string.h>

#include "text/tokenizer.h"

static const char *const tokenizer_pre_names[TOKENIZER_PRE_COUNT] = {
    [TOKENIZER_PRE_DEEPSEEK_LLM] = "deepseek-llm", [TOKENIZER_PRE_DEEPSEEK_CODER] = "deepseek-coder",
    [TOKENIZER_PRE_DEEPSEEK_V3] = "deepseek-v3",   [TOKENIZER_PRE_QWEN2] = "qwen2",
    [TOKENIZER_PRE_LLAMA_BPE] = "llama-bpe",       [TOKENIZER_PRE_SMOLLM] = "smollm",
    [TOKENIZER_PRE_GPT2] = "gpt-2",
};

/* Other names in files for the same splits. */
static const struct {
    const char *name;
    enum tokenizer_pre pre;
} tokenizer_pre_aliases[] = {
    {"deepseek-r1-qwen", TOKENIZER_PRE_QWEN2}, {"joyai-llm", TOKENIZER_PRE_DEEPSEEK_V3},
    {"llama3", TOKENIZER_PRE_LLAMA_BPE},       {"llama-v3", TOKENIZER_PRE_LLAMA_BPE},
    {"gpt2", TOKENIZER_PRE_GPT2},
};

static bool tokenizer_pre_same(const char *a, const char *name, size_t len)
{
    return strlen(a) == len && memcmp(a, name, len) == 0;
}

bool tokenizer_pre_from_name(const char *name, size_t len, enum tokenizer_pre *out)
{
    for (unsigned i = 0; i < TOKENIZER_PRE_COUNT; i++) {
        if (tokenizer_pre_same(tokenizer_pre_names[i], name, len)) {
            *out = (enum tokenizer_pre)i;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof tokenizer_pre_aliases / sizeof tokenizer_pre_aliases[0]; i++) {
        if (tokenizer_pre_same(tokenizer_pre_aliases[i].name, name, len)) {
            *out = tokenizer_pre_aliases[i].pre;
            return true;
        }
    }
    return false;
}

const char *tokenizer_pre_name(enum tokenizer_pre pre)
{
    return (unsigned)pre < TOKENIZER_PRE_COUNT ? tokenizer_pre_names[pre] : "unknown";
}
