/* SPDX-License-Identifier: Apache-2.0 */
/* Hard-swish as a layer: parameters for its kernels. */
#include "quantization.h"

static int32_t size_of(const struct fqt_model *model, uint32_t l) {
    return (int32_t)fqt_tensor_elements(&model->tensors[l + 1]);
}

void fqt_hard_swish_layer_forward(const struct fqt_forward_pass *pass) {
    const struct fqt_network *network = pass->network;
    int32_t n = size_of(&network->model, pass->l);
    if (fqt_layer_is_quantized(network, pass->l)) {
        struct fqt_grid x = fqt_tensor_grid(network, network->model.layers[pass->l].input);
        struct fqt_grid y = fqt_tensor_grid(network, pass->l + 1);
        fqt_hard_swish_forward_u8(n, x.zero, y.zero, x.scale, y.scale, pass->x, pass->y, pass->extremes);
    } else {
        fqt_hard_swish_forward_f32(n, pass->x, pass->y);
    }
}

float fqt_hard_swish_layer_backward(const struct fqt_backward_pass *pass) {
    const struct fqt_network *network = pass->network;
    int32_t n = size_of(&network->model, pass->l);
    if (fqt_layer_is_quantized(network, pass->l)) {
        struct fqt_grid x = fqt_tensor_grid(network, pass->input);
        float unit = fqt_tensor_error_scale(network, pass->l + 1) * FQT_128TH;
        struct fqt_error_quantization q = fqt_error_quantization(pass, unit);
        int32_t largest = fqt_hard_swish_backward_u8(n, x.zero, x.scale, &q, pass->e, pass->x, pass->dx);
        return fqt_error_range(pass, unit, largest);
    }
    enum fqt_activation activation = fqt_tensor_activation(&network->model, pass->input);
    fqt_hard_swish_backward_f32(n, activation, pass->accumulate, pass->e, pass->x, pass->dx);
    return 0.0f;
}
