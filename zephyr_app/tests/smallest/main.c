/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest program that uses the library: infers and learns one sample. */
#include <fqt/fqt.h>
#include <stdio.h>

extern const uint8_t model_file[], model_file_end[];

static uint64_t network_memory[512], trainer_memory[2048], arena[256];
static const uint8_t sample[64] = {255, 128}; /* of the size of the model's input */
static const uint32_t label = 3;

int main(void) {
    static struct fqt_model model;
    static struct fqt_network network;
    static struct fqt_trainer trainer;
    const struct fqt_train_config config = {
        .batch_size = 1, .learning_rate = 0.01f, .lambda_min = FQT_RATE_ONE, .lambda_max = FQT_RATE_ONE};

    if (fqt_model_open(&model, model_file, (size_t)(model_file_end - model_file)) != FQT_OK ||
        fqt_network_init(&network, &model, FQT_TRAINING, network_memory, sizeof network_memory) != FQT_OK ||
        fqt_trainer_init(&trainer, &network, &config, trainer_memory, sizeof trainer_memory) != FQT_OK) {
        printf("error, see fqt/status.h\n");
        return 1;
    }
    for (int step = 0; step < 10; step++) {
        uint32_t prediction;
        struct fqt_loss loss;
        if (fqt_infer(&network, arena, sizeof arena, sample, &prediction, NULL) != FQT_OK ||
            fqt_train_step(&trainer, sample, label, &loss) != FQT_OK) {
            printf("error, see fqt/status.h\n");
            return 1;
        }
        printf("class %d, loss %d/1000\n", (int)prediction, (int)(loss.loss * 1000 >> 16));
    }
    return 0;
}
