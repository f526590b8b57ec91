/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Measures models on an emulated core: the library's memory sizes, and the time of training samples on a timer. Under
 * QEMU's `-icount shift=0` an instruction takes a nanosecond, so time counts instructions.
 *
 * QEMU has put a bundle at FQT_GOLDEN_ADDRESS: "FQM1", u32 its bytes, u32 bytes of the memory behind it, u32 models;
 * each: u32 bytes of the file, u32 samples, u32 bytes of a sample; the file, u32 labels, the samples; all padded to 4
 * bytes. One line a model: "network trainer inference status ticks". Exit code 0.
 */
#include "timer.h"

#include <fqt/fqt.h>
#include <stdio.h>
#include <string.h>

struct bundle {
    char magic[4];
    uint32_t bytes;
    uint32_t memory_bytes;
    uint32_t models;
};

struct job {
    uint32_t model_bytes;
    uint32_t samples;
    uint32_t sample_bytes;
};

static uint32_t padded(uint32_t bytes) {
    return (bytes + 7u) & ~7u;
}

/* Trains all samples, without an update; the ticks it took. */
static enum fqt_status train(const struct fqt_model *model, const struct job *job, const uint8_t *data, uint8_t *memory,
                             uint32_t memory_bytes, uint32_t *ticks) {
    const struct fqt_train_config config = {
        .batch_size = job->samples, .learning_rate = 0.01f, .lambda_min = FQT_RATE_ONE, .lambda_max = FQT_RATE_ONE};
    static struct fqt_network network;
    static struct fqt_trainer trainer;
    uint32_t network_bytes = padded((uint32_t)fqt_network_memory_size(model, FQT_TRAINING));
    if (network_bytes > memory_bytes) {
        return FQT_ERROR_MEMORY;
    }
    enum fqt_status status = fqt_network_init(&network, model, FQT_TRAINING, memory, network_bytes);
    if (status == FQT_OK) {
        status =
            fqt_trainer_init(&trainer, &network, &config, memory + network_bytes, (size_t)memory_bytes - network_bytes);
    }
    const uint8_t *samples = data + 4 * job->samples;
    uint32_t start = timer_now();
    for (uint32_t i = 0; i < job->samples && status == FQT_OK; i++) {
        uint32_t label;
        memcpy(&label, data + 4 * i, sizeof label);
        status = fqt_train_sample(&trainer, samples + (size_t)i * job->sample_bytes, label, NULL);
    }
    *ticks = timer_now() - start;
    return status;
}

int main(void) {
    const struct bundle *bundle = (const struct bundle *)FQT_GOLDEN_ADDRESS;
    uint8_t *at = (uint8_t *)FQT_GOLDEN_ADDRESS + sizeof *bundle;
    uint8_t *memory = (uint8_t *)FQT_GOLDEN_ADDRESS + padded(bundle->bytes);
    if (memcmp(bundle->magic, "FQM1", 4) != 0) {
        printf("not a bundle\n");
        return 2;
    }
    timer_start();
    for (uint32_t i = 0; i < bundle->models; i++) {
        struct job job;
        memcpy(&job, at, sizeof job);
        at += sizeof job;
        struct fqt_model model;
        enum fqt_status status = fqt_model_open(&model, at, job.model_bytes);
        at += (job.model_bytes + 3u) & ~3u;
        unsigned long sizes[3] = {0};
        uint32_t ticks = 0;
        if (status == FQT_OK) {
            sizes[0] = (unsigned long)fqt_network_memory_size(&model, FQT_TRAINING);
            sizes[1] = (unsigned long)fqt_trainer_memory_size(&model);
            sizes[2] = (unsigned long)fqt_inference_arena_size(&model);
            if (job.samples > 0) {
                status = train(&model, &job, at, memory, bundle->memory_bytes, &ticks);
            }
        }
        at += 4 * job.samples + ((job.samples * job.sample_bytes + 3u) & ~3u);
        printf("%lu %lu %lu %d %lu\n", sizes[0], sizes[1], sizes[2], (int)status, (unsigned long)ticks);
    }
    return 0;
}
