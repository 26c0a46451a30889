/* Available memory: the system's number and the limits of control groups, from made-up /proc trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/meminfo.h"

static char root[] = "/tmp/fathom-meminfo-XXXXXX";

static int make_root(void **state)
{
    (void)state;
    strcpy(root + strlen(root) - 6, "XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void put(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", root, path);
    char *slash = strrchr(full, '/');
    *slash = '\0';
    assert_int_equal(file_make_dirs(full, NULL), ERR_OK);
    *slash = '/';
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_nothing_known_means_no_limit(void **state)
{
    (void)state;
    assert_true(meminfo_available_under(root) == SIZE_MAX);
    assert_true(meminfo_available() > 1 << 20);
}

static void test_system_number(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemTotal:  2000 kB\nMemAvailable:    1000 kB\n");
    assert_int_equal(meminfo_available_under(root), 1000 * 1024);
    put("/proc/meminfo", "MemTotal: 5 kB\nMemAvailable: none\n");
    assert_true(meminfo_available_under(root) == SIZE_MAX);
}

static void test_version_2_group_above_counts(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemAvailable: 100000 kB\n");
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.max", "1000000\n");
    put("/sys/fs/cgroup/a/memory.current", "700000\n");
    put("/sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 150000\nactive_file 50000\n");
    assert_int_equal(meminfo_available_under(root), 500000);
    put("/sys/fs/cgroup/a/memory.current", "2000000\n"); /* over its limit already */
    assert_int_equal(meminfo_available_under(root), 0);
    put("/proc/self/cgroup", "0::/../a\n"); /* outside our namespace: nothing to see */
    assert_int_equal(meminfo_available_under(root), 100000 * 1024);
}

static void test_version_1_memory_controller(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemAvailable: 100000 kB\n");
    put("/proc/self/cgroup", "5:devices:/\n4:memory:/x\nnonsense\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n");
    assert_int_equal(meminfo_available_under(root), 2000000);
}

static void test_sizes_read_well(void **state)
{
    (void)state;
    char out[MEMINFO_TEXT];
    assert_string_equal(meminfo_text(17, out), "17 bytes");
    assert_string_equal(meminfo_text(1536, out), "1.50 KiB");
    assert_string_equal(meminfo_text((size_t)20 << 30, out), "20.0 GiB");
    assert_string_equal(meminfo_text(SIZE_MAX, out), "16.0 EiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_known_means_no_limit, make_root, drop_root),
        cmocka_unit_test_setup_teardown(test_system_number, make_root, drop_root),
        cmocka_unit_test_setup_teardown(test_version_2_group_above_counts, make_root, drop_root),
        cmocka_unit_test_setup_teardown(test_version_1_memory_controller, make_root, drop_root),
        cmocka_unit_test(test_sizes_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
