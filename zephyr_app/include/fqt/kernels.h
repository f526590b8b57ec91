/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The operators (SPEC.md section 4): forward, error to the input, weight gradient.
 *
 * Arguments: geometry, quantization parameters, then data: errors, inputs, weights, biases, outputs. Feature maps and
 * errors are [h][w][c], weights and weight gradients [out][kernel_h][kernel_w][in]. Nothing is checked here:
 * fqt_model_open() proved the bounds.
 */
#ifndef FQT_KERNELS_H
#define FQT_KERNELS_H

#include <fqt/arithmetic.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Shape of one layer's work. */
struct fqt_geometry {
    int32_t in_h, in_w, in_c;
    int32_t out_h, out_w, out_c;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t pad_top, pad_left;
    int32_t dilation_h, dilation_w;
};

/** What follows a layer's sums (SPEC.md 4.2). */
enum fqt_activation { FQT_ACT_NONE = 0, FQT_ACT_RELU = 1, FQT_ACT_RELU6 = 2 };

/** Quantization of a forward pass. zero_w, requantizers (of m = (s_x * s_w) / s_y): [grids]. */
struct fqt_forward_quantization {
    int32_t zero_x;
    int32_t zero_y;
    int32_t lower, upper; /**< least and greatest output (SPEC.md 4.1) */
    int32_t grids;        /**< of the weights: 1, or out_c */
    const int32_t *zero_w;
    const struct fqt_requantizer *requantizers;
    const int32_t *bias_acc; /**< [out_c], in units of s_x * s_w */
};

/**
 * Quantization of an error to the input (SPEC.md 4.3); requantizer of m = unit / s_e_in. An input x passes errors iff
 * lowest < x < highest. The last three are for layers with weights.
 */
struct fqt_error_quantization {
    int32_t lowest, highest;
    bool accumulate; /**< onto the error that is there */
    struct fqt_requantizer requantizer;
    int32_t grids;          /**< of the weights: 1, or out_c */
    const int32_t *zero_w;  /**< [grids] */
    const int32_t *factors; /**< [grids]: K, the share of the largest scale that a grid's is; {1} with one grid */
#if FQT_WITH_STOCHASTIC_ERRORS
    const uint32_t *key; /**< of the random words that errors are rounded by (SPEC.md 16.2); NULL: half up */
    const int8_t *first; /**< where element 0 of the error goes: the others' words follow from their places */
#endif
};

/** Output channels whose errors are kept (SPEC.md section 5). e holds only theirs: [position][count]. */
struct fqt_channels {
    int32_t count;
    const uint16_t *indices; /**< [count], ascending */
};

/** Least and greatest accumulator seen; start from {INT32_MAX, INT32_MIN}. */
struct fqt_extremes {
    int32_t least;
    int32_t greatest;
};

/**
 * Convolution, Eq. 3 (SPEC.md 4.1): y = clamp(requantize(bias_acc + sum (x - z_x)(w - z_w)) + z_y, lower, upper).
 * extremes: [grids], widened by the accumulators; may be NULL.
 */
void fqt_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes);

/** Convolution in float32 (SPEC.md 4.2). Sums start at the bias and run over ky, kx, ci. */
void fqt_conv2d_forward_f32(const struct fqt_geometry *g, enum fqt_activation activation, const float *x,
                            const float *w, const float *bias, float *y);

/**
 * Error to the input, Eq. 1 and 4 (SPEC.md 4.3): dx = clamp(requantize(sum e K (w - z_w)), -127, 127).
 * Returns the largest |sum| of those that pass; accumulating, the largest |total|. kept: NULL if e has all channels.
 * dx may lie over x, here and in all functions of this name but max pooling's.
 */
int32_t fqt_conv2d_backward_input_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                     const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                     const struct fqt_channels *kept);

/** Error to the input in float32 (SPEC.md 4.3). Sums start at +0, output positions in raster order, co within.
 * activation: that of x. */
void fqt_conv2d_backward_input_f32(const struct fqt_geometry *g, enum fqt_activation activation, bool accumulate,
                                   const float *e, const float *w, const float *x, float *dx);

/**
 * Weight gradient, Eq. 2 (SPEC.md 4.4): gradient += 2^fraction_bits e (x - z_x), bias_gradient += e; exact.
 * The low bits of the gradient are the weights' residuals (SPEC.md 6.1). kept: NULL if e has all channels.
 */
void fqt_conv2d_backward_weight_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits, const int8_t *e,
                                   const uint8_t *x, int32_t *gradient, int32_t *bias_gradient,
                                   const struct fqt_channels *kept);

/** Weight gradient in float32 (SPEC.md 4.4): gradient += e * x, output positions in raster order. */
void fqt_conv2d_backward_weight_f32(const struct fqt_geometry *g, const float *e, const float *x, float *gradient,
                                    float *bias_gradient);

/** Depthwise convolution (SPEC.md 4.1-4.4): in_c == out_c, w: [c][kernel_h][kernel_w]. As the convolutions of the same
 * name. */
void fqt_depthwise_conv2d_forward_u8(const struct fqt_geometry *g, const struct fqt_forward_quantization *q,
                                     const uint8_t *x, const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes);
/** See fqt_conv2d_forward_f32(). */
void fqt_depthwise_conv2d_forward_f32(const struct fqt_geometry *g, enum fqt_activation activation, const float *x,
                                      const float *w, const float *bias, float *y);
/** See fqt_conv2d_backward_input_u8(). Where kept has fewer than 4 channels, up to 3 bytes behind e are read, for
 * nothing; errors that were moved together leave that room. So does the weight gradient. */
int32_t fqt_depthwise_conv2d_backward_input_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                               const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                               const struct fqt_channels *kept);
/** See fqt_conv2d_backward_input_f32(). */
void fqt_depthwise_conv2d_backward_input_f32(const struct fqt_geometry *g, enum fqt_activation activation,
                                             bool accumulate, const float *e, const float *w, const float *x,
                                             float *dx);
/** See fqt_conv2d_backward_weight_u8(). */
void fqt_depthwise_conv2d_backward_weight_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t fraction_bits,
                                             const int8_t *e, const uint8_t *x, int32_t *gradient,
                                             int32_t *bias_gradient, const struct fqt_channels *kept);
/** See fqt_conv2d_backward_weight_f32(). */
void fqt_depthwise_conv2d_backward_weight_f32(const struct fqt_geometry *g, const float *e, const float *x,
                                              float *gradient, float *bias_gradient);

/** Linear layers (SPEC.md 4.1-4.4): x: [fan_in], y and e: [outputs], w: [outputs][fan_in]. As the convolutions of the
 * same name. */
void fqt_linear_forward_u8(int32_t fan_in, int32_t outputs, const struct fqt_forward_quantization *q, const uint8_t *x,
                           const uint8_t *w, uint8_t *y, struct fqt_extremes *extremes);
/** See fqt_conv2d_forward_f32(). */
void fqt_linear_forward_f32(int32_t fan_in, int32_t outputs, enum fqt_activation activation, const float *x,
                            const float *w, const float *bias, float *y);
/** See fqt_conv2d_backward_input_u8(). */
int32_t fqt_linear_backward_input_u8(int32_t fan_in, int32_t outputs, const struct fqt_error_quantization *q,
                                     const int8_t *e, const uint8_t *w, const uint8_t *x, int8_t *dx,
                                     const struct fqt_channels *kept);
/** See fqt_conv2d_backward_input_f32(). */
void fqt_linear_backward_input_f32(int32_t fan_in, int32_t outputs, enum fqt_activation activation, bool accumulate,
                                   const float *e, const float *w, const float *x, float *dx);
/** See fqt_conv2d_backward_weight_u8(). */
void fqt_linear_backward_weight_u8(int32_t fan_in, int32_t outputs, int32_t zero_x, int32_t fraction_bits,
                                   const int8_t *e, const uint8_t *x, int32_t *gradient, int32_t *bias_gradient,
                                   const struct fqt_channels *kept);
/** See fqt_conv2d_backward_weight_f32(). */
void fqt_linear_backward_weight_f32(int32_t fan_in, int32_t outputs, const float *e, const float *x, float *gradient,
                                    float *bias_gradient);

/** Max pooling (SPEC.md 4.5): y = maximum of the window; no padding, in_c == out_c. */
void fqt_max_pool2d_forward_u8(const struct fqt_geometry *g, const uint8_t *x, uint8_t *y);
/** See fqt_max_pool2d_forward_u8(). */
void fqt_max_pool2d_forward_f32(const struct fqt_geometry *g, const float *x, float *y);

/** The error goes to the first maximum of its window, if that passes it: lowest < x < highest. Sums of overlapping
 * windows are clamped to +-127. */
void fqt_max_pool2d_backward_u8(const struct fqt_geometry *g, int32_t lowest, int32_t highest, const uint8_t *x,
                                const int8_t *e, int8_t *dx);
/** The same in float32; windows add up in raster order of the outputs. */
void fqt_max_pool2d_backward_f32(const struct fqt_geometry *g, enum fqt_activation activation, const float *x,
                                 const float *e, float *dx);

/** Average pooling (SPEC.md 4.8): no padding, in_c == out_c; requantizer of m = (s_x / kernel size) / s_y. extremes:
 * widened by the sums; may be NULL. */
void fqt_avg_pool2d_forward_u8(const struct fqt_geometry *g, int32_t zero_x, int32_t zero_y,
                               struct fqt_requantizer requantizer, const uint8_t *x, uint8_t *y,
                               struct fqt_extremes *extremes);
/** y = sum of the window, in raster order, / its size. */
void fqt_avg_pool2d_forward_f32(const struct fqt_geometry *g, const float *x, float *y);
/** See fqt_conv2d_backward_input_u8(): the sum is that of the errors of the windows that hold the element. */
int32_t fqt_avg_pool2d_backward_u8(const struct fqt_geometry *g, const struct fqt_error_quantization *q,
                                   const int8_t *e, const uint8_t *x, int8_t *dx);
/** See fqt_conv2d_backward_input_f32(). */
void fqt_avg_pool2d_backward_f32(const struct fqt_geometry *g, enum fqt_activation activation, bool accumulate,
                                 const float *e, const float *x, float *dx);

/** Quantization of an addition; requantizers of s_a / s_y and s_b / s_y. */
struct fqt_add_quantization {
    int32_t zero_a, zero_b, zero_y;
    int32_t lower, upper; /**< least and greatest output */
    struct fqt_requantizer requantizer_a, requantizer_b;
};

/** Addition (SPEC.md 4.9) of n elements; y may lie over a or b. extremes: widened by the sums; may be NULL. */
void fqt_add_forward_u8(int32_t n, const struct fqt_add_quantization *q, const uint8_t *a, const uint8_t *b, uint8_t *y,
                        struct fqt_extremes *extremes);
/** See fqt_add_forward_u8(). */
void fqt_add_forward_f32(int32_t n, enum fqt_activation activation, const float *a, const float *b, float *y);
/** See fqt_conv2d_backward_input_u8(), for one of the inputs; dx may also lie over e. */
int32_t fqt_add_backward_u8(int32_t n, const struct fqt_error_quantization *q, const int8_t *e, const uint8_t *x,
                            int8_t *dx);
/** See fqt_conv2d_backward_input_f32(); dx may also lie over e. */
void fqt_add_backward_f32(int32_t n, enum fqt_activation activation, bool accumulate, const float *e, const float *x,
                          float *dx);

/** Hard-swish (SPEC.md 4.10) of n elements; y may lie over x. extremes: widened by the sums; may be NULL. */
void fqt_hard_swish_forward_u8(int32_t n, int32_t zero_x, int32_t zero_y, float scale_x, float scale_y,
                               const uint8_t *x, uint8_t *y, struct fqt_extremes *extremes);
/** See fqt_hard_swish_forward_u8(). */
void fqt_hard_swish_forward_f32(int32_t n, const float *x, float *y);
/** See fqt_conv2d_backward_input_u8(); dx may also lie over e. */
int32_t fqt_hard_swish_backward_u8(int32_t n, int32_t zero_x, float scale_x, const struct fqt_error_quantization *q,
                                   const int8_t *e, const uint8_t *x, int8_t *dx);
/** See fqt_conv2d_backward_input_f32(); dx may also lie over e. */
void fqt_hard_swish_backward_f32(int32_t n, enum fqt_activation activation, bool accumulate, const float *e,
                                 const float *x, float *dx);

/** The border to float32 layers (SPEC.md 4.6): y = f32(x - zero_x) * scale. x, y: [n]. */
void fqt_dequantize_forward(int32_t n, int32_t zero_x, float scale, const uint8_t *x, float *y);

/** dx = clamp(fround(e / error_scale), -127, 127) where lowest < x < highest, else 0. Returns the largest |e| of those
 * that pass. */
float fqt_dequantize_backward(int32_t n, int32_t lowest, int32_t highest, float error_scale, const float *e,
                              const uint8_t *x, int8_t *dx);

#if FQT_WITH_STOCHASTIC_ERRORS
/** The same rounded stochastically, element i by word i of the key (SPEC.md 16.2). */
float fqt_dequantize_backward_random(int32_t n, int32_t lowest, int32_t highest, float error_scale, uint32_t key,
                                     const float *e, const uint8_t *x, int8_t *dx);
#endif

/** What softmax cross-entropy says about one sample. */
struct fqt_loss {
    uint32_t loss;       /**< cross-entropy in nats, Q16 */
    uint32_t prediction; /**< lowest index of the largest logit */
};

/** Softmax cross-entropy without exp or log (SPEC.md 4.7). e = round(127 p) - 127 [label], by the random words of a
 * key, or half up if that is NULL. 1..1023 classes, label < classes. */
struct fqt_loss fqt_softmax_cross_entropy_u8(int32_t classes, int32_t label, float scale, const uint32_t *key,
                                             const uint8_t *logits, int8_t *e);
/** The same with float32 logits: e = p - [label]. */
struct fqt_loss fqt_softmax_cross_entropy_f32(int32_t classes, int32_t label, const float *logits, float *e);

/** Lowest index of the largest logit. */
int32_t fqt_largest_u8(int32_t classes, const uint8_t *logits);
/** Lowest index of the largest logit. */
int32_t fqt_largest_f32(int32_t classes, const float *logits);

#ifdef __cplusplus
}
#endif

#endif
