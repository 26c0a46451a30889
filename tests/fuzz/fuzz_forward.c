/* tests/fuzz/fuzz_forward.c: a GGUF model with some bytes of its header (and weights) changed, opened
 * and brought to a first answer. Random bytes would never get past the header; so the input is a list of
 * edits to one of the golden models: byte 0 chooses it, then records of 5 bytes: place (u16), kind,
 * value (u16). Run from the repository's root. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "fuzz/modelstep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_BASES = 4, FUZZ_MAX = 8 << 20 };

static const char *const FUZZ_PATHS[FUZZ_BASES] = {
    "tests/golden/model/v3/model.gguf", "tests/golden/model/v2-lite/model.gguf",
    "tests/golden/model/llama3/model.gguf", "tests/golden/model/qwen2/model.gguf"};

struct fuzz_base {
    char *data;
    size_t size, header; /* header: bytes before the tensor data, about */
};

static const struct fuzz_base *fuzz_base(size_t i)
{
    static struct fuzz_base bases[FUZZ_BASES]; /* stays for the life of the process */
    if (!bases[i].data) {
        struct gguf *g = NULL;
        if (file_read(FUZZ_PATHS[i], FUZZ_MAX, &bases[i].data, &bases[i].size, NULL) != ERR_OK ||
            gguf_parse((const uint8_t *)bases[i].data, bases[i].size, "base", &g, NULL) != ERR_OK) {
            abort();
        }
        bases[i].header = tensortable_at(gguf_tensors(g), 0)->offset;
        gguf_close(g);
    }
    return &bases[i];
}

static void fuzz_edit(uint8_t *file, const struct fuzz_base *base, const uint8_t *record)
{
    static const uint32_t numbers[] = {0, 1, 2, 3, 7, 8, 255, 256, 4096, 65535, 1u << 20, 1u << 24,
                                       0x7f800000, 0x7fc00000, 0xff800000, UINT32_MAX};
    size_t place = (size_t)(record[0] | record[1] << 8);
    uint32_t value = (uint32_t)(record[3] | record[4] << 8);
    switch (record[2] % 5) {
    case 0: file[place % base->header] = record[3]; break;
    case 1: memcpy(file + place % (base->header - 4), &numbers[value % 16], 4); break;
    case 2: memcpy(file + place % (base->header - 4), &value, 4); break;
    case 3: file[place % base->header] ^= (uint8_t)(1u << record[3] % 8); break;
    default: /* a weight becomes something extreme */
        memcpy(file + base->header + (place * 997 + value) % (base->size - base->header - 4),
               &numbers[record[3] % 16], 4);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const struct fuzz_base *base = fuzz_base(data[0] % FUZZ_BASES);
    size_t alive = mem_alive();
    uint8_t *file = malloc(base->size);
    memcpy(file, base->data, base->size);
    for (size_t i = 1; i + 5 <= size && i < 5 * 16; i += 5) {
        fuzz_edit(file, base, data + i);
    }
    struct gguf *g = NULL;
    if (gguf_parse(file, base->size, "fuzz.gguf", &g, NULL) == ERR_OK) {
        modelstep_gguf(g, false);
        gguf_close(g);
    }
    free(file);
    if (mem_alive() != alive) {
        abort();
    }
    return 0;
}
