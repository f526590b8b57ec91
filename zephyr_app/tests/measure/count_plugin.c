/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A QEMU plugin that counts executed instructions and taken branches by address, between the two marks of count.h.
 *
 * Arguments: start, stop (addresses of the marks), bytes (of the code, from address 0), out (a file). Each time the
 * stop mark is reached it appends u32 n and n records: u32 address, u64 executed, u64 taken. Debian's QEMU has no
 * plugin header: what is used of its interface, version 1, is declared here.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VISIBLE __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { QEMU_PLUGIN_CB_NO_REGS = 0, QEMU_PLUGIN_INLINE_ADD_U64 = 0 };

typedef uint64_t qemu_plugin_id_t;
typedef void tb_callback(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void exec_callback(unsigned int cpu, void *user);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_callback *callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, exec_callback *callback, int flags, void *user);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, exec_callback *callback, int flags,
                                            void *user);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation, void *at, uint64_t value);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

VISIBLE int qemu_plugin_version = 1;
VISIBLE int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

/* A run of instructions that QEMU translates and enters only at its start. */
struct block {
    uint64_t first, last, end;
};

static uint64_t start_mark, stop_mark, code_bytes;
static uint64_t *executed, *taken; /* [address / 2] */
static const struct block *previous;
static FILE *out;

static void on_start(unsigned int cpu, void *user) {
    (void)cpu;
    (void)user;
    memset(executed, 0, code_bytes / 2 * sizeof *executed);
    memset(taken, 0, code_bytes / 2 * sizeof *taken);
}

static void on_stop(unsigned int cpu, void *user) {
    (void)cpu;
    (void)user;
    uint32_t n = 0;
    for (uint64_t i = 0; i < code_bytes / 2; i++) {
        n += executed[i] != 0;
    }
    fwrite(&n, sizeof n, 1, out);
    for (uint64_t i = 0; i < code_bytes / 2; i++) {
        if (executed[i] != 0) {
            uint32_t address = (uint32_t)(2 * i);
            fwrite(&address, sizeof address, 1, out);
            fwrite(executed + i, sizeof *executed, 1, out);
            fwrite(taken + i, sizeof *taken, 1, out);
        }
    }
    fflush(out);
}

/* A block that does not begin where the last one ended was branched to. */
static void on_block(unsigned int cpu, void *user) {
    (void)cpu;
    const struct block *block = user;
    if (previous != NULL && previous->end != block->first && previous->last < code_bytes) {
        taken[previous->last / 2]++;
    }
    previous = block;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    size_t n = qemu_plugin_tb_n_insns(tb);
    struct block *block = malloc(sizeof *block); /* QEMU does not say when it forgets a block */
    struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, n - 1);
    block->first = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
    block->last = qemu_plugin_insn_vaddr(last);
    block->end = block->last + qemu_plugin_insn_size(last);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        if (address == start_mark) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_start, QEMU_PLUGIN_CB_NO_REGS, NULL);
        } else if (address == stop_mark) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_stop, QEMU_PLUGIN_CB_NO_REGS, NULL);
        } else if (address < code_bytes) {
            qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, executed + address / 2, 1);
        }
    }
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value == NULL) {
            return 1;
        }
        value++;
        if (strncmp(argv[i], "start=", 6) == 0) {
            start_mark = strtoull(value, NULL, 0);
        } else if (strncmp(argv[i], "stop=", 5) == 0) {
            stop_mark = strtoull(value, NULL, 0);
        } else if (strncmp(argv[i], "bytes=", 6) == 0) {
            code_bytes = strtoull(value, NULL, 0);
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out = fopen(value, "wb");
        }
    }
    executed = calloc(code_bytes / 2 + 1, sizeof *executed);
    taken = calloc(code_bytes / 2 + 1, sizeof *taken);
    if (out == NULL || executed == NULL || taken == NULL) {
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
