/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for a model that computes, traces, or does what the first byte of its input asks. */
#include "harness.h"

#include <stddef.h>

#define BYTES 16u

void *memcpy(void *restrict to, const void *restrict from, size_t count);

enum request {
    COMPUTE = 0,
    READ_NULL = 1,
    WRITE_NULL = 2,
    WRITE_FLASH = 3,
    OVERFLOW_STACK = 4,
    READ_BEHIND_RAM = 5,
    EXECUTE_RAM = 6,
    HANG = 7,
    READ_UNMAPPED = 8,
    USE_STACK = 9,
    UNDEFINED_INSTRUCTION = 10,
};

extern uint32_t codeq_ram_end[];

static const uint8_t table[BYTES] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53};

/* Zeroed and initialized memory, which start-up has to prepare. */
static uint8_t calls;
static volatile uint32_t modulus = 251;

/* The compiler must not see where a pointer comes from. */
static uintptr_t hide(uintptr_t address)
{
    __asm__ volatile("" : "+r"(address));
    return address;
}

static uint8_t peek(uintptr_t address)
{
    return *(const volatile uint8_t *)hide(address);
}

static void poke(uintptr_t address)
{
    *(volatile uint8_t *)hide(address) = 1;
}

__attribute__((noinline)) static uint32_t recurse(uint32_t depth)
{
    volatile uint8_t frame[256];
    const uint8_t index = (uint8_t)depth; /* anywhere: the whole frame is needed */
    frame[index] = index;
    return depth == 0u ? 0u : recurse(depth - 1u) + frame[index];
}

static enum cq_status compute(const uint8_t *inputs, uint8_t *outputs)
{
    uint8_t scaled[BYTES];
    uint64_t sum = UINT64_C(0x123456789A);
    for (uint32_t i = 0; i < BYTES; i++) {
        scaled[i] = (uint8_t)(inputs[i] * table[i]);
        sum = sum * 31u + scaled[i];
    }
    codeq_trace(0, scaled, BYTES);
    memcpy(outputs, scaled, BYTES);
    outputs[0] = (uint8_t)(sum % modulus); /* a 64-bit division: the compiler's library */
    outputs[1] = ++calls;
    codeq_trace(3, outputs, 2);
    return inputs[1] == 255u ? CQ_ERROR_ARGUMENT : CQ_OK;
}

static enum cq_status run(const uint8_t *inputs, uint8_t *outputs)
{
    outputs[0] = 0;
    switch (inputs[0]) {
    case READ_NULL:
        outputs[0] = peek(0);
        break;
    case WRITE_NULL:
        poke(0);
        break;
    case WRITE_FLASH:
        poke((uintptr_t)table);
        break;
    case OVERFLOW_STACK:
        outputs[0] = (uint8_t)recurse(UINT32_MAX);
        break;
    case READ_BEHIND_RAM:
        outputs[0] = peek((uintptr_t)codeq_ram_end);
        break;
    case EXECUTE_RAM:
        ((void (*)(void))(hide((uintptr_t)outputs) | 1u))();
        break;
    case HANG:
        for (;;) {
            (void)peek((uintptr_t)inputs);
        }
    case READ_UNMAPPED:
        outputs[0] = peek(0xA0000000u);
        break;
    case USE_STACK:
        outputs[0] = (uint8_t)recurse(inputs[1]);
        break;
    case UNDEFINED_INSTRUCTION:
        __asm__ volatile("udf #1");
        break;
    default:
        return compute(inputs, outputs);
    }
    return CQ_OK;
}

const struct codeq_harness codeq_harness = {
    .name = "probe",
    .input_bytes = BYTES,
    .output_bytes = BYTES,
    .run = run,
    .caller_bytes = 2u * BYTES,
};
