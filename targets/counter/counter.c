/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU plugin: counts every instruction of a model, separately for each call of a kernel.
 *
 *   text=START:END   the library's code; what lies outside is not counted; repeated, where parts
 *                    of it lie in another memory
 *   run=START:END    its entry point, inside of text
 *   kernel=START     first instruction of a function that the entry point calls; repeated
 *   out=FILE         the counts, as text:
 *
 *     run                                       control came into the entry point from outside
 *     stretch FUNCTION UNALIGNED                what follows was executed in one stretch: in the
 *                                               entry point, or in a kernel and what that calls
 *     START INSTRUCTIONS TIMES TAKEN            a block of code, how often it was executed, and
 *                                               how often control went elsewhere than behind it
 *
 * Addresses are hexadecimal. The firmware is not changed for it: where a layer begins and ends is
 * seen from outside, so what is counted is the code that ships.
 */
#include "qemu.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_KERNELS 256
#define MAX_TEXTS   8

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

struct range {
    uint64_t start;
    uint64_t end;
};

enum place {
    OUTSIDE, /* start-up, test program, binding */
    RUN,     /* the entry point */
    KERNEL,  /* the first instruction of a kernel */
    INSIDE,  /* all other code of the library */
};

/* A translated block; one for each translation, which is few. */
struct block {
    uint64_t start;
    uint64_t last; /* address of the last instruction */
    uint64_t last_bytes;
    uint64_t instructions;
    enum place place;
    uint64_t times;
    uint64_t taken;
    struct block *next;
};

static struct range texts[MAX_TEXTS];
static size_t text_count;
static struct range run;
static uint64_t kernels[MAX_KERNELS];
static size_t kernel_count;
static FILE *out;

static struct block *blocks;
static struct block *previous; /* executed last, if it counts */
static uint64_t function;      /* whose stretch this is; 0 outside */
static uint64_t unaligned;     /* accesses in this stretch */

static int contains(struct range range, uint64_t address)
{
    return range.start <= address && address < range.end;
}

static int is_text(uint64_t address)
{
    for (size_t i = 0; i < text_count; i++) {
        if (contains(texts[i], address)) {
            return 1;
        }
    }
    return 0;
}

static enum place place_of(uint64_t address)
{
    if (!is_text(address)) {
        return OUTSIDE;
    }
    if (contains(run, address)) {
        return RUN;
    }
    for (size_t i = 0; i < kernel_count; i++) {
        if (kernels[i] == address) {
            return KERNEL;
        }
    }
    return INSIDE;
}

/* Writes what was counted since the last change, and starts from zero. */
static void end_stretch(void)
{
    fprintf(out, "stretch %" PRIx64 " %" PRIu64 "\n", function, unaligned);
    for (struct block *block = blocks; block != NULL; block = block->next) {
        if (block->times != 0u) {
            fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", block->start,
                    block->instructions, block->times, block->taken);
        }
        block->times = 0;
        block->taken = 0;
    }
    unaligned = 0;
}

/* Whose stretch continues with this block. A kernel that is called by a kernel is a part of it. */
static uint64_t function_at(const struct block *block)
{
    switch (block->place) {
    case OUTSIDE:
        return 0;
    case RUN:
        return run.start;
    case KERNEL:
        return function == run.start ? block->start : function;
    default:
        return function;
    }
}

/* Whether control went on behind the block, and not elsewhere. QEMU adds a halfword that it looks
 * at behind an instruction of two bytes, where a page ends, to the size of that instruction; such
 * a one is no branch, and two bytes behind one of four bytes nothing begins. */
static int falls_through(const struct block *from, const struct block *to)
{
    return to->start == from->last + 2u || to->start == from->last + from->last_bytes;
}

static void on_block(unsigned cpu, void *data)
{
    struct block *const block = data;
    (void)cpu;
    if (previous != NULL && !falls_through(previous, block)) {
        previous->taken++;
    }
    const uint64_t next = function_at(block);
    if (next != function) {
        if (function != 0u) {
            end_stretch();
        } else {
            fputs("run\n", out);
        }
        function = next;
    }
    previous = NULL;
    if (function != 0u) {
        block->times++;
        previous = block;
    }
}

static void on_access(unsigned cpu, uint32_t info, uint64_t address, void *data)
{
    const uint64_t bytes = UINT64_C(1) << qemu_plugin_mem_size_shift(info);
    (void)cpu;
    (void)data;
    if (function != 0u && (address & (bytes - 1u)) != 0u) {
        unaligned++;
    }
}

static void on_translation(qemu_plugin_id id, struct qemu_plugin_tb *translated)
{
    const size_t count = qemu_plugin_tb_n_insns(translated);
    struct block *const block = calloc(1, sizeof *block);
    (void)id;
    if (block == NULL) {
        fputs("counter: out of memory\n", stderr);
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *const instruction = qemu_plugin_tb_get_insn(translated, i);
        block->last = qemu_plugin_insn_vaddr(instruction);
        block->last_bytes = qemu_plugin_insn_size(instruction) > 2u ? 4u : 2u;
        if (i == 0u) {
            block->start = block->last;
            block->place = place_of(block->start);
        }
        if (block->place != OUTSIDE) {
            qemu_plugin_register_vcpu_mem_cb(instruction, on_access, QEMU_PLUGIN_NO_REGISTERS,
                                             QEMU_PLUGIN_LOADS_AND_STORES, NULL);
        }
    }
    block->instructions = count;
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(translated, on_block, QEMU_PLUGIN_NO_REGISTERS, block);
}

static void on_exit(qemu_plugin_id id, void *data)
{
    (void)id;
    (void)data;
    if (function != 0u) {
        end_stretch();
    }
    fclose(out);
}

static struct range parse_range(const char *words)
{
    char *colon;
    struct range range = {.start = strtoull(words, &colon, 16), .end = 0};
    if (*colon == ':') {
        range.end = strtoull(colon + 1, NULL, 16);
    }
    return range;
}

/* 0, or -1 where the option is unknown or cannot be used. */
static int take_option(const char *option)
{
    const char *const equals = strchr(option, '=');
    if (equals == NULL) {
        return -1;
    }
    const char *const value = equals + 1;
    if (strncmp(option, "text=", 5) == 0 && text_count < MAX_TEXTS) {
        texts[text_count++] = parse_range(value);
    } else if (strncmp(option, "run=", 4) == 0) {
        run = parse_range(value);
    } else if (strncmp(option, "kernel=", 7) == 0 && kernel_count < MAX_KERNELS) {
        kernels[kernel_count++] = strtoull(value, NULL, 16);
    } else if (strncmp(option, "out=", 4) == 0) {
        out = fopen(value, "w");
    } else {
        return -1;
    }
    return 0;
}

int qemu_plugin_install(qemu_plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (take_option(argv[i]) != 0) {
            fprintf(stderr, "counter: %s cannot be used\n", argv[i]);
            return -1;
        }
    }
    if (out == NULL || !is_text(run.start) || !is_text(run.end - 1u)) {
        fputs("counter: out, text and run inside of it are needed\n", stderr);
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit, NULL);
    return 0;
}
