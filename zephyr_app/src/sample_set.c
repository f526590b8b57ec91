/* SPDX-License-Identifier: Apache-2.0 */
#include "sample_set.h"

#include <zephyr/sys/byteorder.h>

#define HEADER_BYTES 8u
#define LABEL_BYTES 4u

const char *sample_set_open(struct sample_set *set, const uint8_t *file, size_t size, uint32_t sample_bytes,
                            uint32_t classes) {
    if (size < HEADER_BYTES) {
        return "too short";
    }
    uint32_t count = sys_get_le32(file);
    if (sample_bytes == 0 || sys_get_le32(file + 4) != sample_bytes) {
        return "its samples are not of the size that the model takes";
    }
    if (count == 0) {
        return "empty";
    }
    if (count * ((uint64_t)LABEL_BYTES + sample_bytes) != size - HEADER_BYTES) {
        return "not as long as its header says";
    }
    const uint8_t *labels = file + HEADER_BYTES;
    *set = (struct sample_set){count, sample_bytes, labels, labels + LABEL_BYTES * count};
    for (uint32_t i = 0; i < count; i++) {
        if (sys_get_le32(labels + LABEL_BYTES * i) >= classes) { /* the upper half is 0 */
            return "a label is beyond the model's classes";
        }
    }
    return NULL;
}

const uint8_t *sample_set_bytes(const struct sample_set *set, uint32_t index) {
    return set->samples + (size_t)set->sample_bytes * index;
}

uint32_t sample_set_label(const struct sample_set *set, uint32_t index) {
    return sys_get_le16(set->labels + LABEL_BYTES * index);
}
