/* SPDX-License-Identifier: Apache-2.0 */
/* Test program: runs a model on the samples of a file of the host and writes what came out.
 *
 *   in.bin     "CQIN", u32 samples, u32 traced samples, then the inputs of each sample
 *   out.bin    "CQOU", u32 samples, u32 stack bytes, then i32 status and the outputs of each
 *   trace.bin  for every layer of the first samples: u32 sample, u32 layer, u32 bytes, the bytes;
 *              with CODEQ_CYCLES these are the u32 cycles that the layer took, layer 0 the whole
 */
#include "cycles.h"
#include "harness.h"
#include "memory_map.h"
#include "semihost.h"
#include "stack.h"

#include <stddef.h>

/* Exit statuses; faults have theirs in fault.h. */
enum {
    FINISHED = 0,
    BAD_FILE = 2,      /* in.bin is missing, foreign or too short, or a file cannot be written */
    OUT_OF_MEMORY = 3, /* inputs and outputs do not fit into the RAM that the model leaves */
};

#define MAGIC_IN  0x4E495143u /* "CQIN" */
#define MAGIC_OUT 0x554F5143u /* "CQOU" */

/* Where the stack bytes stand in out.bin. */
#define STACK_POSITION 8u

#define BUFFER_ALIGN 16u

/* Bytes a model forgot to write differ from the sample before. */
#define UNWRITTEN 0xA5u

static struct {
    int32_t file;
    uint32_t sample;
    uint32_t sample_count;
} tracing;

__attribute__((noreturn)) static void fail(int32_t status, const char *reason)
{
    semihost_print(reason);
    semihost_exit(status);
}

static void read_all(int32_t file, void *data, uint32_t bytes)
{
    if (semihost_read(file, data, bytes) != 0u) {
        fail(BAD_FILE, "in.bin is too short");
    }
}

static void write_all(int32_t file, const void *data, uint32_t bytes)
{
    if (semihost_write(file, data, bytes) != 0u) {
        fail(BAD_FILE, "the host took not all bytes of a file");
    }
}

static int32_t open_file(const char *path, enum semihost_mode mode)
{
    const int32_t file = semihost_open(path, mode);
    if (file < 0) {
        semihost_print(path);
        fail(BAD_FILE, " cannot be opened");
    }
    return file;
}

static void record(uint32_t layer, const void *data, uint32_t bytes)
{
    if (tracing.sample >= tracing.sample_count) {
        return;
    }
    const uint32_t header[] = {tracing.sample, layer, bytes};
    write_all(tracing.file, header, sizeof header);
    write_all(tracing.file, data, bytes);
}

#ifdef CODEQ_CYCLES

/* What was read of the counter last: when the run or the layer began. */
static uint32_t run_start, layer_start;

void codeq_run_begins(void)
{
    run_start = cycles_now();
    layer_start = run_start;
}

void codeq_run_ended(void)
{
    const uint32_t cycles = cycles_now() - run_start;
    record(0, &cycles, sizeof cycles);
}

/* Only with CODEQ_TRACE; what writing a record takes belongs to no layer. */
void codeq_trace(uint32_t layer, const void *data, uint32_t bytes)
{
    const uint32_t cycles = cycles_now() - layer_start;
    (void)data;
    (void)bytes;
    record(layer, &cycles, sizeof cycles);
    layer_start = cycles_now();
}

#else

void codeq_trace(uint32_t layer, const void *data, uint32_t bytes)
{
    record(layer, data, bytes);
}

#endif

static uint32_t align_up(uint32_t value)
{
    return (value + BUFFER_ALIGN - 1u) & ~(BUFFER_ALIGN - 1u);
}

/* Inputs and outputs take the RAM behind the model's own. */
static uint8_t *allocate(uint32_t bytes)
{
    static uint32_t used;
    const uint32_t start = align_up((uint32_t)(uintptr_t)codeq_free_start) + used;
    const uint32_t end = (uint32_t)(uintptr_t)codeq_ram_end;
    if (start > end || bytes > end - start) {
        fail(OUT_OF_MEMORY, "the model's inputs and outputs do not fit into RAM");
    }
    used += align_up(bytes);
    return (uint8_t *)(uintptr_t)start;
}

/* Status of one sample; `stack_bytes` grows to what its run needed. */
static int32_t run(const uint8_t *inputs, uint8_t *outputs, uint32_t *stack_bytes)
{
    for (volatile uint8_t *p = outputs; p < outputs + codeq_harness.output_bytes; p++) {
        *p = UNWRITTEN;
    }
    stack_paint();
    const int32_t status = (int32_t)codeq_harness.run(inputs, outputs);
    const uint32_t used = stack_used();
    *stack_bytes = used > *stack_bytes ? used : *stack_bytes;
    return status;
}

int main(void)
{
    struct {
        uint32_t magic, sample_count, traced_count;
    } request;
    const int32_t in = open_file("in.bin", SEMIHOST_READ);
    read_all(in, &request, sizeof request);
    if (request.magic != MAGIC_IN) {
        fail(BAD_FILE, "in.bin does not start with CQIN");
    }
    const int32_t out = open_file("out.bin", SEMIHOST_WRITE);
    tracing.file = open_file("trace.bin", SEMIHOST_WRITE);
    tracing.sample_count = request.traced_count;

#ifdef CODEQ_CYCLES
    cycles_enable();
#endif
    uint8_t *const inputs = allocate(codeq_harness.input_bytes);
    uint8_t *const outputs = allocate(codeq_harness.output_bytes);
    uint32_t stack_bytes = 0;
    const uint32_t header[] = {MAGIC_OUT, request.sample_count, stack_bytes};
    write_all(out, header, sizeof header);
    for (uint32_t i = 0; i < request.sample_count; i++) {
        tracing.sample = i;
        read_all(in, inputs, codeq_harness.input_bytes);
        const int32_t status = run(inputs, outputs, &stack_bytes);
        write_all(out, &status, sizeof status);
        write_all(out, outputs, codeq_harness.output_bytes);
    }
    if (semihost_seek(out, STACK_POSITION) != 0) {
        fail(BAD_FILE, "out.bin cannot be completed");
    }
    write_all(out, &stack_bytes, sizeof stack_bytes);
    semihost_close(tracing.file);
    semihost_close(out);
    semihost_close(in);
    return FINISHED;
}
