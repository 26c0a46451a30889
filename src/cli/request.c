/* cli/request.c: see request.h. Redirects are followed by hand so that each address is judged, by the
 * same parser that libcurl connects with. */
#include "cli/request.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/download.h"

struct request_state {
    const struct request *r;
    struct request_head head;
    CURL *curl;
    bool told;   /* r->head was called */
    err failure; /* of a callback */
    struct errinfo *info;
};

static bool request_is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* If `line` is the header `name`, its value without blanks around goes to out (cut at cap). */
static bool request_header(const char *line, size_t n, const char *name, char *out, size_t cap)
{
    size_t m = strlen(name);
    if (n <= m || strncasecmp(line, name, m) != 0 || line[m] != ':') {
        return false;
    }
    const char *p = line + m + 1;
    const char *end = line + n;
    while (p < end && isspace((unsigned char)*p)) {
        p++;
    }
    while (end > p && isspace((unsigned char)end[-1])) {
        end--;
    }
    size_t len = (size_t)(end - p) < cap - 1 ? (size_t)(end - p) : cap - 1;
    memcpy(out, p, len);
    out[len] = '\0';
    return true;
}

static bool request_number(const char *text, char stop, uint64_t *out, const char **rest)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || errno || *end != stop) {
        return false;
    }
    *out = v;
    *rest = end + (stop != '\0');
    return true;
}

/* "bytes 5-9/10" */
static void request_range(struct request_head *h, const char *value)
{
    uint64_t last;
    h->has_range = strncmp(value, "bytes ", 6) == 0 &&
                   request_number(value + 6, '-', &h->range_first, &value) &&
                   request_number(value, '/', &last, &value) &&
                   request_number(value, '\0', &h->range_total, &value) &&
                   h->range_first <= last && last < h->range_total;
}

/* `"<64 hex digits>"` */
static void request_linked_tag(struct request_head *h, const char *value)
{
    size_t n = strlen(value);
    if (n == 66 && value[0] == '"' && strspn(value + 1, "0123456789abcdef") == 64) {
        memcpy(h->linked_sha256, value + 1, 64);
        h->linked_sha256[64] = '\0';
    }
}

static size_t request_on_header(char *line, size_t size, size_t count, void *user)
{
    struct request_state *s = user;
    struct request_head *h = &s->head;
    size_t n = size * count;
    char value[REQUEST_TAG_MAX];
    const char *rest;
    uint64_t number;
    if (n > 5 && strncmp(line, "HTTP/", 5) == 0) { /* a new answer begins */
        struct request_head fresh = {.length = -1, .linked_size = h->linked_size};
        memcpy(fresh.linked_sha256, h->linked_sha256, sizeof fresh.linked_sha256);
        *h = fresh;
    } else if (request_header(line, n, "Content-Length", value, sizeof value)) {
        if (request_number(value, '\0', &number, &rest) && number <= INT64_MAX) {
            h->length = (int64_t)number;
        }
    } else if (request_header(line, n, "Content-Range", value, sizeof value)) {
        request_range(h, value);
    } else if (request_header(line, n, "ETag", value, sizeof value)) {
        size_t len = strlen(value);
        if (len >= 2 && len < sizeof value - 1 && value[0] == '"' && value[len - 1] == '"') {
            memcpy(h->tag, value, len + 1);
        }
    } else if (request_header(line, n, "Last-Modified", value, sizeof value)) {
        if (!h->tag[0]) {
            memcpy(h->tag, value, sizeof value);
        }
    } else if (request_header(line, n, "X-Linked-ETag", value, sizeof value)) {
        request_linked_tag(h, value);
    } else if (request_header(line, n, "X-Linked-Size", value, sizeof value)) {
        if (request_number(value, '\0', &number, &rest)) {
            h->linked_size = number;
        }
    } else if (request_header(line, n, "Content-Encoding", value, sizeof value)) {
        h->encoded = strcasecmp(value, "identity") != 0;
    }
    return n;
}

/* Calls r->head once per final answer. */
static bool request_tell(struct request_state *s)
{
    if (!s->told) {
        s->told = true;
        curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &s->head.status);
        s->failure = s->r->head(s->r->user, &s->head, s->info);
    }
    return s->failure == ERR_OK;
}

static size_t request_on_body(char *data, size_t size, size_t count, void *user)
{
    struct request_state *s = user;
    size_t n = size * count;
    long status = 0;
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    if (request_is_redirect(status)) {
        return n; /* a page nobody reads */
    }
    if (!request_tell(s)) {
        return 0;
    }
    if (status == 200 || status == 206) {
        s->failure = s->r->body(s->r->user, data, n, s->info);
    }
    return s->failure == ERR_OK ? n : 0;
}

static int request_on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct request_state *s = user;
    (void)a, (void)b, (void)c, (void)d;
    return s->r->cancelled && s->r->cancelled();
}

static bool request_is_transient(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
    }
}

static struct curl_slist *request_list(struct curl_slist *list, const char *line, bool *ok)
{
    struct curl_slist *longer = curl_slist_append(list, line);
    *ok = *ok && longer;
    return longer ? longer : list;
}

/* Headers of our own: the range we want and that we cannot unpack anything. */
static struct curl_slist *request_headers(const struct request *r, bool *ok)
{
    struct curl_slist *list = NULL;
    char line[REQUEST_TAG_MAX + 32];
    list = request_list(list, "Accept-Encoding: identity", ok);
    if (r->from > 0) {
        snprintf(line, sizeof line, "Range: bytes=%" PRIu64 "-", r->from);
        list = request_list(list, line, ok);
        if (r->tag && r->tag[0]) {
            snprintf(line, sizeof line, "If-Range: %s", r->tag);
            list = request_list(list, line, ok);
        }
    }
    return list;
}

static void request_set_up(struct request_state *s, CURLU *url, struct curl_slist *headers,
                           char *why)
{
    CURL *c = s->curl;
    curl_easy_setopt(c, CURLOPT_CURLU, url);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "fathom");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(c, CURLOPT_NOBODY, s->r->head_only ? 1L : 0L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, request_on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, s);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, request_on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, request_on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, s);
}

/* One hop. *next is the address to go to, "" at the end of the chain. */
static err request_hop(struct request_state *s, const char *address, char *next, size_t cap,
                       bool *transient)
{
    char why[CURL_ERROR_SIZE] = "";
    bool ok = true;
    CURLU *url = curl_url();
    struct curl_slist *headers = request_headers(s->r, &ok);
    if (!url || !ok || curl_url_set(url, CURLUPART_URL, address, 0) != CURLUE_OK) {
        curl_url_cleanup(url);
        curl_slist_free_all(headers);
        return err_set(s->info, ERR_NOMEM, "out of memory fetching %.200s", address);
    }
    request_set_up(s, url, headers, why);
    CURLcode code = curl_easy_perform(s->curl);
    char *target = NULL;
    long status = 0;
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(s->curl, CURLINFO_REDIRECT_URL, &target);
    bool redirect = code == CURLE_OK && request_is_redirect(status) && target;
    err e = ERR_OK;
    next[0] = '\0';
    if (redirect && (size_t)snprintf(next, cap, "%s", target) >= cap) {
        e = err_set(s->info, ERR_LIMIT, "redirected to an address of over %zu characters", cap);
    }
    curl_easy_setopt(s->curl, CURLOPT_CURLU, NULL);
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, NULL);
    curl_url_cleanup(url);
    curl_slist_free_all(headers);
    if (e != ERR_OK || redirect) {
        return e;
    }
    if (s->failure != ERR_OK) {
        return s->failure;
    }
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        return err_set(s->info, ERR_CANCELLED, "stopped");
    }
    if (code != CURLE_OK) {
        *transient = request_is_transient(code);
        return err_set(s->info, ERR_IO, "%.300s: %s", address,
                       why[0] ? why : curl_easy_strerror(code));
    }
    request_tell(s); /* an answer without a body */
    return s->failure;
}

err request_run(const struct request *r, bool *transient, struct errinfo *info)
{
    struct request_state s = {.r = r, .info = info, .head = {.length = -1}};
    char address[DOWNLOAD_URL_MAX];
    char next[DOWNLOAD_URL_MAX];
    *transient = false;
    TRY(download_check_url(r->url, info));
    snprintf(address, sizeof address, "%s", r->url);
    s.curl = curl_easy_init();
    if (!s.curl) {
        return err_set(info, ERR_NOMEM, "libcurl cannot start a request");
    }
    err e = ERR_OK;
    for (int hops = 0; e == ERR_OK; hops++) {
        e = request_hop(&s, address, next, sizeof next, transient);
        if (e != ERR_OK || !next[0]) {
            break;
        }
        if (hops == DOWNLOAD_REDIRECTS) {
            e = err_set(info, ERR_IO, "%.300s: redirected more than %d times", r->url,
                        DOWNLOAD_REDIRECTS);
        } else if (strncasecmp(address, "https:", 6) == 0 && strncasecmp(next, "https:", 6) != 0) {
            e = err_set(info, ERR_IO, "%.300s: redirected away from https to %.300s", r->url, next);
        } else {
            e = download_check_url(next, info);
            if (e != ERR_OK) {
                e = err_prefix(info, ERR_IO, "%.300s: redirected to a forbidden address: ", r->url);
            }
        }
        memcpy(address, next, sizeof address);
    }
    curl_easy_cleanup(s.curl);
    return e;
}
