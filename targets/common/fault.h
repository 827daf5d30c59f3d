/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a program that did something illegal. */
#ifndef CODEQ_FAULT_H
#define CODEQ_FAULT_H

/* Exit status of a fault is this plus the exception's number: 103 HardFault, 104 MemManage,
 * 105 BusFault, 106 UsageFault, 107 SecureFault. */
#define FAULT_EXIT 100

/* Handler of every exception: reports on a stack of its own and exits. */
void Fault_Handler(void);

#endif
