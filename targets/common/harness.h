/* SPDX-License-Identifier: Apache-2.0 */
/* What a generated binding gives to the test program, on this machine and on a board. */
#ifndef CODEQ_HARNESS_H
#define CODEQ_HARNESS_H

#include <stdint.h>

#include <codeq/status.h>

/**
 * A model, seen as bytes to bytes.
 *
 * input_bytes   all inputs, one after the other, in order
 * output_bytes  all outputs, likewise
 * run           both pointers are aligned to 16 bytes
 * caller_bytes  of the inputs and outputs that do not stand in the arena
 */
struct codeq_harness {
    const char *name;
    uint32_t input_bytes;
    uint32_t output_bytes;
    enum cq_status (*run)(const uint8_t *inputs, uint8_t *outputs);
    uint32_t caller_bytes;
};

extern const struct codeq_harness codeq_harness;

/* Called after every layer where the model was built with CODEQ_TRACE. */
void codeq_trace(uint32_t layer, const void *data, uint32_t bytes);

/* Called by the binding just before and behind the model's call, with CODEQ_CYCLES. */
void codeq_run_begins(void);
void codeq_run_ended(void);

#endif
