/* SPDX-License-Identifier: Apache-2.0 */
/* The host's test program as a process of its own, so that a sanitizer may end it.
 * Arguments: bytes of the trace.  Files: those of targets/common/main.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "host.h"

static void fail(const char *reason)
{
    fprintf(stderr, "%s\n", reason);
    exit(EXIT_FAILURE);
}

static void *allocate(size_t bytes)
{
    void *const memory = calloc(bytes + 1u, 1);
    if (memory == NULL) {
        fail("out of memory");
    }
    return memory;
}

static void write_all(FILE *file, const void *data, size_t bytes)
{
    if (file == NULL || fwrite(data, 1, bytes, file) != bytes) {
        fail("a result cannot be written");
    }
}

int main(int argc, char **argv)
{
    struct {
        char magic[4];
        uint32_t samples, traced;
    } request;
    FILE *const in = fopen("in.bin", "rb");
    if (argc != 2 || in == NULL || fread(&request, sizeof request, 1, in) != 1) {
        fail("in.bin cannot be read");
    }
    const uint64_t trace_bytes = strtoull(argv[1], NULL, 10);
    const size_t in_bytes = (size_t)request.samples * codeq_harness.input_bytes;
    uint8_t *const inputs = allocate(in_bytes);
    uint8_t *const outputs = allocate((size_t)request.samples * codeq_harness.output_bytes);
    int32_t *const statuses = allocate(request.samples * sizeof(int32_t));
    uint8_t *const trace = allocate(trace_bytes);
    if (fread(inputs, 1, in_bytes, in) != in_bytes) {
        fail("in.bin is too short");
    }
    fclose(in);

    if (codeq_host_run(request.samples, inputs, outputs, statuses, request.traced, trace,
                       trace_bytes) != 0) {
        fail("the layers traced are not those of the manifest");
    }

    const struct {
        char magic[4];
        uint32_t samples, stack_bytes;
    } header = {{'C', 'Q', 'O', 'U'}, request.samples, 0};
    FILE *const out = fopen("out.bin", "wb");
    write_all(out, &header, sizeof header);
    for (uint32_t i = 0; i < request.samples; i++) {
        write_all(out, &statuses[i], sizeof statuses[i]);
        write_all(out, outputs + (size_t)i * codeq_harness.output_bytes,
                  codeq_harness.output_bytes);
    }
    FILE *const records = fopen("trace.bin", "wb");
    write_all(records, trace, trace_bytes);
    if (fclose(out) != 0 || fclose(records) != 0) {
        fail("a result cannot be written");
    }
    free(inputs);
    free(outputs);
    free(statuses);
    free(trace);
    return EXIT_SUCCESS;
}
