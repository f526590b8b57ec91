/* SPDX-License-Identifier: Apache-2.0 */
/* A thread above training parses what comes from the line and fills the queue. */
#include "sample_stream.h"

#include "console.h"
#include "frame.h"
#include "learner.h"
#include "priorities.h"
#include "sample_queue.h"
#include "sample_source.h"
#include "settings.h"
#include "stream_line.h"
#include "stream_protocol.h"
#include "training.h"

#include <string.h>
#include <zephyr/kernel.h>

#define PIECE_BYTES 16u
#define STATE_PIECE_BYTES 1024u

static K_THREAD_STACK_DEFINE(stack, CONFIG_FQT_APP_SOURCE_STACK_SIZE);
static struct k_thread thread;

static uint8_t payload[CONFIG_FQT_APP_STREAM_FRAME_BYTES];
static struct frame_parser parser;
static struct stream_place place;
static uint32_t window;
static atomic_t done;     /* items that training has done with since the beginning */
static uint32_t reported; /* of them */
static bool complained;   /* about a missing item: what follows it is on its way already */

/* ---- Answers ---- */

static void send_progress(void) {
    struct training_statistics now = training_statistics_now();
    reported = (uint32_t)atomic_get(&done);
    place.limit = reported + window;
    const uint32_t numbers[] = {place.next, place.limit, reported, now.loss, now.accuracy, now.updates};
    stream_line_send(STREAM_PROGRESS, numbers, sizeof numbers, NULL, 0);
}

static void send_error(enum stream_verdict verdict) {
    const uint32_t numbers[] = {verdict, place.next};
    stream_line_send(STREAM_ERROR, numbers, sizeof numbers, NULL, 0);
}

static void send_state_record(void *user, enum fqt_event kind, uint32_t index, const void *data, uint32_t bytes) {
    for (uint32_t at = 0; at < bytes; at += STATE_PIECE_BYTES) {
        const uint32_t numbers[] = {kind, index, at, bytes};
        stream_line_send(STREAM_STATE, numbers, sizeof numbers, (const uint8_t *)data + at,
                         MIN(bytes - at, STATE_PIECE_BYTES));
    }
}

static void send_state(void) {
    uint32_t checksum = training_visit(send_state_record, NULL);
    stream_line_send(STREAM_END, &checksum, sizeof checksum, NULL, 0);
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
        for (uint32_t count; (count = stream_line_receive(piece, sizeof piece)) > 0;) {
            for (uint32_t i = 0; i < count; i++) {
                take_byte(piece[i]);
            }
        }
        if (is_worth_a_report()) {
            send_progress();
        }
        stream_line_wait();
    }
}

void sample_stream_done(void) {
    (void)atomic_inc(&done);
    stream_line_wake();
}

void sample_source_start(void) {
    const struct sample_set *set = learner_samples();
    window = (uint32_t)(settings_queue.size / ROUND_UP(sizeof(struct sample) + set->sample_bytes, sizeof(void *)));
    place = (struct stream_place){
        .sample_bytes = set->sample_bytes, .classes = learner_classes(), .limit = window, .begun = false};
    if (!stream_line_is_ready() || sizeof payload < STREAM_ITEM_BYTES + set->sample_bytes) {
        console_print("fqt: error: no UART, or samples of %u bytes: raise CONFIG_FQT_APP_STREAM_FRAME_BYTES to %u",
                      (unsigned int)set->sample_bytes, (unsigned int)(STREAM_ITEM_BYTES + set->sample_bytes));
        return;
    }
    frame_parser_init(&parser, payload, sizeof payload);
    stream_line_start();
    k_tid_t id = k_thread_create(&thread, stack, K_THREAD_STACK_SIZEOF(stack), run, NULL, NULL, NULL, STREAM_PRIORITY,
                                 0, K_NO_WAIT);
    k_thread_name_set(id, "stream");
    console_print("fqt: stream of samples of %u bytes, window of %u", (unsigned int)set->sample_bytes,
                  (unsigned int)window);
}
