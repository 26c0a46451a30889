/* text/chat_deepseek.c: the formats of DeepSeek V2.5, V3, R1 and V3.1, and Fathom's own, V3.1's without
 * thoughts:
 * bos system <User>q <Assistant>answer eos … <Assistant>. In V3.1 </think> opens every earlier answer,
 * and <think> or
 * </think> the next. Calls follow an answer's content; their results come without a marker of a turn, and
 * the model goes on right behind them.
 *
 * Certain: V3's calls and results (its template, which forgets to close a single call; it is always
 * closed here). At second hand: V3.1's calls; its tools section is the model card's. V3 and R1 describe
 * tools in no way of their own: theirs is V3.1's, told to call as V3 does. */
#include <string.h>

#include "text/chat_marks.h"
#include "text/chat_writer.h"

static bool chat_deepseek_fenced(const struct chat_writer *w)
{
    return w->format != CHAT_DEEPSEEK_V31;
}

static bool chat_deepseek_closes_thoughts(enum chat_format f)
{
    return f == CHAT_DEEPSEEK_V31 || f == CHAT_FATHOM;
}

/* What of an earlier answer is repeated: R1 keeps what follows the last </think>, V3.1 what follows the
 * first. */
static const char *chat_deepseek_kept(enum chat_format f, const char *content)
{
    const char *kept = content;
    if (content && (f == CHAT_DEEPSEEK_R1 || chat_deepseek_closes_thoughts(f))) {
        const char *end = strstr(content, CHAT_THINK_END);
        while (end) {
            kept = end + strlen(CHAT_THINK_END);
            end = f == CHAT_DEEPSEEK_R1 ? strstr(kept, CHAT_THINK_END) : NULL;
        }
    }
    return kept;
}

static err chat_deepseek_tool(struct chat_writer *w, const struct chat_tool *tool)
{
    TRY(chat_writer_puts(w, "### "));
    TRY(chat_writer_puts(w, tool->name));
    TRY(chat_writer_puts(w, "\nDescription: "));
    TRY(chat_writer_puts(w, tool->description));
    TRY(chat_writer_puts(w, "\n\nParameters: "));
    TRY(chat_writer_json(w, tool->parameters ? tool->parameters : "{}", "the parameters of", tool->name));
    return chat_writer_puts(w, "\n\n");
}

static err chat_deepseek_tools(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; messages[i].role == CHAT_SYSTEM && k < messages[i].n_tools; k++) {
            TRY(any ? ERR_OK
                    : chat_writer_puts(w, "\n\n## Tools\nYou have access to the following tools:\n\n"));
            TRY(chat_deepseek_tool(w, &messages[i].tools[k]));
            any = true;
        }
    }
    if (!any) {
        return ERR_OK;
    }
    bool fenced = chat_deepseek_fenced(w);
    TRY(chat_writer_own(
        w, "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n" CHAT_CALLS CHAT_CALL));
    TRY(chat_writer_own(w, fenced ? "function" CHAT_CALL_SEP
                                    "tool_call_name\n```json\ntool_call_arguments\n```"
                                  : "tool_call_name" CHAT_CALL_SEP "tool_call_arguments"));
    TRY(chat_writer_own(w, CHAT_CALL_END
                        "{additional_tool_calls}" CHAT_CALLS_END "\n\nWhere:\n"
                        "- `tool_call_name` must be an exact match to one of the available tools\n"
                        "- `tool_call_arguments` must be valid JSON that strictly follows the tool's "
                        "Parameters Schema\n"));
    return chat_writer_puts(w, fenced
                                   ? "- For multiple tool calls, put a newline between them"
                                   : "- For multiple tool calls, chain them directly without separators "
                                     "or spaces");
}

static err chat_deepseek_systems(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (messages[i].role == CHAT_SYSTEM && messages[i].content) {
            TRY(chat_writer_puts(w, first ? "" : "\n\n"));
            TRY(chat_writer_puts(w, messages[i].content));
            first = false;
        }
    }
    return chat_deepseek_tools(w, messages, n);
}

static err chat_deepseek_call(struct chat_writer *w, const struct chat_call *call, bool first)
{
    bool fenced = chat_deepseek_fenced(w);
    TRY(chat_writer_puts(w, fenced && !first ? "\n" : ""));
    TRY(chat_writer_special(w, CHAT_CALL));
    TRY(chat_writer_puts(w, fenced ? "function" : call->name));
    TRY(chat_writer_special(w, CHAT_CALL_SEP));
    if (fenced) {
        TRY(chat_writer_puts(w, call->name));
        TRY(chat_writer_puts(w, "\n```json\n"));
    }
    TRY(chat_writer_puts(w, call->arguments)); /* as they were said */
    TRY(chat_writer_puts(w, fenced ? "\n```" : ""));
    return chat_writer_special(w, CHAT_CALL_END);
}

static err chat_deepseek_answer(struct chat_writer *w, const struct chat_message *m, bool after_result)
{
    if (!after_result) {
        TRY(chat_writer_special(w, CHAT_ASSISTANT_MARK));
        TRY(chat_deepseek_closes_thoughts(w->format) ? chat_writer_special(w, CHAT_THINK_END) : ERR_OK);
    }
    TRY(chat_writer_puts(w, chat_deepseek_kept(w->format, m->content)));
    if (m->n_calls > 0) {
        TRY(chat_writer_special(w, CHAT_CALLS));
        for (size_t k = 0; k < m->n_calls; k++) {
            TRY(chat_deepseek_call(w, &m->calls[k], k == 0));
        }
        TRY(chat_writer_special(w, CHAT_CALLS_END));
    }
    return chat_writer_special(w, CHAT_EOS);
}

/* V3 puts brackets around all results of a turn, V3.1 does not. */
static err chat_deepseek_result(struct chat_writer *w, const char *content, bool first, bool last)
{
    bool fenced = chat_deepseek_fenced(w);
    if (fenced) {
        TRY(first ? chat_writer_special(w, CHAT_RESULTS) : chat_writer_puts(w, "\n"));
    }
    TRY(chat_writer_special(w, CHAT_RESULT));
    TRY(chat_writer_puts(w, content));
    TRY(chat_writer_special(w, CHAT_RESULT_END));
    return fenced && last ? chat_writer_special(w, CHAT_RESULTS_END) : ERR_OK;
}

static err chat_deepseek_begin_answer(struct chat_writer *w)
{
    TRY(chat_writer_special(w, CHAT_ASSISTANT_MARK));
    if (w->format == CHAT_DEEPSEEK_R1) {
        TRY(chat_writer_special(w, CHAT_THINK));
        return chat_writer_puts(w, "\n");
    }
    if (chat_deepseek_closes_thoughts(w->format)) {
        bool thinks = w->think && w->format == CHAT_DEEPSEEK_V31;
        return chat_writer_special(w, thinks ? CHAT_THINK : CHAT_THINK_END);
    }
    return ERR_OK;
}

err chat_deepseek_encode(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    TRY(chat_writer_bos(w, CHAT_BOS));
    TRY(chat_deepseek_systems(w, messages, n));
    bool after_result = false;
    for (size_t i = 0; i < n; i++) {
        const struct chat_message *m = &messages[i];
        bool more = i + 1 < n && messages[i + 1].role == CHAT_TOOL;
        if (m->role == CHAT_USER) {
            TRY(chat_writer_special(w, CHAT_USER_MARK));
            TRY(chat_writer_puts(w, m->content));
        } else if (m->role == CHAT_ASSISTANT) {
            TRY(chat_deepseek_answer(w, m, after_result));
        } else if (m->role == CHAT_TOOL) {
            TRY(chat_deepseek_result(w, m->content, !after_result, !more));
        }
        after_result = m->role == CHAT_TOOL || (after_result && m->role == CHAT_SYSTEM);
    }
    return after_result ? ERR_OK : chat_deepseek_begin_answer(w);
}
