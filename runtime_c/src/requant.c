/* SPDX-License-Identifier: Apache-2.0 */
/* Requantization tables, unpacked for one channel.  Spec: NUMERICS.md §4. */
#include "requant.h"

int32_t cq_requantize_slowly(int32_t acc, const struct cq_channel *channel)
{
    return cq_requantize_channel(acc, *channel);
}
