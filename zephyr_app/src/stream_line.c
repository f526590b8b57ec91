/* SPDX-License-Identifier: Apache-2.0 */
/* The interrupt only moves bytes. Frames are sent by polling: they are short, but for the state at the end. */
#include "stream_line.h"

#include "frame.h"

#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/ring_buffer.h>

#ifdef CONFIG_FQT_APP_STREAM_ON_CONSOLE
#define UART_NODE DT_CHOSEN(zephyr_console)
#elif DT_HAS_CHOSEN(zephyr_uart_pipe)
#define UART_NODE DT_CHOSEN(zephyr_uart_pipe)
#else
#error "a stream of samples wants a UART: choose one as zephyr,uart-pipe, or set CONFIG_FQT_APP_STREAM_ON_CONSOLE=y"
#endif

#define PIECE_BYTES 16u

static const struct device *const uart = DEVICE_DT_GET(UART_NODE);
RING_BUF_DECLARE(received, CONFIG_FQT_APP_STREAM_BUFFER_BYTES);
static K_SEM_DEFINE(wake, 0, 1);
static K_MUTEX_DEFINE(sending);

/* Without room the bytes stay where they are: in the UART, which then stops the sender, or loses some. A frame that
 * lost some is noticed. */
static void pull(void) {
    uint8_t piece[PIECE_BYTES];
    for (;;) {
        if (ring_buf_space_get(&received) < sizeof piece) {
            uart_irq_rx_disable(uart);
            return;
        }
        int count = uart_fifo_read(uart, piece, sizeof piece);
        if (count <= 0) {
            return;
        }
        (void)ring_buf_put(&received, piece, (uint32_t)count);
    }
}

static void on_uart(const struct device *device, void *user) {
    if (uart_irq_update(device) && uart_irq_rx_ready(device)) {
        pull();
    }
    k_sem_give(&wake);
}

/* A byte that came while the interrupt was off raises none with some UARTs, and keeps the next ones out. */
static void listen(void) {
    unsigned int key = irq_lock();
    uart_irq_rx_enable(uart);
    pull();
    irq_unlock(key);
}

static void put(uint8_t byte) {
    uart_poll_out(uart, byte);
}

bool stream_line_is_ready(void) {
    return device_is_ready(uart);
}

void stream_line_start(void) {
    (void)uart_irq_callback_user_data_set(uart, on_uart, NULL);
}

uint32_t stream_line_receive(uint8_t *bytes, uint32_t capacity) {
    if (ring_buf_is_empty(&received)) {
        listen();
    }
    return ring_buf_get(&received, bytes, capacity);
}

void stream_line_wait(void) {
    (void)k_sem_take(&wake, K_FOREVER);
}

void stream_line_wake(void) {
    k_sem_give(&wake);
}

void stream_line_send(uint8_t type, const void *head, uint32_t head_bytes, const void *data, uint32_t data_bytes) {
    (void)k_mutex_lock(&sending, K_FOREVER);
    frame_write(put, type, head, head_bytes, data, data_bytes);
    (void)k_mutex_unlock(&sending);
}
