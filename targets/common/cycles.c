/* SPDX-License-Identifier: Apache-2.0 */
/* Cycles of the DWT (Armv7-M, Armv8-M) or of the PMU (Armv8.1-M, where the DWT may have none). */
#include "cycles.h"

#include "scs.h"

#define DEMCR        SCS_REGISTER(0xE000EDFCu)
#define DEMCR_TRCENA (1u << 24)

#if __ARM_ARCH_ISA_THUMB < 2

void cycles_enable(void)
{
}

uint32_t cycles_now(void)
{
    return 0;
}

#elif defined __ARM_FEATURE_MVE /* Armv8.1-M, for which gcc 12 has no macro */

#define PMU_CCNTR           SCS_REGISTER(0xE000307Cu)
#define PMU_CNTENSET        SCS_REGISTER(0xE0003C00u)
#define PMU_CNTENSET_CYCLES (1u << 31)
#define PMU_CTRL            SCS_REGISTER(0xE0003E04u)
#define PMU_CTRL_ENABLE     1u

void cycles_enable(void)
{
    DEMCR |= DEMCR_TRCENA;
    PMU_CTRL |= PMU_CTRL_ENABLE;
    PMU_CNTENSET = PMU_CNTENSET_CYCLES;
    scs_synchronize();
}

uint32_t cycles_now(void)
{
    return PMU_CCNTR;
}

#else

#define DWT_CTRL           SCS_REGISTER(0xE0001000u)
#define DWT_CTRL_CYCCNTENA 1u
#define DWT_CYCCNT         SCS_REGISTER(0xE0001004u)
#define DWT_LAR            SCS_REGISTER(0xE0001FB0u) /* locked after reset on the M7 */
#define DWT_LAR_KEY        0xC5ACCE55u

void cycles_enable(void)
{
    DEMCR |= DEMCR_TRCENA;
    DWT_LAR = DWT_LAR_KEY;
    DWT_CYCCNT = 0;
    DWT_CTRL |= DWT_CTRL_CYCCNTENA;
    scs_synchronize();
}

uint32_t cycles_now(void)
{
    return DWT_CYCCNT;
}

#endif
