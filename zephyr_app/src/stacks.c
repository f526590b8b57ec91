/* SPDX-License-Identifier: Apache-2.0 */
#include "stacks.h"

#include <stdio.h>
#include <zephyr/kernel.h>

#define UNUSED_BYTE 0xaau /* CONFIG_INIT_STACKS fills stacks with it */

K_KERNEL_STACK_ARRAY_DECLARE(z_interrupt_stacks, CONFIG_MP_MAX_NUM_CPUS, CONFIG_ISR_STACK_SIZE);

struct report {
    stacks_show *show;
    void *user;
};

static void show_one(const struct report *report, const char *name, size_t unused, size_t size) {
    char line[STACK_LINE_BYTES];
    (void)snprintf(line, sizeof line, "fqt: stack %s unused %u of %u", name, (unsigned int)unused, (unsigned int)size);
    report->show(report->user, line);
}

static void show_thread(const struct k_thread *thread, void *user) {
    size_t unused;
    if (k_thread_stack_space_get(thread, &unused) == 0) {
        const char *name = k_thread_name_get((k_tid_t)thread);
        show_one(user, name != NULL && name[0] != '\0' ? name : "-", unused, thread->stack_info.size);
    }
}

static void show_interrupts(const struct report *report) {
    const uint8_t *stack = (const uint8_t *)K_KERNEL_STACK_BUFFER(z_interrupt_stacks[0]);
    const size_t size = K_KERNEL_STACK_SIZEOF(z_interrupt_stacks[0]);
    size_t unused = 0;
    while (unused < size && stack[unused] == UNUSED_BYTE) {
        unused++;
    }
    show_one(report, "interrupts", unused, size);
}

void stacks_report(stacks_show *show, void *user) {
    struct report report = {show, user};
    k_thread_foreach_unlocked(show_thread, &report);
    show_interrupts(&report);
}
