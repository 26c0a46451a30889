/* cli/servebanner.c: see servebanner.h. */
#include "cli/servebanner.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/meminfo.h"
#include "server/chatowner.h"

enum { SERVEBANNER_PLACE = 320 };

static const char *servebanner_scheme(const struct servebanner *b)
{
    return b->service->is.guard.tls ? "https" : "http";
}

/* Whether it listens at all addresses of the machine. */
static bool servebanner_everywhere(const struct servebanner *b)
{
    return b->address ? strcmp(b->address, "0.0.0.0") == 0 || strcmp(b->address, "::") == 0
                      : b->lan;
}

/* "https://fathom.home:8443": a name, or an address. */
static const char *servebanner_place(const struct servebanner *b, const char *host,
                                     char out[SERVEBANNER_PLACE])
{
    snprintf(out, SERVEBANNER_PLACE, strchr(host, ':') ? "%s://[%.255s]:%u" : "%s://%.255s:%u",
             servebanner_scheme(b), host, b->port);
    return out;
}

/* Here. A certificate is for a name. */
static const char *servebanner_here(const struct servebanner *b, char out[SERVEBANNER_PLACE])
{
    bool named = b->service->is.guard.tls && b->hosts->n > 0;
    return servebanner_place(b,
                             named                                      ? b->hosts->items[0]
                             : b->address && !servebanner_everywhere(b) ? b->address
                                                                        : "127.0.0.1",
                             out);
}

static void servebanner_add(struct servebanner *b, const char *host)
{
    char place[SERVEBANNER_PLACE];
    size_t n = strlen(b->elsewhere), more = strlen(servebanner_place(b, host, place)) + 2;
    if (n + more < sizeof b->elsewhere) {
        snprintf(b->elsewhere + n, sizeof b->elsewhere - n, "%s%s", n ? ", " : "", place);
    }
}

void servebanner_find(struct servebanner *b)
{
    struct ifaddrs *all;
    if (!b->lan) {
        return;
    }
    for (size_t i = 0; i < b->hosts->n; i++) {
        servebanner_add(b, b->hosts->items[i]);
    }
    if (!servebanner_everywhere(b) || getifaddrs(&all) != 0) {
        return;
    }
    for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
        char text[INET_ADDRSTRLEN];
        if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET && !(a->ifa_flags & IFF_LOOPBACK) &&
            inet_ntop(AF_INET, &((const struct sockaddr_in *)a->ifa_addr)->sin_addr, text,
                      sizeof text)) {
            servebanner_add(b, text);
        }
    }
    freeifaddrs(all);
}

/* ---- What to look at. ---- */

static void servebanner_note_chats(const struct servebanner *b)
{
    struct errinfo info;
    size_t n = 0;
    if (b->service->is.guard.key_required &&
        chatowner_count(b->service->chats, "local", &n, &info) == ERR_OK && n > 0) {
        printf(
            "  note     chats made without a key, which no key shows: %zu; stop the server, and\n"
            "           `fathom keys adopt NAME%s%s` gives them to a key\n",
            n, b->data ? " --data " : "", b->data ? b->data : "");
    }
}

/* A balance that cannot fall. */
static void servebanner_note_prices(const struct servebanner *b)
{
    const struct service *s = b->service;
    const struct pricetable_tokens some = {2000000, 1000000, 1000000};
    struct keystore_key *keys;
    struct errinfo info;
    size_t n, limited = 0;
    if (pricetable_cost(&s->prices, modelnames_own(s->names), &some) > 0 ||
        keystore_list(s->keys, &keys, &n, &info) != ERR_OK) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        limited += keys[i].limited && keystore_good(&keys[i], service_now());
    }
    mem_free(keys);
    if (limited > 0) {
        const char *file = s->is.prices_name;
        printf("  note     keys with a balance that never falls: %zu; %s%s%s costs nothing%s\n", limited,
               file ? file : "", file ? " says that " : "", modelnames_own(s->names),
               file ? "" : " (--prices FILE)");
    }
}

static void servebanner_notes(const struct servebanner *b)
{
    if (b->lan && !b->service->is.guard.tls) {
        puts("  note     without TLS everyone in the network can read along, keys too:\n"
             "           --tls-cert and --tls-key, as in docs/deployment.md");
    }
    if (b->open_key) {
        printf("  note     others of this machine can read the TLS key: chmod o= %s\n", b->open_key);
    }
    servebanner_note_chats(b);
    servebanner_note_prices(b);
}

/* ---- All of it. ---- */

static void servebanner_memory(const struct servebanner *b)
{
    const struct engine *e = b->service->is.engine;
    size_t all = enginethread_counts(b->service->model.thread).memory,
           context = engine_context_max(e);
    size_t each = engine_cache_bytes_per_token(e), fit = each ? all / each : context;
    char text[MEMINFO_TEXT], short_of[64] = "";
    if (fit < context) {
        snprintf(short_of, sizeof short_of, ", of which the memory holds %zu", fit);
    }
    printf("  memory   up to %s for keys and values; context %zu tokens%s\n",
           meminfo_text(all, text), context, short_of);
    if (b->service->is.max_tokens < context) {
        printf("  answers  up to %zu tokens, unless a request names another number\n",
               b->service->is.max_tokens);
    }
}

void servebanner_print(const struct servebanner *b)
{
    const struct service *s = b->service;
    char place[SERVEBANNER_PLACE], sandbox[SANDBOX_TEXT];
    bool keyed = s->is.guard.key_required;
    printf("Fathom serves %s at %s%s\n", modelnames_own(s->names), b->socket ? "the socket " : "",
           b->socket ? b->socket : servebanner_here(b, place));
    if (*b->elsewhere) {
        printf("  others   find it at %s\n", b->elsewhere);
    }
    if (!b->socket) {
        printf("  page     open that address in a browser%s\n"
               "  API      %s/v1, for OpenAI's, Anthropic's and DeepSeek's clients\n",
               keyed ? "; it asks for a key" : "", place);
    }
    printf("  keys     %s\n", keyed ? "needed by everyone" : "none needed on this machine");
    servebanner_memory(b);
    printf("  data     %s", s->is.data ? s->is.data : "kept in memory, gone at the end");
    if (s->is.forget_days > 0) {
        printf("; chats unused for %zu days are deleted", s->is.forget_days);
    }
    printf("\n"
           "  files    text%s%s\n"
           "  sandbox  %s\n",
           b->no_pdf ? "; no PDF: " : " and PDF", b->no_pdf ? b->no_pdf : "",
           sandbox_text(b->locked, sandbox));
    servebanner_notes(b);
    puts("Ctrl-C stops it.");
    fflush(stdout);
}
