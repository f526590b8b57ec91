/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The update rule: SGD with gradients standardized per output channel and an adaptive weight grid (SPEC.md section 6;
 * Eq. 5-8).
 *
 * New parameters are written over the gradients, so that inference can go on with the old ones (see network.h on
 * commits).
 */
#ifndef FQT_STANDARDIZED_SGD_H
#define FQT_STANDARDIZED_SGD_H

#include <fqt/arithmetic.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How weight grids follow their weights (SPEC.md 6.1, 16.1). */
enum fqt_weight_range {
    FQT_HYSTERESIS = 0,     /**< the old grid stays while it fits */
    FQT_MOVING_AVERAGE = 1, /**< of the weights' ranges */
    FQT_LITERAL = 2,        /**< a new grid at every update */
};

#if FQT_WITH_WEIGHT_RANGES
/** The moving average of a weight grid's range, in real numbers. */
struct fqt_grid_range {
    float lo, hi;
};
#endif

/** What an update needs to know about a layer and its minibatch. */
struct fqt_update {
    int32_t outputs;
    int32_t fan_in;
    int32_t batch; /**< samples accumulated, at least 1 */
    float learning_rate;
    int32_t fraction_bits; /**< of the gradient, see fqt_fraction_bits(); unused in float32 */
    uint32_t key; /**< random key of this update and layer: fqt_random_key(seed, step, layer); unused in float32 */
#if FQT_WITH_WEIGHT_RANGES
    enum fqt_weight_range weight_range; /**< unused in float32 */
    float range_rate;                   /**< of the moving average */
    struct fqt_grid_range *ranges;      /**< [grids]: the moving average's, in place */
#endif
};

/**
 * How many low bits of a gradient the minibatch's sum leaves free, at most 8: they hold the weights' residuals, what
 * rounding to whole bytes left over (SPEC.md 6.1). positions * batch_size <= 65536.
 */
int32_t fqt_fraction_bits(int32_t positions, int32_t batch_size);

/** The grid of a range lo <= 0 <= hi (Eq. 6, 7); `old` if the range is empty (SPEC.md 6.1, 8). */
struct fqt_grid fqt_grid_of_range(float lo, float hi, struct fqt_grid old);

/**
 * New weights of a quantized layer and their grids, Eq. 5-8 (SPEC.md 6.1). scale, zero: [grids], old ones in, new ones
 * out; grids: 1 or outputs.
 * w: uint8[outputs][fan_in]; gradient: in: the minibatch's sums and the residuals [outputs][fan_in], out: the staged
 * weights and residuals; chosen: [outputs], samples that kept the channel.
 */
void fqt_update_weights_u8(const struct fqt_update *u, int32_t grids, float *scale, int32_t *zero, const uint8_t *w,
                           int32_t *gradient, const int32_t *chosen);

/** Where fqt_update_weights_u8() left the new weights, uint8[size], in a gradient of size elements. */
const uint8_t *fqt_staged_weights(const int32_t *gradient, int32_t size);

/** Turns staged residuals into the gradient that the next minibatch starts with. The staged weights are gone then. */
void fqt_restore_residuals(int32_t *gradient, int32_t size);

/** New biases (Q20) of a quantized layer, Eq. 5 (SPEC.md 6.2). bias_gradient: [outputs]; in: sums, out: new biases. */
void fqt_update_bias_u8(const struct fqt_update *u, float error_scale, const int32_t *bias, int32_t *bias_gradient);

/** New weights of a float32 layer (SPEC.md 6.3). gradient: [outputs][fan_in]; in: sums, out: new weights. */
void fqt_update_weights_f32(const struct fqt_update *u, const float *w, float *gradient, const int32_t *chosen);

/** New biases of a float32 layer (SPEC.md 6.3). bias_gradient: [outputs]; in: sums, out: new biases. */
void fqt_update_bias_f32(const struct fqt_update *u, const float *bias, float *bias_gradient);

#ifdef __cplusplus
}
#endif

#endif
