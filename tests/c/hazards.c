/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Hazards of the C library, for sanitizers: hazards files|commit|errors|open
 * MODEL. Exit code 0 if all is well; says what is not. "open" prints what
 * opening the model gives.
 *
 * The library is compiled with -Dmemcpy=hooked_memcpy, so that "commit" can
 * preempt it inside every copy.
 */
#undef memcpy
#include <fqt/fqt.h>
#include <string.h>

#include "check.h"

#define MOST_MEMORY (1u << 24)

static void (*preempt)(void);

void *hooked_memcpy(void *to, const void *from, size_t n);

/* Copies byte by byte; a thread of higher priority may run before each. */
void *hooked_memcpy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (preempt != NULL) {
            preempt();
        }
        ((volatile uint8_t *)to)[i] = ((const volatile uint8_t *)from)[i];
    }
    return to;
}

/* A sample of pseudo-random bytes. */
static uint8_t *new_sample(const struct fqt_model *model, uint32_t seed) {
    size_t n = (size_t)fqt_tensor_elements(&model->tensors[0]);
    uint8_t *sample = malloc(n);
    CHECK(sample != NULL);
    for (size_t i = 0; i < n; i++) {
        sample[i] = (uint8_t)fqt_random_word(seed, (uint32_t)i);
    }
    return sample;
}

/* A network and its trainer with memory of exactly the sizes asked for. */
struct session {
    struct fqt_network network;
    struct fqt_trainer trainer;
    void *network_memory;
    void *trainer_memory;
    void *arena;
    size_t arena_size;
};

static const struct fqt_train_config config = {
    .batch_size = 2, .learning_rate = 0.05f, .lambda_min = 1500, .lambda_max = 4096, .seed = 9, .sparse_last = true};

/* False if it would take too much memory or cannot be trained. */
static bool start(struct session *s, const struct fqt_model *model) {
    size_t network_size = fqt_network_memory_size(model, FQT_TRAINING);
    size_t trainer_size = fqt_trainer_memory_size(model);
    s->arena_size = fqt_inference_arena_size(model);
    if (network_size > MOST_MEMORY || trainer_size > MOST_MEMORY || s->arena_size > MOST_MEMORY ||
        fqt_tensor_elements(&model->tensors[0]) > MOST_MEMORY) {
        return false;
    }
    s->network_memory = malloc(network_size);
    s->trainer_memory = malloc(trainer_size);
    s->arena = malloc(s->arena_size);
    CHECK(s->network_memory != NULL && s->trainer_memory != NULL && s->arena != NULL);
    CHECK(fqt_network_init(&s->network, model, FQT_TRAINING, s->network_memory, network_size) == FQT_OK);
    enum fqt_status status = fqt_trainer_init(&s->trainer, &s->network, &config, s->trainer_memory, trainer_size);
    CHECK(status == FQT_OK || status == FQT_ERROR_NOT_TRAINABLE || status == FQT_ERROR_BOUND);
    return status == FQT_OK;
}

static void stop(struct session *s) {
    free(s->network_memory);
    free(s->trainer_memory);
    free(s->arena);
    memset(s, 0, sizeof *s);
}

/* ---- files: no model file makes the library crash ---- */

/* What an accepted file describes can be run. */
static void exercise(const struct fqt_model *model) {
    struct session s = {0};
    if (start(&s, model)) {
        uint8_t *sample = new_sample(model, 1);
        uint32_t prediction;
        for (uint32_t i = 0; i < 4; i++) {
            CHECK(fqt_train_step(&s.trainer, sample, i % fqt_model_classes(model), NULL) == FQT_OK);
        }
        CHECK(fqt_infer(&s.network, s.arena, s.arena_size, sample, &prediction, NULL) == FQT_OK);
        CHECK(prediction < fqt_model_classes(model));
        free(sample);
    }
    stop(&s);
}

/* Opens a file in memory of exactly its size; repaired: its size and checksum
 * are made right first. */
static enum fqt_status try_file(const uint8_t *bytes, size_t size, bool repaired, uint32_t *accepted) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes, size);
    if (repaired && size >= 64) {
        uint32_t file_size = (uint32_t)size;
        memcpy(copy + 8, &file_size, 4);
        uint32_t crc = fqt_crc32(0, copy + 16, size - 16);
        memcpy(copy + 12, &crc, 4);
    }
    struct fqt_model model;
    enum fqt_status status = fqt_model_open(&model, copy, size);
    if (status == FQT_OK) {
        (*accepted)++;
        exercise(&model);
    }
    free(copy);
    return status;
}

static void files(uint8_t *bytes, size_t size) {
    uint32_t accepted = 0;
    for (size_t n = 0; n < size; n++) {
        CHECK(try_file(bytes, n, false, &accepted) != FQT_OK);
        CHECK(try_file(bytes, n, true, &accepted) != FQT_OK);
    }
    static const uint8_t flips[] = {0x01, 0x02, 0x7F, 0x80, 0xFF};
    uint32_t answers[12] = {0};
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j < sizeof flips; j++) {
            bytes[i] ^= flips[j];
            enum fqt_status status = try_file(bytes, size, false, &accepted);
            CHECK(status != FQT_OK);
            answers[-try_file(bytes, size, true, &accepted)]++;
            bytes[i] ^= flips[j];
        }
    }
    CHECK(try_file(bytes, size, false, &accepted) == FQT_OK);
    printf("accepted %u, format %u, bound %u\n", accepted, answers[6], answers[7]);
}

/* ---- commit: inference that preempts training sees a whole version ---- */

static struct {
    struct session *session;
    const uint8_t *sample;
    uint8_t *before; /* logits of the old version */
    uint8_t *after;  /* and of the new one; NULL while that is being found out */
    size_t logits_size;
    uint32_t n_before, n_after;
} watch;

static void infer_and_compare(void) {
    preempt = NULL; /* the preempting thread is not preempted itself */
    const void *logits;
    uint32_t prediction;
    struct session *s = watch.session;
    CHECK(fqt_infer(&s->network, s->arena, s->arena_size, watch.sample, &prediction, &logits) == FQT_OK);
    if (memcmp(logits, watch.before, watch.logits_size) == 0) {
        CHECK(watch.n_after == 0); /* never back to the old one */
        watch.n_before++;
    } else {
        CHECK(memcmp(logits, watch.after, watch.logits_size) == 0);
        watch.n_after++;
    }
    preempt = infer_and_compare;
}

static void infer_into(struct session *s, const uint8_t *sample, uint8_t *to, size_t size) {
    const void *logits;
    uint32_t prediction;
    CHECK(fqt_infer(&s->network, s->arena, s->arena_size, sample, &prediction, &logits) == FQT_OK);
    memcpy(to, logits, size);
}

static void commit(const struct fqt_model *model) {
    size_t last = model->header->n_tensors - 1;
    watch.logits_size = (size_t)fqt_tensor_bytes(model, (uint32_t)last);
    watch.before = malloc(watch.logits_size);
    watch.after = malloc(watch.logits_size);
    uint8_t *sample = new_sample(model, 1);
    uint8_t *other = new_sample(model, 2);
    struct session calm = {0};
    struct session busy = {0};
    CHECK(watch.before != NULL && watch.after != NULL && start(&calm, model) && start(&busy, model));
    for (uint32_t update = 0; update < 2; update++) {
        infer_into(&busy, other, watch.before, watch.logits_size);
        CHECK(fqt_train_step(&calm.trainer, sample, 0, NULL) == FQT_OK);
        CHECK(fqt_train_step(&calm.trainer, sample, 1, NULL) == FQT_OK);
        infer_into(&calm, other, watch.after, watch.logits_size);
        CHECK(memcmp(watch.before, watch.after, watch.logits_size) != 0);
        watch.session = &busy;
        watch.sample = other;
        watch.n_before = watch.n_after = 0;
        preempt = infer_and_compare;
        CHECK(fqt_train_step(&busy.trainer, sample, 0, NULL) == FQT_OK);
        CHECK(fqt_train_step(&busy.trainer, sample, 1, NULL) == FQT_OK);
        preempt = NULL;
        CHECK(watch.n_before > 0 && watch.n_after > 0);
        CHECK(fqt_state_crc(&calm.trainer) == fqt_state_crc(&busy.trainer));
        printf("old version seen %u times, new one %u times\n", watch.n_before, watch.n_after);
    }
    stop(&calm);
    stop(&busy);
    free(watch.before);
    free(watch.after);
    free(sample);
    free(other);
}

/* ---- errors: misuse is answered, not suffered ---- */

static void errors(const struct fqt_model *model, const uint8_t *bytes, size_t size) {
    struct fqt_model other;
    CHECK(fqt_model_open(NULL, bytes, size) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_model_open(&other, NULL, size) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_model_open(&other, bytes + 1, size - 1) == FQT_ERROR_ARGUMENT);

    struct session s = {0};
    CHECK(start(&s, model));
    uint8_t *sample = new_sample(model, 1);
    size_t network_size = fqt_network_memory_size(model, FQT_TRAINING);
    size_t trainer_size = fqt_trainer_memory_size(model);
    uint32_t prediction;
    const void *logits;

    /* One byte too few at each border. */
    CHECK(fqt_network_init(&s.network, model, FQT_TRAINING, s.network_memory, network_size - 1) == FQT_ERROR_MEMORY);
    CHECK(fqt_trainer_init(&s.trainer, &s.network, &config, s.trainer_memory, trainer_size - 1) == FQT_ERROR_MEMORY);
    CHECK(fqt_infer(&s.network, s.arena, s.arena_size - 1, sample, &prediction, NULL) == FQT_ERROR_MEMORY);
    CHECK(fqt_infer(&s.network, s.arena, s.arena_size, NULL, &prediction, NULL) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_network_init(&s.network, model, FQT_TRAINING, (uint8_t *)s.network_memory + 1, network_size) ==
          FQT_ERROR_ARGUMENT);

    /* Hyperparameters out of range. */
    const struct fqt_train_config wrong[] = {
        {.batch_size = 0, .lambda_max = 4096},
        {.batch_size = 65537, .lambda_max = 4096},
        {.batch_size = 1, .lambda_max = 4097},
        {.batch_size = 1, .lambda_min = 5, .lambda_max = 4},
        {.batch_size = 1, .lambda_min = -1},
        {.batch_size = 1, .learning_rate = -1.0f},
        {.batch_size = 1, .learning_rate = 1e38f * 10.0f},
        {.batch_size = 1, .stochastic_errors = (enum fqt_stochastic_errors)3},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK(fqt_trainer_init(&s.trainer, &s.network, &wrong[i], s.trainer_memory, trainer_size) ==
              FQT_ERROR_ARGUMENT);
    }
#if FQT_WITH_WEIGHT_RANGES && FQT_WITH_STOCHASTIC_ERRORS
    const struct fqt_train_config wrong_options[] = {
        {.batch_size = 1, .weight_range = (enum fqt_weight_range)(FQT_LITERAL + 1)},
        {.batch_size = 1, .weight_range = FQT_MOVING_AVERAGE},
        {.batch_size = 1, .weight_range = FQT_MOVING_AVERAGE, .range_rate = 1.5f},
        {.batch_size = 1, .weight_range = FQT_MOVING_AVERAGE, .range_rate = 1e38f * 10.0f - 1e38f * 10.0f},
    };
    for (size_t i = 0; i < sizeof wrong_options / sizeof wrong_options[0]; i++) {
        CHECK(fqt_trainer_init(&s.trainer, &s.network, &wrong_options[i], s.trainer_memory, trainer_size) ==
              FQT_ERROR_ARGUMENT);
    }
    const struct fqt_train_config options[] = {{.batch_size = 1, .weight_range = FQT_LITERAL},
                                               {.batch_size = 1, .stochastic_errors = FQT_STOCHASTIC_ALL}};
    const struct fqt_zeroth_config zeroth = {.queries = 1, .weight_step = 1, .node_step = 1};
    static struct fqt_zeroth_trainer zeroth_trainer;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        CHECK(fqt_zeroth_init(&zeroth_trainer, &s.network, &options[i], &zeroth, s.trainer_memory, trainer_size) ==
              FQT_ERROR_UNSUPPORTED);
    }
#endif
    struct fqt_train_config large = config;
    large.batch_size = 65536;
    enum fqt_status status = fqt_trainer_init(&s.trainer, &s.network, &large, s.trainer_memory, trainer_size);
    CHECK(status == (fqt_layer_type(model, 0) == FQT_U8 ? FQT_ERROR_BOUND : FQT_OK));

    /* Labels, and samples beyond the minibatch; nothing changes. */
    stop(&s);
    CHECK(start(&s, model));
    uint32_t crc = fqt_state_crc(&s.trainer);
    CHECK(fqt_train_sample(&s.trainer, sample, fqt_model_classes(model), NULL) == FQT_ERROR_LABEL);
    CHECK(fqt_train_sample(&s.trainer, sample, UINT32_MAX, NULL) == FQT_ERROR_LABEL);
    CHECK(fqt_train_sample(&s.trainer, NULL, 0, NULL) == FQT_ERROR_ARGUMENT);
    CHECK(fqt_train_update(&s.trainer) == FQT_OK && fqt_state_crc(&s.trainer) == crc);
    CHECK(fqt_train_sample(&s.trainer, sample, 0, NULL) == FQT_OK);
    CHECK(fqt_train_sample(&s.trainer, sample, 0, NULL) == FQT_OK);
    crc = fqt_state_crc(&s.trainer);
    CHECK(fqt_train_sample(&s.trainer, sample, 0, NULL) == FQT_ERROR_BOUND && fqt_state_crc(&s.trainer) == crc);

    /* A network that reads its weights from the file infers the same; it cannot
     * be trained. */
    struct session frozen = {0};
    frozen.network_memory = malloc(fqt_network_memory_size(model, FQT_INFERENCE));
    size_t frozen_size = fqt_network_memory_size(model, FQT_INFERENCE);
    CHECK(frozen_size < network_size);
    stop(&s);
    CHECK(start(&s, model));
    CHECK(fqt_network_init(&frozen.network, model, FQT_INFERENCE, frozen.network_memory, frozen_size) == FQT_OK);
    CHECK(fqt_trainer_init(&frozen.trainer, &frozen.network, &config, s.trainer_memory, trainer_size) ==
          FQT_ERROR_ARGUMENT);
    size_t n = (size_t)fqt_tensor_bytes(model, model->header->n_tensors - 1);
    uint8_t *expected = malloc(n);
    CHECK(expected != NULL);
    infer_into(&s, sample, expected, n);
    CHECK(fqt_infer(&frozen.network, s.arena, s.arena_size, sample, &prediction, &logits) == FQT_OK);
    CHECK(memcmp(logits, expected, n) == 0);
    free(expected);
    free(sample);
    stop(&frozen);
    stop(&s);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    FILE *file = fopen(argv[2], "rb");
    CHECK(file != NULL);
    static uint32_t buffer[1 << 18];
    size_t size = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    struct fqt_model model;
    enum fqt_status status = fqt_model_open(&model, buffer, size);
    if (strcmp(argv[1], "open") == 0) {
        printf("%d\n", status);
        return 0;
    }
    CHECK(status == FQT_OK);
    if (strcmp(argv[1], "files") == 0) {
        files((uint8_t *)buffer, size);
    } else if (strcmp(argv[1], "commit") == 0) {
        commit(&model);
    } else {
        CHECK(strcmp(argv[1], "errors") == 0);
        errors(&model, (const uint8_t *)buffer, size);
    }
    return 0;
}
