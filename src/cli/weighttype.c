/* cli/weighttype.c: see weighttype.h. */
#include "cli/weighttype.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "cli/suggest.h"
#include "model/quantmix.h"

enum { WEIGHTTYPE_MAX = 64 };

/* The same but for case, _ and -, as in "Q4KM". */
static bool weighttype_same(const char *a, const char *b)
{
    for (;;) {
        a += strspn(a, "_-");
        b += strspn(b, "_-");
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) {
            return false;
        }
        if (*a == '\0') {
            return true;
        }
        a++;
        b++;
    }
}

err weighttype_check(const char *name, struct errinfo *info)
{
    const char *names[WEIGHTTYPE_MAX], *near = NULL;
    size_t n = 0;
    for (const char *known; n < WEIGHTTYPE_MAX && (known = quantmix_name_at(n)) != NULL; n++) {
        if (strcasecmp(name, known) == 0) {
            return ERR_OK;
        }
        if (weighttype_same(name, known) ||
            (!near && name[0] && strncasecmp(name, known, strlen(name)) == 0)) {
            near = known;
        }
        names[n] = known;
    }
    near = near ? near : suggest_nearest(name, names, n);
    return err_set(info, ERR_ARGUMENT, "there is no weight type \"%.40s\"%s%s%s; known: %s", name,
                   near ? "; did you mean " : "", near ? near : "", near ? "?" : "",
                   WEIGHTTYPE_NAMES);
}
