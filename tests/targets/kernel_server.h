/* SPDX-License-Identifier: Apache-2.0 */
/* The generated table of kernels. */
#ifndef CODEQ_KERNEL_SERVER_H
#define CODEQ_KERNEL_SERVER_H

#include <stdint.h>

#include <codeq/status.h>

/* Calls a kernel with an array of its arguments. */
typedef enum cq_status kernel_call(void *const *arguments);

extern kernel_call *const kernel_table[];
extern const uint32_t kernel_count;

#endif
