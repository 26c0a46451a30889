/* The hub's listing is text from the network: whatever it says, planning a download neither crashes nor
 * plans a file outside the model's folder. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "cli/pullplan.h"
#include "cli/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const files[] = {NULL, "q4/m-00001-of-00003.gguf"};
    for (size_t i = 0; i < 2; i++) {
        struct pullplan p;
        struct errinfo info;
        if (pullplan_from_listing("https://hub", "a/b", files[i], (const char *)data, size, &p, &info) !=
            ERR_OK) {
            continue;
        }
        for (size_t k = 0; k < p.n_files; k++) {
            if (!registry_file_ok(p.files[k].name)) {
                abort();
            }
        }
        pullplan_deinit(&p);
    }
    return 0;
}
