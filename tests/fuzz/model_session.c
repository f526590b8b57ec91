/* SPDX-License-Identifier: Apache-2.0 */
#include "model_session.h"

#include "../c/check.h"

/* Products of layer l's forward pass, and positions that its way back looks at. */
static uint64_t work_of(const struct fqt_model *model, uint32_t l) {
    struct fqt_geometry g = fqt_layer_geometry(model, l);
    uint64_t outputs = fqt_tensor_elements(&model->tensors[l + 1]);
    uint64_t inputs = fqt_tensor_elements(&model->tensors[model->layers[l].input]);
    uint64_t taps = (uint64_t)g.kernel_h * (uint64_t)g.kernel_w;
    uint64_t products = fqt_layer_has_weights(&model->layers[l]) ? fqt_layer_fan_in(model, l) : taps;
    uint64_t readers = ((uint64_t)(g.kernel_h * g.dilation_h) / (uint64_t)g.stride_h + 1) *
                       ((uint64_t)(g.kernel_w * g.dilation_w) / (uint64_t)g.stride_w + 1);
    return outputs * products + inputs * readers + outputs;
}

bool model_is_small(const struct fqt_model *model) {
    uint64_t work = 0;
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        work += work_of(model, l);
    }
    return work <= MOST_WORK && fqt_network_memory_size(model, FQT_TRAINING) <= MOST_MEMORY &&
           fqt_inference_arena_size(model) <= MOST_MEMORY && fqt_tensor_elements(&model->tensors[0]) <= MOST_MEMORY;
}

void *room(size_t size) {
    void *memory = malloc(size > 0 ? size : 1);
    CHECK(memory != NULL);
    return memory;
}

uint32_t session_infer(struct session *s) {
    uint32_t prediction;
    const void *logits;
    CHECK(fqt_infer(&s->network, s->arena, s->arena_size, s->sample, &prediction, &logits) == FQT_OK);
    CHECK(prediction < s->classes);
    return fqt_crc32(0, logits, (size_t)fqt_tensor_bytes(&s->network.model, s->network.model.header->n_layers));
}

struct fqt_train_config session_config(const struct session *s, uint32_t round) {
    uint32_t word = fqt_random_word(s->seed, round);
    struct fqt_train_config config = {
        .batch_size = 1 + word % 3,
        .learning_rate = (word & 16) != 0 ? 1e30f : 0.05f,
        .lambda_min = (word & 32) != 0 ? 0 : 1500,
        .lambda_max = (word & 32) != 0 ? 3 : 4096,
        .seed = word,
        .sparse_last = (word & 64) != 0,
    };
#if FQT_WITH_STOCHASTIC_ERRORS
    config.stochastic_errors = (enum fqt_stochastic_errors)((word >> 8) % (FQT_STOCHASTIC_ALL + 1));
#endif
#if FQT_WITH_WEIGHT_RANGES
    config.weight_range = (enum fqt_weight_range)((word >> 12) % (FQT_LITERAL + 1));
    config.range_rate = 0.5f;
#endif
    return config;
}

void session_begin(struct session *s, const struct fqt_model *model, uint32_t seed) {
    size_t elements = (size_t)fqt_tensor_elements(&model->tensors[0]);
    s->arena_size = fqt_inference_arena_size(model);
    s->memory_size = fqt_network_memory_size(model, FQT_TRAINING);
    s->memory = room(s->memory_size);
    s->arena = room(s->arena_size);
    s->sample = room(elements);
    s->classes = fqt_model_classes(model);
    s->seed = seed;
    for (size_t i = 0; i < elements; i++) {
        s->sample[i] = (seed & 1) != 0 ? (uint8_t)fqt_random_word(seed, (uint32_t)i) : (uint8_t)(seed >> 8);
    }
    CHECK(fqt_network_init(&s->network, model, FQT_INFERENCE, NULL, 0) == FQT_OK);
}

void session_train_mode(struct session *s) {
    struct fqt_model model = s->network.model;
    CHECK(fqt_network_init(&s->network, &model, FQT_TRAINING, s->memory, s->memory_size) == FQT_OK);
}

void session_end(struct session *s) {
    free(s->sample);
    free(s->arena);
    free(s->memory);
}
