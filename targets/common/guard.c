/* SPDX-License-Identifier: Apache-2.0 */
/* MPU regions: flash, RAM, the board's other memories, and the null page where flash starts at
 * address 0. */
#include "guard.h"

#include "memory_map.h"
#include "scs.h"

#define MPU_ENABLE     1u /* without PRIVDEFENA: what no region covers faults */
#define REGION_ENABLED 1u

static uint32_t address(const uint32_t *symbol)
{
    return (uint32_t)(uintptr_t)symbol;
}

#if __ARM_ARCH >= 8

#define GRANULE_MASK    31u
#define READ_WRITE      (1u << 1)
#define READ_ONLY       (3u << 1)
#define EXECUTE_NEVER   1u
#define NORMAL_UNCACHED 0x44u

static void add_region(uint32_t number, uint32_t start, uint32_t end, uint32_t access)
{
    SCS_MPU_RNR = number;
    SCS_MPU_RBAR = start | access;
    SCS_MPU_RLAR = ((end - 1u) & ~GRANULE_MASK) | REGION_ENABLED;
}

static void add_regions(void)
{
    SCS_MPU_MAIR0 = NORMAL_UNCACHED;
    const uint32_t flash = address(codeq_flash_start);
    add_region(0, flash == 0u ? address(codeq_null_bytes) : flash, address(codeq_flash_end),
               READ_ONLY);
    add_region(1, address(codeq_ram_start), address(codeq_ram_end), READ_WRITE | EXECUTE_NEVER);
    uint32_t number = 2;
    for (const struct codeq_region *r = codeq_regions_start; r < codeq_regions_end; r++) {
        const uint32_t access = r->is_writable ? READ_WRITE | EXECUTE_NEVER : READ_ONLY;
        add_region(number++, r->start, r->end, access);
    }
}

#else

#define NO_ACCESS     (0u << 24)
#define READ_WRITE    (3u << 24)
#define READ_ONLY     (6u << 24)
#define EXECUTE_NEVER (1u << 28)
#define NORMAL_MEMORY (1u << 19)

/* `start` is a multiple of 2^size_log2: the architecture asks for it. A higher number wins. */
static void add_region(uint32_t number, uint32_t start, uint32_t size_log2, uint32_t access)
{
    SCS_MPU_RNR = number;
    SCS_MPU_RBAR = start;
    SCS_MPU_RASR = access | NORMAL_MEMORY | ((size_log2 - 1u) << 1) | REGION_ENABLED;
}

/* Rounded up: a size that is no power of two is guarded up to the next one. */
static uint32_t log2_of(uint32_t bytes)
{
    uint32_t result = 5; /* the smallest region */
    while ((1u << result) < bytes) {
        result++;
    }
    return result;
}

static void add_regions(void)
{
    const uint32_t flash = address(codeq_flash_start);
    const uint32_t ram = address(codeq_ram_start);
    add_region(0, flash, log2_of(address(codeq_flash_end) - flash), READ_ONLY);
    add_region(1, ram, log2_of(address(codeq_ram_end) - ram), READ_WRITE | EXECUTE_NEVER);
    add_region(2, 0, log2_of(address(codeq_null_bytes)), NO_ACCESS | EXECUTE_NEVER);
    uint32_t number = 3;
    for (const struct codeq_region *r = codeq_regions_start; r < codeq_regions_end; r++) {
        const uint32_t access = r->is_writable ? READ_WRITE | EXECUTE_NEVER : READ_ONLY;
        add_region(number++, r->start, log2_of(r->end - r->start), access);
    }
}

#endif

void guard_memory(void)
{
    const uint32_t region_count = (SCS_MPU_TYPE >> 8) & 0xFFu;
    if (region_count == 0u) {
        return;
    }
    add_regions();
    SCS_MPU_CTRL = MPU_ENABLE;
    scs_synchronize();
}
