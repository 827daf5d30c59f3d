/* SPDX-License-Identifier: Apache-2.0 */
/* Results of every function that can fail. */
#ifndef CODEQ_STATUS_H
#define CODEQ_STATUS_H

enum cq_status {
    CQ_OK = 0,
    CQ_ERROR_ARGUMENT = -1 /* a pointer is NULL or misaligned */
};

/** @brief Leave the calling function with the first status that is not CQ_OK. */
#define CQ_TRY(call)                                                                               \
    do {                                                                                           \
        const enum cq_status cq_try_status = (call);                                               \
        if (cq_try_status != CQ_OK) {                                                              \
            return cq_try_status;                                                                  \
        }                                                                                          \
    } while (0)

#endif
