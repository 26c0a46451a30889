/* cli/registry.c: see registry.h. */
#include "cli/registry.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"

static err registry_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory for the list of models");
}

err registry_root(char **out, struct errinfo *info)
{
    const char *models = getenv("FATHOM_MODELS");
    const char *data = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    struct strbuf s = {0};
    err e;
    if (models && *models) {
        e = strbuf_puts(&s, models);
    } else if (data && *data == '/') {
        e = strbuf_printf(&s, "%s/fathom/models", data);
    } else if (home && *home == '/') {
        e = strbuf_printf(&s, "%s/.local/share/fathom/models", home);
    } else {
        return err_set(info, ERR_ARGUMENT,
                       "no place for models: set FATHOM_MODELS to a folder (HOME is not set)");
    }
    if (e == ERR_OK) {
        e = strbuf_take(&s, out);
    }
    strbuf_deinit(&s);
    return e == ERR_OK ? ERR_OK : registry_nomem(info);
}

/* How many bytes name the folder of what the first `n` name, without its slash. */
static size_t registry_above(const char *path, size_t n)
{
    while (n > 0 && path[n - 1] != '/') {
        n--;
    }
    return n > 0 ? n - 1 : 0;
}

err registry_bundled(char **out, struct errinfo *info)
{
    const char *given = getenv("FATHOM_BUNDLED");
    char program[PATH_MAX];
    if (given && *given) {
        *out = mem_dup(given, strlen(given));
        return *out ? ERR_OK : registry_nomem(info);
    }
    ssize_t n = readlink("/proc/self/exe", program, sizeof program);
    if (n <= 0 || n > PATH_MAX - 32) {
        return err_set(info, ERR_IO,
                       "cannot tell where this program is (/proc/self/exe): set FATHOM_BUNDLED to the "
                       "folder of models that came with it");
    }
    size_t above = registry_above(program, registry_above(program, (size_t)n));
    strcpy(program + above, "/share/fathom/models"); /* installed */
    if (!file_is_dir(program)) {
        strcpy(program + above, "/models");
    }
    *out = mem_dup(program, strlen(program));
    return *out ? ERR_OK : registry_nomem(info);
}

bool registry_name_ok(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > REGISTRY_NAME_MAX || name[0] == '.' || name[0] == '-') {
        return false;
    }
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

bool registry_file_ok(const char *name)
{
    size_t part = 0;
    size_t folders = 0;
    for (const char *p = name; *p; p++) {
        if (*p == '/') {
            if (part == 0 || ++folders > REGISTRY_FOLDERS_MAX) {
                return false;
            }
            part = 0;
            continue;
        }
        if ((part == 0 && *p == '.') || ++part > 200) {
            return false;
        }
        if (!isalnum((unsigned char)*p) && !strchr("._-+=@,() ", *p)) {
            return false;
        }
    }
    return part > 0;
}

static bool registry_sha_ok(const char *s, size_t n)
{
    return n == 64 && strspn(s, "0123456789abcdef") >= 64;
}

static err registry_model_at(const char *root, const char *name, struct registry_model *out,
                             struct errinfo *info)
{
    struct registry_model m = {0};
    m.name = mem_dup(name, strlen(name));
    m.folder = file_join(root, name);
    if (!m.name || !m.folder) {
        registry_model_deinit(&m);
        return registry_nomem(info);
    }
    *out = m;
    return ERR_OK;
}

err registry_model_init(const char *name, struct registry_model *out, struct errinfo *info)
{
    if (!registry_name_ok(name)) {
        return err_set(info, ERR_ARGUMENT,
                       "\"%.80s\" cannot name a model: at most %d lower-case letters, digits, '.', "
                       "'_' or '-', beginning with a letter or digit",
                       name, REGISTRY_NAME_MAX);
    }
    char *root;
    TRY(registry_root(&root, info));
    err e = registry_model_at(root, name, out, info);
    mem_free(root);
    return e;
}

void registry_model_deinit(struct registry_model *m)
{
    for (size_t i = 0; i < m->n_files; i++) {
        mem_free(m->files[i].name);
    }
    mem_free(m->files);
    mem_free(m->name);
    mem_free(m->folder);
    mem_free(m->path);
    mem_free(m->source);
    mem_free(m->licence);
    mem_free(m->open);
    *m = (struct registry_model){0};
}

err registry_add_file(struct registry_model *m, const char *name, uint64_t size, const char *sha256,
                      struct errinfo *info)
{
    if (!registry_file_ok(name) || !registry_sha_ok(sha256, strlen(sha256))) {
        return err_set(info, ERR_CORRUPT, "not a file entry: \"%.200s\" with hash \"%.70s\"", name,
                       sha256);
    }
    if (m->n_files == REGISTRY_FILES_MAX || registry_find_file(m, name)) {
        return err_set(info, ERR_CORRUPT, "%s: too many files, or %.200s twice", m->name, name);
    }
    struct registry_file *files = mem_resize(m->files, m->n_files + 1, sizeof *files);
    if (!files) {
        return registry_nomem(info);
    }
    m->files = files;
    struct registry_file *f = &files[m->n_files];
    f->name = mem_dup(name, strlen(name));
    if (!f->name) {
        return registry_nomem(info);
    }
    f->size = size;
    memcpy(f->sha256, sha256, sizeof f->sha256);
    m->n_files++;
    return ERR_OK;
}

const struct registry_file *registry_find_file(const struct registry_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_files; i++) {
        if (strcmp(m->files[i].name, name) == 0) {
            return &m->files[i];
        }
    }
    return NULL;
}

uint64_t registry_bytes(const struct registry_model *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n_files; i++) {
        if (__builtin_add_overflow(sum, m->files[i].size, &sum)) {
            return UINT64_MAX;
        }
    }
    return sum;
}

/* Replaces *field by a copy of text[n] in which control characters, newlines above all, are blanks. */
static err registry_set(char **field, const char *text, size_t n, struct errinfo *info)
{
    char *copy = mem_dup(text, n);
    if (!copy) {
        return registry_nomem(info);
    }
    for (char *p = copy; *p; p++) {
        if (iscntrl((unsigned char)*p)) {
            *p = ' ';
        }
    }
    mem_free(*field);
    *field = copy;
    return ERR_OK;
}

err registry_describe(struct registry_model *m, const char *source, const char *licence,
                      const char *open, struct errinfo *info)
{
    if (source) {
        TRY(registry_set(&m->source, source, strlen(source), info));
    }
    if (licence) {
        TRY(registry_set(&m->licence, licence, strlen(licence), info));
    }
    if (!open) {
        return ERR_OK;
    }
    bool whole = strcmp(open, ".") == 0;
    if (!whole && !registry_file_ok(open)) {
        return err_set(info, ERR_CORRUPT, "%s: cannot open \"%.200s\"", m->name, open);
    }
    TRY(registry_set(&m->open, open, strlen(open), info));
    char *path = whole ? mem_dup(m->folder, strlen(m->folder)) : file_join(m->folder, open);
    if (!path) {
        return registry_nomem(info);
    }
    mem_free(m->path);
    m->path = path;
    return ERR_OK;
}

/* "SHA256 SIZE NAME" */
static err registry_parse_file(struct registry_model *m, const char *line, struct errinfo *info)
{
    char sha[65];
    char *end = NULL;
    errno = 0;
    uint64_t size = 0;
    if (strlen(line) > 66 && line[64] == ' ' && isdigit((unsigned char)line[65])) {
        memcpy(sha, line, 64);
        sha[64] = '\0';
        size = strtoull(line + 65, &end, 10);
    }
    if (!end || errno || *end != ' ') {
        return err_set(info, ERR_CORRUPT, "not a file line: \"%.200s\"", line);
    }
    return registry_add_file(m, end + 1, size, sha, info);
}

static err registry_parse_line(struct registry_model *m, const char *line, struct errinfo *info)
{
    if (strncmp(line, "source ", 7) == 0) {
        return registry_describe(m, line + 7, NULL, NULL, info);
    }
    if (strncmp(line, "licence ", 8) == 0) {
        return registry_describe(m, NULL, line + 8, NULL, info);
    }
    if (strncmp(line, "open ", 5) == 0) {
        return registry_describe(m, NULL, NULL, line + 5, info);
    }
    if (strncmp(line, "file ", 5) == 0) {
        return registry_parse_file(m, line + 5, info);
    }
    return *line ? err_set(info, ERR_CORRUPT, "unknown line \"%.100s\"", line) : ERR_OK;
}

static err registry_parse(struct registry_model *m, char *text, size_t n, struct errinfo *info)
{
    if (strlen(text) != n || strncmp(text, "fathom-model 1\n", 15) != 0) {
        return err_set(info, ERR_CORRUPT, "it does not begin with \"fathom-model 1\"");
    }
    char *rest = text + 15;
    while (rest) {
        TRY(registry_parse_line(m, strsep(&rest, "\n"), info));
    }
    if (!m->path || !m->source || !m->licence || m->n_files == 0) {
        return err_set(info, ERR_CORRUPT, "source, licence, open or file lines are missing");
    }
    return ERR_OK;
}

/* Reads folder/`which` into m. */
static err registry_load(struct registry_model *m, const char *which, struct errinfo *info)
{
    char *path = file_join(m->folder, which);
    if (!path) {
        return registry_nomem(info);
    }
    char *text = NULL;
    size_t n = 0;
    err e = file_read(path, REGISTRY_MANIFEST_MAX, &text, &n, info);
    if (e == ERR_OK) {
        e = registry_parse(m, text, n, info);
        if (e != ERR_OK && e != ERR_NOMEM) {
            err_prefix(info, e, "%s: ", path);
        }
    }
    mem_free(text);
    mem_free(path);
    return e;
}

/* One that came with the program. */
static err registry_read_bundled(const char *name, struct registry_model *out, struct errinfo *info)
{
    struct registry_model m;
    char *root;
    TRY(registry_bundled(&root, info));
    err e = registry_model_at(root, name, &m, info);
    mem_free(root);
    TRY(e);
    e = registry_load(&m, "manifest", info);
    m.complete = e == ERR_OK;
    if (e != ERR_OK) {
        registry_model_deinit(&m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

err registry_read(const char *name, bool unfinished, struct registry_model *out, struct errinfo *info)
{
    struct registry_model m;
    TRY(registry_model_init(name, &m, info));
    err e = registry_load(&m, "manifest", info);
    m.complete = e == ERR_OK;
    if (e == ERR_NOTFOUND && unfinished) {
        e = registry_load(&m, "manifest.part", info);
    }
    if (e != ERR_OK) {
        registry_model_deinit(&m);
        return e == ERR_NOTFOUND ? registry_read_bundled(name, out, info) : e;
    }
    *out = m;
    return ERR_OK;
}

static err registry_print(const struct registry_model *m, struct strbuf *s)
{
    TRY(strbuf_printf(s, "fathom-model 1\nsource %s\nlicence %s\nopen %s\n", m->source, m->licence,
                      m->open));
    for (size_t i = 0; i < m->n_files; i++) {
        const struct registry_file *f = &m->files[i];
        TRY(strbuf_printf(s, "file %s %" PRIu64 " %s\n", f->sha256, f->size, f->name));
    }
    return ERR_OK;
}

static err registry_save(const char *path, const struct strbuf *s, struct errinfo *info)
{
    return file_write(path, s->data, s->len, info);
}

err registry_write(const struct registry_model *m, bool complete, struct errinfo *info)
{
    struct strbuf s = {0};
    char *part = file_join(m->folder, "manifest.part");
    char *whole = file_join(m->folder, "manifest");
    err e = part && whole ? registry_print(m, &s) : ERR_NOMEM;
    if (e == ERR_OK) {
        e = file_make_dirs(m->folder, info);
        if (e == ERR_OK) {
            e = registry_save(complete ? whole : part, &s, info);
        }
        if (e == ERR_OK && complete) {
            unlink(part);
        }
    } else {
        registry_nomem(info);
    }
    strbuf_deinit(&s);
    mem_free(part);
    mem_free(whole);
    return e;
}

static int registry_order(const void *a, const void *b)
{
    const struct registry_model *x = a;
    const struct registry_model *y = b;
    return strcmp(x->name, y->name);
}

/* One folder, whatever state it is in, unless the name is there already. */
static err registry_list_add(struct registry_list *l, const char *name, struct errinfo *info)
{
    struct registry_model m = {0};
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->models[i].name, name) == 0) {
            return ERR_OK;
        }
    }
    err e = registry_read(name, true, &m, info);
    if (e == ERR_NOMEM) {
        return e;
    }
    if (e != ERR_OK) {
        TRY(registry_model_init(name, &m, info));
    }
    struct registry_model *models = mem_resize(l->models, l->n + 1, sizeof *models);
    if (!models) {
        registry_model_deinit(&m);
        return registry_nomem(info);
    }
    l->models = models;
    models[l->n++] = m;
    return ERR_OK;
}

/* Those in `root`; it need not be there. */
static err registry_list_root(struct registry_list *l, const char *root, struct errinfo *info)
{
    DIR *dir = opendir(root);
    err e = ERR_OK;
    if (!dir && errno != ENOENT) {
        e = err_set(info, ERR_IO, "cannot list %s: %s", root, strerror(errno));
    }
    struct dirent *entry;
    while (dir && e == ERR_OK && l->n < REGISTRY_MODELS_MAX && (entry = readdir(dir))) {
        if (!registry_name_ok(entry->d_name)) {
            continue;
        }
        char *folder = file_join(root, entry->d_name);
        if (!folder) {
            e = registry_nomem(info);
        } else if (file_is_dir(folder)) {
            e = registry_list_add(l, entry->d_name, info);
        }
        mem_free(folder);
    }
    if (dir) {
        closedir(dir);
    }
    return e;
}

err registry_list_all(struct registry_list *out, struct errinfo *info)
{
    char *root, *bundled = NULL;
    struct registry_list l = {0};
    TRY(registry_root(&root, info));
    err e = registry_bundled(&bundled, info);
    e = e == ERR_OK ? registry_list_root(&l, root, info) : e;
    e = e == ERR_OK ? registry_list_root(&l, bundled, info) : e;
    mem_free(root);
    mem_free(bundled);
    if (e != ERR_OK) {
        registry_list_deinit(&l);
        return e;
    }
    if (l.n > 1) {
        qsort(l.models, l.n, sizeof *l.models, registry_order);
    }
    *out = l;
    return ERR_OK;
}

void registry_list_deinit(struct registry_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        registry_model_deinit(&l->models[i]);
    }
    mem_free(l->models);
    *l = (struct registry_list){0};
}
