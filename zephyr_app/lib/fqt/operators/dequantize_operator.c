/* SPDX-License-Identifier: Apache-2.0 */
/* The border to float32 layers as a layer: parameters for its kernels. */
#include "quantization.h"

static int32_t size_of(const struct fqt_model *model, uint32_t l) {
    return (int32_t)fqt_tensor_elements(&model->tensors[l + 1]);
}

void fqt_dequantize_layer_forward(const struct fqt_forward_pass *pass) {
    const struct fqt_model *model = &pass->network->model;
    struct fqt_grid x = fqt_tensor_grid(pass->network, model->layers[pass->l].input);
    fqt_dequantize_forward(size_of(model, pass->l), x.zero, x.scale, pass->x, pass->y);
}

float fqt_dequantize_layer_backward(const struct fqt_backward_pass *pass) {
    int32_t n = size_of(&pass->network->model, pass->l);
    struct fqt_limits limits = fqt_error_limits(pass->network, pass->input);
    float error_scale = fqt_tensor_error_scale(pass->network, pass->input);
#if FQT_WITH_STOCHASTIC_ERRORS
    if (pass->key != NULL) {
        return fqt_dequantize_backward_random(n, limits.lower, limits.upper, error_scale, *pass->key, pass->e, pass->x,
                                              pass->dx) /
               127.0f;
    }
#endif
    float largest = fqt_dequantize_backward(n, limits.lower, limits.upper, error_scale, pass->e, pass->x, pass->dx);
    return largest / 127.0f;
}
