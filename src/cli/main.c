/* cli/main.c: the program: sets up the libraries that need it once, hands over to the verbs, and
 * makes sure that an answer that could not be written is not reported as success. */
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/mapfault.h"
#include "cli/verbs.h"

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file over the limit is an error to report, not a death */
    mapfault_watch();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fputs("fathom: libcurl cannot start\n", stderr);
        return 1;
    }
    int status = verbs_main(argc, argv);
    bool lost = ferror(stdout); /* in an earlier write, whose errno is gone */
    if (fflush(stdout) != 0 || lost) {
        fprintf(stderr, "fathom: cannot write the output: %s\n",
                lost ? "the disk is full or the reader is gone" : strerror(errno));
        status = status ? status : 1;
    }
    curl_global_cleanup();
    return status;
}
