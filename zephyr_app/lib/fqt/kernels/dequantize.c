/* SPDX-License-Identifier: Apache-2.0 */
/* The border between quantized and float32 layers (SPEC.md 4.6). */
#include <fqt/kernels.h>
#include <stddef.h>

void fqt_dequantize_forward(int32_t n, int32_t zero_x, float scale, const uint8_t *x, float *y) {
    for (int32_t i = 0; i < n; i++) {
        y[i] = (float)(x[i] - zero_x) * scale;
    }
}

/* Element i as a byte. */
static inline int8_t rounded(float error, const uint32_t *key, uint32_t i) {
#if FQT_WITH_STOCHASTIC_ERRORS
    if (key != NULL) {
        return (int8_t)fqt_fround_random(error, fqt_random_word(*key, i), -FQT_ERROR_MAX, FQT_ERROR_MAX);
    }
#endif
    (void)key;
    (void)i;
    return (int8_t)fqt_fround(error, -FQT_ERROR_MAX, FQT_ERROR_MAX);
}

/* key: NULL to round half up; a constant wherever this is called. */
static inline float send_errors(int32_t n, int32_t lowest, int32_t highest, float error_scale, const uint32_t *key,
                                const float *e, const uint8_t *x, int8_t *dx) {
    float inverse = 1.0f / error_scale;
    float largest = 0.0f;
    for (int32_t i = 0; i < n; i++) {
        if (x[i] <= lowest || x[i] >= highest) {
            dx[i] = 0;
            continue;
        }
        float size = fqt_abs(e[i]);
        largest = size > largest ? size : largest;
        dx[i] = rounded(e[i] * inverse, key, (uint32_t)i);
    }
    return largest;
}

float fqt_dequantize_backward(int32_t n, int32_t lowest, int32_t highest, float error_scale, const float *e,
                              const uint8_t *x, int8_t *dx) {
    return send_errors(n, lowest, highest, error_scale, NULL, e, x, dx);
}

#if FQT_WITH_STOCHASTIC_ERRORS
float fqt_dequantize_backward_random(int32_t n, int32_t lowest, int32_t highest, float error_scale, uint32_t key,
                                     const float *e, const uint8_t *x, int8_t *dx) {
    return send_errors(n, lowest, highest, error_scale, &key, e, x, dx);
}
#endif
