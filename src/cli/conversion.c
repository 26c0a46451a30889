/* cli/conversion.c: see conversion.h. */
#include "cli/conversion.h"

#include <jansson.h>
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/meminfo.h"
#include "cli/modelref.h"
#include "cli/weighttype.h"

static double conversion_bits(const struct convert_report *r)
{
    return r->elems ? 8.0 * (double)r->bytes / (double)r->elems : 0;
}

/* {"q5_0": 3, …}: how many matrices got another type than the one asked for. */
static json_t *conversion_fallbacks(const struct convert_report *r)
{
    json_t *o = json_object();
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (r->fallbacks[t] && json_object_set_new(o, dtype_info((enum dtype)t)->name,
                                                   json_integer((json_int_t)r->fallbacks[t])) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static err conversion_print_json(const char *in, const char *out, const struct convert_report *r,
                                 struct errinfo *info)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:I, s:o, s:I}", "in", in, "out", out,
                          "type", r->type, "tensors", (json_int_t)r->n_tensors, "parameters",
                          (json_int_t)r->elems, "bytes", (json_int_t)r->bytes, "bits_per_weight",
                          conversion_bits(r), "seconds", r->seconds, "mtp_layers",
                          (json_int_t)r->mtp_layers, "fallbacks", conversion_fallbacks(r),
                          "matrices_without_importance", (json_int_t)r->n_unmeasured);
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
    char size[MEMINFO_TEXT];
    printf("%s: %s, %zu tensors, %s, %.2f bits per weight, %.1f s\n", out, r->type, r->n_tensors,
           meminfo_text(r->bytes, size), conversion_bits(r), r->seconds);
    if (r->source > DTYPE_BF16 && r->source != DTYPE_F8_E4M3) {
        printf("the weights were %s before: what that type lost stays lost; f32, f16 or bf16 files are the "
               "best source\n",
               dtype_info(r->source)->name);
    }
    if (r->mtp_layers) {
        printf("%zu multi-token-prediction layer%s included\n", r->mtp_layers,
               r->mtp_layers == 1 ? "" : "s");
    }
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (r->fallbacks[t]) {
            printf("%zu %s %s instead: rows that are no multiple of the wanted type's block\n",
                   r->fallbacks[t], r->fallbacks[t] == 1 ? "matrix is" : "matrices are",
                   dtype_info((enum dtype)t)->name);
        }
    }
    if (r->n_unmeasured) {
        printf("the importance matrix does not know %zu of the matrices; they got even weights\n",
               r->n_unmeasured);
    }
}

int conversion_run(const struct options *spec, const char *in, const char *out,
                   const struct convert_options *options, bool json)
{
    struct errinfo info = {0};
    struct convert_report report;
    char *path;
    err e = options->type ? weighttype_check(options->type, &info) : ERR_OK;
    e = e == ERR_OK && options->dense ? weighttype_check(options->dense, &info) : e;
    if (e == ERR_OK) {
        e = modelref_resolve(in, &path, &info);
    }
    if (e != ERR_OK) {
        return options_fail(spec, &info);
    }
    e = convert_run(path, out, options, &report, &info);
    mem_free(path);
    if (e == ERR_OK && json) {
        e = conversion_print_json(in, out, &report, &info);
    } else if (e == ERR_OK) {
        conversion_print(out, &report);
    }
    return e == ERR_OK ? 0 : options_fail(spec, &info);
}
