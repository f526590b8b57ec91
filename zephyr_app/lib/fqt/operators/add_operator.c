/* SPDX-License-Identifier: Apache-2.0 */
/* Addition as a layer: parameters for its kernels. */
#include "quantization.h"

static int32_t size_of(const struct fqt_model *model, uint32_t l) {
    return (int32_t)fqt_tensor_elements(&model->tensors[l + 1]);
}

void fqt_add_layer_forward(const struct fqt_forward_pass *pass) {
    const struct fqt_network *network = pass->network;
    const struct fqt_layer_record *layer = &network->model.layers[pass->l];
    int32_t n = size_of(&network->model, pass->l);
    enum fqt_activation activation = fqt_tensor_activation(&network->model, pass->l + 1);
    if (!fqt_layer_is_quantized(network, pass->l)) {
        fqt_add_forward_f32(n, activation, pass->x, pass->x2, pass->y);
        return;
    }
    struct fqt_grid a = fqt_tensor_grid(network, layer->input);
    struct fqt_grid b = fqt_tensor_grid(network, layer->input2);
    struct fqt_grid y = fqt_tensor_grid(network, pass->l + 1);
    struct fqt_limits limits = fqt_output_limits(activation, y);
    struct fqt_add_quantization q = {
        .zero_a = a.zero,
        .zero_b = b.zero,
        .zero_y = y.zero,
        .lower = limits.lower,
        .upper = limits.upper,
        .requantizer_a = fqt_requantizer_of(a.scale / y.scale),
        .requantizer_b = fqt_requantizer_of(b.scale / y.scale),
    };
    fqt_add_forward_u8(n, &q, pass->x, pass->x2, pass->y, pass->extremes);
}

float fqt_add_layer_backward(const struct fqt_backward_pass *pass) {
    const struct fqt_network *network = pass->network;
    int32_t n = size_of(&network->model, pass->l);
    if (fqt_layer_is_quantized(network, pass->l)) {
        float unit = fqt_tensor_error_scale(network, pass->l + 1);
        struct fqt_error_quantization q = fqt_error_quantization(pass, unit);
        return fqt_error_range(pass, unit, fqt_add_backward_u8(n, &q, pass->e, pass->x, pass->dx));
    }
    enum fqt_activation activation = fqt_tensor_activation(&network->model, pass->input);
    fqt_add_backward_f32(n, activation, pass->accumulate, pass->e, pass->x, pass->dx);
    return 0.0f;
}
