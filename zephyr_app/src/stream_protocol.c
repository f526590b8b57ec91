/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_protocol.h"

#include "frame.h"

static enum stream_verdict judge_begin(const struct stream_place *place, const uint8_t *payload, uint32_t length) {
    if (length != 12) {
        return STREAM_BAD_LENGTH;
    }
    if (frame_u32(payload) != STREAM_VERSION) {
        return STREAM_BAD_VERSION;
    }
    bool fits = frame_u32(payload + 4) == place->sample_bytes && frame_u32(payload + 8) <= place->classes;
    return fits ? STREAM_GOOD : STREAM_BAD_SHAPE;
}

static enum stream_verdict judge_item(const struct stream_place *place, uint8_t type, const uint8_t *payload,
                                      uint32_t length) {
    if (length != STREAM_ITEM_BYTES + (type == STREAM_SAMPLE ? place->sample_bytes : 0)) {
        return STREAM_BAD_LENGTH;
    }
    uint32_t number = frame_u32(payload);
    if (!place->begun || number > place->next) {
        return STREAM_BAD_NUMBER;
    }
    if (number < place->next) {
        return STREAM_AGAIN;
    }
    if (type == STREAM_SAMPLE && frame_u32(payload + 4) >= place->classes) {
        return STREAM_BAD_LABEL;
    }
    return number < place->limit ? STREAM_GOOD : STREAM_NO_PLACE;
}

enum stream_verdict stream_judge(const struct stream_place *place, uint8_t type, const uint8_t *payload,
                                 uint32_t length) {
    switch (type) {
    case STREAM_BEGIN:
        return judge_begin(place, payload, length);
    case STREAM_SAMPLE:
    case STREAM_EPOCH:
        return judge_item(place, type, payload, length);
    case STREAM_POLL:
    case STREAM_GET_STATE:
        return length == 0 ? STREAM_GOOD : STREAM_BAD_LENGTH;
    default:
        return STREAM_BAD_TYPE;
    }
}
