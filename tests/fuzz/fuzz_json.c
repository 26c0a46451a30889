/* tests/fuzz/fuzz_json.c: any bytes as JSON, with jansson's own parser as the second opinion: the
 * two agree on what is JSON and on what it says, except where ours has limits or reads big
 * integers. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read_back(const json_t *value)
{
    char *text = NULL;
    json_t *again = NULL;
    if (json_text(value, JSON_COMPACT, &text) != ERR_OK ||
        json_parse(text, strlen(text), "again", &again, NULL) != ERR_OK ||
        !json_equal(value, again)) {
        abort();
    }
    mem_free(text);
    json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct errinfo info = {0};
    json_t *ours = NULL;
    json_error_t error;
    size_t alive = mem_alive();
    err e = json_parse((const char *)data, size, "fuzz.json", &ours, &info);
    bool compared = memchr(data, 0, size) == NULL;
    json_t *theirs =
        json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (e == ERR_OK && !theirs && json_error_code(&error) != json_error_numeric_overflow) {
        abort();
    }
    if (compared && e == ERR_CORRUPT && theirs && !strstr(info.message, "over 512 characters")) {
        abort();
    }
    if (e == ERR_OK && theirs && !json_equal(ours, theirs)) {
        abort();
    }
    if (e == ERR_OK) {
        write_and_read_back(ours);
    }
    json_decref(ours);
    json_decref(theirs);
    if (mem_alive() != alive) {
        abort();
    }
    return 0;
}
