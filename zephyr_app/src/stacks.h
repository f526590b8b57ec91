/* SPDX-License-Identifier: Apache-2.0 */
/** How much of each thread's stack, and of the interrupts', was never used: with CONFIG_FQT_APP_STACK_REPORT. */
#ifndef FQT_APP_STACKS_H
#define FQT_APP_STACKS_H

#define STACK_LINE_BYTES 64

/** Takes a line, without its end. */
typedef void stacks_show(void *user, const char *line);

/** Shows "fqt: stack main unused 544 of 1536" for each stack. */
void stacks_report(stacks_show *show, void *user);

#endif
