/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling as a layer: parameters for its kernels. */
#include "quantization.h"

float fqt_avg_pool2d_unit(const struct fqt_network *network, uint32_t l, uint32_t grid) {
    (void)grid;
    struct fqt_geometry g = fqt_layer_geometry(&network->model, l);
    float scale_x = fqt_tensor_grid(network, network->model.layers[l].input).scale;
    return scale_x / (float)(g.kernel_h * g.kernel_w);
}

void fqt_avg_pool2d_layer_forward(const struct fqt_forward_pass *pass) {
    const struct fqt_network *network = pass->network;
    struct fqt_geometry g = fqt_layer_geometry(&network->model, pass->l);
    if (fqt_layer_is_quantized(network, pass->l)) {
        struct fqt_grid x = fqt_tensor_grid(network, network->model.layers[pass->l].input);
        struct fqt_grid y = fqt_tensor_grid(network, pass->l + 1);
        float m = fqt_avg_pool2d_unit(network, pass->l, 0) / y.scale;
        fqt_avg_pool2d_forward_u8(&g, x.zero, y.zero, fqt_requantizer_of(m), pass->x, pass->y, pass->extremes);
    } else {
        fqt_avg_pool2d_forward_f32(&g, pass->x, pass->y);
    }
}

float fqt_avg_pool2d_layer_backward(const struct fqt_backward_pass *pass) {
    const struct fqt_network *network = pass->network;
    struct fqt_geometry g = fqt_layer_geometry(&network->model, pass->l);
    if (fqt_layer_is_quantized(network, pass->l)) {
        float unit = fqt_tensor_error_scale(network, pass->l + 1) / (float)(g.kernel_h * g.kernel_w);
        struct fqt_error_quantization q = fqt_error_quantization(pass, unit);
        return fqt_error_range(pass, unit, fqt_avg_pool2d_backward_u8(&g, &q, pass->e, pass->x, pass->dx));
    }
    enum fqt_activation activation = fqt_tensor_activation(&network->model, pass->input);
    fqt_avg_pool2d_backward_f32(&g, activation, pass->accumulate, pass->e, pass->x, pass->dx);
    return 0.0f;
}
