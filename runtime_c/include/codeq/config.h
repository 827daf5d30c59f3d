/* SPDX-License-Identifier: Apache-2.0 */
/* What a user of the runtime may change, with -D or before the first include. */
#ifndef CODEQ_CONFIG_H
#define CODEQ_CONFIG_H

/**
 * @brief Check of a fact that the compiler of the model has already proved.
 *
 * Empty by default; define it as assert(condition), or as a trap of your own, while debugging.
 * The condition is type-checked in every build and evaluated in none.
 */
#ifndef CQ_ASSERT
#define CQ_ASSERT(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

/**
 * @brief Attribute of the inner loops and decoders: where the time goes.
 *
 * Empty by default; for example __attribute__((section(".ramfunc"))) moves them to fast memory.
 */
#ifndef CQ_FAST_CODE
#define CQ_FAST_CODE
#endif

#endif
