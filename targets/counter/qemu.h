/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of QEMU's plugin interface that the counter calls, in our own words.
 *
 * Distributions ship no header for it. These few have not changed since QEMU 4.2; what has is the
 * number that a plugin states, which comes with -D QEMU_PLUGIN_VERSION. Run with QEMU 7.2.
 */
#ifndef CODEQ_COUNTER_QEMU_H
#define CODEQ_COUNTER_QEMU_H

#include <stddef.h>
#include <stdint.h>

#define QEMU_PLUGIN_EXPORT __attribute__((visibility("default")))

/* Names this plugin in calls of the interface. */
typedef uint64_t qemu_plugin_id;

/* Instructions that QEMU translates together: control enters at the first of them only. */
struct qemu_plugin_tb;
struct qemu_plugin_insn;

/* Of a callback: it reads and writes no registers. Of an access: loads and stores. */
enum { QEMU_PLUGIN_NO_REGISTERS = 0 };
enum { QEMU_PLUGIN_LOADS_AND_STORES = 3 };

typedef void qemu_plugin_on_translation(qemu_plugin_id id, struct qemu_plugin_tb *block);
typedef void qemu_plugin_on_execution(unsigned cpu, void *data);
typedef void qemu_plugin_on_access(unsigned cpu, uint32_t info, uint64_t address, void *data);
typedef void qemu_plugin_on_exit(qemu_plugin_id id, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id id, qemu_plugin_on_translation *call);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block,
                                          qemu_plugin_on_execution *call, int registers,
                                          void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *instruction,
                                      qemu_plugin_on_access *call, int registers, int accesses,
                                      void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id id, qemu_plugin_on_exit *call, void *data);

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *instruction);
unsigned qemu_plugin_mem_size_shift(uint32_t info);

/* What a plugin defines. */
extern QEMU_PLUGIN_EXPORT int qemu_plugin_version;
QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id id, const void *info, int argc,
                                           char **argv);

#endif
