/* SPDX-License-Identifier: Apache-2.0 */
/* Hard-swish (SPEC.md 4.10): a function of the byte, so that 256 float steps are enough for any tensor. Each element is
 * read before its place is written, because y may lie over x and dx over e or x. */
#include "elements.h"

#define BYTES 256

/* v relu6(v + 3) / 6. */
static float hard_swish(float v) {
    float g = v + 3.0f;
    g = g > 0.0f ? g : 0.0f;
    g = g < 6.0f ? g : 6.0f;
    return (v * g) / 6.0f;
}

/* Its slope where that is neither 0 nor 1. */
static float slope(float v) {
    return (v + v + 3.0f) / 6.0f;
}

void fqt_hard_swish_forward_u8(int32_t n, int32_t zero_x, int32_t zero_y, float scale_x, float scale_y,
                               const uint8_t *x, uint8_t *y, struct fqt_extremes *extremes) {
    int16_t acc[BYTES]; /* the output in 128ths of its step */
    for (int32_t i = 0; i < BYTES; i++) {
        float value = hard_swish((float)(i - zero_x) * scale_x);
        acc[i] = (int16_t)fqt_fround((value / scale_y) * 128.0f, INT16_MIN, INT16_MAX);
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t sum = acc[x[i]];
        fqt_widen(extremes, sum);
        y[i] = (uint8_t)fqt_clamp(((sum + 64) >> 7) + zero_y, 0, 255);
    }
}

void fqt_hard_swish_forward_f32(int32_t n, const float *x, float *y) {
    for (int32_t i = 0; i < n; i++) {
        y[i] = hard_swish(x[i]);
    }
}

int32_t fqt_hard_swish_backward_u8(int32_t n, int32_t zero_x, float scale_x, const struct fqt_error_quantization *q,
                                   const int8_t *e, const uint8_t *x, int8_t *dx) {
    int16_t slopes[BYTES]; /* in 128ths */
    for (int32_t i = 0; i < BYTES; i++) {
        float v = (float)(i - zero_x) * scale_x;
        int32_t rounded = fqt_fround(slope(v) * 128.0f, INT16_MIN, INT16_MAX);
        slopes[i] = (int16_t)(v <= -3.0f ? 0 : v >= 3.0f ? 128 : rounded);
    }
    int32_t largest = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t error = e[i] * slopes[x[i]];
        largest = fqt_max(largest, fqt_errors_u8(q, 1, &error, x + i, dx + i));
    }
    return largest;
}

void fqt_hard_swish_backward_f32(int32_t n, enum fqt_activation activation, bool accumulate, const float *e,
                                 const float *x, float *dx) {
    for (int32_t i = 0; i < n; i++) {
        float v = x[i];
        float d = v <= -3.0f ? 0.0f : v >= 3.0f ? 1.0f : slope(v);
        fqt_error_f32(activation, accumulate, e[i] * d, x + i, dx + i);
    }
}
