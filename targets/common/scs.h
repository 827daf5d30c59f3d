/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of the Cortex-M system control space that start-up and fault handler use. */
#ifndef CODEQ_SCS_H
#define CODEQ_SCS_H

#include <stdint.h>

#define SCS_REGISTER(address) (*(volatile uint32_t *)(address))

#define SCS_VTOR      SCS_REGISTER(0xE000ED08u)
#define SCS_CCR       SCS_REGISTER(0xE000ED14u)
#define SCS_SHCSR     SCS_REGISTER(0xE000ED24u)
#define SCS_CFSR      SCS_REGISTER(0xE000ED28u)
#define SCS_HFSR      SCS_REGISTER(0xE000ED2Cu)
#define SCS_MMFAR     SCS_REGISTER(0xE000ED34u)
#define SCS_BFAR      SCS_REGISTER(0xE000ED38u)
#define SCS_CPACR     SCS_REGISTER(0xE000ED88u)
#define SCS_MPU_TYPE  SCS_REGISTER(0xE000ED90u)
#define SCS_MPU_CTRL  SCS_REGISTER(0xE000ED94u)
#define SCS_MPU_RNR   SCS_REGISTER(0xE000ED98u)
#define SCS_MPU_RBAR  SCS_REGISTER(0xE000ED9Cu)
#define SCS_MPU_RASR  SCS_REGISTER(0xE000EDA0u) /* Armv6-M, Armv7-M */
#define SCS_MPU_RLAR  SCS_REGISTER(0xE000EDA0u) /* Armv8-M */
#define SCS_MPU_MAIR0 SCS_REGISTER(0xE000EDC0u)

/* Later instructions see what was written to a system register. */
static inline void scs_synchronize(void)
{
    __asm__ volatile("dsb\n isb" ::: "memory");
}

#endif
