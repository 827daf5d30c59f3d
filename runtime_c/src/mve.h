/* SPDX-License-Identifier: Apache-2.0 */
/* Helium, for kernels whose file is empty on other cores. */
#ifndef CODEQ_SRC_MVE_H
#define CODEQ_SRC_MVE_H

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define CQ_HAS_MVE 1

#include <arm_mve.h>
#include <stdint.h>

/**
 * @brief Lanes 0..count - 1 of 16 bytes; all of them from 16 on.
 *
 * Predicates come from VCTP only: gcc 12 turns constant ones into "all lanes" at -O1 and above.
 */
static inline mve_pred16_t cq_first_lanes(int32_t count)
{
    return vctp8q((uint32_t)count);
}

/** @brief 16 bytes, 0 in the lanes that are off, which are not read. */
static inline int8x16_t cq_load_lanes(const int8_t *from, mve_pred16_t lanes)
{
    return vldrbq_z_s8(from, lanes);
}

#endif

#endif
