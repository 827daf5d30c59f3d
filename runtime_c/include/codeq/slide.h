/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of rows, for layers that are executed some rows at a time. */
#ifndef CODEQ_SLIDE_H
#define CODEQ_SLIDE_H

#include <codeq/types.h>

/**
 * @brief Give up the first `dropped` bytes of a window and move the `kept` bytes behind them there.
 *
 * @param window   int8, at any address
 * @param dropped  1 or more
 * @param kept     0 or more
 */
void cq_slide(int8_t *window, uint32_t dropped, uint32_t kept);

#endif
