/* tests/fuzz/fuzz_gguf.c: any bytes as a GGUF file: parse, then walk every key and every byte of
 * every tensor, as later code would; what is a whole model gives a first answer, to a text when it has a
 * tokenizer. Memory may not grow beyond a small multiple of the input. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/gguf.h"
#include "fuzz/modelstep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned char sink; /* keeps the reads */

static void touch(const void *data, size_t n)
{
    const unsigned char *p = data;
    unsigned char x = 0;
    for (size_t i = 0; i < n; i++) {
        x ^= p[i];
    }
    sink = x;
}

static void walk_key(const struct gguf *g, const struct gguf_kv *kv)
{
    char *key = mem_dup(kv->key.data, kv->key.len);
    uint64_t u;
    double d;
    bool b;
    struct gguf_string s;
    if (gguf_find(g, key) != kv) {
        abort();
    }
    struct errinfo info = {0};
    if (gguf_get_u64(g, key, &u, &info) != ERR_OK && info.message[0] == '\0') {
        abort();
    }
    sink = (unsigned char)gguf_get_f64(g, key, &d, &info);
    sink = (unsigned char)gguf_get_bool(g, key, &b, &info);
    if (gguf_get_string(g, key, &s, &info) == ERR_OK) {
        touch(s.data, s.len);
    }
    size_t pos = 0;
    while (gguf_array_string(kv, &pos, &s) == ERR_OK) {
        touch(s.data, s.len);
    }
    for (uint64_t i = 0; gguf_array_f64(kv, i, &d) == ERR_OK; i++) {
        sink = d > 0;
    }
    mem_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g = NULL;
    struct errinfo info = {0};
    size_t alive = mem_alive();
    err e = gguf_parse(data, size, "fuzz.gguf", &g, &info);
    if (e != ERR_OK) {
        if (g || info.code != e || !strstr(info.message, "fuzz.gguf") || mem_alive() != alive) {
            abort();
        }
        return 0;
    }
    for (size_t i = 0; i < gguf_kv_count(g); i++) {
        walk_key(g, gguf_kv_at(g, i));
    }
    const struct tensortable *t = gguf_tensors(g);
    for (size_t i = 0; i < tensortable_count(t); i++) {
        const struct tensortable_entry *entry = tensortable_at(t, i);
        if (tensortable_find(t, entry->name) != entry ||
            (uintptr_t)entry->tensor.data % tensortable_alignment(entry->tensor.dtype) != 0) {
            abort();
        }
        touch(entry->tensor.data, tensor_bytes(&entry->tensor));
    }
    modelstep_gguf(g, true);
    gguf_close(g);
    if (mem_alive() != alive) {
        abort();
    }
    return 0;
}
