/* SPDX-License-Identifier: Apache-2.0 */
#include "golden_run.h"

#include "replay.h"

#include <string.h>
#include <zephyr/ztest.h>

#define TRAJECTORY 100

/* Arrays of a trajectory (SPEC.md section 12). */
enum { MODEL, NUMBERS, LEARNING_RATE, SAMPLES, LABELS, RESULTS, CHECKSUMS };

struct fqt_network run_network;
struct fqt_trainer run_trainer;
volatile bool run_is_training;
volatile bool run_is_updating;

static uint64_t work_memory[CONFIG_FQT_TEST_WORK_MEMORY / 8];
static struct replay_case golden;
static struct fqt_model model;

static const uint32_t *words(int array) {
    return golden.arrays[array].data;
}

static struct fqt_train_config config_of_golden(void) {
    const uint32_t *n = words(NUMBERS);
    struct fqt_train_config config = {.batch_size = n[0],
                                      .seed = n[1],
                                      .lambda_min = (int32_t)n[2],
                                      .lambda_max = (int32_t)n[3],
                                      .sparse_last = n[4] != 0};
    memcpy(&config.learning_rate, golden.arrays[LEARNING_RATE].data, sizeof config.learning_rate);
    return config;
}

void run_open(const uint8_t *image, const uint8_t *end) {
    struct replay_file file;
    zassert_equal(replay_open(&file, image, (size_t)(end - image)), 0);
    zassert_equal(replay_next(&file, &golden), 1);
    zassert_equal(golden.kind, TRAJECTORY);
    zassert_equal(fqt_model_open(&model, golden.arrays[MODEL].data, golden.arrays[MODEL].count), FQT_OK);
    size_t network_size = fqt_network_memory_size(&model, FQT_TRAINING);
    size_t trainer_at = (network_size + 7) / 8;
    zassert_true(8 * trainer_at + fqt_trainer_memory_size(&model) <= sizeof work_memory, "%u bytes are too few",
                 (unsigned int)sizeof work_memory);
    zassert_equal(fqt_network_init(&run_network, &model, FQT_TRAINING, work_memory, network_size), FQT_OK);
    struct fqt_train_config config = config_of_golden();
    zassert_equal(fqt_trainer_init(&run_trainer, &run_network, &config, work_memory + trainer_at,
                                   sizeof work_memory - 8 * trainer_at),
                  FQT_OK);
}

static const uint8_t *sample(uint32_t i) {
    return (const uint8_t *)golden.arrays[SAMPLES].data + i * (uint32_t)fqt_tensor_elements(&model.tensors[0]);
}

const uint8_t *run_probe(void) {
    return sample(0);
}

uint32_t run_updates(void) {
    return golden.arrays[CHECKSUMS].count;
}

/* One sample, and the update where one is due; whether one was. */
static bool train(uint32_t i, struct fqt_loss *loss) {
    uint32_t at = i % words(NUMBERS)[5];
    run_is_training = true;
    enum fqt_status status = fqt_train_sample(&run_trainer, sample(at), words(LABELS)[at], loss);
    bool due = run_trainer.samples == run_trainer.config.batch_size;
    if (due && status == FQT_OK) {
        run_is_updating = true;
        status = fqt_train_update(&run_trainer);
        run_is_updating = false;
    }
    run_is_training = false;
    zassert_equal(status, FQT_OK);
    return due;
}

void run_train(void (*after_update)(void)) {
    for (uint32_t i = 0; i < words(NUMBERS)[6]; i++) {
        struct fqt_loss loss;
        bool updated = train(i, &loss);
        zassert_equal(loss.loss, words(RESULTS)[2 * i], "loss of step %u", i);
        zassert_equal(loss.prediction, words(RESULTS)[2 * i + 1], "prediction of step %u", i);
        if (updated) {
            uint32_t update = run_trainer.step - 1;
            zassert_equal(fqt_state_crc(&run_trainer), words(CHECKSUMS)[update], "state after update %u", update);
        }
        if (updated && after_update != NULL) {
            after_update();
        }
    }
}
