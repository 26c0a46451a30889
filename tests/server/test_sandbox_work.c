/* What goes on working behind the sandbox: computing, the database, connections that come, TLS, secrets, files in the
 * data folder. Everything that needs the world is made before, as the server does it. */
#include "server/sandboxfixture.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <pthread.h>
#include <sodium.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#include "base/cpuinfo.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/meminfo.h"
#include "engine/enginefixture.h"
#include "server/enginethread.h"

/* ---- computing: OpenMP's threads start after the door is shut ---- */

static int answer_with(const char *model, int threads, bool enter_first, struct place *p)
{
    struct errinfo info = {0};
    struct engine *e = NULL;
    struct enginethread *t = NULL;
    struct enginethread_stream *s = NULL;
    struct enginethread_event event = {.e = ERR_IO};
    const struct engine_options options = {.n_threads = threads};
    int32_t ids[70];
    size_t heard = 0;
    if (engine_open(model, &options, &e, &info) != ERR_OK) {
        return STRANGE;
    }
    enginefixture_tokens(e, ids, 70);
    if ((enter_first && !sandboxfixture_enter(p, 0)) ||
        enginethread_start(e, &(struct batcher_options){.running = 2}, &t, &info) != ERR_OK ||
        (!enter_first && !sandboxfixture_enter(p, 0))) {
        return NOT_ENTERED;
    }
    const struct enginethread_request r = {
        .tokens = ids, .n_tokens = 70, .options = {.max_tokens = 12, .ignore_eos = true}};
    if (enginethread_ask(t, &r, &s, &info) != ERR_OK) {
        return STRANGE;
    }
    while (enginethread_wait(s, &event)) {
        heard += event.kind == ENGINETHREAD_TOKEN;
    }
    enginethread_close(s);
    enginethread_stop(t);
    engine_close(e);
    return heard == 12 && event.e == ERR_OK ? WENT_WELL : STRANGE;
}

static int engine_after(struct place *p)
{
    return answer_with(enginefixture_models[0], 3, true, p);
}

static int engine_before(struct place *p)
{
    return answer_with(ENGINEFIXTURE_CHAT, 2, false, p);
}

static int machine(struct place *p)
{
    int cores = cpuinfo_cores();
    size_t memory = meminfo_available();
    enum cpuinfo_level level = cpuinfo_best();
    if (!sandboxfixture_enter(p, 0)) {
        return NOT_ENTERED;
    }
    time_t now = time(NULL);
    struct tm day;
    return cpuinfo_cores() == cores && meminfo_available() > memory / 2 && cpuinfo_best() == level &&
                   localtime_r(&now, &day)
               ? WENT_WELL
               : STRANGE;
}

static int memory(struct place *p)
{
    (void)p;
    for (int i = 0; i < 3; i++) {
        size_t n = (size_t)64 << 20;
        char *large = mem_alloc_aligned(n), *plain = malloc(n);
        if (!large || !plain) {
            return STRANGE;
        }
        memset(large, i, n);
        memset(plain, i, n);
        plain = realloc(plain, 2 * n);
        free(plain);
        mem_free_aligned(large);
    }
    return WENT_WELL;
}

static int secrets(struct place *p)
{
    unsigned char key[32];
    unsigned char *kept = sodium_malloc(64);
    (void)p;
    randombytes_buf(key, sizeof key);
    bool derived = kept && crypto_pwhash(kept, 64, "word", 4, key, crypto_pwhash_OPSLIMIT_MIN,
                                         8 << 20, crypto_pwhash_ALG_DEFAULT) == 0;
    if (!derived || sodium_mprotect_readonly(kept) != 0) {
        return STRANGE;
    }
    sodium_free(kept);
    return WENT_WELL;
}

/* ---- files in the data folder ---- */

static int files(struct place *p)
{
    struct errinfo info = {0};
    struct folder_names names = {0};
    char sub[128], path[160];
    int lock = -1;
    snprintf(sub, sizeof sub, "%s/sub", p->data.path);
    snprintf(path, sizeof path, "%s/note", sub);
    bool well = file_make_dirs(sub, &info) == ERR_OK && file_write(path, "text", 4, &info) == ERR_OK &&
                file_lock_folder(sub, &lock, &info) == ERR_OK && folder_list(sub, &names, &info) == ERR_OK &&
                names.n >= 1 && rename(path, tempdir_file(&p->data, "moved")) == 0 &&
                unlink(p->data.file) == 0;
    file_unlock(lock);
    folder_names_deinit(&names);
    well = well && folder_remove(sub, &info) == ERR_OK;
    if (!well) {
        fprintf(stderr, "%s\n", info.message);
    }
    return well ? WENT_WELL : STRANGE;
}

static bool sql(sqlite3 *db, const char *text)
{
    char *message = NULL;
    bool well = sqlite3_exec(db, text, NULL, NULL, &message) == SQLITE_OK;
    if (!well) {
        fprintf(stderr, "%s: %s\n", text, message);
    }
    sqlite3_free(message);
    return well;
}

/* Opened before, with the write-ahead log made after; and a second connection opened after. */
static int database(struct place *p)
{
    sqlite3 *db = NULL, *second = NULL;
    const char *path = tempdir_file(&p->data, "chats.db");
    if (sqlite3_open(path, &db) != SQLITE_OK || !sql(db, "PRAGMA temp_store=MEMORY; PRAGMA journal_mode=WAL")) {
        return STRANGE;
    }
    if (!sandboxfixture_enter(p, 0)) {
        return NOT_ENTERED;
    }
    bool well = sql(db, "CREATE TABLE t(a); CREATE VIRTUAL TABLE f USING fts5(text)") &&
                sql(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
                        "INSERT INTO t SELECT hex(randomblob(20)) FROM n ORDER BY i DESC") &&
                sql(db, "INSERT INTO f VALUES('what was said'); SELECT * FROM f WHERE f MATCH 'said'") &&
                sqlite3_open(path, &second) == SQLITE_OK &&
                sql(second, "PRAGMA temp_store=MEMORY; BEGIN IMMEDIATE; DELETE FROM t WHERE a > 'A'; COMMIT") &&
                sql(second, "PRAGMA wal_checkpoint(TRUNCATE); VACUUM");
    well = well && sqlite3_close(second) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK;
    return well ? WENT_WELL : STRANGE;
}

/* ---- connections ---- */

static enum MHD_Result reply(void *user, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, const char *data, size_t *size,
                             void **state)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(5, (void *)"hello", MHD_RESPMEM_PERSISTENT);
    enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_OK, r);
    (void)user, (void)url, (void)method, (void)version, (void)data, (void)size, (void)state;
    MHD_destroy_response(r);
    return queued;
}

static bool gets_hello(const struct place *p)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    char got[1000];
    size_t n = 0;
    ssize_t more;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&p->port, sizeof p->port) != 0 ||
        write(fd, request, sizeof request - 1) < 0) {
        return false;
    }
    while (n < sizeof got - 1 && (more = read(fd, got + n, sizeof got - 1 - n)) > 0) {
        n += (size_t)more;
    }
    got[n] = '\0';
    return strstr(got, "200 OK") && strstr(got, "hello");
}

/* Somebody outside of the sandbox who works once told, and tells how it went. */
static void outside(bool (*work)(const struct place *), const struct place *p, int told, int tells)
{
    if (fork() == 0) {
        char go;
        alarm(20);
        bool well = read(told, &go, 1) == 1 && work(p);
        _exit(write(tells, well ? "y" : "n", 1) == 1 ? 0 : 1);
    }
}

static int http_with(struct place *p, unsigned flags)
{
    int go[2], came[2];
    char well = 'n';
    if (pipe(go) != 0 || pipe(came) != 0) {
        return STRANGE;
    }
    outside(gets_hello, p, go[0], came[1]);
    struct MHD_Daemon *d = MHD_start_daemon(flags, 0, NULL, NULL, reply, NULL, MHD_OPTION_LISTEN_SOCKET,
                                            p->listener, MHD_OPTION_CONNECTION_TIMEOUT, 10U, MHD_OPTION_END);
    if (!d || !sandboxfixture_enter(p, 0)) {
        return NOT_ENTERED;
    }
    if (write(go[1], "!", 1) != 1 || read(came[0], &well, 1) != 1) {
        return STRANGE;
    }
    MHD_stop_daemon(d);
    return well == 'y' ? WENT_WELL : STRANGE;
}

static int http_epoll(struct place *p)
{
    return http_with(p, MHD_USE_EPOLL_INTERNAL_THREAD);
}

static int http_threads(struct place *p) /* which begin after the sandbox */
{
    return http_with(p, MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL);
}

static bool handshake(gnutls_session_t session, int fd)
{
    int got;
    gnutls_transport_set_int(session, fd);
    gnutls_handshake_set_timeout(session, 10000);
    do {
        got = gnutls_handshake(session);
    } while (got < 0 && !gnutls_error_is_fatal(got));
    return got == GNUTLS_E_SUCCESS;
}

static const char *const anonymous = "NORMAL:-KX-ALL:+ANON-ECDH:-VERS-ALL:+VERS-TLS1.2";

static void tls_client(int fd)
{
    gnutls_anon_client_credentials_t who;
    gnutls_session_t session;
    gnutls_anon_allocate_client_credentials(&who);
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_priority_set_direct(session, anonymous, NULL);
    gnutls_credentials_set(session, GNUTLS_CRD_ANON, who);
    _exit(handshake(session, fd) && gnutls_record_send(session, "ping", 4) == 4 ? 0 : 1);
}

/* The library is set up before, the session made and the keys agreed on after. */
static int tls(struct place *p)
{
    gnutls_anon_server_credentials_t who;
    gnutls_session_t session;
    int ends[2];
    char got[8];
    gnutls_global_init();
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        return STRANGE;
    }
    if (fork() == 0) {
        alarm(20);
        tls_client(ends[1]);
    }
    if (!sandboxfixture_enter(p, 0)) {
        return NOT_ENTERED;
    }
    gnutls_anon_allocate_server_credentials(&who);
    gnutls_init(&session, GNUTLS_SERVER);
    gnutls_priority_set_direct(session, anonymous, NULL);
    gnutls_credentials_set(session, GNUTLS_CRD_ANON, who);
    return handshake(session, ends[0]) && gnutls_record_recv(session, got, sizeof got) == 4 ? WENT_WELL
                                                                                             : STRANGE;
}

struct working {
    const char *name;
    int (*body)(struct place *);
    bool enters;
};

static const struct working working[] = {
    {"an engine whose threads begin behind it", engine_after, true},
    {"an engine whose thread began before it", engine_before, true},
    {"what the machine tells of itself", machine, true},
    {"large blocks of memory", memory, false},
    {"libsodium", secrets, false},
    {"files in the data folder", files, false},
    {"SQLite", database, true},
    {"HTTP by one thread", http_epoll, true},
    {"HTTP by a thread for each connection", http_threads, true},
    {"TLS", tls, true},
};

static void test_working(void **state)
{
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    for (size_t i = 0; i < sizeof working / sizeof *working; i++) {
        int got = sandboxfixture_run(working[i].body, 0, working[i].enters);
        if (got != WENT_WELL) {
            fail_msg("%s: %d", working[i].name, got);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_working)};
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
