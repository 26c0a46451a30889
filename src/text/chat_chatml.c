/* text/chat_chatml.c: <|im_start|>role\n … <|im_end|>\n, with tools the way Hermes has them and Qwen2.5's
 * template: described in the first system message, called as JSON in <tool_call>, answered in a user's
 * turn. The wording is Qwen2.5's; the models with a ChatML of their own (SmolLM2, Qwen2) never saw it. */
#include <string.h>

#include "text/chat_marks.h"
#include "text/chat_writer.h"
#include "text/pythonjson.h"

static err chat_chatml_open(struct chat_writer *w, const char *role)
{
    TRY(chat_writer_special(w, "<|im_start|>"));
    return chat_writer_puts(w, role);
}

static err chat_chatml_close(struct chat_writer *w)
{
    TRY(chat_writer_special(w, "<|im_end|>"));
    return chat_writer_puts(w, "\n");
}

static err chat_chatml_turn(struct chat_writer *w, const char *role, const char *content)
{
    TRY(chat_chatml_open(w, role));
    TRY(chat_writer_puts(w, "\n"));
    TRY(chat_writer_puts(w, content));
    return chat_chatml_close(w);
}

static size_t chat_chatml_count_tools(const struct chat_message *messages, size_t n)
{
    size_t tools = 0;
    for (size_t i = 0; i < n; i++) {
        tools += messages[i].role == CHAT_SYSTEM ? messages[i].n_tools : 0;
    }
    return tools;
}

static err chat_chatml_tools(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    TRY(chat_writer_own(
        w, "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
           "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; messages[i].role == CHAT_SYSTEM && k < messages[i].n_tools; k++) {
            TRY(chat_writer_puts(w, "\n{\"type\": \"function\", \"function\": "));
            TRY(chat_writer_tool(w, &messages[i].tools[k]));
            TRY(chat_writer_puts(w, "}"));
        }
    }
    return chat_writer_own(
        w, "\n</tools>\n\nFor each function call, return a json object with function name and "
           "arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
           "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>");
}

/* The system turn that stands first, with the tools; not there where there is nothing to say. */
static err chat_chatml_begin(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    const char *given = messages[0].role == CHAT_SYSTEM ? messages[0].content : NULL;
    const char *text = given ? given : w->system;
    bool tools = chat_chatml_count_tools(messages, n) > 0;
    if (!text && !tools) {
        return ERR_OK;
    }
    TRY(chat_chatml_open(w, "system\n"));
    TRY(chat_writer_puts(w, text));
    if (tools) {
        TRY(chat_writer_puts(w, text ? "\n\n" : ""));
        TRY(chat_chatml_tools(w, messages, n));
    }
    return chat_chatml_close(w);
}

static err chat_chatml_call(struct chat_writer *w, const struct chat_call *call)
{
    TRY(chat_writer_own(w, "\n" CHAT_TOOL_CALL "\n{\"name\": \""));
    TRY(pythonjson_escape(&w->text, call->name, strlen(call->name)) == ERR_OK ? ERR_OK
                                                                              : chat_writer_nomem(w));
    TRY(chat_writer_puts(w, "\", \"arguments\": "));
    TRY(chat_writer_json(w, call->arguments, "the arguments of", call->name));
    return chat_writer_own(w, "}\n" CHAT_TOOL_CALL_END);
}

static err chat_chatml_calls(struct chat_writer *w, const struct chat_message *m)
{
    TRY(chat_chatml_open(w, "assistant"));
    TRY(chat_writer_puts(w, m->content && m->content[0] ? "\n" : ""));
    TRY(chat_writer_puts(w, m->content));
    for (size_t k = 0; k < m->n_calls; k++) {
        TRY(chat_chatml_call(w, &m->calls[k]));
    }
    return chat_chatml_close(w);
}

static err chat_chatml_result(struct chat_writer *w, const char *content, bool first, bool last)
{
    TRY(first ? chat_chatml_open(w, "user") : ERR_OK);
    TRY(chat_writer_own(w, "\n" CHAT_TOOL_RESPONSE "\n"));
    TRY(chat_writer_puts(w, content));
    TRY(chat_writer_own(w, "\n" CHAT_TOOL_RESPONSE_END));
    return last ? chat_chatml_close(w) : ERR_OK;
}

err chat_chatml_encode(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    TRY(chat_chatml_begin(w, messages, n));
    for (size_t i = messages[0].role == CHAT_SYSTEM; i < n; i++) {
        const struct chat_message *m = &messages[i];
        if (m->role == CHAT_TOOL) {
            bool first = i == 0 || messages[i - 1].role != CHAT_TOOL;
            TRY(chat_chatml_result(w, m->content, first,
                                   i + 1 == n || messages[i + 1].role != CHAT_TOOL));
        } else if (m->role == CHAT_ASSISTANT && m->n_calls > 0) {
            TRY(chat_chatml_calls(w, m));
        } else {
            TRY(chat_chatml_turn(w,
                                 m->role == CHAT_SYSTEM ? "system"
                                 : m->role == CHAT_USER ? "user"
                                                        : "assistant",
                                 m->content));
        }
    }
    return chat_chatml_open(w, "assistant\n");
}
