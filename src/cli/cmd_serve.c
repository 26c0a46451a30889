/* cli/cmd_serve.c: `fathom serve`: the HTTP API for programs, and the page for people. */
#include <arpa/inet.h>
#include <ctype.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/meminfo.h"
#include "cli/modelref.h"
#include "cli/servebanner.h"
#include "cli/settings.h"
#include "cli/storeaccess.h"
#include "cli/verbs.h"
#include "server/listener.h"
#include "server/sandbox.h"
#include "server/service.h"

enum {
    CMD_SERVE_PORT = 8080,
    CMD_SERVE_PER_ADDRESS = 256, /* connections */
    CMD_SERVE_ANSWER = 8192,     /* tokens */
    CMD_SERVE_FILE_MAX = 1 << 20,
    CMD_SERVE_DISK_MIB = 1024,
    CMD_SERVE_LEAST = 256, /* tokens that --cache must hold */
    CMD_SERVE_ROWS = 21,
};

enum cmd_serve_sandbox { CMD_SERVE_FULL, CMD_SERVE_EGRESS, CMD_SERVE_OFF };

struct cmd_serve {
    struct settings settings;
    size_t disk_mib, forget_days, port, parallel, queue, cache_mib, answer_tokens;
    const char *name, *socket, *aliases, *prices, *cert, *key;
    const char *address, *data;
    int sandbox; /* enum cmd_serve_sandbox */
    bool lan, require_key, no_store;
    struct options_list hosts;
    /* Made on the way. */
    char *aliases_text, *prices_text, *cert_text, *key_text;
    char model_name[128];
    struct engine *engine;
    struct service *service;
    struct httpserver *http;
    struct pdftext *pdf;
    struct errinfo no_pdf; /* why it is NULL */
    char *folder;          /* of the data */
    char kept[STOREACCESS_PASSPHRASE];
    const char *passphrase;
    struct sandbox_report locked;
    struct servebanner banner;
};

static err cmd_serve_file(const char *option, const char *path, char **out, struct errinfo *info)
{
    size_t len;
    err e = path ? file_read(path, CMD_SERVE_FILE_MAX, out, &len, info) : ERR_OK;
    return e == ERR_OK ? e : err_prefix(info, e, "--%s: ", option);
}

/* A file with a `what` in it, and not the other of the two. */
static err cmd_serve_pem(const char *option, const char *path, const char *text, const char *what,
                         struct errinfo *info)
{
    const char *found = text ? strstr(text, "-----BEGIN ") : NULL;
    if (!text || strstr(text, what)) {
        return ERR_OK;
    }
    int n = found ? (int)strcspn(found + 11, "-\n") : 0;
    return err_set(info, ERR_ARGUMENT, "--%s: %s holds %s%.*s, and a %s was expected, as PEM",
                   option, path, found ? "a " : "no PEM", n < 40 ? n : 40, found ? found + 11 : "",
                   what);
}

/* Can other users of the machine read it? */
static bool cmd_serve_is_open(const char *path)
{
    struct stat s;
    return path && stat(path, &s) == 0 && (s.st_mode & S_IROTH);
}

/* As a request's Host has it, without scheme and port. */
static err cmd_serve_host(const char *name, struct errinfo *info)
{
    unsigned char address[16];
    size_t n = strlen(name);
    bool good = n > 0 && n < 254;
    if (strcmp(name, "0.0.0.0") == 0 || strcmp(name, "::") == 0) {
        return err_set(info, ERR_ARGUMENT, "--host is a name others know this server by, and %s is none; to "
                       "listen for other machines: --lan", name);
    }
    for (size_t i = 0; i < n; i++) {
        good = good && (isalnum((unsigned char)name[i]) || strchr(".-_", name[i]));
    }
    return good || inet_pton(AF_INET6, name, address) == 1
               ? ERR_OK
               : err_set(info, ERR_ARGUMENT,
                         "--host needs a name alone, like fathom.home, got \"%.100s\"", name);
}

/* In memory there is neither a folder nor a key that somebody could have made. */
static err cmd_serve_check_store(const struct cmd_serve *c, struct errinfo *info)
{
    if (c->no_store && c->data) {
        return err_set(info, ERR_ARGUMENT, "--no-store keeps nothing in %s: give either it or --data", c->data);
    }
    return c->no_store && (c->lan || c->require_key)
               ? err_set(info, ERR_ARGUMENT,
                         "%s needs a key, and --no-store has none: keys are made before, in a folder "
                         "(--data DIR; one in /dev/shm is gone when the machine stops)",
                         c->lan ? "--lan" : "--require-key")
               : ERR_OK;
}

static err cmd_serve_check(struct cmd_serve *c, struct errinfo *info)
{
    TRY(cmd_serve_check_store(c, info));
    if (!c->cert != !c->key) {
        return err_set(info, ERR_ARGUMENT, "--tls-cert and --tls-key belong together; give both");
    }
    if (c->socket && (c->lan || c->address)) {
        return err_set(info, ERR_ARGUMENT, "--socket is for this machine alone: without --lan and --address");
    }
    if (c->address && !c->lan && strncmp(c->address, "127.", 4) != 0 && strcmp(c->address, "::1") != 0) {
        return err_set(info, ERR_ARGUMENT, "others can reach %s: that needs --lan, and a key", c->address);
    }
    for (size_t i = 0; i < c->hosts.n; i++) {
        TRY(cmd_serve_host(c->hosts.items[i], info));
    }
    TRY(cmd_serve_file("aliases", c->aliases, &c->aliases_text, info));
    TRY(cmd_serve_file("prices", c->prices, &c->prices_text, info));
    TRY(cmd_serve_file("tls-cert", c->cert, &c->cert_text, info));
    TRY(cmd_serve_file("tls-key", c->key, &c->key_text, info));
    TRY(cmd_serve_pem("tls-cert", c->cert, c->cert_text, "CERTIFICATE", info));
    TRY(cmd_serve_pem("tls-key", c->key, c->key_text, "PRIVATE KEY", info));
    return c->key_text && strstr(c->key_text, "ENCRYPTED")
               ? err_set(info, ERR_ARGUMENT,
                         "--tls-key: %s is encrypted, and nobody is asked for its password here; make one "
                         "without: openssl pkey -in %s -out plain.pem", c->key, c->key)
               : ERR_OK;
}

/* What clients call the model: the name it is registered by, or its file's. */
static err cmd_serve_name(struct cmd_serve *c, struct errinfo *info)
{
    char *word = NULL;
    const char *name = c->name ? c->name : c->settings.model;
    if (!name) {
        TRY(modelref_default(&word, info));
        name = word;
    }
    size_t n = strlen(name);
    while (n > 1 && name[n - 1] == '/') {
        n--;
    }
    const char *slash = memrchr(name, '/', n > 0 ? n - 1 : 0);
    size_t from = !c->name && slash ? (size_t)(slash - name) + 1 : 0;
    n -= from;
    n -= !c->name && n > 5 && memcmp(name + from + n - 5, ".gguf", 5) == 0 ? 5 : 0;
    snprintf(c->model_name, sizeof c->model_name, "%.*s", (int)n, name + from);
    mem_free(word);
    return ERR_OK;
}

/* A server that others reach needs somebody who may. */
static err cmd_serve_has_key(const struct cmd_serve *c, struct errinfo *info)
{
    struct keystore_key *keys;
    size_t n, good = 0;
    TRY(keystore_list(c->service->keys, &keys, &n, info));
    for (size_t i = 0; i < n; i++) {
        good += keystore_good(&keys[i], service_now());
    }
    mem_free(keys);
    return good ? ERR_OK
                : err_set(info, ERR_ARGUMENT,
                          "%s needs a key, and there is none: make one with `fathom keys create --name me%s%s`",
                          c->lan ? "--lan" : "--require-key", c->data ? " --data " : "",
                          c->data ? c->data : "");
}

static err cmd_serve_data(struct cmd_serve *c, struct errinfo *info)
{
    if (c->no_store) {
        return ERR_OK;
    }
    if (c->data) {
        c->folder = mem_dup(c->data, strlen(c->data));
        TRY(c->folder ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory for a path"));
    } else {
        TRY(database_folder(&c->folder, info));
    }
    return storeaccess_passphrase(c->folder, c->kept, &c->passphrase, info);
}

/* Can what --cache names be had, and is it of any use? */
static err cmd_serve_memory(const struct cmd_serve *c, struct errinfo *info)
{
    char text[MEMINFO_TEXT], other[MEMINFO_TEXT];
    size_t bytes = c->cache_mib << 20, free = meminfo_available(),
           context = engine_context_max(c->engine);
    size_t least = engine_cache_bytes_per_token(c->engine) *
                   (context < CMD_SERVE_LEAST ? context : CMD_SERVE_LEAST);
    if (c->cache_mib == 0) {
        return ERR_OK;
    }
    if (bytes > free) {
        return err_set(info, ERR_ARGUMENT, "--cache %zu is %s, and %s of memory is free",
                       c->cache_mib, meminfo_text(bytes, text), meminfo_text(free, other));
    }
    return bytes >= least
               ? ERR_OK
               : err_set(
                     info, ERR_ARGUMENT,
                     "--cache %zu: the keys and values of %zu tokens of this model alone take %s",
                     c->cache_mib, context < CMD_SERVE_LEAST ? context : (size_t)CMD_SERVE_LEAST,
                     meminfo_text(least, text));
}

static err cmd_serve_service(struct cmd_serve *c, struct errinfo *info)
{
    struct service_options o = {
        .engine = c->engine,
        .format = settings_chat_format(&c->settings, c->engine),
        .name = c->model_name,
        .aliases = c->aliases_text,
        .aliases_name = c->aliases,
        .prices = c->prices_text,
        .prices_name = c->prices,
        .max_tokens = c->answer_tokens,
        .batcher = {.running = c->parallel, .waiting = c->queue, .memory = c->cache_mib << 20},
        .guard = {.tls = c->cert != NULL,
                  .open = c->lan,
                  .key_required = c->lan || c->require_key,
                  .hosts = c->hosts.items,
                  .n_hosts = c->hosts.n},
        .data = c->folder,
        .disk = c->disk_mib << 20,
        .forget_days = c->forget_days,
        .passphrase = c->passphrase,
        .pdf = c->pdf,
        .seeded = c->settings.seed >= 0,
    };
    TRY(settings_sampling(&c->settings, c->engine, &o.sampling, info));
    err e = service_new(&o, &c->service, info);
    sodium_memzero(c->kept, sizeof c->kept);
    TRY(e);
    return o.guard.key_required ? cmd_serve_has_key(c, info) : ERR_OK;
}

/* From here on this process answers, and does nothing else (sandbox.h). */
static err cmd_serve_lock(struct cmd_serve *c, struct errinfo *info)
{
    const struct sandbox_options o = {.data = c->folder, .files_may_be_free = c->sandbox == CMD_SERVE_EGRESS};
    if (c->sandbox == CMD_SERVE_OFF) {
        return ERR_OK;
    }
    err e = sandbox_enter(&o, &c->locked, info);
    return e == ERR_OK ? e
                       : err_prefix(info, e,
                                    "the sandbox is not to be had (fathom doctor --no-egress tells more; "
                                    "--sandbox egress or off does with less): ");
}

static err cmd_serve_start(struct cmd_serve *c, struct errinfo *info)
{
    const char *address = c->address ? c->address : c->lan ? "0.0.0.0" : "127.0.0.1";
    int listener;
    c->banner = (struct servebanner){.service = c->service,
                                     .socket = c->socket,
                                     .address = c->address,
                                     .data = c->data,
                                     .open_key = cmd_serve_is_open(c->key) ? c->key : NULL,
                                     .lan = c->lan,
                                     .hosts = &c->hosts,
                                     .no_pdf = c->pdf ? NULL : c->no_pdf.message,
                                     .locked = &c->locked};
    TRY(c->socket ? listener_unix(c->socket, &listener, info)
                  : listener_tcp(address, (unsigned)c->port, &listener, &c->banner.port, info));
    servebanner_find(&c->banner);
    err e = cmd_serve_lock(c, info); /* before the first request can come */
    if (e != ERR_OK) {
        close(listener);
        return e;
    }
    const struct httpserver_options o = {.listener = listener,
                                         .tls_cert = c->cert_text,
                                         .tls_key = c->key_text,
                                         .per_address = c->lan ? CMD_SERVE_PER_ADDRESS : 0,
                                         .handle = service_handle,
                                         .user = c->service};
    TRY(httpserver_start(&o, &c->http, info));
    c->service->http = c->http;
    return ERR_OK;
}

static void cmd_serve_close(struct cmd_serve *c)
{
    sodium_memzero(c->kept, sizeof c->kept);
    httpserver_stop(c->http);
    service_free(c->service);
    engine_close(c->engine);
    pdftext_stop(c->pdf);
    mem_free(c->folder);
    if (c->socket && c->http) {
        unlink(c->socket); /* refused behind the sandbox; the next start replaces it */
    }
    mem_free(c->aliases_text);
    mem_free(c->prices_text);
    mem_free(c->cert_text);
    mem_free(c->key_text);
}

/* Every connection is a file, and shells allow 1024 unless they are asked. */
static void cmd_serve_files(void)
{
    enum { CMD_SERVE_FILES = 2 * HTTPSERVER_CONNECTIONS };
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < CMD_SERVE_FILES) {
        r.rlim_cur = r.rlim_max < CMD_SERVE_FILES ? r.rlim_max : CMD_SERVE_FILES;
        setrlimit(RLIMIT_NOFILE, &r); /* refused: fewer connections at a time */
    }
}

static err cmd_serve_run(struct cmd_serve *c, struct errinfo *info)
{
    sigset_t ends;
    int which;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    cmd_serve_files();
    signal(SIGPIPE, SIG_IGN); /* readers that go are no reason to die */
    TRY(cmd_serve_check(c, info));
    TRY(cmd_serve_data(c, info));            /* may ask for a passphrase: Ctrl-C ends that */
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* threads made from here on leave them to sigwait */
    if (pdftext_start(NULL, &c->pdf, &c->no_pdf) != ERR_OK) {
        c->pdf = NULL;
    }
    TRY(cmd_serve_name(c, info));
    TRY(settings_open(&c->settings, &c->engine, info));
    TRY(cmd_serve_memory(c, info));
    TRY(cmd_serve_service(c, info));
    TRY(cmd_serve_start(c, info));
    servebanner_print(&c->banner);
    sigwait(&ends, &which);
    puts(c->folder ? "\nFathom stops; the chats are kept."
                   : "\nFathom stops; the chats go with it.");
    fflush(stdout);
    pthread_sigmask(SIG_UNBLOCK, &ends, NULL); /* a second one kills */
    return ERR_OK;
}

int cmd_serve(int argc, char **argv)
{
    static const char *const sandboxes[] = {"full", "egress", "off", NULL};
    struct cmd_serve c = {
        .port = CMD_SERVE_PORT, .answer_tokens = CMD_SERVE_ANSWER, .disk_mib = CMD_SERVE_DISK_MIB};
    struct options_row rows[CMD_SERVE_ROWS + SETTINGS_ENGINE_ROWS + SETTINGS_SAMPLING_ROWS];
    size_t n = 0;
    int status;
    settings_init(&c.settings);
    settings_engine_rows(&c.settings, rows, &n);
    rows[n++] = options_size("context", "N", 1, (size_t)1 << 24, &c.settings.limit,
                             "longest prompt and answer together (as long as the model was made for)");
    rows[n++] = options_size("port", "N", 0, 65535, &c.port, "port of this machine (8080); 0: any");
    rows[n++] = options_flag("lan", &c.lan,
                             "for other machines, too (IPv4; with --address :: IPv6, too); "
                             "everyone needs a key then");
    rows[n++] = options_string("address", "IP", &c.address, "listen at this address of the machine");
    rows[n++] = options_flag("require-key", &c.require_key, "a key is needed on this machine, too");
    rows[n++] = options_string("data", "DIR", &c.data, "folder of chats, keys and usage");
    rows[n++] = options_flag("no-store", &c.no_store, "keep chats and keys in memory, and nothing on the disk");
    rows[n++] = options_choice("sandbox", "HOW", sandboxes, &c.sandbox,
                               "full; egress: files may stay open where the kernel cannot close them; off");
    rows[n++] = options_string("socket", "PATH", &c.socket, "a Unix socket instead of a port");
    rows[n++] = options_each("host", "NAME", &c.hosts,
                             "a name others know this server by, like fathom.home");
    rows[n++] = options_string("tls-cert", "FILE", &c.cert, "HTTPS: the certificate (PEM)");
    rows[n++] = options_string("tls-key", "FILE", &c.key, "HTTPS: its key (PEM)");
    rows[n++] = options_string("name", "NAME", &c.name, "what clients call the model");
    rows[n++] = options_string("aliases", "FILE", &c.aliases, "its further names (form: models/aliases.txt)");
    rows[n++] =
        options_string("prices", "FILE", &c.prices,
                       "what tokens cost, for usage and balances (form: models/prices.txt)");
    rows[n++] = options_size("parallel", "N", 1, BATCHER_RUNNING_MAX, &c.parallel, "answers at a time (16)");
    rows[n++] = options_size("queue", "N", 1, 1 << 16, &c.queue,
                             "requests of one key that may wait beside them (64)");
    rows[n++] = options_size("cache", "MIB", 1, 1 << 30, &c.cache_mib,
                             "memory for keys and values (half of what is free)");
    rows[n++] = options_size("disk-cache", "MIB", 0, 1 << 30, &c.disk_mib,
                             "of these, kept in the data folder, sealed (1024)");
    rows[n++] = options_size("forget-days", "N", 1, 36500, &c.forget_days,
                             "delete chats and cached texts that nobody used for N days (never)");
    rows[n++] = options_size("answer-tokens", "N", 1, 1 << 30, &c.answer_tokens,
                             "longest answer to a request that names none (8192)");
    settings_sampling_rows(&c.settings, rows, &n);
    const struct options spec = {
        "serve", "answer programs and people over HTTP", rows, n,
        "  fathom serve\n"
        "  curl http://127.0.0.1:8080/v1/chat/completions \\\n"
        "       -H 'Content-Type: application/json' \\\n"
        "       -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n"
        "  fathom keys create --name anna && fathom serve --lan\n\n"
        "Chats and keys lie sealed in the data folder, and the key to them beside them\n"
        "until `fathom keys passphrase` seals that, too; then serve asks for the\n"
        "passphrase, or takes it from FATHOM_PASSPHRASE.\n"};
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    err e = cmd_serve_run(&c, &info);
    cmd_serve_close(&c);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
