/* cli/cmd_doctor.c: `fathom doctor`: what this machine can do: processor, memory, what reading and
 * arithmetic reach at most, room for models; whether its kernel keeps the server from sending anything. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cpuinfo.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/meminfo.h"
#include "cli/egress.h"
#include "cli/options.h"
#include "cli/registry.h"
#include "cli/verbs.h"
#include "fathom.h"
#include "tensor/roof.h"

struct doctor {
    enum cpuinfo_level best, level; /* what the machine has, what FATHOM_CPU leaves of it */
    size_t memory_total, memory_available;
    bool measured;
    int threads;
    struct roof roof;
    char *models; /* owned */
    uint64_t models_free;
    size_t n_models;
};

/* Free bytes of the disk that holds (or will hold) `path`: the nearest folder that exists. */
static err cmd_doctor_disk(const char *path, uint64_t *out, struct errinfo *info)
{
    struct statvfs fs;
    char *at = mem_dup(path, strlen(path));
    if (!at) {
        return err_set(info, ERR_NOMEM, "out of memory looking for disk space");
    }
    while (statvfs(*at ? at : "/", &fs) != 0) {
        char *slash = strrchr(at, '/');
        if (errno != ENOENT || !slash) {
            err e = err_set(info, ERR_IO, "asking for the free space of %s: %s", path,
                            strerror(errno));
            mem_free(at);
            return e;
        }
        *slash = '\0';
    }
    mem_free(at);
    *out = (uint64_t)fs.f_bavail * fs.f_frsize;
    return ERR_OK;
}

static err cmd_doctor_models(struct doctor *d, struct errinfo *info)
{
    struct registry_list l;
    TRY(registry_root(&d->models, info));
    TRY(cmd_doctor_disk(d->models, &d->models_free, info));
    TRY(registry_list_all(&l, info));
    for (size_t i = 0; i < l.n; i++) {
        d->n_models += l.models[i].complete;
    }
    registry_list_deinit(&l);
    return ERR_OK;
}

static err cmd_doctor_measure(struct doctor *d, struct errinfo *info)
{
    struct compute *c;
    TRY(compute_new(d->level, 0, false, &c, info));
    d->threads = c->n_threads;
    d->measured = true;
    err e = roof_measure(c, &d->roof);
    compute_free(c);
    if (e != ERR_OK) {
        return err_set(info, e, "no memory free to measure reading; try --quick");
    }
    return ERR_OK;
}

static err cmd_doctor_examine(struct doctor *d, bool quick, struct errinfo *info)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    d->best = cpuinfo_best();
    TRY(cpuinfo_choose(&d->level, info));
    d->memory_total = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : 0;
    d->memory_available = meminfo_available();
    if (d->memory_available > d->memory_total) {
        d->memory_available = d->memory_total;
    }
    TRY(cmd_doctor_models(d, info));
    return quick ? ERR_OK : cmd_doctor_measure(d, info);
}

static void cmd_doctor_print(const struct doctor *d)
{
    char a[MEMINFO_TEXT], b[MEMINFO_TEXT];
    int cores = cpuinfo_cores();
    printf("fathom      %s\n", FATHOM_VERSION);
    printf("processor   %s, %d core%s\n", cpuinfo_model(), cores, cores == 1 ? "" : "s");
    printf("kernels    ");
    for (enum cpuinfo_level l = CPUINFO_REF; l < CPUINFO_LEVELS; l++) {
        printf(" %s%s%s", cpuinfo_level_name(l), l > d->best ? " (not here)" : "",
               l == d->level ? " (in use)" : "");
    }
    printf("\nmemory      %s, %s available\n", meminfo_text(d->memory_total, a),
           meminfo_text(d->memory_available, b));
    if (d->measured) {
        printf("reads       %.1f GB/s with %d thread%s, %.1f with one\n", d->roof.read_gbs,
               d->threads, d->threads == 1 ? "" : "s", d->roof.read_gbs_one);
        printf("computes    %.0f GFLOP/s (%s), %.0f GOP/s (%s)\n", d->roof.float_flops * 1e-9,
               d->roof.float_name, d->roof.int8_ops * 1e-9, d->roof.int8_name);
        printf("decoding    reads every active weight once per token: at most %.1f tokens/s divided by their\n"
               "            GB, as in %.1f / 4 GB = %.1f\n",
               d->roof.read_gbs, d->roof.read_gbs, d->roof.read_gbs / 4);
    }
    printf("models      %zu in %s, %s free there\n", d->n_models, d->models,
           meminfo_text((size_t)d->models_free, a));
}

static err cmd_doctor_print_json(const struct doctor *d, struct errinfo *info)
{
    json_t *levels = json_object(), *roof = json_null();
    bool complete = levels != NULL;
    for (enum cpuinfo_level l = CPUINFO_REF; l < CPUINFO_LEVELS; l++) {
        complete &=
            json_object_set_new(levels, cpuinfo_level_name(l), json_boolean(l <= d->best)) == 0;
    }
    if (d->measured) {
        roof = json_pack("{s:i, s:f, s:f, s:f, s:s, s:f, s:s}", "threads", d->threads, "read_gbs",
                         d->roof.read_gbs, "read_gbs_one", d->roof.read_gbs_one, "float_flops",
                         d->roof.float_flops, "float_name", d->roof.float_name, "int8_ops",
                         d->roof.int8_ops, "int8_name", d->roof.int8_name);
    }
    json_t *all =
        json_pack("{s:s, s:{s:s, s:i, s:s, s:o}, s:{s:I, s:I}, s:o, s:{s:s, s:I, s:I}}", "version",
                  FATHOM_VERSION, "processor", "model", cpuinfo_model(), "cores", cpuinfo_cores(),
                  "level", cpuinfo_level_name(d->level), "levels", levels, "memory", "total_bytes",
                  (json_int_t)d->memory_total, "available_bytes", (json_int_t)d->memory_available,
                  "roof", roof, "models", "folder", d->models, "count", (json_int_t)d->n_models,
                  "free_bytes", (json_int_t)d->models_free);
    char *text = NULL;
    err e = complete ? json_text(all, JSON_INDENT(2), &text) : ERR_NOMEM;
    json_decref(all);
    if (e != ERR_OK) {
        return err_set(info, ERR_NOMEM, "out of memory printing the report");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

int cmd_doctor(int argc, char **argv)
{
    bool json = false, quick = false, no_egress = false, held = true;
    const struct options_row rows[] = {
        options_flag("quick", &quick, "do not measure (about a second)"),
        options_flag("no-egress", &no_egress,
                     "instead: try, behind the server's sandbox, all that must not work there"),
        options_flag("json", &json, "one JSON document on stdout"),
    };
    const struct options spec = {"doctor", "what this machine can do", rows, sizeof rows / sizeof *rows,
                                 "  fathom doctor\n  FATHOM_CPU=avx2 fathom doctor\n"
                                 "  fathom doctor --no-egress\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    struct doctor d = {0};
    if (no_egress) {
        err e = egress_print(json, &held, &info);
        return e != ERR_OK ? options_fail(&spec, &info) : !held;
    }
    err e = cmd_doctor_examine(&d, quick, &info);
    if (e == ERR_OK && json) {
        e = cmd_doctor_print_json(&d, &info);
    } else if (e == ERR_OK) {
        cmd_doctor_print(&d);
    }
    mem_free(d.models);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
