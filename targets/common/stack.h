/* SPDX-License-Identifier: Apache-2.0 */
/* How much stack a call needed. */
#ifndef CODEQ_STACK_H
#define CODEQ_STACK_H

#include <stdint.h>

/* Fills the free part of the stack with a pattern. */
void stack_paint(void);

/* Bytes below the caller of stack_paint() that were overwritten since. */
uint32_t stack_used(void);

#endif
