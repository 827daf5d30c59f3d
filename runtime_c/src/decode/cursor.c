/* SPDX-License-Identifier: Apache-2.0 */
/* A place in a packed weight stream.  Spec: FORMATS.md. */
#include "cursor.h"

void cq_cursor_init(struct cq_cursor *cursor, const struct cq_weights *weights, uint32_t bits,
                    int32_t count)
{
    (void)count;
    cursor->codes = cq_bits_at(weights->data, weights->data + weights->bytes);
    cursor->mask = cursor->codes;
    cursor->map.levels = weights->levels;
    cursor->map.gap = weights->gap;
    cursor->map.width = bits;
    cursor->run_width = weights->run_bits;
    cursor->zeros = 0;
    cursor->value_follows = 0u;
    cursor->digits = 0u;
    cursor->digits_left = 0u;
    cursor->prefix_counts = NULL;
    cursor->prefix_symbols = NULL;
    cursor->low_width = 0u;
}
