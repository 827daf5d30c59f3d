/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that sections.ld defines; only the address of each symbol means anything. */
#ifndef CODEQ_MEMORY_MAP_H
#define CODEQ_MEMORY_MAP_H

#include <stdint.h>

extern uint32_t codeq_null_bytes[]; /* from address 0 on, never touched */
extern uint32_t codeq_flash_start[], codeq_flash_end[];
extern uint32_t codeq_ram_start[], codeq_ram_end[];
extern uint32_t codeq_stack_limit[], codeq_stack_top[];
extern uint32_t codeq_weights_start[], codeq_weights_end[], codeq_weights_load[];
extern uint32_t codeq_fast_start[], codeq_fast_end[], codeq_fast_load[];
extern uint32_t codeq_data_start[], codeq_data_end[], codeq_data_load[];
extern uint32_t codeq_bss_start[], codeq_bss_end[];
extern uint32_t codeq_free_start[]; /* first byte of RAM that nothing uses */

/* Memories beside flash and RAM. */
struct codeq_region {
    uint32_t start, end;
    uint32_t is_writable; /* or else executable */
};
extern const struct codeq_region codeq_regions_start[], codeq_regions_end[];

#endif
