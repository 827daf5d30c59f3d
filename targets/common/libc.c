/* SPDX-License-Identifier: Apache-2.0 */
/* The five functions of libc that compilers call on their own; so no C library is needed. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *left, const void *right, size_t count);
size_t strlen(const char *text);

/* In a loop: hides from the compiler that it is a memcpy or memset, which would call itself. */
#define NOT_AN_IDIOM() __asm__ volatile("" ::: "memory")

#define WORD sizeof(uint32_t)

/* Words of any type may be copied through this. */
typedef uint32_t __attribute__((may_alias)) any_word;

static int is_aligned(const void *pointer)
{
    return ((uintptr_t)pointer & (WORD - 1u)) == 0u;
}

/* From low to high addresses; right for an overlap with `out` below `in`. */
static void copy_upwards(uint8_t *out, const uint8_t *in, size_t count)
{
    if (is_aligned(out) && is_aligned(in)) {
        for (; count >= WORD; count -= WORD) {
            *(any_word *)(void *)out = *(const any_word *)(const void *)in;
            out += WORD;
            in += WORD;
            NOT_AN_IDIOM();
        }
    }
    for (; count > 0u; count--) {
        *out++ = *in++;
        NOT_AN_IDIOM();
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    copy_upwards(to, from, count);
    return to;
}

void *memmove(void *to, const void *from, size_t count)
{
    uint8_t *const out = to;
    const uint8_t *const in = from;
    if ((uintptr_t)out < (uintptr_t)in) {
        copy_upwards(out, in, count);
        return to;
    }
    for (; count > 0u; count--) {
        out[count - 1u] = in[count - 1u];
        NOT_AN_IDIOM();
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    uint8_t *out = to;
    const uint8_t byte = (uint8_t)value;
    for (; count > 0u && !is_aligned(out); count--) {
        *out++ = byte;
        NOT_AN_IDIOM();
    }
    const uint32_t word = byte * 0x01010101u;
    for (; count >= WORD; count -= WORD) {
        *(any_word *)(void *)out = word;
        out += WORD;
        NOT_AN_IDIOM();
    }
    for (; count > 0u; count--) {
        *out++ = byte;
        NOT_AN_IDIOM();
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t count)
{
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (; count > 0u; count--, a++, b++) {
        if (*a != *b) {
            return *a < *b ? -1 : 1;
        }
    }
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0') {
        length++;
        NOT_AN_IDIOM();
    }
    return length;
}
