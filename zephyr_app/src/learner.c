/* SPDX-License-Identifier: Apache-2.0 */
#include "learner.h"

#include "console.h"
#include "sample_queue.h"
#include "settings.h"

#include <zephyr/kernel.h>

extern const uint8_t embedded_model[], embedded_model_end[];
extern const uint8_t embedded_samples[], embedded_samples_end[];

static struct fqt_model model;
static struct fqt_network network;
static struct sample_set samples;

/* ---- The trainer that Kconfig chose ---- */

#ifdef CONFIG_FQT_APP_ZEROTH_ORDER

static struct fqt_zeroth_trainer zeroth_trainer;
static struct fqt_trainer *const trainer = &zeroth_trainer.base;

static size_t trainer_memory_size(void) {
    return fqt_zeroth_memory_size(&model, &settings_estimates);
}

static enum fqt_status trainer_init(void) {
    return fqt_zeroth_init(&zeroth_trainer, &network, &settings_hyperparameters, &settings_estimates,
                           settings_trainer.bytes, settings_trainer.size);
}

static enum fqt_status train_step(const uint8_t *sample, uint32_t label, struct fqt_loss *loss) {
    return fqt_zeroth_step(&zeroth_trainer, sample, label, loss);
}

#else

static struct fqt_trainer own_trainer;
static struct fqt_trainer *const trainer = &own_trainer;

static size_t trainer_memory_size(void) {
    return fqt_trainer_memory_size(&model);
}

static enum fqt_status trainer_init(void) {
    return fqt_trainer_init(trainer, &network, &settings_hyperparameters, settings_trainer.bytes,
                            settings_trainer.size);
}

static enum fqt_status train_step(const uint8_t *sample, uint32_t label, struct fqt_loss *loss) {
    return fqt_train_step(trainer, sample, label, loss);
}

#endif

/* ---- Init ---- */

static bool enough(const char *option, size_t needed, size_t given) {
    console_print("fqt: memory %s %u of %u bytes", option, (unsigned int)needed, (unsigned int)given);
    if (needed > given) {
        console_print("fqt: error: the model needs %u bytes: raise CONFIG_FQT_APP_%s_BYTES from %u",
                      (unsigned int)needed, option, (unsigned int)given);
    }
    return needed <= given;
}

static bool open_files(void) {
    enum fqt_status status = fqt_model_open(&model, embedded_model, (size_t)(embedded_model_end - embedded_model));
    if (status == FQT_ERROR_UNSUPPORTED) {
        console_print(
            "fqt: error: the embedded model has a layer that this build leaves out: set all CONFIG_FQT_OP_... and "
            "CONFIG_FQT_FLOAT32 that it needs");
        return false;
    }
    if (status != FQT_OK) {
        console_print(
            "fqt: error: the embedded model is refused with %d (fqt/status.h): write it again with 'fqt deploy'",
            status);
        return false;
    }
    const char *problem = sample_set_open(&samples, embedded_samples, (size_t)(embedded_samples_end - embedded_samples),
                                          (uint32_t)fqt_tensor_elements(&model.tensors[0]), fqt_model_classes(&model));
    if (problem != NULL) {
        console_print("fqt: error: the embedded samples: %s: write them again with 'fqt deploy'", problem);
    }
    return problem == NULL;
}

/* All of them, so that one build tells everything that is missing. */
static bool memory_suffices(void) {
    bool network_fits = enough("NETWORK", fqt_network_memory_size(&model, FQT_TRAINING), settings_network.size);
    bool trainer_fits = enough("TRAINER", trainer_memory_size(), settings_trainer.size);
    bool inference_fits = enough("INFERENCE", fqt_inference_arena_size(&model), settings_inference.size);
    bool queue_fits = enough("QUEUE", sizeof(struct sample) + samples.sample_bytes, settings_queue.size);
    return network_fits && trainer_fits && inference_fits && queue_fits;
}

bool learner_init(void) {
    if (!open_files() || !memory_suffices()) {
        return false;
    }
    enum fqt_status status =
        fqt_network_init(&network, &model, FQT_TRAINING, settings_network.bytes, settings_network.size);
    if (status == FQT_OK) {
        status = trainer_init();
    }
    if (status == FQT_ERROR_NOT_TRAINABLE) {
        console_print("fqt: error: no layer of the embedded model is trainable: deploy one that has some");
    } else if (status == FQT_ERROR_UNSUPPORTED) {
        console_print("fqt: error: only quantized layers learn without back-propagation: deploy a model with those");
    } else if (status == FQT_ERROR_BOUND) {
        console_print("fqt: error: sums of %d samples could overflow: lower CONFIG_FQT_APP_BATCH_SIZE",
                      (int)settings_hyperparameters.batch_size);
    } else if (status != FQT_OK) {
        console_print("fqt: error: training is refused with %d (fqt/status.h)", status);
    }
    return status == FQT_OK;
}

const struct sample_set *learner_samples(void) {
    return &samples;
}

uint32_t learner_infer(const uint8_t *sample) {
    uint32_t prediction = 0;
    (void)fqt_infer(&network, settings_inference.bytes, settings_inference.size, sample, &prediction,
                    NULL); /* sizes were checked */
    return prediction;
}

enum fqt_status learner_train(const uint8_t *sample, uint32_t label, struct fqt_loss *loss) {
    return train_step(sample, label, loss);
}

void learner_update(void) {
    (void)fqt_train_update(trainer);
}

uint32_t learner_classes(void) {
    return fqt_model_classes(&model);
}

void learner_visit(fqt_observer *visit, void *user) {
    fqt_trainer_visit(trainer, visit, user);
}

uint32_t learner_updates(void) {
    return trainer->step;
}

uint32_t learner_checksum(void) {
    return fqt_state_crc(trainer);
}
