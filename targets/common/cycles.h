/* SPDX-License-Identifier: Apache-2.0 */
/* The core's own counter of cycles, on real boards: emulators leave it at zero. */
#ifndef CODEQ_CYCLES_H
#define CODEQ_CYCLES_H

#include <stdint.h>

/* From here on cycles are counted. */
void cycles_enable(void);

/* Runs over after 2^32. Always 0 on Armv6-M, which has no such counter. */
uint32_t cycles_now(void);

#endif
