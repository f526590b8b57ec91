/* SPDX-License-Identifier: Apache-2.0 */
/* The border between quantized and float32 layers (SPEC.md 4.6). */
#include <fqt/kernels.h>

void fqt_dequantize_forward(int32_t n, int32_t zero_x, float scale, const uint8_t *x, float *y) {
    for (int32_t i = 0; i < n; i++) {
        y[i] = (float)(x[i] - zero_x) * scale;
    }
}

float fqt_dequantize_backward(int32_t n, int32_t lowest, int32_t highest, float error_scale, const float *e,
                              const uint8_t *x, int8_t *dx) {
    float inverse = 1.0f / error_scale;
    float largest = 0.0f;
    for (int32_t i = 0; i < n; i++) {
        if (x[i] <= lowest || x[i] >= highest) {
            dx[i] = 0;
            continue;
        }
        float size = fqt_abs(e[i]);
        largest = size > largest ? size : largest;
        dx[i] = (int8_t)fqt_fround(e[i] * inverse, -FQT_ERROR_MAX, FQT_ERROR_MAX);
    }
    return largest;
}
