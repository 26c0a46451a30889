/* tests/fuzz/fuzz_config.c: any bytes as config.json. What is accepted must satisfy what later code
 * relies on, and a model of that config, with random weights of a type the length of the input chooses,
 * gives a first answer; what is refused must say why and leave nothing behind. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "fuzz/modelstep.h"
#include "model/workspace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* Bytes changed anywhere seldom leave JSON behind, so most changes give one number another value. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static const char *const numbers[] = {"0", "1", "2",  "3",  "4",   "5",    "8",    "16",   "32",      "64",
                                          "7", "9", "96", "-1", "128", "1e-6", "0.25", "1e30", "16777216"};
    size_t from = (seed >> 8) % (size + 1), to;
    while (from < size && (data[from] < '0' || data[from] > '9')) {
        from++;
    }
    for (to = from; to < size && strchr("0123456789.e-+", data[to]) && data[to]; to++) {
    }
    const char *number = numbers[(seed >> 3) % (sizeof numbers / sizeof *numbers)];
    size_t n = strlen(number), rest = size - to;
    if (seed % 8 == 0 || from == to || from + n + rest > max_size) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    memmove(data + from + n, data + to, rest);
    memcpy(data + from, number, n);
    return from + n + rest;
}

static void must_be_sane(const struct config *c)
{
    bool ok = c->num_attention_heads && c->num_hidden_layers && c->hidden_size && c->vocab_size &&
              c->rope_dim && c->rope_dim % 2 == 0 && c->rope_dim <= CONFIG_ROPE_MAX &&
              c->attention_scale > 0 && isfinite(c->attention_scale) && c->rope_gain > 0 &&
              c->num_attention_heads % c->num_key_value_heads == 0 &&
              (c->n_routed_experts == 0 || (c->n_routed_experts % c->n_group == 0 &&
                                            c->num_experts_per_tok <= c->n_routed_experts));
    for (size_t i = 0; i < c->rope_dim / 2; i++) {
        ok = ok && isfinite(c->rope_freqs[i]);
    }
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct errinfo info = {0};
    struct config c;
    json_t *json = NULL;
    size_t alive = mem_alive();
    if (json_parse((const char *)data, size, "config.json", &json, &info) != ERR_OK) {
        return 0;
    }
    info.message[0] = 0;
    if (config_from_json(json, &c, &info) == ERR_OK) {
        must_be_sane(&c);
        size_t one = workspace_bytes(&c, 1), many = workspace_bytes(&c, WORKSPACE_TOKENS_MAX);
        if (one == 0 || (many != 0 && many < one)) {
            abort();
        }
        modelstep_config(&c, NULL, 0, (unsigned)size);
    } else if (info.message[0] == 0) {
        abort();
    }
    json_decref(json);
    if (mem_alive() != alive) {
        abort();
    }
    return 0;
}
