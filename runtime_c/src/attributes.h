/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources tell compilers about functions. */
#ifndef CODEQ_SRC_ATTRIBUTES_H
#define CODEQ_SRC_ATTRIBUTES_H

#ifdef __GNUC__
/* An inner loop that shares its registers with a whole loop nest spills them. */
#define CQ_NOINLINE __attribute__((noinline))
/* The same, and it stays fast although its callers are made small, being seldom executed. */
#define CQ_HOT_LOOP __attribute__((noinline, hot))
/* What is executed once a layer, or seldom: small, and out of the way of the loops. */
#define CQ_SELDOM __attribute__((cold, noinline))
/* A loop is written once and compiled for each constant that it is called with. */
#define CQ_INLINE __attribute__((always_inline)) inline
/* A case that begins where the one before it ends. */
#define CQ_FALLTHROUGH __attribute__((fallthrough))
#else
#define CQ_NOINLINE
#define CQ_HOT_LOOP
#define CQ_SELDOM
#define CQ_INLINE inline
#define CQ_FALLTHROUGH
#endif

#endif
