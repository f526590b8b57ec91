/* SPDX-License-Identifier: Apache-2.0 */
/* Max pooling as a layer: parameters for its kernels. */
#include "quantization.h"

void fqt_max_pool2d_layer_forward(const struct fqt_forward_pass *pass) {
    struct fqt_geometry g = fqt_layer_geometry(&pass->network->model, pass->l);
    if (fqt_layer_is_quantized(pass->network, pass->l)) {
        fqt_max_pool2d_forward_u8(&g, pass->x, pass->y);
    } else {
        fqt_max_pool2d_forward_f32(&g, pass->x, pass->y);
    }
}

float fqt_max_pool2d_layer_backward(const struct fqt_backward_pass *pass) {
    const struct fqt_network *network = pass->network;
    struct fqt_geometry g = fqt_layer_geometry(&network->model, pass->l);
    if (fqt_layer_is_quantized(network, pass->l)) {
        struct fqt_limits limits = fqt_error_limits(network, pass->input);
        fqt_max_pool2d_backward_u8(&g, limits.lower, limits.upper, pass->x, pass->e, pass->dx);
    } else {
        enum fqt_activation activation = fqt_tensor_activation(&network->model, pass->input);
        fqt_max_pool2d_backward_f32(&g, activation, pass->x, pass->e, pass->dx);
    }
    return 0.0f;
}
