/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A fuzz target: whatever stands in a model file, the library refuses it, or infers and trains with it. Inputs are
 * model files; the mutator knows their fields and mends size and checksum, or draws a whole network (model_draft.c).
 * Networks that take more memory or work than the caps below are opened only.
 */
#include "model_draft.h"

#include "../c/check.h"
#include <fqt/fqt.h>
#include <string.h>

#define MOST_MEMORY (32u << 20) /* bytes */
#define MOST_WORK (1u << 20)    /* products of a forward pass, about */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size); /* the fuzzer's own */

/* ---- Running what was accepted ---- */

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

static bool is_small(const struct fqt_model *model) {
    uint64_t work = 0;
    for (uint32_t l = 0; l < model->header->n_layers; l++) {
        work += work_of(model, l);
    }
    return work <= MOST_WORK && fqt_network_memory_size(model, FQT_TRAINING) <= MOST_MEMORY &&
           fqt_inference_arena_size(model) <= MOST_MEMORY && fqt_tensor_elements(&model->tensors[0]) <= MOST_MEMORY;
}

/* Memory of exactly that size, so that a byte beyond it is seen; never NULL. */
static void *room(size_t size) {
    void *memory = malloc(size > 0 ? size : 1);
    CHECK(memory != NULL);
    return memory;
}

struct session {
    struct fqt_network network;
    void *arena;
    size_t arena_size;
    uint8_t *sample;
    uint32_t classes;
    uint32_t seed; /* of all choices */
};

static void infer(struct session *s) {
    uint32_t prediction;
    const void *logits;
    CHECK(fqt_infer(&s->network, s->arena, s->arena_size, s->sample, &prediction, &logits) == FQT_OK);
    CHECK(prediction < s->classes);
}

static struct fqt_train_config config_of(const struct session *s, uint32_t round) {
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

/* Two updates and a rest. */
static void train(struct session *s) {
    struct fqt_train_config config = config_of(s, 1);
    struct fqt_trainer trainer;
    size_t size = fqt_trainer_memory_size(&s->network.model);
    if (size > MOST_MEMORY) {
        return;
    }
    void *memory = room(size);
    enum fqt_status status = fqt_trainer_init(&trainer, &s->network, &config, memory, size);
    CHECK(status == FQT_OK || status == FQT_ERROR_NOT_TRAINABLE || status == FQT_ERROR_BOUND);
    for (uint32_t i = 0; status == FQT_OK && i < 2 * config.batch_size + 1; i++) {
        CHECK(fqt_train_step(&trainer, s->sample, fqt_random_word(s->seed, i) % s->classes, NULL) == FQT_OK);
    }
    if (status == FQT_OK) {
        infer(s);
        CHECK(fqt_train_update(&trainer) == FQT_OK);
        (void)fqt_state_crc(&trainer);
    }
    free(memory);
}

static void train_without_errors(struct session *s) {
    struct fqt_train_config config = config_of(s, 2);
    uint32_t word = fqt_random_word(s->seed, 3);
    struct fqt_zeroth_config zeroth = {
        .queries = 1 + word % 2,
        .weight_step = (word & 4) != 0 ? 127 : 1,
        .bias_step = (word & 8) != 0 ? 127 : 0,
        .node_step = (word & 16) != 0 ? 127 : 1,
        .antithetic = (word & 32) != 0,
        .first_node = (word >> 6) % 3,
        .exact_last = (word & 256) != 0,
    };
#if FQT_WITH_STOCHASTIC_ERRORS
    config.stochastic_errors = FQT_STOCHASTIC_LOSS;
#endif
#if FQT_WITH_WEIGHT_RANGES
    config.weight_range = FQT_HYSTERESIS;
#endif
    struct fqt_zeroth_trainer trainer;
    size_t size = fqt_zeroth_memory_size(&s->network.model, &zeroth);
    if (size > MOST_MEMORY) {
        return;
    }
    void *memory = room(size);
    enum fqt_status status = fqt_zeroth_init(&trainer, &s->network, &config, &zeroth, memory, size);
    CHECK(status == FQT_OK || status == FQT_ERROR_NOT_TRAINABLE || status == FQT_ERROR_BOUND ||
          status == FQT_ERROR_UNSUPPORTED);
    for (uint32_t i = 0; status == FQT_OK && i < config.batch_size; i++) {
        CHECK(fqt_zeroth_step(&trainer, s->sample, fqt_random_word(s->seed, i) % s->classes, NULL) == FQT_OK);
    }
    free(memory);
}

static void run(const struct fqt_model *model, uint32_t seed) {
    struct session s = {
        .arena_size = fqt_inference_arena_size(model), .classes = fqt_model_classes(model), .seed = seed};
    size_t elements = (size_t)fqt_tensor_elements(&model->tensors[0]);
    size_t size = fqt_network_memory_size(model, FQT_TRAINING);
    void *memory = room(size);
    s.arena = room(s.arena_size);
    s.sample = room(elements);
    for (size_t i = 0; i < elements; i++) {
        s.sample[i] = (seed & 1) != 0 ? (uint8_t)fqt_random_word(seed, (uint32_t)i) : (uint8_t)(seed >> 8);
    }
    CHECK(fqt_network_init(&s.network, model, FQT_INFERENCE, NULL, 0) == FQT_OK);
    infer(&s);
    CHECK(fqt_network_init(&s.network, model, FQT_TRAINING, memory, size) == FQT_OK);
    train(&s);
    CHECK(fqt_network_init(&s.network, model, FQT_TRAINING, memory, size) == FQT_OK);
    train_without_errors(&s);
    free(s.sample);
    free(s.arena);
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *file = room(size);
    memcpy(file, data, size);
    struct fqt_model model;
    if (fqt_model_open(&model, file, size) == FQT_OK && is_small(&model)) {
        run(&model, fqt_crc32(0, file, size));
    }
    free(file);
    return 0;
}

/* ---- Mutation ---- */

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    switch (seed % 8) {
    case 0:
        return LLVMFuzzerMutate(data, size, max_size); /* seldom sealed */
    case 1:
        size = LLVMFuzzerMutate(data, size, max_size);
        break;
    case 2:
    case 3:
    case 4:
        size = draft_model(data, max_size, seed);
        break;
    default:
        draft_change_fields(data, size, seed);
    }
    draft_seal(data, size);
    return size;
}
