/* SPDX-License-Identifier: Apache-2.0 */
/* Fully connected layer with folded ReLU (SPEC.md 4.1-4.4): the convolution whose kernel covers its whole input. */
#include <fqt/kernels.h>

/* One position whose channels are the flattened input. */
static struct fqt_geometry flat(int32_t fan_in, int32_t outputs) {
    return (struct fqt_geometry){1, 1, fan_in, 1, 1, outputs, 1, 1, 1, 1, 0, 0, 1, 1};
}

void fqt_linear_forward_u8(int32_t fan_in, int32_t outputs, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes) {
    struct fqt_geometry g = flat(fan_in, outputs);
    fqt_conv2d_forward_u8(&g, q, x, w, y, extremes);
}

void fqt_linear_forward_f32(int32_t fan_in, int32_t outputs, enum fqt_activation activation, const float *x,
                            const float *w, const float *bias, float *y) {
    struct fqt_geometry g = flat(fan_in, outputs);
    fqt_conv2d_forward_f32(&g, activation, x, w, bias, y);
}

int32_t fqt_linear_backward_input_u8(int32_t fan_in, int32_t outputs, const struct fqt_error_quantization *q,
                                     const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                     const struct fqt_channels *kept) {
    struct fqt_geometry g = flat(fan_in, outputs);
    return fqt_conv2d_backward_input_u8(&g, q, e, w, x, dx, kept);
}

void fqt_linear_backward_input_f32(int32_t fan_in, int32_t outputs, enum fqt_activation activation, bool accumulate,
                                   const float *e, const float *w, const float *x, float *dx) {
    struct fqt_geometry g = flat(fan_in, outputs);
    fqt_conv2d_backward_input_f32(&g, activation, accumulate, e, w, x, dx);
}

void fqt_linear_backward_weight_u8(int32_t fan_in, int32_t outputs, int32_t zero_x, int32_t fraction_bits,
                                   const int8_t *e, const uint8_t *x, int32_t *gradient, int32_t *bias_gradient,
                                   const struct fqt_channels *kept) {
    struct fqt_geometry g = flat(fan_in, outputs);
    fqt_conv2d_backward_weight_u8(&g, zero_x, fraction_bits, e, x, gradient, bias_gradient, kept);
}

void fqt_linear_backward_weight_f32(int32_t fan_in, int32_t outputs, const float *e, const float *x, float *gradient,
                                    float *bias_gradient) {
    struct fqt_geometry g = flat(fan_in, outputs);
    fqt_conv2d_backward_weight_f32(&g, e, x, gradient, bias_gradient);
}
