/* text/chat_dsml.c: the formats of V3.2 and V4, whose calls are written in DSML: markup in which strings
 * stand as they are and everything else as JSON. V4 follows its encoding code rule for rule; V3.2 is at
 * second hand.
 *
 * In V4 results are no turns: they join the user's turn around them. In both, reasoning is repeated after
 * the last user's turn alone, but in V4 always as soon as any message has tools. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/chat_dsmlwords.h"
#include "text/chat_writer.h"
#include "text/pythonjson.h"

/* Messages that V4 shows as one turn; in V3.2 each is its own. */
struct chat_dsml_turn {
    const struct chat_message *first;
    size_t n;
    enum chat_role role; /* of the turn: results are the user's */
};

/* An id among a message's calls, and the call's place. */
struct chat_dsml_id {
    const char *id;
    size_t place;
};

struct chat_dsml {
    struct chat_writer *w;
    bool v4;
    struct chat_dsml_turn *turns;
    size_t n;
    size_t asked; /* the last turn of a user or developer; n: none */
    bool all_reasoning;
    struct chat_dsml_id *ids; /* [n_ids] of the last message with calls, in the order of ids; V4 alone */
    size_t n_ids;
};

static bool chat_dsml_asks(enum chat_role role)
{
    return role == CHAT_USER || role == CHAT_DEVELOPER;
}

/* ---- calls and sections ---- */

static err chat_dsml_parameter(struct chat_writer *w, const struct pythonjson_member *m)
{
    bool string = m->value[0] == '"';
    struct strbuf key = {0}, value = {0};
    err e = pythonjson_unescape(&key, m->key, m->key_len);
    if (e == ERR_OK) {
        e = string ? pythonjson_unescape(&value, m->value, m->value_len)
                   : strbuf_append(&value, m->value, m->value_len);
    }
    e = e == ERR_OK ? chat_writer_own(w, "\n" CHAT_DSML_PARAMETER) : chat_writer_nomem(w);
    e = e == ERR_OK ? chat_writer_text(w, key.data, key.len) : e;
    e = e == ERR_OK ? chat_writer_puts(w, string ? "\" string=\"true\">" : "\" string=\"false\">") : e;
    e = e == ERR_OK ? chat_writer_text(w, value.data, value.len) : e;
    e = e == ERR_OK ? chat_writer_own(w, CHAT_DSML_PARAMETER_END) : e;
    strbuf_deinit(&key);
    strbuf_deinit(&value);
    return e;
}

/* A call without arguments has an empty line in their place, as the encoding code leaves it. */
static err chat_dsml_call(struct chat_writer *w, const struct chat_call *call)
{
    TRY(chat_writer_own(w, "\n" CHAT_DSML_INVOKE));
    TRY(chat_writer_puts(w, call->name));
    TRY(chat_writer_puts(w, "\">"));
    struct strbuf arguments = {0};
    err e = pythonjson_append(&arguments, call->arguments, strlen(call->arguments), call->name, w->info);
    const char *pos = arguments.data;
    struct pythonjson_member m;
    bool none = true;
    while (e == ERR_OK && pythonjson_next(&pos, &m)) {
        e = chat_dsml_parameter(w, &m);
        none = false;
    }
    strbuf_deinit(&arguments);
    TRY(e);
    return chat_writer_own(w, none ? "\n\n" CHAT_DSML_INVOKE_END : "\n" CHAT_DSML_INVOKE_END);
}

static err chat_dsml_calls(struct chat_dsml *d, const struct chat_message *m)
{
    if (m->n_calls == 0) {
        return ERR_OK;
    }
    TRY(chat_writer_own(d->w,
                        d->v4 ? "\n\n<" CHAT_DSML "tool_calls>" : "\n\n<" CHAT_DSML "function_calls>"));
    for (size_t k = 0; k < m->n_calls; k++) {
        TRY(chat_dsml_call(d->w, &m->calls[k]));
    }
    return chat_writer_own(d->w,
                           d->v4 ? "\n</" CHAT_DSML "tool_calls>" : "\n</" CHAT_DSML "function_calls>");
}

/* What a system or developer message says of tools and of the answer's shape. */
static err chat_dsml_sections(struct chat_dsml *d, const struct chat_message *m)
{
    if (m->n_tools > 0) {
        TRY(chat_writer_own(d->w, d->v4 ? "\n\n" CHAT_DSMLWORDS_V4 : "\n\n" CHAT_DSMLWORDS_V32));
        for (size_t k = 0; k < m->n_tools; k++) {
            TRY(chat_writer_puts(d->w, k > 0 ? "\n" : ""));
            TRY(chat_writer_tool(d->w, &m->tools[k]));
        }
        TRY(chat_writer_puts(d->w, d->v4 ? CHAT_DSMLWORDS_V4_END : CHAT_DSMLWORDS_V32_END));
    }
    if (m->response_schema) {
        TRY(chat_writer_puts(d->w, CHAT_DSMLWORDS_RESPONSE));
        return chat_writer_json(d->w, m->response_schema, "the response", "schema");
    }
    return ERR_OK;
}

/* ---- turns ---- */

static enum chat_role chat_dsml_role(const struct chat_dsml *d, const struct chat_message *m)
{
    return d->v4 && m->role == CHAT_TOOL ? CHAT_USER : m->role;
}

static const char *chat_dsml_task_of(const struct chat_dsml_turn *turn)
{
    return turn->first->role == CHAT_USER ? turn->first->task : NULL;
}

/* Whether a message goes on with the turn before it: results always join a user's, a question only one
 * that is no task. */
static bool chat_dsml_joins(const struct chat_dsml *d, const struct chat_message *m)
{
    const struct chat_dsml_turn *last = d->n > 0 ? &d->turns[d->n - 1] : NULL;
    return d->v4 && last && last->role == CHAT_USER && chat_dsml_role(d, m) == CHAT_USER &&
           (m->role == CHAT_TOOL || !chat_dsml_task_of(last));
}

static void chat_dsml_find_asked(struct chat_dsml *d)
{
    d->asked = d->n;
    for (size_t i = 0; i < d->n; i++) {
        d->asked = chat_dsml_asks(d->turns[i].role) ? i : d->asked;
    }
}

/* While earlier reasoning is left out, so are the developer's turns before the last question. */
static void chat_dsml_drop_developers(struct chat_dsml *d)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->n; i++) {
        bool dropped = d->turns[i].role == CHAT_DEVELOPER && i < d->asked;
        d->turns[kept] = d->turns[i];
        kept += !dropped;
    }
    d->n = kept;
    chat_dsml_find_asked(d);
}

static err chat_dsml_begin(struct chat_dsml *d, const struct chat_message *messages, size_t n)
{
    d->turns = mem_calloc(n, sizeof *d->turns);
    if (!d->turns) {
        return chat_writer_nomem(d->w);
    }
    for (size_t i = 0; i < n; i++) {
        const struct chat_message *m = &messages[i];
        d->all_reasoning = d->all_reasoning || (d->v4 && m->n_tools > 0);
        if (chat_dsml_joins(d, m)) {
            d->turns[d->n - 1].n++;
        } else {
            d->turns[d->n++] = (struct chat_dsml_turn){m, 1, chat_dsml_role(d, m)};
        }
    }
    chat_dsml_find_asked(d);
    if (d->w->think && !d->all_reasoning) {
        chat_dsml_drop_developers(d);
    }
    return ERR_OK;
}

static err chat_dsml_thinks(struct chat_dsml *d, bool on)
{
    return chat_writer_special(d->w, on ? CHAT_THINK : CHAT_THINK_END);
}

/* Whether reasoning stands in turn i, or after it. */
static bool chat_dsml_reasons(const struct chat_dsml *d, size_t i)
{
    return d->w->think && (d->all_reasoning || d->asked == d->n || i >= d->asked);
}

static int chat_dsml_compare_ids(const void *a, const void *b)
{
    const struct chat_dsml_id *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

/* Results belong to m's calls from here on; of calls with the same id, to the last one. */
static err chat_dsml_take_ids(struct chat_dsml *d, const struct chat_message *m)
{
    struct chat_dsml_id *ids = mem_calloc(m->n_calls, sizeof *ids);
    size_t n = 0;
    if (!ids) {
        return chat_writer_nomem(d->w);
    }
    for (size_t k = 0; k < m->n_calls; k++) {
        if (m->calls[k].id) {
            ids[n++] = (struct chat_dsml_id){m->calls[k].id, k};
        }
    }
    qsort(ids, n, sizeof *ids, chat_dsml_compare_ids);
    mem_free(d->ids);
    d->ids = ids;
    d->n_ids = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 == n || strcmp(ids[i].id, ids[i + 1].id) != 0) {
            ids[d->n_ids++] = ids[i];
        }
    }
    return ERR_OK;
}

static err chat_dsml_answer(struct chat_dsml *d, size_t i)
{
    const struct chat_message *m = d->turns[i].first;
    bool task = i > 0 && chat_dsml_task_of(&d->turns[i - 1]);
    if (chat_dsml_reasons(d, i) && !task) {
        TRY(chat_writer_puts(d->w, m->reasoning));
        TRY(chat_dsml_thinks(d, false));
    }
    TRY(chat_writer_puts(d->w, m->content));
    TRY(chat_dsml_calls(d, m));
    if (d->v4 && m->n_calls > 0) {
        TRY(chat_dsml_take_ids(d, m));
    }
    return chat_writer_special(d->w, CHAT_EOS);
}

/* ---- V4 ---- */

/* A result and its place among the calls; those of unknown calls come first, as in the encoding code. */
struct chat_dsml_result {
    const char *content;
    size_t place, given;
};

static int chat_dsml_compare(const void *a, const void *b)
{
    const struct chat_dsml_result *x = a, *y = b;
    return x->place != y->place ? (x->place > y->place) - (x->place < y->place)
                                : (x->given > y->given) - (x->given < y->given);
}

static int chat_dsml_seek(const void *id, const void *one)
{
    return strcmp(id, ((const struct chat_dsml_id *)one)->id);
}

static size_t chat_dsml_place(const struct chat_dsml *d, const char *id)
{
    const struct chat_dsml_id *found =
        id && d->n_ids > 0 ? bsearch(id, d->ids, d->n_ids, sizeof *d->ids, chat_dsml_seek) : NULL;
    return found ? found->place : 0;
}

static err chat_dsml_blocks(struct chat_dsml *d, const struct chat_dsml_turn *turn,
                            struct chat_dsml_result *results)
{
    size_t n = 0;
    for (size_t i = 0; i < turn->n; i++) {
        const struct chat_message *m = &turn->first[i];
        if (m->role == CHAT_TOOL) {
            results[n] = (struct chat_dsml_result){m->content, chat_dsml_place(d, m->call_id), n};
            n++;
        }
    }
    if (n > 1) {
        qsort(results, n, sizeof *results, chat_dsml_compare);
    }
    for (size_t i = 0; i < turn->n; i++) {
        bool result = turn->first[i].role == CHAT_TOOL;
        TRY(chat_writer_puts(d->w, i > 0 ? "\n\n" : ""));
        TRY(chat_writer_puts(d->w, result ? "<tool_result>" : ""));
        TRY(chat_writer_puts(d->w, result ? results++->content : turn->first[i].content));
        TRY(chat_writer_puts(d->w, result ? "</tool_result>" : ""));
    }
    return ERR_OK;
}

static err chat_dsml_user(struct chat_dsml *d, const struct chat_dsml_turn *turn)
{
    TRY(chat_writer_special(d->w, CHAT_USER_MARK));
    struct chat_dsml_result *results = mem_calloc(turn->n, sizeof *results);
    err e = results ? chat_dsml_blocks(d, turn, results) : chat_writer_nomem(d->w);
    mem_free(results);
    return e;
}

static err chat_dsml_turn_v4(struct chat_dsml *d, size_t i)
{
    const struct chat_dsml_turn *turn = &d->turns[i];
    switch (turn->role) {
    case CHAT_USER: return chat_dsml_user(d, turn);
    case CHAT_ASSISTANT: return chat_dsml_answer(d, i);
    case CHAT_REMINDER: TRY(chat_writer_special(d->w, CHAT_REMINDER_MARK)); break;
    case CHAT_DEVELOPER: TRY(chat_writer_special(d->w, CHAT_USER_MARK)); break;
    default: break;
    }
    TRY(chat_writer_puts(d->w, turn->first->content));
    return chat_dsml_sections(d, turn->first);
}

static err chat_dsml_task(struct chat_dsml *d, const char *task)
{
    char token[64];
    snprintf(token, sizeof token, "<｜%.30s｜>", task);
    if (strcmp(task, "action") == 0) {
        TRY(chat_writer_special(d->w, CHAT_ASSISTANT_MARK));
        TRY(chat_dsml_thinks(d, d->w->think != CHAT_NO_THINKING));
    }
    return chat_writer_special(d->w, token);
}

/* What stands between turn i and the answer to it. A conversation may end with a system message, which
 * agents append: it is answered too. */
static err chat_dsml_after_v4(struct chat_dsml *d, size_t i)
{
    const struct chat_dsml_turn *turn = &d->turns[i];
    bool last = i + 1 == d->n;
    if (!last && d->turns[i + 1].role != CHAT_ASSISTANT && d->turns[i + 1].role != CHAT_REMINDER) {
        return ERR_OK;
    }
    if (chat_dsml_task_of(turn)) {
        return chat_dsml_task(d, chat_dsml_task_of(turn));
    }
    if (chat_dsml_asks(turn->role) || (last && turn->role == CHAT_SYSTEM)) {
        TRY(chat_writer_special(d->w, CHAT_ASSISTANT_MARK));
        return chat_dsml_thinks(d, chat_dsml_reasons(d, i));
    }
    return ERR_OK;
}

static const char *chat_dsml_effort(const struct chat_writer *w)
{
    if (w->format == CHAT_DEEPSEEK_V4) {
        return w->think == CHAT_THINKING_MAX ? CHAT_DSMLWORDS_MAXIMUM : NULL;
    }
    return w->think == CHAT_THINKING_MAX ? CHAT_DSMLWORDS_BEYOND
           : w->think == CHAT_THINKING   ? CHAT_DSMLWORDS_MAXIMUM
                                         : NULL;
}

err chat_dsml_encode_v4(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    struct chat_dsml d = {.w = w, .v4 = true};
    err e = chat_dsml_begin(&d, messages, n);
    e = e == ERR_OK ? chat_writer_bos(w, CHAT_BOS) : e;
    e = e == ERR_OK ? chat_writer_puts(w, chat_dsml_effort(w)) : e;
    for (size_t i = 0; e == ERR_OK && i < d.n; i++) {
        e = chat_dsml_turn_v4(&d, i);
        e = e == ERR_OK ? chat_dsml_after_v4(&d, i) : e;
    }
    mem_free(d.turns);
    mem_free(d.ids);
    return e;
}

/* ---- V3.2 ---- */

static err chat_dsml_begin_answer(struct chat_dsml *d, size_t i)
{
    TRY(chat_writer_special(d->w, CHAT_ASSISTANT_MARK));
    return chat_dsml_thinks(d, chat_dsml_reasons(d, i));
}

static err chat_dsml_result_v32(struct chat_dsml *d, size_t i)
{
    bool first = i == 0 || d->turns[i - 1].role != CHAT_TOOL;
    bool last = i + 1 == d->n || d->turns[i + 1].role != CHAT_TOOL;
    TRY(chat_writer_puts(d->w, first ? "\n\n<function_results>\n<result>" : "\n<result>"));
    TRY(chat_writer_puts(d->w, d->turns[i].first->content));
    TRY(chat_writer_puts(d->w, last ? "</result>\n</function_results>\n\n" : "</result>"));
    return last ? chat_dsml_thinks(d, chat_dsml_reasons(d, i)) : ERR_OK;
}

static err chat_dsml_turn_v32(struct chat_dsml *d, size_t i)
{
    const struct chat_message *m = d->turns[i].first;
    switch (m->role) {
    case CHAT_ASSISTANT: return chat_dsml_answer(d, i);
    case CHAT_TOOL: return chat_dsml_result_v32(d, i);
    case CHAT_DEVELOPER:
        TRY(chat_writer_special(d->w, CHAT_USER_MARK));
        TRY(chat_dsml_sections(d, m));
        TRY(chat_writer_puts(d->w, "\n\n# The user's message is: "));
        TRY(chat_writer_puts(d->w, m->content));
        return chat_dsml_begin_answer(d, i);
    case CHAT_USER:
        TRY(chat_writer_special(d->w, CHAT_USER_MARK));
        TRY(chat_writer_puts(d->w, m->content));
        return chat_dsml_begin_answer(d, i);
    default:
        TRY(chat_writer_puts(d->w, m->content));
        TRY(chat_dsml_sections(d, m));
        return i + 1 == d->n ? chat_dsml_begin_answer(d, i) : ERR_OK;
    }
}

err chat_dsml_encode_v32(struct chat_writer *w, const struct chat_message *messages, size_t n)
{
    struct chat_dsml d = {.w = w};
    err e = chat_dsml_begin(&d, messages, n);
    e = e == ERR_OK ? chat_writer_bos(w, CHAT_BOS) : e;
    for (size_t i = 0; e == ERR_OK && i < d.n; i++) {
        e = chat_dsml_turn_v32(&d, i);
    }
    mem_free(d.turns);
    return e;
}
