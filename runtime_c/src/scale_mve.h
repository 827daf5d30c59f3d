/* SPDX-License-Identifier: Apache-2.0 */
/* One factor for a whole tensor with Helium, four values at a time.  Spec: NUMERICS.md §2. */
#ifndef CODEQ_SRC_SCALE_MVE_H
#define CODEQ_SRC_SCALE_MVE_H

#include <codeq/types.h>

#include "mve.h"

/** @brief Values times a factor whose exponent is not above 0. [N2.6] */
CQ_INLINE int32x4_t cq_scale_right(int32x4_t value, struct cq_scale scale)
{
    const int32x4_t high = vqrdmulhq_n_s32(value, scale.multiplier);
    if (scale.exponent == 0) {
        return high;
    }
    /* VRSHL rounds ties up; one less makes it away from zero [N2.5] */
    return vrshlq_n_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), scale.exponent);
}

/** @brief Values times any factor. [N2.6] */
CQ_INLINE int32x4_t cq_scale_any(int32x4_t value, struct cq_scale scale)
{
    if (scale.exponent > 0) {
        return vqrdmulhq_n_s32(vshlq_r_s32(value, scale.exponent), scale.multiplier);
    }
    return cq_scale_right(value, scale);
}

/** @brief int8 outputs, one in each 32-bit lane. [N4.2] */
CQ_INLINE int32x4_t cq_scale_to_int8(int32x4_t value, struct cq_scale scale, int32_t zero_point,
                                     int32_t low, int32_t high)
{
    const int32x4_t y = vqaddq_n_s32(cq_scale_any(value, scale), zero_point);
    return vminq_s32(vmaxq_s32(y, vdupq_n_s32(low)), vdupq_n_s32(high));
}

#endif
