/* SPDX-License-Identifier: Apache-2.0 */
/* Runs kernels on jobs from a file of the host: every row of kernels.inc in one image.
 *
 *   jobs.bin     u32 jobs; for each u32 kernel, u32 image bytes, u32 arguments, u32 pointers,
 *                the position of each pointer, the image
 *   results.bin  for each u32 status, the image as the kernel left it
 *
 * An image holds everything that a call touches: parameters, tables, inputs, output, scratch. Its
 * pointers are positions in it, until it lies in memory. `arguments` is the position of an array of
 * the kernel's arguments.
 */
#include "kernel_server.h"
#include "memory_map.h"
#include "semihost.h"

#define ALIGN 16u

enum { FINISHED = 0, BAD_FILE = 2, OUT_OF_MEMORY = 3 };

struct job {
    uint32_t kernel, image_bytes, arguments, pointer_count;
};

static void require(int condition, int32_t status, const char *otherwise)
{
    if (!condition) {
        semihost_print(otherwise);
        semihost_exit(status);
    }
}

static uint32_t *word_at(uint8_t *image, uint32_t position)
{
    return (uint32_t *)(void *)(image + position);
}

/* Adds `offset` to every pointer of the image. */
static void move(uint8_t *image, const uint32_t *pointers, uint32_t count, uint32_t offset)
{
    for (uint32_t i = 0; i < count; i++) {
        *word_at(image, pointers[i]) += offset;
    }
}

static void run(int32_t in, int32_t out, const struct job *job)
{
    const uintptr_t start = ((uintptr_t)codeq_free_start + ALIGN - 1u) & ~(uintptr_t)(ALIGN - 1u);
    const uint32_t available = (uint32_t)((uintptr_t)codeq_ram_end - start);
    const uint32_t pointer_bytes = job->pointer_count * (uint32_t)sizeof(uint32_t);
    uint32_t *const pointers = (uint32_t *)start;
    uint8_t *const image = (uint8_t *)start + ((pointer_bytes + ALIGN - 1u) & ~(ALIGN - 1u));
    require(pointer_bytes + ALIGN + job->image_bytes < available, OUT_OF_MEMORY, "job too large");
    require(job->kernel < kernel_count, BAD_FILE, "no such kernel");
    require(semihost_read(in, pointers, pointer_bytes) == 0u, BAD_FILE, "short file");
    require(semihost_read(in, image, job->image_bytes) == 0u, BAD_FILE, "short file");

    move(image, pointers, job->pointer_count, (uint32_t)(uintptr_t)image);
    void *const *const arguments = (void *const *)(void *)(image + job->arguments);
    const int32_t status = (int32_t)kernel_table[job->kernel](arguments);
    move(image, pointers, job->pointer_count, 0u - (uint32_t)(uintptr_t)image);

    require(semihost_write(out, &status, sizeof status) == 0u, BAD_FILE, "cannot write");
    require(semihost_write(out, image, job->image_bytes) == 0u, BAD_FILE, "cannot write");
}

int main(void)
{
    const int32_t in = semihost_open("jobs.bin", SEMIHOST_READ);
    const int32_t out = semihost_open("results.bin", SEMIHOST_WRITE);
    require(in >= 0 && out >= 0, BAD_FILE, "cannot open");
    uint32_t count;
    require(semihost_read(in, &count, sizeof count) == 0u, BAD_FILE, "short file");
    for (uint32_t i = 0; i < count; i++) {
        struct job job;
        require(semihost_read(in, &job, sizeof job) == 0u, BAD_FILE, "short file");
        run(in, out, &job);
    }
    semihost_close(out);
    return FINISHED;
}
