/* SPDX-License-Identifier: Apache-2.0 */
/* From reset to main(): vectors, coprocessors, memory, protection. No vendor code, no libc. */
#include "fault.h"
#include "guard.h"
#include "memory_map.h"
#include "scs.h"
#include "semihost.h"

#define CPACR_CP10_CP11      (15u << 20) /* floating point and Helium */
#define SHCSR_FAULTS_ENABLED (7u << 16)  /* MemManage, BusFault, UsageFault */
#define SYSTEM_EXCEPTIONS    15

int main(void);
void Reset_Handler(void);

struct vector_table {
    const void *initial_stack;
    void (*handlers[SYSTEM_EXCEPTIONS])(void);
};

/* Interrupts of the board's devices stay disabled: no vectors for them. */
__attribute__((section(".vectors"), used)) static const struct vector_table vectors = {
    .initial_stack = codeq_stack_top,
    .handlers = {Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
                 Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
                 Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler},
};

static void enable_core_features(void)
{
#if __ARM_ARCH_ISA_THUMB >= 2 /* Armv6-M has fixed vectors and one fault */
    SCS_VTOR = (uint32_t)(uintptr_t)&vectors;
    SCS_CPACR |= CPACR_CP10_CP11;
    SCS_SHCSR |= SHCSR_FAULTS_ENABLED;
    scs_synchronize();
#endif
#if __ARM_ARCH >= 8
    __asm__ volatile("msr msplim, %0" : : "r"(codeq_stack_limit));
#endif
}

/* Nothing to do where it was loaded in its place. */
static void copy(const volatile uint32_t *load, volatile uint32_t *start, const uint32_t *end)
{
    while (load != start && start < end) {
        *start++ = *load++;
    }
}

static void initialize_memory(void)
{
    copy(codeq_data_load, codeq_data_start, codeq_data_end);
    copy(codeq_weights_load, codeq_weights_start, codeq_weights_end);
    copy(codeq_fast_load, codeq_fast_start, codeq_fast_end);
    for (volatile uint32_t *p = codeq_bss_start; p < codeq_bss_end; p++) {
        *p = 0;
    }
}

__attribute__((noreturn)) void Reset_Handler(void)
{
    enable_core_features();
    initialize_memory();
    guard_memory();
    semihost_exit(main());
}
