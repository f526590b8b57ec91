/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A network in memory, and inference.
 *
 * What inference reads is one *version*: weights, biases, grids, requantizers and bias_acc (SPEC.md section 8).
 * Training replaces it at the end of a minibatch by copying; inference that preempts the copying finishes it first, so
 * it sees a whole version and never waits.
 *
 * Requirement: on a network with a trainer, fqt_infer() runs on the same core at a strictly higher priority than the
 * training calls (it may preempt them anywhere, they may not preempt it), or not at the same time as they do.
 */
#ifndef FQT_NETWORK_H
#define FQT_NETWORK_H

#include <fqt/model_file.h>
#include <fqt/status.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/** What a network in memory is for. */
enum fqt_mode {
    FQT_INFERENCE, /**< all weights are read from the model file */
    FQT_TRAINING,  /**< trained layers' weights and biases are copied to RAM; the frozen ones' stay in the file */
};

/** Values of a tensor that move (in SPEC.md section 11's order). */
struct fqt_tensor_values {
    float scale;
    int32_t zero;
    float lo, hi;
    float error_scale;
};

/** Values of a layer that move: the grid of its weights (section 11's order) and the requantizer of its forward pass.
 */
struct fqt_layer_values {
    float weight_scale;
    int32_t weight_zero;
    struct fqt_requantizer requantizer;
};

/** The small part of a version; weights and biases are in fqt_layer_parameters. */
struct fqt_version {
    struct fqt_tensor_values *tensors;
    struct fqt_layer_values *layers;
    int32_t *bias_acc; /**< of the layers from first_moving on */
};

/** Where the parameters of a layer are, in the file or in RAM. */
struct fqt_layer_parameters {
    const void *weights;
    const void *bias;
    uint32_t bias_acc_at; /**< index of its first bias_acc, see fqt_bias_acc() */
};

/** One piece of a new version and its place. */
struct fqt_transfer {
    void *to;
    const void *from;
    size_t bytes;
};

/** A network in memory. Fill with fqt_network_init(); the fields are the library's. */
struct fqt_network {
    struct fqt_model model;
    enum fqt_mode mode;
    struct fqt_layer_parameters *parameters; /**< [n_layers] */
    uint32_t first_moving;                   /**< scales of layers before this one never move */
    int32_t *fixed_bias_acc;                 /**< of the layers before first_moving */
    struct fqt_version live;
    size_t version_bytes;
    const struct fqt_transfer *transfers; /**< the trainer's: a new version, valid while pending */
    uint32_t n_transfers;
    atomic_uint pending;
};

/** Bytes of memory that fqt_network_init() needs; SIZE_MAX if the network is too large for any. */
size_t fqt_network_memory_size(const struct fqt_model *model, enum fqt_mode mode);

/**
 * Lays a network out in the caller's memory (aligned for a pointer), which has to stay, as has the model file.
 * Errors: ARGUMENT, MEMORY.
 */
enum fqt_status fqt_network_init(struct fqt_network *network, const struct fqt_model *model, enum fqt_mode mode,
                                 void *memory, size_t size);

/** Bytes of memory that fqt_infer() needs while it runs: the two largest neighbouring feature maps. */
size_t fqt_inference_arena_size(const struct fqt_model *model);

/**
 * Runs a sample through the network (Eq. 3). Preempts training safely, see above.
 * arena: aligned to 4 bytes, free for other use between calls; sample: uint8[h][w][c] of tensor 0; prediction: lowest
 * index of the largest logit; logits: NULL, or where to put a pointer to the logits (uint8 or float of the last tensor,
 * in the arena). Errors: ARGUMENT, MEMORY (arena too small); both before anything is done.
 */
enum fqt_status fqt_infer(struct fqt_network *network, void *arena, size_t arena_size, const uint8_t *sample,
                          uint32_t *prediction, const void **logits);

/* ---- For train_step.c ---- */

/** Bytes of tensor t's values. */
uint64_t fqt_tensor_bytes(const struct fqt_model *model, uint32_t t);

/** Layer l from x to y in the live version. extremes: of the accumulators of a quantized layer with weights; may be
 * NULL. */
void fqt_forward_layer(const struct fqt_network *network, uint32_t l, const void *x, void *y,
                       struct fqt_extremes *extremes);

/** Where layer l's bias_acc are in a version. */
int32_t *fqt_bias_acc(const struct fqt_network *network, const struct fqt_version *version, uint32_t l);

/** Bytes of a version. */
size_t fqt_version_size(const struct fqt_model *model);

/** Lays out a version in fqt_version_size() bytes of memory. */
struct fqt_version fqt_version_at(const struct fqt_model *model, void *memory);

/** Passes scales through max pooling: of feature maps forward, of errors backward (SPEC.md section 8). */
void fqt_pass_scales(const struct fqt_model *model, struct fqt_version *version);

/** Computes requantizer and bias_acc of layer l (SPEC.md 4.1) in a version whose scales are set. bias: Q20 [outputs].
 */
void fqt_prepare_layer(const struct fqt_network *network, struct fqt_version *version, uint32_t l, const int32_t *bias);

/** Copies a pending version to its place. Repeating it is harmless, so whoever comes first does it. */
void fqt_finish_commit(struct fqt_network *network);

#endif
