/* cli/conversion.c: see conversion.h. */
#include "cli/conversion.h"

#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/modelref.h"

static double conversion_bits(const struct convert_report *r)
{
    return r->elems ? 8.0 * (double)r->bytes / (double)r->elems : 0;
}

static err conversion_print_json(const char *in, const char *out, const struct convert_report *r,
                                 struct errinfo *info)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:I, s:I}", "in", in, "out", out,
                          "type", r->type, "tensors", (json_int_t)r->n_tensors, "parameters",
                          (json_int_t)r->elems, "bytes", (json_int_t)r->bytes, "bits_per_weight",
                          conversion_bits(r), "seconds", r->seconds, "mtp_layers_left_out",
                          (json_int_t)r->mtp_layers_left_out, "matrices_without_importance",
                          (json_int_t)r->n_unmeasured);
    char *text = json_text_dup(o, JSON_REAL_PRECISION(6));
    json_decref(o);
    if (!text) {
        return err_set(info, ERR_NOMEM, "%s is written, but memory is too short to report it", out);
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

static void conversion_print(const char *out, const struct convert_report *r)
{
    printf("%s: %s, %zu tensors, %.2f GB, %.2f bits per weight, %.1f s\n", out, r->type,
           r->n_tensors, (double)r->bytes / 1e9, conversion_bits(r), r->seconds);
    if (r->mtp_layers_left_out) {
        printf("%zu multi-token-prediction layer%s left out: not run yet\n", r->mtp_layers_left_out,
               r->mtp_layers_left_out == 1 ? " was" : "s were");
    }
    if (r->n_unmeasured) {
        printf("the importance matrix does not know %zu of the matrices; they got even weights\n",
               r->n_unmeasured);
    }
}

/* Writing over what is being read would lose it. */
static err conversion_check(const char *in, const char *out, struct errinfo *info)
{
    struct stat a, b;
    if (stat(in, &a) == 0 && stat(out, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino) {
        return err_set(info, ERR_ARGUMENT, "%s is the model to be read; name another file to write",
                       out);
    }
    return ERR_OK;
}

int conversion_run(const struct options *spec, const char *in, const char *out,
                   const struct convert_options *options, bool json)
{
    struct errinfo info = {0};
    struct convert_report report;
    char *path;
    err e = modelref_resolve(in, &path, &info);
    if (e != ERR_OK) {
        return options_fail(spec, &info);
    }
    e = conversion_check(path, out, &info);
    if (e == ERR_OK) {
        e = convert_run(path, out, options, &report, &info);
    }
    mem_free(path);
    if (e == ERR_OK && json) {
        e = conversion_print_json(in, out, &report, &info);
    } else if (e == ERR_OK) {
        conversion_print(out, &report);
    }
    return e == ERR_OK ? 0 : options_fail(spec, &info);
}
