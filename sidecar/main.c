/*
 * sidecar/main.c: the program's entry.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
