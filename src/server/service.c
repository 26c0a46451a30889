/* server/service.c: see service.h. */
#include "server/service.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/condition.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "server/api.h"
#include "server/pagefiles.h"
#include "server/pagepdf.h"
#include "server/pagesession.h"
#include "server/route.h"
#include "server/webassets.h"

extern const unsigned char aliases_text[]; /* models/aliases.txt */

int64_t service_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void service_caller(const struct keystore_key *key, struct caller *out)
{
    *out = (struct caller){.scopes = key->scopes, .keyed = true};
    memcpy(out->owner, key->id, sizeof out->owner);
}

/* guard.key */
static bool service_key(void *user, const char *secret, struct caller *out, struct apierror *e)
{
    struct service *s = user;
    struct keystore_key key;
    struct errinfo info = {0};
    err result = keystore_check(s->keys, secret, service_now(), &key, &info);
    if (result == ERR_NOTFOUND) {
        return apierror_set(e, 401, "invalid_api_key", NULL, "%s", info.message);
    }
    if (result != ERR_OK) {
        return apierror_from(e, result, &info);
    }
    service_caller(&key, out);
    return true;
}

/* ---- Beginning and end. ---- */

/* `n` bytes, a multiple of VAULT_TAG, that follow from the key and a word. */
static void service_tag(const struct vault_key *k, const char *word, unsigned char *out, size_t n)
{
    unsigned char what[16] = {0};
    strncpy((char *)what, word, sizeof what - 1);
    for (size_t i = 0; i < n; i += VAULT_TAG) {
        what[15] = (unsigned char)(i / VAULT_TAG);
        vault_tag(k, what, sizeof what, out + i);
    }
}

/* A secret that stays as long as the folder: sessions of the page and cached prefixes outlive a
 * restart. */
static err service_secret(struct service *s, struct errinfo *info)
{
    struct vault_key *key;
    TRY(vault_key_new(&key, info));
    vault_derive(database_vault(s->database), "service_", 0, key);
    service_tag(key, "service", s->secret, sizeof s->secret);
    vault_key_free(key);
    return ERR_OK;
}

static err service_read_prices(struct service *s, struct errinfo *info)
{
    const struct service_options *o = &s->is;
    if (!o->prices) {
        return pricetable_builtin(&s->prices, info);
    }
    err e = pricetable_parse(o->prices, strlen(o->prices), &s->prices, info);
    return e == ERR_OK ? e : err_prefix(info, e, "%s: ", o->prices_name);
}

static err service_open_store(struct service *s, struct errinfo *info)
{
    const struct service_options *o = &s->is;
    TRY(o->data ? database_open(o->data, o->passphrase, &s->database, info)
                : database_new(&s->database, info));
    s->is.passphrase = NULL; /* its owner wipes it */
    TRY(service_secret(s, info));
    TRY(chatstore_open(s->database, true, &s->chats, info));
    TRY(keystore_open(s->database, &s->keys, info));
    TRY(signedout_open(s->database, service_now(), &s->signedout, info));
    TRY(service_read_prices(s, info));
    TRY(usagestore_open(s->database, &s->prices, &s->usage, info));
    TRY(ratelimit_new(&s->limits, info));
    TRY(ratelimit_new(&s->counting, info));
    const struct claims_options claims = {s->keys, s->usage, s->limits, &s->prices, modelnames_own(s->names)};
    return claim_open(&claims, &s->claims, info);
}

/* ---- Prefixes on disk, sealed. ---- */

static void service_seal(void *user, const uint8_t salt[PREFIXINDEX_SALT], const uint8_t *plain, size_t n,
                         uint8_t *out)
{
    const struct service *s = user;
    vault_derive_salted(s->page_key, salt, PREFIXINDEX_SALT, s->page_sealing);
    vault_seal(s->page_sealing, "prefix", plain, n, out);
}

static bool service_unseal(void *user, const uint8_t salt[PREFIXINDEX_SALT], const uint8_t *sealed, size_t n,
                           uint8_t *out)
{
    const struct service *s = user;
    struct errinfo info;
    vault_derive_salted(s->page_key, salt, PREFIXINDEX_SALT, s->page_opening);
    return vault_unseal(s->page_opening, "prefix", sealed, n, out, &info) == ERR_OK;
}

static err service_disk(struct service *s, struct prefixdisk_options *out, struct errinfo *info)
{
    struct vault_key *names;
    s->page_folder = file_join(s->is.data, SERVICE_PREFIXES);
    if (!s->page_folder) {
        return err_set(info, ERR_NOMEM, "out of memory for a path");
    }
    TRY(vault_key_new(&s->page_key, info));
    TRY(vault_key_new(&s->page_sealing, info));
    TRY(vault_key_new(&s->page_opening, info));
    TRY(vault_key_new(&names, info));
    vault_derive(database_vault(s->database), "prefixes", 0, s->page_key);
    vault_derive(database_vault(s->database), "prefixes", 1, names);
    *out = (struct prefixdisk_options){
        .folder = s->page_folder,
        .bytes = s->is.disk,
        .codec = {VAULT_EXTRA, service_seal, service_unseal, s}};
    service_tag(names, "names", out->key, sizeof out->key);
    vault_key_free(names);
    return ERR_OK;
}

static err service_engine(struct service *s, struct errinfo *info)
{
    struct prefixdisk_options disk;
    struct batcher_options o = s->is.batcher;
    if (s->is.data && s->is.disk > 0) {
        TRY(service_disk(s, &disk, info));
        o.disk = &disk;
    }
    return enginethread_start(s->is.engine, &o, &s->model.thread, info);
}

/* ---- What is too old goes: at start and every hour. ---- */

/* Of everybody: who had the chats that went is not known any more. */
static void service_forget_all(struct service *s)
{
    struct keystore_key *keys;
    struct errinfo info;
    size_t n;
    service_forget(s, "local");
    if (keystore_list(s->keys, &keys, &n, &info) == ERR_OK) {
        for (size_t i = 0; i < n; i++) {
            service_forget(s, keys[i].id);
        }
        mem_free(keys);
    }
}

static void service_forget_old(struct service *s)
{
    struct errinfo info;
    size_t forgotten;
    err e = chatstore_forget(s->chats, s->is.forget_days, service_now(), &forgotten, &info);
    if (e == ERR_OK && forgotten > 0) {
        service_forget_all(s);
    }
    if (s->is.forget_days > 0) {
        enginethread_forget_unused(s->model.thread, service_now() - (int64_t)s->is.forget_days * 86400 * 1000);
    }
}

/* Of keys that were revoked, also by another program, since then. */
static void service_forget_revoked(struct service *s, int64_t since)
{
    struct keystore_key *keys;
    struct errinfo info;
    size_t n;
    if (keystore_list(s->keys, &keys, &n, &info) == ERR_OK) {
        for (size_t i = 0; i < n; i++) {
            if (keys[i].revoked && keys[i].revoked >= since) {
                service_forget_key(s, keys[i].id);
            }
        }
        mem_free(keys);
    }
}

/* ---- Keys that are no good any more, whoever revoked them, end what runs for them: every second. ---- */

/* One answer of the API under way. */
struct service_answer {
    struct service *service;
    struct service_answer *next, **link;
    struct exchange *exchange;
    struct claim claim; /* says whose it is */
};

static void service_end_answers(struct service *s, const char *owner)
{
    liveanswer_cut_all(s->live, owner);
    pthread_mutex_lock(&s->answers_lock);
    for (struct service_answer *a = s->answers; a; a = a->next) {
        if (strcmp(a->claim.owner, owner) == 0) {
            exchange_cut(a->exchange);
        }
    }
    pthread_mutex_unlock(&s->answers_lock);
}

static void service_end_revoked(struct service *s)
{
    char id[VAULT_ID + 1];
    for (size_t at = 0; ratelimit_running(s->limits, &at, id);) {
        struct keystore_key key;
        struct errinfo info;
        if (keystore_get(s->keys, id, &key, &info) == ERR_OK && !keystore_good(&key, service_now())) {
            service_end_answers(s, id);
        }
    }
}

/* Every second, so that no answer waits for the disk. */
void service_settle(struct service *s)
{
    struct errinfo info;
    err e = usagestore_write(s->usage, &info);
    e = e == ERR_OK ? keystore_write(s->keys, &info) : e;
    (void)e; /* a full disk: the usage is kept, and written when there is room */
}

static void *service_keeper(void *user)
{
    /* The latter: what they had asked just before may end later. */
    enum { SERVICE_FORGET_S = 3600, SERVICE_LATE_MS = 60000 };
    struct service *s = user;
    double forget = 0;
    int64_t revoked = 0; /* those before are forgotten */
    pthread_mutex_lock(&s->keeper_lock);
    while (!s->stopping) {
        pthread_mutex_unlock(&s->keeper_lock);
        if (progress_clock() >= forget) {
            int64_t now = service_now();
            service_forget_old(s);
            service_forget_revoked(s, revoked);
            revoked = now - SERVICE_LATE_MS;
            forget = progress_clock() + SERVICE_FORGET_S;
        }
        service_end_revoked(s);
        service_settle(s);
        pthread_mutex_lock(&s->keeper_lock);
        double until = progress_clock() + 1;
        while (!s->stopping && condition_wait(&s->keeper_stop, &s->keeper_lock, until)) {}
    }
    pthread_mutex_unlock(&s->keeper_lock);
    service_forget_revoked(s, revoked); /* before what is kept goes to the disk */
    return NULL;
}

static err service_keep(struct service *s, struct errinfo *info)
{
    pthread_mutex_init(&s->keeper_lock, NULL);
    condition_init(&s->keeper_stop);
    s->keeping = pthread_create(&s->keeper, NULL, service_keeper, s) == 0;
    return s->keeping ? ERR_OK : err_set(info, ERR_IO, "the system refused a thread for the store");
}

static void service_stop_keeping(struct service *s)
{
    if (s->keeping) {
        pthread_mutex_lock(&s->keeper_lock);
        s->stopping = true;
        pthread_cond_signal(&s->keeper_stop);
        pthread_mutex_unlock(&s->keeper_lock);
        pthread_join(s->keeper, NULL);
        pthread_cond_destroy(&s->keeper_stop);
        pthread_mutex_destroy(&s->keeper_lock);
    }
}

static void service_stop_reading(struct service *s)
{
    if (s->readers) {
        pdftext_end(s->is.pdf); /* nobody waits for what is being read */
        worker_stop(s->readers);
        worker_free(s->readers);
    }
}

static err service_open(struct service *s, struct errinfo *info)
{
    const struct service_options *o = &s->is;
    const struct tokenizer *t = engine_tokenizer(o->engine);
    if (!t) {
        return err_set(info, ERR_UNSUPPORTED,
                       "the model's files have no tokenizer, so nothing can be asked in words");
    }
    if (sodium_init() < 0) {
        return err_set(info, ERR_IO, "libsodium could not be initialised");
    }
    s->started = service_now() / 1000;
    s->is.guard.key = service_key;
    s->is.guard.cookie = pagesession_cookie;
    s->is.guard.user = s;
    TRY(modelnames_new(o->name, o->aliases ? o->aliases : (const char *)aliases_text,
                       o->aliases ? o->aliases_name : "aliases.txt", &s->names, info));
    TRY(metrics_new(&s->metrics, info));
    TRY(tokentrie_new(t, &s->trie, info));
    TRY(service_open_store(s, info));
    s->model = (struct answering_model){.engine = o->engine,
                                        .tokenizer = t,
                                        .trie = s->trie,
                                        .format = o->format,
                                        .max_tokens = o->max_tokens};
    TRY(service_engine(s, info));
    TRY(liveanswer_thread_start(&s->model, s->chats, &s->live, info));
    TRY(o->pdf ? pagepdf_start(&s->readers, info) : ERR_OK);
    return service_keep(s, info);
}

err service_new(const struct service_options *options, struct service **out, struct errinfo *info)
{
    struct service *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return err_set(info, ERR_NOMEM, "out of memory for the server");
    }
    s->is = *options;
    pthread_mutex_init(&s->answers_lock, NULL);
    err e = service_open(s, info);
    if (e != ERR_OK) {
        service_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void service_free(struct service *s)
{
    if (s) {
        service_stop_keeping(s);
        service_stop_reading(s);
        liveanswer_thread_stop(s->live);
        enginethread_stop(s->model.thread);
        vault_key_free(s->page_key);
        vault_key_free(s->page_sealing);
        vault_key_free(s->page_opening);
        mem_free(s->page_folder);
        claim_close(s->claims);
        ratelimit_free(s->limits);
        ratelimit_free(s->counting);
        usagestore_close(s->usage);
        chatstore_close(s->chats);
        signedout_close(s->signedout);
        keystore_close(s->keys);
        database_close(s->database);
        tokentrie_free(s->trie);
        modelnames_free(s->names);
        metrics_free(s->metrics);
        sodium_memzero(s->secret, sizeof s->secret);
        pthread_mutex_destroy(&s->answers_lock);
        mem_free(s);
    }
}

/* ---- Requests. ---- */

void service_handle(void *user, struct exchange *x, bool whole)
{
    struct service *s = user;
    struct route_match match;
    struct apierror e = {0};
    static const struct guard_need file = {.page = true};
    char allowed[64];
    const char *path = exchange_path(x);
    size_t n_tables;
    if (!whole) {
        exchange_add_header(x, "X-Content-Type-Options", "nosniff");
        exchange_add_header(x, "Cross-Origin-Resource-Policy", "same-origin");
        exchange_add_header(x, "Referrer-Policy", "no-referrer");
    }
    if (webassets_find(path)) {
        if (!guard_admits(&s->is.guard, x, &file, &e)) {
            service_refuse(s, x, &e, false);
            return;
        }
        if (pagefiles_give(x)) {
            metrics_request(s->metrics, 200);
            return;
        }
    }
    const struct route_table *const *tables = api_tables(&n_tables);
    if (!route_find(tables, n_tables, exchange_method(x), path, &match, allowed, &e)) {
        if (allowed[0]) {
            exchange_add_header(x, "Allow", allowed);
        } else if (pagefiles_give_nothing(x)) {
            metrics_request(s->metrics, 404);
            return;
        }
        service_refuse(s, x, &e, false);
    } else if (!whole) {
        if (!guard_admits(&s->is.guard, x, &match.row->need, &e)) {
            service_refuse(s, x, &e, match.row->anthropic);
        } else if (!match.row->quick) {
            const struct caller *who = exchange_caller(x);
            exchange_defer(x, who ? who->owner : "", match.row->heavy);
            exchange_allow_body(x, match.row->body_max);
        }
    } else if (!match.row->heavy_if_large || !service_waits(s, x, match.parts[0])) {
        match.row->handle(s, x, &match);
    }
}

bool service_waits(struct service *s, struct exchange *x, const char *chat)
{
    struct errinfo info = {0};
    const char *owner = exchange_caller(x)->owner;
    bool large = false;
    if (exchange_heavy(x) || chatstore_large(s->chats, owner, chat, &large, &info) != ERR_OK || !large) {
        return false; /* what went wrong the handler meets, too */
    }
    exchange_defer(x, owner, true);
    return true;
}

void service_refuse(struct service *s, struct exchange *x, const struct apierror *e, bool anthropic)
{
    metrics_request(s->metrics, e->status);
    apierror_reply(x, e, anthropic);
}

void service_reply(struct service *s, struct exchange *x, unsigned status, json_t *take_document)
{
    struct strbuf body = {0};
    if (wirereply_json(&body, take_document) != ERR_OK) {
        status = 503;
    }
    metrics_request(s->metrics, status);
    exchange_reply(x, status, "application/json", &body);
}

struct question *service_question(const struct service *s, const struct exchange *x, bool usually,
                                  struct apierror *e)
{
    size_t len;
    const char *body = exchange_body(x, &len);
    struct question *q = question_new(&s->is.sampling, s->model.format);
    if (!q) {
        apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the request");
        return NULL;
    }
    q->sampling.seed = s->is.seeded ? s->is.sampling.seed : q->sampling.seed;
    q->think = question_may_skip(s->model.format) && (!usually || !chat_can_think(s->model.format))
                   ? CHAT_NO_THINKING
                   : CHAT_THINKING;
    if (!question_parse(q, body, len, e)) {
        question_free(q);
        return NULL;
    }
    /* The name may mean a way of thinking, which the request's own fields then change. A name that is built
     * into a program is no choice. */
    const char *model = json_string_value(json_object_get(q->document, "model"));
    enum chat_thinking think = q->think;
    modelnames_match(s->names, model ? model : "", &think);
    if (think != q->think && !question_think_if(q, think, "model (thinking)", e)) {
        question_free(q);
        return NULL;
    }
    return q;
}

bool service_names(const struct service *s, struct question *q, struct apierror *e)
{
    enum chat_thinking think = q->think;
    if (modelnames_match(s->names, q->model, &think)) {
        return true;
    }
    return apierror_set(e, 404, "model_not_found", "model",
                        "there is no model \"%.100s\" here; this server has \"%s\"", q->model,
                        modelnames_own(s->names));
}

uint64_t service_page_drawer(const struct service *s, const char *owner, bool temporary)
{
    return caller_drawer(owner, true, s->secret) | (temporary ? BATCHER_IN_MEMORY : 0);
}

static void service_forget_drawer(struct service *s, uint64_t drawer)
{
    struct errinfo info;
    err e = enginethread_forget(s->model.thread, drawer, &info);
    (void)e; /* a file that cannot be removed: sealed, and gone with the next ones */
}

void service_forget(struct service *s, const char *owner)
{
    service_forget_drawer(s, service_page_drawer(s, owner, false));
    service_forget_drawer(s, service_page_drawer(s, owner, true));
}

void service_forget_key(struct service *s, const char *id)
{
    service_forget(s, id);
    service_forget_drawer(s, caller_drawer(id, false, s->secret));
}

bool service_admit(struct service *s, const struct caller *who, size_t n, struct claim *out,
                   struct apierror *e)
{
    return claim_begin(s->claims, who, (unsigned)n, service_now(), out, e);
}

bool service_claim(struct service *s, struct question *q, struct claim *claim, struct apierror *e)
{
    if (!answering_prepare(&s->model, q, e)) {
        return false;
    }
    size_t room = engine_context_max(s->model.engine) - q->prompt.len;
    size_t asked = q->max_tokens ? q->max_tokens : s->model.max_tokens;
    size_t may = asked && asked < room ? asked : room, most = may;
    if (!claim_answers(s->claims, claim, q->prompt.len, &most, service_now(), e)) {
        return false;
    }
    q->max_tokens = most < may ? most : q->max_tokens;
    return true;
}

bool service_may_count(struct service *s, const struct caller *who, struct apierror *e)
{
    static const struct keystore_limits often = {.requests_per_minute = SERVICE_COUNTS};
    struct ratelimit_wait wait = {0};
    struct errinfo info = {0};
    err result = who->keyed
                     ? ratelimit_begin(s->counting, who->owner, &often, 0, 0, service_now(), &wait, &info)
                     : ERR_OK;
    if (result == ERR_OK) {
        return true;
    }
    apierror_from(e, result, &info);
    if (result == ERR_BUSY) {
        e->code = "rate_limit_exceeded";
        e->retry_after = wait.seconds;
    }
    return false;
}

void service_meter(struct service *s, struct claim *claim, const struct answering_usage *usage, bool whole)
{
    const struct pricetable_tokens tokens = {usage->prompt, usage->cached, usage->completion};
    struct errinfo info;
    metrics_answer(s->metrics, usage, whole);
    if (usage->prompt > 0) {
        err e = usagestore_add(s->usage, claim->owner, modelnames_own(s->names), &tokens, service_now(), NULL,
                               &info);
        (void)e; /* short of memory: the answer was given all the same */
    }
    claim_end(s->claims, claim);
}

static void service_over(void *user, unsigned status)
{
    const struct service_answer *a = user;
    if (status) {
        metrics_request(a->service->metrics, status);
    }
    pthread_mutex_lock(&a->service->answers_lock);
    *a->link = a->next;
    if (a->next) {
        a->next->link = a->link;
    }
    pthread_mutex_unlock(&a->service->answers_lock);
}

static void service_used(void *user, const struct answering_usage *usage, bool whole)
{
    struct service_answer *a = user;
    service_meter(a->service, &a->claim, usage, whole);
    mem_free(a);
}

/* Remembers the answer until its reply is over. */
static void service_begin(struct service *s, struct exchange *x, struct service_answer *a)
{
    a->service = s;
    a->exchange = x;
    pthread_mutex_lock(&s->answers_lock);
    a->next = s->answers;
    a->link = &s->answers;
    if (a->next) {
        a->next->link = &a->next;
    }
    s->answers = a;
    pthread_mutex_unlock(&s->answers_lock);
}

void service_answer(struct service *s, struct exchange *x, struct question *take_q,
                    const struct wirereply_format *format)
{
    const struct caller *who = exchange_caller(x);
    struct apierror e = {0};
    struct service_answer *a = mem_calloc(1, sizeof *a);
    bool admitted = a ? service_admit(s, who, take_q->n, &a->claim, &e)
                      : apierror_set(&e, 503, "out_of_memory", NULL, "out of memory for the answer");
    if (!admitted || !service_claim(s, take_q, &a->claim, &e)) {
        if (admitted) {
            claim_end(s->claims, &a->claim);
        }
        mem_free(a);
        question_free(take_q);
        service_refuse(s, x, &e, format->anthropic);
        return;
    }
    service_begin(s, x, a);
    const struct wirereply_options o = {.format = format,
                                        .model = &s->model,
                                        .model_id = modelnames_own(s->names),
                                        .owner = caller_number(who, s->secret),
                                        .partition = caller_partition(who, take_q->user, s->secret),
                                        .drawer = caller_drawer(who->owner, false, s->secret),
                                        .over = service_over,
                                        .used = service_used,
                                        .user = a};
    wirereply_give(x, take_q, &o);
}
