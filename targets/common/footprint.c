/* SPDX-License-Identifier: Apache-2.0 */
/* Calls the model once and does nothing else: the linked image shows what a model costs. */
#include "harness.h"
#include "memory_map.h"

int main(void)
{
    uint8_t *const inputs = (uint8_t *)codeq_free_start;
    return (int)codeq_harness.run(inputs, inputs + codeq_harness.input_bytes);
}
