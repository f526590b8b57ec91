/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Trains models on an emulated core, each part of a step between the marks of count.h.
 *
 * QEMU has put a bundle at FQT_GOLDEN_ADDRESS: "FQS1", u32 its bytes, u32 bytes of the memory behind it, u32 runs;
 * each: u32 bytes of the model, u32 samples, u32 bytes of a sample, u32 Q12 share of channels to train, u32[7] the
 * fields of struct fqt_zeroth_config; the model, u32 labels, the samples; all padded to 4 bytes. Compiled with
 * FQT_STEPS_ZEROTH it trains without back-propagation; without, it ignores those seven. Lines: "begin status" of a run;
 * "event index" of each part of a sample, the event that ended it (enum fqt_event); "update" of the update; "stack
 * bytes" of a sample. Exit code 0.
 */
#include "count.h"

#include <fqt/fqt.h>
#include <stdio.h>
#include <string.h>

#define BATCH 48     /* samples a minibatch is planned for: the gradients' fraction bits follow from it */
#define PAINTED 8192 /* bytes of stack that are watched */
#define PAINT 0xa5

struct run {
    uint32_t model_bytes, samples, sample_bytes, rate;
    uint32_t queries, weight_step, bias_step, node_step, antithetic, first_node, exact_last;
};

/* ---- The trainer that is compiled: one alone, so that the linked library is as small as an application's ---- */

#ifdef FQT_STEPS_ZEROTH

static struct fqt_zeroth_trainer zeroth_trainer;
static struct fqt_trainer *const trainer = &zeroth_trainer.base;

static enum fqt_status trainer_init(struct fqt_network *network, const struct fqt_train_config *config,
                                    const struct run *run, void *memory, size_t size) {
    const struct fqt_zeroth_config zeroth = {.queries = run->queries,
                                             .weight_step = run->weight_step,
                                             .bias_step = run->bias_step,
                                             .node_step = run->node_step,
                                             .antithetic = run->antithetic != 0,
                                             .first_node = run->first_node,
                                             .exact_last = run->exact_last != 0};
    return fqt_zeroth_init(&zeroth_trainer, network, config, &zeroth, memory, size);
}

static void train_sample(const uint8_t *sample, uint32_t label) {
    (void)fqt_zeroth_sample(&zeroth_trainer, sample, label, NULL);
}

#else

static struct fqt_trainer own_trainer;
static struct fqt_trainer *const trainer = &own_trainer;

static enum fqt_status trainer_init(struct fqt_network *network, const struct fqt_train_config *config,
                                    const struct run *run, void *memory, size_t size) {
    (void)run;
    return fqt_trainer_init(&own_trainer, network, config, memory, size);
}

static void train_sample(const uint8_t *sample, uint32_t label) {
    (void)fqt_train_sample(&own_trainer, sample, label, NULL);
}

#endif

/* ---- Steps ---- */

static uint32_t padded(uint32_t bytes) {
    return (bytes + 3u) & ~3u;
}

/* Ends a part of the step and begins the next. */
static void on_event(void *user, enum fqt_event kind, uint32_t index, const void *data, uint32_t bytes) {
    (void)user;
    (void)data;
    (void)bytes;
    count_stop();
    printf("%d %lu\n", (int)kind, (unsigned long)index);
    count_start();
}

/* One sample, watching its stack. */
static void train_watched(const uint8_t *sample, uint32_t label) {
    volatile uint8_t *stack;
    uint32_t used = PAINTED;
    __asm__ volatile("mov %0, sp" : "=r"(stack));
    for (int32_t i = 1; i <= PAINTED; i++) {
        stack[-i] = PAINT;
    }
    train_sample(sample, label);
    while (used > 0 && stack[-(int32_t)used] == PAINT) {
        used--;
    }
    printf("stack %lu\n", (unsigned long)used);
}

static void train(const struct run *run, const uint8_t *data) {
    const uint8_t *samples = data + 4 * run->samples;
    for (uint32_t i = 0; i < run->samples; i++) {
        uint32_t label;
        memcpy(&label, data + 4 * i, sizeof label);
        fqt_trainer_observe(trainer, on_event, NULL);
        count_start();
        train_sample(samples + (size_t)i * run->sample_bytes, label);
        count_stop();
        printf("0 0\n");
    }
    fqt_trainer_observe(trainer, NULL, NULL);
    count_start();
    fqt_train_update(trainer);
    count_stop();
    printf("update\n");
    train_watched(samples, 0);
}

int main(void) {
    const uint8_t *at = (const uint8_t *)FQT_GOLDEN_ADDRESS;
    uint32_t head[4];
    memcpy(head, at, sizeof head);
    if (memcmp(head, "FQS1", 4) != 0) {
        printf("not a bundle\n");
        return 2;
    }
    uint8_t *memory = (uint8_t *)FQT_GOLDEN_ADDRESS + ((head[1] + 7u) & ~7u);
    at += sizeof head;
    for (uint32_t i = 0; i < head[3]; i++) {
        static struct fqt_network network;
        struct fqt_model model;
        struct run run;
        memcpy(&run, at, sizeof run);
        at += sizeof run;
        const struct fqt_train_config config = {.batch_size = BATCH,
                                                .learning_rate = 0.001f,
                                                .lambda_min = (int32_t)run.rate,
                                                .lambda_max = (int32_t)run.rate};
        enum fqt_status status = fqt_model_open(&model, at, run.model_bytes);
        at += padded(run.model_bytes);
        size_t bytes = status == FQT_OK ? padded((uint32_t)fqt_network_memory_size(&model, FQT_TRAINING)) : 0;
        if (status == FQT_OK) {
            status = fqt_network_init(&network, &model, FQT_TRAINING, memory, bytes);
        }
        if (status == FQT_OK) {
            status = trainer_init(&network, &config, &run, memory + bytes, head[2] - bytes);
        }
        printf("begin %d\n", (int)status);
        if (status == FQT_OK) {
            train(&run, at);
        }
        at += 4 * run.samples + padded(run.samples * run.sample_bytes);
    }
    return 0;
}
