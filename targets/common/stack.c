/* SPDX-License-Identifier: Apache-2.0 */
/* Stack watermark: paint, run, look how far down the paint is gone. */
#include "stack.h"

#include "memory_map.h"

#define PAINT 0xC5C5C5C5u

/* Words below its own frame that stack_paint() may use itself and leaves alone. */
#define MARGIN 16

static uint32_t *painted_top;

__attribute__((noinline)) void stack_paint(void)
{
    painted_top = (uint32_t *)__builtin_frame_address(0) - MARGIN;
    for (volatile uint32_t *p = codeq_stack_limit; p < painted_top; p++) {
        *p = PAINT;
    }
}

uint32_t stack_used(void)
{
    const volatile uint32_t *p = codeq_stack_limit;
    while (p < painted_top && *p == PAINT) {
        p++;
    }
    return (uint32_t)((uintptr_t)(painted_top + MARGIN) - (uintptr_t)p);
}
