/* tests/fuzz/fuzz_config.c: any bytes as config.json. What is accepted must satisfy what later code
 * relies on; what is refused must say why and leave nothing behind. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/workspace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    } else if (info.message[0] == 0) {
        abort();
    }
    json_decref(json);
    if (mem_alive() != alive) {
        abort();
    }
    return 0;
}
