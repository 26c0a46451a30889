/* Counters of energy: packages and memory are added, parts of packages are not, a counter that begins again is
 * seen, and a machine without them says that it does not know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/energy.h"

static void put(const char *root, const char *zone, const char *file, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", root, zone);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", root, zone, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void zone(const char *root, const char *name, const char *is, const char *energy)
{
    put(root, name, "name", is);
    put(root, name, "max_energy_range_uj", "1000000000\n");
    put(root, name, "energy_uj", energy);
}

static void test_packages_and_memory_are_counted(void **state)
{
    (void)state;
    char root[] = "/tmp/fathom-energy-XXXXXX", gone[64];
    struct energy e;
    assert_non_null(mkdtemp(root));
    zone(root, "intel-rapl:0", "package-0\n", "5000000\n");
    zone(root, "intel-rapl:0:0", "core\n", "1000000\n");
    zone(root, "intel-rapl:0:1", "dram\n", "999000000\n");
    zone(root, "intel-rapl-mmio:0", "package-0\n", "0\n");
    energy_begin(&e, root);
    assert_int_equal(e.n, 2);
    assert_true(energy_joules(&e) == 0);
    put(root, "intel-rapl:0", "energy_uj", "7500000\n");
    put(root, "intel-rapl:0:0", "energy_uj", "2000000\n");
    put(root, "intel-rapl:0:1", "energy_uj", "250000\n"); /* began again */
    assert_true(fabs(energy_joules(&e) - (2.5 + 1.25)) < 1e-9);
    snprintf(gone, sizeof gone, "%s/intel-rapl:0/energy_uj", root);
    assert_int_equal(remove(gone), 0);
    assert_true(isnan(energy_joules(&e)));
}

static void test_no_counters_are_not_zero(void **state)
{
    (void)state;
    struct energy e;
    energy_begin(&e, "/nowhere");
    assert_true(isnan(energy_joules(&e)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packages_and_memory_are_counted),
        cmocka_unit_test(test_no_counters_are_not_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
