/* SPDX-License-Identifier: Apache-2.0 */
/* A model on the machine that codeq runs on: batches of samples, guards, recorded layers. */
#ifndef CODEQ_HOST_H
#define CODEQ_HOST_H

#include <stdint.h>

/* Statuses of a sample beside those of the model. */
enum {
    CODEQ_OUTPUT_OVERRUN = -101, /* bytes behind the outputs changed */
    CODEQ_INPUT_CHANGED = -102,
};

/**
 * Runs samples one after the other.
 *
 * inputs, outputs  of all samples
 * statuses         one a sample
 * traced           samples, from the first, whose layers are recorded
 * trace            for every layer: u32 sample, u32 layer, u32 bytes, the bytes
 * returns          0, or -1 where memory is short or the records are not of `trace_bytes`
 */
int32_t codeq_host_run(uint32_t samples, const uint8_t *inputs, uint8_t *outputs, int32_t *statuses,
                       uint32_t traced, uint8_t *trace, uint64_t trace_bytes);

#endif
