/* SPDX-License-Identifier: Apache-2.0 */
/* Memory protection. */
#ifndef CODEQ_GUARD_H
#define CODEQ_GUARD_H

/**
 * Make every stray access fault, where the core has an MPU.
 *
 * Flash is read-only, RAM is not executable, the page at NULL and everything else are out of
 * bounds. The stack lies at the bottom of RAM, so that its overflow faults too.
 */
void guard_memory(void);

#endif
