/* text/chat_writer.c: see chat_writer.h. */
#include "text/chat_writer.h"

#include <stdio.h>
#include <string.h>

#include "text/chat_marks.h"
#include "text/pythonjson.h"

err chat_writer_nomem(const struct chat_writer *w)
{
    return err_set(w->info, ERR_NOMEM, "out of memory encoding the conversation");
}

err chat_writer_text(struct chat_writer *w, const char *text, size_t len)
{
    return strbuf_append(&w->text, text, len) == ERR_OK ? ERR_OK : chat_writer_nomem(w);
}

err chat_writer_puts(struct chat_writer *w, const char *text)
{
    return text ? chat_writer_text(w, text, strlen(text)) : ERR_OK;
}

err chat_writer_flush(struct chat_writer *w)
{
    TRY(tokenizer_encode(w->t, w->text.data, w->text.len, false, w->out, w->info));
    strbuf_clear(&w->text);
    return ERR_OK;
}

static err chat_writer_id(struct chat_writer *w, int32_t id)
{
    TRY(chat_writer_flush(w));
    return tokenizer_ids_push(w->out, id) == ERR_OK ? ERR_OK : chat_writer_nomem(w);
}

err chat_writer_special(struct chat_writer *w, const char *token)
{
    int32_t id = tokenizer_special(w->t, token);
    if (id < 0) {
        return err_set(w->info, ERR_ARGUMENT,
                       "the vocabulary has no token %s, which the chat format %s "
                       "needs; choose another format",
                       token, chat_format_name(w->format));
    }
    return chat_writer_id(w, id);
}

err chat_writer_bos(struct chat_writer *w, const char *token)
{
    int32_t id = tokenizer_special(w->t, token);
    id = id >= 0 ? id : tokenizer_bos(w->t);
    return id < 0 ? chat_writer_special(w, token) : chat_writer_id(w, id);
}

const char *chat_writer_mark(const char *words)
{
    static const char *const marks[] = {
        CHAT_THINK,         CHAT_THINK_END,         CHAT_DSML,  CHAT_TOOL_CALL, CHAT_TOOL_CALL_END,
        CHAT_TOOL_RESPONSE, CHAT_TOOL_RESPONSE_END, CHAT_CALLS, CHAT_CALLS_END, CHAT_CALL,
        CHAT_CALL_END,      CHAT_CALL_SEP,
    };
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (strncmp(words, marks[i], strlen(marks[i])) == 0) {
            return marks[i];
        }
    }
    return NULL;
}

err chat_writer_own(struct chat_writer *w, const char *words)
{
    const char *from = words;
    while (*words) {
        const char *mark = chat_writer_mark(words);
        int32_t id = mark ? tokenizer_special(w->t, mark) : -1;
        if (id >= 0) {
            TRY(chat_writer_text(w, from, (size_t)(words - from)));
            TRY(chat_writer_id(w, id));
            words += strlen(mark);
            from = words;
        } else {
            words++;
        }
    }
    return chat_writer_text(w, from, (size_t)(words - from));
}

err chat_writer_json(struct chat_writer *w, const char *json, const char *what, const char *name)
{
    char label[120];
    snprintf(label, sizeof label, "%s %.80s", what, name);
    err_clean(label);
    return pythonjson_append(&w->text, json, strlen(json), label, w->info);
}

/* "key": "text" */
static err chat_writer_string(struct chat_writer *w, const char *key, const char *text)
{
    if (strbuf_printf(&w->text, "\"%s\": \"", key) != ERR_OK ||
        pythonjson_escape(&w->text, text, strlen(text)) != ERR_OK) {
        return chat_writer_nomem(w);
    }
    return chat_writer_puts(w, "\"");
}

err chat_writer_tool(struct chat_writer *w, const struct chat_tool *tool)
{
    TRY(chat_writer_puts(w, "{"));
    TRY(chat_writer_string(w, "name", tool->name));
    if (tool->description) {
        TRY(chat_writer_puts(w, ", "));
        TRY(chat_writer_string(w, "description", tool->description));
    }
    if (tool->parameters) {
        TRY(chat_writer_puts(w, ", \"parameters\": "));
        TRY(chat_writer_json(w, tool->parameters, "the parameters of", tool->name));
    }
    return chat_writer_puts(w, "}");
}
