/* cli/main.c: the program: sets up the libraries that need it once, hands over to the verbs, and
 * makes sure that an answer that could not be written is not reported as success. */
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/verbs.h"

/* OpenMP's threads spin while they wait for work, by default for milliseconds: on a machine that does
 * anything else besides, they spin where the others should compute (measured with SmolLM2 at a load of
 * ten per core: 0.6 tokens/s instead of 8), and idle is not idle. About 50 microseconds bridge the gap
 * between two ops. The library reads its settings before main runs, hence the second start; whoever sets
 * them keeps them. */
static void main_spin_less(char **argv)
{
    if (!getenv("GOMP_SPINCOUNT") && !getenv("OMP_WAIT_POLICY") &&
        setenv("GOMP_SPINCOUNT", "1000", 1) == 0) {
        execv("/proc/self/exe", argv); /* returns only when it cannot: then as it is */
    }
}

int main(int argc, char **argv)
{
    main_spin_less(argv);
    signal(SIGXFSZ, SIG_IGN); /* a file over the limit is an error to report, not a death */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fputs("fathom: libcurl cannot start\n", stderr);
        return 1;
    }
    int status = verbs_main(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "fathom: cannot write the output: %s\n", strerror(errno));
        status = status ? status : 1;
    }
    curl_global_cleanup();
    return status;
}
