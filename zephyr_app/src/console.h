/* SPDX-License-Identifier: Apache-2.0 */
/** Lines for the person or program at the console. With a shell they go through it, so that they don't cut into a
 * command line. */
#ifndef FQT_APP_CONSOLE_H
#define FQT_APP_CONSOLE_H

#include <zephyr/toolchain.h>

/** Prints a line; the newline is added. From threads, not from shell commands. */
__printf_like(1, 2) void console_print(const char *format, ...);

#endif
