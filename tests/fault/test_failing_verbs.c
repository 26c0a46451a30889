/* tests/fault/test_failing_verbs.c: whole verbs of the program with every allocation failing once: exit
 * code 1 and a message, nothing left behind, never half an answer as if it were whole. */
#include "fault/faultsweep.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cpuinfo.h"
#include "cli/verbs.h"
#include "formats/tempdir.h"

static struct tempdir dir;
static char model[320], out[320], text[320], tasks[320], session[320];
static char const *const *words; /* the command line that is tried */
static char said[512];           /* how the verb began its complaint */

/* Runs it with stdin from the file "typed", stdout thrown away and stderr kept. */
static int verb(void)
{
    char *argv[24] = {"fathom"};
    char path[320];
    int argc = 1, shown = dup(STDOUT_FILENO), complaints = dup(STDERR_FILENO);
    for (; words[argc - 1]; argc++) {
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    }
    fflush(NULL);
    snprintf(path, sizeof path, "%s", tempdir_file(&dir, "typed"));
    int to = open("/dev/null", O_WRONLY);
    int err_to = open(tempdir_file(&dir, "stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (to < 0 || err_to < 0 || !freopen(path, "r", stdin) || dup2(to, STDOUT_FILENO) < 0 ||
        dup2(err_to, STDERR_FILENO) < 0) {
        abort();
    }
    int status = verbs_main(argc, argv);
    fflush(NULL);
    ssize_t n = pread(err_to, said, sizeof said - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    dup2(shown, STDOUT_FILENO);
    dup2(complaints, STDERR_FILENO);
    close(shown);
    close(complaints);
    close(to);
    close(err_to);
    return status;
}

static err run_verb(struct errinfo *info)
{
    unlink(session); /* or it would grow */
    int status = verb();
    if (status == 0) {
        return ERR_OK;
    }
    if (status != 1 || said[0] == '\0') {
        return err_set(info, ERR_IO, "exit code %d, \"%s\"", status, said);
    }
    return err_set(info, ERR_NOMEM, "%s", said);
}

struct line {
    const char *name;
    const char *words[20];
    size_t least, stride;
};

#define FOLDER "tests/golden/chatmodel"

static const struct line LINES[] = {
    {"list", {"list", "--json"}, 1, 1},
    {"list_catalogue", {"list", "--catalogue", "--json"}, 20, 5},
    {"inspect", {"inspect", model, "--tensors", "--hash", "--json"}, 50, 1},
    {"inspect_for_people", {"inspect", FOLDER, "--tensors"}, 50, 37},
    {"tokenize", {"tokenize", model, "--text", "ab c", "--specials", "--bos", "--json"}, 20, 1},
    {"tokenize_stdin", {"tokenize", model}, 20, 1},
    {"tokenize_ids", {"tokenize", model, "--ids", "1,2,3,4", "--json"}, 20, 1},
    {"run", {"run", model, "--prompt", "ab c", "--threads", "1", "--seed", "1", "--max-tokens", "6", "--json",
             "--logprobs", "2", "--logit-bias", "0=3", "--stop", "xyz"}, 50, 1},
    {"run_stdin", {"run", model, "--threads", "1", "--max-tokens", "4", "--context", "64", "--session",
                   session}, 50, 3},
    {"run_folder", {"run", FOLDER, "--prompt", "hello", "--threads", "1", "--max-tokens", "3", "--json"},
     500, 37},
    {"chat", {"chat", FOLDER, "--threads", "1", "--temperature", "0", "--max-tokens", "3"},
     500, 37},
    {"eval_perplexity", {"eval", model, "--threads", "1", "--perplexity", text, "--context", "16",
                         "--stride", "8", "--json"}, 50, 1},
    {"eval_task", {"eval", model, "--threads", "1", "--task", tasks, "--max-tokens", "3", "--json"},
     50, 1},
    {"eval_logits", {"eval", model, "--threads", "1", "--logits-out", out, "--tokens", "1,2,3"}, 50,
     1},
    {"quantize", {"quantize", model, out, "q4_0", "--threads", "1", "--force", "--json"}, 50, 1},
    {"convert", {"convert", model, out, "--type", "f32", "--threads", "1", "--force"}, 50, 1},
    {"doctor", {"doctor", "--quick", "--json"}, 20, 1},
    {"pull_dry", {"pull", "file:tests/golden/model/qwen2/model.gguf", "--name", "pulled", "--dry-run",
                  "--json"}, 10, 1},
};

static void sweep_line(void **state)
{
    const struct line *l = *state;
    words = l->words;
    const struct faultsweep s = {l->name, run_verb, l->least, l->stride};
    faultsweep_run(&s);
}

/* The memory that operations take at their first use differs from level to level. */
static void run_at_every_level(void **state)
{
    (void)state;
    static const struct line line = {
        "run at every level",
        {"run", model, "--raw", "--prompt", "ab c", "--threads", "2", "--seed", "1", "--max-tokens", "2"},
        50, 7};
    void *it = (void *)(uintptr_t)&line;
    for (int level = CPUINFO_REF; level <= (int)cpuinfo_best(); level++) {
        setenv("FATHOM_CPU", cpuinfo_level_name((enum cpuinfo_level)level), 1);
        sweep_line(&it);
    }
    unsetenv("FATHOM_CPU");
}

static int set_up(void **state)
{
    (void)state;
    char file[320];
    FILE *from = fopen("tests/fuzz/seeds/gguf/model-qwen2", "rb");
    static char bytes[1 << 16];
    tempdir_make(&dir);
    snprintf(file, sizeof file, "%s", tempdir_file(&dir, "models"));
    setenv("FATHOM_BUNDLED", "/no/such/folder", 1);
    setenv("FATHOM_MODELS", file, 1);
    setenv("XDG_STATE_HOME", file, 1);
    size_t n = from ? fread(bytes, 1, sizeof bytes, from) : 0;
    assert_true(n > 1000 && fclose(from) == 0);
    tempdir_put(&dir, "model.gguf", bytes, n);
    tempdir_text(&dir, "typed", "/system be brief\nhello\n/retry\n/stats\n\"\"\"\nagain\n\"\"\"\n/clear\n");
    tempdir_text(&dir, "tasks", "{\"prompt\":\"ab\",\"answer\":\"c\"}\n"
                                "{\"prompt\":\"a\",\"choices\":[\" b\",\" c\"],\"answer\":1}\n");
    tempdir_text(&dir, "text", "ab c ab c ab c ab c ab c ab c ab c ab c ab c ab c ab c ab c ab c ab c");
    snprintf(model, sizeof model, "%s", tempdir_file(&dir, "model.gguf"));
    snprintf(out, sizeof out, "%s", tempdir_file(&dir, "out.gguf"));
    snprintf(text, sizeof text, "%s", tempdir_file(&dir, "text"));
    snprintf(tasks, sizeof tasks, "%s", tempdir_file(&dir, "tasks"));
    snprintf(session, sizeof session, "%s", tempdir_file(&dir, "session"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_remove(&dir);
    return 0;
}

int main(void)
{
    enum { N = sizeof LINES / sizeof *LINES };
    struct CMUnitTest tests[N + 1] = {cmocka_unit_test(run_at_every_level)};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || sodium_init() < 0) {
        return 1;
    }
    for (size_t i = 0; i < N; i++) {
        tests[1 + i] = (struct CMUnitTest){.name = LINES[i].name,
                                           .test_func = sweep_line,
                                           .initial_state = (void *)(uintptr_t)&LINES[i]};
    }
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    curl_global_cleanup();
    return failed;
}
