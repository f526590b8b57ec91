/* SPDX-License-Identifier: Apache-2.0 */
/* The fully connected layer as a layer: parameters for its kernels. */
#include "quantization.h"

void fqt_linear_layer_forward(const struct fqt_forward_pass *pass) {
    const struct fqt_network *network = pass->network;
    struct fqt_geometry g = fqt_layer_geometry(&network->model, pass->l);
    if (fqt_layer_is_quantized(network, pass->l)) {
        struct fqt_forward_quantization q = fqt_weights_quantization(pass);
        fqt_linear_forward_u8(g.in_c, g.out_c, &q, pass->x, pass->weights, pass->y, pass->extremes);
    } else {
        enum fqt_activation activation = fqt_tensor_activation(&network->model, pass->l + 1);
        fqt_linear_forward_f32(g.in_c, g.out_c, activation, pass->x, pass->weights, pass->bias, pass->y);
    }
}

float fqt_linear_layer_backward(const struct fqt_backward_pass *pass) {
    const struct fqt_network *network = pass->network;
    struct fqt_geometry g = fqt_layer_geometry(&network->model, pass->l);
    const void *w = fqt_layer_weights(network, pass->l);
    if (fqt_layer_is_quantized(network, pass->l)) {
        float unit;
        struct fqt_error_quantization q = fqt_weights_error_quantization(pass, &unit);
        int32_t largest = fqt_linear_backward_input_u8(g.in_c, g.out_c, &q, pass->e, w, pass->x, pass->dx, pass->kept);
        return fqt_error_range(pass, unit, largest);
    }
    enum fqt_activation activation = fqt_tensor_activation(&network->model, pass->input);
    fqt_linear_backward_input_f32(g.in_c, g.out_c, activation, pass->accumulate, pass->e, w, pass->x, pass->dx);
    return 0.0f;
}

void fqt_linear_layer_gradient(const struct fqt_gradient_pass *pass) {
    const struct fqt_network *network = pass->network;
    struct fqt_geometry g = fqt_layer_geometry(&network->model, pass->l);
    if (fqt_layer_is_quantized(network, pass->l)) {
        int32_t zero_x = fqt_tensor_grid(network, network->model.layers[pass->l].input).zero;
        fqt_linear_backward_weight_u8(g.in_c, g.out_c, zero_x, pass->fraction_bits, pass->e, pass->x, pass->gradient,
                                      pass->bias_gradient, pass->kept);
    } else {
        fqt_linear_backward_weight_f32(g.in_c, g.out_c, pass->e, pass->x, pass->gradient, pass->bias_gradient);
    }
}
