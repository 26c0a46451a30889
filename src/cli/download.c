/* cli/download.c: see download.h. */
#include "cli/download.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/request.h"

enum { DOWNLOAD_RESERVE = 16 << 20 }; /* bytes of disk left alone */

static bool download_is_loopback(const char *host)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

/* The rule over an already parsed address. */
static err download_check_parts(CURLU *u, const char *url, struct errinfo *info)
{
    char *scheme = NULL;
    char *host = NULL;
    char *user = NULL;
    err e = ERR_OK;
    if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        e = err_set(info, ERR_ARGUMENT, "%.300s has no scheme or no host", url);
    } else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK) {
        e = err_set(info, ERR_ARGUMENT, "an address with a user name or password is not fetched");
    } else if (strcmp(scheme, "http") == 0 && !download_is_loopback(host)) {
        e = err_set(info, ERR_ARGUMENT,
                    "%.300s is not encrypted; only https:// is fetched (http:// from this machine "
                    "itself)",
                    url);
    } else if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0) {
        e = err_set(info, ERR_ARGUMENT, "%.300s: only https:// is fetched, not %s://", url, scheme);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    return e;
}

err download_check_url(const char *url, struct errinfo *info)
{
    if (strlen(url) >= DOWNLOAD_URL_MAX) {
        return err_set(info, ERR_ARGUMENT, "an address may have at most %d characters",
                       DOWNLOAD_URL_MAX - 1);
    }
    CURLU *u = curl_url();
    if (!u) {
        return err_set(info, ERR_NOMEM, "out of memory reading an address");
    }
    err e = ERR_OK;
    if (curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
        e = err_set(info, ERR_ARGUMENT, "%.300s is not an address", url);
    } else {
        e = download_check_parts(u, url, info);
    }
    curl_url_cleanup(u);
    return e;
}

err download_check_space(const char *path, uint64_t need, struct errinfo *info)
{
    char *dir = mem_dup(path, strlen(path));
    if (!dir) {
        return err_set(info, ERR_NOMEM, "out of memory looking at the disk");
    }
    struct statvfs fs;
    int rc;
    while ((rc = statvfs(dir, &fs)) != 0 && errno == ENOENT) {
        char *slash = strrchr(dir, '/');
        if (!slash) {
            rc = statvfs(".", &fs);
            break;
        }
        slash[slash == dir] = '\0';
    }
    mem_free(dir);
    uint64_t available = rc == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
    if (need > available || available - need < DOWNLOAD_RESERVE) {
        return err_set(info, ERR_LIMIT,
                       "not enough disk space for %s: %.2f GB (%" PRIu64 " bytes) more are needed, "
                       "%.2f GB are free; free some, or set FATHOM_MODELS to a folder on another disk",
                       path, (double)need / 1e9, need, (double)available / 1e9);
    }
    return ERR_OK;
}

static void download_hex(const unsigned char *digest, char hex[65])
{
    sodium_bin2hex(hex, 65, digest, crypto_hash_sha256_BYTES);
}

err download_hash_file(const char *path, char hex[65], struct errinfo *info)
{
    struct file_map map;
    TRY(file_map_open(path, &map, info));
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, map.data ? map.data : (const uint8_t *)"", map.size);
    file_map_close(&map);
    download_hex(digest, hex);
    return ERR_OK;
}

/* ---- one download ---- */

struct download_run {
    const struct download *d;
    struct file_writer *w;
    crypto_hash_sha256_state hash; /* of the bytes in w */
    char *tag_path;
    char tag[REQUEST_TAG_MAX]; /* version of the bytes in w; "" unknown */
    char server_sha256[65];    /* what the hub says; "" unknown */
    uint64_t total;            /* 0 unknown */
    bool again;                /* start over: what we have does not fit the server's file */
    long status;
};

static uint64_t download_have(const struct download_run *run)
{
    return file_writer_offset(run->w);
}

static err download_start_over(struct download_run *run, struct errinfo *info)
{
    TRY(file_writer_rewind(run->w, info));
    crypto_hash_sha256_init(&run->hash);
    run->tag[0] = '\0';
    run->total = run->d->size;
    unlink(run->tag_path);
    return ERR_OK;
}

/* Reads the bytes of an earlier run into the hash and their version tag. */
static err download_pick_up(struct download_run *run, struct errinfo *info)
{
    crypto_hash_sha256_init(&run->hash);
    run->total = run->d->size;
    if (download_have(run) == 0) {
        return ERR_OK;
    }
    char *text = NULL;
    size_t n = 0;
    err e = file_read(run->tag_path, REQUEST_TAG_MAX - 1, &text, &n, NULL);
    if (e == ERR_NOMEM) {
        return err_set(info, e, "out of memory continuing %s", run->d->path);
    }
    if (e == ERR_OK && strlen(text) == n && !strpbrk(text, "\r\n")) {
        memcpy(run->tag, text, n + 1);
    }
    mem_free(text);
    bool sure = run->tag[0] || run->d->sha256; /* else nobody would notice a changed file */
    if (!sure || (run->d->size && download_have(run) > run->d->size)) {
        return download_start_over(run, info);
    }
    char *part = NULL;
    struct strbuf s = {0};
    e = strbuf_printf(&s, "%s.part", run->d->path);
    if (e == ERR_OK) {
        e = strbuf_take(&s, &part);
    }
    strbuf_deinit(&s);
    if (e != ERR_OK) {
        return err_set(info, e, "out of memory continuing %s", run->d->path);
    }
    struct file_map map;
    e = file_map_open(part, &map, info);
    mem_free(part);
    TRY(e);
    crypto_hash_sha256_update(&run->hash, map.data, map.size);
    file_map_close(&map);
    return ERR_OK;
}

static err download_save_tag(struct download_run *run, struct errinfo *info)
{
    return file_write(run->tag_path, run->tag, strlen(run->tag), info);
}

/* The server's idea of the whole size against ours. */
static err download_agree_size(struct download_run *run, uint64_t total, struct errinfo *info)
{
    if (run->d->size && total != run->d->size) {
        return err_set(info, ERR_CORRUPT,
                       "%.300s: the server offers %" PRIu64 " bytes, %" PRIu64 " were expected",
                       run->d->url, total, run->d->size);
    }
    run->total = total;
    struct progress *p = run->d->progress;
    if (p && p->total < run->d->progress_base + total) {
        p->total = run->d->progress_base + total;
    }
    uint64_t have = download_have(run);
    return download_check_space(run->d->path, total > have ? total - have : 0, info);
}

/* 206: the rest of what we have, if it is the rest of the same file. */
static err download_on_rest(struct download_run *run, const struct request_head *h,
                            struct errinfo *info)
{
    bool fits = h->has_range && h->range_first == download_have(run) && download_have(run) > 0 &&
                (!run->total || run->total == h->range_total) &&
                (!run->tag[0] || !h->tag[0] || strcmp(run->tag, h->tag) == 0);
    if (!fits) {
        run->again = true;
        return err_set(info, ERR_IO, "%.300s: the server's file has changed or its range is wrong",
                       run->d->url);
    }
    return download_agree_size(run, h->range_total, info);
}

static err download_on_head(void *user, const struct request_head *h, struct errinfo *info)
{
    struct download_run *run = user;
    const char *url = run->d->url;
    run->status = h->status;
    if (h->encoded) {
        return err_set(info, ERR_UNSUPPORTED, "%.300s: the server sends it compressed", url);
    }
    if (h->linked_sha256[0]) {
        memcpy(run->server_sha256, h->linked_sha256, sizeof run->server_sha256);
    }
    switch (h->status) {
    case 206: return download_on_rest(run, h, info);
    case 200:
        if (download_have(run) > 0) {
            TRY(download_start_over(run, info));
        }
        memcpy(run->tag, h->tag, sizeof run->tag);
        if (run->tag[0]) {
            TRY(download_save_tag(run, info));
        }
        return h->length >= 0 ? download_agree_size(run, (uint64_t)h->length, info) : ERR_OK;
    case 416: run->again = true; return err_set(info, ERR_IO, "%.300s: range refused", url);
    case 404:
    case 410: return err_set(info, ERR_NOTFOUND, "%.300s: not there (HTTP %ld)", url, h->status);
    case 401:
    case 403:
        return err_set(info, ERR_IO, "%.300s: the server wants a login (HTTP %ld)", url, h->status);
    default: return err_set(info, ERR_IO, "%.300s: HTTP %ld", url, h->status);
    }
}

static err download_on_body(void *user, const char *data, size_t n, struct errinfo *info)
{
    struct download_run *run = user;
    const struct download *d = run->d;
    if (run->total && n > run->total - download_have(run)) {
        return err_set(info, ERR_CORRUPT, "%.300s: the server sends more than the %" PRIu64 " bytes",
                       d->url, run->total);
    }
    TRY(file_writer_write(run->w, data, n, info));
    crypto_hash_sha256_update(&run->hash, (const unsigned char *)data, n);
    if (d->progress) {
        progress_update(d->progress, d->progress_base + download_have(run));
    }
    return ERR_OK;
}

static bool download_is_cancelled(const struct download *d)
{
    return d->cancelled && d->cancelled();
}

/* Sleeps, looking at the cancel flag ten times a second. */
static void download_wait(const struct download *d, double seconds)
{
    double until = progress_clock() + seconds;
    for (double left; (left = until - progress_clock()) > 0 && !download_is_cancelled(d);) {
        double nap = left < 0.1 ? left : 0.1;
        nanosleep(&(struct timespec){.tv_nsec = (long)(nap * 1e9)}, NULL);
    }
}

/* One request for what is missing. */
static err download_try(struct download_run *run, bool *transient, struct errinfo *info)
{
    run->again = false;
    run->status = 0;
    char tag[REQUEST_TAG_MAX];
    memcpy(tag, run->tag, sizeof tag);
    const struct request r = {
        .url = run->d->url,
        .from = download_have(run),
        .tag = tag,
        .head = download_on_head,
        .body = download_on_body,
        .user = run,
        .cancelled = run->d->cancelled,
    };
    err e = request_run(&r, transient, info);
    if (run->status == 408 || run->status == 429 || run->status >= 500) {
        *transient = true;
    }
    if (e == ERR_OK && run->total && download_have(run) < run->total) {
        *transient = true;
        return err_set(info, ERR_IO, "%.300s: the answer ended after %" PRIu64 " of %" PRIu64 " bytes",
                       run->d->url, download_have(run), run->total);
    }
    return e;
}

/* Requests until everything is there, nothing more can be hoped for, or somebody stops it. */
static err download_fetch(struct download_run *run, struct errinfo *info)
{
    const struct download *d = run->d;
    bool started_over = false;
    unsigned failures = 0;
    double wait = d->retry_seconds;
    if (run->total && download_have(run) == run->total) {
        return ERR_OK;
    }
    for (;;) {
        uint64_t before = download_have(run);
        bool transient;
        err e = download_try(run, &transient, info);
        if (e == ERR_OK || e == ERR_CANCELLED) {
            return e;
        }
        if (run->again && !started_over) {
            started_over = true;
            TRY(download_start_over(run, info));
            continue;
        }
        if (download_have(run) > before) {
            failures = 0;
            wait = d->retry_seconds;
        }
        if (!transient || failures++ >= d->retries) {
            return e;
        }
        download_wait(d, wait);
        wait = wait * 2 < 30 ? wait * 2 : 30;
        if (download_is_cancelled(d)) {
            return err_set(info, ERR_CANCELLED, "stopped");
        }
    }
}

/* Compares what came with what was promised; gives the file its name. */
static err download_settle(struct download_run *run, struct download_result *out,
                           struct errinfo *info)
{
    const char *want = run->d->sha256 ? run->d->sha256 : run->server_sha256;
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&run->hash, digest);
    download_hex(digest, out->sha256);
    out->size = download_have(run);
    if (want[0] && strcasecmp(want, out->sha256) != 0) {
        err_set(info, ERR_CORRUPT,
                "%.300s: wrong content: its SHA-256 is %s, expected %s; the file was thrown away",
                run->d->url, out->sha256, want);
        TRY(file_writer_rewind(run->w, info));
        unlink(run->tag_path);
        return ERR_CORRUPT;
    }
    TRY(file_writer_commit(run->w, info));
    unlink(run->tag_path);
    return ERR_OK;
}

err download_file(const struct download *d, struct download_result *out, struct errinfo *info)
{
    struct download_run run = {.d = d};
    struct download_result result = {0};
    struct strbuf s = {0};
    TRY(download_check_url(d->url, info));
    err e = strbuf_printf(&s, "%s.part-tag", d->path);
    if (e == ERR_OK) {
        e = strbuf_take(&s, &run.tag_path);
    }
    strbuf_deinit(&s);
    if (e != ERR_OK) {
        return err_set(info, e, "out of memory fetching %.300s", d->url);
    }
    e = file_writer_resume(d->path, &run.w, info);
    if (e == ERR_OK) {
        e = download_pick_up(&run, info);
    }
    if (e == ERR_OK) {
        result.resumed = download_have(&run);
        e = download_fetch(&run, info);
    }
    if (e == ERR_OK) {
        e = download_settle(&run, &result, info);
    }
    bool empty = run.w && download_have(&run) == 0 && e != ERR_OK;
    file_writer_close(run.w);
    if (empty && strbuf_printf(&s, "%s.part", d->path) == ERR_OK) {
        unlink(s.data);
    }
    strbuf_deinit(&s);
    mem_free(run.tag_path);
    if (e == ERR_OK) {
        *out = result;
    }
    return e;
}

/* ---- small answers ---- */

struct download_small {
    const char *url;
    struct strbuf text;
    size_t cap;
    struct request_head head;
};

static err download_small_head(void *user, const struct request_head *h, struct errinfo *info)
{
    struct download_small *s = user;
    s->head = *h;
    if (h->status == 404) {
        return err_set(info, ERR_NOTFOUND, "%.300s: not there (HTTP 404)", s->url);
    }
    if (h->status == 401 || h->status == 403) {
        return err_set(info, ERR_IO, "%.300s: not there, or it wants a login (HTTP %ld)", s->url,
                       h->status);
    }
    return h->status == 200 ? ERR_OK
                            : err_set(info, ERR_IO, "%.300s: HTTP %ld", s->url, h->status);
}

static err download_small_body(void *user, const char *data, size_t n, struct errinfo *info)
{
    struct download_small *s = user;
    if (n > s->cap - s->text.len) {
        return err_set(info, ERR_LIMIT, "%.300s: more than %zu bytes", s->url, s->cap);
    }
    err e = strbuf_append(&s->text, data, n);
    return e == ERR_OK ? e : err_set(info, e, "out of memory fetching %.300s", s->url);
}

static err download_small_run(struct download_small *s, bool head_only, struct errinfo *info)
{
    const struct request r = {
        .url = s->url,
        .head_only = head_only,
        .head = download_small_head,
        .body = download_small_body,
        .user = s,
    };
    bool transient;
    return request_run(&r, &transient, info);
}

err download_text(const char *url, size_t cap, char **data, size_t *size, struct errinfo *info)
{
    struct download_small s = {.url = url, .cap = cap};
    err e = download_small_run(&s, false, info);
    size_t n = s.text.len;
    if (e == ERR_OK && strbuf_take(&s.text, data) != ERR_OK) {
        e = err_set(info, ERR_NOMEM, "out of memory fetching %.300s", url);
    }
    if (e == ERR_OK) {
        *size = n;
    }
    strbuf_deinit(&s.text);
    return e;
}

err download_ask(const char *url, struct download_about *out, struct errinfo *info)
{
    struct download_small s = {.url = url};
    TRY(download_small_run(&s, true, info));
    struct download_about about = {0};
    about.size = s.head.linked_size ? s.head.linked_size
                                    : (s.head.length > 0 ? (uint64_t)s.head.length : 0);
    memcpy(about.sha256, s.head.linked_sha256, sizeof about.sha256);
    *out = about;
    return ERR_OK;
}
