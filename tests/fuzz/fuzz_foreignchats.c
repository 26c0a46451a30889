/* tests/fuzz/fuzz_foreignchats.c: any JSON as a file of chats: what is read is chats as the store takes them, and is
 * taken; the words of its messages can be looked for. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "server/chatimport.h"
#include "server/foreignchats.h"
#include "server/searchwords.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One store for all inputs, in memory. */
static struct chatstore *fuzz_store(void)
{
    static struct database *database;
    static struct chatstore *store;
    if (!store && (database_new(&database, NULL) != ERR_OK || chatstore_open(database, false, &store, NULL) != ERR_OK)) {
        abort();
    }
    return store;
}

/* A text found by its own words, marked, is text. */
static void look_for(const char *text)
{
    struct searchwords_query q;
    struct strbuf expression = {0}, snippet = {0};
    searchwords_parse(text, &q);
    if (searchwords_expression(&q, &expression) != ERR_OK || searchwords_snippet(&q, text, &snippet) != ERR_OK) {
        abort();
    }
    json_t *valid = json_stringn(snippet.data, snippet.len);
    if (!valid) {
        abort();
    }
    json_decref(valid);
    strbuf_deinit(&expression);
    strbuf_deinit(&snippet);
}

static void look_at(const json_t *chats)
{
    for (size_t i = 0; i < json_array_size(chats); i++) {
        const json_t *messages = json_object_get(json_array_get(chats, i), "messages");
        for (size_t m = 0; m < json_array_size(messages); m++) {
            look_for(json_string_value(json_object_get(json_array_get(messages, m), "content")));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *document = NULL, *chats = NULL;
    struct chatstore *store = fuzz_store();
    struct chatimport_count n;
    if (json_parse((const char *)data, size, "fuzz", &document, NULL) != ERR_OK) {
        return 0;
    }
    err foreign = foreignchats_read(document, &chats, NULL);
    if (foreign == ERR_OK) {
        look_at(chats);
    }
    err e = chatimport_read(store, "local", document, 1, &n, NULL);
    if ((e != ERR_OK && e != ERR_ARGUMENT && e != ERR_LIMIT) ||
        (e == ERR_OK && chatstore_delete_all(store, "local", NULL) != ERR_OK)) {
        abort();
    }
    json_decref(chats);
    json_decref(document);
    return 0;
}
