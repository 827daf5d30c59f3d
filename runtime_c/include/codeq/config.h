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

/** @brief A macro's value as a string: part of the names of sections. */
#define CQ_STRING(value)  CQ_STRING_(value)
#define CQ_STRING_(value) #value

/**
 * @brief Attribute of the inner loops and decoders: where the time goes.
 *
 * Empty by default; for example __attribute__((section(".ramfunc"))) moves them to fast memory.
 */
#ifndef CQ_FAST_CODE
#define CQ_FAST_CODE
#endif

/**
 * @brief Attribute of a model's weights and tables.
 *
 * Empty by default; for example __attribute__((section(".qspi"))) puts them into external flash.
 */
#ifndef CQ_WEIGHTS_SECTION
#define CQ_WEIGHTS_SECTION
#endif

/**
 * @brief Attribute of weights that kernels may load as words.
 *
 * Kernels work without it, some of them slower; compilers for Arm differ in what they align.
 */
#ifndef CQ_WORD_ALIGNED
#ifdef __GNUC__
#define CQ_WORD_ALIGNED __attribute__((aligned(4)))
#else
#define CQ_WORD_ALIGNED
#endif
#endif

/**
 * @brief Attribute for the arena of a model, which the application declares.
 *
 * Empty by default; `static struct kws_arena arena CQ_ARENA_SECTION;` follows it.
 */
#ifndef CQ_ARENA_SECTION
#define CQ_ARENA_SECTION
#endif

#endif
