/* server/pagesession.c: see pagesession.h. A token: the key's id, when it ends (hex), and a keyed
 * hash of both and of the key's secret, so that a session ends when its key is renewed. */
#include "server/pagesession.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/model.h"
#include "tensor/dtype.h"
#include "server/chatimport.h"
#include "server/chattree.h"
#include "server/service.h"

enum {
    PAGESESSION_DAYS = 30,
    PAGESESSION_MAC = 32,
    PAGESESSION_TOKEN = VAULT_ID + 1 + 16 + 1 + 2 * PAGESESSION_MAC
};

/* ---- Tokens. ---- */

static void pagesession_mac(const struct service *s, const char *head,
                            const struct keystore_key *key, char out[2 * PAGESESSION_MAC + 1])
{
    unsigned char mac[PAGESESSION_MAC];
    crypto_generichash_state state;
    crypto_generichash_init(&state, s->secret, sizeof s->secret, sizeof mac);
    crypto_generichash_update(&state, (const unsigned char *)"session", 8);
    crypto_generichash_update(&state, (const unsigned char *)head, strlen(head));
    crypto_generichash_update(&state, key->mark, sizeof key->mark);
    crypto_generichash_final(&state, mac, sizeof mac);
    sodium_bin2hex(out, 2 * PAGESESSION_MAC + 1, mac, sizeof mac);
}

static void pagesession_token(const struct service *s, const struct keystore_key *key,
                              int64_t until, char out[PAGESESSION_TOKEN + 1])
{
    char mac[2 * PAGESESSION_MAC + 1];
    snprintf(out, PAGESESSION_TOKEN + 1, "%.32s.%016llx", key->id, (unsigned long long)until);
    pagesession_mac(s, out, key, mac);
    size_t n = strlen(out);
    snprintf(out + n, PAGESESSION_TOKEN + 1 - n, ".%s", mac);
}

/* What a token of ours says, and whose key that is. */
struct pagesession_claim {
    struct keystore_key key;
    struct signedout_session session; /* its name: the token's keyed hash */
};

/* False: none of ours, or over. */
static bool pagesession_read(const struct service *s, const char *token, struct pagesession_claim *out)
{
    struct errinfo info = {0};
    char head[VAULT_ID + 1 + 16 + 1], mac[2 * PAGESESSION_MAC + 1];
    struct signedout_session *session = &out->session;
    if (!token || strlen(token) != PAGESESSION_TOKEN) {
        return false;
    }
    snprintf(head, sizeof head, "%.*s", (int)sizeof head - 1, token);
    snprintf(session->owner, sizeof session->owner, "%.*s", VAULT_ID, token);
    if (keystore_get(s->keys, session->owner, &out->key, &info) != ERR_OK ||
        !keystore_good(&out->key, service_now())) {
        return false;
    }
    session->until = (int64_t)strtoull(head + VAULT_ID + 1, NULL, 16);
    snprintf(session->name, sizeof session->name, "%s", token + sizeof head);
    pagesession_mac(s, head, &out->key, mac);
    return sodium_memcmp(mac, session->name, 2 * PAGESESSION_MAC) == 0 && session->until >= service_now();
}

bool pagesession_cookie(void *user, const char *token, struct caller *out)
{
    struct service *s = user;
    struct pagesession_claim claim;
    if (!pagesession_read(s, token, &claim) || signedout_has(s->signedout, &claim.session)) {
        return false;
    }
    service_caller(&claim.key, out);
    return true;
}

/* ---- Signing in and out. ---- */

static void pagesession_set(const struct service *s, struct exchange *x, const char *token,
                            int64_t seconds)
{
    char cookie[PAGESESSION_TOKEN + 128], name[GUARD_COOKIE];
    guard_cookie(x, name);
    snprintf(cookie, sizeof cookie, "%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%lld%s", name, token,
             (long long)seconds, s->is.guard.tls ? "; Secure" : "");
    exchange_add_header(x, "Set-Cookie", cookie);
}

static void pagesession_login(struct service *s, struct exchange *x, const struct route_match *m)
{
    enum { PAGESESSION_SECONDS = PAGESESSION_DAYS * 86400 };
    struct errinfo info = {0};
    struct apierror e = {0};
    json_t *body = NULL;
    size_t len;
    const char *bytes = exchange_body(x, &len);
    struct keystore_key key;
    (void)m;
    err result = json_parse(bytes, len, "the request", &body, &info);
    const char *secret = json_string_value(json_object_get(body, "key"));
    if (result != ERR_OK || !secret) {
        apierror_set(&e, 400, "missing", "key", "key is missing");
    } else {
        result = keystore_check(s->keys, secret, service_now(), &key, &info);
        if (result == ERR_NOTFOUND) {
            apierror_set(&e, 401, "invalid_api_key", "key", "%s", info.message);
        } else if (result != ERR_OK) {
            apierror_from(&e, result, &info);
        }
    }
    json_decref(body);
    if (e.status) {
        service_refuse(s, x, &e, false);
        return;
    }
    char token[PAGESESSION_TOKEN + 1];
    pagesession_token(s, &key, service_now() + (int64_t)PAGESESSION_SECONDS * 1000, token);
    pagesession_set(s, x, token, PAGESESSION_SECONDS);
    sodium_memzero(token, sizeof token);
    metrics_request(s->metrics, 204);
    exchange_reply(x, 204, NULL, NULL);
}

static void pagesession_logout(struct service *s, struct exchange *x, const struct route_match *m)
{
    char name[GUARD_COOKIE];
    guard_cookie(x, name);
    const char *token = exchange_cookie(x, name);
    struct pagesession_claim claim;
    struct errinfo info = {0};
    struct apierror e = {0};
    (void)m;
    bool ours = pagesession_read(s, token, &claim);
    err result = ours ? signedout_add(s->signedout, &claim.session, service_now(), &info) : ERR_OK;
    pagesession_set(s, x, "", 0);
    if (result != ERR_OK) {
        apierror_from(&e, result, &info);
        service_refuse(s, x, &e, false);
        return;
    }
    metrics_request(s->metrics, 204);
    exchange_reply(x, 204, NULL, NULL);
}

/* ---- What is here. ---- */

struct pagesession_weights {
    size_t parameters, bytes;
};

/* As `fathom inspect` counts them: of the whole file, also what only some answers need. */
static struct pagesession_weights pagesession_weights(const struct model *m)
{
    static const char scales[] = "_scale_inv";
    const struct tensortable *all = model_tensors(m);
    struct pagesession_weights sum = {0};
    for (size_t t = 0; t < tensortable_count(all); t++) {
        const struct tensortable_entry *e = tensortable_at(all, t);
        size_t n = strlen(e->name), end = sizeof scales - 1;
        bool scale = n >= end && strcmp(e->name + n - end, scales) == 0;
        sum.parameters += scale ? 0 : tensor_elems(&e->tensor);
        sum.bytes += tensor_bytes(&e->tensor);
    }
    return sum;
}

static json_t *pagesession_models(const struct service *s)
{
    const struct model *model = engine_model(s->model.engine);
    const struct pagesession_weights weights = pagesession_weights(model);
    return json_pack("[{s:s, s:I, s:b, s:b, s:I, s:s, s:I}]", "id", modelnames_own(s->names),
                     "context", (json_int_t)engine_context_max(s->model.engine), "can_think",
                     chat_can_think(s->model.format), "can_skip_thinking",
                     chat_can_skip_thinking(s->model.format), "parameters",
                     (json_int_t)weights.parameters, "type",
                     dtype_info(model_main_dtype(model))->name, "bytes",
                     (json_int_t)weights.bytes);
}

/* What holds where a chat's settings say nothing. */
static json_t *pagesession_sampling(const struct service *s)
{
    const struct sampling *p = &s->is.sampling;
    json_t *out = json_pack(
        "{s:f, s:f, s:f, s:i, s:f, s:f, s:f}", "temperature", (double)p->temperature, "top_p",
        p->top_p > 0 ? (double)p->top_p : 1.0, "min_p", (double)p->min_p, "top_k", p->top_k,
        "repetition_penalty", p->repetition_penalty > 0 ? (double)p->repetition_penalty : 1.0,
        "presence_penalty", (double)p->presence_penalty, "frequency_penalty", (double)p->frequency_penalty);
    if (s->is.max_tokens > 0 && s->is.max_tokens < engine_context_max(s->model.engine)) {
        json_object_set_new(out, "max_tokens", json_integer((json_int_t)s->is.max_tokens));
    }
    return out;
}

static void pagesession_get(struct service *s, struct exchange *x, const struct route_match *m)
{
    const struct caller *who = exchange_caller(x);
    bool in = who->keyed || !s->is.guard.key_required;
    (void)m;
    /* Text in JSON: each line break and quotation mark takes two bytes. */
    json_int_t text = HTTPSERVER_BODY_MAX / 2;
    json_t *out = json_pack(
        "{s:b, s:b, s:s, s:b, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "key_required", s->is.guard.key_required,
        "signed_in", who->keyed, "version", FATHOM_VERSION, "pdf", s->is.pdf != NULL, "limits",
        "context", (json_int_t)enginethread_limit(s->model.thread), "attachment_bytes",
        text, "message_bytes", text, "pdf_bytes", s->is.pdf ? (json_int_t)PDFTEXT_INPUT_MAX : 0,
        "import_bytes", (json_int_t)CHATIMPORT_BYTES_MAX,
        "forget_days", (json_int_t)s->is.forget_days);
    if (in) {
        struct keystore_key key = {0};
        struct errinfo info = {0};
        bool known = who->keyed && keystore_get(s->keys, who->owner, &key, &info) == ERR_OK;
        json_object_set_new(out, "owner",
                            json_pack("{s:s, s:s, s:b, s:b}", "id", who->owner, "name",
                                      known ? key.name : "", "admin", (who->scopes & CALLER_ADMIN) != 0,
                                      "chat", (who->scopes & CALLER_CHAT) != 0));
        json_object_set_new(out, "models", pagesession_models(s));
        json_object_set_new(out, "sampling", pagesession_sampling(s));
    }
    service_reply(s, x, 200, out);
}

static const struct route_row pagesession_rows[] = {
    {"GET", "/api/session", {.scope = CALLER_NOTHING}, .handle = pagesession_get},
    {"POST", "/api/login", {.scope = CALLER_NOTHING}, .handle = pagesession_login},
    {"POST", "/api/logout", {.scope = CALLER_NOTHING}, .handle = pagesession_logout},
};

const struct route_table pagesession_routes = {pagesession_rows,
                                               sizeof pagesession_rows / sizeof *pagesession_rows};
