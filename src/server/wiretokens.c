/* server/wiretokens.c: see wiretokens.h. */
#include "server/wiretokens.h"

#include "base/mem.h"
#include "base/utf8seq.h"

/* 15 digits: 0.6 stays 0.6. */
enum { WIRETOKENS_FLAGS = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) };

/* ---- Kept ones. ---- */

err wiretokens_keep(struct wiretokens *w, const struct answering_token *list)
{
    for (; list; list = list->next) {
        struct answering_token *more = mem_grow(w->data, w->n, &w->cap, sizeof *more);
        if (!more) {
            return ERR_NOMEM;
        }
        w->data = more;
        w->data[w->n] = *list;
        w->data[w->n++].next = NULL;
    }
    return ERR_OK;
}

void wiretokens_deinit(struct wiretokens *w)
{
    mem_free(w->data);
}

/* ---- As JSON. ---- */

json_t *wiretokens_piece(const struct tokenizer *t, int32_t id)
{
    struct tokenizer_piece piece = tokenizer_bytes(t, id);
    struct strbuf text = {0};
    err e = strbuf_append(&text, "", 0);
    for (size_t i = 0; i < piece.len && e == ERR_OK;) {
        size_t n = utf8seq_length((const unsigned char *)piece.data + i, piece.len - i);
        e = n ? strbuf_append(&text, piece.data + i, n) : strbuf_puts(&text, "\xef\xbf\xbd");
        i += n ? n : 1;
    }
    json_t *value = e == ERR_OK ? json_stringn(text.data ? text.data : "", text.len) : NULL;
    strbuf_deinit(&text);
    return value;
}

double wiretokens_number(float logprob)
{
    return logprob >= -9999 ? (double)logprob : -9999.0;
}

static json_t *wiretokens_alone(const struct tokenizer *t, int32_t id, float logprob)
{
    struct tokenizer_piece piece = tokenizer_bytes(t, id);
    json_t *bytes = json_array();
    for (size_t i = 0; i < piece.len; i++) {
        if (json_array_append_new(bytes, json_integer((unsigned char)piece.data[i])) != 0) {
            json_decref(bytes);
            return NULL;
        }
    }
    return json_pack("{s:o, s:f, s:o}", "token", wiretokens_piece(t, id), "logprob",
                     wiretokens_number(logprob), "bytes", bytes);
}

json_t *wiretokens_openai(const struct tokenizer *t, const struct answering_token *token, size_t list,
                          size_t *state)
{
    (void)list;
    (void)state;
    json_t *one = wiretokens_alone(t, token->id, token->logprob), *top = json_array();
    for (int i = 0; i < token->n_top; i++) {
        if (json_array_append_new(top, wiretokens_alone(t, token->top_ids[i], token->top_logprobs[i])) != 0) {
            json_decref(top);
            top = NULL;
        }
    }
    if (json_object_set_new(one, "top_logprobs", top) != 0) {
        json_decref(one);
        one = NULL;
    }
    return one;
}

json_t *wiretokens_list(const struct tokenizer *t, const struct answering_token *list, wiretokens_one one,
                        size_t which, size_t *state)
{
    json_t *all = json_array();
    for (; list; list = list->next) {
        if (json_array_append_new(all, one(t, list, which, state)) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

/* ---- Places. ---- */

json_t *wiretokens_stand_in(struct wiretokens_places *p, const struct wiretokens *w, size_t from,
                            wiretokens_one one, size_t which)
{
    struct wiretokens_place *more = mem_resize(p->data, p->n + 1, sizeof *more);
    json_t *stand_in = json_array();
    p->data = more ? more : p->data;
    if (!more || !stand_in) {
        json_decref(stand_in);
        return NULL;
    }
    p->data[p->n++] = (struct wiretokens_place){stand_in, w, from, w->n, one, which};
    return json_incref(stand_in);
}

void wiretokens_places_deinit(struct wiretokens_places *p)
{
    for (size_t i = 0; i < p->n; i++) {
        json_decref(p->data[i].stand_in);
    }
    mem_free(p->data);
}

/* Takes the value. */
static err wiretokens_put(json_t *take_value, struct strbuf *out)
{
    char *text = json_text_dup(take_value, WIRETOKENS_FLAGS);
    json_decref(take_value);
    err e = text ? strbuf_puts(out, text) : ERR_NOMEM;
    mem_free(text);
    return e;
}

static err wiretokens_fill(const struct wiretokens_place *place, const struct tokenizer *t, struct strbuf *out)
{
    size_t state = 0;
    TRY(strbuf_puts(out, "["));
    for (size_t i = place->from; i < place->to; i++) {
        TRY(i > place->from ? strbuf_puts(out, ",") : ERR_OK);
        TRY(wiretokens_put(place->one(t, &place->tokens->data[i], place->which, &state), out));
    }
    return strbuf_puts(out, "]");
}

static err wiretokens_write_array(const struct wiretokens_places *p, const struct tokenizer *t,
                                  const json_t *array, struct strbuf *out)
{
    size_t i;
    json_t *value;
    for (size_t k = 0; k < p->n; k++) {
        if (p->data[k].stand_in == array) {
            return wiretokens_fill(&p->data[k], t, out);
        }
    }
    TRY(strbuf_puts(out, "["));
    json_array_foreach((json_t *)array, i, value)
    {
        TRY(i > 0 ? strbuf_puts(out, ",") : ERR_OK);
        TRY(wiretokens_write(p, t, value, out));
    }
    return strbuf_puts(out, "]");
}

static err wiretokens_write_object(const struct wiretokens_places *p, const struct tokenizer *t,
                                   const json_t *object, struct strbuf *out)
{
    const char *key, *before = "{";
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        TRY(strbuf_puts(out, before));
        TRY(wiretokens_put(json_string(key), out));
        TRY(strbuf_puts(out, ":"));
        TRY(wiretokens_write(p, t, value, out));
        before = ",";
    }
    return strbuf_puts(out, *before == '{' ? "{}" : "}");
}

err wiretokens_write(const struct wiretokens_places *p, const struct tokenizer *t, const json_t *document,
                     struct strbuf *out)
{
    return !document                                ? ERR_NOMEM
           : p->n > 0 && json_is_object(document) ? wiretokens_write_object(p, t, document, out)
           : p->n > 0 && json_is_array(document)  ? wiretokens_write_array(p, t, document, out)
                                                    : wiretokens_put(json_incref((json_t *)document), out);
}
