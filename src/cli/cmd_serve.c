/* cli/cmd_serve.c: `fathom serve`: the HTTP API for programs, and the page for people. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/meminfo.h"
#include "cli/modelref.h"
#include "cli/settings.h"
#include "cli/verbs.h"
#include "server/listener.h"
#include "server/sandbox.h"
#include "server/service.h"

enum { CMD_SERVE_PORT = 8080, CMD_SERVE_ANSWER = 8192, CMD_SERVE_FILE_MAX = 1 << 20, CMD_SERVE_ROWS = 13 };

enum cmd_serve_sandbox { CMD_SERVE_FULL, CMD_SERVE_EGRESS, CMD_SERVE_OFF };

struct cmd_serve {
    struct settings settings;
    size_t port, parallel, queue, cache_mib, answer_tokens;
    const char *name, *socket, *aliases, *cert, *key;
    struct options_list hosts;
    int sandbox; /* enum cmd_serve_sandbox */
    /* Made on the way. */
    char *aliases_text, *cert_text, *key_text;
    char model_name[128];
    struct engine *engine;
    struct service *service;
    struct httpserver *http;
    struct sandbox_report locked;
    unsigned chosen; /* port */
};

static err cmd_serve_file(const char *path, char **out, struct errinfo *info)
{
    size_t len;
    return path ? file_read(path, CMD_SERVE_FILE_MAX, out, &len, info) : ERR_OK;
}

static err cmd_serve_check(struct cmd_serve *c, struct errinfo *info)
{
    if (!c->cert != !c->key) {
        return err_set(info, ERR_ARGUMENT, "--tls-cert and --tls-key belong together; give both");
    }
    TRY(cmd_serve_file(c->aliases, &c->aliases_text, info));
    TRY(cmd_serve_file(c->cert, &c->cert_text, info));
    return cmd_serve_file(c->key, &c->key_text, info);
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

static err cmd_serve_service(struct cmd_serve *c, struct errinfo *info)
{
    struct service_options o = {
        .engine = c->engine,
        .format = settings_chat_format(&c->settings, c->engine),
        .name = c->model_name,
        .aliases = c->aliases_text,
        .aliases_name = c->aliases,
        .max_tokens = c->answer_tokens,
        .batcher = {.running = c->parallel, .waiting = c->queue, .memory = c->cache_mib << 20},
        .guard = {.tls = c->cert != NULL, .hosts = c->hosts.items, .n_hosts = c->hosts.n},
    };
    TRY(settings_sampling(&c->settings, c->engine, &o.sampling, info));
    return service_new(&o, &c->service, info);
}

/* From here on this process answers, and does nothing else (sandbox.h). */
static err cmd_serve_lock(struct cmd_serve *c, struct errinfo *info)
{
    const struct sandbox_options o = {.files_may_be_free = c->sandbox == CMD_SERVE_EGRESS};
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
    int listener;
    TRY(c->socket ? listener_unix(c->socket, &listener, info)
                  : listener_tcp("127.0.0.1", (unsigned)c->port, &listener, &c->chosen, info));
    const struct httpserver_options o = {.listener = listener,
                                         .tls_cert = c->cert_text,
                                         .tls_key = c->key_text,
                                         .handle = service_handle,
                                         .user = c->service};
    err e = cmd_serve_lock(c, info); /* before the first request can come */
    if (e != ERR_OK) {
        close(listener);
        return e;
    }
    TRY(httpserver_start(&o, &c->http, info));
    c->service->http = c->http;
    return ERR_OK;
}

static void cmd_serve_say(const struct cmd_serve *c)
{
    struct batcher_counts counts = enginethread_counts(c->service->model.thread);
    char memory[MEMINFO_TEXT], locked[SANDBOX_TEXT];
    if (c->socket) {
        printf("Fathom serves %s at the socket %s\n", c->model_name, c->socket);
    } else {
        printf("Fathom serves %s at %s://127.0.0.1:%u\n", c->model_name, c->cert ? "https" : "http", c->chosen);
    }
    printf("  context %zu tokens, %s for keys and values, answers up to %zu tokens unless asked for more\n",
           engine_context_max(c->engine), meminfo_text(counts.memory, memory), c->answer_tokens);
    printf("  API: /v1/chat/completions, /v1/completions, /v1/models …; no key is needed on this machine\n"
           "  %s\n"
           "Ctrl-C stops it.\n",
           sandbox_text(&c->locked, locked));
    fflush(stdout);
}

static void cmd_serve_close(struct cmd_serve *c)
{
    httpserver_stop(c->http);
    service_free(c->service);
    engine_close(c->engine);
    if (c->socket && c->http) {
        unlink(c->socket); /* refused behind the sandbox; the next start replaces it */
    }
    mem_free(c->aliases_text);
    mem_free(c->cert_text);
    mem_free(c->key_text);
}

static err cmd_serve_run(struct cmd_serve *c, struct errinfo *info)
{
    sigset_t ends;
    int which;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    signal(SIGPIPE, SIG_IGN);                /* readers that go are no reason to die */
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* threads made from here on leave them to sigwait */
    TRY(cmd_serve_check(c, info));
    TRY(cmd_serve_name(c, info));
    TRY(settings_open(&c->settings, &c->engine, info));
    TRY(cmd_serve_service(c, info));
    TRY(cmd_serve_start(c, info));
    cmd_serve_say(c);
    sigwait(&ends, &which);
    pthread_sigmask(SIG_UNBLOCK, &ends, NULL); /* a second one kills */
    return ERR_OK;
}

int cmd_serve(int argc, char **argv)
{
    struct cmd_serve c = {.port = CMD_SERVE_PORT, .answer_tokens = CMD_SERVE_ANSWER};
    static const char *const sandboxes[] = {"full", "egress", "off", NULL};
    struct options_row rows[CMD_SERVE_ROWS + SETTINGS_ENGINE_ROWS + SETTINGS_SAMPLING_ROWS];
    size_t n = 0;
    int status;
    settings_init(&c.settings);
    settings_engine_rows(&c.settings, rows, &n);
    rows[n++] = options_size("port", "N", 0, 65535, &c.port, "port of this machine (8080); 0: any");
    rows[n++] = options_string("socket", "PATH", &c.socket, "a Unix socket instead of a port");
    rows[n++] = options_each("host", "NAME", &c.hosts, "a further name of this server");
    rows[n++] = options_string("tls-cert", "FILE", &c.cert, "HTTPS: the certificate (PEM)");
    rows[n++] = options_string("tls-key", "FILE", &c.key, "HTTPS: its key (PEM)");
    rows[n++] = options_string("name", "NAME", &c.name, "what clients call the model");
    rows[n++] = options_string("aliases", "FILE", &c.aliases, "its further names (form: models/aliases.txt)");
    rows[n++] = options_size("parallel", "N", 1, BATCHER_RUNNING_MAX, &c.parallel, "answers at a time (16)");
    rows[n++] = options_size("queue", "N", 1, 1 << 16, &c.queue, "requests that may wait beside them (64)");
    rows[n++] = options_size("cache", "MIB", 1, 1 << 30, &c.cache_mib,
                             "memory for keys and values (half of what is free)");
    rows[n++] = options_size("answer-tokens", "N", 1, 1 << 30, &c.answer_tokens,
                             "longest answer to a request that names none (8192)");
    rows[n++] = options_choice("sandbox", "HOW", sandboxes, &c.sandbox,
                               "full; egress: files may stay open where the kernel cannot close them; off");
    settings_sampling_rows(&c.settings, rows, &n);
    const struct options spec = {"serve", "answer programs and people over HTTP", rows, n,
                                 "  fathom serve\n"
                                 "  curl http://127.0.0.1:8080/v1/chat/completions \\\n"
                                 "       -H 'Content-Type: application/json' \\\n"
                                 "       -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n"};
    if (!options_begin(&spec, argc, argv, &status)) {
        return status;
    }
    struct errinfo info = {0};
    err e = cmd_serve_run(&c, &info);
    cmd_serve_close(&c);
    return e == ERR_OK ? 0 : options_fail(&spec, &info);
}
