/* cli/pullplan.c: see pullplan.h. */
#include "cli/pullplan.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/download.h"
#include "cli/registry.h"

static err pullplan_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory planning a download");
}

static bool pullplan_ends(const char *s, const char *end)
{
    size_t n = strlen(s);
    size_t m = strlen(end);
    return n >= m && strcasecmp(s + n - m, end) == 0;
}

ERR_PRINTF(2, 3) static err pullplan_print(char **out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = n >= 0 ? mem_alloc((size_t)n + 1) : NULL;
    if (!text) {
        return ERR_NOMEM;
    }
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    mem_free(*out);
    *out = text;
    return ERR_OK;
}

/* The last part of a path or address as a registry name: lower case, odd characters as '-', without
 * .gguf and without the number of a split file. */
static err pullplan_name(char **out, const char *path, struct errinfo *info)
{
    size_t n = strcspn(path, "?#");
    size_t first = n;
    while (first > 0 && path[first - 1] != '/') {
        first--;
    }
    char name[REGISTRY_NAME_MAX + 1];
    size_t len = 0;
    if (n - first > 5 && strncasecmp(path + n - 5, ".gguf", 5) == 0) {
        n -= 5;
    }
    if (n - first > 15 && strncmp(path + n - 15, "-00001-of-", 10) == 0) {
        n -= 15;
    }
    for (size_t i = first; i < n && len < REGISTRY_NAME_MAX; i++) {
        char c = (char)tolower((unsigned char)path[i]);
        bool fine = isalnum((unsigned char)c) || (len > 0 && strchr("._-", c));
        if (fine || len > 0) {
            name[len++] = fine ? c : '-';
        }
    }
    name[len] = '\0';
    if (!registry_name_ok(name)) {
        return err_set(info, ERR_ARGUMENT, "no name can be made from %.200s; give one with --name",
                       path);
    }
    return pullplan_print(out, "%s", name) == ERR_OK ? ERR_OK : pullplan_nomem(info);
}

static err pullplan_add(struct pullplan *p, const char *name, uint64_t size, const char *sha256,
                        struct errinfo *info)
{
    if (!registry_file_ok(name)) {
        return err_set(info, ERR_CORRUPT, "%s has a file with the unsafe name \"%.200s\"", p->source,
                       name);
    }
    if (p->n_files == REGISTRY_FILES_MAX) {
        return err_set(info, ERR_LIMIT, "%s has more than %d files", p->source, REGISTRY_FILES_MAX);
    }
    struct pullplan_file *files = mem_resize(p->files, p->n_files + 1, sizeof *files);
    if (!files) {
        return pullplan_nomem(info);
    }
    p->files = files;
    struct pullplan_file *f = &files[p->n_files];
    *f = (struct pullplan_file){.size = size};
    if (sha256) {
        snprintf(f->sha256, sizeof f->sha256, "%s", sha256);
    }
    if (pullplan_print(&f->name, "%s", name) != ERR_OK) {
        return pullplan_nomem(info);
    }
    p->n_files++;
    return ERR_OK;
}

void pullplan_deinit(struct pullplan *p)
{
    for (size_t i = 0; i < p->n_files; i++) {
        mem_free(p->files[i].name);
        mem_free(p->files[i].url);
    }
    mem_free(p->files);
    mem_free(p->source);
    mem_free(p->name);
    mem_free(p->licence);
    mem_free(p->open);
    *p = (struct pullplan){0};
}

/* ---- Hugging Face ---- */

/* The files a model is made of; everything else in a repository stays there. */
static bool pullplan_wanted(const char *name, bool has_index)
{
    static const char *const exact[] = {
        "config.json",           "generation_config.json", "tokenizer.json",
        "tokenizer_config.json", "special_tokens_map.json", "model.safetensors.index.json",
        "chat_template.jinja",   "LICENSE",                 "LICENSE-MODEL",
        "README.md",
    };
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        if (strcmp(name, exact[i]) == 0) {
            return true;
        }
    }
    if (strchr(name, '/') || strncmp(name, "model", 5) != 0 || !pullplan_ends(name, ".safetensors")) {
        return false;
    }
    return has_index ? strncmp(name, "model-", 6) == 0 : strcmp(name, "model.safetensors") == 0;
}

/* `name` is `file`, or another part of the split file `file` is a part of. */
static bool pullplan_same_gguf(const char *name, const char *file)
{
    size_t n = strlen(file);
    if (strlen(name) != n || n < 21 || strncmp(file + n - 14, "-of-", 4) != 0 ||
        file[n - 20] != '-') {
        return strcmp(name, file) == 0;
    }
    return strncmp(name, file, n - 19) == 0 && strspn(name + n - 19, "0123456789") == 5 &&
           strcmp(name + n - 14, file + n - 14) == 0;
}

static err pullplan_sibling(struct pullplan *p, const json_t *sibling, const char *file,
                            bool has_index, struct errinfo *info)
{
    const char *name;
    const char *sha = NULL;
    uint64_t size = 0;
    const json_t *lfs;
    TRY(json_get_string(sibling, "the hub's listing", "rfilename", &name, info));
    if (file ? !pullplan_same_gguf(name, file) : !pullplan_wanted(name, has_index)) {
        return ERR_OK;
    }
    err e = json_get_u64(sibling, "the hub's listing", "size", &size, info);
    if (e == ERR_OK || e == ERR_NOTFOUND) {
        e = json_get_object(sibling, "the hub's listing", "lfs", &lfs, info);
        if (e == ERR_OK) {
            e = json_get_string(lfs, "the hub's listing", "sha256", &sha, info);
        }
    }
    if (e != ERR_OK && e != ERR_NOTFOUND) {
        return e;
    }
    if (sha && (strlen(sha) != 64 || strspn(sha, "0123456789abcdef") != 64)) {
        return err_set(info, ERR_CORRUPT, "the hub's listing has no SHA-256 but \"%.80s\" for %.200s",
                       sha, name);
    }
    return pullplan_add(p, name, size, sha, info);
}

/* https://hub/ORG/NAME/resolve/COMMIT/file%20name */
static err pullplan_resolve_urls(struct pullplan *p, const char *endpoint, const char *repo,
                                 const char *commit, struct errinfo *info)
{
    for (size_t i = 0; i < p->n_files; i++) {
        struct strbuf s = {0};
        err e = strbuf_printf(&s, "%s/%s/resolve/%s/", endpoint, repo, commit);
        for (const char *c = p->files[i].name; *c && e == ERR_OK; c++) {
            e = isalnum((unsigned char)*c) || strchr("._-/", *c)
                    ? strbuf_append(&s, c, 1)
                    : strbuf_printf(&s, "%%%02X", (unsigned)(unsigned char)*c);
        }
        if (e == ERR_OK) {
            e = strbuf_take(&s, &p->files[i].url);
        }
        strbuf_deinit(&s);
        if (e != ERR_OK) {
            return pullplan_nomem(info);
        }
    }
    return ERR_OK;
}

/* Nothing fitted: says what the repository offers instead. */
static err pullplan_offer(const struct pullplan *p, const json_t *siblings, const char *repo,
                          const char *file, struct errinfo *info)
{
    char list[600] = "";
    size_t used = 0;
    size_t i;
    const json_t *sibling;
    json_array_foreach(siblings, i, sibling) {
        const char *name = json_string_value(json_object_get(sibling, "rfilename"));
        if (name && pullplan_ends(name, ".gguf") && used + strlen(name) + 2 < sizeof list) {
            used += (size_t)snprintf(list + used, sizeof list - used, " %s", name);
        }
    }
    if (used == 0) {
        return err_set(info, ERR_NOTFOUND, "%s holds no %s", p->source,
                       file ? "file of that name and no .gguf at all"
                            : "model we can use: no config.json with model safetensors, no .gguf");
    }
    return err_set(info, ERR_NOTFOUND, "%s: name one of its files, as hf:%s:FILE; it has%s", p->source,
                   repo, list);
}

static int pullplan_order(const void *a, const void *b)
{
    const struct pullplan_file *x = a;
    const struct pullplan_file *y = b;
    return strcmp(x->name, y->name);
}

/* Fills an initialised plan (source and name are set). */
static err pullplan_read_listing(struct pullplan *p, const char *endpoint, const char *repo,
                                 const char *file, const json_t *listing, struct errinfo *info)
{
    const char *what = "the hub's listing";
    const char *commit;
    const json_t *siblings;
    TRY(json_get_string(listing, what, "sha", &commit, info));
    TRY(json_get_array(listing, what, "siblings", &siblings, info));
    if (strlen(commit) > 64 || strspn(commit, "0123456789abcdef") != strlen(commit)) {
        return err_set(info, ERR_CORRUPT, "%s names the odd revision \"%.80s\"", what, commit);
    }
    bool has_index = false;
    bool has_weights = false;
    size_t i;
    const json_t *s;
    json_array_foreach(siblings, i, s) {
        const char *name = json_string_value(json_object_get(s, "rfilename"));
        has_index = has_index || (name && strcmp(name, "model.safetensors.index.json") == 0);
    }
    json_array_foreach(siblings, i, s) {
        TRY(pullplan_sibling(p, s, file, has_index, info));
    }
    for (i = 0; i < p->n_files; i++) {
        has_weights = has_weights || file || pullplan_ends(p->files[i].name, ".safetensors");
    }
    if (!has_weights) {
        return pullplan_offer(p, siblings, repo, file, info);
    }
    qsort(p->files, p->n_files, sizeof *p->files, pullplan_order);
    const char *licence =
        json_string_value(json_object_get(json_object_get(listing, "cardData"), "license"));
    if (licence && pullplan_print(&p->licence, "%.100s", licence) != ERR_OK) {
        return pullplan_nomem(info);
    }
    if (pullplan_print(&p->open, "%s", file ? p->files[0].name : ".") != ERR_OK) {
        return pullplan_nomem(info);
    }
    return pullplan_resolve_urls(p, endpoint, repo, commit, info);
}

err pullplan_from_listing(const char *endpoint, const char *repo, const char *file, const char *json,
                          size_t n, struct pullplan *out, struct errinfo *info)
{
    struct pullplan p = {0};
    json_t *listing = NULL;
    err e = pullplan_print(&p.source, "hf:%s%s%s", repo, file ? ":" : "", file ? file : "");
    e = e == ERR_OK ? pullplan_name(&p.name, file ? file : repo, info) : pullplan_nomem(info);
    if (e == ERR_OK) {
        e = json_parse(json, n, "the hub's listing", &listing, info);
    }
    if (e == ERR_OK) {
        e = pullplan_read_listing(&p, endpoint, repo, file, listing, info);
    }
    json_decref(listing);
    if (e != ERR_OK) {
        pullplan_deinit(&p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

/* "ORG/NAME": two parts of letters, digits, '.', '_', '-', neither made of dots. */
static bool pullplan_repo_ok(const char *repo)
{
    const char *slash = strchr(repo, '/');
    size_t n = strlen(repo);
    return slash && slash != repo && slash[1] && n < 200 && repo[0] != '.' && slash[1] != '.' &&
           strspn(slash + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               strlen(slash + 1) &&
           strspn(repo, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               (size_t)(slash - repo);
}

static err pullplan_hub(const char *source, struct pullplan *out, struct errinfo *info)
{
    const char *endpoint = getenv("FATHOM_HF_ENDPOINT");
    if (!endpoint || !*endpoint) {
        endpoint = "https://huggingface.co";
    }
    char repo[256];
    char url[1024];
    const char *colon = strchr(source + 3, ':');
    size_t n = colon ? (size_t)(colon - source - 3) : strlen(source + 3);
    snprintf(repo, sizeof repo, "%.*s", n < sizeof repo ? (int)n : (int)sizeof repo - 1, source + 3);
    if (!pullplan_repo_ok(repo) || (colon && !registry_file_ok(colon + 1))) {
        return err_set(info, ERR_ARGUMENT,
                       "\"%.200s\" is not a repository: hf:ORG/NAME or hf:ORG/NAME:FILE.gguf", source);
    }
    if (colon && !pullplan_ends(colon + 1, ".gguf")) {
        return err_set(info, ERR_ARGUMENT, "hf:ORG/NAME:FILE takes a .gguf file, not %.200s",
                       colon + 1);
    }
    int used = snprintf(url, sizeof url, "%s/api/models/%s/revision/main?blobs=true", endpoint, repo);
    if (used < 0 || (size_t)used >= sizeof url) {
        return err_set(info, ERR_ARGUMENT, "FATHOM_HF_ENDPOINT is too long");
    }
    char *json = NULL;
    size_t size = 0;
    TRY(download_text(url, PULLPLAN_LISTING_MAX, &json, &size, info));
    err e = pullplan_from_listing(endpoint, repo, colon ? colon + 1 : NULL, json, size, out, info);
    mem_free(json);
    return e;
}

/* ---- single files ---- */

/* The file name at the end of an address or path; ERR_ARGUMENT when it cannot be one here. */
static err pullplan_last_part(const char *path, char *out, size_t cap, struct errinfo *info)
{
    size_t n = strcspn(path, "?#");
    size_t first = n;
    while (first > 0 && path[first - 1] != '/') {
        first--;
    }
    snprintf(out, cap, "%.*s", n - first < cap ? (int)(n - first) : (int)cap - 1, path + first);
    if (!registry_file_ok(out) || !pullplan_ends(out, ".gguf")) {
        return err_set(info, ERR_ARGUMENT,
                       "%.300s does not end with the name of a .gguf file; whole models come from "
                       "hf:ORG/NAME",
                       path);
    }
    return ERR_OK;
}

static err pullplan_single(const char *source, const char *url, struct pullplan *p,
                           struct errinfo *info)
{
    char file[256];
    TRY(pullplan_last_part(url, file, sizeof file, info));
    if (pullplan_print(&p->source, "%s", source) != ERR_OK ||
        pullplan_print(&p->open, "%s", file) != ERR_OK) {
        return pullplan_nomem(info);
    }
    TRY(pullplan_name(&p->name, file, info));
    TRY(pullplan_add(p, file, 0, NULL, info));
    return pullplan_print(&p->files[0].url, "%s", url) == ERR_OK ? ERR_OK : pullplan_nomem(info);
}

/* Size and hash by asking; a server that does not answer HEAD leaves them unknown. */
static err pullplan_web(const char *source, struct pullplan *p, struct errinfo *info)
{
    struct download_about about;
    TRY(download_check_url(source, info));
    TRY(pullplan_single(source, source, p, info));
    err e = download_ask(source, &about, info);
    if (e == ERR_OK) {
        p->files[0].size = about.size;
        memcpy(p->files[0].sha256, about.sha256, sizeof about.sha256);
    }
    return e == ERR_IO ? ERR_OK : e;
}

static err pullplan_local(const char *source, struct pullplan *p, struct errinfo *info)
{
    char real[PATH_MAX];
    struct file_map map;
    if (!realpath(source + 5, real)) {
        return err_set(info, ERR_NOTFOUND, "there is no file %.300s", source + 5);
    }
    TRY(file_map_open(real, &map, info));
    size_t size = map.size;
    file_map_close(&map);
    char *url = NULL;
    if (pullplan_print(&url, "file:%s", real) != ERR_OK) {
        return pullplan_nomem(info);
    }
    err e = pullplan_single(source, url, p, info);
    mem_free(url);
    if (e == ERR_OK) {
        p->files[0].size = size;
    }
    return e;
}

err pullplan_make(const char *source, struct pullplan *out, struct errinfo *info)
{
    struct pullplan p = {0};
    err e;
    if (strncmp(source, "hf:", 3) == 0) {
        return pullplan_hub(source, out, info);
    }
    if (strncmp(source, "file:", 5) == 0) {
        e = pullplan_local(source, &p, info);
    } else if (strncmp(source, "https://", 8) == 0 || strncmp(source, "http://", 7) == 0) {
        e = pullplan_web(source, &p, info);
    } else {
        e = err_set(info, ERR_ARGUMENT,
                    "\"%.200s\" is neither a name from `fathom list --catalogue` nor a source: "
                    "hf:ORG/NAME, hf:ORG/NAME:FILE.gguf, https://…/FILE.gguf or file:PATH.gguf",
                    source);
    }
    if (e != ERR_OK) {
        pullplan_deinit(&p);
        return e;
    }
    *out = p;
    return ERR_OK;
}
