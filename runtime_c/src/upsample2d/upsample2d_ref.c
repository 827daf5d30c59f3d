/* SPDX-License-Identifier: Apache-2.0 */
/* Nearest-neighbour enlargement in portable C99: a row is widened once, then copied. */
#include <codeq/upsample2d.h>

#include "../bytes.h"

enum cq_status cq_upsample2d_s8_ref(const struct cq_upsample2d_params *params, const int8_t *in,
                                    int8_t *out, void *scratch)
{
    const int32_t channels = params->in.c;
    const int32_t out_row = params->in.w * params->factor.w * channels;
    (void)scratch;
    for (int32_t y = 0; y < params->in.h; ++y) {
        const int8_t *const widened = out;
        for (int32_t x = 0; x < params->in.w; ++x, in += channels) {
            for (int32_t kx = 0; kx < params->factor.w; ++kx) {
                out = cq_copy(out, in, channels);
            }
        }
        for (int32_t ky = 1; ky < params->factor.h; ++ky) {
            out = cq_copy(out, widened, out_row);
        }
    }
    return CQ_OK;
}
