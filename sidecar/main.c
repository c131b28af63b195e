/*
 * sidecar/main.c: the program's entry.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

int main(void)
{
    puts("tside " TSIDE_VERSION);
    return 0;
}
