/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Hazards of training without back-propagation, for sanitizers: zeroth sizes|preempt|errors MODEL QUERIES FIRST_NODE
 * EXACT_LAST. "sizes" prints what fqt_zeroth_memory_size() says. Exit code 0 if all is well; says what is not.
 *
 * The library is compiled with -Dmemcpy=hooked_memcpy, so that "preempt" can run inference inside every copy.
 */
#undef memcpy
#include <fqt/fqt.h>
#include <string.h>

#include "check.h"

static struct fqt_model model;
static struct fqt_network network;
static struct fqt_zeroth_trainer trainer;
static uint8_t *sample;
static const struct fqt_train_config config = {
    .batch_size = 2, .learning_rate = 0.05f, .lambda_min = 1500, .lambda_max = 4096, .seed = 9, .sparse_last = true};

/* ---- Inference that preempts a sample sees the whole unperturbed version ---- */

static bool preempting;
static void *inference_arena;
static uint8_t *expected_logits;
static size_t logits_size;
static unsigned long preemptions;

/* Runs inference and compares its logits, or keeps them. */
static void infer(bool compare) {
    uint32_t prediction;
    const void *logits;
    size_t size = fqt_inference_arena_size(&model);
    CHECK(fqt_infer(&network, inference_arena, size, sample, &prediction, &logits) == FQT_OK);
    if (compare) {
        CHECK(memcmp(expected_logits, logits, logits_size) == 0);
    } else {
        memmove(expected_logits, logits, logits_size);
    }
}

void *hooked_memcpy(void *to, const void *from, size_t n);

void *hooked_memcpy(void *to, const void *from, size_t n) {
    memmove(to, from, n);
    if (preempting) {
        preempting = false; /* not inference itself */
        infer(true);
        preemptions++;
        preempting = true;
    }
    return to;
}

static void preempt(void) {
    for (uint32_t i = 0; i < 2 * config.batch_size; i++) {
        infer(false);
        preempting = true;
        CHECK(fqt_zeroth_sample(&trainer, sample, i % fqt_model_classes(&model), NULL) == FQT_OK);
        preempting = false;
        infer(true);
        if (trainer.base.samples == config.batch_size) {
            CHECK(fqt_train_update(&trainer.base) == FQT_OK);
        }
    }
    printf("%lu preemptions\n", preemptions);
}

/* ---- Misuse ---- */

static void errors(const struct fqt_zeroth_config *good, void *memory, size_t size) {
    struct fqt_zeroth_trainer other;
    struct fqt_zeroth_config bad[6] = {*good, *good, *good, *good, *good, *good};
    bad[0].queries = 0;
    bad[1].queries = FQT_MAX_QUERIES + 1;
    bad[2].weight_step = 0;
    bad[3].weight_step = 128;
    bad[4].bias_step = 128;
    bad[5].node_step = 0;
    for (int i = 0; i < 6; i++) {
        CHECK(fqt_zeroth_init(&other, &network, &config, &bad[i], memory, size) == FQT_ERROR_ARGUMENT);
    }
    struct fqt_train_config large = config;
    large.batch_size = 65536 / good->queries + 1;
    CHECK(fqt_zeroth_init(&other, &network, &large, good, memory, size) == FQT_ERROR_BOUND);
    large.batch_size = 0;
    CHECK(fqt_zeroth_init(&other, &network, &large, good, memory, size) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_zeroth_init(&other, &network, &config, good, memory, size - 1) == FQT_ERROR_MEMORY);
    CHECK(fqt_zeroth_init(&other, &network, &config, good, (uint8_t *)memory + 1, size) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_zeroth_init(&other, &network, &config, NULL, memory, size) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_zeroth_init(NULL, &network, &config, good, memory, size) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_zeroth_sample(NULL, sample, 0, NULL) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_zeroth_sample(&trainer, NULL, 0, NULL) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_zeroth_sample(&trainer, sample, fqt_model_classes(&model), NULL) == FQT_ERROR_LABEL);
    for (uint32_t i = 0; i < config.batch_size; i++) {
        CHECK(fqt_zeroth_sample(&trainer, sample, 0, NULL) == FQT_OK);
    }
    CHECK(fqt_zeroth_sample(&trainer, sample, 0, NULL) == FQT_ERROR_BOUND);
    CHECK(fqt_train_update(&trainer.base) == FQT_OK);
    CHECK(fqt_zeroth_step(&trainer, sample, 0, NULL) == FQT_OK);
}

int main(int argc, char **argv) {
    CHECK(argc == 6);
    FILE *file = fopen(argv[2], "rb");
    CHECK(file != NULL);
    static uint32_t buffer[1 << 18];
    size_t size = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    CHECK(fqt_model_open(&model, buffer, size) == FQT_OK);
    struct fqt_zeroth_config zeroth = {
        .queries = (uint32_t)strtoul(argv[3], NULL, 10),
        .weight_step = 9,
        .bias_step = 3,
        .node_step = 30,
        .antithetic = true,
        .first_node = (uint32_t)strtoul(argv[4], NULL, 10),
        .exact_last = strtoul(argv[5], NULL, 10) != 0,
    };
    size_t needed = fqt_zeroth_memory_size(&model, &zeroth);
    if (strcmp(argv[1], "sizes") == 0) {
        printf("%lu\n", (unsigned long)needed);
        return 0;
    }
    size_t network_size = fqt_network_memory_size(&model, FQT_TRAINING);
    void *network_memory = malloc(network_size);
    void *memory = malloc(needed); /* exact sizes: the sanitizer sees a step beyond */
    logits_size = (size_t)fqt_tensor_bytes(&model, model.header->n_layers);
    expected_logits = malloc(logits_size);
    inference_arena = malloc(fqt_inference_arena_size(&model));
    size_t n = (size_t)fqt_tensor_elements(&model.tensors[0]);
    sample = malloc(n);
    CHECK(network_memory != NULL && memory != NULL && expected_logits != NULL && inference_arena != NULL &&
          sample != NULL);
    for (size_t i = 0; i < n; i++) {
        sample[i] = (uint8_t)fqt_random_word(1, (uint32_t)i);
    }
    CHECK(fqt_network_init(&network, &model, FQT_TRAINING, network_memory, network_size) == FQT_OK);
    CHECK(fqt_zeroth_init(&trainer, &network, &config, &zeroth, memory, needed) == FQT_OK);
    if (strcmp(argv[1], "preempt") == 0) {
        preempt();
    } else {
        CHECK(strcmp(argv[1], "errors") == 0);
        errors(&zeroth, memory, needed);
    }
    free(network_memory);
    free(memory);
    free(expected_logits);
    free(inference_arena);
    free(sample);
    return 0;
}
