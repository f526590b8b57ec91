/* SPDX-License-Identifier: Apache-2.0 */
/** Mean of the last 64 values. Starts from all zeros. */
#ifndef FQT_APP_RECENT_H
#define FQT_APP_RECENT_H

#include <stdint.h>

#define RECENT_VALUES 64u

struct recent {
    uint32_t values[RECENT_VALUES];
    uint64_t sum;
    uint32_t count; /* of all values so far */
};

static inline void recent_add(struct recent *recent, uint32_t value) {
    uint32_t *oldest = &recent->values[recent->count++ % RECENT_VALUES];
    recent->sum += value;
    recent->sum -= *oldest; /* 0 in the first round */
    *oldest = value;
}

static inline uint32_t recent_mean(const struct recent *recent) {
    uint32_t n = recent->count < RECENT_VALUES ? recent->count : RECENT_VALUES;
    return n == 0 ? 0 : (uint32_t)(recent->sum / n);
}

#endif
