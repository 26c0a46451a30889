/* Pages on disk: what was read by one batcher is found by the next, sealed or not, bit for bit; what is damaged,
 * foreign, too much or forgotten is not. */
#include "engine/enginefixture.h"

#include <dirent.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/procself.h"
#include "base/progress.h"
#include "engine/batcher.h"
#include "engine/kvpool.h"
#include "formats/tempdir.h"

enum { MOST = 40, PAGE = 64, BYTES = 1000 };

static struct tempdir dir;

/* ---- a codec: XSalsa20-Poly1305 as libsodium has it ---- */

static uint8_t seal_key[crypto_secretbox_KEYBYTES] = "the secret of a test";

static const uint8_t *salted(const void *user, const uint8_t *salt, uint8_t key[crypto_secretbox_KEYBYTES])
{
    crypto_generichash(key, crypto_secretbox_KEYBYTES, salt, PREFIXINDEX_SALT, user, crypto_secretbox_KEYBYTES);
    return key;
}

static void seal(void *user, const uint8_t *salt, const uint8_t *plain, size_t n, uint8_t *out)
{
    uint8_t key[crypto_secretbox_KEYBYTES];
    randombytes_buf(out, crypto_secretbox_NONCEBYTES);
    crypto_secretbox_easy(out + crypto_secretbox_NONCEBYTES, plain, n, out, salted(user, salt, key));
}

static bool unseal(void *user, const uint8_t *salt, const uint8_t *sealed, size_t n, uint8_t *out)
{
    uint8_t key[crypto_secretbox_KEYBYTES];
    return n >= crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES &&
           crypto_secretbox_open_easy(out, sealed + crypto_secretbox_NONCEBYTES, n - crypto_secretbox_NONCEBYTES,
                                      sealed, salted(user, salt, key)) == 0;
}

static struct prefixdisk_options options(const char *name, size_t bytes, bool sealed)
{
    struct prefixdisk_options o = {.folder = tempdir_file(&dir, name), .bytes = bytes, .key = {1, 2, 3}};
    if (sealed) {
        o.codec = (struct prefixdisk_codec){crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES, seal, unseal,
                                            seal_key};
    }
    return o;
}

/* ---- the folder ---- */

/* Calls `each` (may be NULL) with every page's path; returns how many there are. */
static size_t pages_in(const char *folder, void (*each)(const char *path))
{
    DIR *all = opendir(folder);
    size_t n = 0;
    for (struct dirent *e; all && (e = readdir(all));) {
        char inner[600];
        if (e->d_name[0] == '.') {
            continue;
        }
        snprintf(inner, sizeof inner, "%s/%s", folder, e->d_name);
        DIR *one = opendir(inner);
        for (struct dirent *f; one && (f = readdir(one));) {
            char path[1200];
            if (f->d_name[0] != '.') {
                snprintf(path, sizeof path, "%s/%s", inner, f->d_name);
                n++;
                if (each) {
                    each(path);
                }
            }
        }
        if (one) {
            closedir(one);
        }
    }
    if (all) {
        closedir(all);
    }
    return n;
}

static long flip_at;

static void flip(const char *path)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, flip_at, flip_at < 0 ? SEEK_END : SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    fputc(c ^ 4, f);
    fclose(f);
}

static void cut(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
}

/* ---- the disk alone ---- */

static const struct prefixname root = {{9}};

static struct prefixdisk *disk_of(const struct prefixdisk_options *o)
{
    struct prefixdisk *d = NULL;
    struct errinfo info = {0};
    must(prefixdisk_open(o, &root, BYTES, &d, &info), &info);
    return d;
}

static struct prefixname name_of(uint8_t i)
{
    return (struct prefixname){{i, 77}};
}

static void fill(char *rows, int i)
{
    memset(rows, 'a' + i, BYTES);
}

static void put(struct prefixdisk *d, uint64_t drawer, int i)
{
    char rows[BYTES];
    struct prefixname name = name_of((uint8_t)i);
    fill(rows, i);
    prefixdisk_write(d, drawer, &name, rows, kvpool_now(), true);
}

static bool has_right(struct prefixdisk *d, int i)
{
    char rows[BYTES], wanted[BYTES];
    struct prefixname name = name_of((uint8_t)i);
    fill(wanted, i);
    if (!prefixdisk_read(d, &name, rows)) {
        return false;
    }
    assert_memory_equal(rows, wanted, BYTES);
    return true;
}

static void test_pages_outlive_their_process(void **state)
{
    (void)state;
    for (int sealed = 0; sealed < 2; sealed++) {
        const struct prefixdisk_options o = options(sealed ? "sealed" : "plain", 1 << 20, sealed);
        struct prefixdisk *d = disk_of(&o);
        for (int i = 0; i < 30; i++) {
            put(d, (uint64_t)i % 2, i);
        }
        prefixdisk_close(d);
        d = disk_of(&o);
        for (int i = 0; i < 30; i++) {
            assert_true(has_right(d, i));
        }
        assert_false(has_right(d, 30));
        assert_int_equal(pages_in(o.folder, NULL), 30);
        assert_true(prefixdisk_bytes(d) > 30 * BYTES && prefixdisk_bytes(d) < 30 * (BYTES + 128));
        struct prefixdisk *second = NULL;
        struct errinfo info = {0};
        assert_int_equal(prefixdisk_open(&o, &root, BYTES, &second, &info), ERR_IO);
        assert_non_null(strstr(info.message, "in use by another"));
        prefixdisk_close(d);
    }
}

static void test_what_is_damaged_is_removed(void **state)
{
    (void)state;
    static const long places[] = {0, 9, 20, 500, -1};
    for (int sealed = 0; sealed < 2; sealed++) {
        const struct prefixdisk_options o = options(sealed ? "damaged-sealed" : "damaged", 1 << 20, sealed);
        for (size_t k = 0; k <= sizeof places / sizeof *places; k++) {
            struct prefixdisk *d = disk_of(&o);
            put(d, 1, 5);
            prefixdisk_close(d);
            flip_at = k < sizeof places / sizeof *places ? places[k] : 0;
            assert_int_equal(pages_in(o.folder, k < sizeof places / sizeof *places ? flip : cut), 1);
            d = disk_of(&o);
            assert_false(has_right(d, 5));
            assert_int_equal(pages_in(o.folder, NULL), 0);
            assert_int_equal(prefixdisk_bytes(d), 0);
            prefixdisk_close(d);
        }
    }
}

static char other_name[1200];

static void rename_to_other(const char *path)
{
    snprintf(other_name, sizeof other_name, "%s", path);
    char *last = strrchr(other_name, '/') + 1;
    memcpy(last, "06", 2);
    assert_int_equal(rename(path, other_name), 0);
}

/* A page under another's name, one made with another key, and files that are none. */
static void test_what_is_foreign_is_no_page(void **state)
{
    (void)state;
    struct prefixdisk_options o = options("foreign", 1 << 20, true);
    struct prefixdisk *d = disk_of(&o);
    put(d, 1, 5);
    prefixdisk_close(d);
    pages_in(o.folder, rename_to_other);
    d = disk_of(&o);
    assert_false(has_right(d, 5));
    assert_false(has_right(d, 6));
    put(d, 1, 5);
    prefixdisk_close(d);
    struct prefixdisk *other = NULL;
    assert_int_equal(prefixdisk_open(&o, &(struct prefixname){{10}}, BYTES, &other, NULL), ERR_OK);
    assert_false(has_right(other, 5)); /* another model's */
    prefixdisk_close(other);
    d = disk_of(&o);
    put(d, 1, 5);
    prefixdisk_close(d);
    snprintf(other_name, sizeof other_name, "%s/note", o.folder);
    FILE *f = fopen(other_name, "w");
    fputs("mine", f);
    fclose(f);
    d = disk_of(&o);
    assert_true(has_right(d, 5));
    prefixdisk_close(d);
    assert_true(file_exists(other_name));
}

static void test_the_longest_unused_makes_room(void **state)
{
    (void)state;
    const struct prefixdisk_options o = options("small", 5 * (BYTES + 100), false);
    struct prefixdisk *d = disk_of(&o);
    for (int i = 0; i < 5; i++) {
        put(d, 1, i);
    }
    prefixdisk_close(d); /* all are written */
    d = disk_of(&o);
    assert_true(has_right(d, 0));
    put(d, 1, 5);
    put(d, 1, 6);
    prefixdisk_close(d);
    d = disk_of(&o);
    assert_true(has_right(d, 0) && has_right(d, 3) && has_right(d, 4) && has_right(d, 5) && has_right(d, 6));
    assert_false(has_right(d, 1) || has_right(d, 2));
    assert_int_equal(pages_in(o.folder, NULL), 5);
    prefixdisk_close(d);
    const struct prefixdisk_options smaller = options("small", BYTES, false); /* not one fits */
    d = disk_of(&smaller);
    put(d, 1, 7);
    prefixdisk_close(d);
    assert_int_equal(pages_in(o.folder, NULL), 0);
}

static void test_a_drawer_is_forgotten(void **state)
{
    (void)state;
    const struct prefixdisk_options o = options("forgotten", 1 << 20, true);
    struct errinfo info = {0};
    struct prefixdisk *d = disk_of(&o);
    for (int i = 0; i < 20; i++) {
        put(d, (uint64_t)i % 2, i);
    }
    must(prefixdisk_forget(d, 0, &info), &info); /* some still wait to be written */
    for (int i = 0; i < 20; i += 2) {
        assert_false(has_right(d, i));
    }
    prefixdisk_close(d);
    assert_int_equal(pages_in(o.folder, NULL), 10);
    d = disk_of(&o);
    assert_true(has_right(d, 19) && !has_right(d, 18));
    must(prefixdisk_forget(d, 7, &info), &info); /* of which nothing is known */
    must(prefixdisk_forget(d, 1, &info), &info);
    assert_int_equal(pages_in(o.folder, NULL), 0);
    assert_int_equal(prefixdisk_bytes(d), 0);
    prefixdisk_close(d);
}

/* All, of whatever drawer; not while somebody has them, and nothing else that lies there. */
static void test_all_are_erased(void **state)
{
    (void)state;
    const struct prefixdisk_options o = options("erased", 1 << 20, true);
    char other[600];
    struct errinfo info = {0};
    struct prefixdisk *d = disk_of(&o);
    for (int i = 0; i < 6; i++) {
        put(d, (uint64_t)i % 2, i);
    }
    assert_int_equal(prefixdisk_erase(o.folder, &info), ERR_IO);
    assert_non_null(strstr(info.message, "in use by another"));
    prefixdisk_close(d);
    assert_int_equal(pages_in(o.folder, NULL), 6);
    snprintf(other, sizeof other, "%s/notes", o.folder);
    assert_int_equal(mkdir(other, 0700), 0);
    must(prefixdisk_erase(o.folder, &info), &info);
    assert_int_equal(pages_in(o.folder, NULL), 0);
    assert_true(file_is_dir(other));
    must(prefixdisk_erase(tempdir_file(&dir, "none"), &info), &info);
}

/* The path of its folder's salt. */
static void find_salt(const char *path)
{
    snprintf(other_name, sizeof other_name, "%s", path);
    strcpy(strrchr(other_name, '/'), "/.salt");
}

/* What lay in a drawer cannot be opened with the key alone, once the drawer is forgotten; and it goes with its
 * last page. */
static void test_a_folder_has_a_salt_of_its_own(void **state)
{
    (void)state;
    struct prefixdisk_options o = options("salted", 1 << 20, true);
    struct errinfo info = {0};
    struct stat st;
    char kept[1300];
    struct prefixdisk *d = disk_of(&o);
    put(d, 1, 5);
    prefixdisk_close(d);
    assert_int_equal(pages_in(o.folder, find_salt), 1);
    assert_int_equal(stat(other_name, &st), 0);
    assert_int_equal(st.st_size, PREFIXINDEX_SALT);
    snprintf(kept, sizeof kept, "%s.kept", o.folder);
    assert_int_equal(link(other_name, kept), 0); /* as blocks of the disk may be */
    d = disk_of(&o);
    assert_true(has_right(d, 5));
    must(prefixdisk_forget(d, 1, &info), &info);
    uint8_t bytes[PREFIXINDEX_SALT];
    FILE *f = fopen(kept, "rb");
    assert_int_equal(fread(bytes, 1, sizeof bytes, f), sizeof bytes);
    fclose(f);
    assert_true(sodium_is_zero(bytes, sizeof bytes));
    put(d, 1, 5);
    prefixdisk_close(d);
    pages_in(o.folder, find_salt);
    assert_int_equal(truncate(other_name, 3), 0);
    d = disk_of(&o);
    assert_false(has_right(d, 5));
    assert_int_equal(pages_in(o.folder, NULL), 0);
    prefixdisk_close(d);
}

static size_t folders_in(const char *folder)
{
    struct folder_names names = {0};
    assert_int_equal(folder_list(folder, &names, NULL), ERR_OK);
    size_t n = names.n;
    folder_names_deinit(&names);
    return n;
}

/* However many drawers there were: with its last page a folder goes. */
static void test_no_folder_stays_empty(void **state)
{
    (void)state;
    const struct prefixdisk_options o = options("many", 5 * (BYTES + 100), false);
    struct prefixdisk *d = disk_of(&o);
    for (int i = 0; i < 50; i++) {
        put(d, (uint64_t)i, i);
    }
    prefixdisk_close(d);
    assert_int_equal(folders_in(o.folder), 5);
}

/* What nobody used for so long goes, whoever used something else of the same drawer. */
static void test_what_is_long_unused_is_forgotten(void **state)
{
    (void)state;
    const struct prefixdisk_options o = options("old", 1 << 20, false);
    const int64_t day = INT64_C(86400000000000), now = kvpool_now();
    char rows[BYTES];
    struct prefixdisk *d = disk_of(&o);
    for (int i = 0; i < 200; i++) {
        struct prefixname name = name_of((uint8_t)i);
        fill(rows, i % 26);
        prefixdisk_write(d, (uint64_t)i % 3, &name, rows, now - (int64_t)i * day, true);
    }
    prefixdisk_close(d);
    d = disk_of(&o);
    struct prefixname read = name_of(150);
    assert_true(prefixdisk_read(d, &read, rows)); /* from now on it is young */
    prefixdisk_forget_unused(d, now - 100 * day);
    assert_true(prefixdisk_has(d, &read));
    assert_int_equal(pages_in(o.folder, NULL), 102);
    prefixdisk_close(d);
    d = disk_of(&o);
    prefixdisk_forget_unused(d, now - day / 2); /* as the next process has it */
    assert_true(prefixdisk_has(d, &read));
    assert_int_equal(pages_in(o.folder, NULL), 2);
    assert_int_equal(folders_in(o.folder), 1); /* both of drawer 0 */
    prefixdisk_forget_unused(d, INT64_MAX);
    assert_int_equal(folders_in(o.folder), 0);
    assert_int_equal(prefixdisk_bytes(d), 0);
    prefixdisk_close(d);
}

static void test_a_full_disk_keeps_nothing_half(void **state)
{
    (void)state;
    const struct prefixdisk_options o = options("full", 1 << 20, false);
    for (size_t k = 1; k < 6; k++) {
        struct prefixdisk *d = disk_of(&o);
        file_fault(k, 28);
        put(d, 1, (int)k);
        prefixdisk_close(d);
        file_fault(0, 0);
        d = disk_of(&o);
        assert_int_equal(prefixdisk_bytes(d) > 0, has_right(d, (int)k));
        must(prefixdisk_forget(d, 1, NULL), &(struct errinfo){0});
        prefixdisk_close(d);
    }
}

static void test_failing_allocations_leave_nothing(void **state)
{
    (void)state;
    const struct prefixdisk_options o = options("poor", 1 << 20, true);
    size_t before = mem_alive();
    for (size_t k = 1, whole = 0; !whole; k++) {
        struct prefixdisk *d = NULL;
        struct errinfo info = {0};
        mem_fault(k, 0);
        err e = prefixdisk_open(&o, &root, BYTES, &d, &info);
        if (e == ERR_OK) {
            put(d, 1, 3);
            put(d, 1, 4);
            whole = has_right(d, 3);
            prefixdisk_close(d);
        }
        mem_fault(0, 0);
        assert_true(e == ERR_OK || (e == ERR_NOMEM && info.message[0]));
        assert_int_equal(mem_alive(), before);
        assert_true(k < 200);
    }
}

/* ---- batchers ---- */

struct answer {
    struct batcher_job *job;
    int32_t ids[MOST];
    float logprobs[MOST];
    size_t n, cached;
    err e;
};

static bool on_token(void *user, const struct session_token *t)
{
    struct answer *a = user;
    a->ids[a->n] = t->id;
    a->logprobs[a->n++] = t->logprob;
    return true;
}

static void on_done(void *user, const struct generate_result *r, size_t cached, err e, const char *message)
{
    struct answer *a = user;
    (void)r;
    (void)message;
    a->cached = cached;
    a->e = e;
}

static struct batcher *batcher(struct engine *e, size_t pages, const struct prefixdisk_options *disk)
{
    struct errinfo info = {0};
    struct batcher *b = NULL;
    size_t page = engine_cache_bytes_per_token(e) * PAGE;
    must(batcher_new(e, &(struct batcher_options){.running = 4, .memory = pages * page, .disk = disk}, &b, &info),
         &info);
    return b;
}

static struct answer ask(struct batcher *b, const int32_t *ids, size_t n, uint64_t partition)
{
    struct errinfo info = {0};
    static const struct generate_options o = {.max_tokens = 20, .ignore_eos = true};
    static const struct sampling warm = {.temperature = 0.7f, .seed = 5};
    struct answer a = {0};
    must(batcher_submit(b,
                        &(struct batcher_request){.tokens = ids, .n_tokens = n, .sampling = &warm, .options = &o,
                                                  .partition = partition, .drawer = partition, .token = on_token, .done = on_done,
                                                  .user = &a},
                        &a.job, &info),
         &info);
    while (batcher_count(b).running + batcher_count(b).waiting > 0) {
        batcher_step(b);
    }
    assert_int_equal(a.e, ERR_OK);
    return a;
}

static void assert_same(const struct answer *a, const struct answer *b)
{
    assert_memory_equal(a->ids, b->ids, sizeof a->ids);
    assert_memory_equal(a->logprobs, b->logprobs, sizeof a->logprobs);
}

/* Stopped and begun again, in a new engine: as if nothing had happened; and whatever happens to the files. */
static void test_a_restart_goes_on_where_it_was(void **state)
{
    (void)state;
    for (size_t m = 0; m < ENGINEFIXTURE_MODELS; m++) {
        char name[20];
        snprintf(name, sizeof name, "restart%zu", m);
        const struct prefixdisk_options o = options(name, 1 << 30, true);
        struct engine *e = enginefixture_open(enginefixture_models[m], 2, true, 50);
        struct batcher *b = batcher(e, 64, &o);
        int32_t ids[300];
        enginefixture_tokens(e, ids, 300);
        struct answer first = ask(b, ids, 200, 1);
        assert_int_equal(first.cached, 0);
        batcher_free(b);
        engine_close(e);
        assert_int_equal(pages_in(o.folder, NULL), 3); /* 219 positions */
        e = enginefixture_open(enginefixture_models[m], 1, true, 33);
        b = batcher(e, 64, &o);
        struct answer again = ask(b, ids, 200, 1), more = ask(b, ids, 200, 1), other = ask(b, ids, 200, 2);
        assert_same(&first, &again);
        assert_same(&first, &more);
        assert_same(&first, &other);
        assert_int_equal(again.cached, 192);
        assert_int_equal(more.cached, 192);
        assert_int_equal(other.cached, 0);
        batcher_free(b);
        flip_at = 2000;
        pages_in(o.folder, flip);
        b = batcher(e, 64, &o);
        again = ask(b, ids, 200, 1);
        assert_same(&first, &again);
        assert_int_equal(again.cached, 0);
        struct errinfo info = {0};
        batcher_forget(b, 1);
        must(batcher_forget_disk(b, 1, &info), &info);
        assert_int_equal(batcher_count(b).kept, 0);
        assert_int_equal(ask(b, ids, 200, 1).cached, 0);
        batcher_free(b);
        engine_close(e);
    }
}

static void seal_slowly(void *user, const uint8_t *salt, const uint8_t *plain, size_t n, uint8_t *out)
{
    usleep(10000);
    seal(user, salt, plain, n, out);
}

/* A disk that takes longer than there is time gets the newest. */
static void test_a_stop_takes_no_longer_than_it_may(void **state)
{
    (void)state;
    enum { TEXTS = 20 };
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(ENGINEFIXTURE_CHAT, 2, true, 0);
    struct prefixdisk_options o = options("slow", 1 << 30, true);
    size_t page = engine_cache_bytes_per_token(e) * PAGE, found = 0;
    struct batcher *b;
    int32_t ids[300];
    o.codec.seal = seal_slowly;
    must(batcher_new(e, &(struct batcher_options){.memory = 100 * page, .disk = &o, .write_out_s = 0.4}, &b, &info), &info);
    enginefixture_tokens(e, ids, 300);
    for (size_t i = 0; i < TEXTS; i++) {
        ask(b, ids, 260, i); /* 4 pages: all 80 would take 0.8 s */
    }
    double start = progress_clock();
    batcher_free(b);
    double took = progress_clock() - start;
    b = batcher(e, 100, &o);
    for (size_t i = 0; i < TEXTS; i++) {
        found += ask(b, ids, 260, i).cached > 0;
    }
    if (took > 3 || found == 0 || found == TEXTS || ask(b, ids, 260, TEXTS - 1).cached == 0) {
        fail_msg("%.2f s, %zu of %d found", took, found, TEXTS);
    }
    batcher_free(b);
    engine_close(e);
}

/* Whatever allocation fails, with pages to be read and to be written: the same tokens or an error, and no leak. */
static void test_failing_allocations_beside_a_batch(void **state)
{
    (void)state;
    struct engine *e = enginefixture_open(ENGINEFIXTURE_CHAT, 2, true, 0);
    const struct prefixdisk_options o = options("pinched", 1 << 30, true);
    size_t page = engine_cache_bytes_per_token(e) * PAGE, before;
    int32_t ids[200];
    enginefixture_tokens(e, ids, 200);
    struct batcher *b = batcher(e, 5, &o);
    struct answer whole = ask(b, ids, 200, 1);
    batcher_free(b);
    before = mem_alive();
    for (size_t k = 1, done = 0; !done; k++) {
        struct errinfo info = {0};
        struct answer a = {0};
        static const struct generate_options go = {.max_tokens = 20, .ignore_eos = true};
        static const struct sampling warm = {.temperature = 0.7f, .seed = 5};
        const struct batcher_request r = {.tokens = ids, .n_tokens = 200, .sampling = &warm, .options = &go,
                                          .partition = 1, .drawer = 1, .token = on_token, .done = on_done, .user = &a};
        mem_fault(k, 0);
        err made = batcher_new(e, &(struct batcher_options){.running = 4, .memory = 5 * page, .disk = &o}, &b, &info);
        if (made == ERR_OK) {
            a.e = batcher_submit(b, &r, &a.job, &info);
            for (int i = 0; i < 40 && a.e == ERR_OK; i++) {
                batcher_step(b);
            }
            batcher_free(b);
            if (a.e == ERR_OK) {
                assert_same(&whole, &a);
            }
            done = a.e == ERR_OK && a.cached == 192 && mem_attempts() < k;
            assert_true(a.e == ERR_OK || a.e == ERR_NOMEM);
        }
        mem_fault(0, 0);
        assert_true(made == ERR_OK || (made == ERR_NOMEM && info.message[0]));
        assert_int_equal(mem_alive(), before);
        assert_true(k < 1000);
    }
    engine_close(e);
}

/* Another type of keys and values, another arithmetic: another root. */
static void test_engines_that_differ_share_nothing(void **state)
{
    (void)state;
    const struct prefixdisk_options o = options("engines", 1 << 30, false);
    int32_t ids[200];
    for (int i = 0; i < 4; i++) {
        struct errinfo info = {0};
        const struct engine_options eo = {.n_threads = 1, .deterministic = i != 1, .kv_type = i == 2 ? "f32" : NULL,
                                          .cpu = i == 3 ? "ref" : NULL};
        struct engine *e = NULL;
        must(engine_open(ENGINEFIXTURE_CHAT, &eo, &e, &info), &info);
        struct batcher *b = batcher(e, 64, &o);
        enginefixture_tokens(e, ids, 200);
        bool same_as_ever = i == 3 && cpuinfo_best() == CPUINFO_REF;
        assert_int_equal(ask(b, ids, 200, 1).cached, same_as_ever ? 192 : 0);
        batcher_free(b);
        engine_close(e);
    }
    assert_true(pages_in(o.folder, NULL) >= 9);
}

/* Little memory: what is given up comes back from the disk. */
static void test_what_falls_out_of_memory_is_found_on_disk(void **state)
{
    (void)state;
    struct engine *e = enginefixture_open(ENGINEFIXTURE_CHAT, 2, true, 0);
    const struct prefixdisk_options o = options("evicted", 1 << 30, true);
    struct batcher *b = batcher(e, 5, &o);
    int32_t ids[4][200];
    struct answer first[4];
    for (size_t i = 0; i < 4; i++) {
        enginefixture_tokens(e, ids[i], 200);
        ids[i][0] = (int32_t)i;
        first[i] = ask(b, ids[i], 200, 1);
        assert_int_equal(first[i].cached, 0);
    }
    batcher_free(b);
    b = batcher(e, 5, &o);
    for (size_t i = 0; i < 8; i++) {
        struct answer again = ask(b, ids[i % 4], 200, 1);
        assert_same(&first[i % 4], &again);
        assert_int_equal(again.cached, 192);
    }
    batcher_free(b);
    engine_close(e);
}

/* At the end: what the disk keeps of it is written, the newest, and no more. */
static void test_no_more_is_written_than_stays(void **state)
{
    (void)state;
    struct engine *e = enginefixture_open(ENGINEFIXTURE_CHAT, 1, true, 0);
    size_t page = engine_cache_bytes_per_token(e) * PAGE;
    const struct prefixdisk_options o = options("capped", 4 * (page + 200), true);
    struct batcher *b = batcher(e, 64, &o);
    int32_t ids[8][200];
    for (size_t i = 0; i < 8; i++) {
        enginefixture_tokens(e, ids[i], 200);
        ids[i][0] = (int32_t)i;
        ask(b, ids[i], 200, 1);
    }
    size_t before = procself_number("io", "wchar");
    batcher_free(b);
    assert_true(procself_number("io", "wchar") - before < 5 * page);
    assert_int_equal(pages_in(o.folder, NULL), 4);
    b = batcher(e, 64, &o);
    assert_int_equal(ask(b, ids[7], 200, 1).cached, 192);
    batcher_free(b);
    engine_close(e);
}

int main(void)
{
    if (sodium_init() < 0) {
        return 1;
    }
    tempdir_make(&dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_outlive_their_process),
        cmocka_unit_test(test_what_is_damaged_is_removed),
        cmocka_unit_test(test_what_is_foreign_is_no_page),
        cmocka_unit_test(test_the_longest_unused_makes_room),
        cmocka_unit_test(test_a_drawer_is_forgotten),
        cmocka_unit_test(test_all_are_erased),
        cmocka_unit_test(test_a_folder_has_a_salt_of_its_own),
        cmocka_unit_test(test_no_folder_stays_empty),
        cmocka_unit_test(test_what_is_long_unused_is_forgotten),
        cmocka_unit_test(test_a_full_disk_keeps_nothing_half),
        cmocka_unit_test(test_failing_allocations_leave_nothing),
        cmocka_unit_test(test_a_restart_goes_on_where_it_was),
        cmocka_unit_test(test_a_stop_takes_no_longer_than_it_may),
        cmocka_unit_test(test_failing_allocations_beside_a_batch),
        cmocka_unit_test(test_engines_that_differ_share_nothing),
        cmocka_unit_test(test_what_falls_out_of_memory_is_found_on_disk),
        cmocka_unit_test(test_no_more_is_written_than_stays),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tempdir_remove_all(dir.path);
    return failed;
}
