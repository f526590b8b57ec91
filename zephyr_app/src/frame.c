/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <fqt/model_file.h>

#define MAGIC_BYTES 2u
#define CRC_BYTES 4u

static const uint8_t magic[MAGIC_BYTES] = {'F', 'q'};

void frame_parser_init(struct frame_parser *parser, uint8_t *payload, uint32_t capacity) {
    *parser = (struct frame_parser){.payload = payload, .capacity = capacity};
}

/* The header's end: whether what follows can be taken. */
static enum frame_event open_frame(struct frame_parser *parser) {
    parser->type = parser->header[2];
    parser->length = frame_u32(parser->header + 4);
    parser->crc = 0;
    if (parser->header[3] == 0 && parser->length <= parser->capacity) {
        return FRAME_MORE;
    }
    parser->taken = 0;
    return FRAME_BAD_LENGTH;
}

static enum frame_event close_frame(struct frame_parser *parser) {
    parser->taken = 0;
    uint32_t crc = fqt_crc32(0, parser->header + MAGIC_BYTES, FRAME_HEADER_BYTES - MAGIC_BYTES);
    return fqt_crc32(crc, parser->payload, parser->length) == parser->crc ? FRAME_COMPLETE : FRAME_BAD_CRC;
}

enum frame_event frame_parser_take(struct frame_parser *parser, uint8_t byte) {
    if (parser->taken < MAGIC_BYTES) {
        bool fits = byte == magic[parser->taken];
        /* Also "FFq" holds a frame's beginning. */
        parser->taken = fits ? parser->taken + 1 : byte == magic[0] ? 1 : 0;
        return FRAME_MORE;
    }
    if (parser->taken < FRAME_HEADER_BYTES) {
        parser->header[parser->taken++] = byte;
        return parser->taken == FRAME_HEADER_BYTES ? open_frame(parser) : FRAME_MORE;
    }
    uint32_t at = parser->taken++ - FRAME_HEADER_BYTES;
    if (at < parser->length) {
        parser->payload[at] = byte;
        return FRAME_MORE;
    }
    at -= parser->length;
    parser->crc |= (uint32_t)byte << (8 * at);
    return at == CRC_BYTES - 1 ? close_frame(parser) : FRAME_MORE;
}

static void put_all(frame_put *put, const uint8_t *bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        put(bytes[i]);
    }
}

static void put_u32(frame_put *put, uint32_t value) {
    for (uint32_t shift = 0; shift < 32; shift += 8) {
        put((uint8_t)(value >> shift));
    }
}

void frame_write(frame_put *put, uint8_t type, const void *head, uint32_t head_bytes, const void *data,
                 uint32_t data_bytes) {
    uint32_t length = head_bytes + data_bytes;
    const uint8_t checked[] = {
        type, 0, (uint8_t)length, (uint8_t)(length >> 8), (uint8_t)(length >> 16), (uint8_t)(length >> 24)};
    uint32_t crc = fqt_crc32(0, checked, sizeof checked);
    crc = fqt_crc32(crc, head, head_bytes);
    crc = fqt_crc32(crc, data, data_bytes);
    put_all(put, magic, sizeof magic);
    put_all(put, checked, sizeof checked);
    put_all(put, head, head_bytes);
    put_all(put, data, data_bytes);
    put_u32(put, crc);
}
