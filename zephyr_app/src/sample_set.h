/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Labelled samples in flash, as `fqt deploy` writes them.
 *
 * Little endian: u32 count; u32 bytes of a sample; count times {u16 label, u16 0}; count samples.
 */
#ifndef FQT_APP_SAMPLE_SET_H
#define FQT_APP_SAMPLE_SET_H

#include <stddef.h>
#include <stdint.h>

struct sample_set {
    uint32_t count;
    uint32_t sample_bytes;
    const uint8_t *labels;
    const uint8_t *samples;
};

/** Checks everything; returns NULL, or what is wrong. The network wants samples of sample_bytes and knows `classes`
 * classes. */
const char *sample_set_open(struct sample_set *set, const uint8_t *file, size_t size, uint32_t sample_bytes,
                            uint32_t classes);

/** The index-th sample, index < count. */
const uint8_t *sample_set_bytes(const struct sample_set *set, uint32_t index);

/** Its label. */
uint32_t sample_set_label(const struct sample_set *set, uint32_t index);

#endif
