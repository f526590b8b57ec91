/* SPDX-License-Identifier: Apache-2.0 */
/* Dynamic sparse updates (SPEC.md section 5; Eq. 9). The choice has to cost little beside the loops that it saves. */
#include "kernels/packed.h"

#include <fqt/arithmetic.h>
#include <fqt/sparse_update.h>

#include <stdbool.h>
#include <string.h>

#define LANE_POSITIONS 512 /* as many |e| <= 127 as 16 bits add up, and even */

int32_t fqt_update_rate(uint32_t loss, uint32_t loss_max, int32_t lambda_min, int32_t lambda_max) {
    int32_t eps = loss_max == 0 ? 0 : (int32_t)(((uint64_t)loss << 12) / loss_max); /* at most 4096 */
    int32_t rate = lambda_min + ((eps * (lambda_max - lambda_min)) >> 12);
    return rate < FQT_RATE_ONE ? rate : FQT_RATE_ONE;
}

int32_t fqt_kept_channels(int32_t rate, int32_t channels) {
    int32_t k = (rate * channels) >> 12;
    return k > 0 ? k : 1;
}

/* ---- Norms ---- */

/* Norms of four channels whose errors are words, two positions at once: two |e| fit a byte. */
static void word_norms(const int8_t *e, int32_t positions, int32_t channels, int32_t norms[4]) {
    norms[0] = norms[1] = norms[2] = norms[3] = 0;
    while (positions > 0) {
        int32_t n = positions < LANE_POSITIONS ? positions : LANE_POSITIONS;
        uint32_t even = 0;
        uint32_t odd = 0;
        positions -= n;
        for (; n >= 2; n -= 2) {
            uint32_t sum = packed_abs(packed_load(e)) + packed_abs(packed_load(e + channels));
            even = packed_add_bytes(even, sum);
            odd = packed_add_odd_bytes(odd, sum);
            e += 2 * channels;
        }
        if (n > 0) {
            uint32_t last = packed_abs(packed_load(e));
            even = packed_add_bytes(even, last);
            odd = packed_add_odd_bytes(odd, last);
            e += channels;
        }
        norms[0] += (int32_t)(even & 0xFFFF);
        norms[1] += (int32_t)(odd & 0xFFFF);
        norms[2] += (int32_t)(even >> 16);
        norms[3] += (int32_t)(odd >> 16);
    }
}

static void l1_norms(int32_t *norms, int32_t positions, int32_t channels, const int8_t *e) {
    int32_t co = 0;
    for (; packed_loadable(e, channels) && co + 4 <= channels; co += 4) {
        word_norms(e + co, positions, channels, norms + co);
    }
    for (; co < channels; co++) {
        const int8_t *error = e + co;
        int32_t norm = 0;
        for (int32_t p = 0; p < positions; p++) {
            norm += *error < 0 ? -*error : *error;
            error += channels;
        }
        norms[co] = norm;
    }
}

/* ---- Choice ---- */

/* Kept are the norms above `norm` and, of those that equal it, the first `ties`. */
struct threshold {
    int32_t norm, ties;
};

static int32_t count_above(const int32_t *norms, int32_t channels, int32_t norm) {
    uint32_t count = 0;
    for (int32_t co = 0; co < channels; co++) {
        count += (uint32_t)(norm - norms[co]) >> 31; /* the sign, without a branch */
    }
    return (int32_t)count;
}

/* Bisection on the bits of the k-th largest norm: a pass a bit, and mostly fewer. */
static struct threshold find_threshold(const int32_t *norms, int32_t channels, int32_t k) {
    uint32_t any = 0;
    for (int32_t co = 0; co < channels; co++) {
        any |= (uint32_t)norms[co];
    }
    int32_t norm = 0;  /* at least k are as large */
    int32_t above = 0; /* of all that are larger, in the end */
    for (int32_t bit = fqt_bit_length(any) - 1; bit >= 0; bit--) {
        int32_t larger = norm + (1 << bit);
        int32_t count = count_above(norms, channels, larger - 1);
        if (count == k) {
            return (struct threshold){larger - 1, 0};
        }
        if (count > k) {
            norm = larger;
        } else {
            above = count;
        }
    }
    return (struct threshold){norm, k - above};
}

struct fqt_channels fqt_sparse_select_u8(void *scratch, int32_t positions, int32_t channels, int32_t k, const int8_t *e,
                                         int32_t *chosen) {
    int32_t *norms = scratch;
    uint16_t *indices = scratch; /* behind the norms that are still to be read */
    int32_t count = 0;
    l1_norms(norms, positions, channels, e);
    struct threshold least = find_threshold(norms, channels, k);
    for (int32_t co = 0; co < channels; co++) {
        int32_t margin = norms[co] - least.norm;
        if (margin > 0 || (margin == 0 && least.ties-- > 0)) {
            indices[count++] = (uint16_t)co;
            chosen[co]++;
        }
    }
    return (struct fqt_channels){count, indices};
}

/* ---- What becomes of the errors ---- */

void fqt_sparse_zero_u8(int32_t positions, int32_t channels, const struct fqt_channels *kept, int8_t *e) {
    for (int32_t p = 0; p < positions; p++) {
        int32_t j = 0;
        for (int32_t co = 0; co < channels; co++) {
            if (j < kept->count && kept->indices[j] == co) {
                j++;
            } else {
                e[co] = 0;
            }
        }
        e += channels;
    }
}

void fqt_sparse_compact_u8(int32_t positions, int32_t channels, const struct fqt_channels *kept, int8_t *e) {
    const uint16_t *indices = kept->indices;
    const uint16_t *end = indices + kept->count;
    int8_t *to = e; /* never ahead of where it reads */
    if (kept->count == 1) {
        for (const int8_t *from = e + *indices; positions > 0; positions--) {
            *to++ = *from;
            from += channels;
        }
        return;
    }
    for (; positions > 0; positions--) {
        const uint16_t *co = indices;
        do {
            *to++ = e[*co++];
        } while (co < end);
        e += channels;
    }
}

/* ---- float32 ---- */

/* Whether channel co is among the k of largest norm, ties to the lower index. */
static bool is_kept_f32(const float *norms, int32_t channels, int32_t k, int32_t co) {
    int32_t better = 0;
    for (int32_t other = 0; other < channels; other++) {
        better += norms[other] > norms[co] || (norms[other] == norms[co] && other < co);
    }
    return better < k;
}

void fqt_sparse_select_f32(float *norms, int32_t positions, int32_t channels, int32_t k, float *e, int32_t *chosen) {
    for (int32_t co = 0; co < channels; co++) {
        norms[co] = 0.0f;
        for (int32_t p = 0; p < positions; p++) {
            norms[co] = norms[co] + fqt_abs(e[p * channels + co]);
        }
    }
    for (int32_t co = 0; co < channels; co++) {
        if (is_kept_f32(norms, channels, k, co)) {
            chosen[co]++;
            continue;
        }
        for (int32_t p = 0; p < positions; p++) {
            e[p * channels + co] = 0.0f;
        }
    }
}
