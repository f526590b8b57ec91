/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Training without back-propagation: gradients of quantized layers from differences of losses (SPEC.md section 17).
 *
 * The trained layers of a model are estimated one by one from forward passes; update rule, moving ranges and commits
 * are train_step.h's. RAM: an arena of feature maps alone, and the same 5 bytes a weight and 8 bytes a bias. Perturbed
 * parameters are a copy: inference that preempts training never sees them.
 */
#ifndef FQT_ZEROTH_ORDER_H
#define FQT_ZEROTH_ORDER_H

#include <fqt/train_step.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FQT_MAX_QUERIES 57344u /**< sums of signed loss differences stay within 32 bits */

/** How gradients are estimated. */
struct fqt_zeroth_config {
    uint32_t queries;     /**< per sample and layer, 1..57344; times batch size at most 65536 */
    uint32_t weight_step; /**< 1..127 steps of the weight grid */
    uint32_t bias_step;   /**< 0..127 steps of the output grid; 0: biases of layers estimated by weights stay */
    uint32_t node_step;   /**< 1..127 steps of the output grid */
    bool antithetic;      /**< losses on both sides, instead of one side and the middle */
    uint32_t first_node;  /**< trained layers from this index on are estimated by nodes, those before by weights */
    bool exact_last;      /**< the layer that makes the logits takes their error as it is */
};

/** A network in training. Fill with fqt_zeroth_init(); the fields are the library's. `base` may be observed, visited,
 * and asked for its checksum; fqt_train_update() ends its minibatch. */
struct fqt_zeroth_trainer {
    struct fqt_trainer base;
    struct fqt_zeroth_config config;
    uint32_t *offsets;    /**< of feature maps in the arena, which change from layer to layer */
    uint8_t *parameters;  /**< perturbed weights and biases of one layer */
    int32_t *differences; /**< of the losses of each query */
    void *logits_error;   /**< what the loss writes */
};

/** Bytes of memory that fqt_zeroth_init() needs; SIZE_MAX if the network is too large for any. Takes 5 bytes of stack a
 * tensor. */
size_t fqt_zeroth_memory_size(const struct fqt_model *model, const struct fqt_zeroth_config *config);

/**
 * Prepares training of a network made with FQT_TRAINING, as fqt_trainer_init(). Errors: ARGUMENT, NOT_TRAINABLE,
 * UNSUPPORTED (a trained float32 layer), BOUND (queries * batch size, positions * batch size), MEMORY.
 */
enum fqt_status fqt_zeroth_init(struct fqt_zeroth_trainer *trainer, struct fqt_network *network,
                                const struct fqt_train_config *config, const struct fqt_zeroth_config *zeroth,
                                void *memory, size_t size);

/** One sample: a forward pass, then the gradient of each trained layer. Arguments and errors as fqt_train_sample(). */
enum fqt_status fqt_zeroth_sample(struct fqt_zeroth_trainer *trainer, const uint8_t *sample, uint32_t label,
                                  struct fqt_loss *result);

/** fqt_zeroth_sample(), and fqt_train_update() once batch_size samples are accumulated. */
enum fqt_status fqt_zeroth_step(struct fqt_zeroth_trainer *trainer, const uint8_t *sample, uint32_t label,
                                struct fqt_loss *result);

#ifdef __cplusplus
}
#endif

#endif
