/* SPDX-License-Identifier: Apache-2.0 */
/* The whole test framework: count failed comparisons, name each, and return the count. */
#ifndef CODEQ_TESTS_CHECK_H
#define CODEQ_TESTS_CHECK_H

#include <stdint.h>
#include <stdio.h>

static int check_failures = 0;

#define CHECK_EQUAL(expected, actual) check_equal(expected, actual, #actual, __FILE__, __LINE__)

static inline void check_equal(int64_t expected, int64_t actual, const char *what, const char *file,
                               int line)
{
    if (expected != actual) {
        ++check_failures;
        fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", file, line, what, (long long)actual,
                (long long)expected);
    }
}

#endif
