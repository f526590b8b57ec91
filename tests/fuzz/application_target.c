/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A fuzz target: the application's file of samples, and its stream. An input is a small program: a file of samples
 * whose header is made right or left as it is, or pieces of a line, some of which are made frames with a right
 * checksum.
 */
#include "frame.h"
#include "sample_set.h"
#include "stream_protocol.h"

#include "../c/check.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- The file of samples ---- */

static void open_samples(const uint8_t *data, size_t size) {
    static const uint32_t sizes[] = {0, 1, 4, 17, 0x7FFFFFFFu, 0xFFFFFFFCu, 0xFFFFFFFFu};
    uint32_t sample_bytes = sizes[data[0] % (sizeof sizes / sizeof sizes[0])];
    uint32_t classes = 1u + data[1];
    bool mends = data[2] % 2 != 0;
    size -= 3;
    uint8_t *file = malloc(size > 0 ? size : 1); /* of exactly its size, so that a byte beyond it is seen */
    CHECK(file != NULL);
    memcpy(file, data + 3, size);
    if (mends && size >= 8) {
        uint32_t words[2] = {(uint32_t)((size - 8) / (4 + (uint64_t)sample_bytes)), sample_bytes};
        memcpy(file, words, sizeof words);
    }
    struct sample_set set;
    if (sample_set_open(&set, file, size, sample_bytes, classes) == NULL) {
        CHECK(sample_bytes > 0 && set.count > 0);
        uint32_t sum = 0;
        for (uint32_t i = 0; i < set.count; i++) {
            CHECK(sample_set_label(&set, i) < classes);
            sum += sample_set_bytes(&set, i)[0] + sample_set_bytes(&set, i)[sample_bytes - 1];
        }
        CHECK(sum <= 510u * set.count);
    }
    free(file);
}

/* ---- The stream ---- */

static struct stream_place place;
static struct frame_parser parser;
static uint8_t *payload;

/* What is good may be read as its type says. */
static void take_frame(void) {
    enum stream_verdict verdict = stream_judge(&place, parser.type, payload, parser.length);
    if (verdict != STREAM_GOOD) {
        return;
    }
    if (parser.type == STREAM_BEGIN) {
        CHECK(frame_u32(payload + 4) == place.sample_bytes);
        place.begun = true;
        place.next = 0;
    } else if (parser.type == STREAM_SAMPLE || parser.type == STREAM_EPOCH) {
        CHECK(place.begun && frame_u32(payload) == place.next && place.next < place.limit);
        if (parser.type == STREAM_SAMPLE) {
            CHECK(parser.length == STREAM_ITEM_BYTES + place.sample_bytes && frame_u32(payload + 4) < place.classes);
        }
        place.next++;
    }
}

static void take_byte(uint8_t byte) {
    if (frame_parser_take(&parser, byte) == FRAME_COMPLETE) {
        CHECK(parser.length <= parser.capacity);
        take_frame();
    }
}

static void run_stream(const uint8_t *data, size_t size) {
    place = (struct stream_place){.sample_bytes = data[0] % 32u, .classes = 1u + data[1] % 8u, .limit = data[2]};
    uint32_t capacity = STREAM_ITEM_BYTES + place.sample_bytes;
    capacity = capacity < 12 ? 12 : capacity; /* STREAM_BEGIN */
    payload = malloc(capacity);
    CHECK(payload != NULL);
    frame_parser_init(&parser, payload, capacity);
    for (size_t at = 3; at + 2 <= size;) {
        uint8_t type = data[at] % 8;
        size_t left = size - at - 2;
        size_t length = data[at + 1] < left ? data[at + 1] : left;
        const uint8_t *piece = data + at + 2;
        if (type < 6) {
            frame_write(take_byte, type, piece, (uint32_t)length / 2, piece + length / 2,
                        (uint32_t)(length - length / 2));
        }
        for (size_t i = 0; type >= 6 && i < length; i++) {
            take_byte(piece[i]);
        }
        at += 2 + length;
    }
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size >= 4) {
        (data[0] % 2 == 0 ? open_samples : run_stream)(data + 1, size - 1);
    }
    return 0;
}
