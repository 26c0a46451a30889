/* cli/modelref.c: see modelref.h. */
#include "cli/modelref.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/catalogue.h"
#include "cli/registry.h"
#include "cli/suggest.h"

/* The one that came with the program; what ./run fetches without. */
static const char *const modelref_first[] = {"fathom-nano", "smollm2"};

enum { MODELREF_SHOWN = 40 }; /* bytes of a word */

static bool modelref_ends(const char *s, const char *end)
{
    size_t n = strlen(s);
    size_t m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Part 2 … of a split GGUF: X-00002-of-00009.gguf. */
static bool modelref_later_part(const char *name)
{
    size_t n = strlen(name);
    const char *of = n > 20 ? name + n - 20 : NULL; /* -NNNNN-of-NNNNN.gguf */
    return of && of[0] == '-' && strncmp(of + 6, "-of-", 4) == 0 && strncmp(of, "-00001", 6) != 0;
}

/* The one .gguf of a folder without config.json. */
static err modelref_in_folder(const char *folder, char **out, struct errinfo *info)
{
    DIR *dir = opendir(folder);
    char *found = NULL;
    size_t n = 0;
    struct dirent *entry;
    err e = ERR_OK;
    while (dir && e == ERR_OK && (entry = readdir(dir))) {
        if (!modelref_ends(entry->d_name, ".gguf") || modelref_later_part(entry->d_name)) {
            continue;
        }
        n++;
        mem_free(found);
        found = file_join(folder, entry->d_name);
        if (!found) {
            e = err_set(info, ERR_NOMEM, "out of memory looking into %s", folder);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (e == ERR_OK && n != 1) {
        e = err_set(info, ERR_NOTFOUND,
                    n == 0 ? "%s holds no model: neither a config.json (Hugging Face folder) nor a "
                             ".gguf file"
                           : "%s holds several .gguf files; name the one you want",
                    folder);
    }
    if (e != ERR_OK) {
        mem_free(found);
        return e;
    }
    *out = found;
    return ERR_OK;
}

static err modelref_path(const char *path, char **out, struct errinfo *info)
{
    if (!file_exists(path)) {
        return err_set(info, ERR_NOTFOUND,
                       "there is no file or folder %s; `fathom list` shows the models that are here",
                       path);
    }
    if (file_is_dir(path)) {
        char *config = file_join(path, "config.json");
        if (!config) {
            return err_set(info, ERR_NOMEM, "out of memory opening %s", path);
        }
        bool whole = file_exists(config);
        mem_free(config);
        if (!whole) {
            return modelref_in_folder(path, out, info);
        }
    }
    char *copy = mem_dup(path, strlen(path));
    if (!copy) {
        return err_set(info, ERR_NOMEM, "out of memory opening %s", path);
    }
    *out = copy;
    return ERR_OK;
}

/* What to say after "no model called X": what is here, what was meant, what to do. */
static err modelref_advice(const char *word, const struct catalogue *c,
                           const struct registry_list *here, struct strbuf *s)
{
    const char *names[CATALOGUE_MAX + 64];
    size_t n = 0;
    TRY(strbuf_puts(s, "; models here:"));
    for (size_t i = 0; i < here->n; i++) {
        if (here->models[i].complete && n < 64) {
            names[n++] = here->models[i].name;
            TRY(strbuf_printf(s, " %s", here->models[i].name));
        }
    }
    TRY(strbuf_puts(s, n ? "" : " none"));
    for (size_t i = 0; i < c->n; i++) {
        names[n++] = c->entries[i].name;
    }
    const struct catalogue_entry *known = catalogue_find(c, word);
    if (known && strncmp(known->source, "pypi:", 5) == 0) {
        return strbuf_printf(s, ". Get it: ./run pull %s (where Fathom was built)", known->name);
    }
    if (known) {
        return strbuf_printf(s, ". Get it: fathom pull %s (%s%.1f GB)", known->name,
                             known->estimated ? "about " : "", (double)known->bytes / 1e9);
    }
    const char *near = suggest_nearest(word, names, n);
    if (near) {
        TRY(strbuf_printf(s, ". Did you mean %s?", near));
    }
    return strbuf_printf(s, "%s Get one: fathom list --catalogue, then fathom pull NAME", near ? "" : ".");
}

static err modelref_missing(const char *word, struct errinfo *info)
{
    struct catalogue *c = NULL;
    struct registry_list here = {0};
    struct strbuf s = {0};
    err e = catalogue_open(&c, info);
    if (e == ERR_OK) {
        e = registry_list_all(&here, info);
    }
    if (e == ERR_OK) {
        e = modelref_advice(word, c, &here, &s);
        e = e == ERR_OK ? err_set(info, ERR_NOTFOUND, "there is no model \"%.100s\"%s", word, s.data)
                        : err_set(info, ERR_NOMEM, "out of memory looking for model %.100s", word);
    }
    strbuf_deinit(&s);
    registry_list_deinit(&here);
    catalogue_close(c);
    return e;
}

static const char *modelref_choose(const struct registry_list *here)
{
    const char *first = NULL;
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < here->n; i++) {
            const struct registry_model *m = &here->models[i];
            if (m->complete && strcmp(m->name, modelref_first[k]) == 0) {
                return modelref_first[k];
            }
            first = first || !m->complete ? first : m->name;
        }
    }
    return first ? first : modelref_first[1];
}

err modelref_default(char **out, struct errinfo *info)
{
    struct registry_list here = {0};
    const char *word = getenv("FATHOM_MODEL");
    if (!word || !*word) {
        TRY(registry_list_all(&here, info));
        word = modelref_choose(&here);
    }
    *out = mem_dup(word, strlen(word));
    registry_list_deinit(&here);
    return *out ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory looking for the default model");
}

err modelref_resolve(const char *word, char **out, struct errinfo *info)
{
    if (!word) {
        char *chosen = NULL;
        TRY(modelref_default(&chosen, info));
        err e = modelref_resolve(chosen, out, info);
        const char *named = getenv("FATHOM_MODEL");
        mem_free(chosen);
        return e != ERR_OK && named && *named ? err_prefix(info, e, "FATHOM_MODEL says %.100s: ", named) : e;
    }
    if (strchr(word, '/') || modelref_ends(word, ".gguf")) {
        return modelref_path(word, out, info);
    }
    struct registry_model m = {0};
    err e = registry_name_ok(word) ? registry_read(word, false, &m, info)
                                   : err_set(info, ERR_NOTFOUND, "not a registered name");
    if (e == ERR_OK) {
        *out = m.path;
        m.path = NULL;
        registry_model_deinit(&m);
        return ERR_OK;
    }
    if (e != ERR_NOTFOUND) {
        return e;
    }
    return file_exists(word) ? modelref_path(word, out, info) : modelref_missing(word, info);
}

err modelref_no_text(const char *word, const char *option, const char *text, struct errinfo *info)
{
    char *path = NULL;
    err e = modelref_resolve(word, &path, info);
    mem_free(path);
    if (e != ERR_NOTFOUND || !word || (text && strchr(text, ' '))) { /* which had its quotes */
        return e;
    }
    char why[sizeof info->message], all[MODELREF_SHOWN * 4];
    snprintf(why, sizeof why, "%s", info ? info->message : "");
    snprintf(all, sizeof all, "%.*s%s%.*s%s", MODELREF_SHOWN, text ? text : "", text ? " " : "", MODELREF_SHOWN,
             word, strlen(word) > MODELREF_SHOWN ? "…" : "");
    return err_set(info, e, "%s. If \"%s\" is the text, write: %s \"%s\"", why, all, option, all);
}
