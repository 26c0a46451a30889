/* cli/cmd_quantize.c: `fathom quantize`: a GGUF file with smaller weights. */
#include "cli/conversion.h"
#include "cli/verbs.h"
#include "cli/weighttype.h"

int cmd_quantize(int argc, char **argv)
{
    const char *in = NULL;
    const char *out = NULL;
    struct convert_options o = {0};
    size_t threads = 0;
    bool json = false;
    const struct options_row rows[] = {
        options_required("IN", &in, "a .gguf file (best f32, f16 or bf16), a folder, a name"),
        options_required("OUT", &out, "the .gguf file to write"),
        options_required("TYPE", &o.type,
                         "the weights' new type: " WEIGHTTYPE_NAMES),
        options_string("dense", "TYPE", &o.dense,
                       "all but the routed experts as TYPE: they are few, and every token needs them"),
        options_string("imatrix", "FILE", &o.imatrix, "importance matrix (GGUF, from llama-imatrix)"),
        options_size("threads", "N", 1, 1024, &threads, "use N threads (all cores)"),
        options_flag("force", &o.overwrite, "write over OUT when it is there already"),
        options_flag("json", &json, "one JSON document on stdout"),
    };
    const struct options spec = {"quantize", "a GGUF file with smaller weights", rows,
                                 sizeof rows / sizeof *rows,
                                 "  fathom quantize model-bf16.gguf model-q4_k_m.gguf q4_k_m\n"
                                 "  fathom quantize v2-lite-bf16.gguf v2-lite.gguf q4_k_s --dense q8_0\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    o.n_threads = (int)threads;
    return conversion_run(&spec, in, out, &o, json);
}
