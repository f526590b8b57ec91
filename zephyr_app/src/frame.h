/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Frames on a line of bytes. Nothing of Zephyr is in here, so that the parser is tested with hostile bytes on a
 * desktop.
 *
 * 'F' 'q', u8 type, u8 0, u32 bytes of the payload, payload, u32 CRC-32 of all but the first two and itself; little
 * endian. Bytes between frames are skipped.
 */
#ifndef FQT_APP_FRAME_H
#define FQT_APP_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_BYTES 8u

enum frame_event {
    FRAME_MORE,       /**< not at a frame's end */
    FRAME_COMPLETE,   /**< type, payload and length are those of a frame that arrived whole */
    FRAME_BAD_LENGTH, /**< a header with a payload that is too long or a reserved byte; the frame is dropped */
    FRAME_BAD_CRC,    /**< a damaged frame; dropped */
};

struct frame_parser {
    uint8_t *payload;  /**< the caller's */
    uint32_t capacity; /**< its bytes */
    uint8_t type;
    uint32_t length;
    uint8_t header[FRAME_HEADER_BYTES];
    uint32_t taken; /**< bytes of the frame so far */
    uint32_t crc;   /**< as received */
};

/** Ready for the first byte. */
void frame_parser_init(struct frame_parser *parser, uint8_t *payload, uint32_t capacity);

/** Takes the next byte of the line. */
enum frame_event frame_parser_take(struct frame_parser *parser, uint8_t byte);

/** Sends a byte. */
typedef void frame_put(uint8_t byte);

/** Sends a frame whose payload is two pieces, either of which may be empty. */
void frame_write(frame_put *put, uint8_t type, const void *head, uint32_t head_bytes, const void *data,
                 uint32_t data_bytes);

/** Numbers as they lie in payloads. */
static inline uint32_t frame_u32(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

#endif
