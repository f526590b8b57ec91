/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The UART that a stream of samples comes from. Frames go out by one thread at a time: with
 * CONFIG_FQT_APP_STREAM_ON_CONSOLE the console's lines are frames among the others.
 */
#ifndef FQT_APP_STREAM_LINE_H
#define FQT_APP_STREAM_LINE_H

#include <stdbool.h>
#include <stdint.h>

/** Whether the UART is there. */
bool stream_line_is_ready(void);

/** Begins to listen. */
void stream_line_start(void);

/** Takes bytes that have come; 0 if there are none. For one thread. */
uint32_t stream_line_receive(uint8_t *bytes, uint32_t capacity);

/** Waits for bytes or stream_line_wake(), since the last wait. */
void stream_line_wait(void);

/** Wakes who waits for bytes. */
void stream_line_wake(void);

/** Sends a frame, see frame_write(). From threads; works before stream_line_start(). */
void stream_line_send(uint8_t type, const void *head, uint32_t head_bytes, const void *data, uint32_t data_bytes);

#endif
