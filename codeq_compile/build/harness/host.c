/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* A sanitizer finds an overrun itself, and better where the buffer ends with the outputs. */
#ifndef CODEQ_GUARD_BYTES
#define CODEQ_GUARD_BYTES 64u
#endif

#define UNWRITTEN 0xA5

static struct {
    uint32_t sample;
    uint32_t traced;
    uint8_t *next;
    uint64_t left;
    int overflow;
} tracing;

static void record(const void *data, uint32_t bytes)
{
    if (bytes > tracing.left) {
        tracing.overflow = 1;
        return;
    }
    memcpy(tracing.next, data, bytes);
    tracing.next += bytes;
    tracing.left -= bytes;
}

void codeq_trace(uint32_t layer, const void *data, uint32_t bytes)
{
    if (tracing.sample < tracing.traced) {
        const uint32_t header[] = {tracing.sample, layer, bytes};
        record(header, sizeof header);
        record(data, bytes);
    }
}

static int32_t run(const uint8_t *sample, uint8_t *outputs, uint8_t *in, uint8_t *out)
{
    const uint32_t in_bytes = codeq_harness.input_bytes;
    const uint32_t out_bytes = codeq_harness.output_bytes;
    memcpy(in, sample, in_bytes);
    memset(out, UNWRITTEN, out_bytes + CODEQ_GUARD_BYTES);
    const int32_t status = (int32_t)codeq_harness.run(in, out);
    memcpy(outputs, out, out_bytes);
    const uint8_t *const guard = out + out_bytes;
    for (const uint8_t *byte = guard; byte < guard + CODEQ_GUARD_BYTES; byte++) {
        if (*byte != UNWRITTEN) {
            return CODEQ_OUTPUT_OVERRUN;
        }
    }
    if (memcmp(in, sample, in_bytes) != 0) {
        return CODEQ_INPUT_CHANGED;
    }
    return status;
}

int32_t codeq_host_run(uint32_t samples, const uint8_t *inputs, uint8_t *outputs, int32_t *statuses,
                       uint32_t traced, uint8_t *trace, uint64_t trace_bytes)
{
    uint8_t *const in = malloc(codeq_harness.input_bytes);
    uint8_t *const out = malloc(codeq_harness.output_bytes + CODEQ_GUARD_BYTES);
    const int is_ready = in != NULL && out != NULL;
    tracing.traced = traced;
    tracing.next = trace;
    tracing.left = trace_bytes;
    tracing.overflow = 0;
    for (uint32_t i = 0; i < samples && is_ready; i++) {
        tracing.sample = i;
        statuses[i] = run(inputs, outputs, in, out);
        inputs += codeq_harness.input_bytes;
        outputs += codeq_harness.output_bytes;
    }
    free(in);
    free(out);
    return is_ready && !tracing.overflow && tracing.left == 0u ? 0 : -1;
}
