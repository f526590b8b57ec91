/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Training: one sample through the network and back; the minibatch (SPEC.md sections 5-8, order in section 7).
 *
 * RAM: 5 bytes a trained uint8 weight (byte + gradient) and 8 bytes a bias (two int32), as in the paper; 8 and 8 in
 * float32; 16 bytes a layer, from the first trained one on, for where its pieces lie. New parameters are made in the
 * gradients' place, so no weight is kept twice. Feature maps and errors lie where the model file plans them (section
 * 14). See network.h for what inference may do meanwhile.
 */
#ifndef FQT_TRAIN_STEP_H
#define FQT_TRAIN_STEP_H

#include <fqt/network.h>
#include <fqt/standardized_sgd.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Which errors are rounded by random words instead of half up (SPEC.md 16.2). */
enum fqt_stochastic_errors {
    FQT_STOCHASTIC_LOSS = 0, /**< those at quantized logits */
    FQT_STOCHASTIC_NONE = 1,
#if FQT_WITH_STOCHASTIC_ERRORS
    FQT_STOCHASTIC_ALL = 2,
#endif
};

/** Hyperparameters. What the build leaves out (config.h) has no place here: a program that asks for it does not
 * compile. */
struct fqt_train_config {
    uint32_t batch_size; /**< samples a minibatch, 1..65536; times positions of a trained layer at most 65536 */
    float learning_rate; /**< finite, >= 0 */
    int32_t lambda_min;  /**< share of channels to train (Eq. 9), Q12, see fqt_lambda_q12(); 0 <= lambda_min */
    int32_t lambda_max;  /**< lambda_min <= lambda_max <= 4096 */
    uint32_t seed;       /**< of the stochastic rounding of weights and errors */
    bool sparse_last;    /**< whether the last layer with weights takes part in sparse updates */
    enum fqt_stochastic_errors stochastic_errors;
#if FQT_WITH_WEIGHT_RANGES
    enum fqt_weight_range weight_range;
    float range_rate; /**< of FQT_MOVING_AVERAGE: 0 < range_rate <= 1 */
#endif
};

/** What an observer is told: the records of a trace (SPEC.md section 12). */
enum fqt_event {
    FQT_EVENT_OUTPUT = 1,         /**< output of a layer */
    FQT_EVENT_LOSS = 2,           /**< struct fqt_loss */
    FQT_EVENT_ERROR = 3,          /**< error at a tensor */
    FQT_EVENT_SELECTED_ERROR = 4, /**< error at a layer's output after sparse selection */
    FQT_EVENT_GRADIENT = 5,       /**< weight gradient of a layer so far */
    FQT_EVENT_BIAS_GRADIENT = 6,  /**< bias gradient of a layer so far */
    FQT_EVENT_WEIGHTS = 7,        /**< weights of a layer; from here on the state, in the order of section 11 */
    FQT_EVENT_BIAS = 8,           /**< biases of a layer */
    FQT_EVENT_WEIGHT_GRID = 9,    /**< weight scale and zero point of a layer */
    FQT_EVENT_TENSOR = 10,        /**< scale, zero point, lo, hi and error scale of a tensor */
    FQT_EVENT_COUNTERS = 11,      /**< largest loss, number of updates */
    FQT_EVENT_RESIDUALS = 12,     /**< gradient of a quantized layer: after an update, the residuals of its weights */
    FQT_EVENT_WEIGHT_RANGES = 14, /**< moving averages of the ranges of a quantized layer's weight grids */
};

/** Called with data that is valid during the call. index: of the layer or tensor. */
typedef void fqt_observer(void *user, enum fqt_event kind, uint32_t index, const void *data, uint32_t bytes);

struct fqt_trainer;

/** How a trained quantized layer's sums count. */
struct fqt_gradient_units {
    int32_t fraction_bits; /**< low bits of its gradient that the residuals take (SPEC.md 6.1) */
    float bias_scale;      /**< real value of 1 in its bias gradient */
};

/** Of layer l. */
typedef struct fqt_gradient_units fqt_gradient_units_function(const struct fqt_trainer *trainer, uint32_t l);

/** A network in training. Fill with fqt_trainer_init(); the fields are the library's. */
struct fqt_trainer {
    struct fqt_network *network;
    struct fqt_train_config config;
    uint8_t *arena;         /**< feature maps and errors */
    uint32_t *places;       /**< [layers from the first trained one on]: where each one's are in the sums */
    uint8_t *sums;          /**< gradients and what else a minibatch adds up */
    uint8_t *next;          /**< the small part of the next version */
    void *scratch;          /**< derived values of one layer, norms and list of the sparse selection */
    const uint8_t *sample;  /**< tensor 0 */
    uint32_t last_weighted; /**< layer */
    uint32_t loss_max;      /**< Q16 */
    uint32_t step;          /**< updates so far */
    uint32_t samples;       /**< accumulated since the last update */
    fqt_observer *observe;
    void *observe_user;
    fqt_gradient_units_function *units; /**< of the sums: what errors give, or estimates */
};

/** A share 0..1 of channels as Q12: fround(lambda * 4096). */
int32_t fqt_lambda_q12(float lambda);

/** Bytes of memory that fqt_trainer_init() needs; SIZE_MAX if the network is too large for any. */
size_t fqt_trainer_memory_size(const struct fqt_model *model);

/**
 * Prepares training of a network made with FQT_TRAINING. memory: the caller's, aligned to 4 bytes, has to stay.
 * Errors: ARGUMENT (also a hyperparameter out of its range), NOT_TRAINABLE, BOUND (positions * batch size), MEMORY.
 * Call it while nothing runs on the network. Later calls fail only for null pointers, a label out of range, and samples
 * beyond batch_size.
 */
enum fqt_status fqt_trainer_init(struct fqt_trainer *trainer, struct fqt_network *network,
                                 const struct fqt_train_config *config, void *memory, size_t size);

/** Sets or clears (NULL) a function that sees every intermediate value, for tests. */
void fqt_trainer_observe(struct fqt_trainer *trainer, fqt_observer *observe, void *user);

/** Shows the state to a function, in the order of SPEC.md section 11. Not during training calls. */
void fqt_trainer_visit(const struct fqt_trainer *trainer, fqt_observer *visit, void *user);

/**
 * One sample forward and backward; adds to the minibatch's sums. sample: uint8[h][w][c] of tensor 0; result: may be
 * NULL. Errors: ARGUMENT, LABEL, BOUND (batch_size samples already wait for an update); nothing has changed then.
 */
enum fqt_status fqt_train_sample(struct fqt_trainer *trainer, const uint8_t *sample, uint32_t label,
                                 struct fqt_loss *result);

/** Ends the minibatch with the samples accumulated so far: update rule, scales, commit. Nothing happens without
 * samples. */
enum fqt_status fqt_train_update(struct fqt_trainer *trainer);

/** fqt_train_sample(), and fqt_train_update() once batch_size samples are accumulated. */
enum fqt_status fqt_train_step(struct fqt_trainer *trainer, const uint8_t *sample, uint32_t label,
                               struct fqt_loss *result);

/** Checksum of the state (SPEC.md section 11). */
uint32_t fqt_state_crc(const struct fqt_trainer *trainer);

#ifdef __cplusplus
}
#endif

#endif
