/*
 * tests/sim/fleet/fleet_main.c: many hosts in virtual time; see fleet.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/fleet/fleet.h"

#include <stdio.h>
#include <string.h>

static int usage(void)
{
    fprintf(stderr, "usage: fleet balance [--quick] | chain | rate | hour [--quick | FILE]\n");
    return 64;
}

int main(int argc, char **argv)
{
    const char *what = argc >= 2 ? argv[1] : "";
    const char *option = argc == 3 ? argv[2] : NULL;
    bool quick = option && strcmp(option, "--quick") == 0;
    bool is_balance = strcmp(what, "balance") == 0;

    if (argc > 3) {
        return usage();
    }
    if (is_balance && (!option || quick)) {
        return fleet_balance(quick) ? 0 : 1;
    }
    if (strcmp(what, "chain") == 0 && !option) {
        return fleet_chain() ? 0 : 1;
    }
    if (strcmp(what, "rate") == 0 && !option) {
        return fleet_rate() ? 0 : 1;
    }
    if (strcmp(what, "hour") == 0) {
        return fleet_hour(quick, quick ? NULL : option) ? 0 : 1;
    }
    return usage();
}
