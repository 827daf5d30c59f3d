/* SPDX-License-Identifier: Apache-2.0 */
/* Packing `csr`: for each block of a row a list of the places that hold something.
 * Spec: FORMATS.md [F12]. */
#ifndef CODEQ_SRC_DECODE_CSR_H
#define CODEQ_SRC_DECODE_CSR_H

#include "nonzeros.h"

/* Weights of a block whose records are a place above a sign; of others CQ_CHUNK. */
#define CQ_CSR_SIGNS 128

/* Pairs of records that a word of codes serves. */
#define CQ_CSR_GROUP(bits) (16u / (bits))

/* Bytes of a list behind its number of records, or of pairs, which have a word for each group and
 * one where there is none. */
static inline uint32_t cq_csr_bytes(uint32_t bits, uint32_t count)
{
    const uint32_t group = CQ_CSR_GROUP(bits);
    if (bits == 2u) {
        return count;
    }
    return count == 0u ? 4u : 2u * count + 4u * ((count + group - 1u) / group);
}

/* True where the next list is whole. */
static inline int cq_csr_has_list(const struct cq_bits *stream, uint32_t bits)
{
    return stream->at < stream->end &&
           cq_csr_bytes(bits, *stream->at) < (uint32_t)(stream->end - stream->at);
}

extern const struct cq_decoder cq_csr;

#endif
