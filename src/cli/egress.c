/* cli/egress.c: see egress.h. */
#include "cli/egress.h"

#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "server/sandbox_probe.h"

static const char *const egress_outcomes[] = {
    [SANDBOX_PROBE_WORKED] = "worked",
    [SANDBOX_PROBE_REFUSED] = "refused",
    [SANDBOX_PROBE_ENDED] = "ended by the kernel",
    [SANDBOX_PROBE_STUCK] = "neither refused nor done",
};

static void egress_print_table(const struct sandbox_probe *p)
{
    char text[SANDBOX_TEXT];
    size_t missing = 0;
    printf("%-36s %s\n", "tried inside", "what happened");
    for (size_t i = 0; i < p->n; i++) {
        const struct sandbox_probe_try *t = &p->tries[i];
        const char *words = t->detail[0] ? t->detail : "";
        printf("%-36s %s%s%s%s\n", t->what, egress_outcomes[t->outcome], *words ? ": " : "", words,
               t->held ? "" : "   <-- NOT AS IT HAS TO BE");
        missing += !t->held;
    }
    printf("sandbox: %s\n", sandbox_text(&p->report, text));
    if (missing == 0) {
        puts("no connection can leave this program once it serves");
        return;
    }
    fputs("missing:", stdout);
    for (size_t i = 0; i < p->n; i++) {
        if (!p->tries[i].held) {
            printf(" %s%s", p->tries[i].what, --missing ? "," : "\n");
        }
    }
}

static err egress_print_json(const struct sandbox_probe *p, struct errinfo *info)
{
    static const char *const landlock[] = {"none", "partial", "full"};
    json_t *tries = json_array(), *all = NULL;
    bool complete = tries != NULL;
    for (size_t i = 0; i < p->n; i++) {
        const struct sandbox_probe_try *t = &p->tries[i];
        complete &=
            json_array_append_new(tries, json_pack("{s:s, s:s, s:s, s:b}", "what", t->what, "outcome",
                                                   egress_outcomes[t->outcome], "detail", t->detail,
                                                   "held", (int)t->held)) == 0;
    }
    all = json_pack("{s:b, s:b, s:s, s:i, s:o}", "no_egress", (int)p->held, "seccomp",
                    (int)p->report.seccomp, "landlock", landlock[p->report.landlock], "landlock_abi",
                    p->report.landlock_abi, "tries", tries);
    char *text = NULL;
    err e = complete ? json_text(all, JSON_INDENT(2), &text) : ERR_NOMEM;
    json_decref(all);
    if (e != ERR_OK) {
        return err_set(info, ERR_NOMEM, "out of memory printing the report");
    }
    puts(text);
    mem_free(text);
    return ERR_OK;
}

err egress_print(bool json, bool *held, struct errinfo *info)
{
    struct sandbox_probe *p = mem_calloc(1, sizeof *p);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory for trying the sandbox");
    }
    err e = sandbox_probe(0, true, p, info);
    if (e == ERR_OK) {
        *held = p->held;
        if (json) {
            e = egress_print_json(p, info);
        } else {
            egress_print_table(p);
        }
    }
    mem_free(p);
    return e;
}
