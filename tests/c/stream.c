/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The application's parser of frames and its judgement, on bytes from standard input: one line a frame event that is
 * not FRAME_MORE. Accepted items count as taken and done with.
 */
#include "frame.h"
#include "stream_protocol.h"

#include <stdio.h>
#include <stdlib.h>

int main(void) {
    struct stream_place place = {.sample_bytes = 16, .classes = 4, .limit = 4};
    uint32_t capacity = STREAM_ITEM_BYTES + place.sample_bytes;
    uint8_t *payload = malloc(capacity); /* the sanitizer sees a byte beyond it */
    struct frame_parser parser;
    if (payload == NULL) {
        return 1;
    }
    frame_parser_init(&parser, payload, capacity);
    for (int byte = getchar(); byte != EOF; byte = getchar()) {
        enum frame_event event = frame_parser_take(&parser, (uint8_t)byte);
        if (event != FRAME_COMPLETE) {
            if (event != FRAME_MORE) {
                printf("event %d\n", (int)event);
            }
            continue;
        }
        enum stream_verdict verdict = stream_judge(&place, parser.type, payload, parser.length);
        printf("frame %d %lu verdict %d\n", parser.type, (unsigned long)parser.length, (int)verdict);
        if (verdict == STREAM_GOOD && parser.type == STREAM_BEGIN) {
            place.begun = true;
            place.next = 0;
        } else if (verdict == STREAM_GOOD && (parser.type == STREAM_SAMPLE || parser.type == STREAM_EPOCH)) {
            place.next++;
        }
    }
    free(payload);
    return 0;
}
