/* cli/cmd_tokenize.c: `fathom tokenize`: text to ids and ids to text. Only the vocabulary is read, never
 * the weights. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/modelref.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "formats/gguf.h"
#include "model/vocab.h"

enum { CMD_TOKENIZE_STDIN_MAX = 1 << 30 };

struct cmd_tokenize {
    const char *model, *text, *ids;
    bool json, specials, bos;
};

/* Every byte of stdin. */
static err cmd_tokenize_stdin(struct strbuf *text, struct errinfo *info)
{
    char buffer[65536];
    ssize_t n;
    if (isatty(STDIN_FILENO)) {
        return err_set(info, ERR_ARGUMENT, "no text: give --text T or --ids 1,2,3, or pipe it in");
    }
    while ((n = read(STDIN_FILENO, buffer, sizeof buffer)) != 0) {
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_set(info, ERR_IO, "cannot read stdin: %s", strerror(errno));
        }
        if (strbuf_append(text, buffer, (size_t)n) != ERR_OK) {
            return err_set(info, ERR_NOMEM, "out of memory reading stdin");
        }
        if (text->len > CMD_TOKENIZE_STDIN_MAX) {
            return err_set(info, ERR_LIMIT, "the text on stdin is over %d MiB",
                           CMD_TOKENIZE_STDIN_MAX >> 20);
        }
    }
    return ERR_OK;
}

static err cmd_tokenize_is_folder(const char *path, bool *out, struct errinfo *info)
{
    char *file = file_join(path, "tokenizer.json");
    if (!file) {
        return err_set(info, ERR_NOMEM, "out of memory looking into %s", path);
    }
    *out = file_exists(file);
    mem_free(file);
    return ERR_OK;
}

static err cmd_tokenize_gguf(const char *path, struct tokenizer **out, struct errinfo *info)
{
    struct gguf *g;
    struct chat_guess ignored;
    TRY(gguf_open(path, &g, info));
    err e = vocab_from_gguf(g, out, &ignored, info);
    gguf_close(g);
    return e;
}

/* MODEL may also be a folder that holds a tokenizer.json and no model. */
static err cmd_tokenize_open(const struct cmd_tokenize *c, struct tokenizer **out,
                             struct errinfo *info)
{
    const char *model = c->model;
    struct tokenizer *t = NULL;
    char *path;
    bool folder = false;
    if (model) {
        TRY(cmd_tokenize_is_folder(model, &folder, info));
    }
    if (folder) {
        return tokenizer_open(model, out, info);
    }
    TRY(c->ids ? ERR_OK : modelref_no_text(model, "--text", c->text, info));
    TRY(modelref_resolve(model, &path, info));
    err e = file_is_dir(path) ? tokenizer_open(path, &t, info) : cmd_tokenize_gguf(path, &t, info);
    if (e == ERR_OK && !t) {
        e = err_set(info, ERR_NOTFOUND, "%s holds no tokenizer", path);
    }
    mem_free(path);
    if (e == ERR_OK) {
        *out = t;
    }
    return e;
}

/* Well-formed text of one id, or of what is unfinished when `id` is below 0, added to `out`. */
static err cmd_tokenize_stream(const struct tokenizer *t, struct tokenizer_stream *s, int32_t id,
                               struct strbuf *out)
{
    size_t cap = 3 * (tokenizer_bytes(t, id).len + 3), n = 0;
    char *buffer = mem_alloc(cap);
    if (!buffer) {
        return ERR_NOMEM;
    }
    err e = id < 0 ? tokenizer_stream_finish(s, buffer, cap, &n)
                   : tokenizer_stream_push(t, s, id, true, buffer, cap, &n);
    e = e == ERR_OK ? strbuf_append(out, buffer, n) : e;
    mem_free(buffer);
    return e;
}

/* The text of one token by itself, for --json: a broken character shows as U+FFFD. */
static json_t *cmd_tokenize_piece(const struct tokenizer *t, int32_t id)
{
    struct tokenizer_stream s = {0};
    struct strbuf text = {0};
    json_t *piece = NULL;
    if (cmd_tokenize_stream(t, &s, id, &text) == ERR_OK &&
        cmd_tokenize_stream(t, &s, -1, &text) == ERR_OK) {
        piece = json_stringn(text.data, text.len);
    }
    strbuf_deinit(&text);
    return piece;
}

/* Prints and releases the document; NULL means that memory ran out while it was built. */
static err cmd_tokenize_print(json_t *document, struct errinfo *info)
{
    char *text = json_text_dup(document, JSON_COMPACT);
    json_decref(document);
    if (!text) {
        return err_set(info, ERR_NOMEM, "out of memory writing JSON");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

/* How many bytes of the text are ones that the vocabulary has no token for: they give no id. */
static err cmd_tokenize_lost(const struct tokenizer *t, const char *text, size_t len, size_t *out,
                             struct errinfo *info)
{
    size_t times[256] = {0}, lost = 0;
    for (size_t i = 0; i < len; i++) {
        times[(unsigned char)text[i]]++;
    }
    for (int byte = 0; byte < 256; byte++) {
        const char one = (char)byte;
        struct tokenizer_ids ids = {0};
        err e = times[byte] > 0 ? tokenizer_encode(t, &one, 1, false, &ids, info) : ERR_OK;
        lost += ids.len == 0 ? times[byte] : 0;
        tokenizer_ids_deinit(&ids);
        TRY(e);
    }
    *out = lost;
    return ERR_OK;
}

static err cmd_tokenize_ids_json(const struct tokenizer *t, const struct tokenizer_ids *ids,
                                 size_t lost, struct errinfo *info)
{
    json_t *list = json_array(), *pieces = json_array();
    bool good = list && pieces;
    for (size_t i = 0; good && i < ids->len; i++) {
        good = json_array_append_new(list, json_integer(ids->data[i])) == 0 &&
               json_array_append_new(pieces, cmd_tokenize_piece(t, ids->data[i])) == 0;
    }
    if (!good) {
        json_decref(list);
        json_decref(pieces);
        return cmd_tokenize_print(NULL, info);
    }
    return cmd_tokenize_print(json_pack("{s:I, s:o, s:o, s:I}", "count", (json_int_t)ids->len, "ids",
                                        list, "pieces", pieces, "lost_bytes", (json_int_t)lost), info);
}

/* "1,2,3": the form that --ids takes. */
static void cmd_tokenize_ids_print(const struct tokenizer_ids *ids)
{
    for (size_t i = 0; i < ids->len; i++) {
        printf(i ? ",%d" : "%d", ids->data[i]);
    }
    putchar('\n');
}

static err cmd_tokenize_encode(const struct cmd_tokenize *c, const struct tokenizer *t,
                               struct errinfo *info)
{
    struct strbuf typed = {0};
    struct tokenizer_ids ids = {0};
    err e = c->text ? ERR_OK : cmd_tokenize_stdin(&typed, info);
    if (e == ERR_OK && c->bos && tokenizer_bos(t) >= 0 &&
        tokenizer_ids_push(&ids, tokenizer_bos(t)) != ERR_OK) {
        e = err_set(info, ERR_NOMEM, "out of memory encoding text");
    }
    const char *text = c->text ? c->text : typed.data;
    size_t len = c->text ? strlen(c->text) : typed.len, lost = 0;
    if (e == ERR_OK) {
        e = tokenizer_encode(t, text, len, c->specials, &ids, info);
    }
    if (e == ERR_OK) {
        e = cmd_tokenize_lost(t, text, len, &lost, info);
    }
    if (e == ERR_OK && c->json) {
        e = cmd_tokenize_ids_json(t, &ids, lost, info);
    } else if (e == ERR_OK) {
        cmd_tokenize_ids_print(&ids);
    }
    if (e == ERR_OK && lost > 0) {
        fprintf(stderr, "fathom tokenize: %zu byte%s left out: the vocabulary has no token for %s\n", lost,
                lost == 1 ? "" : "s", lost == 1 ? "it" : "them");
    }
    tokenizer_ids_deinit(&ids);
    strbuf_deinit(&typed);
    return e;
}

static err cmd_tokenize_text_json(const struct tokenizer *t, const int32_t *ids, size_t n,
                                  struct errinfo *info)
{
    struct tokenizer_stream s = {0};
    struct strbuf text = {0};
    err e = ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = cmd_tokenize_stream(t, &s, ids[i], &text);
    }
    e = e == ERR_OK ? cmd_tokenize_stream(t, &s, -1, &text) : e;
    json_t *document = e == ERR_OK ? json_pack("{s:I, s:s%}", "count", (json_int_t)n, "text",
                                               text.data ? text.data : "", text.len)
                                   : NULL;
    strbuf_deinit(&text);
    return cmd_tokenize_print(document, info);
}

static err cmd_tokenize_decode(const struct cmd_tokenize *c, const struct tokenizer *t,
                               struct errinfo *info)
{
    int32_t *ids;
    size_t n;
    TRY(options_ids("ids", c->ids, &ids, &n, info));
    err e = ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_size(t)) {
            e = err_set(info, ERR_ARGUMENT, "id %d is not in the vocabulary, whose ids are 0 to %zu",
                        (int)ids[i], tokenizer_size(t) - 1);
        }
    }
    if (e == ERR_OK && c->json) {
        e = cmd_tokenize_text_json(t, ids, n, info);
    } else if (e == ERR_OK) {
        for (size_t i = 0; i < n; i++) { /* the very bytes: what was encoded comes back */
            struct tokenizer_piece p = tokenizer_bytes(t, ids[i]);
            fwrite(p.data, 1, p.len, stdout);
        }
        if (isatty(STDOUT_FILENO)) {
            putchar('\n');
        }
    }
    mem_free(ids);
    return e;
}

static err cmd_tokenize_work(const struct cmd_tokenize *c, struct errinfo *info)
{
    struct tokenizer *t = NULL;
    if (c->ids && c->text) {
        return err_set(info, ERR_ARGUMENT, "--text and --ids go different ways; give one of them");
    }
    TRY(cmd_tokenize_open(c, &t, info));
    err e = c->ids ? cmd_tokenize_decode(c, t, info) : cmd_tokenize_encode(c, t, info);
    tokenizer_free(t);
    return e;
}

int cmd_tokenize(int argc, char **argv)
{
    struct cmd_tokenize c = {0};
    const struct options_row rows[] = {
        options_operand("MODEL", &c.model, "a .gguf file, a folder, a name; else the default"),
        options_string("text", "T", &c.text, "the text; without it stdin, every byte of it"),
        options_string("ids", "1,2,3", &c.ids, "the other way: print the text of these ids"),
        options_flag("specials", &c.specials, "spelled-out special tokens become those tokens"),
        options_flag("bos", &c.bos, "begin with the token that begins a text, if there is one"),
        options_flag("json", &c.json, "one JSON document on stdout"),
    };
    const struct options spec = {"tokenize", "text to token ids, and back", rows,
                                 sizeof rows / sizeof *rows,
                                 "  fathom tokenize --text \"Hello, world!\"\n"
                                 "  fathom tokenize --json < file.txt\n"
                                 "  fathom tokenize --ids 19556,28\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    err e = cmd_tokenize_work(&c, &info);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
