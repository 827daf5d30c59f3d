/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a window move to its beginning. */
#include <codeq/slide.h>

#include "../bytes.h"

void cq_slide(int8_t *window, uint32_t dropped, uint32_t kept)
{
    /* pieces no longer than the distance do not overlap, as memcpy wants it */
    for (uint32_t done = 0; done < kept; done += dropped) {
        const uint32_t left = kept - done;
        memcpy(window + done, window + done + dropped, left < dropped ? left : dropped);
    }
}
