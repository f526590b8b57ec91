/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Counts the library's basic blocks: many_layers MODEL prints "what count", one a line, for inference from the file and
 * beside a trainer, a training sample, an update, the state's checksum, and a sample without back-propagation.
 *
 * The library is compiled with -fsanitize-coverage=trace-pc, which calls the counter in each block; this file is not.
 */
#include "model.h"

static unsigned long blocks;

void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void) {
    blocks++;
}

/* Says what has run since the last time. */
static void say(const char *what) {
    static unsigned long before;
    printf("%s %lu\n", what, blocks - before);
    before = blocks;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    static struct fqt_model model;
    static struct fqt_network fixed, network;
    static struct fqt_trainer trainer;
    static struct fqt_zeroth_trainer zeroth_trainer;
    const struct fqt_train_config config = {.batch_size = 1, .learning_rate = 0.01f, .lambda_max = FQT_RATE_ONE};
    const struct fqt_zeroth_config zeroth = {.queries = 1, .weight_step = 1, .bias_step = 1, .node_step = 1};
    uint32_t prediction;

    open_model(&model, argv[1]);
    size_t arena_size = fqt_inference_arena_size(&model);
    void *arena = lend(arena_size);
    const uint8_t *sample = lend((size_t)fqt_tensor_elements(&model.tensors[0]));
    CHECK(fqt_network_init(&fixed, &model, FQT_INFERENCE, NULL, 0) == FQT_OK);
    say("open");
    CHECK(fqt_infer(&fixed, arena, arena_size, sample, &prediction, NULL) == FQT_OK);
    say("inference-from-file");

    size_t network_size = fqt_network_memory_size(&model, FQT_TRAINING);
    size_t trainer_size = fqt_trainer_memory_size(&model);
    CHECK(fqt_network_init(&network, &model, FQT_TRAINING, lend(network_size), network_size) == FQT_OK);
    CHECK(fqt_trainer_init(&trainer, &network, &config, lend(trainer_size), trainer_size) == FQT_OK);
    say("init");
    CHECK(fqt_infer(&network, arena, arena_size, sample, &prediction, NULL) == FQT_OK);
    say("inference");
    CHECK(fqt_train_sample(&trainer, sample, 0, NULL) == FQT_OK);
    say("sample");
    CHECK(fqt_train_update(&trainer) == FQT_OK);
    say("update");
    (void)fqt_state_crc(&trainer);
    say("checksum");

    size_t zeroth_size = fqt_zeroth_memory_size(&model, &zeroth);
    CHECK(fqt_zeroth_init(&zeroth_trainer, &network, &config, &zeroth, lend(zeroth_size), zeroth_size) == FQT_OK);
    say("zeroth-init");
    CHECK(fqt_zeroth_sample(&zeroth_trainer, sample, 0, NULL) == FQT_OK);
    say("zeroth-sample");
    return 0;
}
