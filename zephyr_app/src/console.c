/* SPDX-License-Identifier: Apache-2.0 */
#include "console.h"

#include "stream_line.h"
#include "stream_protocol.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <zephyr/kernel.h>
#include <zephyr/shell/shell.h>
#include <zephyr/shell/shell_uart.h>
#include <zephyr/sys/printk.h>

#define LINE_BYTES 160

static void show(const char *line) {
#if defined(CONFIG_FQT_APP_STREAM_ON_CONSOLE)
    stream_line_send(STREAM_TEXT, line, strlen(line), NULL, 0);
#elif defined(CONFIG_SHELL_BACKEND_SERIAL)
    const struct shell *shell = shell_backend_uart_get_ptr();
    if (shell_ready(shell)) {
        shell_print(shell, "%s", line);
    } else {
        printk("%s\n", line);
    }
#else
    printk("%s\n", line);
#endif
}

void console_print(const char *format, ...) {
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    show(line);
}
