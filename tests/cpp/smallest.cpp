// SPDX-License-Identifier: Apache-2.0
// zephyr_app/tests/smallest in C++11: the same output, bit for bit.
#include <fqt/fqt.h>
#include <stdio.h>

extern "C" const uint8_t model_file[], model_file_end[];

namespace {

// What a program lends to the library.
class Learner {
  public:
    Learner() : network(), trainer() {
    }

    fqt_status begin(const uint8_t *file, size_t size) {
        fqt_train_config config = fqt_train_config();
        config.batch_size = 1;
        config.learning_rate = 0.01f;
        config.lambda_min = config.lambda_max = FQT_RATE_ONE;
        fqt_model model;
        fqt_status status = fqt_model_open(&model, file, size);
        if (status == FQT_OK) {
            status = fqt_network_init(&network, &model, FQT_TRAINING, network_memory, sizeof network_memory);
        }
        if (status == FQT_OK) {
            status = fqt_trainer_init(&trainer, &network, &config, trainer_memory, sizeof trainer_memory);
        }
        return status;
    }

    fqt_status step(const uint8_t *sample, uint32_t label, uint32_t &prediction, fqt_loss &loss) {
        fqt_status status = fqt_infer(&network, arena, sizeof arena, sample, &prediction, nullptr);
        return status == FQT_OK ? fqt_train_step(&trainer, sample, label, &loss) : status;
    }

  private:
    fqt_network network;
    fqt_trainer trainer;
    uint64_t network_memory[512], trainer_memory[2048], arena[256];
};

Learner learner;
const uint8_t sample[64] = {255, 128};

} // namespace

int main() {
    if (learner.begin(model_file, static_cast<size_t>(model_file_end - model_file)) != FQT_OK) {
        return 1;
    }
    for (int i = 0; i < 10; i++) {
        uint32_t prediction;
        fqt_loss loss;
        if (learner.step(sample, 3, prediction, loss) != FQT_OK) {
            return 1;
        }
        printf("class %d, loss %d/1000\n", static_cast<int>(prediction), static_cast<int>(loss.loss * 1000 >> 16));
    }
    return 0;
}
