/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What the frames of a stream of samples say, and which of them are good. Nothing of Zephyr is in here.
 *
 * A PC sends items in turn: samples, and ends of epochs at which a minibatch that is not full gets its update. Items
 * are numbered from 0; the device takes item `next` only, and the PC sends items below `limit` only: that is the flow
 * control. After an error the PC goes back to `next`.
 */
#ifndef FQT_APP_STREAM_PROTOCOL_H
#define FQT_APP_STREAM_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

#define STREAM_VERSION 1u
#define STREAM_ITEM_BYTES 8u /**< of an item's frame before the sample's bytes */

/** Types of frames. */
enum stream_type {
    STREAM_BEGIN = 1,       /**< u32 version, u32 bytes of a sample, u32 classes: numbers start at 0 */
    STREAM_SAMPLE = 2,      /**< u32 number, u32 label, the sample */
    STREAM_EPOCH = 3,       /**< u32 number, u32 0 */
    STREAM_POLL = 4,        /**< asks for a progress frame */
    STREAM_GET_STATE = 5,   /**< asks for all that was learnt */
    STREAM_PROGRESS = 0x81, /**< u32 next, limit, done, loss and accuracy (Q16, recent means), updates */
    STREAM_ERROR = 0x82,    /**< u32 enum stream_verdict, u32 next */
    STREAM_STATE = 0x83,    /**< u32 kind, index, offset, bytes in all (SPEC.md 11, 12); some of them */
    STREAM_END = 0x84,      /**< u32 checksum of the state */
    STREAM_TEXT = 0x85,     /**< a line of the console, without its end, if both have one UART */
};

/** What a frame is. */
enum stream_verdict {
    STREAM_GOOD = 0,
    STREAM_AGAIN = 1, /**< an item that was taken before: no error, nothing to do */
    STREAM_BAD_TYPE = 2,
    STREAM_BAD_LENGTH = 3,
    STREAM_BAD_CRC = 4,
    STREAM_BAD_VERSION = 5,
    STREAM_BAD_SHAPE = 6,  /**< samples or classes that the model does not take */
    STREAM_BAD_NUMBER = 7, /**< items before this one are missing */
    STREAM_BAD_LABEL = 8,
    STREAM_NO_PLACE = 9, /**< more items than `limit` allows */
};

/** What the model takes, and where the stream is. */
struct stream_place {
    uint32_t sample_bytes;
    uint32_t classes;
    uint32_t next;
    uint32_t limit;
    bool begun;
};

/** Judges a frame that arrived whole; its payload may be read as its type says if it is good. */
enum stream_verdict stream_judge(const struct stream_place *place, uint8_t type, const uint8_t *payload,
                                 uint32_t length);

#endif
