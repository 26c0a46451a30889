/* cli/cmd_inspect.c: `fathom inspect`: what a model file is: class, config, tensors, types, sizes,
 * tokenizer, hashes. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/bytesize.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/inspection.h"
#include "cli/modelref.h"
#include "cli/options.h"
#include "cli/verbs.h"

enum { CMD_INSPECT_WIDTH = 72 };

struct cmd_inspect {
    const char *model;
    bool json, tensors, hash;
};

static err cmd_inspect_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory printing the model");
}

/* "671 billion", "1.54 billion": three figures. */
static const char *cmd_inspect_count(size_t n, char out[32])
{
    static const char *const units[5] = {"", " thousand", " million", " billion", " trillion"};
    double v = (double)n;
    int unit = 0;
    while (v >= 999.5 && unit < 4) {
        v /= 1000;
        unit++;
    }
    snprintf(out, 32, unit == 0 ? "%.0f%s" : "%.3g%s", v, units[unit]);
    return out;
}

/* A config value on one line of bounded length. Strings come out in JSON's quotes, so nothing in
 * them can reach the terminal as a control character. */
static err cmd_inspect_value(const char *key, const json_t *value, struct errinfo *info)
{
    char *text = NULL;
    err e = json_text(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9), &text);
    if (e == ERR_NOMEM) {
        return cmd_inspect_nomem(info);
    }
    if (json_is_object(value) && json_object_get(value, "array") && json_object_size(value) == 2) {
        printf("  %-44s %" JSON_INTEGER_FORMAT " x %s\n", key,
               json_integer_value(json_object_get(value, "count")),
               json_string_value(json_object_get(value, "array")));
    } else {
        bool cut = text && strlen(text) > CMD_INSPECT_WIDTH;
        printf("  %-44s %.*s%s\n", key, CMD_INSPECT_WIDTH, text ? text : "?", cut ? " …" : "");
    }
    mem_free(text);
    return ERR_OK;
}

static err cmd_inspect_config(const struct inspection *i, struct errinfo *info)
{
    if (json_object_size(i->keys) > 0) {
        puts("\nconfig");
    }
    const char *key;
    json_t *value;
    json_object_foreach(i->keys, key, value)
    {
        struct errinfo printable = {0};
        (void)err_set(&printable, ERR_OK, "%.200s", key); /* a message is always safe to print */
        TRY(cmd_inspect_value(printable.message, value, info));
    }
    return ERR_OK;
}

static void cmd_inspect_types(const struct inspection *i)
{
    char bytes[BYTESIZE_TEXT];
    puts("\ntypes");
    for (int d = 0; d < DTYPE_COUNT; d++) {
        const struct inspection_type *x = &i->types[d];
        if (x->tensors > 0) {
            printf("  %-10s %8zu tensors  %10s  %5.1f%%%s\n", dtype_info((enum dtype)d)->name,
                   x->tensors, bytesize_text(x->bytes, bytes),
                   100.0 * (double)x->bytes / (double)i->total.bytes,
                   dtype_is_computable((enum dtype)d) ? "" : "  (not computed with)");
        }
    }
}

static void cmd_inspect_tokenizer(const struct inspection *i)
{
    const struct tokenizer *t = i->tokenizer;
    puts("\ntokenizer");
    if (!t) {
        printf("  %s\n", i->tokenizer_error.message[0] ? i->tokenizer_error.message : "none");
        return;
    }
    printf("  %zu tokens, %zu merges, pattern %s, chat format %s\n", tokenizer_size(t),
           tokenizer_merge_count(t), tokenizer_pre_name(tokenizer_pre_of(t)),
           chat_format_name(i->chat.format));
    if (i->chat.doubt) {
        printf("  the chat format: %s; --chat-format of chat and run overrides\n", i->chat.doubt);
    }
    printf("  bos %d, eos %d, pad %d, bos in front of text: %s\n", (int)tokenizer_bos(t),
           (int)tokenizer_eos(t), (int)tokenizer_pad(t), tokenizer_add_bos(t) ? "yes" : "no");
}

static void cmd_inspect_files(const struct inspection *i)
{
    char bytes[BYTESIZE_TEXT];
    puts("\nfiles");
    for (size_t f = 0; f < i->n_files; f++) {
        const struct inspection_file *x = &i->files[f];
        printf("  %10s  %s%s%s\n", bytesize_text(x->size, bytes), x->sha256,
               x->sha256[0] ? "  " : "", x->path);
    }
}

static void cmd_inspect_tensors(const struct inspection *i)
{
    char shape[TENSORTABLE_SHAPE_TEXT], bytes[BYTESIZE_TEXT];
    puts("\ntensors");
    for (size_t t = 0; t < tensortable_count(i->tensors); t++) {
        const struct tensortable_entry *e = tensortable_at(i->tensors, t);
        tensortable_shape_text(&e->tensor, shape);
        printf("  %-52s %-8s %-24s %10s\n", e->name, dtype_info(e->tensor.dtype)->name, shape,
               bytesize_text(tensor_bytes(&e->tensor), bytes));
    }
}

static err cmd_inspect_print(const struct inspection *i, const struct cmd_inspect *v,
                             struct errinfo *info)
{
    char count[32], bytes[BYTESIZE_TEXT], layers[INSPECTION_LAYERS_TEXT];
    struct errinfo architecture = {0};
    (void)err_set(&architecture, ERR_OK, "%s", i->architecture);
    printf("%s\n", i->path);
    printf("  class       %s%s%s%s\n", i->has_config ? i->config.name : architecture.message,
           i->has_config ? " (" : "", i->has_config ? architecture.message : "",
           i->has_config ? ")" : "");
    printf("  format      %s\n", i->format);
    if (i->has_config) {
        printf("  layers      %s\n", inspection_layers_text(&i->config, layers));
    }
    printf("  parameters  %s in %zu tensors\n", cmd_inspect_count(i->total.parameters, count),
           i->total.tensors);
    printf("  weights     %s\n", bytesize_text(i->total.bytes, bytes));
    printf("  runs        %s\n", i->refusal.message[0] ? i->refusal.message : "yes");
    TRY(cmd_inspect_config(i, info));
    cmd_inspect_tokenizer(i);
    cmd_inspect_types(i);
    cmd_inspect_files(i);
    if (v->tensors) {
        cmd_inspect_tensors(i);
    }
    return ERR_OK;
}

static err cmd_inspect_print_json(const struct inspection *i, bool tensors, struct errinfo *info)
{
    json_t *all = inspection_json(i, tensors);
    char *text = NULL;
    err e = all ? json_text(all, JSON_INDENT(2), &text) : ERR_NOMEM;
    json_decref(all);
    if (e != ERR_OK) {
        return cmd_inspect_nomem(info);
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

static err cmd_inspect_work(const struct cmd_inspect *v, struct errinfo *info)
{
    char *path = NULL;
    struct inspection *i = NULL;
    TRY(modelref_resolve(v->model, &path, info));
    err e = inspection_open(path, &i, info);
    mem_free(path);
    if (e == ERR_OK && v->hash) {
        e = inspection_hash(i, info);
    }
    if (e == ERR_OK) {
        e = v->json ? cmd_inspect_print_json(i, v->tensors, info) : cmd_inspect_print(i, v, info);
    }
    inspection_close(i);
    return e;
}

int cmd_inspect(int argc, char **argv)
{
    struct cmd_inspect v = {0};
    const struct options_row rows[] = {
        options_operand(
            "MODEL", &v.model,
            "a .gguf or .safetensors file, a folder, a name from `fathom list`; else the default"),
        options_flag("tensors", &v.tensors, "list every tensor: name, type, shape, bytes"),
        options_flag("hash", &v.hash, "SHA-256 of every file (reads all of them)"),
        options_flag("json", &v.json, "one JSON document on stdout"),
    };
    const struct options spec = {"inspect", "what a model file is, without running it", rows,
                                 sizeof rows / sizeof *rows,
                                 "  fathom inspect\n"
                                 "  fathom inspect model.gguf --tensors\n"
                                 "  fathom inspect ~/DeepSeek-V3 --hash --json\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    err e = cmd_inspect_work(&v, &info);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
