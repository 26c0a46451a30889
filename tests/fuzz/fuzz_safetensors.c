/* tests/fuzz/fuzz_safetensors.c: any bytes as a safetensors file. What parses must tile the data.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned char sink; /* keeps the reads */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tensortable *t = NULL;
    struct errinfo info = {0};
    size_t alive = mem_alive();
    if (tensortable_new(&t, NULL) != ERR_OK) {
        return 0;
    }
    err e = safetensors_parse(data, size, "fuzz.safetensors", 0, t, &info);
    if (e != ERR_OK && (info.code != e || !strstr(info.message, "fuzz.safetensors"))) {
        abort();
    }
    size_t bytes = 0;
    for (size_t i = 0; i < tensortable_count(t) && e == ERR_OK; i++) {
        const struct tensortable_entry *entry = tensortable_at(t, i);
        size_t n = tensor_bytes(&entry->tensor);
        const unsigned char *p = entry->tensor.data;
        for (size_t b = 0; b < n; b++) {
            sink = (unsigned char)(sink ^ p[b]);
        }
        if (entry->offset + n > size || memcmp(p, data + entry->offset, n) != 0) {
            abort();
        }
        bytes += n;
    }
    if (e == ERR_OK && bytes > size - 8) {
        abort();
    }
    tensortable_free(t);
    if (mem_alive() != alive) {
        abort();
    }
    return 0;
}
