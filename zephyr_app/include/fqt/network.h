/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A network in memory, and inference.
 *
 * What inference reads is one *version*: weights, biases, grids, scales and zero points (SPEC.md section 8). Training
 * replaces it at the end of a minibatch by copying; inference that preempts the copying finishes it first, so it sees a
 * whole version and never waits.
 *
 * In RAM is what training moves, from the first trained layer on: values of tensors, grids of trained layers, their
 * weights and biases, and a table of where each of them lies (12 bytes a layer), so that a layer takes the same time
 * however many there are. Everything else stays in the model file.
 *
 * Requirement: on a network with a trainer, fqt_infer() runs on the same core at a strictly higher priority than the
 * training calls (it may preempt them anywhere, they may not preempt it), or not at the same time as they do. On two
 * cores at once both go wrong for good, unless fqt_network_share() has given them a lock.
 *
 * Threads that call the library keep their floating-point registers (Zephyr: CONFIG_FPU_SHARING where CONFIG_FPU is
 * on): inference may preempt training between two float steps. A thread in user mode needs a memory partition with the
 * network, the trainer and their memories, and, as the library calls memcpy() and memset(), z_libc_partition where the
 * C library has one.
 */
#ifndef FQT_NETWORK_H
#define FQT_NETWORK_H

#include <fqt/model_file.h>
#include <fqt/status.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a network in memory is for. */
enum fqt_mode {
    FQT_INFERENCE, /**< everything is read from the model file */
    FQT_TRAINING,  /**< what training moves is copied to RAM; the rest stays in the file */
};

/** Values of a tensor (in SPEC.md section 11's order). */
struct fqt_tensor_values {
    float scale;
    int32_t zero;
    float lo, hi;
    float error_scale;
};

/** Grids of a layer's weights: arrays of n, one behind the other. */
struct fqt_grids {
    uint32_t n;
    const float *scale;
    const int32_t *zero;
};

/** A lock of the caller's, see fqt_network_share(). */
struct fqt_lock {
    void (*take)(void *user);
    void (*release)(void *user);
    void *user;
};

/** Where what moves of layer l and of tensor l + 1 lies: from the first trained layer on. */
struct fqt_place {
    uint32_t version;    /**< offset in a version: the tensor's values if they move, the layer's grids behind them */
    uint32_t parameters; /**< offset behind the live version's start: weights, biases behind them */
    uint8_t last_reader; /**< layer that reads the tensor last; the number of layers if none does */
    uint8_t scale;       /**< tensor whose scale and zero point it has: max pooling has passed them on */
    uint8_t error_scale; /**< tensor whose error scale it has: max pooling passes that on, backward */
    uint8_t reserved;
};

/** A network in memory. Fill with fqt_network_init(); the fields are the library's. */
struct fqt_network {
    struct fqt_model model;
    enum fqt_mode mode;
    uint32_t first;           /**< trained layer; the number of layers if nothing is in RAM */
    struct fqt_place *places; /**< [layers from there on] */
    uint8_t *live;            /**< the small part of the version in force, then trained layers' weights and biases */
    void (*copy_version)(void *trainer); /**< the trainer's: from the new version to its place, valid while pending */
    void *trainer;
    volatile uint32_t pending;   /**< 1 while a new version is being copied to its place */
    const struct fqt_lock *lock; /**< NULL: training and inference are on one core */
};

/** Bytes of memory that fqt_network_init() needs, 0 for inference alone; SIZE_MAX if the network is too large for any.
 */
size_t fqt_network_memory_size(const struct fqt_model *model, enum fqt_mode mode);

/**
 * Lays a network out in the caller's memory (aligned to 4 bytes; NULL if it needs none), which has to stay, as has the
 * model file. Errors: ARGUMENT, MEMORY.
 */
enum fqt_status fqt_network_init(struct fqt_network *network, const struct fqt_model *model, enum fqt_mode mode,
                                 void *memory, size_t size);

/**
 * Lets inference and training run on two cores at once. The lock is held during each inference and while a new version
 * is copied to its place, at the end of a minibatch: training then waits for the inference that is under way, and
 * inference for the copying at most, never for a training step. lock: has to stay; NULL: none, as after
 * fqt_network_init(). Threads on one core that share it, too, need a mutex that lends its priority, such as Zephyr's
 * k_mutex. Call it while nothing runs on the network.
 */
void fqt_network_share(struct fqt_network *network, const struct fqt_lock *lock);

/** Bytes of memory that fqt_infer() needs while it runs: feature maps as the file plans them, and a layer's derived
 * values. */
size_t fqt_inference_arena_size(const struct fqt_model *model);

/**
 * Runs a sample through the network (Eq. 3). Preempts training safely, see above.
 * arena: aligned to 4 bytes, free for other use between calls; sample: uint8[h][w][c] of tensor 0; prediction: lowest
 * index of the largest logit; logits: NULL, or where to put a pointer to the logits (uint8 or float of the last tensor,
 * in the arena). Errors: ARGUMENT, MEMORY (arena too small); both before anything is done.
 */
enum fqt_status fqt_infer(struct fqt_network *network, void *arena, size_t arena_size, const uint8_t *sample,
                          uint32_t *prediction, const void **logits);

/* ---- For training and the operators ---- */

/** The first trained layer; the number of layers if there is none. */
uint32_t fqt_first_trained(const struct fqt_model *model);

/** Whether max pooling reads tensor t. */
bool fqt_tensor_is_pooled(const struct fqt_model *model, uint32_t t);

/** Place of tensor t and of the layer that makes it, t > network->first. */
const struct fqt_place *fqt_place_of(const struct fqt_network *network, uint32_t t);

/** Values of tensor t in the version in force. Max pooling has passed scales on: forward to its output, errors'
 * backward to its input. */
struct fqt_tensor_values fqt_values_of(const struct fqt_network *network, uint32_t t);

/** Scale and zero point of these alone: what a forward pass needs. */
struct fqt_grid fqt_tensor_grid(const struct fqt_network *network, uint32_t t);

/** The scale of errors at tensor t (SPEC.md section 8). */
float fqt_tensor_error_scale(const struct fqt_network *network, uint32_t t);

/** Grids of layer l in the version in force. */
struct fqt_grids fqt_layer_grids(const struct fqt_network *network, uint32_t l);

/** Layer l's weights, in RAM if it is trained. */
const void *fqt_layer_weights(const struct fqt_network *network, uint32_t l);

/** Layer l's biases, in RAM if it is trained. */
const void *fqt_layer_bias(const struct fqt_network *network, uint32_t l);

/** Layer l from its inputs to y. x2: of an addition; scratch: fqt_forward_scratch_size(); extremes: of the sums of a
 * quantized layer, one a grid of its weights; may be NULL. */
void fqt_forward_layer(const struct fqt_network *network, uint32_t l, const void *x, const void *x2, void *y,
                       void *scratch, struct fqt_extremes *extremes);

/** Bytes of scratch that a forward pass needs, aligned to 4 bytes. */
uint64_t fqt_forward_scratch_size(const struct fqt_model *model);

/** Bytes of the small part of a version: all but weights and biases. */
uint64_t fqt_version_size(const struct fqt_model *model);

/** Values of tensor t as a version stores them; NULL if they never move. */
struct fqt_tensor_values *fqt_stored_values(const struct fqt_network *network, uint8_t *version, uint32_t t);

/** Grids of trained quantized layer l in a version: float scale[n], then int32 zero[n]. */
float *fqt_stored_grids(const struct fqt_network *network, uint8_t *version, uint32_t l);

/** Makes the trainer's new version the one in force: copies it to its place. */
void fqt_commit(struct fqt_network *network);

#ifdef __cplusplus
}
#endif

#endif
