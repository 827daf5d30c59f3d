/* SPDX-License-Identifier: Apache-2.0 */
/* Files, text and exit of the host, through the debugger or emulator (Arm semihosting). */
#ifndef CODEQ_SEMIHOST_H
#define CODEQ_SEMIHOST_H

#include <stdint.h>

enum semihost_mode {
    SEMIHOST_READ = 1,  /* "rb" */
    SEMIHOST_WRITE = 5, /* "wb" */
};

/* A handle, or -1. */
int32_t semihost_open(const char *path, enum semihost_mode mode);
void semihost_close(int32_t file);

/* Both return 0, or the number of bytes that were not transferred. */
uint32_t semihost_read(int32_t file, void *data, uint32_t bytes);
uint32_t semihost_write(int32_t file, const void *data, uint32_t bytes);

/* 0, or negative. `position` counts from the start of the file. */
int32_t semihost_seek(int32_t file, uint32_t position);

void semihost_print(const char *text);

/* Prints `label` and eight hexadecimal digits. */
void semihost_print_hex(const char *label, uint32_t value);

/* Ends the emulation, or the debugger's session, with an exit status. */
__attribute__((noreturn)) void semihost_exit(int32_t status);

#endif
