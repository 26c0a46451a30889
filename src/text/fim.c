/* text/fim.c: see fim.h. */
#include "text/fim.h"

#include <string.h>

#include "text/chat_marks.h"

static const struct fim_row {
    const char *begin, *hole, *end; /* before the prefix, the suffix, the middle */
    bool bos;                       /* in any case */
    const char *stops[FIM_STOP_MAX - 1];
} fim_rows[] = {
    {CHAT_FIM_BEGIN, CHAT_FIM_HOLE, CHAT_FIM_END, true, {CHAT_EOS}},
    {"<|fim_prefix|>",
     "<|fim_suffix|>",
     "<|fim_middle|>",
     false,
     {"<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|im_end|>"}},
};

static const struct fim_row *fim_row_of(const struct tokenizer *t)
{
    for (size_t i = 0; i < sizeof fim_rows / sizeof fim_rows[0]; i++) {
        const struct fim_row *r = &fim_rows[i];
        if (tokenizer_special(t, r->begin) >= 0 && tokenizer_special(t, r->hole) >= 0 &&
            tokenizer_special(t, r->end) >= 0) {
            return r;
        }
    }
    return NULL;
}

bool fim_known(const struct tokenizer *t)
{
    return fim_row_of(t) != NULL;
}

static err fim_part(const struct tokenizer *t, int32_t mark, const char *text, struct tokenizer_ids *out,
                    struct errinfo *info)
{
    if (mark >= 0 && tokenizer_ids_push(out, mark) != ERR_OK) {
        return err_set(info, ERR_NOMEM, "out of memory encoding the text around a gap");
    }
    return text ? tokenizer_encode(t, text, strlen(text), false, out, info) : ERR_OK;
}

err fim_encode(const struct tokenizer *t, const char *prefix, const char *suffix, struct tokenizer_ids *out,
               struct errinfo *info)
{
    const struct fim_row *r = fim_row_of(t);
    if (!r) {
        return err_set(info, ERR_UNSUPPORTED,
                       "this model cannot fill in the middle: its vocabulary has neither " CHAT_FIM_BEGIN
                       " nor <|fim_prefix|>; ask it without a suffix");
    }
    size_t before = out->len;
    err e = fim_part(t, r->bos || tokenizer_add_bos(t) ? tokenizer_bos(t) : -1, NULL, out, info);
    e = e == ERR_OK ? fim_part(t, tokenizer_special(t, r->begin), prefix, out, info) : e;
    e = e == ERR_OK ? fim_part(t, tokenizer_special(t, r->hole), suffix, out, info) : e;
    e = e == ERR_OK ? fim_part(t, tokenizer_special(t, r->end), NULL, out, info) : e;
    if (e != ERR_OK) {
        out->len = before;
    }
    return e;
}

size_t fim_stop_ids(const struct tokenizer *t, int32_t ids[FIM_STOP_MAX])
{
    const struct fim_row *r = fim_row_of(t);
    size_t n = 0;
    if (tokenizer_eos(t) >= 0) {
        ids[n++] = tokenizer_eos(t);
    }
    for (size_t i = 0; r && i < FIM_STOP_MAX - 1 && r->stops[i]; i++) {
        int32_t id = tokenizer_special(t, r->stops[i]);
        if (id >= 0 && id != tokenizer_eos(t)) {
            ids[n++] = id;
        }
    }
    return n;
}
