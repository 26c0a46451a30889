/* cli/cmd_convert.c: `fathom convert`: model files from one format into another. */
#include "cli/conversion.h"
#include "cli/verbs.h"

int cmd_convert(int argc, char **argv)
{
    const char *in = NULL;
    const char *out = NULL;
    struct convert_options o = {0};
    size_t threads = 0;
    size_t shard = 5000;
    bool json = false;
    const struct options_row rows[] = {
        options_required("IN", &in, "a Hugging Face folder, a .gguf file, a name"),
        options_required("OUT", &out, "NAME.gguf, or a folder that does not exist yet"),
        options_string("type", "TYPE", &o.type,
                       "weights as f32, f16, bf16 or, for GGUF, any of quantize's; else as "
                       "now, FP8 as bf16"),
        options_size("shard-size", "MB", 1, 1 << 20, &shard, "cut a folder's files at this size (5000)"),
        options_size("threads", "N", 1, 1024, &threads, "use N threads (all cores)"),
        options_flag("force", &o.overwrite, "write over OUT.gguf when it is there already"),
        options_flag("json", &json, "one JSON document on stdout"),
    };
    const struct options spec = {"convert", "model files between safetensors folders and GGUF", rows,
                                 sizeof rows / sizeof *rows,
                                 "  fathom convert DeepSeek-V2-Lite v2-lite.gguf\n"
                                 "  fathom convert model.gguf folder --type bf16\n"};
    int status;
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    o.n_threads = (int)threads;
    o.shard_bytes = shard * 1000000;
    return conversion_run(&spec, in, out, &o, json);
}
