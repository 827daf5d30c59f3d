/* SPDX-License-Identifier: Apache-2.0 */
/* Fault handler: says what happened and where, then ends the program. */
#include "fault.h"

#include "memory_map.h"
#include "scs.h"
#include "semihost.h"

#include <stddef.h>

/* What the core pushes on exception entry. */
struct frame {
    uint32_t r0, r1, r2, r3, r12, lr, pc, xpsr;
};

/* MSTKERR, STKERR, STKOF */
#define CFSR_STACKING_FAILED ((1u << 4) | (1u << 12) | (1u << 20))

/* The program's stack may be what is broken. */
#define FAULT_STACK_BYTES 512
__attribute__((used, aligned(8))) static uint8_t fault_stack[FAULT_STACK_BYTES];

void fault_report(const struct frame *frame);

static const char *exception_name(uint32_t number)
{
    static const char *const names[] = {"NMI",      "HardFault",  "MemManage",
                                        "BusFault", "UsageFault", "SecureFault"};
    const uint32_t index = number - 2u;
    return index < sizeof names / sizeof names[0] ? names[index] : "exception";
}

/* Whether the core could push the frame: not after a stack overflow. */
static int is_stacked(const struct frame *frame)
{
#if __ARM_ARCH_ISA_THUMB >= 2
    if ((SCS_CFSR & CFSR_STACKING_FAILED) != 0u) {
        return 0;
    }
#endif
    return (uintptr_t)frame >= (uintptr_t)codeq_stack_limit &&
           (uintptr_t)(frame + 1) <= (uintptr_t)codeq_stack_top;
}

/* Called by Fault_Handler only, which puts the interrupted stack pointer into r0. */
__attribute__((used, noreturn)) void fault_report(const struct frame *frame)
{
    uint32_t exception;
    __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
    semihost_print("FAULT ");
    semihost_print(exception_name(exception));
    if (is_stacked(frame)) {
        semihost_print_hex(" at pc ", frame->pc);
        semihost_print_hex(", lr ", frame->lr);
        semihost_print_hex(", sp ", (uint32_t)(uintptr_t)frame);
    } else {
        semihost_print_hex(": stack overflow, sp ", (uint32_t)(uintptr_t)frame);
    }
#if __ARM_ARCH_ISA_THUMB >= 2
    semihost_print_hex("\n  cfsr ", SCS_CFSR);
    semihost_print_hex(", hfsr ", SCS_HFSR);
    semihost_print_hex(", mmfar ", SCS_MMFAR);
    semihost_print_hex(", bfar ", SCS_BFAR);
#endif
    semihost_exit(FAULT_EXIT + (int32_t)exception);
}

__attribute__((naked)) void Fault_Handler(void)
{
    __asm__ volatile("mrs r0, msp\n"
                     "ldr r1, =fault_stack + %c0\n"
                     "mov sp, r1\n"
                     "ldr r1, =fault_report\n"
                     "bx r1\n"
                     ".ltorg\n"
                     :
                     : "i"(FAULT_STACK_BYTES));
}
