/* SPDX-License-Identifier: Apache-2.0 */
/* The interrupt only moves bytes; a thread above training parses them and fills the queue. It answers by polling:
 * answers are short, but for the state at the end. */
#include "sample_stream.h"

#include "console.h"
#include "frame.h"
#include "learner.h"
#include "priorities.h"
#include "sample_queue.h"
#include "sample_source.h"
#include "settings.h"
#include "stream_protocol.h"
#include "training.h"

#include <string.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/sys/ring_buffer.h>

#if !DT_HAS_CHOSEN(zephyr_uart_pipe)
#error "CONFIG_FQT_APP_SOURCE_STREAM wants a UART for itself: choose one as zephyr,uart-pipe in an overlay"
#endif

#define PIECE_BYTES 16u
#define STATE_PIECE_BYTES 1024u

static const struct device *const uart = DEVICE_DT_GET(DT_CHOSEN(zephyr_uart_pipe));
static K_THREAD_STACK_DEFINE(stack, CONFIG_FQT_APP_STACK_SIZE);
static struct k_thread thread;
RING_BUF_DECLARE(received, CONFIG_FQT_APP_STREAM_BUFFER_BYTES);
static K_SEM_DEFINE(wake, 0, 1);

static uint8_t payload[CONFIG_FQT_APP_STREAM_FRAME_BYTES];
static struct frame_parser parser;
static struct stream_place place;
static uint32_t window;
static atomic_t done;     /* items that training has done with since the beginning */
static uint32_t reported; /* of them */
static bool complained;   /* about a missing item: what follows it is on its way already */

/* ---- Bytes ---- */

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

/* ---- Answers ---- */

static void send_progress(void) {
    struct training_statistics now = training_statistics_now();
    reported = (uint32_t)atomic_get(&done);
    place.limit = reported + window;
    const uint32_t numbers[] = {place.next, place.limit, reported, now.loss, now.accuracy, now.updates};
    frame_write(put, STREAM_PROGRESS, numbers, sizeof numbers, NULL, 0);
}

static void send_error(enum stream_verdict verdict) {
    const uint32_t numbers[] = {verdict, place.next};
    frame_write(put, STREAM_ERROR, numbers, sizeof numbers, NULL, 0);
}

static void send_state_record(void *user, enum fqt_event kind, uint32_t index, const void *data, uint32_t bytes) {
    for (uint32_t at = 0; at < bytes; at += STATE_PIECE_BYTES) {
        const uint32_t numbers[] = {kind, index, at, bytes};
        frame_write(put, STREAM_STATE, numbers, sizeof numbers, (const uint8_t *)data + at,
                    MIN(bytes - at, STATE_PIECE_BYTES));
    }
}

static void send_state(void) {
    uint32_t steps, updates;
    training_visit(send_state_record, NULL);
    uint32_t checksum = training_checksum(&steps, &updates);
    frame_write(put, STREAM_END, &checksum, sizeof checksum, NULL, 0);
}

/* ---- Frames ---- */

static void begin(void) {
    /* Items of an earlier stream are still to be learnt: their places come free one by one. */
    place.next = (uint32_t)atomic_get(&done) == place.next ? 0 : place.next;
    if (place.next == 0) {
        (void)atomic_set(&done, 0);
        place.begun = true;
    }
    send_progress();
}

static void take_item(void) {
    struct sample *sample = sample_queue_claim(K_NO_WAIT);
    if (sample == NULL) {
        send_error(STREAM_NO_PLACE); /* cannot happen: the limit counts places */
        return;
    }
    sample->label = parser.type == STREAM_SAMPLE ? frame_u32(payload + 4) : SAMPLE_EPOCH;
    memcpy(sample->bytes, payload + STREAM_ITEM_BYTES, parser.length - STREAM_ITEM_BYTES);
    place.next++;
    sample_queue_submit(sample);
}

static void obey(void) {
    switch (parser.type) {
    case STREAM_BEGIN:
        begin();
        break;
    case STREAM_POLL:
        send_progress();
        break;
    case STREAM_GET_STATE:
        send_state();
        break;
    default:
        take_item();
    }
}

static void take_frame(enum stream_verdict verdict) {
    if (verdict == STREAM_GOOD) {
        complained = false;
        obey();
    } else if (verdict != STREAM_AGAIN && !(complained && verdict == STREAM_BAD_NUMBER)) {
        complained = true;
        send_error(verdict);
    }
}

static void take_byte(uint8_t byte) {
    switch (frame_parser_take(&parser, byte)) {
    case FRAME_COMPLETE:
        take_frame(stream_judge(&place, parser.type, payload, parser.length));
        break;
    case FRAME_BAD_LENGTH:
        take_frame(STREAM_BAD_LENGTH);
        break;
    case FRAME_BAD_CRC:
        take_frame(STREAM_BAD_CRC);
        break;
    default:
        break;
    }
}

/* Not after each item: the line is the PC's, too. */
static bool is_worth_a_report(void) {
    uint32_t now = (uint32_t)atomic_get(&done);
    return now != reported && (now == place.next || now - reported >= (window + 1) / 2);
}

static void run(void *a, void *b, void *c) {
    uint8_t piece[PIECE_BYTES];
    for (;;) {
        listen();
        if (ring_buf_is_empty(&received)) {
            (void)k_sem_take(&wake, K_FOREVER);
        }
        for (uint32_t count; (count = ring_buf_get(&received, piece, sizeof piece)) > 0;) {
            for (uint32_t i = 0; i < count; i++) {
                take_byte(piece[i]);
            }
        }
        if (is_worth_a_report()) {
            send_progress();
        }
    }
}

void sample_stream_done(void) {
    (void)atomic_inc(&done);
    k_sem_give(&wake);
}

void sample_source_start(void) {
    const struct sample_set *set = learner_samples();
    window = (uint32_t)(settings_queue.size / ROUND_UP(sizeof(struct sample) + set->sample_bytes, sizeof(void *)));
    place = (struct stream_place){
        .sample_bytes = set->sample_bytes, .classes = learner_classes(), .limit = window, .begun = false};
    if (!device_is_ready(uart) || sizeof payload < STREAM_ITEM_BYTES + set->sample_bytes) {
        console_print("fqt: error: no UART, or samples of %u bytes: raise CONFIG_FQT_APP_STREAM_FRAME_BYTES to %u",
                      (unsigned int)set->sample_bytes, (unsigned int)(STREAM_ITEM_BYTES + set->sample_bytes));
        return;
    }
    frame_parser_init(&parser, payload, sizeof payload);
    (void)uart_irq_callback_user_data_set(uart, on_uart, NULL);
    k_tid_t id = k_thread_create(&thread, stack, K_THREAD_STACK_SIZEOF(stack), run, NULL, NULL, NULL, STREAM_PRIORITY,
                                 0, K_NO_WAIT);
    k_thread_name_set(id, "stream");
    console_print("fqt: stream of samples of %u bytes, window of %u", (unsigned int)set->sample_bytes,
                  (unsigned int)window);
}
