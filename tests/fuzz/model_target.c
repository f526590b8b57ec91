/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A fuzz target: whatever stands in a model file, the library refuses it, or infers and trains with it. Inputs are
 * model files; the mutator knows their fields and mends size and checksum, or draws a whole network (model_draft.c).
 * Networks that take more memory or work than the caps below are opened only.
 */
#include "model_draft.h"
#include "model_session.h"

#include "../c/check.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size); /* the fuzzer's own */

/* Reads all that it is told. */
static void watch(void *user, enum fqt_event kind, uint32_t index, const void *data, uint32_t bytes) {
    (void)kind;
    (void)index;
    *(uint32_t *)user = fqt_crc32(*(uint32_t *)user, data, bytes);
}

/* Two updates and a rest. */
static void train(struct session *s) {
    struct fqt_train_config config = session_config(s, 1);
    struct fqt_trainer trainer;
    size_t size = fqt_trainer_memory_size(&s->network.model);
    if (size > MOST_MEMORY) {
        return;
    }
    void *memory = room(size);
    enum fqt_status status = fqt_trainer_init(&trainer, &s->network, &config, memory, size);
    CHECK(status == FQT_OK || status == FQT_ERROR_NOT_TRAINABLE || status == FQT_ERROR_BOUND);
    uint32_t seen = 0;
    if (status == FQT_OK && (config.seed & 128) != 0) {
        fqt_trainer_observe(&trainer, watch, &seen);
    }
    for (uint32_t i = 0; status == FQT_OK && i < 2 * config.batch_size + 1; i++) {
        CHECK(fqt_train_step(&trainer, s->sample, fqt_random_word(s->seed, i) % s->classes, NULL) == FQT_OK);
    }
    if (status == FQT_OK) {
        (void)session_infer(s);
        CHECK(fqt_train_update(&trainer) == FQT_OK);
        (void)fqt_state_crc(&trainer);
    }
    free(memory);
}

static void train_without_errors(struct session *s) {
    struct fqt_train_config config = session_config(s, 2);
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
    struct session s;
    session_begin(&s, model, seed);
    uint32_t frozen = session_infer(&s);
    session_train_mode(&s);
    CHECK(session_infer(&s) == frozen);
    train(&s);
    session_train_mode(&s);
    train_without_errors(&s);
    session_end(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *file = room(size);
    memcpy(file, data, size);
    struct fqt_model model;
    if (fqt_model_open(&model, file, size) == FQT_OK && model_is_small(&model)) {
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
