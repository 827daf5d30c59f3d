/* SPDX-License-Identifier: Apache-2.0 */
/* Arm semihosting: operation in r0, address of the arguments in r1, then BKPT 0xAB. */
#include "semihost.h"

#include <stddef.h>

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_SEEK = 0x0A,
    SYS_EXIT_EXTENDED = 0x20,
};

#define ADP_STOPPED_APPLICATION_EXIT 0x20026u

static int32_t call(int32_t operation, const void *arguments)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t word(const void *pointer)
{
    return (uint32_t)(uintptr_t)pointer;
}

int32_t semihost_open(const char *path, enum semihost_mode mode)
{
    uint32_t length = 0;
    while (path[length] != '\0') {
        length++;
    }
    const uint32_t arguments[] = {word(path), (uint32_t)mode, length};
    return call(SYS_OPEN, arguments);
}

void semihost_close(int32_t file)
{
    const uint32_t arguments[] = {(uint32_t)file};
    (void)call(SYS_CLOSE, arguments);
}

uint32_t semihost_read(int32_t file, void *data, uint32_t bytes)
{
    const uint32_t arguments[] = {(uint32_t)file, word(data), bytes};
    return (uint32_t)call(SYS_READ, arguments);
}

uint32_t semihost_write(int32_t file, const void *data, uint32_t bytes)
{
    const uint32_t arguments[] = {(uint32_t)file, word(data), bytes};
    return (uint32_t)call(SYS_WRITE, arguments);
}

int32_t semihost_seek(int32_t file, uint32_t position)
{
    const uint32_t arguments[] = {(uint32_t)file, position};
    return call(SYS_SEEK, arguments);
}

void semihost_print(const char *text)
{
    (void)call(SYS_WRITE0, text);
}

void semihost_print_hex(const char *label, uint32_t value)
{
    char digits[9];
    for (int32_t i = 7; i >= 0; i--) {
        digits[i] = "0123456789abcdef"[value & 15u];
        value >>= 4;
    }
    digits[8] = '\0';
    semihost_print(label);
    semihost_print(digits);
}

void semihost_exit(int32_t status)
{
    /* pyOCD does not know SYS_EXIT: it ends at the character EOT and reads the status before it. */
    semihost_print_hex("\nexit ", (uint32_t)status);
    semihost_print("\n\x04");
    const uint32_t arguments[] = {ADP_STOPPED_APPLICATION_EXIT, (uint32_t)status};
    for (;;) {
        (void)call(SYS_EXIT_EXTENDED, arguments);
    }
}
