/* SPDX-License-Identifier: Apache-2.0 */
/* Dynamic sparse updates (SPEC.md section 5; Eq. 9). */
#include <fqt/arithmetic.h>
#include <fqt/sparse_update.h>

#include <stdbool.h>

int32_t fqt_update_rate(uint32_t loss, uint32_t loss_max, int32_t lambda_min, int32_t lambda_max) {
    int32_t eps = loss_max == 0 ? 0 : (int32_t)(((uint64_t)loss << 12) / loss_max); /* at most 4096 */
    int32_t rate = lambda_min + ((eps * (lambda_max - lambda_min)) >> 12);
    return rate < FQT_RATE_ONE ? rate : FQT_RATE_ONE;
}

int32_t fqt_kept_channels(int32_t rate, int32_t channels) {
    int32_t k = (rate * channels) >> 12;
    return k > 0 ? k : 1;
}

/* Defined for both types: whether channel co is among the k of largest norm, ties to the lower index. */
#define DEFINE_IS_KEPT(name, type)                                                                                     \
    static bool name(const type *norms, int32_t channels, int32_t k, int32_t co) {                                     \
        int32_t better = 0;                                                                                            \
        for (int32_t other = 0; other < channels; other++) {                                                           \
            better += norms[other] > norms[co] || (norms[other] == norms[co] && other < co);                           \
        }                                                                                                              \
        return better < k;                                                                                             \
    }

DEFINE_IS_KEPT(is_kept_u8, int32_t)
DEFINE_IS_KEPT(is_kept_f32, float)

void fqt_sparse_select_u8(int32_t *norms, int32_t positions, int32_t channels, int32_t k, int8_t *e, int32_t *chosen) {
    for (int32_t co = 0; co < channels; co++) {
        norms[co] = 0;
        for (int32_t p = 0; p < positions; p++) {
            int32_t error = e[p * channels + co];
            norms[co] += error < 0 ? -error : error;
        }
    }
    for (int32_t co = 0; co < channels; co++) {
        if (is_kept_u8(norms, channels, k, co)) {
            chosen[co]++;
            continue;
        }
        for (int32_t p = 0; p < positions; p++) {
            e[p * channels + co] = 0;
        }
    }
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
