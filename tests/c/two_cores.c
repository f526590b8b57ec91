/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Two threads stand for two cores: two_cores MODEL locked|alone. One trains, the other infers all the while; each
 * inference must see one whole version, never an older one than the last, and training must end as it does without
 * company. ThreadSanitizer says whether they ever touched the same bytes at once: with fqt_network_share() never.
 */
#include "model.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { UPDATES = 40, BATCH = 2 };

static struct fqt_model model;
static const uint8_t *sample;
static size_t logits_size;

/* ---- What both sides have ---- */

struct session {
    struct fqt_network network;
    struct fqt_trainer trainer;
    void *arena;
};

static void start(struct session *s) {
    const struct fqt_train_config config = {
        .batch_size = BATCH, .learning_rate = 0.05f, .lambda_min = 2048, .lambda_max = 4096, .seed = 9};
    size_t network_size = fqt_network_memory_size(&model, FQT_TRAINING);
    size_t trainer_size = fqt_trainer_memory_size(&model);
    CHECK(fqt_network_init(&s->network, &model, FQT_TRAINING, lend(network_size), network_size) == FQT_OK);
    CHECK(fqt_trainer_init(&s->trainer, &s->network, &config, lend(trainer_size), trainer_size) == FQT_OK);
    s->arena = lend(fqt_inference_arena_size(&model));
}

static void train(struct session *s) {
    for (uint32_t i = 0; i < BATCH; i++) {
        CHECK(fqt_train_step(&s->trainer, sample, i % fqt_model_classes(&model), NULL) == FQT_OK);
    }
}

static const void *infer(struct session *s) {
    uint32_t prediction;
    const void *logits;
    size_t size = fqt_inference_arena_size(&model);
    CHECK(fqt_infer(&s->network, s->arena, size, sample, &prediction, &logits) == FQT_OK);
    return logits;
}

/* ---- Versions, from a run without company ---- */

static uint8_t *versions[UPDATES + 1]; /* their logits */

static uint32_t find_versions(void) {
    static struct session calm;
    start(&calm);
    for (uint32_t i = 0; i <= UPDATES; i++) {
        if (i > 0) {
            train(&calm);
        }
        versions[i] = lend(logits_size);
        memcpy(versions[i], infer(&calm), logits_size);
    }
    CHECK(memcmp(versions[0], versions[UPDATES], logits_size) != 0);
    return fqt_state_crc(&calm.trainer);
}

/* ---- Both at once ---- */

static struct session busy;
static atomic_uint inferences; /* relaxed: it must not order what the lock has to order */
static atomic_bool trained;

static void *infer_all_the_while(void *unused) {
    uint32_t seen = 0;
    while (!atomic_load_explicit(&trained, memory_order_relaxed)) {
        const void *logits = infer(&busy);
        while (memcmp(versions[seen], logits, logits_size) != 0) {
            seen++;
            CHECK(seen <= UPDATES); /* torn, or older */
        }
        atomic_fetch_add_explicit(&inferences, 1, memory_order_relaxed);
    }
    return unused;
}

static void train_in_company(void) {
    for (uint32_t i = 0; i < UPDATES; i++) {
        unsigned int before = atomic_load_explicit(&inferences, memory_order_relaxed);
        train(&busy);
        while (atomic_load_explicit(&inferences, memory_order_relaxed) == before) {
            sched_yield();
        }
    }
    atomic_store_explicit(&trained, true, memory_order_relaxed);
}

/* ---- The lock ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void take(void *user) {
    CHECK(pthread_mutex_lock(user) == 0);
}

static void release(void *user) {
    CHECK(pthread_mutex_unlock(user) == 0);
}

int main(int argc, char **argv) {
    static const struct fqt_lock lock = {take, release, &mutex};
    pthread_t other;
    CHECK(argc == 3);
    open_model(&model, argv[1]);
    sample = lend((size_t)fqt_tensor_elements(&model.tensors[0]));
    logits_size = (size_t)fqt_tensor_bytes(&model, model.header->n_tensors - 1);
    uint32_t crc = find_versions();
    start(&busy);
    if (strcmp(argv[2], "locked") == 0) {
        fqt_network_share(&busy.network, &lock);
    }
    CHECK(pthread_create(&other, NULL, infer_all_the_while, NULL) == 0);
    train_in_company();
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(fqt_state_crc(&busy.trainer) == crc);
    printf("%u inferences\n", atomic_load(&inferences));
    return 0;
}
