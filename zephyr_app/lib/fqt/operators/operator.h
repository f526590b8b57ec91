/* SPDX-License-Identifier: Apache-2.0 */
/**
 * An operator is three functions: they find a layer's parameters and call its kernels. network.c and train_step.c have
 * them in tables, one a direction, so that a program holds no way back that it does not go.
 */
#ifndef FQT_OPERATOR_H
#define FQT_OPERATOR_H

#include <fqt/network.h>

/** A layer and its data, on the way forward. */
struct fqt_forward_pass {
    const struct fqt_network *network;
    uint32_t l;
    const void *weights, *bias; /**< the network's, or others to try; unread without weights */
    const void *x, *x2;         /**< inputs; the second one of an addition */
    void *y;
    void *scratch;
    struct fqt_extremes *extremes; /**< of the sums, see fqt_forward_layer() */
};

/** Runs a layer. */
typedef void fqt_forward_function(const struct fqt_forward_pass *pass);

/** Runs a layer of any operator. */
fqt_forward_function fqt_run_forward_pass;

/** A layer and its data, on the way back to one of its inputs. */
struct fqt_backward_pass {
    const struct fqt_network *network;
    uint32_t l;
    uint32_t input; /**< tensor that the error goes to */
    const void *e;
    const struct fqt_channels *kept; /**< those that e has; NULL: all */
    const void *x;                   /**< that tensor */
    void *dx;
    void *scratch;   /**< 4 bytes a grid */
    bool accumulate; /**< onto dx */
#if FQT_WITH_STOCHASTIC_ERRORS
    const uint32_t *key; /**< of the random words that errors are rounded by; NULL: half up */
#endif
};

/** Sends the error at a layer's output to an input. Returns the R of SPEC.md section 8, 0 if there is none. */
typedef float fqt_backward_function(const struct fqt_backward_pass *pass);

/** A layer and its data, on the way to its gradients. */
struct fqt_gradient_pass {
    const struct fqt_network *network;
    uint32_t l;
    const void *e;
    const struct fqt_channels *kept; /**< those that e has; NULL: all */
    const void *x;
    int32_t fraction_bits; /**< of the gradient of a quantized layer */
    void *gradient;
    void *bias_gradient;
};

/** Adds to a layer's gradients. */
typedef void fqt_gradient_function(const struct fqt_gradient_pass *pass);

/** Unit of the sums of a quantized layer on one of its grids, for its output's range (SPEC.md section 8). */
typedef float fqt_unit_function(const struct fqt_network *network, uint32_t l, uint32_t grid);

fqt_unit_function fqt_weights_unit;    /**< of layers with weights: s_x s_w */
fqt_unit_function fqt_avg_pool2d_unit; /**< s_x / kernel size */
fqt_unit_function fqt_output_unit;     /**< of sums in 128ths of the output's step */

fqt_forward_function fqt_conv2d_layer_forward;
fqt_backward_function fqt_conv2d_layer_backward;
fqt_gradient_function fqt_conv2d_layer_gradient;

fqt_forward_function fqt_linear_layer_forward;
fqt_backward_function fqt_linear_layer_backward;
fqt_gradient_function fqt_linear_layer_gradient;

fqt_forward_function fqt_depthwise_conv2d_layer_forward;
fqt_backward_function fqt_depthwise_conv2d_layer_backward;
fqt_gradient_function fqt_depthwise_conv2d_layer_gradient;

fqt_forward_function fqt_max_pool2d_layer_forward;
fqt_backward_function fqt_max_pool2d_layer_backward;

fqt_forward_function fqt_avg_pool2d_layer_forward;
fqt_backward_function fqt_avg_pool2d_layer_backward;

fqt_forward_function fqt_dequantize_layer_forward;
fqt_backward_function fqt_dequantize_layer_backward;

fqt_forward_function fqt_add_layer_forward;
fqt_backward_function fqt_add_layer_backward;

fqt_forward_function fqt_hard_swish_layer_forward;
fqt_backward_function fqt_hard_swish_layer_backward;

#endif
